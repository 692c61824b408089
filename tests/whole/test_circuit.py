"""An upstream that fails for all: who asks it then, what the others are told, how they come back."""

import collections

import pytest

from conftest import KEY
from rig.daemon import account_keys, configuration

COUNT = 300
NAMES = [f"a-{number}" for number in range(COUNT)]
HELD_BACK = "nothing is sent to "


def id_of(number):
    return f"7f1c3c5e-0000-4000-8003-{number:012x}"


@pytest.fixture
def many(make_daemon, emulator, key_file):
    for number in range(COUNT):
        emulator.put_account(id_of(number), KEY)
    accounts = {
        name: account_keys(emulator, key_file, id_of(number)) for number, name in enumerate(NAMES)
    }
    return make_daemon(configuration(emulator, accounts))


def held_back(running):
    """The accounts that were not even sent, with what they tell."""
    told = {name: running.account(name) for name in NAMES}
    return {
        name: account
        for name, account in told.items()
        if account["last_error"] and HELD_BACK in account["last_error"]["message"]
    }


def test_three_hundred_accounts_ask_a_dead_sts_a_handful_of_times_and_come_back_spread(
    many, emulator
):
    before = emulator.connections()
    emulator.add_fault("reset", at="accept", count=0)
    many.start()
    opened = many.wait_for_log(": 5 requests in a row have failed")
    assert opened.startswith("mrtokend: warning: ") and emulator.sts in opened
    for name in NAMES:
        many.wait_for_failure(name)
    mark = many.mark()
    for _ in range(4):  # so that a probe's backoff, and the spread, is some seconds long
        many.wait_for_log(f"{emulator.sts} still fails", mark)
        mark = many.mark()
    tries = emulator.connections() - before
    assert 5 <= tries <= 60, "a handful, not hundreds"

    told = held_back(many)
    assert len(told) > COUNT - tries
    for account in told.values():
        error = account["last_error"]
        assert account["state"] == "failed" and account["failures"] >= 1
        assert error["code"] in ("network", "tls")
        assert emulator.sts in error["message"] and "the last failure: " in error["message"]
        assert account["refresh_in"] <= 120

    mark = many.mark()
    emulator.clear_requests()
    emulator.clear_faults()
    many.wait_for_log(f"{emulator.sts} answers again", mark)
    for name in NAMES:
        many.wait_for_token(name, mark)
    requests = emulator.requests()
    assert len(requests) == COUNT, "each once"
    seconds = collections.Counter(request["received_on"] // 1000 for request in requests)
    assert max(seconds.values()) < COUNT / 2, f"all came together: {sorted(seconds.items())}"
    assert len(seconds) > 5


def test_a_held_back_account_is_told_once_in_the_log(many, emulator):
    emulator.add_fault("status", status=500, count=0)
    many.start()
    many.wait_for_log(": 5 requests in a row have failed")
    for name in NAMES:
        many.wait_for_failure(name)
    mark = many.mark()
    for _ in range(3):
        many.wait_for_log(f"{emulator.sts} still fails", mark)
        mark = many.mark()
    lines = [line for line in many.log_lines() if HELD_BACK in line]
    assert len(lines) <= COUNT
    assert len({line.split(" (")[0] for line in lines}) == len(lines)


def test_an_account_that_is_throttled_does_not_hold_back_the_others(
    make_daemon, emulator, key_file
):
    accounts = {}
    for number in range(20):
        emulator.put_account(id_of(number), KEY)
        accounts[f"a-{number}"] = account_keys(emulator, key_file, id_of(number))
        if number < 19:
            emulator.add_fault("status", status=429, account=id_of(number), count=0)
    running = make_daemon(configuration(emulator, accounts)).start()
    running.wait_for_token("a-19")
    for number in range(19):
        running.wait_for_failure(f"a-{number}")
    assert HELD_BACK not in running.log() and "in a row have failed" not in running.log()


def test_a_reload_asks_at_once(make_daemon, emulator, key_file):
    """Where the STS wanted to be left alone for ten minutes."""
    emulator.add_fault("status", status=503, headers={"Retry-After": "600"}, count=0)
    accounts = {}
    for number in range(6):
        emulator.put_account(id_of(number), KEY)
        accounts[f"a-{number}"] = account_keys(emulator, key_file, id_of(number))
    running = make_daemon(configuration(emulator, accounts)).start()
    opened = running.wait_for_log(": 5 requests in a row have failed")
    wait_s = float(opened.split("until one is sent in ")[1].split(" s")[0])
    assert 600 <= wait_s <= 660
    for name in accounts:
        running.wait_for_failure(name)
    mark = running.mark()
    emulator.clear_faults()
    running.reload()
    for name in accounts:
        running.wait_for_token(name, mark)
