"""What test_service.py runs in the booted system: installs, uses and breaks the service there, and
prints what it saw as one JSON object. It judges nothing.

Arguments: prefix of the installation, configuration file, account identifier, key.
"""

import json
import os
import pathlib
import signal
import stat
import sys

import guest_tools
from guest_tools import SOCKET, curl, journal, look_for, run, show, wait_for, wait_for_status

UNITS = ("mrtokend.service", "mrtokend.socket")

prefix, config_file, account_id, key = sys.argv[1:]
config_file = pathlib.Path(config_file)
seen = {}


def socket_file():
    try:
        status = os.stat(SOCKET)
    except FileNotFoundError:
        return None
    names = run("stat", "--format=%U %G", SOCKET).stdout.split()
    return {"mode": f"{stat.S_IMODE(status.st_mode):04o}", "user": names[0], "group": names[1]}


def write_config(**account):
    keys = {
        "account_id": account_id,
        "account_domain": "eastus2.mixedreality.azure.com",
        # By name, so that a name is looked up under the unit's restrictions.
        "endpoint": sts.replace("127.0.0.1", "localhost"),
        "account_key": "credential:anchors-key",
        **account,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in keys.items())
    config_file.write_text(
        f"[daemon]\nca_file = {config_file.parent}/ca.pem\n\n"
        f"[listener main]\npath = {SOCKET}\ngroup = mrtoken\n\n[account anchors]\n{lines}"
    )


# ---- as a package does it when it is installed ----

run("systemd-sysusers")
run("systemd-tmpfiles", "--create", "--prefix=/run/mrtokend")
seen["verify"] = "".join(
    done.stdout + done.stderr
    for done in [run("systemd-analyze", "verify", *UNITS, check=False)]
)
exposure = run("systemd-analyze", "security", "--no-pager", "mrtokend.service", check=False).stdout
seen["exposure"] = float(exposure.split("exposure level for mrtokend.service:")[1].split()[0])
run("useradd", "--groups=mrtoken", "renderer")

# ---- an STS to ask ----

sts, ca = guest_tools.start_emulator(prefix, account_id, key)

# ---- as an administrator does it ----

config_file.parent.mkdir(parents=True, exist_ok=True)
(config_file.parent / "ca.pem").write_bytes(ca)
key_file = config_file.parent / "anchors.key"
key_file.touch(mode=0o600)
key_file.write_text(key + "\n")
drop_in = pathlib.Path("/etc/systemd/system/mrtokend.service.d/key.conf")
drop_in.parent.mkdir()
drop_in.write_text(f"[Service]\nLoadCredential=anchors-key:{key_file}\n")
write_config()
run("systemctl", "daemon-reload")
run("systemctl", "start", "mrtokend.socket")
seen["socket"] = socket_file()
seen["before_activation"] = show()["ActiveState"]

# ---- the first client starts the daemon ----

seen["first_answer"] = curl("renderer", "mrtoken", path="/healthz")
seen["ready"] = wait_for_status("1 of 1 accounts have a valid token")
seen["token"] = curl("renderer", "mrtoken", path="/v1/token")
seen["nobody"] = curl("nobody", "nogroup", path="/v1/token")
seen["status"] = run("systemctl", "status", "--no-pager", "mrtokend.service").stdout
process = pathlib.Path("/proc", seen["ready"]["MainPID"])
lines = (process / "status").read_text().splitlines()
seen["process"] = dict(line.replace("\t", "").split(":", 1) for line in lines)
seen["limits"] = (process / "limits").read_text()

# ---- reload ----

write_config(required="no")
run("systemctl", "reload", "mrtokend.service")
wait_for("the reload", lambda: "reloaded the configuration" in journal("-u", "mrtokend"))
seen["reloaded"] = curl("renderer", "mrtoken")
write_config(required="perhaps")
run("systemctl", "reload", "mrtokend.service")
wait_for("the refusal", lambda: "the old one stays in force" in journal("-u", "mrtokend"))
look_for(lambda: "perhaps" in show()["StatusText"], seconds=1)
seen["bad_reload"] = show()
seen["token_after_bad_reload"] = curl("renderer", "mrtoken", path="/v1/token")
write_config()
run("systemctl", "reload", "mrtokend.service")
wait_for_status("1 of 1 accounts")

# ---- the credential is refreshed, as newer versions of systemd do: files are put in its place ----


def put_credential(content):
    directory = pathlib.Path("/run/credentials/mrtokend.service")
    run("mount", "-o", "remount,rw", directory)
    present = directory / "anchors-key"
    new = directory / "new"
    run("cp", "--preserve=all", present, new)
    new.chmod(0o600)
    new.write_text(content + "\n")
    new.chmod(stat.S_IMODE(present.stat().st_mode))
    new.rename(present)
    run("mount", "-o", "remount,ro", directory)


before_rotation = show()["MainPID"]
put_credential("d3Jvbmcta2V5LW9mLXRoZS1ib290ZWQtc3lzdGVtLTE=")
wait_for_status("refresh fails for 1: anchors (denied)")
seen["token_after_wrong_key"] = curl("renderer", "mrtoken", path="/v1/token")
put_credential(key)
wait_for("a token", lambda: "denied" not in show()["StatusText"])
seen["token_after_right_key"] = curl("renderer", "mrtoken", path="/v1/token")
seen["is_same_process"] = show()["MainPID"] == before_rotation

# ---- a crash ----

os.kill(int(show()["MainPID"]), signal.SIGKILL)
seen["after_crash"] = curl("renderer", "mrtoken", path="/healthz")
seen["restarted"] = wait_for_status("1 of 1")

# ---- stop: the daemon alone, then its socket too ----

run("systemctl", "stop", "mrtokend.service")
seen["stopped"] = show()
seen["socket_of_stopped_daemon"] = socket_file()
seen["activated_again"] = curl("renderer", "mrtoken", path="/healthz")
run("systemctl", "stop", "mrtokend.socket", "mrtokend.service")
seen["socket_after_all"] = socket_file()

# ---- without the socket unit the daemon makes its socket itself ----

run("systemctl", "start", "mrtokend.service")
seen["own_socket"] = socket_file()
wait_for_status("1 of 1")
seen["own_token"] = curl("renderer", "mrtoken", path="/v1/token")
run("systemctl", "stop", "mrtokend.service")
seen["own_socket_after_stop"] = socket_file()

# ---- where nobody ran systemd-tmpfiles, the socket unit makes the directory ----

pathlib.Path("/run/mrtokend").rmdir()
run("systemctl", "start", "mrtokend.socket")
seen["without_tmpfiles"] = curl("renderer", "mrtoken", path="/healthz")
seen["without_tmpfiles_again"] = curl("renderer", "mrtoken", path="/healthz")
seen["without_tmpfiles_socket"] = socket_file()
run("systemctl", "stop", "mrtokend.socket", "mrtokend.service")

# ---- a bad configuration ----

write_config(required="perhaps")
run("systemctl", "start", "mrtokend.service", check=False)
seen["bad_configuration"] = show()

run("systemctl", "stop", "emulator.service")
entries = journal("-u", "mrtokend", "--output=json").splitlines()
seen["journal"] = [json.loads(entry) for entry in entries]
seen["whole_journal"] = journal()
print(json.dumps(seen))
