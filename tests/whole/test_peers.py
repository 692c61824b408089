"""Who may do what: clients with other users and groups, against rules, over one daemon's socket."""

import json
import os
import re
import subprocess
import sys

import pytest

from conftest import ACCOUNT_ID
from rig.daemon import account_keys, binary, configuration
from rig.peers import ON_OLD_KERNEL, Client, error_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

SECOND_ID = "7f1c3c5e-0000-4000-8000-0123456789ac"
ALICE, BOB, CAROL = 4001, 4002, 4003
GROUP, OTHER_GROUP = 5001, 5002


@pytest.fixture
def make_ruled(make_daemon, emulator, key_file, tmp_path):
    """Make a daemon with accounts `a`, the default, and `b`, that have these rules, and tokens."""
    emulator.put_account(SECOND_ID, key_file.read_text().strip())
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o011)

    def config(a=None, b=None):
        accounts = {
            "a": account_keys(emulator, key_file, **(a or {})),
            "b": account_keys(emulator, key_file, SECOND_ID, **(b or {})),
        }
        listener = {"path": tmp_path / "mrtokend.sock", "mode": "0666"}
        return configuration(emulator, accounts, {"main": listener}, default_account="a")

    def make(a=None, b=None, **options):
        daemon = make_daemon(config(a, b), **options).start()
        daemon.wait_for_state(lambda state: any("2 of 2 accounts" in line for line in state))
        return daemon

    make.config = config
    return make


def statuses(daemon, uid, **identity):
    """What somebody gets for the tokens of both accounts."""
    with Client(daemon, uid, **identity) as client:
        return [client.status(f"/v1/accounts/{name}/token") for name in "ab"]


def test_without_rules_everybody_who_connects_may_do_everything(make_ruled):
    with Client(make_ruled(), ALICE) as client:
        assert client.status("/v1/token") == 200
        assert client.status("/v1/accounts/b/refresh", "POST") == 202
        assert client.status("/v1/accounts/a/login") == 409  # there is none, and that is told


def test_any_rule_closes_what_no_rule_allows(make_ruled):
    daemon = make_ruled(a={"allow_users": ALICE})
    assert statuses(daemon, ALICE) == [200, 403]
    assert statuses(daemon, BOB) == [403, 403]
    assert statuses(daemon, 0, gid=0) == [403, 403], "root is not above the rules"


def test_groups_count_whether_first_or_supplementary(make_ruled):
    daemon = make_ruled(a={"allow_groups": GROUP}, b={"allow_groups": f"9, {OTHER_GROUP}"})
    assert statuses(daemon, ALICE, gid=GROUP) == [200, 403]
    assert statuses(daemon, ALICE, groups=[1, GROUP, OTHER_GROUP]) == [200, 200]
    assert statuses(daemon, ALICE, groups=range(100, 400)) == [403, 403]
    many = [*range(100, 400), OTHER_GROUP]
    assert statuses(daemon, ALICE, groups=many) == [403, 200]


def test_denial_goes_before_allowance(make_ruled):
    daemon = make_ruled(
        a={"allow_groups": GROUP, "deny_users": BOB, "admin_users": BOB},
        b={"allow_users": f"{ALICE}, {BOB}", "deny_groups": OTHER_GROUP},
    )
    assert statuses(daemon, ALICE, gid=GROUP) == [200, 200]
    assert statuses(daemon, BOB, gid=GROUP) == [403, 200]
    assert statuses(daemon, ALICE, gid=GROUP, groups=[OTHER_GROUP]) == [200, 403]
    with Client(daemon, BOB) as client:
        assert client.status("/v1/accounts/a/refresh", "POST") == 403


def test_names_are_looked_up_as_the_configuration_is_read(make_ruled):
    daemon = make_ruled(a={"allow_users": "root, daemon"}, b={"allow_groups": "daemon"})
    assert statuses(daemon, 0, gid=0) == [200, 403]
    assert statuses(daemon, 1, gid=1) == [200, 200]


