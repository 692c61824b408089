"""Refreshing: ahead of expiry, through every failure of the STS, at scale."""

import base64
import json
import re
import socket
import time

import pytest

from conftest import ACCOUNT_ID, KEY, SECOND_KEY
from rig.daemon import Daemon, Poller, account_keys, account_section, configuration
from rig.emulator import Emulator

VECTOR = r"[A-Za-z0-9+/]{22}\.0"
SERVED_SECONDS = 12  # life of the tokens that have to outlive a failed refresh
LEAST_BACKOFF_SECONDS = 269  # for what someone must mend


def jwt(**claims):
    parts = ({"alg": "none"}, claims)
    encode = base64.urlsafe_b64encode
    return ".".join([*(encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts), "sig"])


def good(body):
    """A fault: status 200 with this body."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {"action": "status", "status": 200, "body": text}


def status(number, **more):
    return {"action": "status", "status": number, **more}


def access(token):
    return good({"AccessToken": token})


LATER = 4102444800
# What goes wrong, the code it gets, and the status that is told (None: there was no answer).
FAULTS = {
    "400": (status(400), "refused", 400),
    "401": (status(401), "denied", 401),
    "403": (status(403), "denied", 403),
    "404": (status(404), "refused", 404),
    "405": (status(405), "refused", 405),
    "408": (status(408), "timeout", 408),
    "409": (status(409), "refused", 409),
    "429": (status(429), "throttled", 429),
    "500": (status(500, body="<h1>no</h1>", content_type="text/html"), "upstream_fault", 500),
    "500 empty": (status(500, body=""), "upstream_fault", 500),
    "501": (status(501), "upstream_fault", 501),
    "502": (status(502), "upstream_fault", 502),
    "503": (status(503), "throttled", 503),
    "504": (status(504), "upstream_fault", 504),
    "599": (status(599), "upstream_fault", 599),
    "redirect": (status(302, headers={"Location": "https://127.0.0.1:1/"}), "refused", 302),
    "no content": (status(204, body=""), "refused", 204),
    "created": (status(201, body=json.dumps({"AccessToken": jwt(exp=LATER)})), "refused", 201),
    "reset at headers": ({"action": "reset", "at": "headers"}, "network", None),
    "reset in body": ({"action": "reset", "at": "body"}, "network", None),
    "truncated": ({"action": "truncate"}, "network", None),
    "wrong type": ({"action": "wrong_type"}, "upstream_format", 200),
    "oversized": ({"action": "oversize"}, "upstream_format", None),
    "expired": ({"action": "token", "lifetime_s": -10}, "upstream_format", None),
    "expires now": ({"action": "token", "lifetime_s": 0}, "upstream_format", None),
    "no body": (good(""), "upstream_format", 200),
    "no object": (good([jwt(exp=LATER)]), "upstream_format", 200),
    "half an object": (good('{"AccessToken":"' + jwt(exp=LATER)), "upstream_format", 200),
    "no token": (good({"accessToken": jwt(exp=LATER)}), "upstream_format", 200),
    "token null": (access(None), "upstream_format", 200),
    "token number": (access(5), "upstream_format", 200),
    "token empty": (access(""), "upstream_format", 200),
    "token no JWT": (access("garbage"), "upstream_format", 200),
    "two parts": (access(jwt(exp=LATER).rsplit(".", 1)[0]), "upstream_format", 200),
    "no base64": (access("a.!!!.c"), "upstream_format", 200),
    "no JSON": (access("a.bm8.c"), "upstream_format", 200),
    "no exp": (access(jwt(iat=1)), "upstream_format", 200),
    "exp null": (access(jwt(exp=None)), "upstream_format", 200),
    "exp word": (access(jwt(exp="soon")), "upstream_format", 200),
    "exp negative": (access(jwt(exp=-1)), "upstream_format", 200),
    "exp endless": (access(jwt(exp=1e300)), "upstream_format", 200),
    "control character": (access(jwt(exp=LATER) + "\r\nX: y"), "upstream_format", None),
}
RETRIED = [name for name, (_, code, _) in FAULTS.items() if code not in ("refused", "denied")]


def id_of(number):
    return f"7f1c3c5e-0000-4000-8002-{number:012x}"


ACCOUNTS = {fault: (f"fault-{i}", id_of(i)) for i, fault in enumerate(FAULTS)}


def add_faults(emulator):
    for fault, (members, _, _) in FAULTS.items():
        emulator.add_fault(**members, account=ACCOUNTS[fault][1], count=0)


class Scene:
    """What was seen of a daemon that has an account for each fault."""

    def __init__(self, emulator, directory):
        key_file = directory / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(KEY)
        for _, account_id in ACCOUNTS.values():
            emulator.put_account(account_id, KEY)
        # A host for each: what fails in one account shall not hold back the others.
        port = emulator.sts.rsplit(":", 1)[1]
        accounts = {
            name: account_keys(
                emulator, key_file, account_id, endpoint=f"https://{name}.sts.localhost:{port}"
            )
            for name, account_id in ACCOUNTS.values()
        }
        self.daemon = Daemon(directory, configuration(emulator, accounts))
        self.before, self.tokens, self.accounts, self.recovered = {}, {}, {}, {}

    def look(self):
        for fault, (name, _) in ACCOUNTS.items():
            self.daemon.wait_for_failure(name)
            self.tokens[fault] = self.daemon.get(f"/v1/accounts/{name}/token")
            self.accounts[fault] = self.daemon.account(name)

    def recover(self, emulator):
        """Let the STS work again: what time mends comes back alone, the rest after a reload."""
        emulator.change_settings(token_lifetime_s=86400)
        mark = self.daemon.mark()
        emulator.clear_faults()
        for fault in RETRIED:
            self.daemon.wait_for_token(ACCOUNTS[fault][0], mark)
        self.daemon.reload()
        for fault, (name, _) in ACCOUNTS.items():
            self.daemon.wait_for_token(name, mark)
            self.recovered[fault] = self.daemon.account(name)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Each account had a token when its fault began."""
    with Emulator(tmp_path_factory.mktemp("served-sts")) as emulator:
        emulator.change_settings(token_lifetime_s=SERVED_SECONDS)
        scene = Scene(emulator, tmp_path_factory.mktemp("served"))
        scene.daemon.start()
        for fault, (name, _) in ACCOUNTS.items():
            scene.daemon.wait_for_token(name)
            scene.before[fault] = scene.daemon.get(f"/v1/accounts/{name}/token")
        add_faults(emulator)
        scene.look()
        scene.recover(emulator)
        yield scene
        scene.daemon.close()


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """No account ever had a token."""
    with Emulator(tmp_path_factory.mktemp("failed-sts")) as emulator:
        scene = Scene(emulator, tmp_path_factory.mktemp("failed"))
        add_faults(emulator)
        scene.daemon.start()
        scene.look()
        scene.recover(emulator)
        yield scene
        scene.daemon.close()


