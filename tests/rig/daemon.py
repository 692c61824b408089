"""The daemon as a test uses it: configured, started, asked over its socket, reloaded, stopped.

Nothing here sleeps: readiness and states come through the notification socket, log lines through
standard error, as they do for a service manager.
"""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

SECONDS = 60  # bounds what hangs; nothing that works takes a fraction of it


def binary(name):
    return os.path.join(os.environ["MRT_BUILD_DIR"], name)


def account_section(name, emulator, key_file, account_id=None, **keys):
    """An [account NAME] section that points at the emulator. A key that is None is left out."""
    from conftest import ACCOUNT_ID

    lines = {
        "account_id": account_id or ACCOUNT_ID,
        "account_domain": "eastus2.mixedreality.azure.com",
        "endpoint": emulator.sts,
        "account_key": f"file:{key_file}",
        **keys,
    }
    body = "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)
    return f"[daemon]\nca_file = {emulator.ca_file}\n\n[account {name}]\n{body}"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; kept between requests like any other."""

    def __init__(self, path, timeout=SECONDS):
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answer:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()

    def json(self):
        return json.loads(self.body)


class Daemon:
    """One mrtokend.

    config     text of its file; a [listener main] at self.socket is added unless it has one
    arguments  options besides --config
    environment  variables besides a bare PATH; given to the process as they are
    """

    def __init__(self, directory, config, arguments=None, environment=None, pass_fds=(), wrap=()):
        self.directory = pathlib.Path(directory)
        self.socket = self.directory / "mrtokend.sock"
        self.config_file = self.directory / "mrtokend.conf"
        self._environment = {"PATH": os.environ["PATH"], **(environment or {})}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self._environment.setdefault(name, os.environ[name])
        self._arguments = arguments
        self._pass_fds = pass_fds
        self._wrap = list(wrap)
        self._process = None
        self._lines = []
        self._states = []
        self._changed = threading.Condition()
        self._threads = []
        if config is not None:
            self.write_config(config)

    def write_config(self, config):
        if "[listener" not in config:
            config += f"\n[listener main]\npath = {self.socket}\n"
        self.config_file.write_text(config)

    # ---- life ----

    def start(self, wait=True):
        """Start it; with `wait`, until it is ready."""
        path = self.directory / "notify.sock"
        path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(str(path))
        arguments = self._arguments
        if arguments is None:
            arguments = ["--config", str(self.config_file)]
        self._process = subprocess.Popen(
            [*self._wrap, binary("mrtokend"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**self._environment, "NOTIFY_SOCKET": str(path)},
            pass_fds=self._pass_fds,
        )
        self._lines.clear()
        self._states.clear()
        self._threads = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_states, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        if wait:
            self.wait_for_state(lambda state: "READY=1" in state)
        return self

    def _read_log(self):
        for line in self._process.stderr:
            with self._changed:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._changed.notify_all()

    def _read_states(self):
        while True:
            try:
                state = self._notify.recv(65536).decode().split("\n")
            except OSError:
                return
            if not state[0]:
                return
            with self._changed:
                self._states.append(state)
                self._changed.notify_all()

    def send_signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        """Wait for its end; returns the exit status."""
        status = self._process.wait(SECONDS)
        self._threads[0].join(SECONDS)
        try:
            self._notify.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._notify.close()
        self._process.stderr.close()
        return status

    def stop(self, number=signal.SIGTERM):
        """Stop it; returns the exit status."""
        self.send_signal(number)
        return self.wait()

    def close(self):
        if self._process is not None and self._process.poll() is None:
            status = self.stop()
            assert status == 0, f"mrtokend ended with status {status}:\n{self.log()}"

    def reload(self):
        """Reload and wait until it is ready again; returns the status line it then told."""
        with self._changed:
            before = len(self._states)
        self.send_signal(signal.SIGHUP)
        self.wait_for_state(lambda state: "RELOADING=1" in state, before)
        state = self.wait_for_state(lambda state: "READY=1" in state, before)
        return next(line for line in state if line.startswith("STATUS="))

    @property
    def pid(self):
        return self._process.pid

    def is_running(self):
        return self._process.poll() is None

    # ---- what it tells ----

    def _wait(self, find, what):
        deadline = time.monotonic() + SECONDS
        with self._changed:
            while True:
                found = find()
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                ended = self._process.poll() is not None and not self._threads[0].is_alive()
                if left <= 0 or ended:
                    log = "\n".join(self._lines)
                    raise AssertionError(f"{what} did not come\n{self._states}\n{log}")
                self._changed.wait(min(left, 1))

    def wait_for_state(self, wanted, after=0):
        """The first notification after that many for which wanted(lines) holds."""
        return self._wait(
            lambda: next((s for s in self._states[after:] if wanted(s)), None), "the notification"
        )

    def wait_for_log(self, part, after=0):
        """The first log line after that many that has `part` in it."""
        return self._wait(
            lambda: next((line for line in self._lines[after:] if part in line), None),
            f"a log line with {part!r}",
        )

    def states(self):
        with self._changed:
            return [list(state) for state in self._states]

    def log_lines(self):
        with self._changed:
            return list(self._lines)

    def log(self):
        return "\n".join(self.log_lines())

    def wait_for_token(self, account, after=0):
        return self.wait_for_log(f"account {account} (", after) and self.wait_for_log(
            "new token", after
        )

    # ---- asking it ----

    def connect(self, path=None):
        return UnixConnection(path or self.socket)

    def request(self, method, target, headers=None, body=None, path=None):
        connection = self.connect(path)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target, headers=None, path=None):
        return self.request("GET", target, headers, path=path)

    def token(self, account="anchors"):
        """The JSON answer for a token that must be there."""
        answer = self.get(f"/v1/accounts/{account}/token")
        assert answer.status == 200, answer.body
        return answer.json()

    def account(self, name="anchors"):
        answer = self.get(f"/v1/accounts/{name}")
        assert answer.status == 200, answer.body
        return answer.json()
