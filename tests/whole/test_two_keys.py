"""An account with two keys: which is in use, when it changes, and who is told."""

import re
import subprocess

import pytest

from conftest import ACCOUNT_ID, KEY, SECOND_KEY
from rig.credentials import write_secret
from rig.daemon import Poller, account_section, binary

THIRD_KEY = "dGhpcmQta2V5LW9mLXRoZS10ZXN0cy1hY2NvdW50LTE="
FIRST, SECOND = "account_key", "secondary_account_key"
REFUSED = "warning: account anchors: the STS refused the "


@pytest.fixture
def second_file(tmp_path):
    return write_secret(tmp_path / "second.key", SECOND_KEY)


@pytest.fixture
def config(emulator, key_file, second_file):
    return account_section(
        "anchors", emulator, key_file, secondary_account_key=f"file:{second_file}"
    )


@pytest.fixture
def start(make_daemon, config):
    """Start a daemon and wait until the account's first exchange has ended."""

    def run(**options):
        running = make_daemon(config, **options).start()
        running.wait_for_outcome("anchors")
        return running

    return run


@pytest.fixture
def fallen_back(start, emulator):
    """A daemon that runs on the second key, for the STS has refused the first."""
    emulator.put_account(ACCOUNT_ID, SECOND_KEY)
    return start()


def keys_of(requests):
    return [dict(r["headers"])["Authorization"].rsplit(":", 1)[1] for r in requests]


def shown(emulator):
    return keys_of(emulator.requests(server="sts"))


def refresh(running):
    mark = running.mark()
    assert running.request("POST", "/v1/accounts/anchors/refresh").status == 202
    running.wait_for_outcome("anchors", mark)


