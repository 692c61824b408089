"""The memory of the daemon, as root reads it: no secret of before, and those of now in one place.

Whatever is read here is what a dump, a debugger or a fault of the kernel would give away.
"""

import os

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.credentials import write_secret
from rig.daemon import APP, TENANT, account_keys, configuration, entra_keys
from rig.memory import can_hide, memory_of, places_of, without_hiding

pytestmark = [
    pytest.mark.plain_build,  # sanitizers keep what was freed
    pytest.mark.skipif(os.geteuid() != 0, reason="reads the memory of a process not its own: root"),
]

NEW_KEY = "bmV3LWtleS1vZi10aGUtbWVtb3J5LXRlc3RzLTEyMzQ1Njc4"
FROM_VARIABLE = "dmFyaWFibGUta2V5LW9mLXRoZS1tZW1vcnktdGVzdHMtMTIz"
OTHER_ID = "7f1c3c5e-0000-4000-8000-00000000feed"
SECRET = "first-client-secret-of-the-memory-tests-8f2k"
NEW_SECRET = "other-client-secret-of-the-memory-tests-3m9x"
ACCOUNTS = ("anchors", "variable", "storage", "by-entra")


class Scene:
    """A daemon with secrets of each kind, and those that it had before."""

    def __init__(self, make_daemon, emulator, directory, **options):
        self.emulator = emulator
        self.key = write_secret(directory / "anchors.key", KEY)
        self.secret = write_secret(directory / "client.secret", SECRET)
        emulator.put_account(OTHER_ID, FROM_VARIABLE)
        emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])
        emulator.put_app(APP, secrets=[SECRET])
        client_secret = {"credential": "client_secret", "client_secret": f"file:{self.secret}"}
        accounts = {
            "anchors": account_keys(emulator, self.key),
            "variable": account_keys(emulator, self.key, OTHER_ID, account_key="env:THE_KEY"),
            "storage": entra_keys(emulator, **client_secret),
            "by-entra": {
                **account_keys(emulator, self.key, account_key=None),
                "authority": emulator.entra,
                "tenant_id": TENANT,
                "client_id": APP,
                **client_secret,
            },
        }
        self.daemon = make_daemon(
            configuration(emulator, accounts), environment={"THE_KEY": FROM_VARIABLE}, **options
        ).start()
        for name in ACCOUNTS:
            self.daemon.wait_for_token(name)

    def tokens(self):
        return [self.daemon.token(name)["token"] for name in ACCOUNTS]

    def refresh(self):
        for name in ACCOUNTS:
            target = f"/v1/accounts/{name}/refresh"
            answer = self.daemon.request("POST", target, headers={"Prefer": "wait=20"})
            assert answer.status == 200, answer.body

    def rotate(self):
        mark = self.daemon.mark()
        self.emulator.put_account(ACCOUNT_ID, NEW_KEY, apps=[APP])
        self.emulator.put_app(APP, secrets=[NEW_SECRET])
        write_secret(self.key, NEW_KEY)
        write_secret(self.secret, NEW_SECRET)
        self.daemon.reload()
        for name in ("anchors", "storage", "by-entra"):
            self.daemon.wait_for_token(name, mark)

    def memory(self):
        return memory_of(self.daemon.pid)


@pytest.fixture(params=["hidden", "ordinary"])
def scene(request, make_daemon, emulator, tmp_path):
    if request.param == "hidden":
        if not can_hide():
            pytest.skip("this kernel has no memfd_secret")
        return Scene(make_daemon, emulator, tmp_path)
    return Scene(make_daemon, emulator, tmp_path, wrap=without_hiding())


def assert_only_in_secret_memory(pieces, secrets):
    for number, secret in enumerate(secrets):
        outside = [m for m in places_of(pieces, secret) if not m.is_for_secrets]
        assert outside == [], f"secret {number} lies elsewhere too"


def assert_nowhere(pieces, secrets, but):
    for number, secret in enumerate(secrets):
        assert places_of(pieces, secret, but) == [], f"secret {number} of before is still there"


def test_present_secrets_lie_in_secret_memory_alone(scene):
    present = [KEY, FROM_VARIABLE, SECRET, *scene.tokens()]
    pieces = scene.memory()
    assert places_of(pieces, ACCOUNT_ID) != []  # what is no secret is found
    assert_only_in_secret_memory(pieces, present)


def test_secrets_of_before_are_nowhere(scene):
    before = [KEY, SECRET, *scene.tokens()]
    scene.refresh()
    middle = scene.tokens()
    scene.rotate()
    present = [NEW_KEY, NEW_SECRET, FROM_VARIABLE, *scene.tokens()]
    pieces = scene.memory()
    old = [secret for secret in before + middle if secret not in present]
    assert len(old) >= 9
    assert_nowhere(pieces, old, but=present)
    assert_only_in_secret_memory(pieces, present)


def test_where_pages_can_be_read_the_secrets_are_found_in_them(make_daemon, emulator, tmp_path):
    """So that the tests above would find them."""
    scene = Scene(make_daemon, emulator, tmp_path, wrap=without_hiding())
    for secret in [KEY, FROM_VARIABLE, SECRET, *scene.tokens()]:
        assert places_of(scene.memory(), secret) != []
