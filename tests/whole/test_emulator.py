"""mrtoken-emulator: what its manual promises to those who develop against it."""

import base64
import calendar
import concurrent.futures
import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import time
import urllib.parse
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from rig.emulator import Emulator, binary

ID = "7f1c3c5e-0000-4000-8000-0123456789ab"
KEY = "a2V5LW9uZS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM0NTY="
SECOND_KEY = "c2Vjb25kLWtleS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMg=="
OTHER_ID = "7f1c3c5e-0000-4000-8000-ffffffffffff"
OTHER_KEY = "other-key"
PATH = f"/Accounts/{ID}/token"
QUERY = "?api-version=2019-02-28-preview"
VECTOR = "AbCdEfGhIjKlMnOpQrSt+/"
DEADLINE = 30


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    accounts = {ID: [KEY, SECOND_KEY], OTHER_ID: OTHER_KEY}
    with Emulator(tmp_path_factory.mktemp("emulator"), accounts) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    running.clear_faults()
    running.clear_requests()
    yield running
    running.clear_faults()


# ---- a client that sends what it is told, and nothing else -------------------------------------


def good_headers(emulator, **changes):
    """The headers of a good request as a list; a change to None drops one, to a list repeats it."""
    headers = {
        "Host": urllib.parse.urlparse(emulator.sts).netloc,
        "Accept": "application/json",
        "X-MRC-CV": VECTOR,
        "Authorization": f"Bearer {ID}:{KEY}",
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    listed = []
    for name, value in headers.items():
        values = value if isinstance(value, list) else [value]
        listed += [(name, one) for one in values if one is not None]
    return listed


def connect(emulator):
    address = urllib.parse.urlparse(emulator.sts)
    context = ssl.create_default_context(cafile=emulator.ca_file)
    plain = socket.create_connection((address.hostname, address.port), timeout=DEADLINE)
    try:
        return context.wrap_socket(plain, server_hostname=address.hostname)
    except BaseException:
        plain.close()
        raise


def send(connection, target, headers, method="GET", body=b"", version="HTTP/1.1"):
    lines = [f"{method} {target} {version}"] + [f"{name}: {value}" for name, value in headers]
    connection.sendall("\r\n".join(lines + ["", ""]).encode("latin-1") + body)


def receive(connection, method="GET"):
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    answer.content = answer.read()
    return answer


def ask(emulator, target=PATH + QUERY, method="GET", body=b"", version="HTTP/1.1", **changes):
    with connect(emulator) as connection:
        send(connection, target, good_headers(emulator, **changes), method, body, version)
        return receive(connection, method)


def converse_to_the_end(emulator):
    """Send a good request, read until there is no more.

    Returns what came, and how it ended: "closed" as TLS wants it, "cut" without that, or "reset".
    The ssl module's sockets do not tell the last two apart, so the bytes are carried by hand.
    """
    context = ssl.create_default_context(cafile=emulator.ca_file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    lines = [f"GET {PATH} HTTP/1.1"] + [": ".join(pair) for pair in good_headers(emulator)]
    received = b""

    def flush(plain):
        if data := outgoing.read():
            plain.sendall(data)

    def pump(plain, operation, *arguments):
        while True:
            try:
                result = operation(*arguments)
                flush(plain)
                return result
            except ssl.SSLWantReadError:
                flush(plain)
                if data := plain.recv(65536):
                    incoming.write(data)
                else:
                    incoming.write_eof()

    port = urllib.parse.urlparse(emulator.sts).port
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain:
        try:
            pump(plain, tls.do_handshake)
            pump(plain, tls.write, "\r\n".join(lines + ["", ""]).encode())
            while data := pump(plain, tls.read, 65536):
                received += data
            return received, "closed"
        except ssl.SSLZeroReturnError:
            return received, "closed"
        except ssl.SSLEOFError:
            return received, "cut"
        except (ConnectionResetError, BrokenPipeError):
            return received, "reset"


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def token_of(answer):
    assert answer.status == 200, answer.content
    return json.loads(answer.content)["AccessToken"]


def unix_time(date):
    return calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))


def assert_refused(emulator, answer, status, words):
    """Refused as the manual says, and the record says why."""
    assert answer.status == status, answer.content
    assert re.fullmatch(r"[A-Za-z0-9+/]{22}\.0", answer.getheader("MS-CV"))
    if status in (400, 401):
        assert words in answer.getheader("WWW-Authenticate")
    else:
        assert answer.getheader("WWW-Authenticate") is None
    if status != 505:
        assert words in json.loads(answer.content)["error"]["message"]
    recorded = emulator.requests()[-1]
    assert words in recorded["complaint"]
    assert recorded["status"] == status


# ---- the token ---------------------------------------------------------------------------------


def test_gives_a_token_with_every_header_of_the_service(emulator):
    answer = ask(emulator)
    assert answer.status == 200
    assert answer.getheader("Cache-Control") == "no-store, no-cache"
    assert answer.getheader("Pragma") == "no-cache"
    assert answer.getheader("Content-Type") == "application/json; charset=utf-8"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert re.fullmatch(r"[A-Za-z0-9+/]{22}\.0", answer.getheader("MS-CV"))
    assert VECTOR not in answer.getheader("MS-CV")
    assert abs(unix_time(answer.getheader("Date")) - time.time()) < 5
    assert answer.getheader("Content-Length") == str(len(answer.content))
    assert answer.getheader("Transfer-Encoding") is None
    token = json.loads(answer.content)["AccessToken"]
    assert answer.content == b'{"AccessToken":"%s"}' % token.encode()


def test_correlation_vector_of_the_answer_is_new_each_time(emulator):
    assert ask(emulator).getheader("MS-CV") != ask(emulator).getheader("MS-CV")


