"""Accounts whose credential is `default`: the chain of DefaultAzureCredential, on hosts of all kinds."""

import os
import pwd
import re
import subprocess
import time

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.credentials import (
    federated_token,
    federation,
    rsa_key,
    token_requests,
    write_secret,
)
from rig.daemon import APP, STORAGE, TENANT, account_keys, binary, configuration, probe
from rig.tools import PROGRAMS, answer_of

SECRET = "default~Secret+of/the=app"
SYSTEM = "e3a1c0de-0000-4000-8000-0000000000c1"
ACCOUNT = {"kind": "entra", "scope": STORAGE, "credential": "default"}

# In the order of the SDKs, with the names that AZURE_TOKEN_CREDENTIALS has for them.
CLASSES = {
    "environment": "EnvironmentCredential",
    "workload_identity": "WorkloadIdentityCredential",
    "managed_identity": "ManagedIdentityCredential",
    "azure_cli": "AzureCliCredential",
    "azure_powershell": "AzurePowerShellCredential",
    "azure_developer_cli": "AzureDeveloperCliCredential",
}
KINDS = list(CLASSES)

# A host that reaches nothing at all, not even itself.
WITHOUT_NETWORK = ["/usr/bin/unshare", "-n" if os.geteuid() == 0 else "-rn"]


class Host:
    """What a daemon finds around it; at first nothing that is of use."""

    def __init__(self, emulator, tools, directory):
        self._emulator = emulator
        self._directory = directory
        self.tools = tools
        self.environment = {
            "PATH": str(tools.directory),
            "AZURE_AUTHORITY_HOST": emulator.entra,
            **emulator.environment("imds"),
        }
        emulator.put_app(APP, secrets=[SECRET], federated=[federation(rsa_key("cluster"))])
        for identity in emulator.identities():
            emulator.delete_identity(identity)

    def offer(self, *kinds):
        for kind in kinds:
            if kind in PROGRAMS:
                answer = answer_of(kind, f"token.of.{kind}", int(time.time()) + 3600)
                self.tools.put(PROGRAMS[kind], output=answer)
            else:
                getattr(self, f"_offer_{kind}")()

    def _offer_environment(self):
        self.environment.update(
            AZURE_TENANT_ID=TENANT, AZURE_CLIENT_ID=APP, AZURE_CLIENT_SECRET=SECRET
        )

    def _offer_workload_identity(self):
        path = write_secret(self._directory / "federated", federated_token(rsa_key("cluster")))
        self.environment.update(
            AZURE_TENANT_ID=TENANT, AZURE_CLIENT_ID=APP, AZURE_FEDERATED_TOKEN_FILE=str(path)
        )

    def _offer_managed_identity(self):
        self._emulator.put_identity(SYSTEM, system_assigned=True)

    def was_asked(self):
        """The kinds that left a trace: of those that describe nothing there is none."""
        asked = set()
        if token_requests(self._emulator):
            asked.add("entra")
        if self._emulator.requests(server="imds"):
            asked.add("managed_identity")
        return asked | {kind for kind in PROGRAMS if self.tools.calls(PROGRAMS[kind])}


@pytest.fixture
def host(emulator, tools, tmp_path):
    emulator.change_settings(entra_expires_in_s=3599, entra_refresh_in_s=0)
    return Host(emulator, tools, tmp_path)


@pytest.fixture
def serve(make_daemon, emulator, key_file, host):
    """Start a daemon with the account, and with `other`, which has an account key."""

    def start(**environment):
        accounts = {"storage": ACCOUNT, "other": account_keys(emulator, key_file)}
        return make_daemon(
            configuration(emulator, accounts), environment={**host.environment, **environment}
        ).start()

    return start


def in_use(daemon):
    daemon.wait_for_token("storage")
    return daemon.account("storage")["credential_in_use"]


def error_of(daemon):
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    daemon.wait_for_token("other")
    return error


def members_of(message):
    """The kinds that an error of the chain lists, in its order."""
    assert message.startswith("no credential gave a token: ")
    return re.findall(rf"(?:: |; )({'|'.join(KINDS)}): ", message)


# ---- order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_takes_the_first_that_the_host_offers(serve, host, kind):
    place = KINDS.index(kind)
    host.offer(*KINDS[place:])
    if kind == "managed_identity":
        assert "AZURE_CLIENT_ID" not in host.environment
    assert in_use(serve()) == kind
    entra = {"entra"} if place < 2 else set()
    assert host.was_asked() - {"managed_identity"} == entra | ({kind} & set(PROGRAMS))
    assert ("managed_identity" in host.was_asked()) == (place >= 2)


