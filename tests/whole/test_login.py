"""Accounts that a person logs in to, by device code: over HTTP, and by mrtoken login."""

import base64
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import termios
import threading
import time
import urllib.parse

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.daemon import (
    APP,
    STORAGE,
    account_keys,
    binary,
    configuration,
    entra_keys,
    section,
)

VAULT = "https://vault.azure.net/.default"
PATH = "/v1/accounts/storage/login"
OK, NO_ACCOUNT, NO_LOGIN = 0, 4, 8
SECONDS = 60
DECLINED, EXPIRED, SLOW_DOWN, REVOKED = 65004, 70020, 700164, 50173


@pytest.fixture(autouse=True)
def app(emulator):
    emulator.change_settings(
        entra_expires_in_s=3599,
        entra_refresh_in_s=0,
        device_code_interval_s=1,
        device_code_lifetime_s=900,
    )
    emulator.put_app(APP, public=True)
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])


@pytest.fixture
def keys(emulator):
    """Make the keys of an account that a person logs in to; those that are None are left out."""

    def make(**changes):
        return entra_keys(emulator, **{"credential": "device_code", **changes})

    return make


@pytest.fixture
def serve(make_daemon, emulator):
    """Start a daemon with these accounts: {name: keys}."""

    def start(accounts, **options):
        return make_daemon(configuration(emulator, accounts), **options).start()

    return start


@pytest.fixture
def daemon(serve, keys):
    """A daemon with the account `storage`, to which nobody has logged in."""
    return serve({"storage": keys()})


@pytest.fixture
def kept(tmp_path):
    """The keys that keep a login in a file."""
    path = tmp_path / "refresh-token.key"
    path.touch(mode=0o600)
    path.write_bytes(base64.b64encode(os.urandom(32)))
    return {
        "refresh_token_file": str(tmp_path / "storage.login"),
        "refresh_token_key": f"file:{path}",
    }


def ask(daemon, method="GET", path=PATH):
    answer = daemon.request(method, path)
    assert answer.status == {"GET": 200, "POST": 202}[method], answer.body
    return answer.json()


def begin(daemon, account="storage", after=0):
    """Begin a login; returns what it shows once there is a code."""
    path = f"/v1/accounts/{account}/login"
    assert ask(daemon, "POST", path)["state"] in ("starting", "pending")
    daemon.wait_for_log(f"account {account}: somebody is logging in at", after)
    return ask(daemon, path=path)


def log_in(daemon, emulator, account="storage", **user):
    """Log in; the account has a token then."""
    mark = daemon.mark()
    emulator.decide_device_code(begin(daemon, account, mark)["user_code"], "approved", **user)
    daemon.wait_for_log(f"account {account}: somebody has logged in", mark)
    daemon.wait_for_token(account, mark)


def wait_for_end(daemon, mark):
    """Wait until the login has failed; returns what is then told."""
    daemon.wait_for_log("account storage: nobody was logged in", mark)
    deadline = time.monotonic() + SECONDS
    while (told := ask(daemon))["state"] == "starting":  # for as long as it takes to forget it
        assert time.monotonic() < deadline
    return told


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def form_of(request):
    return dict(urllib.parse.parse_qsl(request["body"], strict_parsing=True))


def forms(emulator, grant):
    found = [form_of(r) for r in emulator.requests(server="entra") if r["path"].endswith("/token")]
    return [form for form in found if form["grant_type"].endswith(grant)]


def flows(emulator, *codes):
    return [flow for flow in emulator.device_codes() if flow["user_code"] in codes]


def last_error(daemon, account="storage"):
    return daemon.account(account)["last_error"]


# ---- a login -----------------------------------------------------------------------------------


def test_says_that_a_login_is_needed(daemon):
    line = daemon.wait_for_failure("storage")
    assert "login needed, run mrtoken login ACCOUNT: nobody has logged in" in line
    error = last_error(daemon)
    assert (error["code"], error["status"]) == ("unavailable", None)
    answer = daemon.get("/v1/token")
    assert answer.status == 503
    assert "login needed" in answer.json()["error"]["message"]


def test_asks_nothing_of_anybody_before_somebody_begins_a_login(daemon, emulator):
    daemon.wait_for_failure("storage")
    assert ask(daemon)["state"] == "none"
    assert emulator.requests() == []