each_fault = pytest.mark.parametrize("fault", FAULTS)


@each_fault
def test_a_valid_token_is_served_unchanged_through(served, fault):
    before, after = served.before[fault], served.tokens[fault]
    assert (before.status, after.status) == (200, 200)
    assert after.body == before.body
    assert after.headers["ETag"] == before.headers["ETag"]


@each_fault
@pytest.mark.parametrize("scene, state", [("served", "degraded"), ("failed", "failed")])
def test_the_account_shows_the_error_of(scene, state, fault, request):
    account = request.getfixturevalue(scene).accounts[fault]
    _, code, number = FAULTS[fault]
    error = account["last_error"]
    assert account["state"] == state
    assert account["failures"] >= 1
    assert set(error) == {
        "code",
        "message",
        "status",
        "correlation_vector",
        "upstream_code",
        "correlation_id",
        "at",
    }
    assert (error["code"], error["status"]) == (code, number)
    assert abs(error["at"] - time.time()) < 600
    assert account["endpoint"] in error["message"]
    if number is not None:
        assert re.fullmatch(VECTOR, error["correlation_vector"])
        assert str(number) in error["message"] and error["correlation_vector"] in error["message"]


@each_fault
def test_without_a_token_the_answer_names_the_reason_of(failed, fault):
    answer = failed.tokens[fault]
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (503, "no_valid_token")
    assert error["message"].endswith(failed.accounts[fault]["last_error"]["message"])
    assert answer.headers["Retry-After"] == str(error["retry_after"])
    if fault in RETRIED:
        assert 1 <= error["retry_after"] <= 300
    else:
        assert LEAST_BACKOFF_SECONDS <= error["retry_after"] <= 300


