"""mrtoken as a user runs it, against a scripted stand-in for the daemon on a Unix socket."""

import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import tempfile
import termios
import threading

import pytest

from rig.memory import memory_of, without_hiding

ROOT = pathlib.Path(__file__).resolve().parents[2]
MRTOKEN = pathlib.Path(os.environ.get("MRT_BUILD_DIR", ROOT)) / "mrtoken"
TOKEN = "eyJhbGciOiJub25lIn0.eyJleHAiOjE5MDAwMDAwMDB9.c2ln-na_tu~re+/="
MIB = 1024 * 1024
NOBODY = 65534

OK, FAILURE, USAGE, UNREACHABLE, NO_ACCOUNT, NO_TOKEN, NOT_ALLOWED, CONFIGURATION, NO_LOGIN = range(9)


def account(name="anchors", **changes):
    """An account as GET /v1/accounts/{name} gives it."""
    return {
        "name": name,
        "kind": "mixed_reality",
        "account_id": "11111111-2222-3333-4444-555555555555",
        "account_domain": "eastus2.mixedreality.azure.com",
        "credential": "account_key",
        "required": True,
        "state": "valid",
        "expires_on": 1900000000,
        "refresh_on": 1899990000,
        "expires_in": 43140,
        "refresh_in": 125,
        "failures": 0,
        "last_error": None,
        **changes,
    }


def accounts(*objects, default="anchors"):
    return {"default_account": default, "accounts": list(objects)}


LAST_ERROR = {
    "code": "denied",
    "message": "the STS refused the account key, and said so in many words, again and again",
    "status": 401,
    "correlation_vector": "abcDEF123.0",
    "at": 1800000000,
}


class Answer:
    """What the stand-in says: a whole HTTP answer, or raw bytes, or nothing at all."""

    def __init__(self, status=200, body=b"", content_type="text/plain", headers=(), raw=None,
                 hangs=False, length=None):
        self.status = status
        self.body = body if isinstance(body, bytes) else body.encode()
        self.content_type = content_type
        self.headers = dict(headers)
        self.raw = raw
        self.hangs = hangs
        self.length = len(self.body) if length is None else length


def as_json(value, status=200, **kwargs):
    return Answer(status, json.dumps(value), "application/json", **kwargs)