def test_token_has_the_claims_of_the_service(emulator):
    claims = claims_of(token_of(ask(emulator)))
    assert claims["aid"] == ID
    assert claims["tid"] == "00000000-0000-0000-0000-000000000000"
    assert claims["aao"] == -1
    assert claims["att"] == "Default"
    assert claims["apr"] == "eastus"
    assert claims["iss"] == "https://sts.eastus.mixedreality.azure.com/"
    assert claims["aud"] == "https://manage.sa.eastus.mixedreality.azure.com/"
    assert ID in claims["rid"]
    uuid.UUID(claims["jti"])
    uuid.UUID(claims["cai"])
    for name in ("nbf", "iat", "exp"):
        assert type(claims[name]) is int
    assert claims["nbf"] == claims["iat"]
    assert claims["exp"] - claims["nbf"] == 86400
    assert abs(claims["iat"] - time.time()) < 5


def test_token_is_signed_with_the_published_key(emulator):
    token = token_of(ask(emulator))
    published = emulator.signing_key()
    head, payload, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    assert header["alg"] == "RS256" and header["typ"] == "JWT"
    assert header["kid"] == published["kid"] and header["x5t"] == published["x5t"]
    assert re.fullmatch("[0-9A-F]{40}", header["kid"])
    assert base64.urlsafe_b64decode(header["x5t"] + "=").hex().upper() == header["kid"]
    key = serialization.load_pem_public_key(published["public_key"].encode())
    key.verify(
        base64.urlsafe_b64decode(signature + "=="),
        f"{head}.{payload}".encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )


def test_payload_reads_as_plain_base64(emulator):
    for _ in range(50):
        payload = token_of(ask(emulator)).split(".")[1]
        assert "-" not in payload and "_" not in payload


def test_tokens_differ(emulator):
    assert token_of(ask(emulator)) != token_of(ask(emulator))


@pytest.mark.parametrize("target", [PATH, PATH + QUERY, f"/Accounts/{ID.upper()}/token"])
def test_accepts_what_clients_send(emulator, target):
    assert claims_of(token_of(ask(emulator, target)))["aid"] == ID
    assert emulator.requests()[-1]["complaint"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"X_MRC_CV": None},
        {"Authorization": f"Bearer {ID.upper()}:{KEY}"},
        {"Authorization": f"Bearer {ID}:{SECOND_KEY}"},
        {"Content_Length": "0"},
        {"User_Agent": "azsdk-python-mixedreality-authentication/1.0.0b1"},
        {"x_ms_client_request_id": str(uuid.uuid4()), "x_ms_return_client_request_id": "true"},
        {"Accept_Encoding": "gzip, deflate", "Connection": "keep-alive"},
    ],
)
def test_accepts_headers_that_clients_send(emulator, changes):
    token_of(ask(emulator, **changes))
    assert emulator.requests()[-1]["complaint"] is None


def test_keeps_the_connection_alive(emulator):
    before = emulator.connections()
    with connect(emulator) as connection:
        for _ in range(3):
            send(connection, PATH, good_headers(emulator))
            token_of(receive(connection))
    assert emulator.connections() == before + 1
    recorded = emulator.requests()
    assert len({request["connection"] for request in recorded}) == 1 and len(recorded) == 3


# ---- strictness --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        f"/accounts/{ID}/token",
        f"/ACCOUNTS/{ID}/token",
        f"/Accounts/{ID}/Token",
        f"/Accounts/{ID}/token/",
        f"/Accounts/{ID}/tokens",
        f"/Accounts//token",
        f"//Accounts/{ID}/token",
        f"/%41ccounts/{ID}/token",
        f"/Accounts/{ID}/x/token",
        f"/Accounts/{ID}",
        "/",
        f"https://127.0.0.1/Accounts/{ID}/token",
    ],
)
def test_refuses_another_path(emulator, target):
    assert_refused(emulator, ask(emulator, target), 404, "path is not /Accounts/{accountId}/token")


@pytest.mark.parametrize("account", ["anchors", ID[:-1], ID + "0", "%37" + ID[1:], "{" + ID + "}"])
def test_refuses_an_account_that_is_no_uuid(emulator, account):
    assert_refused(emulator, ask(emulator, f"/Accounts/{account}/token"), 400, "not a UUID")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"])
def test_refuses_another_method(emulator, method):
    answer = ask(emulator, method=method)
    assert_refused(emulator, answer, 405, "method is not GET")
    assert answer.getheader("Allow") == "GET"


def test_refuses_head(emulator):
    answer = ask(emulator, method="HEAD")
    assert answer.status == 405 and answer.getheader("Allow") == "GET"


@pytest.mark.parametrize(
    "query",
    [
        "?api-version=2019-02-28",
        "?api-version=",
        "?api-version=2019-02-28-preview%20",
        "?api-version=2019%2D02-28-preview",
    ],
)
def test_refuses_another_api_version(emulator, query):
    answer = ask(emulator, PATH + query)
    assert_refused(emulator, answer, 400, "api-version is not 2019-02-28-preview")


@pytest.mark.parametrize(
    "query",
    ["?", "?API-Version=2019-02-28-preview", QUERY + QUERY.replace("?", "&"), QUERY + "&x=1", "?x"],
)
def test_refuses_another_query(emulator, query):
    answer = ask(emulator, PATH + query)
    assert_refused(emulator, answer, 400, "other than one api-version")


def test_refuses_a_body(emulator):
    answer = ask(emulator, body=b"abc", Content_Length="3")
    assert_refused(emulator, answer, 400, "has a body")
    assert emulator.requests()[-1]["body"] == "abc"


def test_refuses_a_chunked_body(emulator):
    answer = ask(emulator, body=b"0\r\n\r\n", Transfer_Encoding="chunked")
    assert_refused(emulator, answer, 400, "has a body")


def test_refuses_a_content_type(emulator):
    answer = ask(emulator, Content_Type="application/json")
    assert_refused(emulator, answer, 400, "has a Content-Type")


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/*", "application/json, */*"])
def test_refuses_another_accept(emulator, accept):
    answer = ask(emulator, Accept=accept)
    assert_refused(emulator, answer, 406, "Accept is not application/json")


