"""What nobody should send: each is refused or cut, and those beside it notice nothing."""

import http.client
import os
import re
import signal
import socket
import threading
import time

import pytest

from conftest import ACCOUNT_ID, KEY, SECOND_KEY
from rig.daemon import Poller, account_section, is_sanitized

GOOD = b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n"
REQUEST_SECONDS = 10  # from connecting to a complete request
KIB = 1024
MIB = 1024 * 1024


@pytest.fixture
def connect(daemon):
    """Make connections that are closed in the end."""
    made = []

    def make():
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(daemon.socket))
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.close()


def read_all(connection):
    """All that comes until the connection ends, in whichever way."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def send_and_read(connection, data, is_end=True):
    """Send what can be sent, and read all that comes."""
    try:
        connection.sendall(data)
        if is_end:
            connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError, OSError):
        pass  # it was cut: the answer may be there all the same
    return read_all(connection)


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def request(headers=b"", line=b"GET /v1/token HTTP/1.1"):
    return line + b"\r\nHost: localhost\r\n" + headers + b"\r\n"


# ---- bodies ----

BODIES = {
    "length": b"Content-Length: 4\r\n\r\nbody",
    "length without its body": b"Content-Length: 4\r\n\r\n",
    "huge length": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "chunked without its end": b"Transfer-Encoding: chunked\r\n\r\n4\r\nbo",
    "large": b"Content-Length: 1048576\r\n\r\n" + b"b" * MIB,
}


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_is_refused(connect, daemon, method, body):
    head = method + b" /v1/token HTTP/1.1\r\nHost: localhost\r\n"
    received = send_and_read(connect(), head + body, is_end=False)
    assert statuses(received)[:1] in ([413], [400])
    assert b"AccessToken" not in received and b'"token"' not in received
    assert daemon.get("/v1/token").status == 200


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_refused_body_is_told_in_the_error_object(connect, kind):
    head = b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\n"
    received = send_and_read(connect(), head + BODIES[kind], is_end=False)
    assert statuses(received) == [413]
    assert b'"code":"body_not_allowed"' in received
    for header in (b"Cache-Control: no-store\r\n", b"X-Request-Id: ", b"Connection: close\r\n"):
        assert header in received


def test_a_body_is_not_taken_for_a_request(connect):
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    length = f"Content-Length: {len(smuggled)}\r\n".encode()
    assert statuses(send_and_read(connect(), request(length) + smuggled)) == [413]


def test_two_lengths_are_no_way_around(connect):
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lengths = f"Content-Length: 0\r\nContent-Length: {len(smuggled)}\r\n".encode()
    received = send_and_read(connect(), request(lengths) + smuggled)
    assert all(status >= 400 for status in statuses(received)), received[:600]


def test_a_length_of_nothing_is_no_body(connect):
    received = send_and_read(connect(), request(b"Content-Length: 0\r\n"))
    assert statuses(received) == [200]


# ---- sizes ----

SIZES = {
    "header": request(b"X: " + b"x" * MIB + b"\r\n"),
    "header without an end": b"GET /v1/token HTTP/1.1\r\nX: " + b"x" * MIB,
    "name of a header": request(b"x" * MIB + b": x\r\n"),
    "request line": request(line=b"GET /" + b"x" * MIB + b" HTTP/1.1"),
    "query": request(line=b"GET /v1/token?" + b"x" * MIB + b" HTTP/1.1"),
    "method": request(line=b"X" * MIB + b" /v1/token HTTP/1.1"),
    "headers": request(b"X: x\r\n" * 100000),
    "query parameters": request(line=b"GET /v1/token?" + b"x&" * MIB + b" HTTP/1.1"),
    "folded header": request(b"X: x\r\n" + b" x\r\n" * 200000),
    "empty lines": b"\r\n" * MIB,
    "one line without an end": b"G" * MIB,
}


@pytest.mark.parametrize("data", SIZES.values(), ids=SIZES)
def test_what_is_too_long_is_refused_or_cut(connect, daemon, data):
    received = send_and_read(connect(), data)
    found = statuses(received)
    assert found == [] or found[0] in (400, 405, 413, 414, 431, 501)
    assert daemon.get("/v1/token").status == 200


def test_a_header_of_a_megabyte_gets_a_431(connect):
    assert statuses(send_and_read(connect(), SIZES["header"], is_end=False)) == [431]


def test_a_request_line_of_a_megabyte_gets_a_414(connect):
    assert statuses(send_and_read(connect(), SIZES["request line"], is_end=False)) == [414]


@pytest.mark.parametrize(
    "headers",
    [b"X: " + b"x" * 3 * KIB + b"\r\n", b"".join(b"X-%02d: %092d\r\n" % (i, i) for i in range(30))],
    ids=["one", "many"],
)
def test_three_kilobytes_of_headers_pass(connect, headers):
    assert len(headers) >= 2900
    assert statuses(send_and_read(connect(), request(headers))) == [200]


@pytest.mark.parametrize(
    "headers", [b"X: " + b"x" * 5400 + b"\r\n", b"Abcd: 1234567\r\n" * 70], ids=["long", "many"]
)
def test_what_the_manual_says_fits_passes(connect, headers):
    assert statuses(send_and_read(connect(), request(headers))) == [200]


# ---- what is no HTTP, or old, or odd ----


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
        b"\x00" * 100,
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(range(189)),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-client\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/token\r\n\r\n",  # HTTP/0.9
        b"GET /v1/token HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /v1/token HTTP/1.1\r\nno header at all\r\n\r\n",
        b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_http_gets_no_token(connect, daemon, data):
    received = send_and_read(connect(), data)
    assert all(status >= 400 for status in statuses(received)), received
    assert b'"token"' not in received
    assert daemon.get("/v1/token").status == 200


def test_http_1_1_without_a_host_is_a_bad_request(connect):
    received = send_and_read(connect(), b"GET /v1/token HTTP/1.1\r\n\r\n")
    assert statuses(received)[:1] == [400]
    assert b'"token"' not in received


def test_http_1_0_is_answered_and_closed(connect):
    connection = connect()
    connection.sendall(b"GET /v1/token HTTP/1.0\r\n\r\n")
    received = read_all(connection)  # ends because the daemon closes
    assert statuses(received) == [200]
    assert b"Connection: close\r\n" in received


def test_connection_close_is_obeyed(connect):
    connection = connect()
    connection.sendall(request(b"Connection: close\r\n"))
    assert statuses(read_all(connection)) == [200]


def test_pipelined_requests_are_answered_in_order(connect):
    paths = ["/healthz", "/v1/nothing", "/v1/token", "/v1/accounts/nobody", "/readyz"] * 20
    data = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
    received = send_and_read(connect(), data.encode())
    assert statuses(received) == [200, 404, 200, 404, 200] * 20


def test_a_request_in_many_pieces_is_answered(connect):
    connection = connect()
    for i in range(len(GOOD)):
        connection.send(GOOD[i : i + 1])
    connection.shutdown(socket.SHUT_WR)
    assert statuses(read_all(connection)) == [200]


# ---- connections ----


def test_a_half_closed_connection_gets_its_answer(connect):
    connection = connect()
    connection.sendall(GOOD)
    connection.shutdown(socket.SHUT_WR)
    assert statuses(read_all(connection)) == [200]


@pytest.mark.parametrize("data", [b"", b"GET /v1/tok", GOOD[:-2]], ids=["none", "line", "headers"])
def test_a_connection_closed_before_its_request_is_complete_ends(connect, daemon, data):
    connection = connect()
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    assert statuses(read_all(connection)) in ([], [400])
    assert daemon.get("/v1/token").status == 200


def test_clients_that_hang_up_amid_an_answer_do_no_harm(connect, daemon):
    for _ in range(200):
        connection = connect()
        connection.sendall(GOOD * 300)  # more than the socket's buffer can hold of answers
        connection.close()
    assert daemon.get("/v1/token").status == 200


def test_a_request_at_a_byte_a_second_is_cut_while_others_are_served(connect, daemon):
    slow, silent = connect(), connect()
    started = time.monotonic()
    cut = threading.Event()

    def drip():
        for i in range(len(GOOD)):
            try:
                slow.send(GOOD[i : i + 1])
            except OSError:
                break
            if cut.wait(1):
                break

    dripping = threading.Thread(target=drip)
    with Poller(daemon, check=answers_quickly) as poller:
        dripping.start()
        assert statuses(read_all(slow)) in ([], [408])
        took = time.monotonic() - started
        assert statuses(read_all(silent)) in ([], [408])
        cut.set()
        dripping.join()
        poller.wait_for_answers()
    assert REQUEST_SECONDS - 1 < took < 2 * REQUEST_SECONDS


def answers_quickly(answer, before):
    return None if time.time() - before < 5 else f"took {time.time() - before:.1f} s"


def test_connections_leave_nothing_behind(daemon, connect):
    def churn(count):
        for i in range(count):
            connection = connect()
            if i % 4:
                connection.sendall([GOOD, b"garbage\r\n\r\n", b"GET /v1/tok"][i % 4 - 1])
            if i % 4 == 1:
                connection.recv(65536)
            connection.close()

    def settled_descriptors():
        """How many there are once the daemon has seen the ends of those before."""
        kept = daemon.connect()
        for _ in range(3):
            kept.request("GET", "/healthz")
            kept.getresponse().read()
        count = daemon.descriptors()
        kept.close()
        return count

    churn(2000)  # what it keeps on purpose is there afterwards
    descriptors, memory = settled_descriptors(), daemon.resident_kib()
    churn(10000)
    assert settled_descriptors() == descriptors
    if not is_sanitized():
        assert daemon.resident_kib() < memory + 2048


@pytest.mark.skipif(os.cpu_count() < 2, reason="the client would starve the daemon")
def test_five_hundred_idle_connections_do_not_slow_others(daemon, connect):
    for _ in range(500):
        connect()
    with Poller(daemon, check=answers_quickly) as poller:
        poller.wait_for_answers(500)


def test_a_client_that_never_reads_does_not_stop_others(daemon, connect):
    stuck = connect()
    stuck.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:  # until both directions are full
            stuck.send(GOOD * 100)
    with Poller(daemon) as poller:
        poller.wait_for_answers(500)


def test_a_refused_request_does_not_spoil_the_connection(daemon):
    connection = daemon.connect()
    for path, status in (("/v1/nothing", 404), ("/v1/accounts/%zz", 400), ("/v1/token", 200)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    local = connection.sock
    connection.request("GET", "/v1/token")
    assert isinstance(connection.getresponse(), http.client.HTTPResponse)
    assert connection.sock is local


@pytest.fixture
def crowded(make_daemon, emulator, key_file):
    """A daemon with few descriptors, and as many idle connections as it has room for."""
    daemon = make_daemon(
        account_section("anchors", emulator, key_file), wrap=["prlimit", "--nofile=128:128"]
    ).start()
    daemon.wait_for_token("anchors")
    made = []
    for _ in range(64):  # every second descriptor is for a client
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(daemon.socket))
        connection.sendall(GOOD)
        assert connection.recv(MIB).startswith(b"HTTP/1.1 200 ")
        made.append(connection)
    yield daemon, made
    for connection in made:
        connection.close()


@pytest.mark.plain_build  # sanitizers need descriptors of their own
def test_a_new_client_gets_the_place_of_the_one_that_was_idle_for_longest(crowded):
    daemon, idle = crowded
    assert daemon.token()["token"]
    assert idle[0].recv(MIB) == b""
    idle[-1].sendall(GOOD)
    assert idle[-1].recv(MIB).startswith(b"HTTP/1.1 200 ")


@pytest.mark.plain_build  # sanitizers need descriptors of their own
def test_idle_connections_lock_nobody_out(crowded):
    daemon, _ = crowded
    for _ in range(500):
        assert daemon.token()["token"]


@pytest.mark.plain_build  # sanitizers need descriptors of their own
def test_clients_take_no_descriptor_from_a_reload_and_a_refresh(crowded, emulator):
    daemon, _ = crowded
    emulator.clear_requests()
    emulator.put_account(ACCOUNT_ID, KEY, SECOND_KEY)
    before = len(daemon.log_lines())
    daemon.config_file.write_text(
        daemon.config_file.read_text().replace("eastus2", "westeurope")
    )
    assert "failed" not in daemon.reload()
    daemon.wait_for_token("anchors", after=before)
    assert daemon.token()["account_domain"] == "westeurope.mixedreality.azure.com"


@pytest.mark.plain_build  # sanitizers need descriptors of their own
def test_who_was_shut_out_does_not_wait_inside(make_daemon, emulator, key_file):
    """What it sent before that is still read; to let it wait would be one descriptor too many."""
    emulator.add_fault("delay", delay_ms=60000, count=0)
    daemon = make_daemon(
        account_section("anchors", emulator, key_file), wrap=["prlimit", "--nofile=128:128"]
    ).start()
    emulator.wait_for_requests(1)
    waiting = request(headers=b"Prefer: wait=25\r\n")
    made = [socket.socket(socket.AF_UNIX) for _ in range(120)]
    try:
        for connection in made[:60]:
            connection.connect(str(daemon.socket))
        assert daemon.get("/healthz").status == 200  # it has seen them all
        before = daemon.descriptors()
        daemon.send_signal(signal.SIGSTOP)
        for oldest, newcomer in zip(made[:60], made[60:]):
            oldest.sendall(waiting)
            newcomer.connect(str(daemon.socket))
        daemon.send_signal(signal.SIGCONT)
        assert daemon.get("/healthz").status == 200
        daemon.wait_for_descriptors(before + 5, seconds=5)  # less than any of them may wait
    finally:
        daemon.send_signal(signal.SIGCONT)
        for connection in made:
            connection.close()


def test_an_absolute_target_is_taken(connect):
    received = send_and_read(
        connect(), b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    assert statuses(received) == [200]
