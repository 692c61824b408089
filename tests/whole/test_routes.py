"""What the daemon answers: every path, form, method and mistake."""

import base64
import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.daemon import Daemon, account_keys, account_section, configuration

OTHER_ID = "ABCDEF12-3456-4789-ABCD-EF1234567890"
TOKEN_PATHS = ["/v1/token", "/v1/accounts/anchors/token", f"/Accounts/{ACCOUNT_ID}/token"]
OTHER_PATHS = ["/v1/accounts", "/v1/accounts/anchors", "/healthz", "/readyz"]
PATHS = TOKEN_PATHS + OTHER_PATHS
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


@pytest.fixture(scope="module")
def shared_daemon(shared_emulator, tmp_path_factory):
    """One daemon for those tests that only ask; it has a token of 24 hours for each account."""
    directory = tmp_path_factory.mktemp("daemon")
    key_file = directory / "anchors.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    shared_emulator.change_settings(token_lifetime_s=86400, date_offset_s=0)
    shared_emulator.put_account(OTHER_ID, KEY)
    accounts = {
        "anchors": account_keys(shared_emulator, key_file),
        "a.B-c_9": account_keys(shared_emulator, key_file, OTHER_ID),
    }
    running = Daemon(
        directory, configuration(shared_emulator, accounts, default_account="anchors")
    ).start()
    for name in accounts:
        running.wait_for_token(name)
    yield running
    running.close()


@pytest.fixture
def asked(shared_daemon):
    return shared_daemon


@pytest.fixture
def without_token(make_daemon, emulator, key_file):
    """A daemon whose exchanges fail from the start."""
    emulator.add_fault(
        "status", status=503, count=0, headers={"Retry-After": "100", "MS-CV": "abcDEF123+/x.0"}
    )
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_failure("anchors")
    return running


def check_error(answer, status, code, account=None):
    assert answer.status == status
    assert answer.headers["Content-Type"] == JSON
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "account", "retry_after"}
    assert (error["code"], error["account"]) == (code, account)
    assert len(error["message"]) > 10
    return error


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


# ---- tokens ----


@pytest.mark.parametrize("path", ["/v1/token", "/v1/accounts/anchors/token"])
def test_a_token_comes_as_json_with_its_times(asked, path):
    answer = asked.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    members = answer.json()
    assert {name: type(value) for name, value in members.items()} == {
        "token": str,
        "token_type": str,
        "expires_on": int,
        "refresh_on": int,
        "account": str,
        "account_id": str,
        "account_domain": str,
    }
    assert members["token_type"] == "Bearer"
    assert members["account"] == "anchors"
    assert members["account_id"] == ACCOUNT_ID == claims_of(members["token"])["aid"]
    assert members["account_domain"] == "eastus2.mixedreality.azure.com"
    assert members["expires_on"] == claims_of(members["token"])["exp"]
    assert time.time() < members["refresh_on"] < members["expires_on"]


