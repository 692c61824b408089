"""The host's clock is wrong, is set, or stands still: tokens are served and refreshed all the same."""

import signal
import time

import pytest

from conftest import ACCOUNT_ID
from rig.clock import ShiftedClock
from rig.daemon import Poller, account_section

# The sanitizers have to come before a preloaded library.
pytestmark = pytest.mark.plain_build

DAY_S = 86400
HOUR_S = 3600


@pytest.fixture
def clock(tmp_path):
    shifted = ShiftedClock(tmp_path)
    yield shifted
    shifted.close()


@pytest.fixture
def start(make_daemon, emulator, key_file, clock):
    """Start a daemon with that clock, and wait for its first token."""

    def start(wait=True):
        config = account_section("anchors", emulator, key_file)
        running = make_daemon(config, environment=clock.environment).start()
        if wait:
            running.wait_for_token("anchors")
        return running

    return start


def assert_a_day_ahead(account):
    assert account["state"] == "valid"
    assert DAY_S - 60 < account["expires_in"] <= DAY_S
    assert 0.49 * DAY_S < account["refresh_in"] <= 0.61 * DAY_S


# ---- a clock that is wrong, or set ----


@pytest.mark.parametrize("off_s", [-DAY_S, DAY_S, -3650 * DAY_S])
def test_a_daemon_whose_clock_is_wrong_from_the_start_serves_the_whole_life(
    start, clock, off_s
):
    clock.set(off_s)
    running = start(wait=False)
    if abs(off_s) <= DAY_S:
        running.wait_for_token("anchors")
        assert_a_day_ahead(running.account())
    else:  # no certificate is valid then, so there is no token; see below
        running.wait_for_failure("anchors")


@pytest.mark.parametrize("step_s", [-DAY_S, DAY_S])
def test_a_step_of_a_day_changes_neither_token_nor_schedule(start, clock, emulator, step_s):
    running = start()
    before = running.token()
    with Poller(running) as poller:
        mark = running.mark()
        clock.set(step_s)
        running.wait_for_log("notice: the clock was set ", mark)
        poller.wait_for_answers()
        assert running.token() == before
        assert_a_day_ahead(running.account())
    assert len(emulator.requests()) == 1


def test_a_step_is_told_with_its_size(start, clock):
    running = start()
    clock.set(DAY_S)
    assert " set forward by 86400 s" in running.wait_for_log("the clock was set")
    mark = running.mark()
    clock.set(-2 * DAY_S)
    assert " set back by 172800 s" in running.wait_for_log("the clock was set", mark)


def test_a_step_of_milliseconds_is_not_told(start, clock):
    running = start()
    clock.set(0.3)
    clock.set(HOUR_S)
    running.wait_for_log(" set forward by 3600 s")
    assert running.log().count("the clock was set") == 1


def test_a_certificate_not_yet_valid_by_a_wrong_clock_is_tried_again_when_the_clock_is_set(
    start, clock
):
    clock.set(-3650 * DAY_S)  # as a host without a battery starts
    running = start(wait=False)
    running.wait_for_failure("anchors")
    assert running.account()["last_error"]["code"] == "tls"
    mark = running.mark()
    clock.set(3650 * DAY_S)
    running.wait_for_token("anchors", mark)
    assert_a_day_ahead(running.account())


def test_a_throttled_account_is_not_hurried_by_a_step(start, clock, emulator):
    emulator.add_fault("status", status=429, headers={"Retry-After": "3000"})
    running = start(wait=False)
    running.wait_for_failure("anchors")
    clock.set(DAY_S)
    running.wait_for_log("the clock was set")
    running.reload()  # which has gone round all accounts
    assert len(emulator.requests()) <= 2
    assert "refresh failed (failure 2" not in running.log()


# ---- a machine that sleeps ----


def sleep(clock, emulator, seconds):
    """This host and the service live in the same world."""
    emulator.change_settings(date_offset_s=int(clock.boottime_s + seconds))
    clock.sleep(seconds)


