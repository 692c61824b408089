"""Accounts whose credential is a developer tool: az, azd and pwsh, by stand-ins for them."""

import base64
import contextlib
import datetime
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import tempfile
import time

import pytest
import requests

from conftest import ACCOUNT_ID, KEY
from rig.daemon import APP, STORAGE, TENANT, Daemon, account_keys, configuration, probe
from rig.tools import PROGRAMS, Tools, answer_of, children_of, is_alive, wait_until_gone

SECRET = "whole~Secret+of/the=app & its tools"
STS_SCOPE = "https://sts.mixedreality.azure.com//.default"
STS_RESOURCE = "https://sts.mixedreality.azure.com/"
STORAGE_RESOURCE = "https://storage.azure.com"
OTHER_TENANT = "contoso.onmicrosoft.com"

NAMES = {
    "azure_cli": "the Azure CLI",
    "azure_developer_cli": "the Azure Developer CLI",
    "azure_powershell": "Azure PowerShell",
}
every_tool = pytest.mark.parametrize("kind", PROGRAMS)


def arguments_of(kind, scope, resource, tenant=None):
    """The command line, without its program; of pwsh the script is looked at by itself."""
    if kind == "azure_cli":
        words = ["account", "get-access-token", "--output", "json", "--resource", resource]
        return words + (["--tenant", tenant] if tenant else [])
    if kind == "azure_developer_cli":
        words = ["auth", "token", "--output", "json", "--no-prompt", "--scope", scope]
        return words + (["--tenant-id", tenant] if tenant else [])
    return None


def script_of(call):
    """What pwsh was told to do."""
    assert call["arguments"][:3] == ["-NoProfile", "-NonInteractive", "-EncodedCommand"]
    (encoded,) = call["arguments"][3:]
    return base64.b64decode(encoded, validate=True).decode("utf-16-le")


@pytest.fixture
def entra_token(emulator):
    """Get a token that the emulated Entra ID really gives: (token, expires_on)."""
    emulator.put_app(APP, secrets=[SECRET])
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])

    def get(scope):
        form = {
            "grant_type": "client_credentials",
            "client_id": APP,
            "client_secret": SECRET,
            "scope": scope,
        }
        url = f"{emulator.entra}/{TENANT}/oauth2/v2.0/token"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, data=form, verify=emulator.ca_file)
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return token, claims["exp"]

    return get


@pytest.fixture
def keys(emulator):
    """Make the keys of an account whose credential is the tool."""

    def make(kind, upstream="entra", **changes):
        if upstream == "entra":
            return {"kind": "entra", "scope": STORAGE, "credential": kind, **changes}
        return {
            "account_id": ACCOUNT_ID,
            "account_domain": "eastus2.mixedreality.azure.com",
            "endpoint": emulator.sts,
            "credential": kind,
            **changes,
        }

    return make


@pytest.fixture
def serve(make_daemon, emulator, key_file, tools):
    """Start a daemon with these accounts, and `other`, which has an account key."""

    def start(accounts, environment=None, **options):
        accounts = {"other": account_keys(emulator, key_file), **accounts}
        return make_daemon(
            configuration(emulator, accounts),
            environment={"PATH": tools.path, **(environment or {})},
            **options,
        ).start()

    return start


def assert_failed(daemon, account, code, message):
    """The account tells why it has no token, its clients are told too, and `other` is served."""
    daemon.wait_for_failure(account)
    found = daemon.account(account)
    assert found["state"] == "failed"
    error = found["last_error"]
    assert (error["code"], message in error["message"]) == (code, True), error
    answer = daemon.get(f"/v1/accounts/{account}/token")
    assert answer.status == 503
    assert message in answer.json()["error"]["message"]
    daemon.wait_for_token("other")
    assert daemon.token("other")["token"]


# ---- what is served ----------------------------------------------------------------------------


