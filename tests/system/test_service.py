"""The service under a really booted systemd: installed, started by its socket, used, reloaded, stopped.

The system is booted once, on a throwaway copy of this machine; guest.py does all that there, and the
tests look at what it saw.
"""

import base64
import json
import re
import resource

import pytest

from booted import ACCOUNT_ID, KEY, NEEDS_A_SYSTEM, see_in_booted_system

pytestmark = NEEDS_A_SYSTEM


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What guest.py saw."""
    return see_in_booted_system(tmp_path_factory, "guest.py")


def claims(answer):
    assert answer["status"] == 200, answer
    payload = json.loads(answer["body"])["token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_units_are_without_fault(seen):
    assert seen["verify"] == ""


def test_unit_is_confined(seen):
    # Of 10; a daemon that speaks to the network and to local users cannot come near to 0.
    assert seen["exposure"] < 2.0


def test_socket_is_for_the_group_alone(seen):
    assert seen["socket"] == {"mode": "0660", "user": "root", "group": "mrtoken"}


def test_first_client_starts_the_daemon(seen):
    assert seen["before_activation"] == "inactive"
    assert seen["first_answer"]["status"] == 200


def test_member_of_the_group_gets_a_token(seen):
    assert claims(seen["token"])["aid"] == ACCOUNT_ID


def test_others_are_refused(seen):
    assert seen["nobody"]["exit"] == 7, seen["nobody"]  # curl: could not connect
    assert seen["nobody"]["body"] == ""


def test_status_tells_how_many_accounts_are_valid(seen):
    assert 'Status: "1 of 1 accounts have a valid token' in seen["status"]
    assert "Active: active (running)" in seen["status"]


def test_daemon_runs_unprivileged_with_locked_memory(seen):
    process = seen["process"]
    assert "0" not in process["Uid"].split() and process["NoNewPrivs"] == "1"
    assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == 0
    assert process["Seccomp"] == "2"
    assert int(process["VmLck"].split()[0]) > 0
    assert "could not be locked" not in seen["whole_journal"]


def test_limits_are_those_of_the_unit(seen):
    found = re.findall(r"^(.*?)  +(\d+|unlimited)  +(\d+|unlimited)", seen["limits"], re.MULTILINE)
    limits = {name: hard for name, _, hard in found}
    assert limits["Max core file size"] == "0"
    # Where this machine may not raise its own limit, the booted copy may not either.
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    assert limits["Max locked memory"] in ("536870912", str(most))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert limits["Max open files"] in ("20480", str(most))


def test_reload_puts_a_new_configuration_in_force(seen):
    assert json.loads(seen["token"]["body"])["account"] == "anchors"
    assert json.loads(seen["reloaded"]["body"])["required"] is False


def test_bad_reload_stays_in_the_status(seen):
    assert "found 'perhaps'" in seen["bad_reload"]["StatusText"]


def test_bad_reload_is_logged_and_changes_nothing(seen):
    messages = [entry["MESSAGE"] for entry in seen["journal"]]
    assert any("required: found 'perhaps', expected yes or no" in line for line in messages)
    assert seen["bad_reload"]["ActiveState"] == "active"
    assert seen["token_after_bad_reload"]["body"] == seen["token"]["body"]


def test_a_refreshed_credential_is_tried_without_a_restart_or_a_reload(seen):
    assert seen["token_after_wrong_key"]["body"] == seen["token"]["body"]
    assert seen["token_after_right_key"]["body"] != seen["token"]["body"]
    assert claims(seen["token_after_right_key"])["aid"] == ACCOUNT_ID
    assert seen["is_same_process"]


def test_crash_is_mended_while_clients_wait(seen):
    assert seen["after_crash"]["status"] == 200, seen["after_crash"]
    assert seen["restarted"]["NRestarts"] == "1"


def test_stop_is_in_order_and_the_socket_stays(seen):
    assert seen["stopped"]["Result"] == "success"
    assert seen["stopped"]["ExecMainStatus"] == "0"
    assert seen["socket_of_stopped_daemon"] == seen["socket"]
    assert seen["activated_again"]["status"] == 200


def test_nothing_is_left_when_both_units_are_stopped(seen):
    assert seen["socket_after_all"] is None


def test_daemon_without_socket_unit_makes_the_same_socket(seen):
    assert seen["own_socket"] == {"mode": "0660", "user": "mrtokend", "group": "mrtoken"}
    assert claims(seen["own_token"])["aid"] == ACCOUNT_ID
    assert seen["own_socket_after_stop"] is None


def test_socket_serves_where_its_directory_was_not_made_before(seen):
    assert seen["without_tmpfiles"]["status"] == 200, seen["without_tmpfiles"]
    assert seen["without_tmpfiles_again"]["status"] == 200, seen["without_tmpfiles_again"]
    assert seen["without_tmpfiles_socket"]["group"] == "mrtoken"


def test_bad_configuration_is_not_tried_again(seen):
    assert seen["bad_configuration"]["ExecMainStatus"] == "78"
    assert seen["bad_configuration"]["NRestarts"] == "0"
    assert seen["bad_configuration"]["ActiveState"] == "failed"


def test_journal_has_fields(seen):
    tokens = [entry for entry in seen["journal"] if "new token" in entry["MESSAGE"]]
    assert tokens
    for entry in tokens:
        assert entry["ACCOUNT"] == "anchors"
        assert entry["UPSTREAM"].startswith("https://localhost:")
        assert entry["SYSLOG_IDENTIFIER"] == "mrtokend"


def test_journal_has_no_key_and_no_token(seen):
    text = json.dumps(seen["journal"])
    assert KEY not in text
    assert json.loads(seen["token"]["body"])["token"] not in text
    assert "eyJ" not in text