@each_fault
@pytest.mark.parametrize("scene", ["served", "failed"])
def test_recovers_from(scene, fault, request):
    account = request.getfixturevalue(scene).recovered[fault]
    assert (account["state"], account["failures"]) == ("valid", 0)
    assert account["last_error"] is None


# ---- expiry ----


def is_not_expired(answer, before):
    if answer.status == 200 and answer.json()["expires_on"] <= before:
        return f"expired at {answer.json()['expires_on']}, asked at {before}"
    return None


def test_a_token_is_refreshed_before_it_expires(make_daemon, emulator, key_file):
    emulator.change_settings(token_lifetime_s=5)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    with Poller(running, check=is_not_expired) as poller:
        for _ in range(3):
            running.wait_for_token("anchors", running.mark())
            poller.wait_for_answers()


def test_serves_valid_token_while_sts_is_down_and_never_an_expired_one(
    make_daemon, tmp_path, key_file
):
    with Emulator(tmp_path / "sts", {ACCOUNT_ID: KEY}) as sts:
        sts.change_settings(token_lifetime_s=6)
        running = make_daemon(account_section("anchors", sts, key_file)).start()
        running.wait_for_token("anchors")
        before = running.token()
    running.wait_for_failure("anchors")
    assert running.token() == before
    deadline = time.monotonic() + 60
    answer = None
    while answer is None or answer.status == 200:
        asked = time.time()
        answer = running.get("/v1/token")
        assert is_not_expired(answer, asked) is None
        assert time.monotonic() < deadline
    assert answer.status == 503
    assert time.time() > before["expires_on"] - 3, "it was thrown away long before its end"
    running.wait_for_state(lambda state: "STATUS=0 of 1" in state[-1])


@pytest.mark.parametrize("offset", [-86400, 86400])
def test_a_wrong_clock_of_this_host_does_no_harm(make_daemon, emulator, key_file, offset):
    emulator.change_settings(token_lifetime_s=3600, date_offset_s=offset)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    account = running.account()
    assert account["state"] == "valid"
    assert 3500 < account["expires_in"] <= 3600
    assert 1700 < account["refresh_in"] < 2200


# ---- secrets in what the STS says ----


@pytest.mark.parametrize(
    "fault",
    [
        status(400, body=f"no such key: {KEY}"),
        status(400, body=f"Authorization: Bearer {ACCOUNT_ID}:{KEY}"),
        status(500, body=json.dumps({"error": {"code": KEY, "message": f"bad key '{KEY}'"}})),
        status(500, body=json.dumps({"code": "x", "message": "y" * 150 + KEY})),
        status(401, headers={"WWW-Authenticate": f'Bearer error="{KEY}"'}),
        status(429, headers={"MS-CV": KEY}),
        status(500, headers={"MS-CV": f"x {KEY}"}),
        good(KEY),
        access(KEY),
        access(f"a.{KEY}.c"),
        status(200, body="{}", content_type=f"text/{KEY}"),
        status(302, headers={"Location": f"https://127.0.0.1/{KEY}"}),
        {"action": "wrong_type", "content_type": f'application/x; key="{KEY}"'},
    ],
    ids=lambda fault: re.sub(r"[^ -~]|%s" % KEY, "*", str(sorted(fault.items())))[:60],
)
@pytest.mark.parametrize("key", [KEY, "c2hvcnQta2V5LTEy"], ids=["long", "short"])
def test_a_key_that_the_sts_repeats_is_not_told(make_daemon, emulator, key_file, fault, key):
    key_file.write_text(key)
    emulator.add_fault(**json.loads(json.dumps(fault).replace(KEY, key)), count=0)
    config = account_section("anchors", emulator, key_file)
    running = make_daemon(config.replace("[daemon]\n", "[daemon]\nlog_level = debug\n")).start()
    running.wait_for_failure("anchors")
    seen = running.log() + repr(running.states())
    for path in ("/v1/token", "/v1/accounts", "/readyz"):
        seen += running.get(path).body.decode()
    assert key[:12] not in seen


