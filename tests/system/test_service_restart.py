"""Restarts in a really booted systemd: however the service ends, the next process has the tokens, asks nobody,
and no client is refused.

The system is booted once; guest_restart.py does all that there, and the tests look at what it saw.
"""

import json

import pytest

from booted import KEY, NEEDS_A_SYSTEM, see_in_booted_system

pytestmark = NEEDS_A_SYSTEM
REFUSED = "e8952982db09428f9c709810797019e9"  # src/base/message_id.h
ORDERLY = ["restart", "upgrade", "reexec"]
SUDDEN = ["kill", "watchdog"]
# Who was being answered by a process that is killed notices it; nobody else does.
CUT = {"ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What guest_restart.py saw."""
    return see_in_booted_system(tmp_path_factory, "guest_restart.py", "../rig/hang_thread.py")


def messages(seen, part):
    return [entry for entry in seen["journal"] if part in entry["MESSAGE"]]


@pytest.mark.parametrize("end", ORDERLY)
def test_every_client_gets_the_same_token_over_a_restart(seen, end):
    found = seen[end]
    assert set(found["got"]) == {found["token"]}


@pytest.mark.parametrize("end", SUDDEN)
def test_no_client_is_refused_when_the_process_is_killed(seen, end):
    found = seen[end]
    assert set(found["got"]) - CUT == {found["token"]}
    assert sum(found["got"].get(kind, 0) for kind in CUT) <= 2 * len(found["stored"])


@pytest.mark.parametrize("end", ORDERLY + SUDDEN)
def test_the_sts_is_not_asked(seen, end):
    assert seen[end]["exchanges_before"] == 1
    assert seen[end]["exchanges_after"] == 1


@pytest.mark.parametrize("end", ORDERLY + SUDDEN)
def test_one_image_is_stored(seen, end):
    assert set(seen[end]["stored"]) == {1}


@pytest.mark.parametrize("end", ORDERLY)
def test_the_pause_is_short(seen, end):
    # A few tens of milliseconds on an idle machine.
    assert seen[end]["pause_s"] < 3


def test_each_takeover_is_told(seen):
    rounds = sum(len(seen[end]["stored"]) for end in ORDERLY + SUDDEN)
    took_over = messages(seen, "took over the tokens of 1 of 1 accounts")
    assert len(took_over) == rounds + (seen["stored_while_stopped"] > 0)


def test_a_stop_keeps_the_tokens_where_systemd_can(seen):
    before, after = seen["before_stop"], seen["after_start"]
    assert after["health"]["status"] == 200
    if seen["systemd"] >= 254:
        assert seen["stored_while_stopped"] == 1
        assert after["token"] == before["token"]
        assert after["exchanges"] == before["exchanges"]
    else:
        assert seen["stored_while_stopped"] == 0
        assert after["exchanges"] == before["exchanges"] + 1


def test_tokens_of_another_configuration_are_refused_with_an_id(seen):
    (entry,) = messages(seen, "are refused, and fetched anew: ")
    assert entry["MESSAGE_ID"] == REFUSED
    assert "another configuration" in entry["MESSAGE"]
    assert seen["stored_of_another"] == [0]
    assert "Subject: The tokens of the process before are refused" in seen["explained"]


def test_no_key_and_no_token_is_in_the_journal(seen):
    journal = json.dumps(seen["journal"])
    assert KEY not in journal
    assert seen["restart"]["token"].split(".")[1] not in journal
