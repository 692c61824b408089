"""The service's name does not resolve for a while. Nothing leaves loopback: no name server is asked."""

import os
import pathlib

import pytest

from conftest import KEY
from rig.emulator import Emulator
from rig.outage import Fault, Outage
from rig.relay import Authority, Relay

pytestmark = [
    # The sanitizers have to come before a preloaded library: see rig/clock.py.
    pytest.mark.plain_build,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has name files of its own"),
]

NAME = "sts.example"
# Names come from a file of the test's, and else from a name server at an address that has none.
PRIVATE_NAMES = """
mount --bind "$0/hosts" /etc/hosts
mount --bind "$0/resolv.conf" /etc/resolv.conf
mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf
exec "$@"
"""


def names_of(directory):
    """What to run a program by, so that it finds names in the file `hosts` of the directory only."""
    (directory / "hosts").write_text(f"127.0.0.1 localhost\n127.0.0.1 {NAME}\n")
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (directory / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    inside = ["sh", "-ec", PRIVATE_NAMES, str(directory)]
    return ["unshare", "--mount", "--propagation", "private", *inside]


def unresolvable(relay, hosts: pathlib.Path):
    def begin(outage, fault):
        hosts.write_text("127.0.0.1 localhost\n")
        relay.cut()

    def end(outage, fault):
        hosts.write_text(f"127.0.0.1 localhost\n127.0.0.1 {NAME}\n")

    message = f"no answer from {relay.endpoint}: .*resolve"
    return Fault(begin, end, "network", None, message, keys={"endpoint": relay.endpoint})


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dns")
    wrap = names_of(directory)
    authority = Authority(directory)
    with Emulator(tmp_path_factory.mktemp("sts")) as emulator:
        with Relay(emulator.sts, emulator.ca_file, authority, name=NAME) as relay:
            faults = {"dns": unresolvable(relay, directory / "hosts")}
            scene = Outage(
                directory, emulator, faults, KEY, ca_file=authority.ca_file, wrap=wrap
            )
            try:
                yield scene.run()
            finally:
                scene.close()


def test_clients_are_served_while_the_name_does_not_resolve(outage):
    outage.assert_served("dns")


def test_the_account_shows_that_the_name_does_not_resolve(outage):
    outage.assert_told("dns")


def test_soon_tries_again_after_the_name_did_not_resolve(outage):
    outage.assert_retried("dns")


def test_the_log_tells_that_the_name_does_not_resolve(outage):
    outage.assert_logged("dns")


def test_recovers_when_the_name_resolves_again(outage):
    outage.assert_recovered("dns")