def test_a_login_brings_the_token_of_who_logged_in(daemon, emulator):
    log_in(daemon, emulator, username="ada@example.com")
    claims = claims_of(daemon.token("storage")["token"])
    assert (claims["upn"], claims["appid"]) == ("ada@example.com", APP)
    assert claims["aud"] == "https://storage.azure.com"
    assert daemon.account("storage")["state"] == "valid"


def test_a_login_serves_an_account_of_the_sts(serve, keys, emulator):
    mixed_reality = keys(
        kind=None,
        scope=None,
        account_id=ACCOUNT_ID,
        account_domain="eastus2.mixedreality.azure.com",
        endpoint=emulator.sts,
    )
    daemon = serve({"anchors": mixed_reality})
    log_in(daemon, emulator, "anchors")
    assert claims_of(daemon.token()["token"])["aid"] == ACCOUNT_ID


def test_shows_the_code_of_the_service(daemon, emulator):
    shown = begin(daemon)
    (flow,) = flows(emulator, shown["user_code"])
    assert shown["account"] == "storage" and shown["state"] == "pending"
    assert flow["client_id"] == APP
    assert shown["verification_uri"].startswith(emulator.entra)
    assert shown["user_code"] in shown["message"]
    assert shown["verification_uri"] in shown["message"]
    assert 890 <= shown["expires_in"] <= 900 and shown["interval"] == 1
    assert shown["error"] is None


def test_tells_nothing_but_that_it_is_done_when_it_is(daemon, emulator):
    log_in(daemon, emulator)
    done = ask(daemon)
    assert (done.pop("account"), done.pop("state")) == ("storage", "done")
    assert set(done.values()) == {None}


def test_polls_at_the_interval_and_as_the_service_wants(daemon, emulator):
    shown = begin(daemon)
    emulator.wait_for_requests(3)  # the code and two polls
    emulator.decide_device_code(shown["user_code"], "approved")
    daemon.wait_for_token("storage")
    complaints = [one["complaint"] for one in emulator.requests(server="entra")]
    assert set(complaints) == {None, "The user has not decided yet."}
    (flow,) = flows(emulator, shown["user_code"])
    assert flow["interval_s"] == 1  # which too fast a poll would have made longer


def test_polls_less_often_when_told_to_slow_down(daemon, emulator):
    shown = begin(daemon)
    emulator.wait_for_requests(2)
    emulator.add_fault("status", status=400, server="entra", aadsts=SLOW_DOWN)
    emulator.clear_requests()
    emulator.wait_for_requests(1)
    slowed = time.monotonic()
    emulator.decide_device_code(shown["user_code"], "approved")
    daemon.wait_for_token("storage")
    assert 5.5 < time.monotonic() - slowed < 15  # an interval of 1 + 5 s


@pytest.mark.parametrize("fault", [{"action": "reset"}, {"action": "status", "status": 503}])
def test_a_passing_fault_does_not_end_a_login(daemon, emulator, fault):
    shown = begin(daemon)
    emulator.add_fault(**fault, server="entra")
    emulator.wait_for_requests(2)
    emulator.decide_device_code(shown["user_code"], "approved")
    daemon.wait_for_token("storage")
    assert ask(daemon)["state"] == "done"


@pytest.mark.parametrize(
    "decision, aadsts, words",
    [
        ("declined", DECLINED, "the sign-in was declined"),
        ("expired", EXPIRED, "the code expired before anybody had signed in"),
    ],
)
def test_says_why_a_login_failed(daemon, emulator, decision, aadsts, words):
    mark = daemon.mark()
    emulator.decide_device_code(begin(daemon)["user_code"], decision)
    failed = wait_for_end(daemon, mark)
    assert (failed["state"], failed["user_code"]) == ("failed", None)
    assert words in failed["error"]["message"]
    assert f"AADSTS{aadsts}" in failed["error"]["message"]
    assert "trace id" in failed["error"]["message"]


def test_a_code_that_nobody_enters_expires(daemon, emulator):
    emulator.change_settings(device_code_lifetime_s=2)
    mark = daemon.mark()
    shown = begin(daemon)
    assert shown["expires_in"] <= 2
    failed = wait_for_end(daemon, mark)
    assert failed["state"] == "failed"
    assert "the code expired before anybody had signed in with it" in failed["error"]["message"]