@pytest.mark.parametrize("account_id", [ACCOUNT_ID, ACCOUNT_ID.upper(), ACCOUNT_ID.title()])
@pytest.mark.parametrize("query", ["", "?api-version=2019-02-28-preview"])
def test_the_stss_own_path_answers_in_its_shape(asked, account_id, query):
    answer = asked.get(f"/Accounts/{account_id}/token{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    assert answer.json() == {"AccessToken": asked.token()["token"]}


@pytest.mark.parametrize("account_id", [OTHER_ID, OTHER_ID.lower()])
def test_an_id_configured_in_upper_case_is_found_in_either(asked, account_id):
    answer = asked.get(f"/Accounts/{account_id}/token")
    assert answer.json() == {"AccessToken": asked.token("a.B-c_9")["token"]}


@pytest.mark.parametrize(
    "accept, form",
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("image/png", JSON),
        ("text/plain", TEXT),
        ("TEXT/Plain", TEXT),
        ("text/plain;charset=utf-8", TEXT),
        ("text/plain ; q=0.5", TEXT),
        ("text/html, text/plain", TEXT),
        ("text/html,text/plain", TEXT),
        ("text/plain, application/json", TEXT),
        ("text/plain, */*", TEXT),
        ("application/json, text/plain", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/jsonl, text/plain", TEXT),
        ("text/plainly", JSON),
        ("text/plainly, text/plain", TEXT),
        ("x-text/plain", JSON),
        ("", JSON),
    ],
)
def test_accept_chooses_the_form(asked, accept, form):
    answer = asked.get("/v1/token", {} if accept is None else {"Accept": accept})
    assert answer.headers["Content-Type"] == form
    assert answer.headers["Vary"] == "Accept"
    token = answer.json()["token"] if form == JSON else answer.body.decode()
    assert token == asked.token()["token"]


@pytest.mark.parametrize("accept", ["text/plain", "application/json", "*/*"])
def test_format_in_the_query_outweighs_accept(asked, accept):
    token = asked.token()["token"]
    headers = {"Accept": accept}
    assert asked.get("/v1/token?format=json", headers).json()["token"] == token
    assert asked.get("/v1/token?format=text", headers).body.decode() == token
    header = asked.get("/v1/token?format=header", headers)
    assert header.headers["Content-Type"] == TEXT
    assert header.body.decode() == f"Authorization: Bearer {token}\n"


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_header_form_is_a_header_line_for_curl(asked, tmp_path):
    seen = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers["Authorization"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    curl = ["curl", "--silent", "--fail", "--noproxy", "*"]
    line = tmp_path / "line"
    fetch = [*curl, "--unix-socket", asked.socket, "-o", line]
    subprocess.run([*fetch, "http://localhost/v1/token?format=header"], check=True)
    url = f"http://127.0.0.1:{server.server_port}/"
    subprocess.run([*curl, "-H", f"@{line}", url], check=True)
    thread.join()
    server.server_close()
    assert seen == [f"Bearer {asked.token()['token']}"]


def test_every_form_has_an_etag_of_its_own(asked):
    forms = ["?format=json", "?format=text", "?format=header"]
    tags = [asked.get(f"/v1/token{form}").headers["ETag"] for form in forms]
    tags.append(asked.get(f"/Accounts/{ACCOUNT_ID}/token").headers["ETag"])
    assert all(re.fullmatch(r'"[^"]+"', tag) for tag in tags)
    assert len(set(tags)) == len(tags)


def test_an_etag_stays_until_the_token_is_refreshed(make_daemon, emulator, key_file):
    emulator.change_settings(token_lifetime_s=6)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    mark = running.mark()
    first = running.get("/v1/token")
    for path in ("/v1/token", "/v1/accounts/anchors/token"):
        assert running.get(path).headers["ETag"] == first.headers["ETag"]
    running.wait_for_token("anchors", mark)
    second = running.get("/v1/token")
    assert second.json()["token"] != first.json()["token"]
    assert second.headers["ETag"] != first.headers["ETag"]


# ---- accounts, liveness, readiness ----


def test_an_account_is_described(asked):
    described = asked.account()
    assert {name: type(value) for name, value in described.items()} == {
        "name": str,
        "kind": str,
        "account_id": str,
        "account_domain": str,
        "endpoint": str,
        "credential": str,
        "required": bool,
        "state": str,
        "expires_on": int,
        "refresh_on": int,
        "expires_in": int,
        "refresh_in": int,
        "refreshed_on": int,
        "failures": int,
        "last_error": type(None),
        "notice": type(None),
        "scope": type(None),
        "credential_in_use": str,
        "key_in_use": type(None),
    }
    assert (described["name"], described["state"]) == ("anchors", "valid")
    assert described["expires_on"] == asked.token()["expires_on"]
    assert described["refresh_on"] == asked.token()["refresh_on"]
    assert 0 < described["refresh_in"] < described["expires_in"] <= 86400


def test_accounts_lists_them_in_the_order_of_the_configuration(asked):
    listed = asked.get("/v1/accounts").json()
    assert set(listed) == {"default_account", "accounts"}
    assert listed["default_account"] == "anchors"
    assert [account["name"] for account in listed["accounts"]] == ["anchors", "a.B-c_9"]
    assert set(listed["accounts"][0]) == set(asked.account())


@pytest.mark.parametrize("path", OTHER_PATHS + ["/v1/nothing"])
def test_what_is_no_token_path_holds_no_token_and_no_secret(asked, path):
    token = asked.token()["token"]
    answer = asked.get(path)
    seen = answer.body.decode() + str(answer.headers)
    for secret in (KEY, token, token.split(".")[2]):
        assert secret not in seen


def test_healthz_is_alive(asked):
    answer = asked.get("/healthz")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_healthz_is_alive_without_a_token(without_token):
    assert without_token.get("/healthz").status == 200


def test_readyz_is_ready_with_every_token(asked):
    answer = asked.get("/readyz")
    assert answer.status == 200
    assert answer.json() == {
        "ready": True,
        "accounts": [
            {"name": name, "required": True, "has_valid_token": True, "last_refresh_worked": True}
            for name in ("anchors", "a.B-c_9")
        ],
    }


def test_readyz_is_not_ready_without_a_token(without_token):
    answer = without_token.get("/readyz")
    assert answer.status == 503
    assert answer.json()["ready"] is False
    (account,) = answer.json()["accounts"]
    assert (account["has_valid_token"], account["last_refresh_worked"]) == (False, False)


def test_readyz_does_not_wait_for_what_is_not_required(make_daemon, emulator, key_file):
    emulator.add_fault("status", status=503, count=0)
    running = make_daemon(account_section("anchors", emulator, key_file, required="no")).start()
    running.wait_for_failure("anchors")
    answer = running.get("/readyz")
    assert (answer.status, answer.json()["ready"]) == (200, True)
    assert answer.json()["accounts"][0]["has_valid_token"] is False


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_without_a_token_the_answer_says_why_and_when_to_come_back(without_token, path):
    answer = without_token.get(path)
    error = check_error(answer, 503, "no_valid_token", "anchors")
    assert answer.headers["Retry-After"] == str(error["retry_after"])
    assert 90 < error["retry_after"] <= 111
    for fact in ("503", "abcDEF123+/x.0", "no valid token for account 'anchors'"):
        assert fact in error["message"]


# ---- what every answer has ----


def request_of_each_kind(running):
    yield from (running.get(path) for path in PATHS)
    yield from (running.request("HEAD", path) for path in PATHS)
    yield running.get("/v1/token?format=text")
    yield running.get("/v1/token?format=nonsense")
    yield running.get("/v1/nothing")
    yield running.get("/v1/accounts/nobody/token")
    yield running.get("/v1/accounts/%zz")
    yield running.request("DELETE", "/v1/token")


def check_common_headers(running):
    identifiers = set()
    answers = list(request_of_each_kind(running))
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Date"]
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-Id"])
        identifiers.add(answer.headers["X-Request-Id"])
    assert len(identifiers) == len(answers)


def test_every_answer_has_the_common_headers(asked):
    check_common_headers(asked)


def test_every_answer_has_the_common_headers_without_a_token_too(without_token):
    check_common_headers(without_token)


def read_answers(connection, count, received=b""):
    """Read so many complete answers of one kind."""
    while received.count(b"\r\n\r\n") < count:
        piece = connection.recv(262144)
        assert piece, "the daemon closed the connection"
        received += piece
    last = received.rindex(b"\r\n\r\n") + 4
    length = int(re.search(rb"Content-Length: (\d+)", received).group(1))
    while len(received) < last + length:
        received += connection.recv(262144)
    return received


@pytest.mark.parametrize("path", ["/v1/token", "/v1/accounts/anchors", "/healthz"])
@pytest.mark.parametrize("pipelined", [1, 100], ids=["one by one", "pipelined"])
def test_every_answer_has_its_own_request_id(asked, path, pipelined):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * pipelined
    connections = []
    for _ in range(64):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(asked.socket))
        connections.append(connection)
    identifiers = []
    rounds = 50 if pipelined == 1 else 1
    for _ in range(rounds):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            received = read_answers(connection, pipelined)
            identifiers += re.findall(rb"\r\nX-Request-Id: ([0-9a-f]{16})\r\n", received)
    for connection in connections:
        connection.close()
    assert len(identifiers) == 64 * pipelined * rounds
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("path", PATHS + ["/v1/nothing", "/v1/token?format=text"])
def test_head_is_get_without_the_body(asked, path):
    got = asked.get(path)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(asked.socket))
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, end, body = received.decode().partition("\r\n\r\n")
    assert (end, body) == ("\r\n\r\n", "")
    status, *lines = head.split("\r\n")
    assert status.split(" ")[1] == str(got.status)
    headers = dict(line.split(": ", 1) for line in lines)
    own = {"Date", "X-Request-Id", "Connection"}
    assert {n: v for n, v in headers.items() if n not in own} == {
        n: v for n, v in got.headers.items() if n not in own
    }


