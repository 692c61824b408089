"""Requests that wait for an exchange, and requests that ask for one."""

import concurrent.futures
import json
import subprocess
import time

import pytest

from conftest import ACCOUNT_ID
from rig.daemon import account_keys, account_section, binary, configuration

TOKEN = "/v1/accounts/anchors/token"
REFRESH = "/v1/accounts/anchors/refresh"
OTHER_ID = "7f1c3c5e-0000-4000-8000-0123456789ac"
DELAY_MS = 1500


def wait(seconds):
    return {"Prefer": f"wait={seconds}"}


def answers_of(daemon, count, target=TOKEN, headers=None):
    """What so many clients get who ask at the same time."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        asking = [pool.submit(daemon.get, target, headers) for _ in range(count)]
        return [one.result() for one in asking]


def refresh(daemon, headers=None, account="anchors"):
    return daemon.request("POST", f"/v1/accounts/{account}/refresh", headers)


@pytest.fixture
def slow_daemon(make_daemon, emulator, key_file):
    """A daemon whose first exchange takes a while, and is under way."""

    def start(*faults, **options):
        for fault in faults or [{"action": "delay", "delay_ms": DELAY_MS}]:
            emulator.add_fault(**fault)
        running = make_daemon(account_section("anchors", emulator, key_file), **options).start()
        emulator.wait_for_requests(1)
        return running

    return start


# ---- a token that is not there yet ---------------------------------------------------------------


@pytest.mark.parametrize(
    "method, target",
    [("GET", "/v1/token"), ("GET", TOKEN), ("HEAD", TOKEN), ("GET", f"/Accounts/{ACCOUNT_ID}/token")],
)
def test_the_first_request_waits_for_the_exchange(slow_daemon, method, target):
    answer = slow_daemon().request(method, target)
    assert answer.status == 200
    assert len(answer.body) > 100 or method == "HEAD"


def test_all_who_ask_share_one_exchange(slow_daemon, emulator):
    answers = answers_of(slow_daemon(), 100)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 100
    assert len(emulator.requests()) == 1


def test_all_who_ask_share_its_failure(slow_daemon, emulator):
    daemon = slow_daemon({"action": "status", "status": 429, "delay_ms": DELAY_MS,
                          "headers": {"Retry-After": "40"}})
    for answer in answers_of(daemon, 20, headers=wait(20)):
        error = answer.json()["error"]
        assert (answer.status, error["code"]) == (503, "no_valid_token")
        assert "429" in error["message"] and "MS-CV" in error["message"]
        assert 38 <= error["retry_after"] <= 44
    assert len(emulator.requests()) == 1


def test_nobody_else_is_held_up(slow_daemon):
    daemon = slow_daemon()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.get, TOKEN)
        while not waiting.done():
            assert daemon.get("/healthz").status == 200
            state = daemon.account()["state"]
        assert waiting.result().status == 200
    assert state in ("starting", "valid")


def test_a_connection_that_waited_is_kept(slow_daemon):
    daemon = slow_daemon()
    connection = daemon.connect()
    for _ in range(3):
        connection.request("GET", TOKEN)
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 100) == (200, True)
    connection.close()


@pytest.mark.parametrize("prefer", ["wait=0", 'respond-async, wait="0"; x, wait=20', "WAIT = 0"])
def test_who_does_not_want_to_wait_is_answered_at_once(slow_daemon, emulator, prefer):
    daemon = slow_daemon()
    answer = daemon.get(TOKEN, {"Prefer": prefer})
    assert answer.status == 503
    assert "the first exchange is under way" in answer.json()["error"]["message"]
    assert answer.headers["Retry-After"] == "1"
    assert daemon.get(TOKEN).status == 200


def test_the_wait_is_bounded(slow_daemon, emulator):
    daemon = slow_daemon({"action": "delay", "delay_ms": 4000})
    began = time.monotonic()
    answer = daemon.get(TOKEN, wait(1))
    took = time.monotonic() - began
    assert answer.status == 503 and took >= 1
    assert "the first exchange is under way" in answer.json()["error"]["message"]
    assert daemon.get(TOKEN, wait(20)).status == 200


def test_after_a_failure_only_who_says_so_waits_for_the_next_exchange(slow_daemon, emulator):
    daemon = slow_daemon({"action": "status", "status": 429, "headers": {"Retry-After": "3"}})
    daemon.wait_for_failure("anchors")
    answer = daemon.get(TOKEN)
    assert answer.status == 503 and "429" in answer.json()["error"]["message"]
    assert daemon.get(TOKEN, wait(1)).status == 503
    assert len(emulator.requests()) == 1
    assert daemon.get(TOKEN, wait(20)).status == 200
    assert len(emulator.requests()) == 2


def test_an_expired_token_is_waited_for_too(slow_daemon, emulator):
    """Three seconds live, of which one is the margin; the refresh meanwhile takes longer."""
    emulator.change_settings(token_lifetime_s=3)
    daemon = slow_daemon({"action": "delay", "delay_ms": 0})
    daemon.wait_for_token("anchors")
    emulator.change_settings(token_lifetime_s=86400)
    emulator.add_fault("delay", delay_ms=4000)
    emulator.wait_for_requests(2)
    while daemon.account()["state"] == "valid":
        time.sleep(0.02)
    assert daemon.get(TOKEN).json()["expires_on"] > time.time() + 3600


def test_a_reload_while_they_wait(slow_daemon, emulator, key_file):
    daemon = slow_daemon({"action": "delay", "delay_ms": 20000})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(daemon.get, TOKEN, wait(25)) for _ in range(2)]
        daemon.get(TOKEN, wait(1))  # by then the others wait
        accounts = {
            "another": account_keys(emulator, key_file, OTHER_ID),
            "anchors": account_keys(emulator, key_file),
        }
        daemon.write_config(configuration(emulator, accounts))
        daemon.reload()
        assert {one.result().status for one in waiting} == {200}


def test_an_account_that_goes_while_they_wait(slow_daemon, emulator, key_file):
    daemon = slow_daemon({"action": "delay", "delay_ms": 20000})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.get, TOKEN, wait(25))
        daemon.get(TOKEN, wait(1))
        daemon.write_config(account_section("another", emulator, key_file, OTHER_ID))
        daemon.reload()
        assert waiting.result().status == 404


def test_a_stop_while_they_wait(slow_daemon):
    daemon = slow_daemon({"action": "delay", "delay_ms": 20000})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(daemon.get, TOKEN, wait(25))
        daemon.get(TOKEN, wait(1))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert waiting.result().status == 503
    assert time.monotonic() - began < 4  # less than the grace for answers that are not taken


def test_clients_that_go_while_they_wait(slow_daemon):
    daemon = slow_daemon()
    before = daemon.descriptors()
    for _ in range(30):
        connection = daemon.connect()
        connection.request("GET", TOKEN)
        connection.close()
    assert daemon.get(TOKEN).status == 200
    daemon.wait_for_descriptors(before)


def test_waiting_requests_take_no_more_than_half_of_the_connections(slow_daemon):
    """64 descriptors are 32 connections, of which 16 may wait."""
    daemon = slow_daemon({"action": "delay", "delay_ms": 20000}, wrap=["prlimit", "--nofile=64:64"])
    waiting = []
    for _ in range(16):
        waiting.append(daemon.connect())
        waiting[-1].request("GET", TOKEN, headers=wait(25))
    daemon.get("/healthz")  # they came first
    assert daemon.get(TOKEN, wait(25)).status == 503
    assert daemon.get("/v1/accounts").status == 200
    for connection in waiting:
        connection.close()


# ---- asking for a refresh ------------------------------------------------------------------------


def test_a_refresh_brings_a_new_token(daemon, emulator):
    old = daemon.token()
    mark = daemon.mark()
    answer = refresh(daemon)
    assert answer.status == 202
    assert answer.json()["name"] == "anchors"
    daemon.wait_for_token("anchors", mark)
    assert daemon.token()["token"] != old["token"]
    assert len(emulator.requests()) == 2


def test_a_refresh_that_is_waited_for(daemon, emulator):
    old = daemon.token()
    emulator.add_fault("delay", delay_ms=DELAY_MS)
    answer = refresh(daemon, wait(20))
    assert answer.status == 200
    assert (answer.json()["state"], answer.json()["last_error"]) == ("valid", None)
    assert daemon.token()["token"] != old["token"]


def test_a_refresh_that_does_not_end_in_time(daemon, emulator):
    emulator.add_fault("delay", delay_ms=20000)
    answer = refresh(daemon, wait(1))
    assert answer.status == 202
    assert answer.json()["refresh_in"] == 0


def test_a_refresh_that_fails_keeps_the_token(daemon, emulator):
    old = daemon.token()
    emulator.add_fault("status", status=500)
    answer = refresh(daemon, wait(20))
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["account"]) == (503, "refresh_failed", "anchors")
    assert "500" in error["message"] and "MS-CV" in error["message"]
    assert int(answer.headers["Retry-After"]) == error["retry_after"] >= 1
    assert daemon.token() == old


def test_a_second_refresh_is_too_soon(daemon, emulator):
    assert refresh(daemon, wait(20)).status == 200
    answer = refresh(daemon)
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (429, "too_soon")
    assert 1 <= error["retry_after"] <= 10
    assert len(emulator.requests()) == 2


def test_a_refresh_joins_the_one_under_way(slow_daemon, emulator):
    daemon = slow_daemon()
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        asking = [pool.submit(refresh, daemon, wait(20)) for _ in range(5)]
        assert {one.result().status for one in asking} == {200}
    assert len(emulator.requests()) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_upstream_is_left_alone_when_it_said_so(slow_daemon, emulator, status):
    daemon = slow_daemon({"action": "status", "status": status, "headers": {"Retry-After": "60"}})
    daemon.wait_for_failure("anchors")
    answer = refresh(daemon)
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (429, "too_soon")
    assert 55 <= error["retry_after"] <= 66
    assert len(emulator.requests()) == 1


def test_one_account_is_refreshed_and_no_other(make_daemon, emulator, key_file):
    emulator.put_account(OTHER_ID, "a2V5LW9mLXRoZS10ZXN0cy1hY2NvdW50LTEyMzQ1Njc4")
    accounts = {
        "anchors": account_keys(emulator, key_file),
        "other": account_keys(emulator, key_file, OTHER_ID),
    }
    daemon = make_daemon(configuration(emulator, accounts)).start()
    daemon.wait_for_token("anchors")
    daemon.wait_for_token("other")
    before = daemon.token("other")
    assert refresh(daemon, wait(20)).status == 200
    assert daemon.token("other") == before
    assert len(emulator.requests()) == 3


@pytest.mark.parametrize(
    "method, target, status",
    [("GET", REFRESH, 405), ("PUT", REFRESH, 405), ("POST", "/v1/accounts/none/refresh", 404),
     ("POST", REFRESH + "?now=1", 400), ("POST", TOKEN, 405)],
)
def test_what_is_no_refresh(daemon, method, target, status):
    answer = daemon.request(method, target)
    assert answer.status == status
    assert answer.headers["Allow"] == {405: "POST" if "refresh" in target else "GET, HEAD"}.get(status)


# ---- mrtoken refresh -----------------------------------------------------------------------------


def mrtoken(daemon, *arguments):
    return subprocess.run(
        [binary("mrtoken"), *arguments, "--socket", str(daemon.socket)],
        capture_output=True,
        text=True,
    )


def test_mrtoken_refresh(daemon):
    mark = daemon.mark()
    result = mrtoken(daemon, "refresh", "anchors")
    assert (result.returncode, result.stdout) == (0, "refresh begun: anchors\n")
    daemon.wait_for_token("anchors", mark)
    result = mrtoken(daemon, "refresh", "anchors")
    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr.startswith("mrtoken: nothing was refreshed: a refresh was asked for ")
    assert "\nTry again in " in result.stderr


def test_mrtoken_refresh_that_waits(daemon, emulator):
    emulator.add_fault("delay", delay_ms=DELAY_MS)
    result = mrtoken(daemon, "refresh", "anchors", "--wait")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("refreshed anchors: the token expires in 23h")


def test_mrtoken_refresh_as_json(daemon):
    result = mrtoken(daemon, "refresh", "anchors", "--wait", "--json")
    assert json.loads(result.stdout)["name"] == "anchors"


def test_mrtoken_refresh_that_fails(daemon, emulator):
    emulator.add_fault("status", status=500)
    result = mrtoken(daemon, "refresh", "anchors", "--wait")
    assert (result.returncode, result.stdout) == (9, "")
    assert "nothing was refreshed: the refresh failed: " in result.stderr and "500" in result.stderr


def test_mrtoken_refresh_that_does_not_end_in_time(daemon, emulator):
    emulator.add_fault("delay", delay_ms=20000)
    result = mrtoken(daemon, "refresh", "anchors", "--wait", "--timeout", "4")
    assert (result.returncode, result.stdout) == (9, ""), result.stderr
    assert "the exchange is under way, but has not ended in time" in result.stderr


def test_mrtoken_refresh_of_no_account(daemon):
    result = mrtoken(daemon, "refresh", "none")
    assert result.returncode == 4 and "Known accounts: anchors" in result.stderr
    assert mrtoken(daemon, "refresh").returncode == 2