@pytest.mark.parametrize(
    "fault, code, words",
    [
        ({"status": 400, "aadsts": 700016}, "refused", "AADSTS700016"),
        ({"status": 503}, "throttled", "AADSTS90033"),
        ({"status": 200, "body": "<html>"}, "upstream_format", "not with a code to log in with"),
        ({"status": 200, "body": "{}"}, "upstream_format", "user_code"),
        (
            {"status": 200, "body": "<html>", "content_type": "text/html"},
            "upstream_format",
            "captive portal",
        ),
    ],
)
def test_says_why_there_is_no_code(daemon, emulator, fault, code, words):
    emulator.add_fault("status", server="entra", **fault)
    mark = daemon.mark()
    ask(daemon, "POST")
    failed = wait_for_end(daemon, mark)
    assert (failed["state"], failed["error"]["code"]) == ("failed", code)
    assert words in failed["error"]["message"]


def test_a_login_can_be_begun_again_after_one_that_failed(daemon, emulator):
    mark = daemon.mark()
    emulator.decide_device_code(begin(daemon)["user_code"], "declined")
    wait_for_end(daemon, mark)
    time.sleep(1)  # for which the failure is the answer to whoever asks
    log_in(daemon, emulator)
    assert ask(daemon)["state"] == "done"


def test_another_login_takes_the_place_of_the_last(daemon, emulator):
    log_in(daemon, emulator, username="ada@example.com")
    log_in(daemon, emulator, username="grace@example.com")
    assert claims_of(daemon.token("storage")["token"])["upn"] == "grace@example.com"


def test_a_login_that_fails_leaves_the_last_one_as_it_is(daemon, emulator):
    log_in(daemon, emulator)
    mark = daemon.mark()
    emulator.decide_device_code(begin(daemon, after=mark)["user_code"], "declined")
    wait_for_end(daemon, mark)
    assert daemon.account("storage")["state"] == "valid"
    emulator.clear_requests()
    daemon.write_config(daemon.config_file.read_text().replace(STORAGE, VAULT))
    daemon.reload()
    daemon.wait_for_token("storage", mark)
    assert len(forms(emulator, "refresh_token")) == 1


def test_an_account_that_needs_none_has_no_login(serve, keys, emulator, key_file):
    daemon = serve({"storage": account_keys(emulator, key_file)})
    for method in ("GET", "POST"):
        answer = daemon.request(method, PATH)
        assert answer.status == 409
        error = answer.json()["error"]
        assert (error["code"], error["account"]) == ("no_login", "storage")
        assert "account_key, which nobody logs in to" in error["message"]


# ---- several who wait --------------------------------------------------------------------------


def test_a_second_client_joins_and_sees_the_same_code(daemon, emulator):
    first = begin(daemon)
    second = ask(daemon, "POST")
    assert (second["state"], second["user_code"]) == ("pending", first["user_code"])
    begun = [r for r in emulator.requests() if r["path"].endswith("/devicecode")]
    assert len(begun) == 1


