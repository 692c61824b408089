"""What the scripts that run in the booted system share: commands, the service's state, an STS."""

import json
import pathlib
import subprocess
import time
import urllib.request

SECONDS = 20  # bounds what hangs
SOCKET = "/run/mrtokend/mrtokend.sock"


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, **options)
    if check and done.returncode != 0:
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}{journal()}")
    return done


def journal(*matches):
    command = ["journalctl", "--no-pager", "--quiet", *matches]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS).stdout


def show(unit="mrtokend.service"):
    properties = "ActiveState,SubState,Result,StatusText,NRestarts,MainPID,ExecMainStatus,ExecMainCode"
    lines = run("systemctl", "show", unit, f"--property={properties}").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def look_for(wanted, seconds=SECONDS):
    """What wanted() says once it says something, or says in the end."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def wait_for(what, wanted):
    found = look_for(wanted)
    if not found:
        raise SystemExit(f"{what} did not come\n{show()}\n{journal()}")
    return found


def wait_for_status(part):
    return wait_for(f"the status {part!r}", lambda: part in show()["StatusText"] and show())


def curl(user, *groups, path="/v1/accounts/anchors"):
    """What curl says to that user: exit status of curl, and HTTP status with the body."""
    groups = ",".join(groups) or user
    command = ["setpriv", f"--reuid={user}", "--regid=nogroup", f"--groups={groups}", "curl"]
    command += ["--silent", "--show-error", "--write-out", "\n%{http_code}", "--max-time", "10"]
    command += ["--unix-socket", SOCKET, "http://localhost" + path]
    done = run(*command, check=False)
    body, _, status = done.stdout.rpartition("\n")
    return {"exit": done.returncode, "status": int(status or 0), "body": body, "error": done.stderr}


def start_emulator(prefix, account_id, key):
    """Start an STS with that account; returns its address and its certificate authority."""
    directory = pathlib.Path("/var/lib/emulator")
    program = f"{prefix}/bin/mrtoken-emulator"
    run("systemd-run", "--unit=emulator", program, f"--directory={directory}")
    wait_for("the emulator", (directory / "endpoints.json").exists)
    endpoints = json.loads((directory / "endpoints.json").read_text())
    # Not on a command line, which systemd logs.
    put = urllib.request.Request(
        f"{endpoints['control']}/v1/accounts/{account_id}",
        data=json.dumps({"keys": [key]}).encode(),
        method="PUT",
    )
    urllib.request.urlopen(put, timeout=SECONDS).close()
    return endpoints["sts"], (directory / "ca.pem").read_bytes()
