"""Each allocation fails once: at the start, at a reload, at a request.

The daemon goes on, or ends at its start with a reason; it says what it could not do, serves the token
that it has all the while, and keeps nothing of what it gave up. The allocations are those of all
libraries, of the program as it is built.
"""

import http.client
import os
import random
import signal

import pytest

from conftest import ACCOUNT_ID
from rig.credentials import write_secret
from rig.daemon import STORAGE, account_section, configuration
from rig.heap import FailingHeap

pytestmark = pytest.mark.plain_build  # sanitizers have a heap of their own

# A start has thousands of allocations; each run of the tests takes some, and a few days take all.
STARTS = int(os.environ.get("MRT_FAILING_STARTS", "120"))
MOST = 5000  # of one operation; more would mean that the end is never reached
SPARE = 20  # allocations that may come and go: idle connections, sessions of TLS


@pytest.fixture
def heap(tmp_path):
    heap = FailingHeap(tmp_path)
    yield heap
    heap.close()


def each_failure(heap, operation):
    """Let each allocation of the operation fail in turn; yields its number and what came of it."""
    for number in range(1, MOST):
        heap.fail(number)
        came = operation()
        was_last = heap.is_armed
        heap.fail(0)
        if was_last:
            return
        yield number, came
    pytest.fail(f"an operation with more than {MOST} allocations")


def ask(running, method, target, **headers):
    """The status, or None where the connection was closed without an answer."""
    try:
        return running.request(method, target, headers=headers)
    except (ConnectionError, http.client.HTTPException):
        return None


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/v1/token", 200),
        ("/v1/accounts/anchors/token?format=header", 200),
        ("/v1/accounts", 200),
        ("/v1/accounts/anchors", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/nowhere", 404),
        ("/v1/accounts/nobody/token", 404),
        ("/v1/accounts/anchors/login", 409),
    ],
)
def test_a_request(make_daemon, emulator, key_file, heap, target, expected):
    config = account_section("anchors", emulator, key_file)
    running = make_daemon(config, environment=heap.environment).start()
    running.wait_for_token("anchors")
    whole = ask(running, "GET", target)
    assert whole.status == expected
    before = heap.live
    statuses = []
    for number, answer in each_failure(heap, lambda: ask(running, "GET", target)):
        statuses.append(answer and answer.status)
        if statuses[-1] == 503:
            assert answer.json()["error"]["code"] == "no_memory", number
            assert answer.headers["Retry-After"] == "1"
        elif answer is not None:  # not a part of it
            assert answer.status == expected, number
            assert set(answer.json() if answer.body[:1] == b"{" else ()) == set(
                whole.json() if whole.body[:1] == b"{" else ()
            )
    assert len(statuses) >= 4
    # What an answer is made of is no reason to be silent; the first ones are the connection's own.
    assert statuses.count(None) <= 6
    assert ask(running, "GET", target).status == expected
    assert heap.live <= before + SPARE
    assert running.stop() == 0  # and now all of its log is there
    assert running.log().count("503 no_memory") == statuses.count(503)


def test_a_reload(make_daemon, emulator, key_file, heap):
    running = make_daemon(
        account_section("anchors", emulator, key_file), environment=heap.environment
    ).start()
    running.wait_for_token("anchors")
    running.reload()
    lives = []
    for _ in range(2):
        refused = 0
        for number, status in each_failure(heap, running.reload):
            assert "1 of 1 accounts have a valid token" in status, number
            if "the old configuration is in force" in status:
                refused += 1
                assert "memory" in status or "allocate" in status, status
            assert running.token()["account"] == "anchors"
        assert refused > 20
        running.reload()
        lives.append(heap.live)
    assert lives[1] <= lives[0] + SPARE
    assert len(emulator.requests(server="sts")) == 1


def test_a_start(make_daemon, emulator, key_file, heap, tmp_path):
    """Until it is ready; which allocations fail changes from run to run."""
    token = write_secret(tmp_path / "static.token", "a-token-that-somebody-has-put-there")
    keys = {"kind": "entra", "scope": STORAGE, "credential": "static_token"}
    # No exchange is begun meanwhile: libcurl and OpenSSL do not get through all of theirs.
    config = configuration(emulator, {"anchors": {**keys, "static_token": f"file:{token}"}})
    running = make_daemon(config, environment=heap.environment).start()
    calls = heap.calls
    running.stop()
    seed = int(os.environ.get("MRT_SEED", random.randrange(1 << 32)))
    print(f"MRT_SEED={seed}, {calls} allocations")
    numbers = random.Random(seed).sample(range(1, calls + 1), min(STARTS, calls))
    ends = []
    for number in numbers:
        heap.fail(number)
        running.start(wait=False)
        wait_until_ready_or_over(running)
        heap.fail(0)
        if running.is_running():
            assert running.get("/healthz").status == 200
            assert running.stop() == 0, number
            continue
        status = running.wait()
        assert status == 1, f"{number}: {status}\n{running.log()}"
        # pthread_create(3) has a word of its own.
        words = ("memory", "allocate", "temporarily unavailable")
        assert any(word in running.log() for word in words), number
        ends.append(number)
    assert 0 < len(ends) < len(numbers)


def wait_until_ready_or_over(running):
    try:
        running.wait_for_state(lambda state: "READY=1" in state)
    except AssertionError:
        if running.is_running():
            raise


def test_it_is_the_heap_that_fails(make_daemon, emulator, key_file, heap):
    """The first allocation of the program itself: there is nothing to go on with."""
    running = make_daemon(
        account_section("anchors", emulator, key_file), environment=heap.environment
    )
    heap.fail(1)
    running.start(wait=False)
    assert running.wait() not in (0, -signal.SIGKILL)
    assert heap.failed == 1
    assert ACCOUNT_ID not in running.log()
