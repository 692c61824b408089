"""The emulator as a test uses it: started, told what to do, asked what it saw, stopped."""

import json
import os
import pathlib
import signal
import subprocess
import threading

import requests

START_SECONDS = 60  # bounds a start that hangs; a start takes a fraction of a second
STOP_SECONDS = 30
CONTROL_SECONDS = 90


def binary():
    return os.path.join(os.environ["MRT_BUILD_DIR"], "mrtoken-emulator")


class Emulator:
    """One running mrtoken-emulator.

    directory  where it keeps its certificate authority; made if it is not there
    accounts   {identifier: key or [key, second key]}
    arguments  further options
    wrap       what to run it by: a command that takes it as its last arguments

    Leaving the context stops it by SIGTERM and demands exit status 0.
    """

    def __init__(self, directory, accounts=None, arguments=(), wrap=()):
        self.directory = pathlib.Path(directory)
        self._accounts = accounts or {}
        self._arguments = list(arguments)
        self._wrap = list(wrap)
        self._process = None
        self._session = None
        self._log = None
        self.endpoints = None

    # ---- life ----

    def start(self):
        command = [*self._wrap, binary(), "--directory", str(self.directory), *self._arguments]
        for identifier, keys in self._accounts.items():
            keys = [keys] if isinstance(keys, str) else keys
            command += ["--account", ":".join([identifier, *keys])]
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = open(self.directory / "emulator.log", "ab")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log
        )
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        try:
            # It writes one line once it answers, and none if it ends before.
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            status = self._process.wait()
            self._close()
            raise RuntimeError(f"the emulator ended with status {status}: {self.log()}")
        self.endpoints = json.loads((self.directory / "endpoints.json").read_text())
        self._session = requests.Session()
        self._session.trust_env = False
        return self

    def stop(self, signal_number=signal.SIGTERM):
        """Stop it; returns the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal_number)
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._close()
        return status

    def _close(self):
        self._process.stdout.close()
        self._process = None
        self._log.close()
        if self._session is not None:
            self._session.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, traceback):
        status = self.stop()
        if kind is None:
            assert status == 0, f"the emulator ended with status {status}: {self.log()}"

    # ---- what it is ----

    @property
    def pid(self):
        return self._process.pid

    @property
    def sts(self):
        return self.endpoints["sts"]

    @property
    def entra(self):
        return self.endpoints["entra"]

    @property
    def control(self):
        return self.endpoints["control"]

    @property
    def ca_file(self):
        return str(self.directory / "ca.pem")

    def log(self):
        return (self.directory / "emulator.log").read_text(errors="replace")

    # ---- the control interface ----

    def ask_control(self, method, path, **arguments):
        """The bare answer, whatever its status."""
        return self._session.request(
            method, self.control + path, timeout=CONTROL_SECONDS, **arguments
        )

    def _control(self, method, path, **arguments):
        answer = self.ask_control(method, path, **arguments)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def health(self):
        return self._control("GET", "/v1/health")

    def requests(self, after=0, wait_ms=0, server=None):
        """What it received after that number; waits for the first of them if there is none yet."""
        query = {"after": after, "wait_ms": wait_ms}
        found = self._control("GET", "/v1/requests", params=query)["requests"]
        return [one for one in found if server in (None, one["server"])]

    def wait_for_requests(self, count, after=0, wait_ms=30000):
        """Wait until there are `count` after that number, and return them."""
        found = self.requests(after)
        while len(found) < count:
            newest = found[-1]["number"] if found else after
            more = self.requests(newest, wait_ms)
            assert more, f"{len(found)} of {count} requests came within {wait_ms} ms"
            found += more
        return found

    def connections(self):
        return self._control("GET", "/v1/requests")["connections"]

    def clear_requests(self):
        return self._control("DELETE", "/v1/requests")["deleted"]

    def add_fault(self, action, **members):
        """Queue a fault; returns it as the emulator understood it."""
        return self._control("POST", "/v1/faults", json={"action": action, **members})

    def faults(self):
        return self._control("GET", "/v1/faults")["faults"]

    def clear_faults(self):
        return self._control("DELETE", "/v1/faults")["deleted"]

    def delete_fault(self, number):
        return self._control("DELETE", f"/v1/faults/{number}")

    def accounts(self):
        """{identifier: how many keys it has}"""
        listed = self._control("GET", "/v1/accounts")["accounts"]
        return {account["id"]: account["keys"] for account in listed}

    def put_account(self, identifier, *keys, **members):
        """Add it or replace its keys; `apps` and `tenant` say whose Entra tokens it takes."""
        body = {"keys": list(keys), **members}
        return self._control("PUT", f"/v1/accounts/{identifier}", json=body)

    def delete_account(self, identifier):
        return self._control("DELETE", f"/v1/accounts/{identifier}")

    def tenants(self):
        return self._control("GET", "/v1/tenants")["tenants"]

    def put_tenant(self, identifier, **members):
        return self._control("PUT", f"/v1/tenants/{identifier}", json=members)

    def delete_tenant(self, identifier):
        return self._control("DELETE", f"/v1/tenants/{identifier}")

    def apps(self):
        """{client identifier: the app, without its secrets}"""
        return {app["id"]: app for app in self._control("GET", "/v1/apps")["apps"]}

    def put_app(self, client_id, **members):
        """Register an app of Entra; the manual has the members."""
        return self._control("PUT", f"/v1/apps/{client_id}", json=members)

    def delete_app(self, client_id):
        return self._control("DELETE", f"/v1/apps/{client_id}")

    def device_codes(self):
        return self._control("GET", "/v1/device-codes")["device_codes"]

    def decide_device_code(self, user_code, state, **members):
        """Be the user who approves or declines, or the time that makes the code expire."""
        body = {"state": state, **members}
        return self._control("PUT", f"/v1/device-codes/{user_code}", json=body)

    def revoke_refresh_tokens(self):
        return self._control("DELETE", "/v1/refresh-tokens")["deleted"]

    def identities(self):
        listed = self._control("GET", "/v1/identities")["identities"]
        return {identity["id"]: identity for identity in listed}

    def put_identity(self, client_id, **members):
        """Give the host a managed identity; the manual has the members."""
        return self._control("PUT", f"/v1/identities/{client_id}", json=members)

    def delete_identity(self, client_id):
        return self._control("DELETE", f"/v1/identities/{client_id}")

    def environment(self, server):
        """The variables that a client of that server finds in its environment."""
        return self._control("GET", "/v1/environment")[server]

    def settings(self):
        return self._control("GET", "/v1/settings")

    def change_settings(self, **settings):
        return self._control("PUT", "/v1/settings", json=settings)

    def signing_key(self):
        return self._control("GET", "/v1/signing-key")
