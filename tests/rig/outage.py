"""Many faults at once, each met by an account of its own, and all that users see of them.

The accounts get a token that lives a day; then the machine sleeps until all are due, while their
faults last; then the faults end. A client asks for every token all the while.
"""

import dataclasses
import re
import threading
import time
import typing

from rig.clock import ShiftedClock
from rig.daemon import Answer, Daemon, account_keys, configuration, entra_keys

DAY_S = 86400
DUE_S = 15 * 3600  # half a day and its tenth of jitter are over, and nine hours are left
SLOW_S = (269, 300)  # for what someone must mend
TIME_MENDS = ("network", "timeout", "throttled", "upstream_fault")
QUICK_S = (0, 2)  # the first of the backoff


@dataclasses.dataclass
class Fault:
    """What goes wrong with one account, and what it is to look like.

    begin, end   called with the Outage and this fault: make it happen, and let it be over
    code, status  of last_error; of "network|tls", either
    message      a regular expression that its sentence fits
    retry_s      least and most seconds until the next try, as told
    is_mended_by_time  whether it recovers alone; else a reload does it
    keys         further keys of the account
    is_entra     it serves a token of Entra itself, by an app's secret
    """

    begin: typing.Callable
    end: typing.Callable
    code: str
    status: typing.Optional[int] = None
    message: str = ""
    upstream_code: typing.Optional[str] = None
    retry_s: tuple = QUICK_S
    is_mended_by_time: bool = True
    keys: dict = dataclasses.field(default_factory=dict)
    is_entra: bool = False
    name: str = ""
    account_id: str = ""


def emulated(members, code, status=None, message="", retry_s=QUICK_S, is_mended_by_time=True):
    """A fault that the emulator makes: the members of POST /v1/faults."""

    def begin(outage, fault):
        added = outage.emulator.add_fault(**members, account=fault.account_id, count=0)
        numbers.append(added["number"])

    def end(outage, fault):
        outage.emulator.delete_fault(numbers.pop())

    numbers = []
    return Fault(begin, end, code, status, message, None, retry_s, is_mended_by_time)


class Client:
    """Asks for the token of each account in turn, over one connection, and counts what is wrong."""

    def __init__(self, daemon, accounts):
        self._daemon = daemon
        self._accounts = accounts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers = dict.fromkeys(accounts, 0)
        self.failures = {name: [] for name in accounts}
        self.slowest_s = 0.0

    def _run(self):
        connection = self._daemon.connect()
        while not self._stop.is_set():
            for name, account_id in self._accounts.items():
                began = time.monotonic()
                wrong = self._ask(connection, name, account_id)
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                self.answers[name] += 1
                if wrong:
                    self.failures[name].append(wrong)
            self._stop.wait(0.005)
        connection.close()

    @staticmethod
    def _ask(connection, name, account_id):
        try:
            connection.request("GET", f"/v1/accounts/{name}/token")
            answer = Answer(connection.getresponse())
        except OSError as error:
            connection.close()
            return repr(error)
        if answer.status != 200:
            return f"{answer.status} {answer.body!r}"
        found = answer.json()
        owner = found.get("account_id")
        return None if owner == account_id else f"the token of {owner}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)