@pytest.mark.parametrize("accept", [None, ["application/json", "application/json"]])
def test_refuses_accept_missing_or_repeated(emulator, accept):
    answer = ask(emulator, Accept=accept)
    assert_refused(emulator, answer, 400, "exactly one Accept")


@pytest.mark.parametrize("vector", ["", VECTOR[:-1], VECTOR + "A", VECTOR + ".0", "-" + VECTOR[1:]])
def test_refuses_a_malformed_correlation_vector(emulator, vector):
    assert_refused(emulator, ask(emulator, X_MRC_CV=vector), 400, "22 base64 characters")


def test_refuses_two_correlation_vectors(emulator):
    answer = ask(emulator, X_MRC_CV=[VECTOR, VECTOR])
    assert_refused(emulator, answer, 400, "more than one X-MRC-CV")


@pytest.mark.parametrize("host", [None, ["127.0.0.1", "127.0.0.1"]])
def test_refuses_host_missing_or_repeated(emulator, host):
    assert_refused(emulator, ask(emulator, Host=host), 400, "exactly one Host")


def test_refuses_http_1_0(emulator):
    assert_refused(emulator, ask(emulator, version="HTTP/1.0"), 505, "not HTTP/1.1")


BASIC = base64.b64encode(f"{ID}:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "value, words",
    [
        (None, "no Authorization"),
        (f"Basic {BASIC}", "does not begin with Bearer"),
        (f"bearer {ID}:{KEY}", "does not begin with Bearer"),
        (f"{ID}:{KEY}", "does not begin with Bearer"),
        (f"Bearer {BASIC}", "not {accountId}:{accountKey}"),
        (f"Bearer {KEY}", "not {accountId}:{accountKey}"),
        (f"Bearer  {ID}:{KEY}", "not that of the path"),
        (f"Bearer {OTHER_ID}:{KEY}", "not that of the path"),
        (f"Bearer {OTHER_ID}:{OTHER_KEY}", "not that of the path"),
        (f"Bearer {ID}:", "key is wrong"),
        (f"Bearer {ID}:{OTHER_KEY}", "key is wrong"),
        (f"Bearer {ID}:{KEY[:-1]}", "key is wrong"),
        (f"Bearer {ID}:{KEY}x", "key is wrong"),
        (f"Bearer {ID}:{KEY.lower()}", "key is wrong"),
        (f"Bearer {ID}:{KEY}:{SECOND_KEY}", "key is wrong"),
    ],
)
def test_refuses_a_wrong_credential(emulator, value, words):
    assert_refused(emulator, ask(emulator, Authorization=value), 401, words)


def test_refuses_an_unknown_account(emulator):
    stranger = str(uuid.uuid4())
    answer = ask(
        emulator, f"/Accounts/{stranger}/token", Authorization=f"Bearer {stranger}:{KEY}"
    )
    assert_refused(emulator, answer, 401, "account is unknown")


def test_refuses_two_authorizations(emulator):
    answer = ask(emulator, Authorization=[f"Bearer {ID}:{KEY}"] * 2)
    assert_refused(emulator, answer, 400, "more than one Authorization")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_serves_tls_1_2_and_nothing_older(emulator):
    address = urllib.parse.urlparse(emulator.sts)
    versions = []
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=emulator.ca_file)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        plain = socket.create_connection((address.hostname, address.port), timeout=DEADLINE)
        try:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                versions.append(connection.version())
        except (ssl.SSLError, ConnectionError):
            plain.close()
    assert versions == ["TLSv1.2", "TLSv1.3"]


# ---- the record --------------------------------------------------------------------------------


def test_records_a_request_as_it_was(emulator):
    headers = [("hOST", "localhost"), ("X-Twice", "b"), ("Accept", "x/y"), ("X-Twice", "caf\xe9")]
    started_on = time.time() * 1000
    with connect(emulator) as connection:
        send(connection, "/a%20b?one=1&two=%32&bare", headers)
        assert receive(connection).status == 404
    (recorded,) = emulator.requests()
    assert recorded["server"] == "sts"
    assert recorded["method"] == "GET"
    assert recorded["target"] == "/a%20b?one=1&two=%32&bare"
    assert recorded["path"] == "/a%20b"
    assert recorded["query"] == {"one": "1", "two": "%32", "bare": ""}
    assert recorded["version"] == "HTTP/1.1"
    assert recorded["headers"] == [list(header) for header in headers]
    assert recorded["body"] == ""
    assert recorded["status"] == 404
    assert recorded["fault"] is None
    assert started_on - 1000 <= recorded["received_on"] <= time.time() * 1000 + 1000


def test_lists_requests_after_a_number(emulator):
    for _ in range(3):
        ask(emulator)
    numbers = [request["number"] for request in emulator.requests()]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert [request["number"] for request in emulator.requests(numbers[1])] == numbers[2:]
    assert emulator.requests(numbers[2]) == []
    assert emulator.requests(2**62) == []


def test_clearing_forgets_requests_and_goes_on_counting(emulator):
    ask(emulator)
    number = emulator.requests()[-1]["number"]
    assert emulator.clear_requests() == 1
    assert emulator.requests() == []
    ask(emulator)
    assert [request["number"] for request in emulator.requests()] == [number + 1]


def test_waits_for_a_request_to_come(emulator):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(emulator.requests, 0, 30000)
        ask(emulator)
        assert len(waiting.result(DEADLINE)) == 1


def test_waiting_for_a_request_ends(emulator):
    started = time.monotonic()
    assert emulator.requests(0, 200) == []
    assert time.monotonic() - started >= 0.2


def test_record_tells_connections_apart(emulator):
    ask(emulator)
    ask(emulator)
    one, other = emulator.requests()
    assert one["connection"] != other["connection"]