def refusal(status, code, message, retry_after=None, **kwargs):
    error = {"code": code, "message": message, "account": "anchors", "retry_after": retry_after}
    return as_json({"error": error}, status, **kwargs)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(self.path)

    def do_POST(self):
        self.answer(f"POST {self.path}")

    def answer(self, key):
        daemon = self.server.daemon
        daemon.requests.append((key, dict(self.headers)))
        daemon.was_asked.set()
        answer = daemon.answers.get(key) or refusal(404, "not_found", "no such path")
        self.close_connection = True
        if answer.hangs:
            daemon.stopping.wait(60)
            return
        try:
            if answer.raw is not None:
                self.wfile.write(answer.raw)
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(answer.length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had enough: that is what some tests want

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class Daemon:
    """The stand-in: answers by path, and remembers what it was asked."""

    def __init__(self, path):
        self.path = str(path)
        self.answers = {}
        self.requests = []
        self.was_asked = threading.Event()
        self.stopping = threading.Event()
        self.server = Server(self.path, Handler)
        self.server.daemon = self
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def paths(self):
        return [path for path, _ in self.requests]


@pytest.fixture
def directory():
    """A directory with a short name (a socket's path is limited) that other users can enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mrt-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(directory):
    running = Daemon(directory / "s")
    yield running
    running.stop()


def environment(**changes):
    env = {k: v for k, v in os.environ.items()
           if k not in ("MRTOKEN_SOCKET", "NO_COLOR", "COLUMNS", "http_proxy", "HTTP_PROXY",
                        "all_proxy", "ALL_PROXY")}
    env["TERM"] = "xterm"
    env.update(changes)
    return env


def run(*args, env=None, program=MRTOKEN, **kwargs):
    kwargs.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [str(program), *map(str, args)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env=env or environment(), timeout=60, **kwargs)


def ask(daemon, *args, **kwargs):
    return run("--socket", daemon.path, *args, **kwargs)


def assert_fails(result, code, *words):
    """The exit code is right, standard output is empty, standard error says what and what next."""
    error = result.stderr.decode()
    assert result.returncode == code, error
    assert not result.stdout
    assert error.startswith("mrtoken: ") and error.endswith("\n")
    assert TOKEN not in error
    for word in words:
        assert word in error


# ---- get ---------------------------------------------------------------------------------------


def test_get_prints_the_bare_token_and_a_newline(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    result = ask(daemon, "get")
    assert (result.returncode, result.stdout, result.stderr) == (OK, TOKEN.encode() + b"\n", b"")


def test_get_adds_no_second_newline_to_one_that_the_daemon_sent(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN + "\r\n")
    assert ask(daemon, "get").stdout == TOKEN.encode() + b"\n"


def test_get_fits_a_shell_substitution(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    result = subprocess.run(
        ["/bin/sh", "-c", 'token=$("$0" get) && printf "[%s]" "$token"', str(MRTOKEN)],
        stdout=subprocess.PIPE, env=environment(MRTOKEN_SOCKET=daemon.path), timeout=60)
    assert result.stdout.decode() == f"[{TOKEN}]"


def test_get_asks_for_plain_text_on_behalf_of_mrtoken(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    ask(daemon, "get")
    [(path, headers)] = daemon.requests
    assert path == "/v1/token"
    assert headers["Accept"] == "text/plain"
    assert headers["User-Agent"].startswith("mrtoken/")
    assert headers["Host"] == "localhost"


def test_get_of_an_account_asks_for_that_account(daemon):
    daemon.answers["/v1/accounts/anchors/token"] = Answer(body=TOKEN)
    assert ask(daemon, "get", "anchors").stdout.decode() == TOKEN + "\n"


@pytest.mark.parametrize("name, encoded", [
    ("a/b", "a%2Fb"), ("a b", "a%20b"), ("ä", "%C3%A4"), ("..", ".."), ("50%", "50%25"),
    ("a?format=header", "a%3Fformat%3Dheader"), ("a#b", "a%23b"), ("a\nb", "a%0Ab"),
])
def test_account_names_are_percent_encoded(daemon, name, encoded):
    daemon.answers[f"/v1/accounts/{encoded}/token"] = Answer(body=TOKEN)
    assert ask(daemon, "get", name).stdout.decode() == TOKEN + "\n"
    assert daemon.paths() == [f"/v1/accounts/{encoded}/token"]


def test_account_that_begins_with_a_dash_stands_behind_two_dashes(daemon):
    daemon.answers["/v1/accounts/--json/token"] = Answer(body=TOKEN)
    assert ask(daemon, "get", "--", "--json").stdout.decode() == TOKEN + "\n"


def test_get_header_prints_the_ready_line(daemon):
    line = f"Authorization: Bearer {TOKEN}"
    daemon.answers["/v1/token?format=header"] = Answer(body=line)
    assert ask(daemon, "get", "--header").stdout.decode() == line + "\n"
    daemon.answers["/v1/accounts/x/token?format=header"] = Answer(body=line + "\n")
    assert ask(daemon, "get", "x", "--header").stdout.decode() == line + "\n"


def test_get_json_prints_the_answer_as_it_came(daemon):
    body = json.dumps({
        "token": TOKEN, "token_type": "Bearer", "expires_on": 1900000000, "refresh_on": 1.5e9,
        "account": "anchors \"\\\u00e4", "account_id": None, "later": [{}, [], {"a": [True]}, -1],
    }, indent=1)
    daemon.answers["/v1/token"] = Answer(body=body, content_type="application/json")
    result = ask(daemon, "get", "--json")
    assert result.stdout.decode() == body + "\n"
    assert daemon.requests[0][1]["Accept"] == "application/json"


def test_long_tokens_are_printed_whole(daemon):
    token = "A" * (MIB - 1)
    daemon.answers["/v1/token"] = Answer(body=token)
    assert ask(daemon, "get").stdout.decode() == token + "\n"


def test_chunked_answers_are_put_together(daemon):
    daemon.answers["/v1/token"] = Answer(
        raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert ask(daemon, "get").stdout == b"abcdefg\n"


def test_proxy_variables_do_not_lead_the_request_elsewhere(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    env = environment(http_proxy="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1")
    assert ask(daemon, "get", env=env).stdout.decode() == TOKEN + "\n"
    assert daemon.paths() == ["/v1/token"]


def test_redirects_are_not_followed(daemon):
    daemon.answers["/v1/token"] = Answer(302, headers={"Location": "/v1/other"})
    daemon.answers["/v1/other"] = Answer(body=TOKEN)
    assert_fails(ask(daemon, "get"), FAILURE, "HTTP status 302")


# ---- get: answers that are not a token ---------------------------------------------------------

NOT_PLAIN = {
    "empty": Answer(body=""),
    "blank": Answer(body=" \r\n"),
    "html": Answer(body="<html>hello</html>", content_type="text/html"),
    "a word of html": Answer(body="hello", content_type="text/html"),
    "a word of no type": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    "json": as_json({"token": TOKEN}),
    "two lines": Answer(body=f"{TOKEN}\n{TOKEN}\n"),
    "control": Answer(body="abc\x1b[31mdef"),
    "nul": Answer(body="abc\0def"),
    "only padding": Answer(body="==="),
    "padding inside": Answer(body="a=b"),
    "utf-8": Answer(body="tökén"),
}


@pytest.mark.parametrize("answer", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_get_never_prints_what_is_not_a_token(daemon, answer):
    daemon.answers["/v1/token"] = answer
    assert_fails(ask(daemon, "get"), FAILURE, "the answer is not understood")


@pytest.mark.parametrize("body", [
    TOKEN, "Authorization: Bearer ", "Authorization: Bearer a b", "Authorization: Basic abc",
    f"Authorization: Bearer {TOKEN}\r\nX-Other: 1",
])
def test_get_header_never_prints_what_is_not_the_line(daemon, body):
    daemon.answers["/v1/token?format=header"] = Answer(body=body)
    assert_fails(ask(daemon, "get", "--header"), FAILURE, "the answer is not understood")


NOT_TOKEN_JSON = [
    "", "null", "[]", '"token"', TOKEN, "{}", '{"token":null}', '{"token":5}', '{"token":""}',
    '{"token":["a"]}', '{"nested":{"token":"a"}}', '{"token":"a"', '{"token":"a', '{"token"',
    '{"token":"a",}', '{"token":"a"} {"token":"b"}', '{"token":"a"}x', '{token:"a"}',
    '{"token":"a","n":-}', '{"token":"a","n":tru}', '{"token":"a\nb"}', '{"token":"a\\q"}',
    '{"token":"a","deep":' + "[" * 100000 + "]" * 100000 + "}", "{", '{"token":"a\\',
]


@pytest.mark.parametrize("body", NOT_TOKEN_JSON, ids=range(len(NOT_TOKEN_JSON)))
def test_get_json_never_prints_what_is_not_whole_json_with_a_token(daemon, body):
    daemon.answers["/v1/token"] = Answer(body=body, content_type="application/json")
    assert_fails(ask(daemon, "get", "--json"), FAILURE, "the answer is not understood")


CUT_OFF = {
    "body": Answer(body=TOKEN[:20], length=len(TOKEN)),
    "chunk": Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nabc"),
    "bad chunk": Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc"),
    "not http": Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "no status": Answer(raw=b"HTTP/1.1\r\n\r\n"),
    "bad length": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc"),
}


@pytest.mark.parametrize("answer", CUT_OFF.values(), ids=CUT_OFF.keys())
@pytest.mark.parametrize("args, path", [(["get"], "/v1/token"), (["status"], "/v1/accounts")],
                         ids=["get", "status"])
def test_answers_that_are_cut_off_or_not_http_are_failures(daemon, answer, args, path):
    daemon.answers[path] = answer
    assert_fails(ask(daemon, *args), FAILURE)


@pytest.mark.parametrize("size", [MIB + 1, 3 * MIB])
@pytest.mark.parametrize("option", ["--json", "--header", None])
def test_tokens_above_one_mebibyte_are_refused(daemon, size, option):
    answer = Answer(body="A" * size)
    daemon.answers = {"/v1/token": answer, "/v1/token?format=header": answer}
    assert_fails(ask(daemon, "get", *([option] if option else [])), FAILURE, "longer than 1048576")


def test_endless_answers_are_cut_at_one_mebibyte(daemon):
    daemon.answers["/v1/token"] = Answer(body="A" * 8 * MIB, length=1 << 40)
    assert_fails(ask(daemon, "get"), FAILURE, "longer than 1048576")


# ---- refusals ----------------------------------------------------------------------------------


def test_unknown_account_is_told_with_the_accounts_that_there_are(daemon):
    daemon.answers["/v1/accounts/anchor/token"] = refusal(404, "not_found", "no such account")
    daemon.answers["/v1/accounts"] = as_json(accounts(account("anchors"), account("rendering")))
    assert_fails(ask(daemon, "get", "anchor"), NO_ACCOUNT, 'no account "anchor"',
                 "no such account", 'Did you mean "anchors"?', "anchors, rendering")


def test_unknown_account_is_told_for_status_too(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(account("anchors")))
    assert_fails(ask(daemon, "status", "x"), NO_ACCOUNT, 'no account "x"', "anchors")


def test_unknown_account_among_many_shows_a_few(daemon):
    many = [account(f"account-{i:05}") for i in range(10000)]
    daemon.answers["/v1/accounts"] = as_json(accounts(*many))
    result = ask(daemon, "get", "other")
    assert_fails(result, NO_ACCOUNT, "account-00000", "mrtoken list")
    assert len(result.stderr) < 1000


@pytest.mark.parametrize("listing", [
    refusal(403, "forbidden", "no"), Answer(body="x"), as_json({"accounts": 5}), as_json([]),
    as_json({"accounts": {}}),
])
def test_unknown_account_is_still_told_when_listing_fails(daemon, listing):
    daemon.answers["/v1/accounts/x/token"] = refusal(404, "not_found", "no such account")
    daemon.answers["/v1/accounts"] = listing
    assert_fails(ask(daemon, "get", "x"), NO_ACCOUNT, "mrtoken list")


def test_unknown_account_is_still_told_when_the_list_holds_nonsense(daemon):
    daemon.answers["/v1/accounts"] = as_json({"accounts": [5, None, {"name": 7}, {}]})
    assert_fails(ask(daemon, "get", "x"), NO_ACCOUNT, "no account on this socket")


def test_missing_default_account_is_told(daemon):
    daemon.answers["/v1/token"] = refusal(404, "not_found", "no default account is configured")
    daemon.answers["/v1/accounts"] = as_json(accounts(account("anchors"), default=None))
    assert_fails(ask(daemon, "get"), NO_ACCOUNT, "no account was named", "anchors")


def test_404_of_something_else_is_not_taken_for_a_missing_account(daemon):
    daemon.answers["/v1/token"] = Answer(404, "<html>nginx</html>", "text/html")
    assert_fails(ask(daemon, "get"), FAILURE, "HTTP status 404", "Is it mrtokend")


def test_404_of_the_list_is_a_failure(daemon):
    assert_fails(ask(daemon, "list"), FAILURE, "HTTP status 404")


@pytest.mark.parametrize("args, path", [
    (["get"], "/v1/token"), (["get", "--json"], "/v1/token"),
    (["get", "--header"], "/v1/token?format=header"),
    (["status", "anchors"], "/v1/accounts/anchors"), (["list"], "/v1/accounts"),
])
def test_refusal_by_the_daemons_rules_has_its_exit_code(daemon, args, path):
    daemon.answers[path] = refusal(403, "forbidden", "user 1000 may not use this account")
    assert_fails(ask(daemon, *args), NOT_ALLOWED, "user 1000 may not use this account",
                 "allow_users")


def test_no_valid_token_tells_why_and_when_to_try_again(daemon):
    daemon.answers["/v1/token"] = refusal(
        503, "no_valid_token", "the STS answered 500 (MS-CV abc.0)", headers={"Retry-After": "7"})
    assert_fails(ask(daemon, "get"), NO_TOKEN, "the STS answered 500 (MS-CV abc.0)",
                 "Try again in 7 s", "mrtoken status")


def test_retry_after_of_the_error_object_counts_where_the_header_is_missing(daemon):
    daemon.answers["/v1/token"] = refusal(503, "no_valid_token", "not yet", retry_after=9)
    assert_fails(ask(daemon, "get"), NO_TOKEN, "Try again in 9 s")


@pytest.mark.parametrize("body", [
    "", "{}", "nothing", '{"error":5}', '{"error":{"message":5,"retry_after":"x"}}', "[1",
])
def test_503_without_a_usable_error_object_is_still_no_valid_token(daemon, body):
    daemon.answers["/v1/token"] = Answer(503, body, "application/json")
    assert_fails(ask(daemon, "get"), NO_TOKEN, "no reason")


def test_other_refusals_are_told_with_their_status_and_message(daemon):
    daemon.answers["/v1/token"] = refusal(400, "bad_request", "the header is too long")
    assert_fails(ask(daemon, "get"), FAILURE, "400", "the header is too long")


def test_a_token_in_an_answer_with_an_error_status_is_not_printed(daemon):
    daemon.answers["/v1/token"] = Answer(500, TOKEN)
    assert_fails(ask(daemon, "get"), FAILURE, "HTTP status 500")


def test_control_characters_of_the_daemon_do_not_reach_the_terminal(daemon):
    daemon.answers["/v1/token"] = refusal(
        503, "no_valid_token", "a\x1b]0;title\x07b\nmrtoken: forged\x7f \u009b31m")
    result = ask(daemon, "get")
    assert_fails(result, NO_TOKEN, "a?]0;title?b?mrtoken: forged? ")
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", result.stderr)


def test_control_characters_of_the_command_line_do_not_reach_the_terminal(daemon):
    daemon.answers["/v1/accounts/%1B%5B2J/token"] = refusal(404, "not_found", "no such account")
    assert b"\x1b" not in ask(daemon, "get", "\x1b[2J").stderr
    assert b"\x1b" not in ask(daemon, "\x1b[2J").stderr


# ---- reaching the daemon -----------------------------------------------------------------------


def test_socket_is_taken_from_the_environment(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    assert run("get", env=environment(MRTOKEN_SOCKET=daemon.path)).returncode == OK


def test_socket_option_goes_before_the_environment(daemon, directory):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    env = environment(MRTOKEN_SOCKET=str(directory / "other"))
    assert run("get", env=env).returncode == UNREACHABLE
    assert run("--socket", daemon.path, "get", env=env).returncode == OK


@pytest.mark.parametrize("env", [environment(), environment(MRTOKEN_SOCKET="")])
def test_socket_is_the_installed_one_by_default(env):
    default = re.search(r"^ +(/\S+/mrtokend\.sock)$", run("--help").stdout.decode(), re.M).group(1)
    if os.path.exists(default):
        pytest.skip("a daemon is installed here")
    assert_fails(run("get", env=env), UNREACHABLE, f"there is no socket {default}")


@pytest.mark.parametrize("args", [
    ["--socket", "PATH", "get"], ["get", "--socket", "PATH"], ["--socket=PATH", "get"],
    ["get", "--socket=PATH"],
])
def test_socket_option_stands_before_or_behind_the_verb(daemon, args):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    assert run(*[arg.replace("PATH", daemon.path) for arg in args]).returncode == OK


@pytest.mark.parametrize("args", [["get"], ["get", "x"], ["list"], ["status"], ["status", "x"]])
def test_missing_socket_asks_whether_the_daemon_runs(directory, args):
    assert_fails(run("--socket", directory / "none", *args), UNREACHABLE,
                 f"there is no socket {directory}/none", "systemctl status mrtokend", "--socket",
                 "MRTOKEN_SOCKET")


def test_socket_that_nobody_listens_on_is_told(directory):
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(directory / "old"))
    left_over.close()
    assert_fails(run("--socket", directory / "old", "get"), UNREACHABLE, "nobody listens",
                 "systemctl status mrtokend")


def test_path_that_is_not_a_socket_is_told(directory):
    (directory / "file").write_text("x")
    assert_fails(run("--socket", directory / "file", "get"), UNREACHABLE, "is not a socket")
    assert_fails(run("--socket", directory, "get"), UNREACHABLE, "is not a socket")
    assert_fails(run("--socket", directory / "file" / "s", "get"), UNREACHABLE, "no socket")


def as_nobody(directory, *args):
    """Run a copy of mrtoken that an unprivileged user can reach, as such a user."""
    program = directory / "mrtoken"
    shutil.copy(MRTOKEN, program)
    program.chmod(0o755)
    kwargs = {}
    if os.geteuid() == 0:
        kwargs = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return run(*args, program=program, **kwargs)


def test_socket_of_another_group_is_told_with_the_groups_name(daemon, directory):
    if os.geteuid() != 0:
        pytest.skip("needs a file of another user, so root")
    os.chown(daemon.path, 0, 0)
    os.chmod(daemon.path, 0o660)
    assert_fails(as_nobody(directory, "--socket", daemon.path, "get"), NOT_ALLOWED,
                 f"permission denied on the daemon's socket {daemon.path}", 'group "root"',
                 "membership")
    assert daemon.requests == []


def test_socket_of_a_group_without_a_name_is_told_with_its_number(daemon, directory):
    if os.geteuid() != 0:
        pytest.skip("needs a file of another user, so root")
    os.chown(daemon.path, 0, 54321)
    os.chmod(daemon.path, 0o660)
    assert_fails(as_nobody(directory, "--socket", daemon.path, "get"), NOT_ALLOWED, "group 54321")


def test_socket_whose_mode_shuts_its_group_out_is_told_with_the_mode(daemon, directory):
    os.chmod(daemon.path, 0o400)
    assert_fails(as_nobody(directory, "--socket", daemon.path, "get"), NOT_ALLOWED, "mode 0400")


def test_directory_that_is_in_the_way_is_named(directory):
    (directory / "shut").mkdir(mode=0o700)
    inner = Daemon(directory / "shut" / "s")
    try:
        os.chmod(directory / "shut", 0o600)
        result = as_nobody(directory, "--socket", inner.path, "get")
        assert_fails(result, NOT_ALLOWED, "permission denied", f"{directory}/shut has mode 0600")
    finally:
        os.chmod(directory / "shut", 0o700)
        inner.stop()


def test_hanging_daemon_is_left_after_the_timeout(daemon):
    daemon.answers["/v1/token"] = Answer(hangs=True)
    assert_fails(ask(daemon, "--timeout", "1", "get"), UNREACHABLE, "within 1 s", "--timeout")


def test_daemon_that_hangs_in_its_answer_is_left_after_the_timeout(directory):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "s"))
    listener.listen()
    try:
        client = subprocess.Popen(
            [str(MRTOKEN), "--socket", str(directory / "s"), "--timeout", "1", "get"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        out, error = client.communicate(timeout=60)
        connection.close()
    finally:
        listener.close()
    assert (client.returncode, out) == (UNREACHABLE, b"")
    assert b"within 1 s" in error


def test_daemon_that_closes_without_an_answer_is_told(daemon):
    daemon.answers["/v1/token"] = Answer(raw=b"")
    assert_fails(ask(daemon, "get"), UNREACHABLE, "closed the connection without an answer")


# ---- standard output ---------------------------------------------------------------------------

WRITERS = {
    "get": ["get"], "get --json": ["get", "--json"], "list": ["list"],
    "list --json": ["list", "--json"], "status": ["status"], "--help": ["--help"],
    "verb's help": ["get", "--help"], "--version": ["--version"],
}


@pytest.fixture
def answering(daemon):
    daemon.answers["/v1/token"] = as_json({"token": TOKEN})
    daemon.answers["/v1/accounts"] = as_json(accounts(account()))
    return daemon


@pytest.fixture(params=WRITERS.values(), ids=WRITERS.keys())
def writer(request, daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(account()))
    is_json = "--json" in request.param
    daemon.answers["/v1/token"] = as_json({"token": TOKEN}) if is_json else Answer(body=TOKEN)
    return ["--socket", daemon.path, *request.param]


def test_full_device_is_a_failure(writer):
    with open("/dev/full", "wb") as full:
        result = run(*writer, stdout=full)
    assert result.returncode == FAILURE
    assert b"cannot write to standard output: No space left on device" in result.stderr


def test_closed_pipe_is_a_failure(writer):
    reader, end = os.pipe()
    os.close(reader)
    try:
        result = run(*writer, stdout=end)
    finally:
        os.close(end)
    assert result.returncode == FAILURE
    assert b"cannot write to standard output: Broken pipe" in result.stderr


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_no_socket_takes_the_place_of_a_closed_standard_descriptor(daemon, fd):
    daemon.answers["/v1/accounts"] = Answer(hangs=True)
    client = subprocess.Popen([str(MRTOKEN), "--socket", daemon.path, "list"],
                              preexec_fn=lambda: os.close(fd), env=environment())
    try:
        assert daemon.was_asked.wait(60)
        assert os.readlink(f"/proc/{client.pid}/fd/{fd}") == "/dev/null"
    finally:
        client.kill()
        client.wait(60)


def test_closed_standard_output_is_a_failure(writer):
    result = run(*writer, stdout=None, preexec_fn=lambda: os.close(1))
    assert result.returncode == FAILURE
    assert b"cannot write to standard output: Bad file descriptor" in result.stderr


def test_closed_standard_error_does_not_move_messages_elsewhere(daemon):
    daemon.answers["/v1/token"] = refusal(503, "no_valid_token", "not yet")
    result = subprocess.run(
        [str(MRTOKEN), "--socket", daemon.path, "get"], stdout=subprocess.PIPE,
        preexec_fn=lambda: os.close(2), env=environment(), timeout=60)
    assert (result.returncode, result.stdout) == (NO_TOKEN, b"")


def test_slow_reader_of_a_nonblocking_pipe_gets_all(daemon):
    token = "A" * (MIB - 1)
    daemon.answers["/v1/token"] = Answer(body=token)
    reader, end = os.pipe()
    os.set_blocking(end, False)
    client = subprocess.Popen([str(MRTOKEN), "--socket", daemon.path, "get"], stdout=end,
                              stderr=subprocess.PIPE, env=environment())
    os.close(end)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read().decode() == token + "\n"
    client.communicate(timeout=60)
    assert client.returncode == OK


@pytest.mark.parametrize("option", [None, "--json"])
def test_token_stands_in_one_place_of_memory_when_it_is_written(daemon, option):
    if os.geteuid() != 0:
        pytest.skip("needs to read the memory of a process that is not dumpable, so root")
    daemon.answers["/v1/token"] = as_json({"token": TOKEN}) if option else Answer(body=TOKEN)
    reader, end = os.pipe()
    os.write(end, b"-" * fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096))  # so that it waits there
    option = [option] if option else []
    args = [*without_hiding(), str(MRTOKEN), "--socket", daemon.path, "get", *option]
    # The first call of a function in a lazily bound program saves the vector registers, through
    # which the token has gone, on the stack. The hardened build binds at once; the others here.
    env = environment(LD_BIND_NOW="1")
    client = subprocess.Popen(args, stdout=end, stderr=subprocess.PIPE, env=env)
    os.close(end)
    try:
        while not pathlib.Path(f"/proc/{client.pid}/syscall").read_text().startswith("1 0x1 "):
            assert client.poll() is None
        found = sum(held.count(TOKEN.encode()) for _, held in memory_of(client.pid))
    finally:
        with os.fdopen(reader, "rb") as pipe:
            out = pipe.read()
        client.communicate(timeout=60)
    assert (client.returncode, found) == (OK, 1)
    assert TOKEN.encode() in out


# ---- list --------------------------------------------------------------------------------------


def test_list_prints_a_line_for_each_account_and_marks_the_default(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(
        account("anchors"),
        account("storage", kind="entra", account_id=None, account_domain=None)))
    result = ask(daemon, "list")
    assert result.returncode == OK
    assert [line.split() for line in result.stdout.decode().splitlines()] == [
        ["anchors", "mixed_reality", "11111111-2222-3333-4444-555555555555",
         "eastus2.mixedreality.azure.com", "default"],
        ["storage", "entra", "-", "-", "-"],
    ]


def test_list_aligns_its_columns_and_leaves_no_space_at_line_ends(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(account("a"), account("longer-name")))
    lines = ask(daemon, "list").stdout.decode().splitlines()
    assert lines[0].index("mixed_reality") == lines[1].index("mixed_reality")
    assert all(line == line.rstrip() for line in lines)


def test_list_of_no_accounts_is_empty(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(default=None))
    result = ask(daemon, "list")
    assert (result.returncode, result.stdout) == (OK, b"")


def test_list_of_ten_thousand_accounts_is_printed(daemon):
    many = [account(f"account-{i:05}", last_error=LAST_ERROR) for i in range(10000)]
    daemon.answers["/v1/accounts"] = as_json(accounts(*many))
    assert len(ask(daemon, "list").stdout.splitlines()) == 10000


@pytest.mark.parametrize("verb", ["list", "status"])
def test_json_of_list_and_status_is_the_daemons(daemon, verb):
    listing = accounts(account())
    daemon.answers["/v1/accounts"] = as_json(listing)
    assert json.loads(ask(daemon, verb, "--json").stdout) == listing


NOT_A_LIST = {
    "not json": (Answer(body="hello"), "not a JSON object"),
    "empty": (Answer(body=""), "not a JSON object"),
    "array": (as_json([]), "not a JSON object"),
    "truncated": (Answer(body=json.dumps(accounts(account()))[:-2]), "not a JSON object"),
    "two objects": (Answer(body="{}{}"), "not a JSON object"),
    "too deep": (Answer(body='{"accounts":' + "[" * 5000), "not a JSON object"),
    "bad utf-8": (Answer(body=b'{"accounts":[],"x":"\xff"}'), "not a JSON object"),
    "no accounts": (as_json({"default_account": None}), "accounts should be an array"),
    "accounts null": (as_json({"accounts": None}), "accounts should be an array"),
    "accounts object": (as_json({"accounts": {}}), "accounts should be an array, but is object"),
    "account string": (as_json({"accounts": ["x"]}), "accounts[0].name should be a string"),
    "account null": (as_json({"accounts": [None]}), "accounts[0].name should be a string"),
    "no name": (as_json(accounts(account(), {"kind": "x"})), "accounts[1].name"),
    "name number": (as_json(accounts(account(5))),
                    "accounts[0].name should be a string, but is int"),
}


@pytest.mark.parametrize("answer, words", NOT_A_LIST.values(), ids=NOT_A_LIST.keys())
@pytest.mark.parametrize("verb", ["list", "status"])
def test_listing_that_is_not_as_agreed_is_a_failure_that_says_where(daemon, verb, answer, words):
    daemon.answers["/v1/accounts"] = answer
    assert_fails(ask(daemon, verb), FAILURE, "the answer is not understood", words)


@pytest.mark.parametrize("verb, member, value", [
    ("list", "kind", None), ("list", "account_id", 5), ("list", "account_domain", {}),
    ("status", "state", None), ("status", "state", 1), ("status", "expires_in", "soon"),
    ("status", "expires_in", 1.5), ("status", "refresh_in", []), ("status", "last_error", "bad"),
    ("status", "last_error", {}), ("status", "last_error", {**LAST_ERROR, "code": 5}),
    ("status", "last_error", {**LAST_ERROR, "status": "401"}),
    ("status", "last_error", {**LAST_ERROR, "correlation_vector": 5}),
])
def test_member_of_a_wrong_type_is_named(daemon, verb, member, value):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(**{member: value})))
    assert_fails(ask(daemon, verb), FAILURE, f"accounts[0].{member}")


def test_default_account_of_a_wrong_type_is_named(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(), default=5))
    assert_fails(ask(daemon, "list"), FAILURE, "default_account should be a string, but is int")


# ---- status ------------------------------------------------------------------------------------


def test_status_is_a_table(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(
        account("anchors"),
        account("rendering", state="degraded", refresh_in=42, failures=3, last_error=LAST_ERROR),
        account("new", state="starting", expires_in=None, refresh_in=None)))
    result = ask(daemon, "status")
    assert (result.returncode, result.stderr) == (OK, b"")
    lines = result.stdout.decode().splitlines()
    rows = [re.split(r" {2,}", line) for line in lines]
    assert rows == [
        ["ACCOUNT", "STATE", "EXPIRES IN", "REFRESHES IN", "LAST ERROR"],
        ["anchors", "valid", "11h 59m", "2m 5s", "-"],
        ["rendering", "degraded", "11h 59m", "42s",
         LAST_ERROR["message"] + " (denied, HTTP 401, 3 failures, MS-CV abcDEF123.0)"],
        ["new", "starting", "-", "-", "-"],
    ]
    assert len({line.index(cell) for line, cell in zip(lines, ["STATE", "valid", "degraded",
                                                               "starting"])}) == 1


def test_status_of_one_account_shows_it_alone(daemon):
    daemon.answers["/v1/accounts/anchors"] = as_json(account())
    lines = ask(daemon, "status", "anchors").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["ACCOUNT", "anchors"]
    assert json.loads(ask(daemon, "status", "anchors", "--json").stdout) == account()


@pytest.mark.parametrize("seconds, words", [
    (1, "1s"), (42, "42s"), (59, "59s"), (60, "1m 0s"), (3599, "59m 59s"), (3600, "1h 0m"),
    (43199, "11h 59m"), (86399, "23h 59m"), (86400, "1d 0h"), (90000, "1d 1h"), (0, "expired"),
    (-5, "expired"), (2 ** 63 - 1, "106751991167300d 15h"), (-2 ** 63, "expired"), (None, "-"),
])
def test_durations_are_readable(daemon, seconds, words):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(expires_in=seconds)))
    line = ask(daemon, "status").stdout.decode().splitlines()[1]
    assert re.split(r" {2,}", line)[2] == words


def test_refresh_that_is_due_is_now(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(refresh_in=-1)))
    assert re.split(r" {2,}", ask(daemon, "status").stdout.decode().splitlines()[1])[3] == "now"


@pytest.mark.parametrize("state", ["starting", "valid", "degraded", "failed", "of the future"])
def test_status_answers_with_zero_whatever_the_states_are(daemon, state):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(state=state)))
    result = ask(daemon, "status")
    assert result.returncode == OK
    assert state in result.stdout.decode()


def test_control_characters_in_the_table_are_replaced(daemon):
    error = {**LAST_ERROR, "message": "a\x1b[2Jb\x00c\r\nd"}
    daemon.answers["/v1/accounts"] = as_json(accounts(account("x\x1by", last_error=error)))
    out = ask(daemon, "status").stdout
    assert b"a?[2Jb?c??d" in out and b"x?y" in out and b"\x1b" not in out


def on_a_terminal(args, columns=120, **changes):
    """Run with standard output on a terminal; returns the exit code and what arrived there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    client = subprocess.Popen([str(MRTOKEN), *args], stdin=slave, stdout=slave,
                              stderr=subprocess.PIPE, env=environment(**changes))
    os.close(slave)
    out = b""
    while select.select([master], [], [], 60)[0]:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        out += part
    os.close(master)
    client.communicate(timeout=60)
    return client.returncode, out.decode().replace("\r\n", "\n")


STATES = [("starting", "36"), ("valid", "32"), ("degraded", "33"), ("failed", "31")]


@pytest.mark.parametrize("state, colour", STATES)
def test_states_are_coloured_on_a_terminal(daemon, state, colour):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(state=state)))
    code, out = on_a_terminal(["--socket", daemon.path, "status"])
    assert code == OK
    assert f"\x1b[{colour}m{state}\x1b[0m" in out


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(answering, changes):
    code, out = on_a_terminal(["--socket", answering.path, "status"], **changes)
    assert code == OK
    assert "anchors" in out and "\x1b" not in out


