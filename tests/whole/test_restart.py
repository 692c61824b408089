"""A restart without a gap: the next process has the tokens of the one before, and asks nobody.

The test plays the service manager (rig/kept_daemon.py): it keeps the listening socket and what the
daemon stores, and passes both to the next process. tests/system/test_service_restart.py has a real one.
"""

import base64
import json
import os
import pathlib
import signal
import struct
import threading
import time

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.daemon import APP, STORAGE, account_keys, account_section, configuration, entra_keys
from rig.kept_daemon import ENTRY, HEADER, SEALS, KeptDaemon, make_memfd, with_digest, with_times

APP_SECRET = "whole~Secret+with/odd=characters & a space"
OTHER_ID = "7f1c3c5e-0000-4000-8000-0123456789ac"


@pytest.fixture
def make_kept(tmp_path):
    made = []

    def make(config, **options):
        made.append(KeptDaemon(tmp_path, config, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def config(emulator, key_file):
    return account_section("anchors", emulator, key_file)


@pytest.fixture
def kept(make_kept, config, emulator):
    """A daemon that has the token of `anchors`, and has stored it."""
    running = make_kept(config).start()
    running.wait_for_image(lambda content: b"anchors" in content)
    emulator.clear_requests()
    return running


def jwt(**claims):
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims, {})]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def now_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def etag(daemon, target="/v1/token"):
    answer = daemon.get(target)
    assert answer.status == 200, answer.body
    return answer.headers["ETag"]


def lasting(account):
    """What is told of it but the seconds that count down."""
    return {k: v for k, v in account.items() if k not in ("expires_in", "refresh_in")}


# ---- the tokens are there ----


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT], ids=lambda number: number.name
)
def test_the_next_process_has_the_tokens_and_asks_nobody(kept, emulator, number):
    before, state, tag = kept.token(), lasting(kept.account()), etag(kept)
    kept.stop(number)
    kept.start()
    assert (kept.token(), lasting(kept.account()), etag(kept)) == (before, state, tag)
    assert kept.account()["state"] == "valid"
    kept.wait_for_log("took over the tokens of 1 of 1 accounts from the process before")
    assert "1 of 1 accounts have a valid token" in str(kept.states())
    kept.stop()
    assert emulator.requests() == []


def test_it_serves_before_any_answer_of_the_sts(kept, emulator):
    emulator.add_fault("delay", delay_ms=20000, count=0)
    kept.kill()
    kept.start()
    assert kept.get("/readyz").status == 200
    kept.token()
    assert emulator.requests() == []


def test_ten_restarts_later_it_is_the_same_token(kept, emulator):
    tag = etag(kept)
    for _ in range(10):
        kept.kill()
        kept.start()
    assert etag(kept) == tag
    assert len(kept.store) == 1
    assert emulator.requests() == []


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_clients_see_a_pause_and_no_refusal(kept, emulator, number):
    """Each asks over a new connection, as fast as it can."""
    tag, failures, answers, is_over = etag(kept), [], [], threading.Event()
    # Who was being answered by a process that was killed notices it; nobody else does.
    forgiven = (ConnectionResetError, BrokenPipeError) if number == signal.SIGKILL else ()

    def poll():
        while not is_over.is_set():
            try:
                answers.append(etag(kept))
            except forgiven:
                pass
            except Exception as error:  # noqa: BLE001
                failures.append(repr(error))

    clients = [threading.Thread(target=poll) for _ in range(3)]
    for client in clients:
        client.start()
    for _ in range(10):
        seen = len(answers)
        kept.stop(number)
        kept.start()
        deadline = time.monotonic() + 60
        while len(answers) < seen + 10 and time.monotonic() < deadline:
            time.sleep(0.001)
    is_over.set()
    for client in clients:
        client.join()
    assert failures == []
    assert set(answers) == {tag}
    assert emulator.requests() == []


def test_a_refresh_is_kept_too(kept, emulator):
    first = etag(kept)
    forged = with_times(kept.image(), next_ms=0)
    kept.stop()
    kept.put("mrtokend-tokens-1", make_memfd(forged))
    kept.start()
    kept.wait_for_token("anchors")
    second = etag(kept)
    assert second != first
    kept.wait_for_image(lambda content: content != forged)
    emulator.clear_requests()
    kept.kill()
    kept.start()
    assert etag(kept) == second
    assert emulator.requests() == []
    assert len(kept.store) == 1


