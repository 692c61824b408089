"""What all tests share: the rigs in tests/rig, and one emulator for each file of tests."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from rig.daemon import Daemon, account_section  # noqa: E402
from rig.emulator import Emulator  # noqa: E402
from rig.tools import Tools  # noqa: E402

ACCOUNT_ID = "7f1c3c5e-0000-4000-8000-0123456789ab"
KEY = "a2V5LW9mLXRoZS10ZXN0cy1hY2NvdW50LTEyMzQ1Njc4"
SECOND_KEY = "c2Vjb25kLWtleS1vZi10aGUtdGVzdHMtYWNjb3VudC0x"


@pytest.fixture(scope="module")
def shared_emulator(tmp_path_factory):
    """One emulator for the file; tests take `emulator`, which sets it back for each of them."""
    with Emulator(tmp_path_factory.mktemp("emulator"), {ACCOUNT_ID: [KEY, SECOND_KEY]}) as running:
        yield running


@pytest.fixture
def emulator(shared_emulator):
    shared_emulator.clear_faults()
    shared_emulator.clear_requests()
    shared_emulator.change_settings(token_lifetime_s=86400, date_offset_s=0)
    shared_emulator.put_account(ACCOUNT_ID, KEY, SECOND_KEY)
    return shared_emulator


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "anchors.key"
    path.touch(mode=0o600)
    path.write_text(KEY + "\n")
    return path


@pytest.fixture
def tools(tmp_path):
    """Stand-ins of the developers' command lines; none is there yet."""
    return Tools(tmp_path / "tools")


@pytest.fixture
def make_daemon(tmp_path):
    """Make daemons in the test's directory; those still running in the end are stopped in order."""
    made = []

    def make(config, **options):
        made.append(Daemon(tmp_path, config, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def daemon(make_daemon, emulator, key_file):
    """A daemon that serves the account `anchors` and has its token."""
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    return running
