"""What test_peers.py runs in the booted system: clients in units of all kinds, against rules of units.
It prints what it saw as one JSON object, and judges nothing.

Arguments: prefix of the installation, configuration file, account identifier, key.
"""

import json
import pathlib
import sys

import guest_tools
from guest_tools import SOCKET, journal, run, wait_for, wait_for_status

prefix, config_file, account_id, key = sys.argv[1:]
config_file = pathlib.Path(config_file)
seen = {}

CURL = f"curl --silent --max-time 10 --write-out '%{{http_code}}' --unix-socket {SOCKET} http://localhost"


def write_config(**rules):
    keys = {
        "account_id": account_id,
        "account_domain": "eastus2.mixedreality.azure.com",
        "endpoint": sts.replace("127.0.0.1", "localhost"),
        "account_key": "credential:anchors-key",
        **rules,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in keys.items())
    config_file.write_text(
        f"[daemon]\nca_file = {config_file.parent}/ca.pem\n\n"
        f"[listener main]\npath = {SOCKET}\ngroup = mrtoken\n\n[account anchors]\n{lines}"
    )


def reload(**rules):
    write_config(**rules)
    before = journal("-u", "mrtokend").count("reloaded the configuration")
    run("systemctl", "reload", "mrtokend.service")
    wait_for("the reload", lambda: journal("-u", "mrtokend").count("reloaded the conf") > before)


def in_unit(unit, *options, path="/v1/token", script=None):
    """Status and body that a client in that unit gets; user and group are of those who may connect."""
    command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}"]
    command += ["--property=SupplementaryGroups=mrtoken", "--uid=renderer", *options]
    done = run(*command, "/bin/sh", "-c", script or f"{CURL}{path}", check=False)
    return {"body": done.stdout[:-3], "status": done.stdout[-3:], "error": done.stderr}


# Moves itself into a cgroup below that of its unit, which bears the name of another unit.
BELOW = f"""
own=/sys/fs/cgroup$(grep ^0:: /proc/self/cgroup | cut -d: -f3)
mkdir "$own/renderer.service" && echo 0 > "$own/renderer.service/cgroup.procs" || exit 1
exec {CURL}/v1/token
"""

run("systemd-sysusers")
run("systemd-tmpfiles", "--create", "--prefix=/run/mrtokend")
run("useradd", "--groups=mrtoken", "renderer")
sts, ca = guest_tools.start_emulator(prefix, account_id, key)
config_file.parent.mkdir(parents=True, exist_ok=True)
(config_file.parent / "ca.pem").write_bytes(ca)
key_file = config_file.parent / "anchors.key"
key_file.touch(mode=0o600)
key_file.write_text(key + "\n")
drop_in = pathlib.Path("/etc/systemd/system/mrtokend.service.d/key.conf")
drop_in.parent.mkdir()
drop_in.write_text(f"[Service]\nLoadCredential=anchors-key:{key_file}\n")
write_config(allow_units="renderer.service, worker@.service, esc\\x2daped.service")
run("systemctl", "daemon-reload")
run("systemctl", "start", "mrtokend.socket", "mrtokend.service")
wait_for_status("1 of 1")

seen["allowed"] = in_unit("renderer.service")
seen["instance"] = in_unit("worker@7.service")
seen["escaped"] = in_unit("esc\\x2daped.service")
seen["in_slice"] = in_unit("renderer.service", "--slice=a-b-c.slice")
seen["other"] = in_unit("other.service")
seen["no_instance"] = in_unit("worker.service")
seen["scope"] = guest_tools.curl("renderer", "mrtoken", path="/v1/token")
seen["below"] = in_unit("other.service", "--property=Delegate=yes", script=BELOW)

# A user's own manager, which runs a unit of the name that is allowed.
answer = pathlib.Path("/var/tmp/answer-of-user-unit")
unit = pathlib.Path("/etc/systemd/user/renderer.service")
unit.parent.mkdir(parents=True, exist_ok=True)
unit.write_text(
    f"[Service]\nType=oneshot\nExecStart=/bin/sh -c \"{CURL.replace('%', '%%')}/v1/token > {answer}.new;"
    f" cat /proc/self/cgroup >> {answer}.new; mv {answer}.new {answer}\"\n"
    "[Install]\nWantedBy=default.target\n"
)
run("systemctl", "--global", "enable", "renderer.service")
user_id = run("id", "--user", "renderer").stdout.strip()
run("systemctl", "start", f"user@{user_id}.service")
wait_for("the user's unit", answer.exists)
seen["user_unit"] = answer.read_text()
run("systemctl", "stop", f"user@{user_id}.service")

seen["no_admin"] = in_unit("renderer.service", path="/v1/accounts/anchors/refresh -XPOST")

reload(deny_units="renderer.service", allow_users="renderer", admin_units="other.service")
seen["denied"] = in_unit("renderer.service")
seen["not_denied"] = in_unit("other.service")
seen["admin"] = in_unit("other.service", path="/v1/accounts/anchors/refresh -XPOST")
seen["checked"] = run(f"{prefix}/sbin/mrtokend", "--check-config").stdout

run("systemctl", "stop", "mrtokend.socket", "mrtokend.service", "emulator.service")
entries = journal("-u", "mrtokend", "--output=json").splitlines()
seen["journal"] = [json.loads(entry) for entry in entries]
print(json.dumps(seen))