@every_tool
def test_serves_the_tools_token_itself(serve, keys, tools, entra_token, kind):
    token, expires_on = entra_token(STORAGE)
    tools.put(
        PROGRAMS[kind],
        arguments=arguments_of(kind, STORAGE, STORAGE_RESOURCE),
        output=answer_of(kind, token, expires_on),
    )
    daemon = serve({"storage": keys(kind)})
    daemon.wait_for_token("storage")
    served = daemon.token("storage")
    assert (served["token"], served["expires_on"]) == (token, expires_on)
    assert daemon.account("storage")["credential_in_use"] == kind
    assert children_of(daemon.pid) == []


@every_tool
def test_exchanges_the_tools_token_at_the_sts(serve, keys, tools, entra_token, emulator, kind):
    token, expires_on = entra_token(STS_SCOPE)
    tools.put(
        PROGRAMS[kind],
        arguments=arguments_of(kind, STS_SCOPE, STS_RESOURCE, OTHER_TENANT),
        output=answer_of(kind, token, expires_on),
    )
    daemon = serve({"anchors": keys(kind, "mixed_reality", tenant_id=OTHER_TENANT)})
    daemon.wait_for_token("anchors")
    assert daemon.token("anchors")["account_id"] == ACCOUNT_ID
    sent = [dict(one["headers"])["Authorization"] for one in emulator.requests(server="sts")]
    assert f"Bearer {token}" in sent


def test_tells_powershell_what_to_get(serve, keys, tools):
    tools.put("pwsh", status=1)
    daemon = serve(
        {
            "anchors": keys("azure_powershell", "mixed_reality"),
            "storage": keys("azure_powershell", tenant_id=OTHER_TENANT),
        }
    )
    daemon.wait_for_failure("anchors")
    daemon.wait_for_failure("storage")
    commands = {
        line
        for call in tools.calls("pwsh")
        for line in script_of(call).splitlines()
        if "Get-AzAccessToken" in line
    }
    assert commands == {
        f"$answer = Get-AzAccessToken -ResourceUrl '{STS_RESOURCE}'",
        f"$answer = Get-AzAccessToken -ResourceUrl '{STORAGE_RESOURCE}' -TenantId '{OTHER_TENANT}'",
    }


def test_prefers_the_expiry_that_newer_versions_of_az_tell(serve, keys, tools, entra_token):
    token, expires_on = entra_token(STORAGE)
    answer = {"accessToken": token, "expiresOn": "1999-01-01 00:00:00.000000"}
    tools.put("az", output=json.dumps({**answer, "expires_on": expires_on}))
    daemon = serve({"storage": keys("azure_cli")})
    daemon.wait_for_token("storage")
    assert daemon.token("storage")["expires_on"] == expires_on


def test_reads_local_time_in_the_zone_that_az_has(serve, keys, tools, entra_token):
    token, expires_on = entra_token(STORAGE)
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    local = datetime.datetime.fromtimestamp(expires_on, zone).strftime("%Y-%m-%d %H:%M:%S.%f")
    tools.put("az", output=json.dumps({"accessToken": token, "expiresOn": local}))
    daemon = serve({"storage": keys("azure_cli")}, environment={"TZ": "XST-5:30"})
    daemon.wait_for_token("storage")
    assert daemon.token("storage")["expires_on"] == expires_on
    assert tools.calls("az")[0]["environment"]["TZ"] == "XST-5:30"


def test_accounts_with_one_tool_and_scope_share_one_run(serve, keys, tools, entra_token):
    token, expires_on = entra_token(STORAGE)
    tools.put("az", output=answer_of("azure_cli", token, expires_on))
    names = [f"a{number}" for number in range(20)]
    daemon = serve({name: keys("azure_cli") for name in names})
    for name in names:
        daemon.wait_for_token(name)
    assert len(tools.calls("az")) == 1


def test_a_chain_goes_on_from_tools_that_are_of_no_use(serve, keys, tools, entra_token):
    token, expires_on = entra_token(STORAGE)
    tools.put("pwsh", complaint="garbage\n", status=3)
    tools.put("azd", output=answer_of("azure_developer_cli", token, expires_on))
    daemon = serve(
        {"storage": keys("default")},
        environment={"PATH": str(tools.directory), "AZURE_TOKEN_CREDENTIALS": "dev"},
    )
    daemon.wait_for_token("storage")
    assert daemon.account("storage")["credential_in_use"] == "azure_developer_cli"
    assert len(tools.calls("pwsh")) == 1