def test_a_token_that_the_sts_repeats_is_not_told(make_daemon, emulator, key_file):
    token = jwt(exp=LATER, aid=ACCOUNT_ID, filler="x" * 100)
    emulator.add_fault(**status(500, body=json.dumps({"message": token})))
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_failure("anchors")
    assert token.split(".")[1][:60] not in running.log()


# ---- when to come back ----


def test_retry_after_is_obeyed(make_daemon, emulator, key_file):
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 4))
    told = [
        {"status": 429, "headers": {"Retry-After": "2"}},
        {"status": 503, "headers": {"Retry-After": "2"}},
        {"status": 500, "headers": {"Retry-After": "2"}},
        {"status": 429, "headers": {"retry-after-ms": "2000"}},
        {"status": 503, "headers": {"Retry-After": date}},
    ]
    accounts = {}
    for i, fault in enumerate(told):
        emulator.put_account(id_of(i), KEY)
        emulator.add_fault("status", account=id_of(i), **fault)
        accounts[f"a-{i}"] = account_keys(emulator, key_file, id_of(i))
    running = make_daemon(configuration(emulator, accounts)).start()
    for name in accounts:
        running.wait_for_token(name)
    times = {}
    for request in emulator.requests():
        times.setdefault(request["path"], []).append(request["received_on"])
    waits = [second - first for first, second in times.values()]
    assert len(waits) == len(told)
    assert all(2000 <= wait < 6000 for wait in waits), waits


def test_a_failing_sts_is_not_flooded(make_daemon, emulator, key_file):
    emulator.add_fault("status", status=500, count=0)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    requests = emulator.wait_for_requests(4)
    gaps = [b["received_on"] - a["received_on"] for a, b in zip(requests, requests[1:])]
    assert all(gap >= 240 for gap in gaps), gaps
    assert running.account()["failures"] >= 3


@pytest.mark.parametrize("number", [400, 401, 403, 404])
def test_what_someone_must_mend_is_told_and_retried_slowly(make_daemon, emulator, key_file, number):
    emulator.add_fault("status", status=number, count=0, headers={"Retry-After": "1"})
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    assert "error: " in running.wait_for_failure("anchors")
    assert LEAST_BACKOFF_SECONDS <= running.account()["refresh_in"] <= 300


# ---- a pair of keys ----


def with_two_keys(make_daemon, emulator, key_file, tmp_path):
    second = tmp_path / "second.key"
    second.touch(mode=0o600)
    second.write_text(SECOND_KEY)
    config = account_section(
        "anchors", emulator, key_file, secondary_account_key=f"file:{second}"
    )
    return make_daemon(config).start()


def keys_of(requests):
    return [dict(r["headers"])["Authorization"].rsplit(":", 1)[1] for r in requests]


def test_a_refused_key_gives_way_to_the_second_at_once(make_daemon, emulator, key_file, tmp_path):
    emulator.change_settings(token_lifetime_s=5)
    emulator.put_account(ACCOUNT_ID, SECOND_KEY)
    running = with_two_keys(make_daemon, emulator, key_file, tmp_path)
    running.wait_for_token("anchors")
    first, second = emulator.requests()
    assert keys_of([first, second]) == [KEY, SECOND_KEY]
    assert second["received_on"] - first["received_on"] < 1000
    assert running.account()["state"] == "valid"
    running.wait_for_log("warning: account anchors: the STS refused the account_key, trying the ")
    running.wait_for_token("anchors", running.mark())
    assert keys_of(emulator.requests())[2:] == [SECOND_KEY], "it forgot which one works"


