"""The service answers with a status of every class that has a schedule of its own."""

import time

import pytest

from conftest import KEY
from rig.emulator import Emulator
from rig.outage import DUE_S, SLOW_S, Outage, emulated

# The sanitizers have to come before a preloaded library: see rig/clock.py.
pytestmark = pytest.mark.plain_build


def status(number, code, headers=None, **expected):
    """The members of a fault that answers so, and what it is to look like."""
    members = {"action": "status", "status": number}
    if headers:
        members["headers"] = headers
    return emulated(members, code, number, f" answered {number}\\b", **expected)


def date_in(seconds):
    """A date seen from the service, whose clock goes with the machine that has slept by then."""
    then = time.gmtime(time.time() + DUE_S + seconds)
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", then)


def faults():
    slow = {"retry_s": SLOW_S, "is_mended_by_time": False}
    return {
        "429": status(429, "throttled"),
        "429 in seconds": status(429, "throttled", {"Retry-After": "3"}, retry_s=(3, 3.4)),
        "429 by date": status(429, "throttled", {"Retry-After": date_in(20)}, retry_s=(2, 23)),
        "503": status(503, "throttled"),
        "503 in seconds": status(503, "throttled", {"Retry-After": "4"}, retry_s=(4, 4.5)),
        "503 by date": status(503, "throttled", {"Retry-After": date_in(20)}, retry_s=(2, 23)),
        "500": status(500, "upstream_fault"),
        "502": status(502, "upstream_fault"),
        "504": status(504, "upstream_fault"),
        "401": status(401, "denied", **slow),
        "403": status(403, "denied", **slow),
        "400": status(400, "refused", **slow),
        "404": status(404, "refused", **slow),
        "401 in a hurry": status(401, "denied", {"Retry-After": "1"}, **slow),
    }


NAMES = list(faults())


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("sts")) as emulator:
        scene = Outage(tmp_path_factory.mktemp("status"), emulator, faults(), KEY)
        try:
            yield scene.run()
        finally:
            scene.close()


each_status = pytest.mark.parametrize("name", NAMES)


@each_status
def test_clients_are_served_through(outage, name):
    outage.assert_served(name)


@each_status
def test_the_account_shows_what_it_was_answered(outage, name):
    outage.assert_told(name)


@each_status
def test_tries_again_when_it_is_time_after(outage, name):
    outage.assert_retried(name)


@each_status
def test_the_log_tells_of(outage, name):
    outage.assert_logged(name)


@each_status
def test_recovers_after(outage, name):
    outage.assert_recovered(name)