# ---- how it is run -------------------------------------------------------------------------------


@every_tool
def test_gives_the_tool_nothing_of_the_daemons_own(serve, keys, tools, kind):
    tools.put(PROGRAMS[kind], status=1)
    own = {
        "AZURE_CLIENT_SECRET": "own~secret",
        "MIXEDREALITY_ACCOUNT_KEY": KEY,
        "CREDENTIALS_DIRECTORY": "/nowhere",
        "LD_BIND_NOW": "1",
    }
    passed = {
        "HOME": "/srv/home",
        "LANG": "C.UTF-8",
        "AZURE_CONFIG_DIR": "/srv/azure",
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1",
    }
    colour = {"azure_cli": "AZURE_CORE_NO_COLOR"}.get(kind, "NO_COLOR")
    daemon = serve({"storage": keys(kind)}, environment={**own, **passed})
    daemon.wait_for_failure("storage")
    (call,) = tools.calls(PROGRAMS[kind])
    environment = call["environment"]
    assert not set(own) & set(environment)
    assert "NOTIFY_SOCKET" not in environment
    assert environment.pop(colour) == "true"
    for name in ("USER", "LOGNAME"):
        environment.pop(name)
    environment.pop("LC_CTYPE", None)  # Python's own
    assert environment == {**passed, "PATH": tools.path}
    assert call["directory"] in ("/bin", "/usr/bin")
    assert call["input"] == ""
    assert call["descriptors"] == [0, 1, 2, 3]  # the last is that of the folder they are listed by
    assert call["ids"] == [os.getuid(), os.getgid(), sorted(os.getgroups())]


def test_looks_along_its_path_only(serve, keys, tools, tmp_path):
    tools.put("az", status=1)
    daemon = serve({"storage": keys("azure_cli")}, environment={"PATH": ".:"}, cwd=tools.directory)
    assert_failed(daemon, "storage", "unavailable", "there is no program az in PATH (.:)")
    assert tools.calls("az") == []


def test_runs_no_more_than_four_at_once(serve, keys, tools):
    tools.put("az", status=1, sleep_s=0.2)
    names = [f"a{number}" for number in range(20)]
    most = 0
    daemon = serve({name: keys("azure_cli", tenant_id=f"{name}.example") for name in names})
    while len(tools.calls("az")) < len(names):
        most = max(most, len(children_of(daemon.pid)))
    assert most == 4
    for name in names:
        daemon.wait_for_failure(name)
    assert {call["arguments"][-1] for call in tools.calls("az")} == {f"{n}.example" for n in names}


as_root = pytest.mark.skipif(os.getuid() != 0, reason="another user is for root only")


