"""SIGHUP: the whole new configuration, or nothing of it; and nobody who asks notices."""

import signal
import socket
import stat

import pytest

from conftest import ACCOUNT_ID, KEY, SECOND_KEY
from rig.daemon import Poller, account_keys, configuration

OTHER_ID = "7f1c3c5e-0000-4000-8000-00000000cafe"


@pytest.fixture
def build(emulator, key_file, tmp_path):
    """Make a configuration of `anchors` and further accounts; listeners besides the main one."""
    emulator.put_account(OTHER_ID, KEY)

    def make(others=(), listeners=None, main=None, daemon=None, **anchors):
        accounts = {"anchors": account_keys(emulator, key_file, **anchors)}
        for name in others:
            accounts[name] = account_keys(emulator, key_file, OTHER_ID)
        main = {"path": tmp_path / "mrtokend.sock", **(main or {})}
        return configuration(
            emulator, accounts, {"main": main, **(listeners or {})}, **(daemon or {})
        )

    return make


def authorizations(requests):
    return [dict(request["headers"])["Authorization"] for request in requests]


# ---- accounts ----


def test_a_new_account_is_served(daemon, build):
    daemon.write_config(build(["rendering"]))
    daemon.reload()
    daemon.wait_for_token("rendering")
    assert daemon.token("rendering")["account_id"] == OTHER_ID
    assert [a["name"] for a in daemon.get("/v1/accounts").json()["accounts"]] == [
        "anchors",
        "rendering",
    ]


def test_a_removed_account_is_not_found(make_daemon, build):
    running = make_daemon(build(["rendering"])).start()
    running.wait_for_token("rendering")
    running.write_config(build())
    running.reload()
    assert running.get("/v1/accounts/rendering/token").status == 404
    assert running.get(f"/Accounts/{OTHER_ID}/token").status == 404
    assert len(running.get("/v1/accounts").json()["accounts"]) == 1


def test_an_unchanged_account_keeps_its_token_without_an_exchange(daemon, build, emulator):
    before = daemon.get("/v1/token")
    emulator.clear_requests()
    daemon.write_config(build(["rendering"]))
    daemon.reload()
    daemon.wait_for_token("rendering")  # so whatever else was due has been sent as well
    after = daemon.get("/v1/accounts/anchors/token")
    assert after.body == before.body
    assert after.headers["ETag"] == before.headers["ETag"]
    assert [request["path"] for request in emulator.requests()] == [f"/Accounts/{OTHER_ID}/token"]


def test_an_unchanged_account_is_still_refreshed(make_daemon, build, emulator):
    emulator.change_settings(token_lifetime_s=6)
    running = make_daemon(build()).start()
    running.wait_for_token("anchors")
    mark = running.mark()
    running.reload()
    assert running.wait_for_token("anchors", mark)


@pytest.mark.parametrize("what", ["domain", "endpoint"])
def test_an_account_that_is_another_one_now_gets_a_new_token(daemon, build, emulator, what):
    before = daemon.token()["token"]
    mark = daemon.mark()
    port = emulator.sts.rsplit(":", 1)[1]
    changes = {
        "domain": {"account_domain": "westeurope.mixedreality.azure.com"},
        "endpoint": {"endpoint": f"https://localhost:{port}"},
    }
    daemon.write_config(build(**changes[what]))
    daemon.reload()
    daemon.wait_for_token("anchors", mark)
    after = daemon.token()
    assert after["token"] != before
    key, value = next(iter(changes[what].items()))
    assert daemon.account()[key] == value


def test_a_rotated_key_is_taken_over_without_a_failed_request(
    make_daemon, build, emulator, key_file
):
    emulator.change_settings(token_lifetime_s=6)
    running = make_daemon(build()).start()
    running.wait_for_token("anchors")
    with Poller(running) as poller:
        since = running.mark()
        emulator.clear_requests()
        emulator.put_account(ACCOUNT_ID, SECOND_KEY)  # from now on the old key is refused
        key_file.write_text(SECOND_KEY)
        running.reload()
        running.wait_for_token("anchors", since)
        poller.wait_for_answers()
    assert set(authorizations(emulator.requests())) == {f"Bearer {ACCOUNT_ID}:{SECOND_KEY}"}


def test_a_refused_key_that_was_put_right_is_tried_at_once(make_daemon, build, emulator, key_file):
    key_file.write_text("wrong")
    running = make_daemon(build()).start()
    running.wait_for_failure("anchors")  # it would wait for minutes now
    key_file.write_text(KEY)
    running.reload()
    running.wait_for_token("anchors")


