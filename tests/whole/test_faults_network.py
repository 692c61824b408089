"""The network between the daemon and the service breaks, at each stage of a request."""

import pytest

from conftest import KEY
from rig.emulator import Emulator
from rig.outage import Fault, Outage
from rig.relay import Authority, Relay

# The sanitizers have to come before a preloaded library: see rig/clock.py.
pytestmark = pytest.mark.plain_build

NO_ANSWER = "no answer from https://127.0.0.1:[0-9]+: "
# Where it breaks: the code and the message that it gets.
STAGES = {
    "accept": ("network|tls", ""),
    "handshake": ("network|tls", ""),
    "request": ("network", ""),
    "headers": ("network", ""),
    "body": ("network", ""),
    "refuse": ("network", "connect"),
    "mute": ("timeout", "[Tt]ime"),  # and the slow ones last: see Outage._fail()
    "silence": ("timeout", "[Tt]ime"),
    "half open": ("timeout", "[Tt]ime"),
}


def through(relay, stage):
    def begin(outage, fault):
        if stage == "refuse":
            relay.refuse(True)
        else:
            relay.fault = {"half open": "silence"}.get(stage, stage)
        if stage != "half open":  # there, the connection that is kept is the one that is dead
            relay.cut()

    def end(outage, fault):
        if stage == "refuse":
            relay.refuse(False)
        relay.fault = None
        relay.cut()

    code, message = STAGES[stage]
    return Fault(begin, end, code, None, NO_ANSWER + ".*" + message, keys={"endpoint": relay.endpoint})


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    authority = Authority(directory)
    with Emulator(tmp_path_factory.mktemp("sts")) as emulator:
        relays = {stage: Relay(emulator.sts, emulator.ca_file, authority) for stage in STAGES}
        faults = {stage: through(relay, stage) for stage, relay in relays.items()}
        scene = Outage(directory, emulator, faults, KEY, ca_file=authority.ca_file)
        try:
            yield scene.run()
        finally:
            scene.close()
            for relay in relays.values():
                relay.close()


each_stage = pytest.mark.parametrize("stage", STAGES)


@each_stage
def test_clients_are_served_while_the_network_breaks_at(outage, stage):
    outage.assert_served(stage)


@each_stage
def test_the_account_shows_that_the_network_broke_at(outage, stage):
    outage.assert_told(stage)


@each_stage
def test_soon_tries_again_after_the_network_broke_at(outage, stage):
    outage.assert_retried(stage)


@each_stage
def test_the_log_tells_that_the_network_broke_at(outage, stage):
    outage.assert_logged(stage)


@each_stage
def test_recovers_after_the_network_broke_at(outage, stage):
    outage.assert_recovered(stage)