def test_administration_has_rules_of_its_own(make_ruled):
    daemon = make_ruled(a={"allow_users": ALICE, "admin_users": BOB, "admin_groups": GROUP})
    with Client(daemon, ALICE) as client:
        for method, path in (("POST", "refresh"), ("GET", "login"), ("POST", "login")):
            answer = client.ask(method, f"/v1/accounts/a/{path}")
            assert answer["status"] == 403
            assert "admin_users" in error_of(answer)["message"]
    with Client(daemon, BOB) as client:
        assert client.status("/v1/accounts/a/token") == 403
        assert client.status("/v1/accounts/a/login") == 409
        assert client.status("/v1/accounts/a/refresh", "POST") == 202
    with Client(daemon, CAROL, groups=[GROUP]) as client:
        assert client.status("/v1/accounts/a/login", "POST") == 409


def test_a_socket_for_everybody_is_warned_of_where_there_are_no_rules(make_ruled):
    words = "every local user can connect"
    daemon = make_ruled()
    assert words in daemon.log()
    assert daemon.stop() == 0
    assert words not in make_ruled(a={"allow_users": ALICE}).log()


# Every route that names an account, so that no way around the rules is left.
ROUTES = [
    ("GET", "/v1/token"),
    ("HEAD", "/v1/token"),
    ("GET", "/v1/token?format=header"),
    ("GET", "/v1/accounts/a/token"),
    ("GET", "/v1/accounts/a/token?format=text"),
    ("GET", "/v1/accounts/%61/token"),
    ("GET", f"/Accounts/{ACCOUNT_ID}/token"),
    ("GET", f"/Accounts/{ACCOUNT_ID.upper()}/token"),
    ("GET", "/v1/accounts/a"),
    ("GET", "/v1/accounts/a/login"),
    ("POST", "/v1/accounts/a/login"),
    ("POST", "/v1/accounts/a/refresh"),
]
DENIALS = {
    "deny_users": ({"deny_users": ALICE, "allow_users": ALICE, "admin_users": ALICE}, "deny_users"),
    "deny_groups": ({"deny_groups": GROUP, "allow_users": ALICE, "admin_users": ALICE}, "deny_gro"),
    "others": ({"allow_users": BOB, "admin_users": BOB}, "names you"),
    "elsewhere": ({}, "names you"),
}


@pytest.mark.parametrize("rules, words", DENIALS.values(), ids=DENIALS)
def test_no_route_is_a_way_around_a_rule(make_ruled, rules, words):
    daemon = make_ruled(a=rules, b={"allow_users": BOB})
    with Client(daemon, ALICE, gid=GROUP) as client:
        for method, target in ROUTES:
            answer = client.ask(method, target)
            assert answer["status"] == 403, target
            assert "ETag" not in answer["headers"]
            assert "eyJ" not in answer["body"]
            if method == "HEAD":
                continue
            error = error_of(answer)
            assert (error["code"], error["account"]) == ("not_allowed", "a")
            assert words in error["message"]
            assert str(BOB) not in answer["body"] and str(GROUP) not in answer["body"]
        # Nothing of it is refreshed either.
        assert client.status("/healthz") == 200


def test_lists_show_what_the_caller_may_use_or_administer(make_ruled):
    daemon = make_ruled(a={"allow_users": f"{ALICE}, {CAROL}"}, b={"admin_users": f"{BOB}, {CAROL}"})
    for uid, names in ((ALICE, ["a"]), (BOB, ["b"]), (CAROL, ["a", "b"]), (0, [])):
        with Client(daemon, uid) as client:
            listed = json.loads(client.get("/v1/accounts")["body"])
            assert [one["name"] for one in listed["accounts"]] == names
            assert listed["default_account"] == ("a" if "a" in names else None)
            ready = client.get("/readyz")
            assert ready["status"] == 200
            assert [one["name"] for one in json.loads(ready["body"])["accounts"]] == names
            for name in "ab":
                wanted = 200 if name in names else 403
                assert client.status(f"/v1/accounts/{name}") == wanted
            assert client.status("/v1/accounts/nosuch") == 404