class Outage:
    """Runs through it all at once, and keeps what was seen: {name of the fault: ...}."""

    def __init__(self, directory, emulator, faults, key, environment=None, wrap=(), ca_file=None):
        self.directory = directory
        self.emulator = emulator
        self.faults = faults
        self.clock = ShiftedClock(directory)
        self.before, self.during, self.accounts = {}, {}, {}
        self.lines, self.recovered, self.after = {}, {}, {}
        self._mark = 0
        key_file = directory / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(key)
        sections = {}
        for i, (name, fault) in enumerate(faults.items()):
            fault.name = f"fault-{i}"
            fault.account_id = f"7f1c3c5e-0000-4000-8003-{i:012x}"
            sections[fault.name] = self._section(fault, key, key_file)
        config = configuration(emulator, sections)
        if ca_file is not None:
            config = config.replace(emulator.ca_file, str(ca_file))
        environment = {**self.clock.environment, **(environment or {})}
        self.daemon = Daemon(directory, config, environment=environment, wrap=wrap)
        accounts = {f.name: None if f.is_entra else f.account_id for f in faults.values()}
        self.client = Client(self.daemon, accounts)

    def _section(self, fault, key, key_file):
        if fault.is_entra:
            self.emulator.put_app(fault.account_id, secrets=[key])
            secret = {"credential": "client_secret", "client_secret": f"file:{key_file}"}
            return entra_keys(self.emulator, client_id=fault.account_id, **secret)
        self.emulator.put_account(fault.account_id, key)
        return account_keys(self.emulator, key_file, fault.account_id, **fault.keys)

    def run(self):
        self.daemon.start()
        for name, fault in self.faults.items():
            self.daemon.wait_for_token(fault.name)
            self.before[name] = self.daemon.token(fault.name)
        with self.client:
            self._fail()
            self._recover()
        return self

    def _fail(self):
        for fault in self.faults.values():
            fault.begin(self, fault)
        self.emulator.change_settings(date_offset_s=DUE_S)
        mark = self._mark = self.daemon.mark()
        self.clock.sleep(DUE_S)
        for name, fault in self.faults.items():
            self.lines[name] = self.daemon.wait_for_failure(fault.name, mark)
            self.accounts[name] = self.daemon.account(fault.name)
            self.during[name] = self.daemon.token(fault.name)
            fault.end(self, fault)  # now: the longer it lasts, the longer the backoff

    def _recover(self):
        mark = self._mark
        for fault in self.faults.values():
            if fault.is_mended_by_time:
                self.daemon.wait_for_token(fault.name, mark)
        self.daemon.reload()
        for name, fault in self.faults.items():
            self.daemon.wait_for_token(fault.name, mark)
            self.recovered[name] = self.daemon.account(fault.name)
            self.after[name] = self.daemon.token(fault.name)

    def close(self):
        self.daemon.close()
        self.clock.close()

    # ---- what a test demands ----

    def assert_served(self, name):
        """No client noticed anything, and what they got is the token of before."""
        fault = self.faults[name]
        assert self.client.failures[fault.name] == []
        assert self.client.answers[fault.name] > 10
        assert self.client.slowest_s < 5
        assert self.during[name] == self.before[name]

    def assert_told(self, name):
        """The account's state and its last error."""
        fault, account = self.faults[name], self.accounts[name]
        error = account["last_error"]
        assert account["state"] == "degraded"
        assert account["failures"] >= 1
        assert error["code"] in fault.code.split("|"), error["message"]
        assert error["status"] == fault.status, error["message"]
        assert error["upstream_code"] == fault.upstream_code
        assert re.search(fault.message, error["message"]), error["message"]
        assert fault.is_entra or account["endpoint"] in error["message"]
        if fault.is_entra and fault.status is not None:
            assert re.fullmatch("[0-9a-f-]{36}", error["correlation_id"])
            assert error["correlation_id"] in error["message"]
        elif fault.status is not None:
            assert re.fullmatch(r"[A-Za-z0-9+/]{22}\.0", error["correlation_vector"])
            assert error["correlation_vector"] in error["message"]
        else:
            assert error["correlation_vector"] is None

    def assert_retried(self, name):
        """The next try comes when it is right for this kind of failure. The line told it first."""
        least, most = self.faults[name].retry_s
        found = re.search(r"trying again in ([0-9.]+) s( |$)", self.lines[name])
        assert found, self.lines[name]
        told = float(found[1])
        assert least <= told <= most, self.lines[name]

    def assert_logged(self, name):
        """One line says what happened, how long clients are safe, and what happens next."""
        fault, line = self.faults[name], self.lines[name]
        code = re.search(r" ERROR_CODE=(\w+)", line)[1]
        level = "warning" if code in TIME_MENDS else "error"
        assert code in fault.code.split("|")
        assert line.startswith(f"mrtokend: {level}: "), line
        assert re.search(
            rf"account {fault.name} \([^)]+\): refresh failed \(failure 1 in a row\): ", line
        )
        assert fault.upstream_code is None or f" UPSTREAM_CODE={fault.upstream_code}" in line
        assert re.search(fault.message, line), line
        left = int(re.search(r"the present token lives (\d+) s more", line)[1])
        assert DAY_S - DUE_S - 120 < left <= DAY_S - DUE_S

    def assert_recovered(self, name):
        account = self.recovered[name]
        assert (account["state"], account["failures"]) == ("valid", 0)
        assert account["last_error"] is None
        assert self.after[name]["expires_on"] > self.before[name]["expires_on"]