def test_ends_at_a_service_credential_that_was_used_and_failed(serve, host, emulator):
    host.offer(*KINDS)
    emulator.put_app(APP, secrets=["another"])
    error = error_of(serve())
    assert (error["code"], error["upstream_code"]) == ("denied", "AADSTS7000215")
    assert members_of(error["message"]) == ["environment"]
    assert host.was_asked() == {"entra"}


def test_ends_at_a_managed_identity_that_is_there_and_fails(serve, host, emulator):
    host.offer("managed_identity", "azure_cli")
    emulator.add_fault("status", server="imds", status=405, count=0)
    error = error_of(serve())
    assert (error["code"], error["status"]) == ("refused", 405)
    assert members_of(error["message"]) == KINDS[:3]
    assert host.was_asked() == {"managed_identity"}


def test_goes_on_where_a_developer_tool_fails_in_any_way(serve, host, tools):
    tools.put("az", complaint="ERROR: AADSTS50076: multi-factor authentication\n", status=1)
    tools.put("pwsh", output="<html>surprise</html>")
    host.offer("azure_developer_cli")
    assert in_use(serve()) == "azure_developer_cli"
    assert host.was_asked() == {"managed_identity", *PROGRAMS}


# ---- AZURE_TOKEN_CREDENTIALS -------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, kind",
    [
        ("", "environment"),
        ("prod", "environment"),
        ("dev", "azure_cli"),
        (" DEV\t", "azure_cli"),
        *((class_name, kind) for kind, class_name in CLASSES.items() if kind in PROGRAMS),
        ("workloadidentitycredential", "workload_identity"),
        ("EnvironmentCredential", "environment"),
    ],
)
def test_the_variable_chooses_which_are_tried(serve, host, value, kind):
    host.offer(*KINDS)
    assert in_use(serve(AZURE_TOKEN_CREDENTIALS=value)) == kind
    assert host.was_asked() == {kind if kind in PROGRAMS else "entra"}