def test_long_lists_are_not_shown_to_others(make_daemon, emulator, key_file, tmp_path):
    keys = account_keys(emulator, key_file)
    accounts = {
        f"n{number}": {**keys, "allow_users": ALICE if number % 2 else BOB} for number in range(70)
    }
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o011)
    listener = {"path": tmp_path / "mrtokend.sock", "mode": "0666"}
    daemon = make_daemon(configuration(emulator, accounts, {"main": listener})).start()
    with Client(daemon, ALICE) as alice, Client(daemon, BOB) as bob:
        for _ in range(3):
            for client, rest in ((alice, 1), (bob, 0)):
                for path in ("/v1/accounts", "/readyz"):
                    shown = json.loads(client.get(path)["body"])["accounts"]
                    assert {int(one["name"][1:]) % 2 for one in shown} == {rest}
                    assert len(shown) == 35


def test_a_reload_holds_for_open_connections(make_ruled):
    daemon = make_ruled()
    with Client(daemon, ALICE) as client:
        assert client.status() == 200
        daemon.write_config(make_ruled.config(a={"allow_users": BOB}))
        daemon.reload()
        assert client.status() == 403
        daemon.write_config(make_ruled.config(a={"allow_users": ALICE}))
        daemon.reload()
        assert client.status() == 200
        # A rule of units, of which there was none as it connected.
        daemon.write_config(make_ruled.config(a={"allow_units": "no-such.service"}))
        daemon.reload()
        assert client.status() == 403
        daemon.write_config(make_ruled.config())
        daemon.reload()
        assert client.status() == 200


def test_what_waits_for_a_token_is_asked_again_after_a_reload(make_ruled, emulator):
    daemon = make_ruled()
    emulator.put_account("7f1c3c5e-0000-4000-8000-0123456789ad", "d3Jvbmc=")
    waiting = "7f1c3c5e-0000-4000-8000-0123456789ad"
    config = make_ruled.config().replace(SECOND_ID, waiting)
    daemon.write_config(config)
    daemon.reload()
    connection = daemon.connect()
    connection.request("GET", "/v1/accounts/b/token", headers={"Prefer": "wait=20"})
    daemon.wait_for_failure("b")
    daemon.write_config(config.replace("[account b]\n", f"[account b]\nallow_users = {ALICE}\n"))
    daemon.reload()
    answer = connection.getresponse()
    assert answer.status in (403, 503), answer.read()
    assert json.loads(answer.read())["error"]["account"] == "b"
    connection.close()


