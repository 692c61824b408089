"""Starting and stopping: readiness, the socket's file, the service manager, a crash."""

import contextlib
import grp
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.daemon import (
    Daemon,
    account_keys,
    account_section,
    binary,
    configuration,
    pass_sockets,
    section,
)

NOBODY = 65534
GRACE_SECONDS = 5  # how long open answers have at the end
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="changes users or groups: needs root")

def listening(path, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    if kind == socket.SOCK_STREAM:
        made.listen(16)
    return made


@pytest.fixture
def config(emulator, key_file):
    return account_section("anchors", emulator, key_file)


@pytest.fixture
def public_directory():
    """A directory that another user can work in, as opposed to tmp_path."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mrtokend-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def of_nobody(public_directory, emulator):
    """Make a daemon that runs as nobody, with all that it needs in a directory of its own."""
    key = public_directory / "anchors.key"
    key.write_text(KEY)
    os.chown(key, NOBODY, NOBODY)
    key.chmod(0o600)
    shutil.copy(emulator.ca_file, public_directory / "ca.pem")
    shutil.copy(binary("mrtokend"), public_directory / "mrtokend")
    os.chown(public_directory, NOBODY, NOBODY)
    made = []

    def make(**listener):
        one = Daemon(
            public_directory,
            section("daemon", {"ca_file": public_directory / "ca.pem"})
            + section("account anchors", account_keys(emulator, key))
            + section("listener main", {"path": public_directory / "mrtokend.sock", **listener}),
            program=str(public_directory / "mrtokend"),
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


# ---- readiness ----


def test_is_ready_only_when_it_listens(make_daemon, config):
    for _ in range(5):
        running = make_daemon(config)
        running.start()  # returns with READY=1
        assert running.get("/healthz").status == 200
        assert running.stop() == 0


def test_tells_how_many_accounts_are_valid(make_daemon, emulator, key_file):
    stranger = "99999999-0000-4000-8000-000000000000"
    emulator.add_fault("delay", delay_ms=300, account=ACCOUNT_ID)
    running = make_daemon(
        configuration(
            emulator,
            {
                "anchors": account_keys(emulator, key_file),
                "unknown": account_keys(emulator, key_file, stranger),
            },
        )
    ).start()
    ready = running.wait_for_state(lambda state: "READY=1" in state)
    assert any(line.startswith("STATUS=0 of 2 accounts have a valid token") for line in ready)
    running.wait_for_status(
        "1 of 2 accounts have a valid token; refresh fails for 1: unknown (denied)"
    )


def test_tells_what_happens_next(make_daemon, emulator, key_file):
    emulator.add_fault("delay", delay_ms=300)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_status("0 of 1 accounts have a valid token; refreshing now (anchors)")
    status = running.wait_for_status("1 of 1 accounts have a valid token")
    # Half of a day and up to a tenth of it.
    assert re.search("; next refresh in (11|12|13|14) h [(]anchors[)]$", status), status


def test_the_status_is_not_told_for_every_refresh(make_daemon, emulator, key_file):
    emulator.change_settings(token_lifetime_s=4)
    # Several, so that the one that is next is ever another.
    accounts = {f"a-{i}": account_keys(emulator, key_file) for i in range(4)}
    running = make_daemon(configuration(emulator, accounts)).start()
    running.wait_for_status("4 of 4 accounts have a valid token")
    told = len(running.states())
    emulator.wait_for_requests(16)
    assert running.states()[told:] == []


def test_stopping_is_told_before_the_end(daemon):
    assert daemon.stop() == 0
    assert "STOPPING=1" in daemon.states()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_in_order_and_leaves_no_socket_file(make_daemon, config, number):
    running = make_daemon(config).start()
    directory = running.directory
    assert running.socket.is_socket()
    assert running.stop(number) == 0
    assert sorted(path.name for path in directory.glob("mrtokend.sock*")) == []


def test_ends_at_once_during_an_exchange(make_daemon, config, emulator):
    emulator.add_fault("delay", delay_ms=20000)
    running = make_daemon(config).start()
    emulator.wait_for_requests(1)
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < GRACE_SECONDS


def test_ends_at_once_with_idle_connections(daemon):
    kept = [daemon.connect() for _ in range(20)]
    for connection in kept:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    fresh = [daemon.connect() for _ in range(20)]
    for connection in fresh:
        connection.connect()
    started = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - started < GRACE_SECONDS
    assert all(connection.sock.recv(1) == b"" for connection in kept + fresh)


def test_who_connected_before_the_stop_gets_an_answer(daemon):
    daemon.send_signal(signal.SIGSTOP)  # so that all of them wait outside
    waiting = [daemon.connect() for _ in range(200)]
    for connection in waiting:
        connection.request("GET", "/v1/token")
    daemon.send_signal(signal.SIGTERM)
    daemon.send_signal(signal.SIGCONT)
    assert [connection.getresponse().status for connection in waiting] == [200] * 200
    assert daemon.wait() == 0


def test_who_has_come_in_and_asks_as_it_stops_gets_an_answer(daemon):
    connection = daemon.connect()
    connection.connect()
    assert daemon.get("/healthz").status == 200  # came after it, so that it is inside
    daemon.send_signal(signal.SIGTERM)
    daemon.wait_for_log("stopping: ")
    connection.request("GET", "/v1/token")
    assert connection.getresponse().status == 200
    assert daemon.wait() == 0


@pytest.mark.parametrize("value", ["/nowhere/notify.sock", "not-a-path"])
def test_a_notify_socket_that_fails_is_only_a_warning(make_daemon, config, value):
    running = make_daemon(config, environment={"NOTIFY_SOCKET": value}).start(wait=False)
    running.wait_for_token("anchors")
    assert running.token()["account"] == "anchors"
    running.wait_for_log("warning: cannot notify the service manager")
    assert running.stop() == 0


def test_needs_no_service_manager(make_daemon, config):
    running = make_daemon(config, environment={"NOTIFY_SOCKET": None}).start(wait=False)
    running.wait_for_token("anchors")
    assert running.stop() == 0
    assert "service manager" not in running.log()


# ---- open answers at the end ----


@pytest.fixture
def half_read(make_daemon, emulator, key_file):
    """A daemon, and a connection on which it still writes a long answer, with what was read."""
    emulator.add_fault("delay", delay_ms=60000, count=0)
    accounts = {
        f"account-{i}": account_keys(emulator, key_file, f"7f1c3c5e-0000-4000-8001-{i:012d}")
        for i in range(2000)
    }
    running = make_daemon(configuration(emulator, accounts)).start()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(running.socket))
    connection.sendall(b"GET /v1/accounts HTTP/1.1\r\nHost: localhost\r\n\r\n")
    begun = connection.recv(1000)
    running.send_signal(signal.SIGTERM)
    running.wait_for_state(lambda state: "STOPPING=1" in state)
    yield running, connection, begun
    connection.close()


def read_on(connection, received, pause_s=0.0):
    while piece := connection.recv(16384):
        received += piece
        time.sleep(pause_s)  # what makes this client a slow one
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return length, body


def test_stop_finishes_an_open_answer(half_read):
    running, connection, begun = half_read
    length, body = read_on(connection, begun, pause_s=0.005)
    assert length > 500000, "the answer would fit the socket's buffer, and this test show nothing"
    assert len(body) == length
    assert running.wait() == 0


def test_stop_cuts_an_open_answer_after_the_grace(half_read):
    running, connection, begun = half_read
    started = time.monotonic()
    assert running.wait() == 0
    assert GRACE_SECONDS - 2 < time.monotonic() - started < 4 * GRACE_SECONDS
    length, body = read_on(connection, begun)
    assert len(body) < length


# ---- the socket's file ----


def test_replaces_the_socket_of_a_crash(daemon):
    daemon.kill()
    assert daemon.socket.is_socket()
    daemon.start()
    daemon.wait_for_token("anchors")
    assert daemon.token()["account"] == "anchors"


def test_leaves_a_live_socket_to_its_owner(daemon, config, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    text = config + section("listener main", {"path": daemon.socket})
    with contextlib.closing(Daemon(second, text)) as late:
        late.start(wait=False)
        line = late.wait_for_log("error:")
        assert late.wait() == 1
    assert line == (
        f"mrtokend: error: [listener main]: cannot listen at {daemon.socket}: another process "
        "listens there (is a mrtokend running already?)"
    )
    assert daemon.token()["account"] == "anchors"


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_leaves_what_is_no_socket_alone(make_daemon, config, kind):
    running = make_daemon(config)
    path = running.socket
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("precious")
    before = path.lstat()
    running.start(wait=False)
    line = running.wait_for_log("error:")
    assert running.wait() == 1
    assert line == (
        f"mrtokend: error: [listener main]: cannot listen at {path}: something that is no socket "
        "stands there; move it away, or choose another path"
    )
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_size) == (
        before.st_ino,
        before.st_mode,
        before.st_size,
    )


def test_a_missing_directory_is_told(make_daemon, config, tmp_path):
    path = tmp_path / "missing" / "mrtokend.sock"
    running = make_daemon(config + section("listener main", {"path": path})).start(wait=False)
    assert f"cannot listen at {path}" in running.wait_for_log("error:")
    assert running.wait() == 1


@pytest.mark.parametrize("mask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [None, "0600", "0666"])
def test_the_sockets_mode_is_that_of_the_configuration(make_daemon, config, mask, mode):
    path = make_daemon(None).socket
    listener = section("listener main", {"path": path, "mode": mode})
    running = make_daemon(config + listener, umask=mask).start()
    assert stat.S_IMODE(running.socket.stat().st_mode) == int(mode or "0660", 8)


@ROOT_ONLY
@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_the_sockets_group_is_that_of_the_configuration(make_daemon, config, mask):
    group = grp.getgrall()[-1]
    path = make_daemon(None).socket
    listener = section("listener main", {"path": path, "group": group.gr_name, "mode": "0620"})
    running = make_daemon(config + listener, umask=mask).start()
    found = running.socket.stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group.gr_gid, 0o620)


@ROOT_ONLY
def test_serves_as_an_unprivileged_user(of_nobody):
    running = of_nobody().start()
    running.wait_for_token("anchors")
    assert running.token()["account"] == "anchors"
    assert running.socket.stat().st_uid == NOBODY


@ROOT_ONLY
def test_a_group_of_others_is_refused_with_advice(of_nobody):
    running = of_nobody(group="root").start(wait=False)
    line = running.wait_for_log("error:")
    assert running.wait() == 1
    assert "its group; the daemon's user must be a member of it, or root" in line
    assert not running.socket.exists()


# ---- socket activation ----


def test_takes_passed_sockets_by_name(make_daemon, config, tmp_path):
    one, two = listening(tmp_path / "1.sock"), listening(tmp_path / "2.sock")
    listeners = section("listener first", {"path": tmp_path / "elsewhere-1.sock"}) + section(
        "listener second", {"path": tmp_path / "elsewhere-2.sock"}
    )
    passed = pass_sockets([("second", two), ("first", one)])
    running = make_daemon(config + listeners, **passed).start()
    for path in ("1.sock", "2.sock"):
        assert running.get("/healthz", path=tmp_path / path).status == 200
    assert list(tmp_path.glob("elsewhere-*")) == []
    assert "belongs to no listener" not in running.log()


def test_takes_the_only_passed_socket_whatever_its_name(make_daemon, config, tmp_path):
    made = listening(tmp_path / "passed.sock")
    running = make_daemon(config, **pass_sockets([("mrtokend.socket", made)])).start()
    assert running.get("/healthz", path=tmp_path / "passed.sock").status == 200
    assert not running.socket.exists()


def test_serves_who_connected_before_the_start(make_daemon, config, tmp_path):
    made = listening(tmp_path / "passed.sock")
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(str(tmp_path / "passed.sock"))
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        early.settimeout(60)
        make_daemon(config, **pass_sockets([("main", made)])).start()
        assert early.recv(100).startswith(b"HTTP/1.1 200 ")


def test_leaves_a_passed_sockets_file_when_it_stops(make_daemon, config, tmp_path):
    made = listening(tmp_path / "passed.sock")
    running = make_daemon(config, **pass_sockets([("main", made)])).start()
    assert running.stop() == 0
    assert (tmp_path / "passed.sock").is_socket()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "passed.sock"))  # waits in the queue for the next start


def test_a_passed_socket_survives_a_reload(make_daemon, config, tmp_path):
    made = listening(tmp_path / "passed.sock")
    running = make_daemon(config, **pass_sockets([("main", made)])).start()
    running.reload()
    assert running.get("/healthz", path=tmp_path / "passed.sock").status == 200


@pytest.mark.parametrize("kind", ["tcp", "datagram", "not listening"])
def test_refuses_a_passed_descriptor_of_another_kind(make_daemon, config, tmp_path, kind):
    if kind == "tcp":
        made = socket.create_server(("127.0.0.1", 0))
    elif kind == "datagram":
        made = listening(tmp_path / "passed.sock", socket.SOCK_DGRAM)
    else:
        made = socket.socket(socket.AF_UNIX)
    running = make_daemon(config, **pass_sockets([("main", made)])).start(wait=False)
    line = running.wait_for_log("error:")
    assert running.wait() == 1
    assert "the descriptor that was passed for [listener main] is not a listening Unix" in line


def test_warns_of_a_passed_socket_that_nobody_claims(make_daemon, config, tmp_path):
    made = [("main", listening(tmp_path / "1.sock")), ("other", listening(tmp_path / "2.sock"))]
    running = make_daemon(config, **pass_sockets(made)).start()
    assert running.wait_for_log("warning: the socket that was passed as 'other' belongs to no")
    assert running.get("/healthz", path=tmp_path / "1.sock").status == 200


def test_sockets_that_were_passed_to_another_process_are_not_taken(make_daemon, config):
    running = make_daemon(config, environment={"LISTEN_PID": "1", "LISTEN_FDS": "1"}).start()
    assert running.get("/healthz").status == 200


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd's tool")
def test_starts_under_systemd_socket_activate(make_daemon, config, tmp_path):
    tool = ["systemd-socket-activate", "--fdname=main", "-l", str(tmp_path / "passed.sock")]
    running = make_daemon(config, wrap=[*tool, "-E", "NOTIFY_SOCKET"])
    running.start(wait=False)
    running.wait_for_log("Listening on")
    assert running.get("/healthz", path=tmp_path / "passed.sock").status == 200


# ---- a container, a crash, secrets ----


def container_environment(emulator, **more):
    return {
        "MIXEDREALITY_ACCOUNT_DOMAIN": f"localhost:{emulator.sts.rsplit(':', 1)[1]}",
        "MIXEDREALITY_ACCOUNT_ID": ACCOUNT_ID,
        "SSL_CERT_FILE": emulator.ca_file,
        **more,
    }


@pytest.fixture(params=["MIXEDREALITY_ACCOUNT_KEY", "MIXEDREALITY_ACCOUNT_KEY_FILE"])
def contained(request, make_daemon, emulator, key_file):
    value = KEY if request.param == "MIXEDREALITY_ACCOUNT_KEY" else str(key_file)
    environment = container_environment(emulator, **{request.param: value})
    running = make_daemon("", environment=environment).start()
    running.wait_for_token("default")
    return running


def test_serves_the_account_of_the_environment(contained):
    assert contained.get("/v1/token").json()["account_id"] == ACCOUNT_ID


def test_reload_keeps_the_account_of_the_environment(contained):
    contained.reload()
    assert contained.get("/v1/token").json()["account"] == "default"


@ROOT_ONLY
def test_needs_no_file_where_the_environment_names_an_account(make_daemon, emulator):
    environment = container_environment(emulator, MIXEDREALITY_ACCOUNT_KEY=KEY)
    shown = subprocess.run(
        [binary("mrtokend"), "--check-config"], env=environment, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    path = pathlib.Path(shown.stdout.split("path = ")[1].split("\n")[0])
    if "# read /" in shown.stdout or path.parent.exists():
        pytest.skip("this machine has a mrtokend of its own")
    path.parent.mkdir(parents=True)
    try:
        running = make_daemon(None, arguments=[], environment=environment).start()
        running.wait_for_token("default")
        assert running.get("/v1/token", path=path).status == 200
        assert running.stop() == 0
    finally:
        path.parent.rmdir()


def test_a_secret_is_neither_in_the_process_nor_in_the_log(make_daemon, emulator):
    environment = container_environment(emulator, MIXEDREALITY_ACCOUNT_KEY=KEY)
    config = "[daemon]\nlog_level = debug\n"
    running = make_daemon(config, environment=environment).start()
    running.wait_for_token("default")
    token = running.get("/v1/token").json()["token"]
    process = pathlib.Path(f"/proc/{running.pid}")
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    seen += running.log().encode() + repr(running.states()).encode()
    assert b"MIXEDREALITY_ACCOUNT_ID" in seen
    for secret in (KEY.encode(), token.encode(), token.split(".")[2].encode()):
        assert secret not in seen


def test_is_ready_again_after_a_crash_before_the_sts_answers(daemon, emulator):
    daemon.kill()
    emulator.clear_requests()
    emulator.add_fault("delay", delay_ms=1000)
    daemon.start()
    (pending,) = emulator.wait_for_requests(1)
    assert pending["status"] == 0
    answer = daemon.get("/v1/token", {"Prefer": "wait=0"})
    assert (answer.status, answer.json()["error"]["code"]) == (503, "no_valid_token")
    assert daemon.get("/v1/token").status == 200


@pytest.mark.plain_build  # it is about time
def test_serves_within_300_ms_of_the_stss_answer_after_a_crash(daemon, emulator):
    delay_ms = 500
    daemon.kill()
    emulator.clear_requests()
    emulator.add_fault("delay", delay_ms=delay_ms)
    daemon.start()
    (pending,) = emulator.wait_for_requests(1)
    answered_on = pending["received_on"] + delay_ms
    while daemon.get("/v1/token").status != 200:
        assert time.time() * 1000 < answered_on + 300
    assert time.time() * 1000 < answered_on + 300