def test_no_colour_when_piped(answering):
    assert b"\x1b" not in ask(answering, "status").stdout


def test_colour_changes_no_column(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(
        account("a", state="valid"), account("b", state="degraded")))
    _, coloured = on_a_terminal(["--socket", daemon.path, "status"])
    plain = ask(daemon, "status").stdout.decode()
    assert re.sub(r"\x1b\[[0-9]*m", "", coloured) == plain


@pytest.mark.parametrize("columns", [80, 100, 132])
def test_long_errors_are_cut_to_the_terminal(daemon, columns):
    error = {**LAST_ERROR, "message": "x" * 500}
    daemon.answers["/v1/accounts"] = as_json(accounts(account(last_error=error)))
    _, out = on_a_terminal(["--socket", daemon.path, "status"], columns=columns, NO_COLOR="1")
    lines = out.splitlines()
    assert len(lines) == 2
    assert len(lines[1]) == columns and lines[1].endswith("xxx...")


def test_terminals_that_are_too_narrow_still_show_a_piece_of_the_error(daemon):
    daemon.answers["/v1/accounts"] = as_json(accounts(account(last_error=LAST_ERROR)))
    _, out = on_a_terminal(["--socket", daemon.path, "status"], columns=20, NO_COLOR="1")
    assert out.splitlines()[1].endswith("  the STS...")


