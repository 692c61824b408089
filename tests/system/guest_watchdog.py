"""What test_service_watchdog.py runs in the booted system: lets threads of the service hang there, and prints
what it saw as one JSON object. It judges nothing.

Arguments: prefix of the installation, configuration file, account identifier, key.
"""

import json
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import guest_tools
from guest_tools import SECONDS, SOCKET, curl, journal, run, show, wait_for, wait_for_status

LIMIT_S = 2  # the unit's own is too long for a test
MANY = 3000

prefix, config_file, account_id, key = sys.argv[1:]
config_file = pathlib.Path(config_file)
seen = {}


def account(name, identifier):
    return (
        f"[account {name}]\naccount_id = {identifier}\nendpoint = {sts}\n"
        "account_domain = eastus2.mixedreality.azure.com\n"
        f"account_key = file:{key_file}\n\n"
    )


def write_config(more=0):
    """The account of the test, and so many that the STS does not know."""
    config_file.write_text(
        f"[daemon]\nca_file = {ca_file}\ndefault_account = anchors\nlog_level = error\n\n"
        f"[listener main]\npath = {SOCKET}\ngroup = mrtoken\n\n"
        + account("anchors", account_id)
        + "".join(account(f"a-{i}", f"7f1c3c5e-0000-4000-8001-{i:012d}") for i in range(more))
    )


def thread_of(pid, name):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return next(task.name for task in tasks if (task / "comm").read_text().strip() == name)


def hang(name):
    """Let that thread hang, and wait until the service is there again; returns what was seen."""
    before = wait_for_status("1 of 1 accounts have a valid token")
    holder = subprocess.Popen(
        [sys.executable, "/hang_thread.py", thread_of(before["MainPID"], name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    found = {"before": before, "held": holder.stdout.readline().decode()}
    if name == "refresh":
        found["token_meanwhile"] = curl("renderer", "mrtoken", path="/v1/token")
    wait_for("the restart", lambda: show()["NRestarts"] != before["NRestarts"])
    found["ready_again"] = wait_for_status("1 of 1 accounts have a valid token")
    found["token_after"] = curl("renderer", "mrtoken", path="/v1/token")
    holder.stdin.close()
    holder.wait(SECONDS)
    return found


# ---- the service as it is installed, but for the watchdog's time ----

run("systemd-sysusers")
run("systemd-tmpfiles", "--create", "--prefix=/run/mrtokend")
run("useradd", "--groups=mrtoken", "renderer")
sts, ca = guest_tools.start_emulator(prefix, account_id, key)
config_file.parent.mkdir(parents=True, exist_ok=True)
ca_file = config_file.parent / "ca.pem"
ca_file.write_bytes(ca)
key_file = config_file.parent / "anchors.key"
key_file.touch(mode=0o600)
key_file.write_text(key + "\n")
shutil.chown(key_file, "mrtokend", "mrtokend")
write_config()
run("systemctl", "start", "mrtokend.socket", "mrtokend.service")
seen["limit"] = run("systemctl", "show", "mrtokend.service", "--property=WatchdogUSec").stdout
drop_in = pathlib.Path("/etc/systemd/system/mrtokend.service.d/watchdog.conf")
drop_in.parent.mkdir()
drop_in.write_text(f"[Service]\nWatchdogSec={LIMIT_S}\n")
run("systemctl", "daemon-reload")
run("systemctl", "restart", "mrtokend.service")

# ---- each thread hangs once ----

seen["refresh"] = hang("refresh")
seen["serve"] = hang("serve")

# ---- a long reload and a slow stop do not look like it ----

seen["before_reload"] = show()
write_config(more=MANY)
run("systemctl", "reload", "mrtokend.service")
seen["reloaded"] = wait_for_status(f"1 of {MANY + 1} accounts have a valid token")
with socket.socket(socket.AF_UNIX) as client:
    client.connect(SOCKET)
    client.sendall(b"GET /v1/accounts HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.recv(1000)  # and no more of a long answer: the stop waits for the rest
    started = time.monotonic()
    run("systemctl", "stop", "mrtokend.service")
    seen["stop_seconds"] = time.monotonic() - started
seen["limit_seconds"] = LIMIT_S
seen["stopped"] = show()

run("systemctl", "stop", "mrtokend.socket", "emulator.service")
run("journalctl", "--update-catalog")
seen["explained"] = journal("--catalog", "THREAD=refresh")
entries = journal("-u", "mrtokend", "--output=json").splitlines()
seen["journal"] = [json.loads(entry) for entry in entries]
print(json.dumps(seen))
