"""The service answers 200, but not with a token of use, or not in time."""

import base64
import json

import pytest

from conftest import KEY
from rig.daemon import Poller, account_section
from rig.emulator import Emulator
from rig.outage import DAY_S, DUE_S, Outage, emulated


def jwt(claims):
    parts = ({"alg": "none"}, claims)
    encode = base64.urlsafe_b64encode
    return ".".join([*(encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts), "sig"])


def good(body):
    return {"action": "status", "status": 200, "body": body}


def unusable(members, message, status=200):
    return emulated(members, "upstream_format", status, message)


def broken(members, code, message):
    return emulated(members, code, None, message)


def faults():
    slow = {"action": "slow_body", "pause_ms": 1000}
    return {
        "no JSON": unusable(good("<html>"), "not with a token of use"),
        "empty": unusable(good(""), "not with a token of use"),
        "no token": unusable(good("{}"), "AccessToken"),
        "no JWT": unusable(good(json.dumps({"AccessToken": "garbage"})), "JWT"),
        "no expiry": unusable(good(json.dumps({"AccessToken": jwt({"iat": 1})})), "exp"),
        "wrong type": unusable({"action": "wrong_type"}, "text/html"),
        "oversized": unusable({"action": "oversize"}, "more than the [0-9]+ bytes", None),
        "expired": unusable({"action": "token", "lifetime_s": -10}, "life ahead", None),
        "expired for a day": unusable({"action": "token", "lifetime_s": -DAY_S}, "life ahead", None),
        "truncated": broken({"action": "truncate"}, "network", ""),
        "slow body": broken(slow, "timeout", "[Tt]ime"),  # the slow one last
    }


NAMES = list(faults())
each_answer = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("sts")) as emulator:
        scene = Outage(tmp_path_factory.mktemp("answers"), emulator, faults(), KEY)
        try:
            yield scene.run()
        finally:
            scene.close()


# The sanitizers have to come before a preloaded library: see rig/clock.py.
@pytest.mark.plain_build
@each_answer
def test_clients_are_served_while_the_answer_is(outage, name):
    outage.assert_served(name)


@pytest.mark.plain_build
@each_answer
def test_the_account_shows_an_answer_that_is(outage, name):
    outage.assert_told(name)


@pytest.mark.plain_build
@each_answer
def test_soon_tries_again_after_an_answer_that_is(outage, name):
    outage.assert_retried(name)


@pytest.mark.plain_build
@each_answer
def test_the_log_tells_of_an_answer_that_is(outage, name):
    outage.assert_logged(name)


@pytest.mark.plain_build
@each_answer
def test_recovers_after_an_answer_that_is(outage, name):
    outage.assert_recovered(name)


@pytest.mark.plain_build
def test_the_present_token_ends_when_it_should_whatever_came_meanwhile(outage):
    """What was refused has not moved the end of what was there."""
    for name, before in outage.before.items():
        assert outage.during[name]["expires_on"] == before["expires_on"]
        left = outage.accounts[name]["expires_in"]
        assert DAY_S - DUE_S - 120 < left <= DAY_S - DUE_S


# ---- tokens of a short life ----


def test_a_token_that_lives_five_seconds_is_renewed_in_time(make_daemon, emulator, key_file):
    emulator.change_settings(token_lifetime_s=5)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    seen = set()

    def check(answer, before):
        found = answer.json()
        seen.add(found["token"])
        return None if found["expires_on"] > before else f"expired at {found['expires_on']}"

    with Poller(running, check=check) as poller:
        for _ in range(4):
            running.wait_for_token("anchors", running.mark())
            poller.wait_for_answers()
    assert len(seen) >= 4
    requests = emulator.requests()
    gaps = [b["received_on"] - a["received_on"] for a, b in zip(requests, requests[1:])]
    assert all(gap >= 1000 for gap in gaps), "a short life is no reason to flood the service"


def test_one_token_of_five_seconds_among_long_ones_leaves_no_gap(make_daemon, emulator, key_file):
    emulator.add_fault("token", lifetime_s=5)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    mark = running.mark()
    with Poller(running) as poller:
        assert "valid for 86" in running.wait_for_token("anchors", mark)
        poller.wait_for_answers()
    assert len(emulator.requests()) == 2