def test_what_was_due_in_a_sleep_is_refreshed_at_once(start, clock, emulator):
    running = start()
    before = running.token()
    with Poller(running) as poller:
        mark = running.mark()
        asked = time.monotonic()
        sleep(clock, emulator, 15 * HOUR_S)
        running.wait_for_log("notice: the machine has slept for 54000 s", mark)
        running.wait_for_token("anchors", mark)
        assert time.monotonic() - asked < 10  # not when a wait of a minute is over
        poller.wait_for_answers()
    assert running.token()["expires_on"] > before["expires_on"]


def test_a_token_that_expired_in_a_sleep_is_never_served(start, clock, emulator):
    emulator.add_fault("delay", delay_ms=500, count=0)
    running = start()
    before = running.token()["token"]
    mark = running.mark()
    sleep(clock, emulator, 25 * HOUR_S)
    answer = running.get("/v1/token", {"Prefer": "wait=0"})
    assert answer.status == 503, "the token of before"
    running.wait_for_token("anchors", mark)
    assert running.token()["token"] != before


def test_nothing_is_refreshed_after_a_short_sleep(start, clock, emulator):
    running = start()
    sleep(clock, emulator, HOUR_S)
    running.wait_for_log("the machine has slept for 3600 s")
    account = running.account()
    assert account["state"] == "valid"
    assert DAY_S - HOUR_S - 60 < account["expires_in"] <= DAY_S - HOUR_S
    running.reload()
    assert len(emulator.requests()) == 1


def test_an_exchange_that_a_sleep_cut_is_begun_anew_at_once(start, clock, emulator):
    emulator.add_fault("delay", delay_ms=25000)
    running = start(wait=False)
    emulator.wait_for_requests(1)
    asked = time.monotonic()
    sleep(clock, emulator, HOUR_S)
    running.wait_for_token("anchors")
    assert time.monotonic() - asked < 20
    assert running.account()["failures"] == 0


def test_a_sleep_does_not_lengthen_a_life(start, clock, emulator):
    running = start()
    emulator.add_fault("status", status=500, count=0)
    sleep(clock, emulator, 24 * HOUR_S - 20)
    running.wait_for_failure("anchors")
    account = running.account()
    assert account["state"] == "degraded"
    assert 0 < account["expires_in"] <= 20
    sleep(clock, emulator, 24 * HOUR_S)
    assert running.get("/v1/token").status == 503


# ---- a process that is stopped ----


def test_a_process_that_was_stopped_goes_on_where_it_was(make_daemon, emulator, key_file):
    emulator.change_settings(token_lifetime_s=4)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    before = running.token()
    with Poller(running, check=not_expired) as poller:
        # The requests wait, and are answered when it goes on.
        running.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        while time.monotonic() < stopped + 2.5:  # past its refresh, before its end
            time.sleep(0.05)
        mark = running.mark()
        running.send_signal(signal.SIGCONT)
        running.wait_for_token("anchors", mark)
        poller.wait_for_answers()
    assert running.token()["expires_on"] > before["expires_on"]


def test_a_token_that_expired_while_the_process_was_stopped_is_not_served(
    make_daemon, emulator, key_file
):
    emulator.change_settings(token_lifetime_s=3)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    before = running.token()
    running.send_signal(signal.SIGSTOP)
    emulator.add_fault("status", status=500, count=0, account=ACCOUNT_ID)
    while time.time() < before["expires_on"] + 0.2:
        time.sleep(0.05)
    running.send_signal(signal.SIGCONT)
    assert running.get("/v1/token").status == 503
    mark = running.mark()
    emulator.clear_faults()
    running.wait_for_token("anchors", mark)
    assert running.token()["token"] != before["token"]


def not_expired(answer, before):
    """The time that counts is that of the answer's beginning, which lies after the request's."""
    if answer.status == 200 and answer.json()["expires_on"] <= before:
        return f"expired at {answer.json()['expires_on']}, asked at {before}"
    return None


def test_a_kept_connection_outlives_a_process_that_was_stopped(start, clock):
    running = start()
    connection = running.connect()
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    running.send_signal(signal.SIGSTOP)
    connection.request("GET", "/v1/token")  # while nobody serves, and until after the idle time
    clock.sleep(300, is_told=False)
    running.send_signal(signal.SIGCONT)
    answer = connection.getresponse()
    assert (answer.status, answer.read()[:1]) == (200, b"{")
    connection.close()