@pytest.mark.parametrize("changes, width", [({"COLUMNS": "90"}, 90), ({}, 80),
                                            ({"COLUMNS": "many"}, 80)])
def test_terminal_that_does_not_know_its_width_is_as_wide_as_columns_says(daemon, changes, width):
    error = {**LAST_ERROR, "message": "x" * 500}
    daemon.answers["/v1/accounts"] = as_json(accounts(account(last_error=error)))
    _, out = on_a_terminal(["--socket", daemon.path, "status"], columns=0, NO_COLOR="1", **changes)
    assert len(out.splitlines()[1]) == width


def test_token_is_printed_the_same_on_a_terminal(daemon):
    daemon.answers["/v1/token"] = Answer(body=TOKEN)
    assert on_a_terminal(["--socket", daemon.path, "get"]) == (OK, TOKEN + "\n")


# ---- check -------------------------------------------------------------------------------------

GOOD = """\
[account anchors]
account_id     = 11111111-2222-3333-4444-555555555555
account_domain = eastus2.mixedreality.azure.com
credential     = account_key
account_key    = file:{key}
"""


@pytest.fixture
def configuration(directory):
    key = directory / "key"
    key.write_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")
    key.chmod(0o600)
    file = directory / "mrtokend.conf"
    file.write_text(GOOD.format(key=key))
    return file


