"""A daemon under a service manager that keeps its socket and what it stores, over any number of processes.

Also the bytes of what it stores, to be looked at and forged: src/service/cache_image.h.
"""

import fcntl
import hashlib
import os
import socket
import struct

from .daemon import Daemon, pass_sockets

SEALS = 0xF  # F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
F_ADD_SEALS = 1033
F_GET_SEALS = 1034
HEADER = 48
ENTRY = 96
DIGEST = 32


class Stored:
    """A descriptor in the store; closed with it."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def fileno(self):
        return self._descriptor

    def read(self):
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)

    def seals(self):
        return fcntl.fcntl(self._descriptor, F_GET_SEALS)

    def close(self):
        os.close(self._descriptor)


def make_memfd(content, seals=SEALS):
    """One with those bytes, as a process of before may have left it."""
    descriptor = os.memfd_create("forged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    fcntl.fcntl(descriptor, F_ADD_SEALS, seals)
    return Stored(descriptor)


def with_digest(content):
    """The same with a digest that fits."""
    return content[:-DIGEST] + hashlib.sha256(content[:-DIGEST]).digest()


def with_times(content, **times):
    """An image of one entry with other times: received_ms, dead_at_ms, next_ms."""
    names = ["expires_on", "refresh_on", "refreshed_on", "received_ms", "dead_at_ms", "next_ms"]
    content = bytearray(content)
    for name, value in times.items():
        struct.pack_into("<q", content, HEADER + 48 + 8 * names.index(name), value)
    return with_digest(bytes(content))


class KeptDaemon(Daemon):
    """One mrtokend after the other, each of which gets the socket and what the one before stored.

    room  FileDescriptorStoreMax=, as $FDSTORE tells it; None: it does not
    """

    def __init__(self, directory, config, room=8, environment=None, **options):
        variables = {"FDSTORE": None if room is None else str(room), **(environment or {})}
        super().__init__(directory, config, environment=variables, **options)
        self.store = {}  # {name: Stored}
        self.most_stored = 0
        self.stored_count = 0
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.socket))
        self.listening.listen(4096)

    def _take_descriptors(self, state, descriptors):
        with self._changed:
            name = next((line[7:] for line in state if line.startswith("FDNAME=")), None)
            if "FDSTORE=1" in state:
                (descriptor,) = descriptors
                assert name not in self.store, f"{name} is there"
                self.store[name] = Stored(descriptor)
                self.stored_count += 1
                self.most_stored = max(self.most_stored, len(self.store))
            else:
                assert descriptors == [], state
            if "FDSTOREREMOVE=1" in state and name in self.store:
                self.store.pop(name).close()

    def start(self, wait=True):
        passed = pass_sockets([("main", self.listening), *self.store.items()])
        self._wrap, self._pass_fds = passed["wrap"], passed["pass_fds"]
        return super().start(wait)

    def put(self, name, stored):
        """Let this be all that is stored."""
        self.drop()
        self.store[name] = stored

    def drop(self):
        """As a stop does where the store is not preserved."""
        for stored in self.store.values():
            stored.close()
        self.store.clear()

    def image(self):
        """The bytes of the one image that is there."""
        (stored,) = self.store.values()
        return stored.read()

    def wait_for_image(self, wanted=lambda content: True):
        """Wait until there is one image, and wanted(its bytes); returns them."""

        def find():
            found = [stored.read() for stored in self.store.values()]
            return found[0] if len(found) == 1 and wanted(found[0]) else None

        return self._wait(find, "the kept image")

    def close(self):
        super().close()
        self.drop()
        self.listening.close()
