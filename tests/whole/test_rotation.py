"""Secrets that become others while clients ask: by each way that files change, and by a reload.

No restart, and no request that fails; a wrong secret is found while the token lives.
"""

import base64
import itertools
import os
import shutil
import threading

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.credentials import (
    assertions,
    certificate_pem,
    federated_token,
    federation,
    key_pem,
    make_certificate,
    rsa_key,
    token_requests,
    write_secret,
)
from rig.daemon import APP, Poller, account_keys, account_section, configuration, entra_keys

OTHER_ID = "7f1c3c5e-0000-4000-8000-00000000abcd"
NEW_KEY = "bmV3LWtleS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM="
NUMBERED_KEYS = [
    base64.b64encode(f"key-{n}-of-an-account-of-the-tests-1234".encode()).decode() for n in range(2)
]
WRONG_KEY = "d3Jvbmcta2V5LW9mLXRoZS10ZXN0cy1hY2NvdW50LTE="


def keys_of(requests):
    return [dict(r["headers"])["Authorization"].rsplit(":", 1)[1] for r in requests]


def shown(emulator):
    return keys_of(emulator.requests(server="sts"))


# ---- the ways in which a file becomes another one ------------------------------------------------


class Place:
    """Where a key lies: in a file, and how it is replaced."""

    def __init__(self, directory):
        self.directory = directory / "keys"
        self.directory.mkdir()
        self.path = self.directory / "anchors"
        self.environment = {}
        self.source = f"file:{self.path}"
        self.put(KEY)

    def put(self, key):
        write_secret(self.path, key)


class InPlace(Place):
    def put(self, key):
        self.path.touch(mode=0o600)
        self.path.write_text(key)


class Removed(Place):
    def put(self, key):
        self.path.unlink(missing_ok=True)
        self.path.touch(mode=0o600)
        self.path.write_text(key)


class KubernetesVolume(Place):
    """anchors -> ..data/anchors, ..data -> ..N, and another ..data is renamed over it."""

    def put(self, key):
        number = len(list(self.directory.glob("..20*"))) + 1
        made = self.directory / f"..20{number}"
        made.mkdir()
        write_secret(made / "anchors", key)
        link = self.directory / "..data_tmp"
        link.symlink_to(made.name)
        link.rename(self.directory / "..data")
        if not self.path.is_symlink():
            self.path.symlink_to("..data/anchors")
        for old in self.directory.glob("..20*"):
            if old != made:
                shutil.rmtree(old)
                old.mkdir()  # keeps the number


class OtherDirectory(Place):
    """The directory itself gives way to another one."""

    def put(self, key):
        made = self.directory.with_name("made")
        made.mkdir()
        write_secret(made / "anchors", key)
        old = self.directory.with_name("old")
        self.directory.rename(old)
        made.rename(self.directory)
        shutil.rmtree(old)


class SystemdCredential(OtherDirectory):
    """As systemd refreshes them: the files are made anew beside, and put in place."""

    def __init__(self, directory):
        super().__init__(directory)
        self.environment = {"CREDENTIALS_DIRECTORY": str(self.directory)}
        self.source = "credential:anchors"


class Linked(Place):
    """The configured path is a link, and becomes one to another file."""

    def put(self, key):
        target = self.directory / f"key-{key[:4]}"
        write_secret(target, key)
        link = self.directory / "link"
        link.symlink_to(target)
        link.rename(self.path)


WAYS = {
    "an atomic rename": Place,
    "written in place": InPlace,
    "removed and made anew": Removed,
    "a link of Kubernetes": KubernetesVolume,
    "another directory": OtherDirectory,
    "a systemd credential": SystemdCredential,
    "another link": Linked,
}


@pytest.fixture
def start(make_daemon, emulator):
    """Start a daemon whose account's key is there, and wait for its token."""

    def run(place, **options):
        config = configuration(
            emulator, {"anchors": {**account_keys(emulator, ""), "account_key": place.source}}
        )
        running = make_daemon(config, environment=place.environment, **options).start()
        running.wait_for_token("anchors")
        return running

    return run


def rotate(running, emulator, place, key):
    """Another key is valid from now on; wait for a token that was had with it."""
    mark = running.mark()
    emulator.put_account(ACCOUNT_ID, key)
    place.put(key)
    running.wait_for_token("anchors", mark)
    assert shown(emulator)[-1] == key


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_rotated_key_is_used_soon_and_no_request_fails(start, emulator, tmp_path, way):
    place = way(tmp_path)
    running = start(place)
    before = running.token()["token"]
    with Poller(running, clients=4) as clients:
        rotate(running, emulator, place, NEW_KEY)
        assert running.token()["token"] != before
        clients.wait_for_answers()
    assert shown(emulator) == [KEY, NEW_KEY]
    assert "refresh failed" not in running.log()


