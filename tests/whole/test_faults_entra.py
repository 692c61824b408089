"""Microsoft Entra ID fails while its tokens are served: what its errors are told as."""

import dataclasses

import pytest

from conftest import KEY
from rig.emulator import Emulator
from rig.outage import DAY_S, SLOW_S, Outage, emulated

# The sanitizers have to come before a preloaded library: see rig/clock.py.
pytestmark = pytest.mark.plain_build


def entra(members, code, status, upstream_code, **expected):
    found = emulated({"server": "entra", **members}, code, status, upstream_code or "", **expected)
    return dataclasses.replace(found, is_entra=True, upstream_code=upstream_code)


def answered(status, code, upstream_code, aadsts=None, headers=None, **expected):
    members = {"action": "status", "status": status}
    members |= {"aadsts": aadsts} if aadsts else {}
    members |= {"headers": headers} if headers else {}
    return entra(members, code, status, upstream_code, **expected)


def faults():
    slow = {"retry_s": SLOW_S, "is_mended_by_time": False}
    return {
        "throttled": answered(429, "throttled", "AADSTS90055", retry_s=(5, 6)),
        "throttled for 3 s": answered(
            429, "throttled", "AADSTS90055", headers={"Retry-After": "3"}, retry_s=(3, 3.4)
        ),
        "out of order": answered(503, "throttled", "AADSTS90033"),
        "broken": answered(500, "upstream_fault", "AADSTS90033"),
        "a wrong secret": answered(401, "denied", "AADSTS7000215", 7000215, **slow),
        "an expired secret": answered(401, "denied", "AADSTS7000222", 7000222, **slow),
        "an unknown app": answered(400, "refused", "AADSTS700016", 700016, **slow),
        "reset": entra({"action": "reset"}, "network", None, None),
        "truncated": entra({"action": "truncate"}, "network", None, None),
    }


NAMES = list(faults())
each_fault = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("entra")) as emulator:
        emulator.change_settings(entra_expires_in_s=DAY_S)
        scene = Outage(tmp_path_factory.mktemp("scene"), emulator, faults(), KEY)
        try:
            yield scene.run()
        finally:
            scene.close()


@each_fault
def test_clients_are_served_while_entra_is(outage, name):
    outage.assert_served(name)


@each_fault
def test_the_account_shows_that_entra_is(outage, name):
    outage.assert_told(name)


@each_fault
def test_tries_again_when_it_is_time_after_entra_was(outage, name):
    outage.assert_retried(name)


@each_fault
def test_the_log_tells_that_entra_is(outage, name):
    outage.assert_logged(name)


@each_fault
def test_recovers_after_entra_was(outage, name):
    outage.assert_recovered(name)
