"""The configuration's mistakes in the words of the daemon, and what it says when there are none."""

import os
import re
import subprocess

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.daemon import account_section, binary, section

EXIT_CONFIGURATION = 78
EXIT_USAGE = 2
SECRET = "bGl0ZXJhbC1rZXktdGhhdC1tdXN0LW5vdC1iZS1zaG93bg=="

GOOD = f"""\
[daemon]
log_level = warning

[listener main]
path = /nowhere/mrtokend.sock

[account anchors]
account_id = {ACCOUNT_ID}
account_domain = eastus2.mixedreality.azure.com
account_key = file:/nowhere/anchors.key
"""


def run(*arguments, environment=None, **options):
    return subprocess.run(
        [binary("mrtokend"), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mrtokend.conf"
    path.write_text(GOOD)
    return path


def account(**keys):
    """GOOD, with these keys of its account instead of, or besides, its own."""
    present = {
        "account_id": ACCOUNT_ID,
        "account_domain": "eastus2.mixedreality.azure.com",
        "account_key": "file:/nowhere/anchors.key",
        **keys,
    }
    return section("account anchors", present)


def check_refused(file, messages, environment=None):
    """Both --check-config and a start say exactly this, and nothing listens."""
    messages = [messages] if isinstance(messages, str) else messages
    checked = run("--config", file, "--check-config", environment=environment)
    expected = [message.replace("FILE:", f"{file}:") for message in messages]
    assert checked.stderr.splitlines() == expected
    assert (checked.returncode, checked.stdout) == (EXIT_CONFIGURATION, "")
    started = run("--config", file, environment=environment)
    assert started.stderr.splitlines() == [f"mrtokend: error: {line}" for line in expected]
    assert (started.returncode, started.stdout) == (EXIT_CONFIGURATION, "")
    assert list(file.parent.glob("*.sock*")) == []


MISTAKES = {
    "unknown section": (
        "[acount anchors]\n",
        "FILE:1: unknown section [acount]; did you mean [account]?",
    ),
    "section like no other": (
        "[zebra]\n",
        "FILE:1: unknown section [zebra]; expected [daemon], [listener NAME] or "
        "[account NAME]",
    ),
    "section without its name": (
        "[account]\n",
        "FILE:1: found [account], expected [account NAME] with a name of up to 40 letters, "
        "digits, '.', '_' and '-'",
    ),
    "section with a bad name": (
        "[account a/b]\n",
        "FILE:1: found [account a/b], expected [account NAME] with a name of up to 40 "
        "letters, digits, '.', '_' and '-'",
    ),
    "section with a name too many": (
        "[daemon main]\n",
        "FILE:1: [daemon] has no name, found 'main'",
    ),
    "unknown key": (
        account(account_keys="file:/key"),
        "FILE:5: [account anchors]: unknown key 'account_keys'; did you mean 'account_key'?",
    ),
    "key like no other": (
        "[daemon]\nzebra = 1\n",
        "FILE:2: [daemon]: unknown key 'zebra'; mrtokend.conf(5) lists the keys",
    ),
    "key of another section": (
        "[daemon]\naccount_domain = x\n",
        "FILE:2: [daemon]: unknown key 'account_domain'; mrtokend.conf(5) lists the keys",
    ),
    "user who does not exist": (
        account(allow_users="root, nosuchuser"),
        "FILE:5: [account anchors]: allow_users: found 'nosuchuser', expected a user that "
        "exists, or a number",
    ),
    "group that does not exist": (
        account(deny_groups="nosuchgroup"),
        "FILE:5: [account anchors]: deny_groups: found 'nosuchgroup', expected a group that "
        "exists, or a number",
    ),
    "unit without its end": (
        account(admin_units="renderer"),
        "FILE:5: [account anchors]: admin_units: found 'renderer', expected the whole name of a "
        "unit that runs processes, such as renderer.service, or renderer@.service for all its "
        "instances",
    ),
    "key twice": (
        "[daemon]\nlog_level = info\nlog_level = debug\n",
        "FILE:3: [daemon]: 'log_level' is set twice in this file; keep one of them",
    ),
    "key without a value": (
        "[daemon]\nlog_level =\n",
        "FILE:2: [daemon]: 'log_level' has no value; write one, or drop the line",
    ),
    "log_level": (
        "[daemon]\nlog_level = loud\n",
        "FILE:2: [daemon]: log_level: found 'loud', expected error, warning, notice, info "
        "or debug",
    ),
    "ca_file": (
        "[daemon]\nca_file = ca.pem\n",
        "FILE:2: [daemon]: ca_file: found 'ca.pem', expected an absolute path, "
        "beginning with /",
    ),
    "listener's path": (
        "[listener main]\npath = mrtokend.sock\n",
        "FILE:2: [listener main]: path: found 'mrtokend.sock', expected an absolute path, "
        "beginning with /",
    ),
    "listener's path too long": (
        f"[listener main]\npath = /{'x' * 108}\n",
        "FILE:2: [listener main]: path: found a path of 109 bytes, expected at most 107, the "
        "most that a Unix socket can have",
    ),
    "decimal mode": (
        "[listener main]\nmode = 660\n",
        "FILE:2: [listener main]: mode: found '660', expected an octal mode of four digits "
        "with its leading zero, such as 0660",
    ),
    "unknown group": (
        "[listener main]\ngroup = no-such-group\n",
        "FILE:2: [listener main]: group: found 'no-such-group', expected a group that exists: "
        "create it (groupadd --system no-such-group) or name another",
    ),
    "kind": (
        account(kind="mixed_realty"),
        "FILE:5: [account anchors]: kind: found 'mixed_realty', expected mixed_reality, entra",
    ),
    "account_id": (
        account(account_id="4711"),
        "FILE:2: [account anchors]: account_id: found '4711', expected the account's "
        "identifier as the portal shows it, a UUID such as "
        "00000000-0000-0000-0000-000000000000",
    ),
    "account_domain with a scheme": (
        account(account_domain="https://mixedreality.azure.com"),
        "FILE:3: [account anchors]: account_domain: found 'https://mixedreality.azure.com', "
        "expected a host name such as eastus2.mixedreality.azure.com, without https:// before "
        "it and without a path behind it",
    ),
    "endpoint without TLS": (
        account(endpoint="http://127.0.0.1:80"),
        "FILE:5: [account anchors]: endpoint: found 'http://127.0.0.1:80', expected "
        "https://HOST or https://HOST:PORT, nothing behind it",
    ),
    "endpoint with a path": (
        account(endpoint="https://sts.example/Accounts"),
        "FILE:5: [account anchors]: endpoint: found 'https://sts.example/Accounts', expected "
        "https://HOST or https://HOST:PORT, nothing behind it",
    ),
    "credential": (
        account(credential="password"),
        "FILE:5: [account anchors]: credential: found 'password', expected account_key, "
        "client_secret, client_certificate, client_assertion, workload_identity, "
        "managed_identity, device_code, azure_cli, azure_developer_cli, azure_powershell, "
        "static_token, environment, default; or several, in order",
    ),
    "key file without its slash": (
        account(account_key="file:anchors.key"),
        "FILE:4: [account anchors]: account_key: file: wants an absolute path, such as "
        "file:/etc/mrtokend/anchors.key",
    ),
    "required": (
        account(required="maybe"),
        "FILE:5: [account anchors]: required: found 'maybe', expected yes or no",
    ),
    "no account": (
        "[listener main]\npath = /nowhere/mrtokend.sock\n",
        "FILE: no account: write an [account NAME] section, or set "
        "MIXEDREALITY_ACCOUNT_DOMAIN, MIXEDREALITY_ACCOUNT_ID and MIXEDREALITY_ACCOUNT_KEY_FILE",
    ),
    "missing keys": (
        "[account anchors]\nrequired = no\n",
        [
            "FILE:1: [account anchors]: 'account_id' is missing: the account's identifier, a UUID",
            "FILE:1: [account anchors]: 'account_domain' is missing: the account's domain, such as "
            "eastus2.mixedreality.azure.com",
            "FILE:1: [account anchors]: 'account_key' is missing: where the account's key is: "
            "credential:NAME, file:/PATH or env:NAME",
        ],
    ),
    "missing path": (
        account() + "[listener main]\nmode = 0600\n",
        "FILE:6: [listener main]: 'path' is missing: the socket's path",
    ),
    "default account": (
        account() + section("daemon", {"default_account": "anchor"}),
        "FILE:7: [daemon]: default_account: found 'anchor', expected the name of an [account NAME]",
    ),
    "two listeners at one path": (
        account() + section("listener a", {"path": "/x"}) + section("listener b", {"path": "/x"}),
        "FILE:10: [listener b]: path: found /x, which is the path of [listener a] already; each "
        "needs its own",
    ),
    "key before the first section": (
        "log_level = info\n",
        "FILE:1: found a key before the first section, expected a [SECTION] above it",
    ),
    "no INI at all": (
        "[daemon]\nthis is a letter\n",
        "FILE:2: found a line that is neither [SECTION], nor key = value, nor a comment",
    ),
    "continued line": (
        "[daemon]\nlog_level = info\n  ca_file = /ca.pem\n",
        "FILE:3: found a line that begins with a blank, which would continue the value above "
        "it; begin each key at the start of its line",
    ),
    "several at once": (
        "[daemon]\nlog_level = loud\n[listener main]\nmode = 660\n[acount x]\n",
        [
            "FILE:2: [daemon]: log_level: found 'loud', expected error, warning, notice, info "
            "or debug",
            "FILE:4: [listener main]: mode: found '660', expected an octal mode of four digits "
            "with its leading zero, such as 0660",
            "FILE:5: unknown section [acount]; did you mean [account]?",
        ],
    ),
}


@pytest.mark.parametrize("text, messages", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_was_expected(file, text, messages):
    file.write_text(text)
    check_refused(file, messages)


def test_a_missing_file_is_told(file):
    file.unlink()
    check_refused(file, "cannot open FILE: No such file or directory")


def test_a_directory_is_no_configuration(file):
    file.unlink()
    file.mkdir()
    check_refused(file, "cannot read FILE: expected a regular file")


VARIABLES = {
    "MIXEDREALITY_ACCOUNT_DOMAIN": "mixedreality.azure.com",
    "MIXEDREALITY_ACCOUNT_ID": ACCOUNT_ID,
    "MIXEDREALITY_ACCOUNT_KEY": SECRET,
}


@pytest.mark.parametrize(
    "change, messages",
    [
        (
            {"MIXEDREALITY_ACCOUNT_ID": None},
            "environment variable MIXEDREALITY_ACCOUNT_ID is not set; set it to the account's "
            "identifier",
        ),
        (
            {"MIXEDREALITY_ACCOUNT_DOMAIN": None},
            "environment variable MIXEDREALITY_ACCOUNT_DOMAIN is not set; set it to the "
            "account's domain",
        ),
        (
            {"MIXEDREALITY_ACCOUNT_KEY": None},
            "neither MIXEDREALITY_ACCOUNT_KEY_FILE nor MIXEDREALITY_ACCOUNT_KEY is set; set "
            "one of them, or the AZURE_* variables of a credential of Microsoft Entra ID (for a "
            "managed identity AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential)",
        ),
        (
            {"MIXEDREALITY_ACCOUNT_KEY_FILE": "/key"},
            "both MIXEDREALITY_ACCOUNT_KEY and MIXEDREALITY_ACCOUNT_KEY_FILE are set; set only "
            "one of them",
        ),
        (
            {"MIXEDREALITY_ACCOUNT_ID": "4711"},
            "environment variable MIXEDREALITY_ACCOUNT_ID: found '4711', expected the "
            "account's identifier as the portal shows it, a UUID such as "
            "00000000-0000-0000-0000-000000000000",
        ),
    ],
    ids=["no id", "no domain", "no key", "two keys", "bad id"],
)
def test_a_mistake_in_the_environment_names_the_variable(file, change, messages):
    file.write_text("[daemon]\n")
    environment = {**VARIABLES, **change}
    given = {name: value for name, value in environment.items() if value is not None}
    check_refused(file, messages, given)


@pytest.mark.parametrize("key", ["account_key", "secondary_account_key"])
def test_a_literal_key_is_refused_and_not_repeated(file, key):
    file.write_text(account(**{key: SECRET}))
    line = 4 if key == "account_key" else 5
    check_refused(
        file,
        [
            f"FILE:{line}: [account anchors]: {key}: a secret never stands in the configuration "
            "itself (the value is not shown here); put it in a file and write credential:NAME, "
            "file:/PATH or env:NAME"
        ],
    )


@pytest.mark.parametrize(
    "text",
    [
        f"[account anchors]\nacount_key = {SECRET}\n",
        f"[account anchors]\n{SECRET.rstrip('=')}\n",
        f"{SECRET}\n",
        f"[account anchors]\naccount_key = file:/x\n  {SECRET}\n",
        f"[account anchors]\naccount_key = env:{SECRET}\n",
        f"[account anchors]\naccount_key = file:{SECRET}\n",
        f"[account anchors\naccount_key = {SECRET}\n",
    ],
    ids=["unknown key", "bare", "bare first", "continued", "env:", "file:", "broken header"],
)
def test_a_key_in_the_wrong_place_is_not_repeated(file, text):
    file.write_text(text)
    for told in (run("-c", file, "--check-config"), run("-c", file)):
        assert told.returncode == EXIT_CONFIGURATION
        assert SECRET[:16] not in told.stdout + told.stderr


# ---- secrets that cannot be read: only a start looks at them ----


def test_a_missing_key_file_is_told_with_its_account(tmp_path, file):
    file.write_text(account(account_key=f"file:{tmp_path}/missing.key"))
    assert run("-c", file, "--check-config").returncode == 0
    started = run("-c", file)
    assert started.returncode == 1
    assert started.stderr == (
        f"mrtokend: error: {file}:4: [account anchors]: account_key: cannot open "
        f"{tmp_path}/missing.key: No such file or directory\n"
    )


def test_an_empty_key_file_is_told_with_its_account(tmp_path, file):
    key = tmp_path / "empty.key"
    key.touch(mode=0o600)
    key.write_text("\n")
    file.write_text(account(account_key=f"file:{key}"))
    started = run("-c", file)
    assert started.returncode == 1
    assert started.stderr == (
        f"mrtokend: error: {file}:4: [account anchors]: account_key: file:{key} is empty: "
        "expected a secret in it\n"
    )


def test_a_missing_credential_is_told_with_what_makes_it(file):
    file.write_text(account(account_key="credential:anchors-key"))
    started = run("-c", file)
    assert started.returncode == 1
    assert (
        f"{file}:4: [account anchors]: account_key: credential:anchors-key needs "
        "$CREDENTIALS_DIRECTORY, which systemd sets for a unit with LoadCredential="
    ) in started.stderr


def test_a_key_file_that_all_can_read_is_a_warning(make_daemon, emulator, key_file):
    key_file.chmod(0o644)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    assert running.wait_for_log(f"warning: {key_file} holds a secret and can be read by every user")
    running.wait_for_token("anchors")


def test_systemds_credentials_directory_is_read(make_daemon, emulator, tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "anchors-key").touch(mode=0o400)
    (tmp_path / "credentials" / "anchors-key").write_text(KEY)
    running = make_daemon(
        account_section("anchors", emulator, None, account_key="credential:anchors-key"),
        environment={"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")},
    ).start()
    running.wait_for_token("anchors")


# ---- drop-ins ----


def drop_in(file, name, text):
    directory = file.parent / "mrtokend.conf.d"
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text)
    return directory / name


def test_drop_ins_come_in_the_order_of_their_names(file):
    drop_in(file, "20-b.conf", "[daemon]\nlog_level = debug\n")
    drop_in(file, "10-a.conf", "[daemon]\nlog_level = error\n[account anchors]\nrequired = no\n")
    drop_in(file, "30-c.conf.disabled", "[daemon]\nlog_level = nonsense\n")
    drop_in(file, ".40-d.conf", "[daemon]\nlog_level = nonsense\n")
    shown = run("-c", file, "--check-config")
    assert shown.returncode == 0, shown.stderr
    assert "log_level = debug\n" in shown.stdout
    assert "required = no\n" in shown.stdout
    read = re.findall("^# read (.*)$", shown.stdout, re.MULTILINE)
    assert read == [str(file), f"{file}.d/10-a.conf", f"{file}.d/20-b.conf"]


def test_a_mistake_in_a_drop_in_is_told_with_its_file(file):
    path = drop_in(file, "10-a.conf", "[daemon]\n\nlog_levle = debug\n")
    check_refused(
        file, [f"{path}:3: [daemon]: unknown key 'log_levle'; did you mean 'log_level'?"]
    )


# ---- what a good one says, and the options ----


def test_check_config_prints_what_was_understood(file):
    shown = run("--config", file, "--check-config")
    assert (shown.returncode, shown.stderr) == (0, "")
    understood, _, last = shown.stdout.rpartition("\n\n")
    assert re.fullmatch(r"# the systemd units of peers are told by \w+.*\n", last)
    assert f"{understood}\n" == f"""\
# read {file}

[daemon]
default_account = anchors
log_level = warning

[listener main]
path = /nowhere/mrtokend.sock
mode = 0660

[account anchors]
kind = mixed_reality
account_id = {ACCOUNT_ID}
account_domain = eastus2.mixedreality.azure.com
endpoint = https://sts.eastus2.mixedreality.azure.com
credential = account_key
account_key = file:/nowhere/anchors.key
required = yes
"""


def test_what_check_config_prints_is_the_same_configuration(file):
    shown = run("-c", file, "--check-config").stdout
    file.write_text(shown)
    assert run("-c", file, "--check-config").stdout == shown


def test_check_config_tells_when_it_cannot_print(file):
    with open("/dev/full", "w") as full:
        checked = subprocess.run(
            [binary("mrtokend"), "-c", file, "--check-config"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert checked.returncode == 1
    assert checked.stderr == "mrtokend: cannot write: No space left on device\n"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_option_and_exit_status(option):
    shown = run(option)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Usage: mrtokend [OPTION]...\n")
    for word in ("-c, --config FILE", "--check-config", "-h, --help", "-V, --version", "SIGHUP"):
        assert word in shown.stdout
    assert "0 stopped in order, 1 failed, 2 wrong usage, 78 bad configuration" in shown.stdout


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_one_line(option):
    shown = run(option)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.fullmatch(r"mrtokend \d+\.\d+\.\d+\S*\n", shown.stdout)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--nonsense"], "unrecognized option '--nonsense'"),
        (["--config"], "option '--config' requires an argument"),
        (["stray"], "mrtokend: found 'stray', expected options only"),
        (["--check-config", "stray"], "mrtokend: found 'stray', expected options only"),
    ],
)
def test_wrong_usage_is_told_with_where_to_look(arguments, message):
    told = run(*arguments)
    assert (told.returncode, told.stdout) == (EXIT_USAGE, "")
    assert message in told.stderr
    assert told.stderr.endswith("Try 'mrtokend --help'.\n")


def test_a_value_of_a_drop_in_is_told_with_the_drop_in(tmp_path, file):
    file.write_text(account())
    drop_ins = tmp_path / (file.name + ".d")
    drop_ins.mkdir()
    (drop_ins / "9.conf").write_text(
        f"[daemon]\n\n\ndefault_account = zzz\n[account anchors]\naccount_key = file:{tmp_path}/no\n"
    )
    checked = run("-c", file, "--check-config")
    assert f"{drop_ins}/9.conf:4: [daemon]: default_account: found 'zzz'" in checked.stderr
    (drop_ins / "9.conf").write_text(f"[account anchors]\naccount_key = file:{tmp_path}/no\n")
    started = run("-c", file)
    assert f"{drop_ins}/9.conf:2: [account anchors]: account_key: cannot open" in started.stderr


@pytest.mark.parametrize(
    "content, reason",
    [(None, "cannot open {}: No such file"), ("no PEM", "found no certificate in {}, expected a PEM")],
    ids=["missing", "no PEM"],
)
def test_a_useless_ca_file_is_refused_at_the_start(tmp_path, file, content, reason):
    path = tmp_path / "useless.pem"
    if content is not None:
        path.write_text(content)
    key = tmp_path / "good.key"
    key.touch(mode=0o600)
    key.write_text("c29tZS1rZXk=\n")
    file.write_text(
        section("daemon", {"ca_file": str(path)}) + account(account_key=f"file:{key}")
    )
    started = run("-c", file)
    assert started.returncode == 1
    assert "[daemon]: ca_file: " + reason.format(path) in started.stderr