def test_a_token_that_is_due_is_served_while_it_is_refreshed(kept, emulator):
    tag, image = etag(kept), kept.image()
    kept.stop()
    emulator.add_fault("delay", delay_ms=20000)
    kept.put("mrtokend-tokens-1", make_memfd(with_times(image, next_ms=0)))
    kept.start()
    emulator.wait_for_requests(1)
    assert etag(kept) == tag
    emulator.clear_faults()


def test_a_failed_refresh_after_the_restart_leaves_the_token(kept, emulator):
    tag, image = etag(kept), kept.image()
    kept.stop()
    emulator.add_fault("status", status=500, count=1)
    kept.put("mrtokend-tokens-1", make_memfd(with_times(image, next_ms=0)))
    kept.start()
    kept.wait_for_failure("anchors")
    assert etag(kept) == tag


def test_a_token_that_expired_meanwhile_is_not_served(kept, emulator):
    tag, image = etag(kept), kept.image()
    kept.stop()
    moment = now_ms()
    kept.put(
        "mrtokend-tokens-1",
        make_memfd(with_times(image, received_ms=moment - 1000, dead_at_ms=moment)),
    )
    kept.start()
    kept.wait_for_log("left out: 1 expired")
    kept.wait_for_token("anchors")
    assert etag(kept) != tag
    assert len(emulator.requests()) == 1


def test_the_schedule_goes_on_where_it_was(kept, emulator):
    image = kept.image()
    kept.stop()
    kept.put("mrtokend-tokens-1", make_memfd(with_times(image, next_ms=now_ms() + 1500)))
    kept.start()
    started = time.monotonic()
    assert emulator.requests() == []
    kept.wait_for_token("anchors")
    assert time.monotonic() - started > 0.5


def test_tokens_of_every_kind_survive(make_kept, emulator, key_file, tmp_path):
    """Those of the STS by an app, those of Entra; a static one is read from its file, and not kept."""
    secret, static = tmp_path / "app.secret", tmp_path / "static.token"
    secret.write_text(APP_SECRET)
    static.write_text(jwt(exp=int(time.time()) + 7000))
    emulator.put_app(APP, secrets=[APP_SECRET])
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])
    app = {"credential": "client_secret", "client_secret": f"file:{secret}"}
    entra = entra_keys(emulator, **app)
    accounts = {
        "anchors": account_keys(emulator, key_file),
        "by-app": {
            **account_keys(emulator, key_file, account_key=None),
            **{key: entra[key] for key in ("authority", "tenant_id", "client_id", *app)},
        },
        "storage": entra,
        "static": {
            "kind": "entra",
            "scope": STORAGE,
            "credential": "static_token",
            "static_token": f"file:{static}",
        },
    }
    running = make_kept(configuration(emulator, accounts)).start()
    content = running.wait_for_image(lambda image: struct.unpack_from("<I", image, 12) == (3,))
    assert static.read_text().encode() not in content
    for name in accounts:
        running.wait_for_token(name)
    tags = {name: etag(running, f"/v1/accounts/{name}/token") for name in accounts}
    given_by = {name: running.account(name)["credential_in_use"] for name in accounts}
    emulator.clear_requests()
    running.kill()
    running.start()
    running.wait_for_token("static")
    for name in ("anchors", "by-app", "storage"):
        assert etag(running, f"/v1/accounts/{name}/token") == tags[name]
        assert running.account(name)["credential_in_use"] == given_by[name]
    assert running.token("static")["token"] == static.read_text()
    assert emulator.requests() == []


# ---- what is kept ----


def test_the_image_is_sealed_and_nobody_else_has_it(kept):
    (stored,) = kept.store.values()
    assert stored.seals() & SEALS == SEALS
    kept.kill()
    kept.start()
    open_files = [os.readlink(entry) for entry in pathlib.Path(f"/proc/{kept.pid}/fd").iterdir()]
    assert not [name for name in open_files if "memfd" in name], open_files


def test_no_credential_is_kept(kept):
    assert KEY.encode() not in kept.image()


def test_a_burst_of_refreshes_is_a_few_images(make_kept, emulator, key_file):
    accounts = {f"a-{i}": account_keys(emulator, key_file, ACCOUNT_ID) for i in range(300)}
    running = make_kept(configuration(emulator, accounts)).start()
    started = time.monotonic()
    running.wait_for_image(lambda content: struct.unpack_from("<I", content, 12) == (300,))
    seconds = time.monotonic() - started
    # One a second at the most, and not one for each.
    assert running.stored_count <= 3 + seconds
    assert running.most_stored <= 2


