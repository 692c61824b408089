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
import sys
import threading
import time

SECONDS = 60  # bounds what hangs; nothing that works takes a fraction of it


def binary(name):
    return os.path.join(os.environ["MRT_BUILD_DIR"], name)


# Runs a command with the given descriptors as those of a socket unit; sd_listen_fds(3).
PASS_SOCKETS = """
import fcntl, os, sys
names, numbers, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers]
for number in numbers:
    os.close(int(number))
for index, number in enumerate(high):
    os.dup2(number, 3 + index)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execvp(command[0], command)
"""


def pass_sockets(named):
    """Options of a Daemon that gets these sockets: [(name, socket), ...]; the caller keeps them."""
    numbers = [passed.fileno() for _, passed in named]
    names = ":".join(name for name, _ in named)
    listed = ",".join(map(str, numbers))
    return {
        "wrap": [sys.executable, "-c", PASS_SOCKETS, names, listed],
        "pass_fds": numbers,
    }


def is_sanitized():
    """Whether the binary carries AddressSanitizer, which keeps what was freed for a while."""
    with open(binary("mrtokend"), "rb") as file:
        return b"__asan_init" in file.read()


def section(title, keys):
    """A section as it stands in the file. A key that is None is left out."""
    lines = (f"{key} = {value}\n" for key, value in keys.items() if value is not None)
    return f"[{title}]\n{''.join(lines)}\n"


def account_keys(emulator, key_file, account_id=None, **keys):
    """The keys of an account that points at the emulator."""
    from conftest import ACCOUNT_ID

    return {
        "account_id": account_id or ACCOUNT_ID,
        "account_domain": "eastus2.mixedreality.azure.com",
        "endpoint": emulator.sts,
        "account_key": f"file:{key_file}",
        **keys,
    }


TENANT = "e3a1c0de-0000-4000-8000-000000000001"
APP = "a9900001-0000-4000-8000-000000000001"
STORAGE = "https://storage.azure.com/.default"


def entra_keys(emulator, **keys):
    """The keys of an account that serves an Entra token of the emulator's app APP."""
    return {
        "kind": "entra",
        "scope": STORAGE,
        "authority": emulator.entra,
        "tenant_id": TENANT,
        "client_id": APP,
        **keys,
    }


def configuration(emulator, accounts, listeners=None, **daemon):
    """A whole configuration: {name: keys} of accounts and listeners, and the keys of [daemon]."""
    return "".join(
        [section("daemon", {"ca_file": emulator.ca_file, **daemon})]
        + [section(f"listener {name}", keys) for name, keys in (listeners or {}).items()]
        + [section(f"account {name}", keys) for name, keys in accounts.items()]
    )


def account_section(name, emulator, key_file, account_id=None, **keys):
    """A configuration with one account that points at the emulator."""
    return configuration(emulator, {name: account_keys(emulator, key_file, account_id, **keys)})


