"""The daemon under a service manager of the soak's: its socket stays open, what it stores is kept.

Source of the protocol: sd_notify(3), FDSTORE=1, FDSTOREREMOVE=1, FDNAME=; sd_listen_fds(3).
"""

import os
import pathlib
import socket
import time

from rig.daemon import Daemon, pass_sockets


class Supervised(Daemon):
    """A daemon that gets its listening socket, and what it stored, from this process."""

    def __init__(self, directory, config, environment):
        super().__init__(directory, None, environment=environment)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(self.socket))
        self.listening.listen(1024)
        self.write_config(f"{config}\n[listener main]\npath = {self.socket}\n")
        self._stored = {}  # name: descriptors
        self.stored_at = None  # time.monotonic() of the last, or None: it stores nothing

    def start(self, wait=True):
        named = [("main", self.listening)]
        named += [
            (name, _Number(number)) for name, numbers in self._stored.items() for number in numbers
        ]
        passed = pass_sockets(named)
        self._wrap, self._pass_fds = passed["wrap"], passed["pass_fds"]
        return super().start(wait)

    def _read_states(self):
        notify = self._notify
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(notify, 65536, 64)
            except OSError:
                return
            lines = message.decode().split("\n")
            if not lines[0]:
                return
            self._store(lines, descriptors)
            with self._changed:
                self._states.append(lines)
                self._changed.notify_all()

    def _store(self, lines, descriptors):
        name = next((line[7:] for line in lines if line.startswith("FDNAME=")), "stored")
        if "FDSTOREREMOVE=1" in lines:
            for number in self._stored.pop(name, []):
                os.close(number)
        if "FDSTORE=1" in lines:
            self._stored.setdefault(name, []).extend(descriptors)
            self.stored_at = time.monotonic()
        else:
            for number in descriptors:
                os.close(number)

    def pss_kib(self):
        rollup = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(rollup.split("\nPss:")[1].split()[0])


class _Number:
    """A descriptor in the place of a socket."""

    def __init__(self, number):
        self._number = number

    def fileno(self):
        return self._number