@pytest.fixture
def open_folder():
    """One that every user can enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mrtokend-test-", dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@as_root
def test_runs_the_tool_as_the_configured_user(serve, keys, open_folder):
    tools = Tools(open_folder / "tools")
    tools.put("az", status=1, complaint="Please run 'az login' to setup account.")
    daemon = serve(
        {"storage": keys("azure_cli", run_as="games")},
        environment={"PATH": tools.path, "HOME": "/root"},
    )
    assert_failed(daemon, "storage", "unavailable", "run 'az login' as the user games")
    call = tools.calls("az")[0]
    games = pwd.getpwnam("games")
    assert call["ids"] == [games.pw_uid, games.pw_gid, [games.pw_gid]]
    assert call["environment"]["HOME"] == games.pw_dir
    assert call["environment"]["USER"] == "games"


@as_root
def test_says_what_to_do_when_it_may_not_run_it_as_another(emulator, keys, open_folder):
    for file, content in [("ca.pem", pathlib.Path(emulator.ca_file).read_text()), ("key", KEY)]:
        (open_folder / file).write_text(content)
    accounts = {
        "other": account_keys(emulator, open_folder / "key"),
        "storage": keys("azure_cli", run_as="games"),
    }
    text = configuration(emulator, accounts, ca_file=open_folder / "ca.pem")
    with contextlib.closing(
        Daemon(open_folder, text, user=65534, group=65534, extra_groups=[])
    ) as daemon:
        daemon.start()
        message = "as the user games (uid 5): this process runs as uid 65534 and may not become"
        assert_failed(daemon, "storage", "configuration", f"cannot run az {message}")


# ---- what goes wrong -----------------------------------------------------------------------------

LOGIN_COMPLAINTS = {
    "azure_cli": ("ERROR: Please run 'az login' to setup account.", "az login"),
    "azure_developer_cli": (
        "ERROR: fetching token: not logged in, run `azd auth login` to login",
        "azd auth login",
    ),
    "azure_powershell": (
        "Get-AzAccessToken: Run Connect-AzAccount to login.",
        "pwsh -Command Connect-AzAccount",
    ),
}


@every_tool
def test_says_that_it_is_not_installed(serve, keys, tools, kind):
    daemon = serve({"storage": keys(kind)}, environment={"PATH": str(tools.directory)})
    message = (
        f"{NAMES[kind]} is not installed where the daemon looks for it: there is no program "
        f"{PROGRAMS[kind]} in PATH ({tools.directory})"
    )
    assert_failed(daemon, "storage", "unavailable", message)


@every_tool
def test_says_to_log_in(serve, keys, tools, kind):
    complaint, login = LOGIN_COMPLAINTS[kind]
    tools.put(PROGRAMS[kind], complaint=f"WARNING: something\n{complaint}\n", status=1)
    own = pwd.getpwuid(os.getuid())
    daemon = serve({"storage": keys(kind)}, environment={"HOME": own.pw_dir})
    message = (
        f"{NAMES[kind]} is not logged in: run '{login}' as the user {own.pw_name}, which is how "
        "the daemon runs it"
    )
    assert_failed(daemon, "storage", "unavailable", message)


def test_says_to_log_in_where_the_daemon_looks(serve, keys, tools):
    complaint, login = LOGIN_COMPLAINTS["azure_cli"]
    tools.put("az", complaint=complaint, status=1)
    daemon = serve({"storage": keys("azure_cli")}, environment={"AZURE_CONFIG_DIR": "/srv/azure"})
    user = pwd.getpwuid(os.getuid()).pw_name
    message = f"run 'az login' as the user {user} with AZURE_CONFIG_DIR=/srv/azure, which is how"
    assert_failed(daemon, "storage", "unavailable", message)


@every_tool
def test_shows_what_entra_said(serve, keys, tools, kind):
    complaint = (
        "ERROR: AADSTS50076: Due to a configuration change made by your administrator, you must "
        "use multi-factor authentication to access '797f4846'. Trace ID: 1 Correlation ID: 2\n"
        f"To re-authenticate, please run:\n{LOGIN_COMPLAINTS[kind][1]}\n"
    )
    tools.put(PROGRAMS[kind], complaint=complaint, status=1)
    daemon = serve({"storage": keys(kind)})
    message = (
        f"{NAMES[kind]}: Microsoft Entra ID refused its login: AADSTS50076: Due to a configuration "
        "change made by your administrator, you must use multi-factor authentication to access "
        f"'797f4846'.; run '{LOGIN_COMPLAINTS[kind][1]}' as the user "
    )
    assert_failed(daemon, "storage", "denied", message)
    assert daemon.account("storage")["last_error"]["upstream_code"] == "AADSTS50076"


@every_tool
def test_tells_how_it_failed(serve, keys, tools, kind):
    tools.put(PROGRAMS[kind], complaint="Traceback:\nERROR: no such thing\n", status=3)
    daemon = serve({"storage": keys(kind)})
    message = f"{NAMES[kind]} exited with 3: ERROR: no such thing"
    assert_failed(daemon, "storage", "upstream_fault", message)


@every_tool
@pytest.mark.parametrize("upstream", ["entra", "mixed_reality"])
def test_takes_no_garbage(serve, keys, tools, kind, upstream):
    tools.put(PROGRAMS[kind], output="<html>surprise</html>\n")
    daemon = serve({"storage": keys(kind, upstream)})
    what = "no token" if kind == "azure_powershell" else "what is no JSON object"
    assert_failed(daemon, "storage", "upstream_format", f"{NAMES[kind]} printed {what}")


@every_tool
def test_takes_no_huge_output(serve, keys, tools, kind):
    tools.put(PROGRAMS[kind], output="x" * 5_000_000, sleep_s=600)
    daemon = serve({"storage": keys(kind)})
    message = f"{PROGRAMS[kind]} printed more than 65536 bytes, and was killed"
    assert_failed(daemon, "storage", "upstream_format", message)
    for call in tools.calls(PROGRAMS[kind]):
        wait_until_gone(call["pid"])


@pytest.mark.parametrize("is_deaf", [False, True])
def test_takes_no_longer_than_ten_seconds(serve, keys, tools, is_deaf):
    for program in PROGRAMS.values():
        tools.put(program, sleep_s=600, is_deaf=is_deaf)
    started = time.monotonic()
    daemon = serve({kind: keys(kind) for kind in PROGRAMS})
    how = "nor when it was asked to by SIGTERM, and was killed" if is_deaf else "and was stopped"
    for kind, program in PROGRAMS.items():
        message = f"{program} did not end within 10 s, {how}"
        assert_failed(daemon, kind, "timeout", message)
    assert time.monotonic() - started >= (11 if is_deaf else 10)
    for program in PROGRAMS.values():
        wait_until_gone(tools.calls(program)[0]["pid"])


def test_a_scope_that_is_no_argument_is_an_error(serve, keys, tools):
    tools.put("az", status=1)
    daemon = serve({"storage": keys("azure_cli", scope="https://example.com/?a&b/.default")})
    assert_failed(daemon, "storage", "configuration", "scope: found 'https://example.com/?a&b/")
    assert tools.calls("az") == []


# ---- stopping --------------------------------------------------------------------------------------


def test_stops_at_once_with_the_tools_that_run(serve, keys, tools):
    tools.put("az", sleep_s=600, is_deaf=True)
    daemon = serve({"storage": keys("azure_cli")})
    pid = tools.wait_for_call("az")["pid"]
    started = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - started < 8
    assert not is_alive(pid)


def test_no_tool_outlives_a_daemon_that_was_killed(serve, keys, tools):
    tools.put("az", sleep_s=600, is_deaf=True)
    daemon = serve({"storage": keys("azure_cli")})
    pid = tools.wait_for_call("az")["pid"]
    assert daemon.kill() == -signal.SIGKILL
    wait_until_gone(pid)


def test_a_reload_ends_the_tool_of_an_account_that_went(serve, keys, tools, emulator, key_file):
    tools.put("az", sleep_s=600)
    daemon = serve({"storage": keys("azure_cli")})
    pid = tools.wait_for_call("az")["pid"]
    daemon.write_config(configuration(emulator, {"other": account_keys(emulator, key_file)}))
    daemon.reload()
    wait_until_gone(pid)
    assert children_of(daemon.pid) == []
    assert daemon.token("other")["token"]


def test_a_tool_that_someone_logs_in_with_later_is_used(serve, keys, tools, entra_token):
    complaint, _ = LOGIN_COMPLAINTS["azure_cli"]
    tools.put("az", complaint=complaint, status=1)
    daemon = serve({"storage": keys("azure_cli")})
    daemon.wait_for_failure("storage")
    token, expires_on = entra_token(STORAGE)
    tools.put("az", output=answer_of("azure_cli", token, expires_on))
    daemon.reload()
    daemon.wait_for_token("storage")
    assert daemon.token("storage")["token"] == token


def test_a_probe_explains_what_a_tool_said(keys, tools, emulator, tmp_path):
    complaint, _ = LOGIN_COMPLAINTS["azure_cli"]
    tools.put("az", complaint=complaint, status=1)
    config = configuration(emulator, {"storage": keys("azure_cli", run_as="root")})
    result = probe(tmp_path, config, "storage", {"PATH": tools.path})
    assert result.returncode != 0
    assert re.search(r"is not logged in: run 'az login' as the user \w+", result.stdout)