def test_the_default_account_may_change(make_daemon, build):
    running = make_daemon(build(["rendering"], daemon={"default_account": "anchors"})).start()
    running.wait_for_token("anchors")
    running.wait_for_token("rendering")
    assert running.get("/v1/token").json()["account"] == "anchors"
    running.write_config(build(["rendering"], daemon={"default_account": "rendering"}))
    running.reload()
    assert running.get("/v1/token").json()["account"] == "rendering"
    running.write_config(build(["rendering"]))
    running.reload()
    assert running.get("/v1/token").status == 404


def test_readiness_follows_what_is_required(make_daemon, build, emulator):
    emulator.add_fault("status", status=503, count=0)
    running = make_daemon(build()).start()
    assert running.get("/readyz").status == 503
    running.write_config(build(required="no"))
    running.reload()
    assert running.get("/readyz").status == 200


# ---- listeners ----


def test_a_new_listener_is_served(daemon, build, tmp_path):
    path = tmp_path / "second.sock"
    daemon.write_config(build(listeners={"second": {"path": path, "mode": "0600"}}))
    daemon.reload()
    assert daemon.get("/v1/token", path=path).status == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert daemon.get("/v1/token").status == 200


def test_a_removed_listener_is_closed_and_its_file_removed(make_daemon, build, tmp_path):
    path = tmp_path / "second.sock"
    running = make_daemon(build(listeners={"second": {"path": path}})).start()
    idle = running.connect(path)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    running.write_config(build())
    running.reload()
    assert idle.sock.recv(1) == b""
    assert not path.exists()
    assert running.get("/healthz").status == 200


def test_listeners_that_come_and_go_leave_no_descriptor(daemon, build, tmp_path):
    path = tmp_path / "second.sock"
    kept = daemon.descriptors()
    for _ in range(5):
        daemon.write_config(build(listeners={"second": {"path": path}}))
        daemon.reload()
        assert daemon.get("/healthz", path=path).status == 200
        daemon.write_config(build())
        daemon.reload()
        daemon.wait_for_descriptors(kept)


def test_a_listeners_mode_may_change_under_its_clients(daemon, build):
    kept = daemon.connect()
    kept.connect()
    inode = daemon.socket.stat().st_ino
    daemon.write_config(build(main={"mode": "0600"}))
    daemon.reload()
    found = daemon.socket.stat()
    assert (found.st_ino, stat.S_IMODE(found.st_mode)) == (inode, 0o600)
    kept.request("GET", "/v1/token")
    assert kept.getresponse().status == 200


def test_a_listener_may_move(daemon, build, tmp_path):
    path = tmp_path / "moved.sock"
    daemon.write_config(build(main={"path": path}))
    daemon.reload()
    assert daemon.get("/v1/token", path=path).status == 200
    assert not daemon.socket.exists()


def test_a_listener_may_get_another_name(daemon, build):
    text = build().replace("[listener main]", "[listener primary]")
    kept = daemon.connect()
    kept.request("GET", "/healthz")
    kept.getresponse().read()
    daemon.write_config(text)
    assert "reload failed" not in daemon.reload()
    kept.request("GET", "/v1/token")
    assert kept.getresponse().status == 200
    assert daemon.get("/v1/token").status == 200


# ---- a bad new configuration ----


def break_config(kind, daemon, build, tmp_path, key_file):
    """Put a bad configuration in place; returns the words that have to be told."""
    if kind == "mistake":
        daemon.write_config(build(["rendering"]) + "zebra = 1\n")
        return "[account rendering]: unknown key 'zebra'"
    if kind == "no file":
        daemon.config_file.unlink()
        return f"cannot open {daemon.config_file}: No such file or directory"
    if kind == "no secret":
        key_file.unlink()
        daemon.write_config(build(["rendering"]))
        return f"[account anchors]: account_key: cannot open {key_file}: No such file or directory"
    (tmp_path / "occupied").write_text("precious")
    daemon.write_config(build(["rendering"], {"second": {"path": tmp_path / "occupied"}}))
    return f"[listener second]: cannot listen at {tmp_path}/occupied: something that is no socket"


@pytest.mark.parametrize("kind", ["mistake", "no file", "no secret", "no listener"])
def test_a_bad_configuration_leaves_the_old_one_in_force(
    daemon, build, tmp_path, key_file, emulator, kind
):
    before = daemon.get("/v1/accounts").json(), daemon.get("/v1/token").body
    expected = break_config(kind, daemon, build, tmp_path, key_file)
    mark = daemon.mark()
    status = daemon.reload()
    assert expected in daemon.wait_for_log("error: ", mark)
    daemon.wait_for_log("the new configuration is bad; the old one stays in force", mark)
    assert "1 of 1 accounts have a valid token; reload failed" in status
    assert expected[:60] in status
    accounts = daemon.get("/v1/accounts").json()
    for answer in (before[0], accounts):
        for account in answer["accounts"]:
            del account["expires_in"], account["refresh_in"]
    assert accounts == before[0]
    assert daemon.get("/v1/token").body == before[1]
    assert daemon.get("/v1/accounts/rendering").status == 404