def test_check_prints_what_it_understood_and_no_secret(configuration):
    result = run("check", "--config", configuration)
    assert (result.returncode, result.stderr) == (OK, b"")
    assert b"anchors" in result.stdout and b"eastus2.mixedreality.azure.com" in result.stdout
    assert b"MDEyMzQ1Njc4" not in result.stdout


def test_check_tells_every_problem_with_file_and_line(configuration):
    configuration.write_text(
        configuration.read_text().replace("account_id", "acount_id").replace("credential ",
                                                                             "credental "))
    result = run("check", "--config", configuration)
    error = result.stderr.decode()
    assert (result.returncode, result.stdout) == (CONFIGURATION, b"")
    assert f"{configuration}:2: " in error and f"{configuration}:4: " in error
    assert "account_id" in error
    assert re.search(r"^mrtoken: the configuration is not valid: \d+ problems$", error, re.M)


def test_check_of_a_file_that_is_not_there_is_a_configuration_problem(directory):
    result = run("check", "--config", directory / "none.conf")
    assert (result.returncode, result.stdout) == (CONFIGURATION, b"")
    assert f"{directory}/none.conf" in result.stderr.decode()


def test_check_asks_no_daemon(daemon, configuration):
    assert ask(daemon, "check", "--config", configuration).returncode == OK
    assert daemon.requests == []