def test_record_is_bounded(tmp_path):
    with Emulator(tmp_path / "d", {ID: KEY}) as own:
        with connect(own) as connection:
            request = f"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            for _ in range(201):
                connection.sendall(request * 100)
                for _ in range(100):
                    assert receive(connection).status == 404
        recorded = own.requests()
        assert len(recorded) == 20000
        assert recorded[-1]["number"] == 20100
        assert recorded[0]["number"] == 101


def test_long_body_is_cut_in_the_record(emulator):
    answer = ask(emulator, method="POST", body=b"x" * 100000, Content_Length="100000")
    assert answer.status == 405
    assert emulator.requests()[-1]["body"] == "x" * 65536


# ---- faults ------------------------------------------------------------------------------------


def test_status_fault_answers_once(emulator):
    emulator.add_fault("status", status=503)
    answer = ask(emulator)
    assert answer.status == 503 and answer.content == b""
    assert answer.getheader("MS-CV") and answer.getheader("WWW-Authenticate") is None
    assert ask(emulator).status == 200
    assert [request["fault"] for request in emulator.requests()] == ["status", None]


@pytest.mark.parametrize("status, code", [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden")])
def test_status_fault_has_the_shape_of_the_error(emulator, status, code):
    emulator.add_fault("status", status=status)
    answer = ask(emulator)
    assert answer.status == status
    assert json.loads(answer.content)["error"]["code"] == code
    assert answer.getheader("Content-Type") == "application/json; charset=utf-8"
    assert (answer.getheader("WWW-Authenticate") is not None) == (status != 403)


def test_throttling_has_a_challenge_and_retry_after(emulator):
    emulator.add_fault("status", status=429, headers={"Retry-After": "7"})
    answer = ask(emulator)
    assert answer.status == 429 and answer.content == b""
    assert answer.getheader("Retry-After") == "7"
    assert "too_many_requests" in answer.getheader("WWW-Authenticate")


def test_fault_counts_down(emulator):
    emulator.add_fault("status", status=500, count=2)
    assert [ask(emulator).status for _ in range(3)] == [500, 500, 200]


def test_fault_with_count_0_stays_until_deleted(emulator):
    emulator.add_fault("status", status=500, count=0)
    assert [ask(emulator).status for _ in range(3)] == [500] * 3
    assert emulator.faults()[0]["left"] is None
    assert emulator.clear_faults() == 1
    assert ask(emulator).status == 200


def test_faults_come_in_their_order(emulator):
    for status in (500, 502, 429):
        emulator.add_fault("status", status=status)
    assert [ask(emulator).status for _ in range(4)] == [500, 502, 429, 200]


def test_fault_is_for_its_account(emulator):
    emulator.add_fault("status", status=500, account=OTHER_ID.upper())
    assert ask(emulator).status == 200
    other = ask(
        emulator, f"/Accounts/{OTHER_ID}/token", Authorization=f"Bearer {OTHER_ID}:{OTHER_KEY}"
    )
    assert other.status == 500


def test_faults_are_listed_as_given_with_what_is_left(emulator):
    added = emulator.add_fault("status", status=503, count=3, body="no", delay_ms=1)
    ask(emulator)
    (listed,) = emulator.faults()
    assert listed == {**added, "left": 2}
    assert listed["action"] == "status" and listed["status"] == 503 and listed["body"] == "no"


def test_status_fault_hides_a_bad_request_but_the_record_tells(emulator):
    emulator.add_fault("status", status=503)
    assert ask(emulator, Accept="*/*").status == 503
    assert "Accept is not" in emulator.requests()[-1]["complaint"]


def test_arbitrary_answer(emulator):
    emulator.add_fault(
        "status",
        status=200,
        body="{}",
        content_type="text/plain",
        headers={"X-Extra": "1", "MS-CV": "mine", "Date": None},
    )
    answer = ask(emulator)
    assert answer.status == 200 and answer.content == b"{}"
    assert answer.headers.get_all("Content-Type") == ["text/plain"]
    assert answer.getheader("X-Extra") == "1"
    assert answer.headers.get_all("MS-CV") == ["mine"]
    assert answer.getheader("Date") is None


def test_arbitrary_bytes(emulator):
    body = bytes(range(256))
    emulator.add_fault("status", status=200, body_base64=base64.b64encode(body).decode())
    assert ask(emulator).content == body


def test_body_with_nul(emulator):
    emulator.add_fault("status", status=200, body="a\0b")
    assert ask(emulator).content == b"a\0b"


def test_empty_body(emulator):
    emulator.add_fault("status", status=200, body="")
    answer = ask(emulator)
    assert answer.status == 200 and answer.content == b""


def test_delay_holds_the_answer_back(emulator):
    emulator.add_fault("delay", delay_ms=300)
    started = time.monotonic()
    token_of(ask(emulator))
    assert time.monotonic() - started >= 0.3


def test_delay_goes_with_another_fault(emulator):
    emulator.add_fault("status", status=503, delay_ms=300)
    started = time.monotonic()
    assert ask(emulator).status == 503
    assert time.monotonic() - started >= 0.3


def test_delay_holds_back_nobody_else(emulator):
    emulator.add_fault("delay", delay_ms=DEADLINE * 1000)
    with connect(emulator) as connection:
        send(connection, PATH, good_headers(emulator))
        (pending,) = emulator.requests(0, 30000)
        assert pending["fault"] == "delay" and pending["status"] == 0
        token_of(ask(emulator))


def test_resets_as_it_accepts(emulator):
    before = emulator.connections()
    emulator.add_fault("reset", at="accept")
    with pytest.raises(ConnectionError):
        connect(emulator)
    assert emulator.requests() == []
    assert emulator.connections() == before + 1
    token_of(ask(emulator))


def test_resets_after_the_headers(emulator):
    emulator.add_fault("reset")
    assert converse_to_the_end(emulator) == (b"", "reset")
    (recorded,) = emulator.requests()
    assert recorded["fault"] == "reset" and recorded["status"] == 0
    token_of(ask(emulator))


def test_resets_within_the_body(emulator):
    emulator.add_fault("reset", at="body", status=200, body="0123456789")
    received, end = converse_to_the_end(emulator)
    assert end == "reset"
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 10\r\n" in received
    assert received.endswith(b"\r\n\r\n01234")
    assert emulator.requests()[-1]["status"] == 200


def test_truncates_the_body(emulator):
    emulator.add_fault("truncate")
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(emulator)
    assert caught.value.partial.startswith(b'{"AccessToken":"')
    assert abs(len(caught.value.partial) - caught.value.expected) <= 1


def test_truncates_a_given_body_and_closes_cleanly(emulator):
    emulator.add_fault("truncate", status=503, body="0123456789")
    received, end = converse_to_the_end(emulator)
    assert end == "closed"
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nContent-Length: 10\r\n" in received
    assert received.endswith(b"\r\n\r\n01234")


@pytest.mark.parametrize("given", [None, "application/xml"])
def test_wrong_type(emulator, given):
    emulator.add_fault("wrong_type", **({"content_type": given} if given else {}))
    answer = ask(emulator)
    assert answer.headers.get_all("Content-Type") == [given or "text/html; charset=utf-8"]
    token_of(answer)


@pytest.mark.parametrize("size", [None, 5000, 20_000_000])
def test_oversized_body_is_a_good_answer_with_spaces(emulator, size):
    emulator.add_fault("oversize", **({"size": size} if size else {}))
    answer = ask(emulator)
    assert len(answer.content) == (size or 4 * 1024 * 1024)
    token_of(answer)
    assert answer.content.rstrip(b" ").endswith(b'"}')


def test_slow_body_comes_a_byte_at_a_time(emulator):
    emulator.add_fault("slow_body", status=200, body="0123456789", pause_ms=30)
    with connect(emulator) as connection:
        send(connection, PATH, good_headers(emulator))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        started = time.monotonic()
        pieces = []
        while piece := answer.read1(100):
            pieces.append(piece)
        assert b"".join(pieces) == b"0123456789"
        assert len(pieces) >= 5
        assert time.monotonic() - started >= 0.2


def test_same_token_again(emulator):
    first = token_of(ask(emulator))
    emulator.add_fault("same_token")
    assert token_of(ask(emulator)) == first
    assert token_of(ask(emulator)) != first


@pytest.mark.parametrize("lifetime", [5, 0, -60])
def test_token_of_a_given_lifetime(emulator, lifetime):
    emulator.add_fault("token", lifetime_s=lifetime)
    claims = claims_of(token_of(ask(emulator)))
    assert claims["exp"] - claims["nbf"] == lifetime


def test_fault_of_a_token_waits_for_a_request_that_gets_one(emulator):
    emulator.add_fault("token", lifetime_s=5)
    assert ask(emulator, Authorization=None).status == 401
    assert emulator.requests()[-1]["fault"] is None
    claims = claims_of(token_of(ask(emulator)))
    assert claims["exp"] - claims["nbf"] == 5


# ---- control interface -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, words",
    [
        ({}, 'needs "action"'),
        ({"action": "explode"}, "must be one of status, delay, reset"),
        ({"action": 5}, '"action" must be a string, and is int'),
        ({"action": "status"}, 'the action status needs "status"'),
        ({"action": "status", "status": "503"}, '"status" must be an integer, and is string'),
        ({"action": "status", "status": 99}, '"status" must be between 200 and 599'),
        ({"action": "status", "status": 503.0}, '"status" must be an integer, and is double'),
        ({"action": "status", "status": 503, "stauts": 1}, 'nearest is "status"'),
        ({"action": "status", "status": 503, "xyz": 1}, 'no member "xyz"'),
        ({"action": "status", "status": 503, "size": 1}, 'takes no "size"'),
        ({"action": "status", "status": 503, "body": {}}, '"body" must be a string, and is object'),
        ({"action": "status", "status": 503, "body_base64": "?"}, "must be base64"),
        ({"action": "status", "status": 503, "body": "", "body_base64": ""}, "exclude each other"),
        ({"action": "status", "status": 503, "headers": []}, '"headers" must be an object'),
        ({"action": "status", "status": 503, "headers": {"a b": "c"}}, "no header name"),
        ({"action": "status", "status": 503, "headers": {"A": "c\r\nd: e"}}, "value of a header"),
        ({"action": "status", "status": 503, "headers": {"A": 1}}, "value of a header"),
        ({"action": "status", "status": 503, "headers": {"content-length": "1"}}, "truncate"),
        ({"action": "status", "status": 503, "content_type": "a\nb"}, '"content_type" must be'),
        ({"action": "status", "status": 503, "count": -1}, '"count" must be between 0'),
        ({"action": "status", "status": 503, "account": "x"}, '"account" must be a UUID'),
        ({"action": "status", "status": None}, '"status" must be an integer, and is null'),
        ({"action": "delay"}, 'needs "delay_ms"'),
        ({"action": "delay", "delay_ms": -1}, '"delay_ms" must be between 0'),
        ({"action": "delay", "delay_ms": 10**30}, '"delay_ms" must be between 0'),
        ({"action": "reset", "at": "noon"}, "must be one of accept, headers, body"),
        ({"action": "reset", "status": 500}, 'reset at headers takes no "status"'),
        ({"action": "reset", "at": "accept", "account": ID}, 'accept takes no "account"'),
        ({"action": "reset", "at": "accept", "delay_ms": 1}, 'accept takes no "delay_ms"'),
        ({"action": "oversize", "size": 0}, '"size" must be between 1'),
        ({"action": "token"}, 'needs "lifetime_s"'),
    ],
)
def test_refuses_a_bad_fault(emulator, fault, words):
    answer = emulator.ask_control("POST", "/v1/faults", json=fault)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert emulator.faults() == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"{} x", b"nul", b'{"action":"\xff"}', b"[" * 100, b'"x"']
)
def test_refuses_a_body_that_is_no_json_object(emulator, body):
    answer = emulator.ask_control("POST", "/v1/faults", data=body)
    assert answer.status_code == 400
    assert "must be a JSON object" in answer.json()["error"]


