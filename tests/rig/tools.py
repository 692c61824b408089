"""Stand-ins for the developer tools: programs that record how they were run, and answer as told.

Each is a script of its own in one folder, which is put first on the PATH of whoever shall find it.
"""

import datetime
import json
import os
import pathlib
import time

from rig.daemon import TENANT

SECONDS = 60  # bounds what hangs

# It compares its arguments before anything else: one that is run in another way fails.
SCRIPT = """#!/usr/bin/python3 -IS
import json, os, signal, sys, time
here = os.path.dirname(os.path.abspath(__file__))
name = os.path.basename(__file__)
how = json.load(open(os.path.join(here, name + ".json")))
record = {
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "directory": os.getcwd(),
    "input": sys.stdin.read(),
    "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
    "ids": [os.getuid(), os.getgid(), sorted(os.getgroups())],
    "pid": os.getpid(),
}
if how["arguments"] is not None and sys.argv[1:] != how["arguments"]:
    sys.exit(f"ERROR: found the arguments {sys.argv[1:]}, expected {how['arguments']}")
if how["is_deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(os.path.join(here, name + ".calls"), "a") as calls:
    calls.write(json.dumps(record) + "\\n")
sys.stdout.write(how["output"])
sys.stdout.flush()
sys.stderr.write(how["complaint"])
sys.stderr.flush()
time.sleep(how["sleep_s"])
sys.exit(how["status"])
"""


PROGRAMS = {"azure_cli": "az", "azure_developer_cli": "azd", "azure_powershell": "pwsh"}


def answer_of(kind, token, expires_on):
    """What the tool of a credential prints when all is well."""
    utc = datetime.datetime.fromtimestamp(expires_on, datetime.timezone.utc)
    if kind == "azure_cli":
        local = utc.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
        return json.dumps(
            {
                "accessToken": token,
                "expiresOn": local,
                "subscription": "00000000-0000-0000-0000-000000000001",
                "tenant": TENANT,
                "tokenType": "Bearer",
            }
        )
    if kind == "azure_developer_cli":
        return json.dumps({"token": token, "expiresOn": utc.strftime("%Y-%m-%dT%H:%M:%SZ")})
    return f"\nazsdk%{token}%{expires_on}\n\n"


class Tools:
    """Stand-ins in a folder."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.directory.chmod(0o777)  # one that runs as another user records there too
        self.path = f"{self.directory}:/usr/bin:/bin"

    def put(
        self,
        program,
        arguments=None,
        output="",
        complaint="",
        status=0,
        sleep_s=0,
        is_deaf=False,
    ):
        """Make a program, or change what it does.

        arguments  those that it must be run with, its own name left out; None: any
        is_deaf    it ignores SIGTERM
        """
        how = {
            "arguments": arguments,
            "output": output,
            "complaint": complaint,
            "status": status,
            "sleep_s": sleep_s,
            "is_deaf": is_deaf,
        }
        (self.directory / f"{program}.json").write_text(json.dumps(how))
        calls = self.directory / f"{program}.calls"
        calls.touch()
        calls.chmod(0o666)
        path = self.directory / program
        if not path.exists():
            path.write_text(SCRIPT)
            path.chmod(0o755)
        return path

    def calls(self, program):
        """How it was run, once for each time: the members of `record` above."""
        calls = self.directory / f"{program}.calls"
        if not calls.exists():
            return []
        return [json.loads(line) for line in calls.read_text().splitlines()]

    def wait_for_call(self, program):
        """Wait until it was run, and return how."""
        deadline = time.monotonic() + SECONDS
        while not (found := self.calls(program)):
            assert time.monotonic() < deadline, f"{program} was not run"
            time.sleep(0.01)
        return found[0]


def is_alive(pid):
    """Whether there is such a process, and it has not ended."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def wait_until_gone(pid):
    deadline = time.monotonic() + SECONDS
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.01)


def children_of(pid):
    """The processes that it has started and not waited for, those that have ended included."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry))
    return found