def test_many_who_begin_at_once_begin_one_login(daemon, emulator):
    threads = [threading.Thread(target=ask, args=(daemon, "POST")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    daemon.wait_for_log("somebody is logging in at")
    assert len([r for r in emulator.requests() if r["path"].endswith("/devicecode")]) == 1


def test_accounts_with_the_same_credential_are_logged_in_together(serve, keys, emulator):
    daemon = serve({"storage": keys(), "vault": keys(scope=VAULT)})
    daemon.wait_for_failure("vault")
    shown = begin(daemon)
    joined = begin(daemon, "vault")
    assert joined["user_code"] == shown["user_code"]
    emulator.decide_device_code(shown["user_code"], "approved")
    for name in ("storage", "vault"):
        daemon.wait_for_token(name)
    assert claims_of(daemon.token("vault")["token"])["aud"] == "https://vault.azure.net"


def test_an_account_is_served_as_soon_as_somebody_logs_in_to_another(serve, keys, emulator):
    daemon = serve({"storage": keys(), "vault": keys(scope=VAULT)})
    daemon.wait_for_failure("vault")
    log_in(daemon, emulator)
    daemon.wait_for_token("vault")


def test_accounts_with_other_settings_have_logins_of_their_own(serve, keys, emulator):
    other = "a9900001-0000-4000-8000-000000000002"
    emulator.put_app(other, public=True)
    daemon = serve({"storage": keys(), "vault": keys(client_id=other)})
    log_in(daemon, emulator)
    daemon.wait_for_failure("vault")
    assert ask(daemon, path="/v1/accounts/vault/login")["state"] == "none"
    assert "login needed" in last_error(daemon, "vault")["message"]


def test_a_list_goes_on_to_the_next_until_somebody_logs_in(serve, keys, emulator, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("the app's own secret")
    emulator.put_app(APP, public=True, secrets=["the app's own secret"])
    daemon = serve(
        {
            "storage": keys(
                credential="device_code, client_secret", client_secret=f"file:{secret}"
            )
        }
    )
    daemon.wait_for_token("storage")
    assert "upn" not in claims_of(daemon.token("storage")["token"])
    log_in(daemon, emulator, username="ada@example.com")
    assert claims_of(daemon.token("storage")["token"])["upn"] == "ada@example.com"


# ---- what a login leaves -----------------------------------------------------------------------


def test_the_login_gives_token_after_token(daemon, emulator):
    emulator.change_settings(entra_expires_in_s=3)
    log_in(daemon, emulator)
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    for form in forms(emulator, "refresh_token"):
        assert form["scope"] == f"{STORAGE} openid profile offline_access"
        assert form["client_id"] == APP


def test_each_refresh_token_is_used_in_the_place_of_the_one_before(daemon, emulator):
    emulator.change_settings(entra_expires_in_s=3)
    log_in(daemon, emulator)
    for _ in range(2):
        daemon.wait_for_token("storage", daemon.mark())
    sent = [form["refresh_token"] for form in forms(emulator, "refresh_token")]
    assert len(sent) >= 3 and len(set(sent)) == len(sent)


def test_says_to_log_in_again_when_the_login_was_revoked(daemon, emulator):
    emulator.change_settings(entra_expires_in_s=3)
    log_in(daemon, emulator)
    mark = daemon.mark()
    assert emulator.revoke_refresh_tokens() > 0
    line = daemon.wait_for_failure("storage", mark)
    assert "login needed, run mrtoken login ACCOUNT" in line
    assert f"AADSTS{REVOKED}" in line
    error = last_error(daemon)
    assert error["code"] == "denied" and "login needed" in error["message"]
    # Somebody does, and all is well.
    emulator.change_settings(entra_expires_in_s=3599)
    log_in(daemon, emulator)
    assert daemon.account("storage")["last_error"] is None


@pytest.mark.parametrize("is_kept", [False, True], ids=["in memory", "in a file"])
def test_a_revoked_refresh_token_is_not_sent_again(serve, keys, kept, emulator, is_kept):
    daemon = serve({"storage": keys(**(kept if is_kept else {}))})
    emulator.change_settings(entra_expires_in_s=3)
    log_in(daemon, emulator)
    mark = daemon.mark()
    emulator.revoke_refresh_tokens()
    daemon.wait_for_failure("storage", mark)
    emulator.clear_requests()
    mark = daemon.mark()
    daemon.reload()  # which has every account that failed tried again
    assert "login needed" in daemon.wait_for_failure("storage", mark)
    assert emulator.requests(server="entra") == []


def test_a_scope_that_is_refused_does_not_end_the_login(serve, keys, emulator):
    daemon = serve({"storage": keys(), "vault": keys(scope=VAULT)})
    daemon.wait_for_failure("vault")
    # The first refresh token is used for the other scope, to which nobody has consented.
    shown = begin(daemon)
    emulator.wait_for_requests(2)
    mark = daemon.mark()
    emulator.decide_device_code(shown["user_code"], "approved")
    daemon.wait_for_token("storage", mark)
    daemon.wait_for_token("vault", mark)
    emulator.add_fault("status", status=400, server="entra", aadsts=65001)
    mark = daemon.mark()
    daemon.write_config(
        daemon.config_file.read_text().replace(VAULT, "https://graph.microsoft.com/.default")
    )
    daemon.reload()
    line = daemon.wait_for_failure("vault", mark)
    assert "AADSTS65001" in line and "login needed" not in line
    mark = daemon.mark()
    daemon.reload()
    daemon.wait_for_token("vault", mark)


def test_a_login_without_refresh_token_ends_with_its_token(daemon, emulator):
    token = {"token_type": "Bearer", "expires_in": 4, "access_token": "a.b.c"}
    shown = begin(daemon)
    assert shown["state"] == "pending"
    emulator.add_fault(
        "status",
        status=200,
        server="entra",
        body=json.dumps(token),
        content_type="application/json",
    )
    daemon.wait_for_token("storage")
    assert "offline_access" in daemon.account("storage")["notice"]
    line = daemon.wait_for_failure("storage", daemon.mark())
    assert "login needed" in line and "offline_access" in line


# ---- restarts and reloads ----------------------------------------------------------------------


def test_a_login_in_memory_ends_with_the_daemon(daemon, emulator):
    log_in(daemon, emulator)
    daemon.stop()
    daemon.start()
    assert "nobody has logged in since the daemon started" in daemon.wait_for_failure("storage")


def test_a_login_in_a_file_goes_on_after_a_restart(serve, keys, kept, emulator):
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator, username="ada@example.com")
    daemon.stop()
    daemon.start()
    daemon.wait_for_token("storage")
    assert claims_of(daemon.token("storage")["token"])["upn"] == "ada@example.com"
    assert len([r for r in emulator.requests() if r["path"].endswith("/devicecode")]) == 1


def test_a_login_in_a_file_goes_on_after_a_crash(serve, keys, kept, emulator):
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.kill()
    daemon.start()
    daemon.wait_for_token("storage")


def test_the_file_has_the_newest_refresh_token(serve, keys, kept, emulator):
    emulator.change_settings(entra_expires_in_s=3)
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.wait_for_token("storage", daemon.mark())
    daemon.stop()
    before = [form["refresh_token"] for form in forms(emulator, "refresh_token")]
    daemon.start()
    daemon.wait_for_token("storage")
    after = [form["refresh_token"] for form in forms(emulator, "refresh_token")][len(before) :]
    assert after[0] not in before


def test_the_file_is_for_the_daemon_alone_and_shows_nothing(serve, keys, kept, emulator):
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.stop()
    daemon.start()
    daemon.wait_for_token("storage")
    path = pathlib.Path(kept["refresh_token_file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    (sent,) = [form["refresh_token"] for form in forms(emulator, "refresh_token")]
    assert sent.encode() not in content
    assert sent[:12].encode() not in content
    assert not path.with_name(path.name + ".new").exists()


def damage(path, kept):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change_key(path, kept):
    pathlib.Path(kept["refresh_token_key"][5:]).write_text("another key of at least 16 bytes")


def shorten_key(path, kept):
    pathlib.Path(kept["refresh_token_key"][5:]).write_text("fifteen letters")


def remove_key(path, kept):
    pathlib.Path(kept["refresh_token_key"][5:]).unlink()


def open_to_all(path, kept):
    path.chmod(0o644)


def cut(path, kept):
    path.write_bytes(path.read_bytes()[:80])


def put_other(path, kept):
    path.write_text("these are somebody's notes")


def link(path, kept):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


SPOILERS = [
    (damage, "its seal is broken"),
    (change_key, "another refresh_token_key"),
    (shorten_key, "found 15 bytes, expected at least 16"),
    (remove_key, "refresh_token_key"),
    (open_to_all, "has mode 0644, expected 0600"),
    (cut, "is damaged"),
    (put_other, "something else"),
    (link, "a symbolic link"),
]


@pytest.mark.parametrize("spoil, words", SPOILERS, ids=[s.__name__ for s, _ in SPOILERS])
def test_says_what_is_wrong_with_the_file_and_leaves_it(serve, keys, kept, emulator, spoil, words):
    path = pathlib.Path(kept["refresh_token_file"])
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.stop()
    spoil(path, kept)
    before = (path.lstat().st_ino, path.lstat().st_mode, path.read_bytes())
    daemon.start()
    assert words in daemon.wait_for_failure("storage")
    assert last_error(daemon)["code"] == "secret_source"
    # Nor does anybody sign in for nothing.
    mark = daemon.mark()
    emulator.clear_requests()
    ask(daemon, "POST")
    failed = wait_for_end(daemon, mark)
    assert words in failed["error"]["message"]
    assert emulator.requests() == []
    assert (path.lstat().st_ino, path.lstat().st_mode, path.read_bytes()) == before


def test_a_file_of_another_client_is_refused(serve, keys, kept, emulator):
    other = "a9900001-0000-4000-8000-000000000002"
    emulator.put_app(other, public=True)
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.stop()
    daemon.write_config(daemon.config_file.read_text().replace(APP, other))
    daemon.start()
    assert "another authority, tenant_id or client_id" in daemon.wait_for_failure("storage")


def test_a_file_that_is_put_right_is_taken_with_the_next_refresh(serve, keys, kept, emulator):
    path = pathlib.Path(kept["refresh_token_file"])
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.stop()
    path.chmod(0o644)
    daemon.start()
    daemon.wait_for_failure("storage")
    path.chmod(0o600)
    daemon.reload()
    daemon.wait_for_token("storage")


def test_a_login_that_cannot_be_kept_serves_and_says_so(serve, keys, kept, emulator, tmp_path):
    kept["refresh_token_file"] = str(tmp_path / "not-there" / "storage.login")
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    account = daemon.account("storage")
    assert account["state"] == "valid"
    assert "the login ends with the daemon, because it cannot be kept" in account["notice"]
    assert "No such file or directory" in account["notice"]


def test_a_login_that_cannot_be_kept_leaves_none_of_before(serve, keys, kept, emulator, tmp_path):
    """Else somebody else's would go on after the next start."""
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator, username="ada@example.com")
    assert (tmp_path / "storage.login").exists()
    mark = daemon.mark()
    code = begin(daemon, after=mark)["user_code"]
    (tmp_path / "refresh-token.key").write_text("short")
    emulator.decide_device_code(code, "approved", username="grace@example.com")
    daemon.wait_for_token("storage", mark)
    assert claims_of(daemon.token("storage")["token"])["upn"] == "grace@example.com"
    assert "cannot be kept" in daemon.account("storage")["notice"]
    assert not (tmp_path / "storage.login").exists()


def test_entra_is_asked_for_no_login_before_it_wants_to_be(daemon, emulator):
    emulator.add_fault("status", server="entra", status=429, headers={"Retry-After": "300"})
    mark = daemon.mark()
    ask(daemon, "POST")
    wait_for_end(daemon, mark)
    emulator.clear_requests()
    time.sleep(1)  # for which the failure is the answer to whoever asks
    mark = daemon.mark()
    ask(daemon, "POST")
    failed = wait_for_end(daemon, mark)
    assert failed["error"]["code"] == "throttled"
    assert re.search(r"wants no login begun for (300|29\d) s more", failed["error"]["message"])
    assert emulator.requests() == []


def test_a_login_that_was_revoked_meanwhile_is_told_after_a_restart(serve, keys, kept, emulator):
    daemon = serve({"storage": keys(**kept)})
    log_in(daemon, emulator)
    daemon.stop()
    emulator.revoke_refresh_tokens()
    daemon.start()
    line = daemon.wait_for_failure("storage")
    assert "login needed" in line and f"AADSTS{REVOKED}" in line
    assert pathlib.Path(kept["refresh_token_file"]).exists()
    log_in(daemon, emulator)
    daemon.stop()
    daemon.start()
    daemon.wait_for_token("storage")


@pytest.mark.parametrize(
    "given, missing",
    [("refresh_token_file", "refresh_token_key"), ("refresh_token_key", "refresh_token_file")],
)
def test_a_file_without_key_and_a_key_without_file_are_refused(
    make_daemon, keys, kept, emulator, given, missing
):
    config = configuration(emulator, {"storage": keys(**{given: kept[given]})})
    daemon = make_daemon(config).start(wait=False)
    assert daemon.wait() == 78
    assert f"{missing} is missing" in daemon.log()


def test_a_reload_keeps_the_login(daemon, emulator):
    log_in(daemon, emulator)
    emulator.clear_requests()
    mark = daemon.mark()
    daemon.write_config(daemon.config_file.read_text().replace(STORAGE, VAULT))
    daemon.reload()
    daemon.wait_for_token("storage", mark)
    assert claims_of(daemon.token("storage")["token"])["aud"] == "https://vault.azure.net"
    assert [form_of(r)["grant_type"] for r in emulator.requests()] == ["refresh_token"]


def test_a_reload_does_not_disturb_a_login_under_way(daemon, emulator):
    shown = begin(daemon)
    daemon.reload()
    assert ask(daemon)["user_code"] == shown["user_code"]
    mark = daemon.mark()
    emulator.decide_device_code(shown["user_code"], "approved")
    daemon.wait_for_token("storage", mark)
    assert ask(daemon)["state"] == "done"
    daemon.reload()
    assert ask(daemon)["state"] == "done"


def test_a_reload_with_another_client_ends_the_login_under_way(daemon, emulator):
    other = "a9900001-0000-4000-8000-000000000002"
    emulator.put_app(other, public=True)
    shown = begin(daemon)
    mark = daemon.mark()
    daemon.write_config(daemon.config_file.read_text().replace(APP, other))
    daemon.reload()
    assert ask(daemon)["state"] == "none"
    log_in(daemon, emulator)
    (flow,) = flows(emulator, shown["user_code"])
    assert flow["state"] == "pending"
    assert claims_of(daemon.token("storage")["token"])["appid"] == other
    assert daemon.mark() > mark


def test_stops_in_order_while_somebody_logs_in(daemon):
    begin(daemon)
    assert daemon.stop() == 0


# ---- secrets -----------------------------------------------------------------------------------


def test_neither_codes_nor_refresh_tokens_are_told_to_anybody(serve, keys, kept, emulator):
    emulator.change_settings(entra_expires_in_s=3)
    config = configuration(emulator, {"storage": keys(**kept)}, log_level="debug")
    daemon = serve({"storage": keys(**kept)})
    daemon.write_config(config)
    daemon.reload()
    mark = daemon.mark()
    shown = begin(daemon)
    emulator.decide_device_code(shown["user_code"], "approved")
    daemon.wait_for_token("storage", mark)
    daemon.wait_for_token("storage", daemon.mark())
    emulator.revoke_refresh_tokens()
    daemon.wait_for_failure("storage", mark)
    secrets = [form["device_code"] for form in forms(emulator, "device_code")]
    secrets += [form["refresh_token"] for form in forms(emulator, "refresh_token")]
    assert len(secrets) >= 3
    told = daemon.log() + daemon.get("/v1/accounts").body.decode()
    told += json.dumps(ask(daemon)) + daemon.get("/v1/token").body.decode()
    for secret in secrets:
        assert secret not in told
        assert secret[:16] not in told
    assert shown["user_code"] not in told


# ---- mrtoken login -----------------------------------------------------------------------------


class Client:
    """mrtoken login, running."""

    def __init__(self, daemon, *args, terminal=None):
        command = [binary("mrtoken"), "--socket", str(daemon.socket), "login", *args]
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm"}
        self.error = b""
        self.terminal = None
        stderr = subprocess.PIPE
        if terminal:
            self.terminal, stderr = pty.openpty()
            fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            # Whoever runs the tests in the background may have it ignored, as nohup does.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        if terminal:
            os.close(stderr)
        self._source = self.terminal if terminal else self.process.stderr.fileno()

    def read_until(self, pattern):
        """Read standard error until the pattern is in it; returns the match."""
        deadline = time.monotonic() + SECONDS
        while (match := re.search(pattern, self.error.decode())) is None:
            part = self._read(deadline)
            assert part, f"{pattern!r} did not come: {self.error!r}"
        return match

    def _read(self, deadline):
        left = max(deadline - time.monotonic(), 0)
        assert select.select([self._source], [], [], left)[0], f"no end: {self.error!r}"
        try:
            part = os.read(self._source, 65536)
        except OSError:  # the terminal's other end is closed
            part = b""
        self.error += part
        return part

    def code(self):
        return self.read_until(r"code ([A-Z0-9-]+)\r?\n").group(1)

    def end(self):
        """Wait for its end; returns exit status, standard output, standard error."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        out = self.process.stdout.read()
        status = self.process.wait(SECONDS)
        self.process.stdout.close()
        if self.terminal is not None:
            os.close(self.terminal)
        else:
            self.process.stderr.close()
        return status, out.decode(), self.error.decode()


def test_mrtoken_shows_the_code_and_waits_until_somebody_has_logged_in(daemon, emulator):
    client = Client(daemon, "storage")
    code = client.code()
    (flow,) = flows(emulator, code)
    assert flow["state"] == "pending"
    emulator.decide_device_code(code, "approved")
    status, out, error = client.end()
    assert (status, out) == (OK, "logged in to storage\n")
    assert f"    {emulator.entra}/common/oauth2/deviceauth\n    code {code}\n" in error
    daemon.wait_for_token("storage")


def test_mrtoken_tells_in_lines_that_it_waits_where_there_is_no_terminal(daemon, emulator):
    client = Client(daemon, "storage")
    code = client.code()
    client.read_until(r"\nwaiting for the sign-in, 1[45]m \d+s left\n")
    emulator.decide_device_code(code, "approved")
    _, _, error = client.end()
    assert error.count("waiting") == 1
    assert "\r" not in error and "\x1b" not in error


def test_mrtoken_counts_down_on_a_terminal_and_leaves_no_line_behind(daemon, emulator):
    client = Client(daemon, "storage", terminal=True)
    code = client.code()
    client.read_until(r"\r[|/\\-] waiting for the sign-in, 1[45]m \d+s left +\r[|/\\-] waiting")
    emulator.decide_device_code(code, "approved")
    status, out, error = client.end()
    assert (status, out) == (OK, "logged in to storage\n")
    assert error.endswith("\r\x1b[K")


def test_mrtoken_says_why_nobody_was_logged_in(daemon, emulator):
    client = Client(daemon, "storage")
    emulator.decide_device_code(client.code(), "declined")
    status, out, error = client.end()
    assert (status, out) == (NO_LOGIN, "")
    last = error.splitlines()[-1]
    assert last.startswith("mrtoken: nobody was logged in: the sign-in was declined: ")
    assert f"AADSTS{DECLINED}" in last


def test_mrtoken_says_that_an_account_needs_no_login(serve, emulator, key_file):
    daemon = serve({"anchors": account_keys(emulator, key_file)})
    status, out, error = Client(daemon, "anchors").end()
    assert (status, out) == (NO_LOGIN, "")
    assert error == (
        "mrtoken: there is no login: the credential of this account is account_key, which nobody "
        "logs in to\n"
    )


def test_mrtoken_says_which_accounts_there_are(daemon):
    status, out, error = Client(daemon, "storge").end()
    assert (status, out) == (NO_ACCOUNT, "")
    assert 'there is no account "storge"' in error and 'Did you mean "storage"?' in error


def test_two_clients_show_the_same_code(daemon, emulator):
    clients = [Client(daemon, "storage") for _ in range(2)]
    codes = {client.code() for client in clients}
    assert len(codes) == 1
    emulator.decide_device_code(codes.pop(), "approved")
    for client in clients:
        assert client.end()[:2] == (OK, "logged in to storage\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_a_signal_ends_mrtoken_cleanly_and_not_the_login(daemon, emulator, number, terminal):
    client = Client(daemon, "storage", terminal=terminal)
    code = client.code()
    client.read_until("waiting for the sign-in")
    client.process.send_signal(number)
    status, out, error = client.end()
    assert (status, out) == (-number, "")
    assert error.splitlines()[-1].startswith("mrtoken: interrupted; the daemon gives the login up")
    other = Client(daemon, "storage")
    assert other.code() == code
    emulator.decide_device_code(code, "approved")
    assert other.end()[0] == OK


def test_mrtoken_waits_over_a_reload(daemon, emulator):
    client = Client(daemon, "storage")
    code = client.code()
    daemon.reload()
    emulator.decide_device_code(code, "approved")
    assert client.end()[:2] == (OK, "logged in to storage\n")


def test_mrtoken_shows_another_code_after_a_reload_with_other_settings(daemon, emulator):
    other = "a9900001-0000-4000-8000-000000000002"
    emulator.put_app(other, public=True)
    client = Client(daemon, "storage")
    first = client.code()
    daemon.write_config(daemon.config_file.read_text().replace(APP, other))
    daemon.reload()
    second = client.read_until(rf"(?s)code {first}\n.*code ([A-Z0-9-]+)\n").group(1)
    emulator.decide_device_code(second, "approved")
    assert client.end()[0] == OK


def test_mrtoken_says_that_the_daemon_has_gone(daemon):
    client = Client(daemon, "storage")
    client.code()
    daemon.stop()
    status, out, error = client.end()
    assert (status, out) == (3, "")
    assert "cannot reach the daemon" in error
