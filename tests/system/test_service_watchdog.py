"""The watchdog of a really booted systemd: a thread that hangs ends the process, and the next one serves.

The system is booted once; guest_watchdog.py does all that there, and the tests look at what it saw.
"""

import json

import pytest

from booted import ACCOUNT_ID, KEY, NEEDS_A_SYSTEM, see_in_booted_system

pytestmark = NEEDS_A_SYSTEM
THREADS = ["refresh", "serve"]
HANGS = "0f0c12801f15439e8fdbcd976727da5d"  # src/base/message_id.h


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What guest_watchdog.py saw."""
    return see_in_booted_system(tmp_path_factory, "guest_watchdog.py", "../rig/hang_thread.py")


def messages(seen, part):
    return [entry for entry in seen["journal"] if part in entry["MESSAGE"]]


def test_the_unit_has_a_watchdog(seen):
    assert seen["limit"].strip() == "WatchdogUSec=30s"


@pytest.mark.parametrize("thread", THREADS)
def test_a_thread_that_hangs_is_named_in_the_journal(seen, thread):
    (entry,) = messages(seen, f"the thread '{thread}' hangs: ")
    assert entry["THREAD"] == thread
    assert entry["MESSAGE_ID"] == HANGS
    assert entry["PRIORITY"] == "3"


@pytest.mark.parametrize("thread", THREADS)
def test_the_process_is_restarted_and_the_client_has_its_token_again(seen, thread):
    found = seen[thread]
    assert found["held"] == "held\n"
    before, after = found["before"], found["ready_again"]
    assert int(after["NRestarts"]) == int(before["NRestarts"]) + 1
    assert after["MainPID"] != before["MainPID"]
    assert found["token_after"]["status"] == 200
    assert json.loads(found["token_after"]["body"])["account_id"] == ACCOUNT_ID


def test_clients_are_served_while_the_refresh_thread_hangs(seen):
    assert seen["refresh"]["token_meanwhile"]["status"] == 200


def test_the_process_is_aborted_and_leaves_no_core_dump(seen):
    assert len(messages(seen, "Watchdog timeout")) == len(THREADS)
    # With a dump it would be code=dumped.
    assert len(messages(seen, "Main process exited, code=killed, status=6/ABRT")) == len(THREADS)
    assert messages(seen, "code=dumped") == []


def test_a_long_reload_and_a_slow_stop_are_not_taken_for_a_hang(seen):
    assert seen["reloaded"]["NRestarts"] == seen["before_reload"]["NRestarts"]
    assert seen["stop_seconds"] > 2 * seen["limit_seconds"], "it was not slow enough to show it"
    assert seen["stopped"]["Result"] == "success"
    assert len(messages(seen, " hangs: ")) == len(THREADS)


def test_the_catalogue_explains_it(seen):
    assert "Subject: The thread 'refresh' of mrtokend hangs" in seen["explained"]


def test_other_alerts_have_their_ids(seen):
    failed = messages(seen, "account a-0 (")
    assert failed and {entry["MESSAGE_ID"] for entry in failed} == {
        "6164cc1a714f48bfb18e9537484d7aef"
    }


def test_no_key_is_in_the_journal(seen):
    assert KEY not in json.dumps(seen["journal"])