def test_refuses_a_body_that_is_too_long(emulator):
    body = b'{"action":"status","status":200,"body":"' + b"x" * (17 * 1024 * 1024) + b'"}'
    answer = emulator.ask_control("POST", "/v1/faults", data=body)
    assert answer.status_code == 400
    assert "longer than" in answer.json()["error"]


def test_refuses_more_faults_than_it_holds(tmp_path):
    with Emulator(tmp_path / "d") as own:
        for _ in range(1000):
            own.add_fault("status", status=500)
        answer = own.ask_control("POST", "/v1/faults", json={"action": "reset"})
        assert answer.status_code == 400
        assert "the most there can be" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/request", "/v1/requests/", "/v2/health", "/v1/accounts/"])
def test_unknown_control_path_is_404(emulator, path):
    answer = emulator.ask_control("GET", path)
    assert answer.status_code == 404
    assert answer.json()["error"] == "there is no such path"


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("PUT", "/v1/requests", "GET, DELETE"),
        ("PUT", "/v1/faults", "GET, POST, DELETE"),
        ("GET", f"/v1/accounts/{ID}", "PUT, DELETE"),
        ("POST", "/v1/settings", "GET, PUT"),
        ("DELETE", "/v1/health", "GET"),
    ],
)
def test_control_method_that_is_not_taken_is_405(emulator, method, path, allowed):
    answer = emulator.ask_control(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "path, words",
    [
        ("/v1/requests?since=1", "takes after and wait_ms"),
        ("/v1/requests?after=x", "must be a whole number"),
        ("/v1/requests?after=-1", "must be a whole number"),
        ("/v1/requests?wait_ms=99999999", "from 0 to 60000"),
        ("/v1/health?x=1", "takes none"),
    ],
)
def test_refuses_a_bad_control_query(emulator, path, words):
    answer = emulator.ask_control("GET", path)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_refuses_a_body_where_none_belongs(emulator):
    answer = emulator.ask_control("DELETE", "/v1/faults", data=b"{}")
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["rebound.example", "127.0.0.1.example", "localhost.example:80"])
def test_control_refuses_a_foreign_host(emulator, host):
    assert emulator.ask_control("GET", "/v1/health", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST:5"])
def test_control_takes_loopback_hosts(emulator, host):
    assert emulator.ask_control("GET", "/v1/health", headers={"Host": host}).status_code == 200


def test_health(emulator):
    assert emulator.health() == {"ok": True}


def test_rotates_keys(emulator):
    emulator.put_account(OTHER_ID, "new-1", "new-2")
    path = f"/Accounts/{OTHER_ID}/token"
    statuses = [
        ask(emulator, path, Authorization=f"Bearer {OTHER_ID}:{key}").status
        for key in ("new-1", "new-2", OTHER_KEY)
    ]
    emulator.put_account(OTHER_ID, OTHER_KEY)
    assert statuses == [200, 200, 401]
    assert ask(emulator, path, Authorization=f"Bearer {OTHER_ID}:{OTHER_KEY}").status == 200


def test_adds_and_removes_an_account(emulator):
    stranger = str(uuid.uuid4())
    path = f"/Accounts/{stranger}/token"
    headers = {"Authorization": f"Bearer {stranger}:k"}
    answer = emulator.ask_control("PUT", f"/v1/accounts/{stranger.upper()}", json={"keys": ["k"]})
    assert answer.status_code == 201
    assert ask(emulator, path, **headers).status == 200
    assert emulator.accounts()[stranger] == 1
    assert emulator.ask_control("DELETE", f"/v1/accounts/{stranger}").status_code == 200
    assert ask(emulator, path, **headers).status == 401
    assert emulator.ask_control("DELETE", f"/v1/accounts/{stranger}").status_code == 404
    assert sorted(emulator.accounts()) == sorted([ID, OTHER_ID])


@pytest.mark.parametrize(
    "body, words",
    [
        ({}, '"keys" must be an array'),
        ({"keys": "k"}, '"keys" must be an array'),
        ({"keys": []}, "one or two entries, and has 0"),
        ({"keys": ["a", "b", "c"]}, "one or two entries, and has 3"),
        ({"keys": [1]}, '"keys" must be an array of strings'),
        ({"keys": [""]}, "key 1 is empty"),
        ({"keys": ["k", "sec:ret"]}, "character 4 of key 2"),
        ({"keys": ["se cret"]}, "character 3 of key 1"),
        ({"keys": ["\u00e9"]}, "character 1 of key 1"),
        ({"keys": ["x" * 513]}, "513 characters"),
        ({"keys": ["k"], "key": 1}, 'no member "key"'),
    ],
)
def test_refuses_bad_keys_and_names_none(emulator, body, words):
    answer = emulator.ask_control("PUT", f"/v1/accounts/{ID}", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert "sec:ret" not in answer.text and "se cret" not in answer.text
    token_of(ask(emulator))


def test_refuses_an_account_by_no_uuid(emulator):
    answer = emulator.ask_control("PUT", "/v1/accounts/anchors", json={"keys": ["k"]})
    assert answer.status_code == 400
    assert "not a UUID" in answer.json()["error"]


def test_settings_change_lifetime_and_clock(emulator):
    usual = emulator.settings()
    assert usual["token_lifetime_s"] == 86400 and usual["date_offset_s"] == 0
    try:
        assert emulator.change_settings(token_lifetime_s=3) == {**usual, "token_lifetime_s": 3}
        emulator.change_settings(date_offset_s=-7200)
        answer = ask(emulator)
        claims = claims_of(token_of(answer))
        assert claims["exp"] - claims["nbf"] == 3
        assert abs(claims["iat"] - (time.time() - 7200)) < 5
        assert abs(unix_time(answer.getheader("Date")) - (time.time() - 7200)) < 5
    finally:
        emulator.change_settings(token_lifetime_s=86400, date_offset_s=0)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"token_lifetime_s": 0}, '"token_lifetime_s" must be an integer from 1'),
        ({"token_lifetime_s": "60"}, '"token_lifetime_s" must be an integer'),
        ({"date_offset_s": 1.5}, '"date_offset_s" must be an integer'),
        ({"token_lifetime": 60}, 'no setting "token_lifetime"'),
        ({"token_lifetime_s": 60, "x": 1}, 'no setting "x"'),
    ],
)
def test_refuses_bad_settings_and_changes_none(emulator, settings, words):
    usual = emulator.settings()
    answer = emulator.ask_control("PUT", "/v1/settings", json=settings)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert emulator.settings() == usual