def test_an_account_that_is_removed_is_not_kept(make_kept, emulator, key_file):
    two = {name: account_keys(emulator, key_file) for name in ("anchors", "others")}
    running = make_kept(configuration(emulator, two)).start()
    running.wait_for_image(lambda content: b"anchors" in content and b"others" in content)
    del two["others"]
    running.write_config(configuration(emulator, two))
    running.reload()
    running.wait_for_image(lambda content: b"anchors" in content and b"others" not in content)


def test_an_account_that_is_changed_is_fetched_anew_and_the_other_is_not(
    make_kept, emulator, key_file
):
    emulator.put_account(OTHER_ID, KEY)
    two = {name: account_keys(emulator, key_file) for name in ("anchors", "others")}
    running = make_kept(configuration(emulator, two)).start()
    running.wait_for_image(lambda content: b"anchors" in content and b"others" in content)
    tag = etag(running, "/v1/accounts/anchors/token")
    running.stop()
    emulator.clear_requests()
    two["others"] = account_keys(emulator, key_file, OTHER_ID)
    running.write_config(configuration(emulator, two))
    running.start()
    running.wait_for_log("took over the tokens of 1 of 2 accounts")
    running.wait_for_log("left out: 0 expired, 1 of another configuration")
    running.wait_for_token("others")
    assert etag(running, "/v1/accounts/anchors/token") == tag
    assert running.token("others")["account_id"] == OTHER_ID
    assert len(emulator.requests()) == 1
    assert OTHER_ID in emulator.requests()[0]["path"]


# ---- what is refused ----


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


REFUSED = {
    "damaged": (lambda image: make_memfd(flip(image, HEADER + ENTRY)), "found damage"),
    "cut": (lambda image: make_memfd(image[:-1]), "found damage"),
    "empty": (lambda image: make_memfd(b""), "found 0 bytes, expected 80 to"),
    "of another version": (
        lambda image: make_memfd(with_digest(flip(image, 8))),
        "another version of mrtokend",
    ),
    "of another boot": (lambda image: make_memfd(with_digest(flip(image, 32))), "another boot"),
    "not sealed": (lambda image: make_memfd(image, 0), "not sealed"),
    "something else": (lambda image: make_memfd(b"#!/bin/sh\n" * 20), "something else"),
    "from the future": (
        lambda image: make_memfd(with_times(image, received_ms=now_ms() + 10**7)),
        "no token of this boot can have",
    ),
    "with another token": (
        lambda image: make_memfd(with_times(image, expires_on=2**40)),
        "found a token that expires at",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_good_is_refused_and_fetched_anew(kept, emulator, kind):
    forge, reason = REFUSED[kind]
    forged = forge(kept.image())
    tag = etag(kept)
    kept.stop()
    kept.put("mrtokend-tokens-7", forged)
    kept.start()
    kept.wait_for_token("anchors")
    assert etag(kept) != tag
    assert len(emulator.requests()) == 1
    (line,) = [line for line in kept.log_lines() if "are refused, and fetched anew: " in line]
    assert reason in line
    assert "took over" not in kept.log()
    good = kept.wait_for_image(lambda content: content[:8] == b"mrtcache" and b"anchors" in content)
    assert struct.unpack_from("<I", good, 8) == (1,)


def test_tokens_of_another_configuration_are_refused(kept, emulator, key_file):
    kept.stop()
    emulator.put_account(OTHER_ID, KEY)
    kept.write_config(account_section("anchors", emulator, key_file, OTHER_ID))
    kept.start()
    kept.wait_for_token("anchors")
    kept.wait_for_log("refused, and fetched anew: found tokens of another configuration")
    assert kept.token()["account_id"] == OTHER_ID


# ---- where nobody keeps anything ----


def test_nothing_is_stored_where_the_service_manager_has_no_room(make_kept, config):
    running = make_kept(config, room=None).start()
    running.wait_for_token("anchors")
    assert running.stop() == 0
    assert running.stored_count == 0


def test_too_little_room_is_a_warning(make_kept, config):
    running = make_kept(config, room=1).start()
    running.wait_for_log("tokens are not kept over a restart: the service manager keeps 1")
    running.wait_for_token("anchors")
    running.stop()
    assert running.stored_count == 0