def test_it_is_rotated_again_and_again_but_not_tried_in_a_hurry(start, emulator, tmp_path):
    place = KubernetesVolume(tmp_path)
    running = start(place)
    with Poller(running, clients=4) as clients:
        rotate(running, emulator, place, NEW_KEY)
        rotate(running, emulator, place, KEY)
        clients.wait_for_answers()
    first, second, third = emulator.requests(server="sts")
    assert keys_of([first, second, third]) == [KEY, NEW_KEY, KEY]
    assert third["received_on"] - second["received_on"] > 9000
    assert "refresh failed" not in running.log()


def test_a_file_that_changes_all_the_time_lets_an_exchange_end(start, emulator, tmp_path):
    """It is begun anew for the first change, not for each."""
    place = Place(tmp_path)
    running = start(place)
    mark = running.mark()
    emulator.put_account(ACCOUNT_ID, *NUMBERED_KEYS)
    emulator.add_fault("delay", delay_ms=2500, count=0)
    is_over = threading.Event()

    def rewrite():
        for key in itertools.cycle(NUMBERED_KEYS):
            place.put(key)
            if is_over.wait(0.3):
                return

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        running.wait_for_token("anchors", mark)
        # And what was written meanwhile is tried too, without anybody's help.
        running.wait_for_token("anchors", running.mark())
    finally:
        is_over.set()
        writer.join()
    assert "refresh failed" not in running.log()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_reload_right_after_a_rotation_uses_the_new_key(start, emulator, tmp_path, way):
    place = way(tmp_path)
    running = start(place)
    with Poller(running, clients=4) as clients:
        mark = running.mark()
        emulator.put_account(ACCOUNT_ID, NEW_KEY)
        place.put(NEW_KEY)
        running.reload()
        running.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert shown(emulator) == [KEY, NEW_KEY]
    assert "refresh failed" not in running.log()


def test_a_reload_to_another_file_uses_its_key(daemon, emulator, key_file, tmp_path):
    other = write_secret(tmp_path / "other.key", NEW_KEY)
    emulator.put_account(ACCOUNT_ID, NEW_KEY)
    with Poller(daemon, clients=4) as clients:
        mark = daemon.mark()
        daemon.write_config(account_section("anchors", emulator, other))
        daemon.reload()
        daemon.wait_for_token("anchors", mark)
        clients.wait_for_answers()
        # And that one is watched now.
        mark = daemon.mark()
        emulator.put_account(ACCOUNT_ID, KEY)
        write_secret(other, KEY)
        daemon.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert shown(emulator) == [KEY, NEW_KEY, KEY]


def test_a_reload_without_a_rotation_asks_nobody(daemon, emulator):
    daemon.reload()
    daemon.reload()
    assert shown(emulator) == [KEY]


# ---- what matters of a change --------------------------------------------------------------------


def test_a_wrong_key_is_found_while_the_token_lives(daemon, emulator, key_file):
    with Poller(daemon, clients=4) as clients:
        mark = daemon.mark()
        write_secret(key_file, WRONG_KEY)
        daemon.wait_for_failure("anchors", mark)
        account = daemon.account()
        assert (account["state"], account["last_error"]["code"]) == ("degraded", "denied")
        clients.wait_for_answers()
        mark = daemon.mark()
        write_secret(key_file, KEY)
        daemon.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert daemon.account()["state"] == "valid"
    assert shown(emulator) == [KEY, WRONG_KEY, KEY]


def test_a_key_that_is_gone_is_told_at_once_and_the_token_lives(daemon, emulator, key_file):
    mark = daemon.mark()
    with Poller(daemon, clients=2) as clients:
        key_file.unlink()
        told = daemon.wait_for_log("is gone, empty or cannot be read", mark)
        assert "warning" in told and "account anchors" in told
        clients.wait_for_answers()
    write_secret(key_file, KEY)
    daemon.wait_for_log("has changed", mark)
    assert daemon.account()["state"] == "valid"


def test_a_refused_key_that_is_put_right_is_tried_at_once(make_daemon, emulator, key_file):
    write_secret(key_file, WRONG_KEY)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_failure("anchors")
    assert running.account()["refresh_in"] > 200
    mark = running.mark()
    write_secret(key_file, KEY)
    running.wait_for_token("anchors", mark)
    assert shown(emulator) == [WRONG_KEY, KEY]


