"""Many clients at once: nothing stalls, nothing fails, nothing is expired as it leaves."""

import json
import os
import re
import subprocess

import pytest

from conftest import ACCOUNT_ID
from rig.daemon import account_section, binary

REQUESTS = int(os.environ.get("MRT_LOAD_REQUESTS", "1000000"))


def load(daemon, connections, requests, *arguments):
    """Run the load client; returns its counts, and whether it found everything in order."""
    result = subprocess.run(
        [
            binary("tests/load/load_client"),
            f"--socket={daemon.socket}",
            f"--connections={connections}",
            f"--requests={requests}",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return json.loads(result.stdout)


# libmicrohttpd's own event loop stalls when a batch of 128 events is exactly full.
@pytest.mark.parametrize("connections", [127, 128, 129, 256, 512, 1024])
def test_busy_connections_never_stall(daemon, connections):
    counts = load(daemon, connections, REQUESTS // 50)
    assert counts["requests"] == REQUESTS // 50
    assert counts["failed"] == 0


def test_no_request_fails_and_no_token_is_expired_while_tokens_are_refreshed(
    make_daemon, emulator, key_file
):
    # A life of 5 s is refreshed about every 2 s.
    emulator.change_settings(token_lifetime_s=5)
    daemon = make_daemon(account_section("anchors", emulator, key_file)).start()
    daemon.wait_for_token("anchors")
    emulator.clear_requests()
    counts = load(daemon, 200, REQUESTS)
    emulator.wait_for_requests(1)
    while counts["token_changes"] < 2:  # a machine so fast that no refresh came in between
        counts = load(daemon, 200, REQUESTS)
    assert counts["failed"] == 0
    assert counts["expired"] == 0


def test_a_connection_for_each_request_is_served_as_well(daemon):
    counts = load(daemon, 64, REQUESTS // 50, "--close")
    assert counts["failed"] == 0


def test_thousands_of_connections_leave_no_descriptor_behind(daemon):
    assert daemon.get("/healthz").status == 200
    before = daemon.descriptors()
    load(daemon, 512, 4096)
    # Closing is seen by the event loop in the order of the connections: this answer comes after.
    for _ in range(100):
        assert daemon.get("/healthz").status == 200
        if daemon.descriptors() <= before:
            break
    assert daemon.descriptors() <= before


@pytest.mark.plain_build
@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"allow_users": f"1, {os.geteuid()}", "deny_groups": "4294967294", "admin_users": "1"},
        {"deny_units": "x.service, y@.service", "allow_users": os.geteuid()},
    ],
    ids=["no rules", "rules", "rules of units"],
)
def test_a_cached_token_costs_two_system_calls_and_none_for_clock_or_memory(
    make_daemon, emulator, key_file, tmp_path, rules
):
    daemon = make_daemon(account_section("anchors", emulator, key_file, **rules)).start()
    daemon.wait_for_token("anchors")
    trace = tmp_path / "trace"
    load(daemon, 8, 1000)  # whatever is done once has been done
    strace = subprocess.Popen(
        ["strace", "-qq", "-o", str(trace), "-p", dict(daemon.threads())["serve"]],
        stderr=subprocess.PIPE,
    )
    try:
        # Attached when the first call of a request is in the file.
        while not trace.exists() or "sendmsg" not in trace.read_text():
            assert daemon.get("/v1/token").status == 200
        start = trace.stat().st_size
        load(daemon, 1, 1000)
    finally:
        strace.terminate()
        strace.wait()
    with open(trace, encoding="ascii", errors="replace") as file:
        file.seek(start)
        names = re.findall(r"^(\w+)\(", file.read(), re.MULTILINE)
    counted = {name: names.count(name) for name in set(names)}
    assert counted["sendmsg"] == pytest.approx(1000, abs=2)
    assert counted["recvfrom"] == pytest.approx(1000, abs=4)
    # Who connects is looked at once: user and groups, and the unit, where a rule names one, or for
    # the line that tells of the first token that a process gets.
    connections = counted.pop("accept4")
    assert counted.pop("getsockopt") <= 3 * connections
    # Waiting is shared by all requests that are there; a single client has one wait for each.
    known = {"sendmsg", "recvfrom", "poll", "epoll_wait", "epoll_ctl", "close", "mprotect"}
    known |= {"shutdown", "brk", "restart_syscall"}
    others = {name: count for name, count in counted.items() if name not in known}
    assert sum(others.values()) <= 60 * connections, counted
    assert counted.get("mprotect", 0) + counted.get("brk", 0) < 10, counted


def test_many_accounts_are_served_like_one(make_daemon, emulator, key_file):
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(200)]
    for one in ids:
        emulator.put_account(one, key_file.read_text().strip())
    sections = [account_section("a0", emulator, key_file, ids[0])]
    for number, one in enumerate(ids[1:], 1):
        section = account_section(f"a{number}", emulator, key_file, one)
        sections.append(section[section.index("[account") :])
    daemon = make_daemon("\n".join(sections)).start()
    daemon.wait_for_state(lambda state: any("200 of 200" in line for line in state))
    for number in (0, 99, 199):
        counts = load(daemon, 16, 2000, f"--target=/v1/accounts/a{number}/token")
        assert counts["failed"] == 0
    assert ACCOUNT_ID not in ids