# ---- the command line --------------------------------------------------------------------------


@pytest.mark.parametrize("args, words", [
    ([], ["no command", "mrtoken --help"]),
    (["gte"], ['unknown command "gte"', 'Did you mean "get"?']),
    (["frobnicate"], ['unknown command "frobnicate"', "get, list, status, refresh, login, check"]),
    (["get", "--jsno"], ['unknown option "--jsno"', "Did you mean --json?"]),
    (["--scoket=/x", "get"], ['unknown option "--scoket=/x"', "Did you mean --socket?"]),
    (["get", "--frobnicate"], ['unknown option "--frobnicate"', "mrtoken --help"]),
    (["get", "-x"], ['unknown option "-x"']),
    (["get", "a", "b"], ['"b" is one word too many', "mrtoken get [ACCOUNT]"]),
    (["list", "a"], ['"a" is one word too many']),
    (["login"], ['the command "login" needs an account', "mrtoken login ACCOUNT"]),
    (["login", "a", "b"], ['"b" is one word too many', "mrtoken login ACCOUNT"]),
    (["login", "--json", "a"], ['the command "login" takes no --json']),
    (["get", ""], ["empty"]),
    (["list", "--header"], ['the command "list" takes no --header']),
    (["--json", "check"], ['the command "check" takes no --json']),
    (["get", "--config", "x"], ['the command "get" takes no --config']),
    (["get", "--json", "--header"], ["--json and --header exclude each other"]),
    (["get", "--json=yes"], ["--json takes no value"]),
    (["get", "--socket"], ["--socket needs a value: --socket PATH"]),
    (["--socket=", "get"], ["--socket needs a value"]),
    (["--socket", "", "get"], ["--socket needs a value"]),
    (["get", "--socket", "/" + "x" * 107], ["108 bytes long", "107"]),
    (["get", "--timeout", "0"], ['--timeout "0"', "1 to 3600"]),
    (["get", "--timeout", "3601"], ["1 to 3600"]),
    (["get", "--timeout", "1s"], ["1 to 3600"]),
])
def test_wrong_command_line_is_told_with_what_was_probably_meant(args, words):
    assert_fails(run(*args), USAGE, *words)