def test_the_variable_chooses_the_managed_identity(serve, host):
    host.offer("managed_identity", *PROGRAMS)
    assert in_use(serve(AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential")) == "managed_identity"


@pytest.mark.parametrize(
    "value, offered, tried",
    [("prod", PROGRAMS, KINDS[:3]), ("dev", KINDS[:3], KINDS[3:])],
    ids=["prod", "dev"],
)
def test_nothing_beyond_what_the_variable_chooses_is_tried(serve, host, value, offered, tried):
    host.offer(*offered)
    error = error_of(serve(AZURE_TOKEN_CREDENTIALS=value))
    assert error["code"] == "unavailable"
    assert members_of(error["message"]) == tried
    assert host.was_asked() <= set(tried)


# ---- the one that worked -----------------------------------------------------------------------


def test_the_one_that_worked_is_asked_alone_from_then_on(serve, host, tools):
    tools.put("az", complaint="ERROR: Please run 'az login' to setup account.\n", status=1)
    tools.put("pwsh", output=answer_of("azure_powershell", "first.of.pwsh", int(time.time()) + 6))
    daemon = serve()
    assert in_use(daemon) == "azure_powershell"
    # Those before it become of use, which changes nothing.
    host.offer("managed_identity", "azure_cli", "azure_powershell")
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    assert daemon.token("storage")["token"] == "token.of.azure_powershell"
    assert daemon.account("storage")["credential_in_use"] == "azure_powershell"
    assert len(tools.calls("az")) == 1 and len(tools.calls("pwsh")) == 2


def test_a_failure_of_the_one_that_worked_is_told_alone(serve, host, tools):
    tools.put("pwsh", output=answer_of("azure_powershell", "first.of.pwsh", int(time.time()) + 6))
    daemon = serve()
    assert in_use(daemon) == "azure_powershell"
    host.offer("azure_cli")
    tools.put("pwsh", complaint="ERROR: no such thing\n", status=3)
    message = error_of(daemon)["message"]
    assert "Azure PowerShell exited with 3: ERROR: no such thing" in message
    assert not any(kind in message for kind in KINDS)
    assert tools.calls("az") == []


# ---- when none is of use -----------------------------------------------------------------------


def test_when_all_fail_one_error_lists_each_and_why(make_daemon, emulator, tools):
    """In the log, at /v1/accounts, to who asks for a token, and in mrtoken status."""
    tools.put("pwsh", complaint="Get-AzAccessToken: Run Connect-AzAccount to login.\n", status=1)
    tools.put("azd", output="<html>")
    daemon = make_daemon(
        configuration(emulator, {"storage": ACCOUNT}),
        environment={"PATH": str(tools.directory)},
        wrap=WITHOUT_NETWORK,
    ).start()
    line = daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    message = error["message"]
    assert members_of(message) == KINDS
    for kind, why in {
        "environment": "the environment describes no credential: none of AZURE_TENANT_ID, ",
        "workload_identity": "the environment describes no workload identity: it lacks AZURE_",
        "managed_identity": "no managed identity endpoint here (IMDS): no answer from http://169.",
        "azure_cli": "the Azure CLI is not installed where the daemon looks for it",
        "azure_powershell": "Azure PowerShell is not logged in: run 'pwsh -Command Connect-AzA",
        "azure_developer_cli": "the Azure Developer CLI printed what is no JSON object",
    }.items():
        assert f"{kind}: {why}" in message
    assert f"{message}; there is no valid token; trying again in" in line
    answer = daemon.get("/v1/accounts/storage/token")
    assert answer.status == 503 and message in answer.json()["error"]["message"]
    shown = subprocess.run(
        [binary("mrtoken"), "status", "storage", "--socket", str(daemon.socket)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"storage +failed ", shown.stdout)
    assert message in shown.stdout


def test_an_account_of_the_sts_tells_it_too(make_daemon, emulator, host, key_file):
    anchors = account_keys(emulator, key_file, account_key=None, credential="default")
    daemon = make_daemon(
        configuration(emulator, {"anchors": anchors}), environment=host.environment
    ).start()
    daemon.wait_for_failure("anchors")
    error = daemon.account("anchors")["last_error"]
    assert (error["code"], members_of(error["message"])) == ("unavailable", KINDS)
    assert emulator.requests(server="sts") == []


def test_serves_an_account_of_the_sts(make_daemon, emulator, host, key_file):
    host.offer("environment")
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])
    anchors = account_keys(emulator, key_file, account_key=None, credential="default")
    daemon = make_daemon(
        configuration(emulator, {"anchors": anchors}), environment=host.environment
    ).start()
    daemon.wait_for_token("anchors")
    assert daemon.account("anchors")["credential_in_use"] == "environment"


# ---- mrtoken check --probe ---------------------------------------------------------------------


def probe_storage(emulator, host, tmp_path, **keys):
    # Root's probe runs programs only as a user who is named.
    me = pwd.getpwuid(os.geteuid()).pw_name
    config = configuration(emulator, {"storage": {**ACCOUNT, "run_as": me, **keys}})
    return probe(tmp_path, config, "storage", host.environment)


def test_a_probe_goes_through_the_chain(emulator, host, tools, tmp_path):
    tools.put("az", complaint="ERROR: no such thing\n", status=3)
    host.offer("azure_powershell", "azure_developer_cli")
    result = probe_storage(emulator, host, tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    beginnings = [
        "credential environment: not available here: the environment describes no credential: ",
        "credential workload_identity: not available here: the environment describes no workload",
        "credential managed_identity: not available here: ",
        "credential azure_cli: failed: the Azure CLI exited with 3: ERROR: no such thing",
        f"credential azure_powershell: gave a token for {STORAGE} that is valid for ",
        "upstream entra: gave a token that is valid for ",
    ]
    assert len(lines) == len(beginnings)
    for line, beginning in zip(lines, beginnings):
        assert line.startswith(beginning), line
    assert tools.calls("azd") == []


def test_a_probe_ends_where_the_daemon_does(emulator, host, tools, tmp_path, make_daemon):
    """In a list that is no `default`, a tool that was used and failed is the last."""
    tools.put("az", complaint="ERROR: no such thing\n", status=3)
    host.offer("azure_developer_cli")
    keys = {"credential": "azure_cli, azure_developer_cli"}
    result = probe_storage(emulator, host, tmp_path, **keys)
    daemon = make_daemon(
        configuration(emulator, {"storage": {**ACCOUNT, **keys}}), environment=host.environment
    ).start()
    daemon.wait_for_failure("storage")
    assert result.returncode == 5
    (line,) = result.stdout.splitlines()
    assert line.startswith("credential azure_cli: failed: the Azure CLI exited with 3")
    assert tools.calls("azd") == []