def status(running):
    """The rows of mrtoken status, as dictionaries."""
    asked = subprocess.run(
        [binary("mrtoken"), "--socket", running.socket, "status"],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [re.split(r" {2,}", line) for line in asked.stdout.splitlines()]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


# ---- which is in use -----------------------------------------------------------------------------


def test_the_first_key_is_in_use_while_it_works(start, emulator):
    running = start()
    refresh(running)
    assert shown(emulator) == [KEY, KEY]
    account = running.account()
    assert (account["key_in_use"], account["notice"]) == (FIRST, None)
    assert status(running)[0]["KEY"] == FIRST
    assert "warning" not in running.log()


def test_the_second_is_in_use_at_once_where_the_first_is_refused(
    fallen_back, emulator, key_file, second_file
):
    assert shown(emulator) == [KEY, SECOND_KEY]
    account = fallen_back.account()
    assert (account["state"], account["failures"]) == ("valid", 0)
    assert account["key_in_use"] == SECOND
    assert account["notice"] == (
        "the STS refused the account_key, the secondary_account_key is in use: put a valid key in "
        f"file:{key_file}"
    )
    row = status(fallen_back)[0]
    assert (row["KEY"], row["LAST ERROR"]) == (SECOND, account["notice"])
    warnings = [line for line in fallen_back.log_lines() if "warning" in line]
    assert len(warnings) == 1, warnings
    told = f"{REFUSED}{FIRST}, trying the {SECOND}; put a valid key in file:{key_file}"
    assert told in warnings[0]


def test_the_one_that_works_is_remembered(start, emulator):
    emulator.change_settings(token_lifetime_s=5)
    emulator.put_account(ACCOUNT_ID, SECOND_KEY)
    fallen_back = start()
    for _ in range(2):
        fallen_back.wait_for_token("anchors", fallen_back.mark())
    assert shown(emulator) == [KEY, SECOND_KEY, SECOND_KEY, SECOND_KEY]
    assert fallen_back.log().count(REFUSED) == 1
    assert fallen_back.account()["key_in_use"] == SECOND


def test_the_change_is_told_when_it_happens(start, emulator):
    running = start()
    emulator.put_account(ACCOUNT_ID, SECOND_KEY)
    with Poller(running) as clients:
        refresh(running)
        clients.wait_for_answers()
    line = running.wait_for_log(f"the key in use is {SECOND} now, after {FIRST}")
    assert "notice: account anchors: " in line and f"KEY={SECOND}" in line
    assert running.account()["key_in_use"] == SECOND


def test_accounts_with_one_key_have_no_column_for_it(daemon):
    assert daemon.account()["key_in_use"] is None
    assert "KEY" not in status(daemon)[0]


# ---- put right -----------------------------------------------------------------------------------


def test_a_first_key_that_was_put_right_is_in_use_at_once(fallen_back, emulator, key_file):
    emulator.put_account(ACCOUNT_ID, THIRD_KEY, SECOND_KEY)
    mark = fallen_back.mark()
    with Poller(fallen_back) as clients:
        write_secret(key_file, THIRD_KEY)
        fallen_back.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert shown(emulator)[2:] == [THIRD_KEY]
    account = fallen_back.account()
    assert (account["key_in_use"], account["notice"]) == (FIRST, None)
    fallen_back.wait_for_log(f"the key in use is {FIRST} now, after {SECOND}", mark)


def test_a_first_key_that_works_again_is_in_use_after_a_reload(fallen_back, emulator):
    emulator.put_account(ACCOUNT_ID, KEY, SECOND_KEY)
    mark = fallen_back.mark()
    with Poller(fallen_back) as clients:
        fallen_back.reload()
        fallen_back.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert shown(emulator)[2:] == [KEY]
    assert fallen_back.account()["key_in_use"] == FIRST


def test_a_reload_warns_again_of_what_was_not_put_right(fallen_back, emulator):
    mark = fallen_back.mark()
    fallen_back.reload()
    fallen_back.wait_for_log(f"{REFUSED}{FIRST}, trying the {SECOND}", mark)
    fallen_back.wait_for_token("anchors", mark)
    assert shown(emulator)[2:] == [KEY, SECOND_KEY]


def test_one_that_is_wrong_again_is_warned_of_again(fallen_back, emulator, key_file):
    mark = fallen_back.mark()
    with Poller(fallen_back) as clients:
        write_secret(key_file, THIRD_KEY)
        fallen_back.wait_for_log(f"{REFUSED}{FIRST}, trying the {SECOND}", mark)
        fallen_back.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert shown(emulator)[2:] == [THIRD_KEY, SECOND_KEY]
    assert fallen_back.account()["key_in_use"] == SECOND


def test_the_second_refused_in_turn_gives_way_to_the_first(fallen_back, emulator, second_file):
    emulator.put_account(ACCOUNT_ID, KEY)
    with Poller(fallen_back) as clients:
        refresh(fallen_back)
        clients.wait_for_answers()
    assert shown(emulator)[2:] == [SECOND_KEY, KEY]
    account = fallen_back.account()
    assert account["key_in_use"] == FIRST
    assert account["notice"] == (
        "the STS refused the secondary_account_key, there is no second key to fall back on: put a "
        f"valid key in file:{second_file}"
    )


# ---- both are of no use --------------------------------------------------------------------------


def test_two_refused_keys_are_an_error_and_the_token_is_served_on(
    start, emulator, key_file, second_file
):
    running = start()
    emulator.put_account(ACCOUNT_ID, THIRD_KEY)
    with Poller(running) as clients:
        refresh(running)
        assert shown(emulator)[1:] == [KEY, SECOND_KEY]
        account = running.account()
        assert (account["state"], account["last_error"]["code"]) == ("degraded", "denied")
        assert "it took neither account_key nor secondary_account_key" in (
            account["last_error"]["message"]
        )
        assert account["refresh_in"] > 200
        mark = running.mark()
        write_secret(second_file, THIRD_KEY)
        running.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert running.account()["state"] == "valid"


@pytest.mark.parametrize("gone", [FIRST, SECOND])
def test_one_that_cannot_be_read_does_no_harm(start, emulator, key_file, second_file, gone):
    running = start()
    other = SECOND if gone == FIRST else FIRST
    path = key_file if gone == FIRST else second_file
    with Poller(running) as clients:
        content = path.read_text()
        path.unlink()
        refresh(running)
        account = running.account()
        assert (account["state"], account["key_in_use"]) == ("valid", other)
        assert f"{gone}: cannot open {path}: No such file" in account["notice"]
        running.wait_for_log(f"warning: account anchors: {account['notice'][:60]}")
        # It is back as it was.
        mark = running.mark()
        write_secret(path, content)
        running.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    account = running.account()
    assert (account["key_in_use"], account["notice"]) == (FIRST, None)
    assert "refresh failed" not in running.log()