@pytest.mark.parametrize("change", [write_secret, lambda path, _: os.utime(path)])
def test_the_same_key_written_again_is_no_change(
    make_daemon, emulator, key_file, tmp_path, change
):
    other = write_secret(tmp_path / "other.key", KEY)
    emulator.put_account(OTHER_ID, KEY)
    accounts = {
        "anchors": account_keys(emulator, key_file),
        "other": account_keys(emulator, other, OTHER_ID),
    }
    running = make_daemon(configuration(emulator, accounts)).start()
    running.wait_for_token("anchors")
    running.wait_for_token("other")
    mark = running.mark()
    change(key_file, KEY)
    # What was changed after it is looked at no sooner.
    emulator.put_account(OTHER_ID, NEW_KEY)
    write_secret(other, NEW_KEY)
    running.wait_for_token("other", mark)
    assert sorted(shown(emulator)) == sorted([KEY, KEY, NEW_KEY])
    assert f"{key_file} has changed" not in running.log()


def test_a_burst_of_changes_is_tried_once(daemon, emulator, key_file):
    emulator.put_account(ACCOUNT_ID, NEW_KEY)
    mark = daemon.mark()
    for number in range(200):
        write_secret(key_file, f"{WRONG_KEY}{number}")
    write_secret(key_file, NEW_KEY)
    daemon.wait_for_token("anchors", mark)
    assert len(shown(emulator)) <= 4
    assert shown(emulator)[-1] == NEW_KEY


def test_a_key_that_is_gone_for_a_moment_is_no_error(daemon, emulator, key_file):
    with Poller(daemon, clients=4) as clients:
        key_file.unlink()
        mark = daemon.mark()
        assert daemon.request("POST", "/v1/accounts/anchors/refresh").status == 202
        daemon.wait_for_log("No such file or directory; looking again in 1.0 s", mark)
        write_secret(key_file, KEY)
        daemon.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert "refresh failed" not in daemon.log()
    assert daemon.account()["failures"] == 0


def test_a_key_that_stays_away_is_an_error(daemon, emulator, key_file):
    with Poller(daemon, clients=4) as clients:
        key_file.unlink()
        mark = daemon.mark()
        assert daemon.request("POST", "/v1/accounts/anchors/refresh").status == 202
        daemon.wait_for_failure("anchors", mark)
        assert daemon.account()["last_error"]["code"] == "secret_source"
        clients.wait_for_answers()
        mark = daemon.mark()
        write_secret(key_file, KEY)
        daemon.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert daemon.account()["state"] == "valid"


def test_a_key_replaced_under_an_exchange_is_tried_in_its_stead(
    make_daemon, emulator, key_file, tmp_path
):
    """The STS takes its time over the old key: nobody waits for what it says of it."""
    emulator.add_fault("delay", delay_ms=30000, count=1)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    emulator.wait_for_requests(1)
    emulator.put_account(ACCOUNT_ID, NEW_KEY)
    write_secret(key_file, NEW_KEY)
    running.wait_for_token("anchors")
    assert shown(emulator) == [KEY, NEW_KEY]
    assert "refresh failed" not in running.log()


NO_INOTIFY = "echo 0 >/proc/sys/user/max_inotify_instances; exec \"$@\""


def test_it_looks_where_it_cannot_watch(start, emulator, tmp_path):
    place = Place(tmp_path)
    running = start(
        place, wrap=["unshare", "--user", "--map-root-user", "sh", "-c", NO_INOTIFY, "sh"]
    )
    running.wait_for_log(f"warning: cannot watch {place.path} for a change: Too many open files")
    with Poller(running, clients=4) as clients:
        mark = running.mark()
        emulator.put_account(ACCOUNT_ID, NEW_KEY)
        place.put(NEW_KEY)
        running.wait_for_token("anchors", mark)
        clients.wait_for_answers()
    assert shown(emulator) == [KEY, NEW_KEY]
    assert running.log().count("cannot watch") == 1


# ---- other secrets -------------------------------------------------------------------------------

OLD_SECRET, NEW_SECRET = "the~old/secret of the app", "the~new/secret of the app"


@pytest.fixture
def entra(emulator):
    emulator.change_settings(entra_expires_in_s=3599, entra_refresh_in_s=0)


def test_a_rotated_client_secret_is_tried_once_for_all_its_accounts(
    make_daemon, emulator, entra, tmp_path
):
    emulator.put_app(APP, secrets=[OLD_SECRET])
    path = write_secret(tmp_path / "secret", OLD_SECRET)
    keys = entra_keys(emulator, credential="client_secret", client_secret=f"file:{path}")
    names = [f"storage-{number}" for number in range(20)]
    running = make_daemon(configuration(emulator, {name: keys for name in names})).start()
    for name in names:
        running.wait_for_token(name)
    with Poller(running, "/v1/accounts/storage-7/token", clients=4) as clients:
        mark = running.mark()
        emulator.put_app(APP, secrets=[NEW_SECRET])
        write_secret(path, NEW_SECRET)
        for name in names:
            running.wait_for_token(name, mark)
        clients.wait_for_answers()
    assert len(token_requests(emulator)) == 2
    assert "refresh failed" not in running.log()