# ---- log ---------------------------------------------------------------------------------------


def test_logs_each_request_without_credential_or_query(emulator):
    ask(emulator, PATH + "?hidden=1")
    ask(emulator)
    log = emulator.log()
    assert f"info: sts: GET {PATH}: 200\n" in log
    assert f"info: sts: GET {PATH}: 400: The query" in log
    assert KEY not in log and SECOND_KEY not in log and "hidden" not in log
    assert "eyJ" not in log


# ---- files and start ---------------------------------------------------------------------------


def test_endpoints_are_there_while_it_runs(tmp_path):
    directory = tmp_path / "made" / "by-it"
    directory.parent.mkdir()
    with Emulator(directory, {ID: KEY}) as own:
        text = (directory / "endpoints.json").read_text()
        endpoints = json.loads(text)
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+", endpoints["sts"])
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", endpoints["control"])
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+", endpoints["entra"])
        assert len(set(endpoints.values())) == len(endpoints)
        token_of(ask(own))
    assert not (directory / "endpoints.json").exists()


def test_stale_endpoints_are_gone_after_a_failed_start(tmp_path):
    stale = tmp_path / "endpoints.json"
    stale.write_text('{"sts":"https://127.0.0.1:1","control":"http://127.0.0.1:1"}')
    (tmp_path / "ca.pem").write_text("not a certificate")
    result = run("--directory", str(tmp_path))
    assert result.returncode != 0
    assert not stale.exists()