def test_two_refused_keys_are_an_error(make_daemon, emulator, key_file, tmp_path):
    emulator.put_account(ACCOUNT_ID, "neither")
    running = with_two_keys(make_daemon, emulator, key_file, tmp_path)
    running.wait_for_failure("anchors")
    assert keys_of(emulator.requests()) == [KEY, SECOND_KEY]
    assert running.account()["last_error"]["code"] == "denied"


# ---- connections that do not come about ----


def failure_of(make_daemon, emulator, key_file, ca_file=None, **keys):
    config = account_section("anchors", emulator, key_file, **keys)
    running = make_daemon(config.replace(emulator.ca_file, str(ca_file or emulator.ca_file)))
    running.start().wait_for_failure("anchors")
    return running.account()["last_error"]


def test_an_unknown_authority_is_refused(make_daemon, emulator, key_file, tmp_path):
    with Emulator(tmp_path / "stranger") as stranger:
        ca_file = stranger.ca_file
    error = failure_of(make_daemon, emulator, key_file, ca_file)
    assert (error["code"], error["status"]) == ("tls", None)
    assert emulator.requests() == []


def test_a_certificate_for_another_host_is_refused(make_daemon, emulator, key_file):
    port = emulator.sts.rsplit(":", 1)[1]  # the certificate is for *.localhost only
    error = failure_of(make_daemon, emulator, key_file, endpoint=f"https://a.b.localhost:{port}")
    assert error["code"] == "tls"
    assert emulator.requests() == []


def test_a_refused_connection_is_told_with_its_place(make_daemon, emulator, key_file):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        endpoint = f"https://127.0.0.1:{closed.getsockname()[1]}"
        error = failure_of(make_daemon, emulator, key_file, endpoint=endpoint)
    assert (error["code"], error["correlation_vector"]) == ("network", None)
    assert error["message"].startswith(f"no answer from {endpoint}: ")


def test_a_slow_account_does_not_hold_up_others(make_daemon, emulator, key_file):
    emulator.put_account(id_of(1), KEY)
    emulator.add_fault("slow_body", account=ACCOUNT_ID, pause_ms=20)  # some 25 seconds
    accounts = {
        "slow": account_keys(emulator, key_file),
        "quick": account_keys(emulator, key_file, id_of(1)),
    }
    running = make_daemon(configuration(emulator, accounts)).start()
    running.wait_for_token("quick")
    assert running.account("slow")["state"] == "starting"


# ---- many accounts ----


def many(emulator, key_file, count):
    for i in range(count):
        emulator.put_account(id_of(i), KEY)
    emulator.clear_requests()
    return configuration(
        emulator, {f"a-{i}": account_keys(emulator, key_file, id_of(i)) for i in range(count)}
    )


def test_a_thousand_accounts_share_eight_connections(make_daemon, emulator, key_file):
    running = make_daemon(many(emulator, key_file, 1000)).start()
    running.wait_for_status("1000 of 1000 accounts have a valid token")
    requests = emulator.requests()
    assert len(requests) == 1000
    assert len({request["connection"] for request in requests}) <= 8


@pytest.mark.plain_build  # sanitizers have threads of their own
def test_exchanges_of_a_thousand_accounts_go_on_at_once_on_one_thread(
    make_daemon, emulator, key_file
):
    config = many(emulator, key_file, 1000)
    emulator.add_fault("delay", delay_ms=3000, count=8)
    running = make_daemon(config).start()
    emulator.wait_for_requests(8)
    assert [request["status"] for request in emulator.requests()] == [0] * 8
    assert [name for name, _ in running.threads()] == ["audit", "mrtokend", "refresh", "serve"]
    running.wait_for_status("1000 of 1000 accounts have a valid token")


def test_two_hundred_short_lives_are_all_kept_up(make_daemon, emulator, key_file):
    emulator.change_settings(token_lifetime_s=6)
    running = make_daemon(many(emulator, key_file, 200)).start()
    running.wait_for_status("200 of 200 accounts have a valid token")
    with Poller(running, "/readyz", clients=1) as poller:
        emulator.wait_for_requests(800)
        poller.wait_for_answers(5)
    assert "refresh failed" not in running.log()