def test_a_wrong_client_secret_is_found_while_the_token_lives(
    make_daemon, emulator, entra, tmp_path
):
    emulator.put_app(APP, secrets=[OLD_SECRET])
    path = write_secret(tmp_path / "secret", OLD_SECRET)
    keys = entra_keys(emulator, credential="client_secret", client_secret=f"file:{path}")
    running = make_daemon(configuration(emulator, {"storage": keys})).start()
    running.wait_for_token("storage")
    with Poller(running, "/v1/accounts/storage/token", clients=4) as clients:
        mark = running.mark()
        write_secret(path, NEW_SECRET)
        running.wait_for_failure("storage", mark)
        assert running.account("storage")["last_error"]["upstream_code"] == "AADSTS7000215"
        clients.wait_for_answers()
        mark = running.mark()
        write_secret(path, OLD_SECRET)
        running.wait_for_token("storage", mark)
        clients.wait_for_answers()


def test_a_rotated_certificate_is_used_soon(make_daemon, emulator, entra, tmp_path):
    def content(name):
        certificate = make_certificate(rsa_key(name), name=name)
        return certificate_pem(certificate), certificate_pem(certificate) + key_pem(rsa_key(name))

    old, old_file = content("old")
    new, new_file = content("new")
    emulator.put_app(APP, certificates=[as_text(old)])
    path = write_secret(tmp_path / "app.pem", old_file)
    keys = entra_keys(emulator, credential="client_certificate", client_certificate=f"file:{path}")
    running = make_daemon(configuration(emulator, {"storage": keys})).start()
    running.wait_for_token("storage")
    with Poller(running, "/v1/accounts/storage/token", clients=4) as clients:
        mark = running.mark()
        emulator.put_app(APP, certificates=[as_text(new)])
        write_secret(path, new_file)
        running.wait_for_token("storage", mark)
        clients.wait_for_answers()
    assert "refresh failed" not in running.log()


def as_text(content):
    return content.decode() if isinstance(content, bytes) else content


def test_a_federated_token_that_is_renewed_waits_for_the_next_refresh(
    make_daemon, emulator, entra, tmp_path
):
    emulator.put_app(APP, federated=[federation(rsa_key("cluster"))])
    first = federated_token(rsa_key("cluster"))
    second = federated_token(rsa_key("cluster"), jti="another one")
    path = write_secret(tmp_path / "token", first)
    keys = entra_keys(emulator, credential="workload_identity", federated_token_file=path)
    running = make_daemon(configuration(emulator, {"storage": keys})).start()
    running.wait_for_token("storage")
    mark = running.mark()
    write_secret(path, second)
    running.wait_for_log(f"account storage: {path} has changed; the next refresh uses it", mark)
    assert assertions(emulator) == [first]
    assert running.request("POST", "/v1/accounts/storage/refresh").status == 202
    running.wait_for_token("storage", mark)
    assert assertions(emulator) == [first, second]


@pytest.mark.parametrize("kind", ["workload_identity", "client_assertion"])
def test_a_refused_assertion_that_is_replaced_is_tried_at_once(
    make_daemon, emulator, entra, tmp_path, kind
):
    emulator.put_app(APP, federated=[federation(rsa_key("cluster"))])
    path = write_secret(tmp_path / "token", federated_token(rsa_key("cluster"), exp=1600000000))
    where = (
        {"federated_token_file": path}
        if kind == "workload_identity"
        else {"client_assertion": f"file:{path}"}
    )
    keys = entra_keys(emulator, credential=kind, **where)
    running = make_daemon(configuration(emulator, {"storage": keys})).start()
    running.wait_for_failure("storage")
    assert running.account("storage")["refresh_in"] > 200
    mark = running.mark()
    write_secret(path, federated_token(rsa_key("cluster")))
    running.wait_for_token("storage", mark)


def test_a_secret_of_no_concern_disturbs_nobody(make_daemon, emulator, entra, key_file, tmp_path):
    emulator.put_app(APP, secrets=[OLD_SECRET])
    path = write_secret(tmp_path / "secret", OLD_SECRET)
    storage = entra_keys(emulator, credential="client_secret", client_secret=f"file:{path}")
    anchors = account_keys(emulator, key_file)
    running = make_daemon(
        configuration(emulator, {"anchors": anchors, "storage": storage})
    ).start()
    running.wait_for_token("anchors")
    running.wait_for_token("storage")
    mark = running.mark()
    emulator.put_app(APP, secrets=[NEW_SECRET])
    write_secret(path, NEW_SECRET)
    running.wait_for_token("storage", mark)
    assert shown(emulator) == [KEY]
