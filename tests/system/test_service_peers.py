"""Rules that name systemd units, in a booted systemd, under the service's own sandbox."""

import json
import re

import pytest

from booted import NEEDS_A_SYSTEM, see_in_booted_system

pytestmark = NEEDS_A_SYSTEM


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What guest_peers.py saw."""
    return see_in_booted_system(tmp_path_factory, "guest_peers.py")


@pytest.mark.parametrize("client", ["allowed", "instance", "escaped", "in_slice"])
def test_a_unit_that_is_allowed_gets_a_token(seen, client):
    assert seen[client]["status"] == "200", seen[client]
    assert json.loads(seen[client]["body"])["account"] == "anchors"


@pytest.mark.parametrize("client", ["other", "no_instance"])
def test_another_unit_of_the_same_user_is_refused(seen, client):
    assert seen[client]["status"] == "403", seen[client]
    error = json.loads(seen[client]["body"])["error"]
    assert (error["code"], error["account"]) == ("not_allowed", "anchors")


def test_what_is_in_no_unit_of_its_own_is_refused(seen):
    assert seen["scope"]["status"] == 403, seen["scope"]


def test_a_cgroup_below_a_unit_cannot_pass_for_another_unit(seen):
    assert seen["below"]["status"] == "403", seen["below"]


def test_a_unit_of_a_users_own_manager_cannot_pass_for_the_systems(seen):
    assert "/renderer.service" in seen["user_unit"], seen["user_unit"]
    assert '"code":"not_allowed"' in seen["user_unit"], seen["user_unit"]


def test_a_unit_that_is_denied_gets_none_though_its_user_is_allowed(seen):
    assert seen["denied"]["status"] == "403", seen["denied"]
    assert "deny_units" in json.loads(seen["denied"]["body"])["error"]["message"]
    assert seen["not_denied"]["status"] == "200", seen["not_denied"]


def test_refreshing_is_for_the_unit_that_administers(seen):
    assert seen["no_admin"]["status"] == "403", seen["no_admin"]
    assert seen["admin"]["status"] in ("200", "202"), seen["admin"]


def test_the_journal_tells_the_unit_that_got_a_token(seen):
    told = [entry for entry in seen["journal"] if "PEER_UID" in entry]
    units = [entry.get("PEER_UNIT") for entry in told]
    assert units == [
        "renderer.service",
        "worker@7.service",
        "esc\\x2daped.service",
        "renderer.service",
        "other.service",
    ]
    for entry in told:
        assert entry["ACCOUNT"] == "anchors" and entry["TOKENS"] == "1"
        assert re.fullmatch("[0-9a-f]{32}", entry["MESSAGE_ID"])
        assert re.fullmatch("[0-9a-f]{16}", entry["REQUEST_ID"])
        assert int(entry["PEER_PID"]) > 1 and int(entry["PEER_UID"]) >= 1000


def test_the_way_is_told(seen):
    assert "# the systemd units of peers are told by" in seen["checked"]