def test_binds_loopback_only(emulator):
    ports = {urllib.parse.urlparse(url).port for url in emulator.endpoints.values()}
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in open(f"/proc/{emulator.pid}/net/{table}").readlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in ports:
                listening[int(port, 16)] = address
    assert listening == {port: "0100007F" for port in ports}


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def served_certificate(emulator):
    with connect(emulator) as connection:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))


def test_keeps_its_authority_over_a_restart(tmp_path):
    with Emulator(tmp_path) as own:
        authority = (tmp_path / "ca.pem").read_bytes()
        first = served_certificate(own)
    with Emulator(tmp_path) as own:
        assert (tmp_path / "ca.pem").read_bytes() == authority
        assert served_certificate(own).serial_number != first.serial_number


def test_restarts_after_it_was_killed(tmp_path):
    own = Emulator(tmp_path, {ID: KEY}).start()
    authority = (tmp_path / "ca.pem").read_bytes()
    assert own.stop(signal.SIGKILL) == -signal.SIGKILL
    stale = (tmp_path / "endpoints.json").read_text()
    with Emulator(tmp_path, {ID: KEY}) as own:
        assert (tmp_path / "endpoints.json").read_text() != stale
        assert (tmp_path / "ca.pem").read_bytes() == authority
        token_of(ask(own))


def test_authority_key_is_private_and_certificate_public(tmp_path):
    previous = os.umask(0o000)
    try:
        with Emulator(tmp_path):
            pass
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "ca-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca.pem").stat().st_mode) == 0o644


def make_key_readable(directory):
    (directory / "ca-key.pem").chmod(0o644)


def drop_key(directory):
    (directory / "ca-key.pem").unlink()


def spoil_key(directory):
    (directory / "ca-key.pem").write_text("x")
    (directory / "ca-key.pem").chmod(0o600)


@pytest.mark.parametrize(
    "harm, words",
    [
        (make_key_readable, "others may have read its key"),
        (drop_key, "its key is missing"),
        (spoil_key, "its key is missing or no key"),
    ],
)
def test_replaces_an_authority_it_cannot_trust(tmp_path, harm, words):
    with Emulator(tmp_path):
        authority = (tmp_path / "ca.pem").read_bytes()
    harm(tmp_path)
    with Emulator(tmp_path, {ID: KEY}) as own:
        assert (tmp_path / "ca.pem").read_bytes() != authority
        assert words in own.log()
        token_of(ask(own))
    assert stat.S_IMODE((tmp_path / "ca-key.pem").stat().st_mode) == 0o600


def test_replaces_an_authority_whose_key_is_another_ones(tmp_path):
    for name in ("one", "other"):
        with Emulator(tmp_path / name):
            pass
    (tmp_path / "other" / "ca-key.pem").rename(tmp_path / "one" / "ca-key.pem")
    with Emulator(tmp_path / "one", {ID: KEY}) as own:
        assert "its key is another one's" in own.log()
        token_of(ask(own))


def test_leaves_a_foreign_authority_alone(tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-subj", "/O=someone", "-keyout", tmp_path / "ca-key.pem"]
        + ["-out", tmp_path / "ca.pem"],
        check=True,
        capture_output=True,
    )
    before = (tmp_path / "ca.pem").read_bytes()
    result = run("--directory", str(tmp_path))
    assert result.returncode == 2
    assert "is not the certificate of a mrtoken-emulator" in result.stderr
    assert (tmp_path / "ca.pem").read_bytes() == before


def test_authority_is_for_loopback_names_only(tmp_path):
    with Emulator(tmp_path):
        constraints = load(tmp_path / "ca.pem").extensions.get_extension_for_class(
            x509.NameConstraints
        )
    assert constraints.critical
    assert [str(name.value) for name in constraints.value.permitted_subtrees] == [
        "localhost",
        "127.0.0.0/8",
        "::1/128",
    ]