def probe(directory, config, account, environment):
    """What mrtoken check --probe finds of the account of that configuration, with no other variables."""
    file = directory / "probe.conf"
    file.write_text(config)
    return subprocess.run(
        [binary("mrtoken"), "check", "--config", str(file), "--probe", account],
        env=environment,
        capture_output=True,
        text=True,
    )


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
    environment  variables besides a bare PATH; given to the process as they are; one that is None
                 is not given
    wrap       what to run it by: a command that takes it as its last arguments
    process    what else subprocess.Popen is to know, such as umask=0o077 or user=65534
    """

    def __init__(
        self,
        directory,
        config,
        arguments=None,
        environment=None,
        pass_fds=(),
        wrap=(),
        program=None,
        **process,
    ):
        self.directory = pathlib.Path(directory)
        self.socket = self.directory / "mrtokend.sock"
        self.config_file = self.directory / "mrtokend.conf"
        self._environment = {"PATH": os.environ["PATH"], **(environment or {})}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self._environment.setdefault(name, os.environ[name])
        self._arguments = arguments
        self._pass_fds = pass_fds
        self._program = program
        self._process_options = process
        self._wrap = list(wrap)
        self._process = None
        self._ending = None
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
        environment = {"NOTIFY_SOCKET": str(path), **self._environment}
        path.chmod(0o777)
        self._process = subprocess.Popen(
            [*self._wrap, self._program or binary("mrtokend"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={name: value for name, value in environment.items() if value is not None},
            pass_fds=self._pass_fds,
            **self._process_options,
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
        try:
            self._ending = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # somebody was faster
        with self._changed:
            self._changed.notify_all()

    def _read_states(self):
        while True:
            try:
                state, descriptors, _, _ = socket.recv_fds(self._notify, 65536, 16)
            except OSError:
                return
            if not state:
                return
            state = state.decode().split("\n")
            self._take_descriptors(state, descriptors)
            with self._changed:
                self._states.append(state)
                self._changed.notify_all()

    def _take_descriptors(self, state, descriptors):
        """What to do with what came with a notification: nobody wants it."""
        for descriptor in descriptors:
            os.close(descriptor)

    def send_signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        """Wait for its end; returns the exit status."""
        self._threads[0].join(SECONDS)
        status = self._process.wait(SECONDS)
        try:
            self._notify.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._threads[1].join(SECONDS)  # what was told before the end is read
        self._notify.close()
        self._process.stderr.close()
        return status

    def how_it_ended(self):
        """Wait for its end; returns what waitid(2) tells of it."""
        self._threads[0].join(SECONDS)
        return self._ending

    def stop(self, number=signal.SIGTERM):
        """Stop it; returns the exit status."""
        self.send_signal(number)
        return self.wait()

    def kill(self):
        """End it as a crash does."""
        return self.stop(signal.SIGKILL)

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
                ended = not self._threads[0].is_alive() and not self.is_running()
                if left <= 0 or ended:
                    log = "\n".join(self._lines)
                    raise AssertionError(f"{what} did not come\n{self._states}\n{log}")
                self._changed.wait(min(left, 1))

    def wait_for_state(self, wanted, after=0):
        """The first notification after that many for which wanted(lines) holds."""
        return self._wait(
            lambda: next((s for s in self._states[after:] if wanted(s)), None), "the notification"
        )

    def wait_for_status(self, start, after=0):
        """The first status line after that many notifications that begins so."""
        start = f"STATUS={start}"
        state = self.wait_for_state(lambda state: any(s.startswith(start) for s in state), after)
        return next(line for line in state if line.startswith(start)).removeprefix("STATUS=")

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

    def _wait_for_account(self, account, event, after):
        start = f"account {account} ("
        return self._wait(
            lambda: next(
                (line for line in self._lines[after:] if start in line and event in line), None
            ),
            f"{event!r} of account {account}",
        )

    def wait_for_token(self, account, after=0):
        """The log line after that many which tells that the account has a new token."""
        return self._wait_for_account(account, ": new token", after)

    def wait_for_failure(self, account, after=0):
        """The log line after that many which tells that a refresh of the account failed."""
        return self._wait_for_account(account, ": refresh failed", after)

    def wait_for_outcome(self, account, after=0):
        """The first of either."""
        start = f"account {account} ("
        events = (": new token", ": refresh failed")
        return self._wait(
            lambda: next(
                (
                    line
                    for line in self._lines[after:]
                    if start in line and any(event in line for event in events)
                ),
                None,
            ),
            f"an exchange of account {account}",
        )

    def mark(self):
        """How many log lines there are, to wait for one after them."""
        with self._changed:
            return len(self._lines)

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

    # ---- what the kernel knows of it ----

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def wait_for_descriptors(self, most, seconds=SECONDS):
        """Wait until it has no more than these: one that a client closed it closes soon after."""
        deadline = time.monotonic() + seconds
        while (found := self.descriptors()) > most:
            assert time.monotonic() < deadline, f"{found} descriptors stay, expected {most}"
            time.sleep(0.01)

    def threads(self):
        """The name and the number of each of its threads, in the order of the names."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sorted(((task / "comm").read_text().strip(), task.name) for task in tasks)

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


class Poller:
    """Clients that ask as fast as they can, each over a connection of its own that it keeps.

    check  called with each answer and the Unix time before its request; returns what is wrong with
           it, or None
    """

    def __init__(self, daemon, target="/v1/token", clients=2, check=None, path=None):
        self._daemon = daemon
        self._target = target
        self._path = path
        self._check = check or (lambda answer, before: None)
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        self.answers = 0
        self.failures = []

    def _run(self):
        connection = self._daemon.connect(self._path)
        while not self._stop.is_set():
            before = time.time()
            try:
                connection.request("GET", self._target)
                answer = Answer(connection.getresponse())
                wrong = self._check(answer, before)
                if answer.status != 200:
                    wrong = f"{answer.status} {answer.body!r}"
            except (OSError, http.client.HTTPException) as error:
                wrong = repr(error)
                connection.close()
            with self._changed:
                self.answers += 1
                if wrong:
                    self.failures.append(wrong)
                self._changed.notify_all()
        connection.close()

    def wait_for_answers(self, count=100):
        """Wait until there are so many more than now."""
        with self._changed:
            wanted = self.answers + count
            assert self._changed.wait_for(lambda: self.answers >= wanted, SECONDS)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_answers(len(self._threads))
        return self

    def __exit__(self, kind, value, traceback):
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)
        if kind is None:
            assert self.failures == [], (
                f"{len(self.failures)} of {self.answers} requests failed: {self.failures[:3]}"
            )
