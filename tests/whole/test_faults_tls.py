"""The service shows a certificate that is not to be trusted any more."""

import pytest

from conftest import KEY
from rig.emulator import Emulator
from rig.outage import Fault, Outage
from rig.relay import Authority, Relay

# The sanitizers have to come before a preloaded library: see rig/clock.py.
pytestmark = pytest.mark.plain_build

# What the certificate is: how it is made of (ours, a stranger's authority), and what is told.
CERTIFICATES = {
    "expired": (lambda ours, other: ours.server(from_days=-30, to_days=-1), "expired"),
    "not yet valid": (lambda ours, other: ours.server(from_days=5), "not yet valid"),
    "of another host": (lambda ours, other: ours.server("sts.localhost"), "another host"),
    "of a stranger": (lambda ours, other: other.server(), "certificate"),
}


def shown(relay, make, message, ours, other):
    good = relay.tls

    def begin(outage, fault):
        relay.tls = make(ours, other)
        relay.cut()

    def end(outage, fault):
        relay.tls = good

    message = f"no answer from {relay.endpoint}: .*{message}"
    return Fault(begin, end, "tls", None, message, keys={"endpoint": relay.endpoint})


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    ours = Authority(directory)
    other = Authority(directory, "stranger")
    with Emulator(tmp_path_factory.mktemp("sts")) as emulator:
        relays, faults = [], {}
        for name, (make, message) in CERTIFICATES.items():
            relays.append(Relay(emulator.sts, emulator.ca_file, ours))
            faults[name] = shown(relays[-1], make, message, ours, other)
        scene = Outage(directory, emulator, faults, KEY, ca_file=ours.ca_file)
        try:
            yield scene.run()
        finally:
            scene.close()
            for relay in relays:
                relay.close()


each_certificate = pytest.mark.parametrize("name", CERTIFICATES)


@each_certificate
def test_clients_are_served_while_the_certificate_is(outage, name):
    outage.assert_served(name)


@each_certificate
def test_the_account_shows_a_certificate_that_is(outage, name):
    outage.assert_told(name)


@each_certificate
def test_soon_tries_again_after_a_certificate_that_is(outage, name):
    outage.assert_retried(name)


@each_certificate
def test_the_log_tells_of_a_certificate_that_is(outage, name):
    outage.assert_logged(name)


@each_certificate
def test_recovers_after_a_certificate_that_is(outage, name):
    outage.assert_recovered(name)


def test_nothing_is_sent_to_whoever_shows_a_bad_certificate(outage):
    assert len(outage.emulator.requests()) == 2 * len(CERTIFICATES)  # before, and after