def test_server_certificate_names_loopback(emulator):
    certificate = served_certificate(emulator)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [
        "127.0.0.1",
        "::1",
    ]
    assert names.get_values_for_type(x509.DNSName) == [
        "localhost",
        "sts.localhost",
        "*.localhost",
        "*.sts.localhost",
    ]
    assert certificate.public_key().curve.name == "secp256r1"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "sts.localhost"])
def test_name_of_this_host_is_verified(emulator, name):
    context = ssl.create_default_context(cafile=emulator.ca_file)
    port = urllib.parse.urlparse(emulator.sts).port
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            assert connection.getpeercert()


def test_second_emulator_in_a_directory_is_refused(tmp_path):
    with Emulator(tmp_path, {ID: KEY}) as own:
        result = run("--directory", str(tmp_path))
        assert result.returncode == 1
        assert "another mrtoken-emulator uses the directory" in result.stderr
        token_of(ask(own))
        assert (tmp_path / "endpoints.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stops_within_a_second_whatever_is_pending(tmp_path, number):
    own = Emulator(tmp_path, {ID: KEY}).start()
    own.add_fault("delay", delay_ms=3600000)
    own.add_fault("slow_body", pause_ms=3600000)
    own.add_fault("oversize", size=200_000_000)
    connections = []
    for count in (1, 2, 3):
        connections.append(connect(own))
        send(connections[-1], PATH, good_headers(own))
        own.wait_for_requests(count)
    connections.append(connect(own))
    port = urllib.parse.urlparse(own.sts).port
    connections.append(socket.create_connection(("127.0.0.1", port)))
    port = urllib.parse.urlparse(own.control).port
    connections.append(socket.create_connection(("127.0.0.1", port)))
    connections[-1].sendall(
        b"GET /v1/requests?after=1000&wait_ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    started = time.monotonic()
    assert own.stop(number) == 0
    assert time.monotonic() - started < 1
    for connection in connections:
        connection.close()


def test_copes_with_a_thousand_accounts_and_hundreds_of_connections(tmp_path):
    accounts = {str(uuid.UUID(int=n << 64 | n)): f"key-{n}" for n in range(1, 1001)}
    with Emulator(tmp_path, accounts) as own:
        assert len(own.accounts()) == 1000
        connections = [connect(own) for _ in range(300)]
        pairs = list(accounts.items())
        for turn in range(2):
            for place, connection in enumerate(connections):
                identifier, key = pairs[(turn * 300 + place) % 1000]
                headers = good_headers(own, Authorization=f"Bearer {identifier}:{key}")
                send(connection, f"/Accounts/{identifier}/token", headers)
            for place, connection in enumerate(connections):
                identifier, key = pairs[(turn * 300 + place) % 1000]
                assert claims_of(token_of(receive(connection)))["aid"] == identifier
        assert own.connections() == 300
        for connection in connections:
            connection.close()


# ---- options -----------------------------------------------------------------------------------


def run(*arguments):
    return subprocess.run(
        [binary(), *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "--directory is missing"),
        (["--directory"], "--directory needs a value"),
        (["--directory", ""], "--directory is empty"),
        (["--directory", "/dev/null"], "it is not a directory"),
        (["--directory", "/nowhere/at/all"], "nor is the directory above it"),
        (["--directroy", "x"], "unknown option --directroy (did you mean --directory?)"),
        (["--zzzz"], "unknown option --zzzz; see --help"),
        (["-d"], "unknown option -d"),
        (["--help=yes"], "--help takes no value"),
        (["--directory", "D", "more"], "unexpected argument number 3"),
        (["--directory", "D", "--token-lifetime", "0"], "--token-lifetime 0: expected whole"),
        (["--directory", "D", "--token-lifetime", "1h"], "--token-lifetime 1h: expected whole"),
        (["--directory", "D", "--token-lifetime", "-5"], "--token-lifetime -5: expected whole"),
        (["--account", "secret-key"], "number 1: expected ID:KEY"),
        (["--account", f"secret-key:{ID}"], "before the first ':' (10 characters)"),
        (["--account", ID], "there is no key"),
        (["--account", f"{ID}:"], "key 1 is empty"),
        (["--account", f"{ID}:secret-key:"], "key 2 is empty"),
        (["--account", f"{ID}:secret-key:b:c"], "more than two keys"),
        (["--account", f"{ID}:secret key"], "character 7 of key 1"),
        (["--account", f"{ID}:secret-key", "--account", f"{ID.upper()}:x"], "is given twice"),
        (["--account", f"{ID}:a", "--account", "secret-key"], "number 2: expected ID:KEY"),
    ],
)
def test_refuses_a_bad_option_and_names_no_key(arguments, words):
    result = run(*arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr
    assert result.stdout == ""


def test_token_lifetime_option(tmp_path):
    with Emulator(tmp_path, {ID: KEY}, ["--token-lifetime", "7"]) as own:
        claims = claims_of(token_of(ask(own)))
        assert claims["exp"] - claims["nbf"] == 7
        assert own.settings()["token_lifetime_s"] == 7


def test_help_and_version():
    shown = run("--help")
    assert shown.returncode == 0 and shown.stderr == ""
    for option in ("--directory", "--account", "--token-lifetime", "--help", "--version"):
        assert option in shown.stdout
    version = run("--version")
    assert version.returncode == 0
    assert re.fullmatch(r"mrtoken-emulator \d+\.\d+\.\d+\n", version.stdout)


def test_one_fault_can_be_taken_out_of_the_queue(emulator):
    numbers = [emulator.add_fault("status", status=n, count=0)["number"] for n in (500, 502)]
    assert emulator.delete_fault(numbers[0])["deleted"] == 1
    assert [fault["number"] for fault in emulator.faults()] == numbers[1:]
    assert emulator.ask_control("DELETE", f"/v1/faults/{numbers[0]}").status_code == 404
    assert emulator.ask_control("DELETE", "/v1/faults/first").status_code == 400