# ---- mistakes ----


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_another_method_is_refused_with_those_that_go(asked, method, path):
    answer = asked.request(method, path)
    check_error(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/token",
        "/v1/token/",
        "/v1//token",
        "//v1/token",
        "/v1/accounts/",
        "/v1/accounts//token",
        "/v1/accounts/anchors/",
        "/v1/accounts/anchors/token/",
        "/v1/accounts/anchors/key",
        "/v1/../v1/token",
        "/v1/./token",
        "/V1/token",
        f"/accounts/{ACCOUNT_ID}/token",
        f"/Accounts/{ACCOUNT_ID}",
        "/%76%31/token",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_none_is_not_found(asked, method, path):
    check_error(asked.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    "written, name",
    [
        ("nobody", "nobody"),
        ("Anchors", "Anchors"),
        ("anchors%2Ftoken", "anchors/token"),
        ("%2e%2e", ".."),
        ("..", ".."),
        ("%25", "%"),
        ("anchors%20", "anchors "),
        ("anchors+", "anchors+"),
        ("%22%5c", '"\\'),
        ("x" * 127, "x" * 127),
    ],
)
@pytest.mark.parametrize("form", ["/v1/accounts/{}/token", "/v1/accounts/{}", "/Accounts/{}/token"])
def test_an_account_that_is_none_is_not_found(asked, form, written, name):
    check_error(asked.get(form.format(written)), 404, "not_found", name)


@pytest.mark.parametrize("written", ["a.B-c_9", "a%2eB-c_9", "%61.%42-%63%5F%39"])
def test_a_name_may_be_percent_encoded(asked, written):
    assert asked.get(f"/v1/accounts/{written}/token").json()["account"] == "a.B-c_9"
    assert asked.get(f"/v1/accounts/{written}").json()["name"] == "a.B-c_9"


@pytest.mark.parametrize(
    "written", ["%", "%2", "%zz", "a%0", "a%00", "%00", "%0g", "x" * 128, "x" * 3000]
)
@pytest.mark.parametrize("form", ["/v1/accounts/{}/token", "/v1/accounts/{}", "/Accounts/{}/token"])
def test_a_broken_or_endless_name_is_a_bad_request(asked, form, written):
    check_error(asked.get(form.format(written)), 400, "bad_request")


@pytest.mark.parametrize(
    "target, named",
    [
        ("/v1/token?fromat=text", "fromat"),
        ("/v1/token?format=text&x", "x"),
        ("/v1/token?Format=text", "Format"),
        ("/v1/token?api-version=1", "api-version"),
        ("/v1/token?format=text&format=text", "twice"),
        ("/v1/token?format=json&format=text", "twice"),
        ("/v1/token?format=xml", "format"),
        ("/v1/token?format=", "format"),
        ("/v1/token?format", "format"),
        ("/v1/token?format=TEXT", "format"),
        ("/v1/accounts/anchors/token?x=1", "x"),
        ("/v1/accounts?format=text", "format"),
        ("/v1/accounts/anchors?x=1", "x"),
        (f"/Accounts/{ACCOUNT_ID}/token?format=text", "format"),
        (f"/Accounts/{ACCOUNT_ID}/token?api-version=1&api-version=1", "twice"),
    ],
)
def test_a_mistake_in_the_query_is_told(asked, target, named):
    error = check_error(asked.get(target), 400, "bad_request")
    assert named in error["message"]


def test_without_a_default_account_its_path_says_what_to_do(make_daemon, emulator, key_file):
    accounts = {name: account_keys(emulator, key_file) for name in ("one", "two")}
    running = make_daemon(configuration(emulator, accounts)).start()
    error = check_error(running.get("/v1/token"), 404, "not_found")
    assert "default_account" in error["message"]
