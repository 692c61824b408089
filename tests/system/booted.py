"""Installs the service on a throwaway copy of this machine, boots it, and runs a script there."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
ACCOUNT_ID = "7f1c3c5e-0000-4000-8000-0123456789ab"
KEY = "a2V5LW9mLXRoZS1ib290ZWQtc3lzdGVtLTEyMzQ1Njc4"

NEEDS_A_SYSTEM = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a system"),
    pytest.mark.skipif(
        shutil.which("systemd-nspawn") is None,
        reason="systemd-nspawn is missing: apt-get install systemd-container",
    ),
]


def see_in_booted_system(tmp_path_factory, script, *more):
    """What the script, and perhaps more files that it needs, saw there: the JSON that it printed."""
    build = os.environ["MRT_BUILD_DIR"]
    files = tmp_path_factory.mktemp("files")
    subprocess.run(
        ["make", "-C", build, "install", f"DESTDIR={files}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for name in (script, "guest_tools.py", *more):
        shutil.copy(HERE / name, files)
    usage = subprocess.run(
        [os.path.join(build, "mrtokend"), "--help"], check=True, capture_output=True, text=True
    )
    config_file = re.search(r"/\S+/mrtokend\.conf$", usage.stdout, re.MULTILINE).group()
    prefix = next(files.glob("**/bin/mrtoken")).parent.parent.relative_to(files)
    done = subprocess.run(
        [HERE / "boot", "--files", files, "/usr/bin/python3", f"/{script}"]
        + [f"/{prefix}", config_file, ACCOUNT_ID, KEY],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)