def test_socket_path_of_the_environment_that_is_too_long_is_told():
    assert_fails(run("get", env=environment(MRTOKEN_SOCKET="/" + "x" * 200)), USAGE, "201 bytes")


def test_version_is_printed():
    for option in ("--version", "-V"):
        result = run(option)
        assert result.returncode == OK
        assert re.fullmatch(r"mrtoken \d+\.\d+\.\d+\S*\n", result.stdout.decode())


@pytest.fixture(scope="module")
def help_text():
    result = run("--help")
    assert (result.returncode, result.stderr) == (OK, b"")
    return result.stdout.decode()


VERBS = ["get", "list", "status", "refresh", "login", "check"]


def section(text, title):
    return re.search(rf"^{title}:\n((?:  .*\n)+)", text, re.M).group(1)


def options_in(text):
    return re.findall(r"^  (?:-\w, )?(--[a-z]+)( [A-Z]+)?", section(text, "Options"), re.M)


def test_help_lists_every_command(help_text):
    assert re.findall(r"^  (\w+)", section(help_text, "Commands"), re.M) == VERBS


def test_help_lists_every_exit_code(help_text):
    assert re.findall(r"^  (\d+) +\w", section(help_text, "Exit codes"), re.M) == list("0123456789")


def test_help_lists_the_environment(help_text):
    assert re.findall(r"^  ([A-Z_]+) +\w", section(help_text, "Environment"), re.M) == [
        "MRTOKEN_SOCKET", "NO_COLOR"]


def test_help_fits_a_terminal(help_text):
    for text in [help_text, *(run(verb, "--help").stdout.decode() for verb in VERBS)]:
        assert max(map(len, text.splitlines())) <= 88
        assert "\n\n\n" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_in_a_commands_help_is_accepted_by_it(directory, configuration, verb):
    result = run(verb, "-h")
    assert (result.returncode, result.stderr) == (OK, b"")
    text = result.stdout.decode()
    assert text.startswith(f"Usage: mrtoken {verb} ")
    values = {"--socket": directory / "none", "--timeout": 1, "--config": configuration,
              "--probe": "none"}
    for option, argument in options_in(text):
        args = [option, values[option]] if argument else [option]
        if option != "--socket":
            args += ["--socket", directory / "none"]
        if verb == "check" and option != "--config":
            args += ["--config", configuration]
        if verb in ("login", "refresh"):
            args += ["anchors"]
        expected = (NO_ACCOUNT,) if option == "--probe" else (OK, UNREACHABLE)
        assert run(verb, *args).returncode in expected, option