def test_a_failed_reload_stays_in_the_status_until_one_works(make_daemon, build, emulator):
    emulator.change_settings(token_lifetime_s=8)
    running = make_daemon(build()).start()
    running.wait_for_token("anchors")
    running.write_config("[zebra]\n")
    assert "reload failed" in running.reload()
    emulator.add_fault("status", status=503)
    state = running.wait_for_state(lambda state: "refresh fails for 1" in state[0])
    assert "reload failed" in state[0]
    running.write_config(build())
    assert "reload failed" not in running.reload()


def test_a_listener_of_a_bad_configuration_is_not_left_behind(daemon, build, tmp_path):
    (tmp_path / "occupied").write_text("precious")
    listeners = {
        "good": {"path": tmp_path / "good.sock"},
        "bad": {"path": tmp_path / "occupied"},
    }
    daemon.write_config(build(listeners=listeners))
    assert "reload failed" in daemon.reload()
    assert not (tmp_path / "good.sock").exists()


# ---- what goes on meanwhile ----


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "goes"])
def test_a_reload_during_an_exchange_does_no_harm(make_daemon, build, emulator, stays):
    emulator.add_fault("delay", delay_ms=1000, account=OTHER_ID)
    running = make_daemon(build(["rendering"])).start()
    running.wait_for_token("anchors")
    emulator.wait_for_requests(2)  # the other one is under way
    running.write_config(build(["rendering", "third"] if stays else ["third"]))
    running.reload()
    running.wait_for_token("third")
    if stays:
        running.wait_for_token("rendering")
        assert running.token("rendering")["account_id"] == OTHER_ID
    assert running.get("/v1/accounts/rendering").status == (200 if stays else 404)


def test_twenty_reloads_under_load_fail_no_request(make_daemon, build, emulator, tmp_path):
    emulator.change_settings(token_lifetime_s=6)
    running = make_daemon(build()).start()
    running.wait_for_token("anchors")
    second = {"second": {"path": tmp_path / "second.sock"}}
    with Poller(running, "/v1/accounts/anchors/token", clients=4) as poller:
        for i in range(20):
            others = ["rendering"] if i % 2 else []
            running.write_config(build(others, second if i % 3 else None))
            assert "reload failed" not in running.reload()
            poller.wait_for_answers(20)
    assert running.get("/v1/accounts/rendering").status == 200
    assert (tmp_path / "second.sock").exists()


def test_a_burst_of_signals_does_no_harm(daemon, build):
    daemon.write_config(build(["rendering"]))
    for _ in range(50):
        daemon.send_signal(signal.SIGHUP)
    daemon.wait_for_token("rendering")
    assert daemon.reload()
    assert daemon.token()["account"] == "anchors"


def test_idle_connections_survive(daemon, build):
    fresh, used = daemon.connect(), daemon.connect()
    fresh.connect()
    used.request("GET", "/v1/token")
    used.getresponse().read()
    local = used.sock
    daemon.write_config(build(["rendering"]))
    daemon.reload()
    for connection in (fresh, used):
        connection.request("GET", "/v1/accounts/anchors/token")
        assert connection.getresponse().status == 200
    assert used.sock is local


def test_an_answer_under_way_is_finished(make_daemon, emulator, key_file, build):
    emulator.add_fault("delay", delay_ms=60000, count=0)
    accounts = {
        f"account-{i}": account_keys(emulator, key_file, f"7f1c3c5e-0000-4000-8001-{i:012d}")
        for i in range(2000)
    }
    running = make_daemon(configuration(emulator, accounts)).start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(running.socket))
        connection.sendall(
            b"GET /v1/accounts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        received = connection.recv(1000)
        emulator.clear_faults()
        running.write_config(build())
        running.reload()
        assert running.get("/v1/accounts/account-1").status == 404
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert len(body) > 500000 and b"account-1999" in body


def test_a_half_sent_request_is_answered_by_the_new_configuration(daemon, build):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(daemon.socket))
        connection.sendall(b"GET /v1/accounts/rendering HTTP/1.1\r\nHost: ")
        assert daemon.get("/v1/accounts/rendering").status == 404
        daemon.write_config(build(["rendering"]))
        daemon.reload()
        connection.sendall(b"localhost\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
