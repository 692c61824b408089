"""What test_service_restart.py runs in the booted system: ends the service in every way there while clients ask
for its token, and prints what it saw as one JSON object. It judges nothing.

Arguments: prefix of the installation, configuration file, account identifier, key.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import guest_tools
from guest_tools import SECONDS, SOCKET, curl, journal, run, show, wait_for, wait_for_status

ROUNDS = 10
LIMIT_S = 2  # the unit's watchdog is too slow for a test
READY = "1 of 1 accounts have a valid token"

prefix, config_file, account_id, key = sys.argv[1:]
config_file = pathlib.Path(config_file)
seen = {}


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(SOCKET)


def ask():
    """The token, or what is wrong, by a connection of its own."""
    connection = Connection("localhost")
    try:
        connection.request("GET", "/v1/token")
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body)["token"] if answer.status == 200 else f"{answer.status} {body!r}"
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


class Clients:
    """Two of them, which ask every millisecond; what they got, counted, and the longest pause."""

    def __enter__(self):
        self.got, self.pause_s = {}, 0
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        for thread in self._threads:
            thread.start()
        return self

    def _run(self):
        while not self._is_over.wait(0.001):
            started = time.monotonic()
            got = ask()
            self.pause_s = max(self.pause_s, time.monotonic() - started)
            self.got[got] = self.got.get(got, 0) + 1

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def answers(self):
        return sum(self.got.values())

    def wait_for_answers(self):
        wanted = self.answers() + 20
        wait_for("an answer", lambda: self.answers() >= wanted)


def exchanges():
    """How many requests the STS has seen."""
    with urllib.request.urlopen(f"{control}/v1/requests", timeout=SECONDS) as answer:
        return len(json.load(answer)["requests"])


def stored():
    return int(show_one("NFileDescriptorStore"))


def show_one(name):
    return run("systemctl", "show", "mrtokend.service", f"--property={name}").stdout.strip().split("=")[1]


def another_process(before):
    return lambda: show()["MainPID"] not in ("0", before) and READY in show()["StatusText"]


def watch(end, rounds=1):
    """End the service so, that many times, with clients; returns what was seen."""
    wait_for("the stored tokens", lambda: stored() == 1)
    found = {"token": ask(), "exchanges_before": exchanges(), "stored": []}
    with Clients() as clients:
        for _ in range(rounds):
            clients.wait_for_answers()
            pid = show()["MainPID"]
            end(int(pid))
            wait_for("the next process", another_process(pid))
            clients.wait_for_answers()
            found["stored"].append(stored())
    found |= {"got": clients.got, "pause_s": clients.pause_s, "exchanges_after": exchanges()}
    return found


def write_config(identifier):
    config_file.write_text(
        f"[daemon]\nca_file = {ca_file}\ndefault_account = anchors\n\n"
        f"[listener main]\npath = {SOCKET}\ngroup = mrtoken\n\n"
        f"[account anchors]\naccount_id = {identifier}\nendpoint = {sts}\n"
        "account_domain = eastus2.mixedreality.azure.com\n"
        f"account_key = file:{key_file}\n"
    )


def hang(pid):
    """Let the refresh thread hang until the watchdog has ended the process."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    task = next(task.name for task in tasks if (task / "comm").read_text().strip() == "refresh")
    command = [sys.executable, "/hang_thread.py", task]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    wait_for("the abort", lambda: show()["MainPID"] != str(pid))
    holder.stdin.close()
    holder.wait(SECONDS)


def upgrade(_):
    """As a package does it: another file in the place of the program, new units, try-restart."""
    program = pathlib.Path(prefix, "sbin", "mrtokend")
    shutil.copy2(program, f"{program}.new")
    os.rename(f"{program}.new", program)
    run("systemctl", "daemon-reload")
    run("systemctl", "try-restart", "mrtokend.service")


# ---- the service as it is installed ----

run("systemd-sysusers")
run("systemd-tmpfiles", "--create", "--prefix=/run/mrtokend")
run("useradd", "--groups=mrtoken", "renderer")
sts, ca = guest_tools.start_emulator(prefix, account_id, key)
control = json.loads(pathlib.Path("/var/lib/emulator/endpoints.json").read_text())["control"]
config_file.parent.mkdir(parents=True, exist_ok=True)
ca_file = config_file.parent / "ca.pem"
ca_file.write_bytes(ca)
key_file = config_file.parent / "anchors.key"
key_file.touch(mode=0o600)
key_file.write_text(key + "\n")
shutil.chown(key_file, "mrtokend", "mrtokend")
write_config(account_id)
drop_in = pathlib.Path("/etc/systemd/system/mrtokend.service.d/test.conf")
drop_in.parent.mkdir()
# More restarts than any service should have.
drop_in.write_text(f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec={LIMIT_S}\n")
run("systemctl", "daemon-reload")
seen["systemd"] = int(run("systemctl", "--version").stdout.split()[1])
run("systemctl", "start", "mrtokend.socket")
seen["first"] = curl("renderer", "mrtoken", path="/healthz")
wait_for_status(READY)

# ---- its ends ----

seen["restart"] = watch(lambda pid: run("systemctl", "restart", "mrtokend.service"), ROUNDS)
seen["kill"] = watch(lambda pid: os.kill(pid, signal.SIGKILL), ROUNDS)
seen["watchdog"] = watch(hang)
seen["upgrade"] = watch(upgrade)
seen["reexec"] = watch(
    lambda pid: [run("systemctl", "daemon-reexec"), run("systemctl", "restart", "mrtokend.service")]
)

# A stop and a start: the socket stays, and is what starts it again.
seen["before_stop"] = {"token": ask(), "exchanges": exchanges()}
run("systemctl", "stop", "mrtokend.service")
seen["stored_while_stopped"] = stored()
seen["after_start"] = {"health": curl("renderer", "mrtoken", path="/healthz")}
wait_for_status(READY)
seen["after_start"] |= {"token": ask(), "exchanges": exchanges()}

# ---- another configuration ----

wait_for("the stored tokens", lambda: stored() == 1)
other = account_id[:-1] + ("0" if account_id[-1] != "0" else "1")
write_config(other)
run("systemctl", "restart", "mrtokend.service")
wait_for("the refusal", lambda: "are refused, and fetched anew" in journal("-u", "mrtokend"))
seen["stored_of_another"] = wait_for("an empty store", lambda: [] if stored() else [stored()])

run("systemctl", "stop", "mrtokend.socket", "mrtokend.service", "emulator.service")
run("journalctl", "--update-catalog")
seen["explained"] = journal("--catalog", "MESSAGE_ID=e8952982db09428f9c709810797019e9")
entries = journal("-u", "mrtokend", "--output=json").splitlines()
seen["journal"] = [json.loads(entry) for entry in entries]
print(json.dumps(seen))