def test_mrtoken_says_that_it_is_not_allowed_and_what_to_do(make_ruled):
    daemon = make_ruled(a={"allow_users": ALICE})
    done = subprocess.run(
        [binary("mrtoken"), "--socket", str(daemon.socket), "get"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert "you are not allowed: account 'a' is not for you" in done.stderr
    assert "mrtokend.conf(5)" in done.stderr


def test_check_config_tells_the_rules_and_how_units_are_told(make_ruled, tmp_path):
    file = tmp_path / "rules.conf"
    rules = {"allow_users": "root,7", "deny_units": "x@.service", "admin_groups": "daemon"}
    file.write_text(make_ruled.config(a=rules))
    for wrap, words in (([], "by (SO_PEERPIDFD|pidfd_open)"), (ON_OLD_KERNEL, "by pidfd_open")):
        shown = subprocess.run(
            [*wrap, binary("mrtokend"), "--check-config", "--config", str(file)],
            capture_output=True, text=True, check=True,
        ).stdout
        assert re.search(f"^# the systemd units of peers are told {words}", shown, re.MULTILINE)
        for line in ("allow_users = root, 7", "deny_units = x@.service", "admin_groups = daemon"):
            assert f"\n{line}\n" in shown


# ---- units: here, outside of a booted systemd, no process is in one that a rule names ----


def test_on_an_old_kernel_a_young_process_is_told_to_connect_again(make_ruled):
    daemon = make_ruled(a={"allow_units": "x.service"}, wrap=ON_OLD_KERNEL)
    # Whoever comes while the daemon looks at its queue, as after a start, may be known at once.
    for _ in range(20):
        with Client(daemon, ALICE) as client:
            answer = client.get("/v1/token")
            if answer["status"] != 503:
                continue
            assert error_of(answer)["code"] == "unit_not_known_yet"
            assert answer["headers"]["Retry-After"] == "1"
            assert answer["headers"]["Connection"] == "close"
            # The daemon looks 20 ms later; whatever it answers over new connections meanwhile.
            while (answer := client.get("/v1/token"))["status"] == 503:
                pass
            assert answer["status"] == 403, answer
            return
    pytest.fail("no process was too young")


def test_on_an_old_kernel_mrtoken_asks_again_by_itself(make_ruled):
    daemon = make_ruled(a={"allow_units": "x.service"}, wrap=ON_OLD_KERNEL)
    done = subprocess.run(
        [binary("mrtoken"), "--socket", str(daemon.socket), "get"], capture_output=True, text=True
    )
    assert done.returncode == 6, done.stderr


def test_rules_of_units_leave_no_descriptor_behind(make_ruled):
    for wrap in ([], ON_OLD_KERNEL):
        daemon = make_ruled(a={"allow_units": "x.service", "allow_users": 0}, wrap=wrap)
        assert daemon.get("/healthz").status == 200
        daemon.wait_for_descriptors(daemon.descriptors())
        before = daemon.descriptors()
        for _ in range(200):
            assert daemon.get("/v1/token").status == 200
        daemon.wait_for_descriptors(before)
        daemon.close()


# ---- the audit ----


def audit_lines(daemon):
    """What is told of who got tokens, as dictionaries."""
    found = [line for line in daemon.log_lines() if "PEER_UID=" in line]
    return [dict(re.findall(r"(\w+)=(\S+)", line)) | {"line": line} for line in found]


def test_the_log_tells_who_got_a_token_once_for_each_process_and_account(make_ruled):
    daemon = make_ruled()
    with Client(daemon, ALICE) as alice, Client(daemon, BOB) as bob:
        first = alice.get("/v1/token")
        for _ in range(50):
            alice.get("/v1/token")
        last = alice.get("/v1/token?format=header")
        alice.get("/v1/accounts/b/token")
        bob.get(f"/Accounts/{ACCOUNT_ID}/token")
        pids = [alice.pid, bob.pid]
    assert daemon.stop() == 0
    told = [
        (one["ACCOUNT"], one["PEER_UID"], one["PEER_PID"], one["TOKENS"])
        for one in audit_lines(daemon)
    ]
    assert told == [
        ("a", str(ALICE), str(pids[0]), "1"),
        ("b", str(ALICE), str(pids[0]), "1"),
        ("a", str(BOB), str(pids[1]), "1"),
        ("a", str(ALICE), str(pids[0]), "51"),
    ]
    lines = audit_lines(daemon)
    assert lines[0]["REQUEST_ID"] == first["headers"]["X-Request-Id"]
    assert lines[3]["REQUEST_ID"] == last["headers"]["X-Request-Id"]
    assert lines[0]["line"].startswith(
        f"mrtokend: info: account a: gave a token to uid {ALICE}, process {pids[0]}"
    )
    assert "eyJ" not in daemon.log()


def test_what_gives_no_token_is_not_told(make_ruled):
    daemon = make_ruled(a={"allow_users": ALICE}, b={"admin_users": ALICE})
    with Client(daemon, ALICE) as alice, Client(daemon, BOB) as bob:
        alice.status("/v1/token", "HEAD")
        alice.status("/v1/accounts")
        alice.status("/v1/accounts/b/token")
        alice.status("/v1/accounts/b/refresh", "POST")
        bob.status("/v1/token")
    assert daemon.stop() == 0
    assert audit_lines(daemon) == []


def test_a_log_level_above_info_has_no_audit(make_ruled):
    daemon = make_ruled()
    daemon.write_config(make_ruled.config().replace("[daemon]\n", "[daemon]\nlog_level = notice\n"))
    daemon.reload()
    with Client(daemon, ALICE) as alice:
        assert alice.status() == 200
    assert daemon.stop() == 0
    assert audit_lines(daemon) == []


# ---- limits of each user ----


GOOD = b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Greedy:
    """A process of that user that opens so many connections, and sends something on each."""

    SCRIPT = """
import os, socket, sys
path, uid, count, data = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
os.setresuid(uid, uid, uid)
made = []
for _ in range(count):
    made.append(socket.socket(socket.AF_UNIX))
    made[-1].connect(path)
    made[-1].sendall(data)
    print("ready", flush=True)
sys.stdin.read()
"""

    def __init__(self, daemon, uid, count, data):
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, str(daemon.socket), str(uid), str(count), data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count):
            assert self._process.stdout.readline() == b"ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


# 64 descriptors are 32 connections.
FEW = ["prlimit", "--nofile=64:64"]

IDLE = GOOD.decode()
HALF_A_REQUEST = "GET /v1/tok"
WAITING = "GET /v1/accounts/b/token HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=25\r\n\r\n"


@pytest.mark.plain_build  # sanitizers need descriptors of their own
@pytest.mark.parametrize("data", [IDLE, "", HALF_A_REQUEST, WAITING])
def test_a_user_who_takes_all_connections_takes_none_from_others(
    make_ruled, make_daemon, emulator, data
):
    daemon = make_ruled(wrap=FEW)
    emulator.put_account("7f1c3c5e-0000-4000-8000-0123456789ad", "d3Jvbmc=")
    emulator.add_fault("delay", delay_ms=30000, count=100)
    waiting = "7f1c3c5e-0000-4000-8000-0123456789ad"
    daemon.write_config(make_ruled.config().replace(SECOND_ID, waiting))
    daemon.reload()
    with Client(daemon, BOB) as bob:
        assert bob.status() == 200
        with Greedy(daemon, ALICE, 100, data):
            # Bob's idle connection is older than any of Alice's, and new ones find room.
            assert bob.status() == 200
            for _ in range(10):
                with Client(daemon, CAROL) as carol:
                    assert carol.status() == 200
            assert bob.status() == 200


def test_a_user_who_asks_too_often_is_told_so_and_others_are_served(make_ruled):
    daemon = make_ruled()
    load = ["setpriv", f"--reuid={ALICE}", "--regid=65534", "--clear-groups"]
    load += [binary("tests/load/load_client"), f"--socket={daemon.socket}"]
    with Client(daemon, BOB) as bob:
        assert bob.status() == 200
        greedy = subprocess.Popen(
            [*load, "--connections=16", "--requests=1000000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            with Client(daemon, ALICE) as alice:
                for _ in range(100000):
                    assert bob.status() == 200
                    answer = alice.get("/v1/token")
                    if answer["status"] != 200:
                        break
                assert answer["status"] == 429, answer
                assert error_of(answer)["code"] == "too_many_requests"
                assert answer["headers"]["Retry-After"] == "1"
                assert bob.status() == 200
        finally:
            greedy.kill()
            greedy.communicate()


def test_a_user_alone_may_ask_as_often_as_he_likes(make_ruled):
    daemon = make_ruled()
    done = subprocess.run(
        [binary("tests/load/load_client"), f"--socket={daemon.socket}"]
        + ["--connections=4", "--requests=20000"],
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["failed"] == 0