def test_commands_help_lists_options_that_the_programs_help_lists(help_text):
    all_options = {option for option, _ in options_in(help_text)}
    assert all_options == {option for verb in VERBS
                           for option, _ in options_in(run(verb, "--help").stdout.decode())}


# ---- login -------------------------------------------------------------------------------------

LOGIN = "/v1/accounts/anchors/login"


def login_state(state, error=None, **changes):
    """What the daemon says of a login. (A real daemon's: test_login.py.)"""
    is_pending = state == "pending"
    return {
        "account": "anchors",
        "state": state,
        "user_code": "ABCD-1234" if is_pending else None,
        "verification_uri": "https://login.example/device" if is_pending else None,
        "message": "enter ABCD-1234 at https://login.example/device" if is_pending else None,
        "expires_in": 900 if is_pending else None,
        "interval": 5 if is_pending else None,
        "error": error,
        **changes,
    }


def answer_login(daemon, first, then):
    daemon.answers[f"POST {LOGIN}"] = as_json(first, 202)
    daemon.answers[LOGIN] = as_json(then)


def test_login_asks_until_it_is_done(daemon):
    answer_login(daemon, login_state("pending"), login_state("done"))
    result = ask(daemon, "login", "anchors")
    assert (result.returncode, result.stdout) == (OK, b"logged in to anchors\n")
    assert daemon.paths() == [f"POST {LOGIN}", LOGIN]
    assert b"enter ABCD-1234 at https://login.example/device\n" in result.stderr


def test_login_posts_nothing(daemon):
    answer_login(daemon, login_state("done"), login_state("done"))
    assert ask(daemon, "login", "anchors").returncode == OK
    ((_, headers),) = daemon.requests
    assert headers.get("Content-Length", "0") == "0"
    assert "Content-Type" not in headers and "Transfer-Encoding" not in headers


def test_login_names_the_account_in_the_path_safely(daemon):
    ask(daemon, "login", "a/b?c")
    assert daemon.paths()[0] == "POST /v1/accounts/a%2Fb%3Fc/login"


def test_login_tells_why_it_failed(daemon):
    error = {"code": "denied", "message": "the sign-in was declined"}
    answer_login(daemon, login_state("starting"), login_state("failed", error))
    assert_fails(ask(daemon, "login", "anchors"), NO_LOGIN,
                 "nobody was logged in: the sign-in was declined")


def test_login_begins_again_where_the_daemon_gave_it_up_but_not_for_ever(daemon):
    answer_login(daemon, login_state("starting"), login_state("none"))
    assert_fails(ask(daemon, "login", "anchors"), NO_LOGIN, "again and again", "reloaded")
    assert daemon.paths() == [f"POST {LOGIN}", LOGIN] * 3


def test_login_replaces_control_characters_of_what_it_shows(daemon):
    answer_login(daemon, login_state("pending", message="\x1b[2Jgo", user_code="A\x07B"),
                 login_state("done"))
    result = ask(daemon, "login", "anchors")
    assert result.returncode == OK
    assert b"\x1b" not in result.stderr and b"?[2Jgo" in result.stderr and b"A?B" in result.stderr


@pytest.mark.parametrize("answer, words", [
    (login_state("dancing"), ['state is "dancing"']),
    (login_state(None), ["state should be a string"]),
    (login_state("pending", user_code=None), ["user_code should be a string"]),
    (login_state("pending", verification_uri=7), ["verification_uri should be a string"]),
    (login_state("pending", message=None), ["message should be a string"]),
    (login_state("pending", expires_in="900"), ["expires_in should be a whole number"]),
    (login_state("failed", error="no"), ["error should be an object"]),
    (login_state("failed", error={}), ["error.message should be a string"]),
    ([], ["not a JSON object"]),
])
def test_login_refuses_an_answer_that_it_does_not_understand(daemon, answer, words):
    answer_login(daemon, answer, answer)
    assert_fails(ask(daemon, "login", "anchors"), FAILURE, "not understood", *words)


@pytest.mark.parametrize("answer, code, words", [
    (refusal(404, "not_found", "no such account"), NO_ACCOUNT, ['no account "anchors"']),
    (refusal(409, "no_login", "nobody logs in to it"), NO_LOGIN,
     ["there is no login: nobody logs in to it"]),
    (refusal(403, "not_allowed", "not you"), NOT_ALLOWED, ["you are not allowed: not you", "PEERS"]),
    (refusal(500, "broken", "broken"), FAILURE, ["HTTP status 500"]),
])
def test_login_tells_what_the_daemon_refused(daemon, answer, code, words):
    daemon.answers[f"POST {LOGIN}"] = answer
    assert_fails(ask(daemon, "login", "anchors"), code, *words)


def test_login_goes_on_when_a_signal_that_was_to_be_ignored_comes(daemon):
    answer_login(daemon, login_state("pending"), login_state("pending"))
    client = subprocess.Popen(
        [str(MRTOKEN), "--socket", daemon.path, "login", "anchors"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    while b"ABCD-1234" not in client.stderr.readline():
        pass
    client.send_signal(signal.SIGINT)
    answer_login(daemon, login_state("done"), login_state("done"))
    out, _ = client.communicate(timeout=60)
    assert (client.returncode, out) == (OK, b"logged in to anchors\n")


# ---- the manual --------------------------------------------------------------------------------

MANUAL = ROOT / "man" / "mrtoken.1"


def test_manual_names_every_command_option_variable_and_exit_code(help_text):
    manual = MANUAL.read_text()
    for verb in VERBS:
        assert re.search(rf"^\.(It|Ss|Ic).*\b{verb}\b", manual, re.M), verb
    for option, _ in options_in(help_text):
        assert re.search(rf"Fl (\w , )?Fl? ?\\?-?{option[1:]}\b", manual) or \
            f"Fl -{option[2:]}" in manual, option
    for variable in ("MRTOKEN_SOCKET", "NO_COLOR", "COLUMNS", "TERM"):
        assert f".It Ev {variable}" in manual
    for code in range(9):
        assert f".It Li {code}" in manual


def test_manual_is_free_of_lint():
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    result = subprocess.run(["mandoc", "-Tlint", "-W", "warning", str(MANUAL)],
                            stdout=subprocess.PIPE, timeout=60)
    assert (result.returncode, result.stdout) == (0, b"")
