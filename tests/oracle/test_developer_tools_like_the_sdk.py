"""How the daemon runs developer tools, beside how azure.identity does; and the real Azure CLI.

Both find the same stand-ins, which record how they are run; what may differ is written down here
with its reason, and nothing else may. The real `az` is Debian's, told by its own files that someone
is logged in with a managed identity, whose endpoint is the emulator's.
"""

import base64
import datetime
import json
import os
import pathlib
import re
import time

import azure.identity
import pytest
from azure.identity import (
    AzureCliCredential,
    AzurePowerShellCredential,
    CredentialUnavailableError,
)

from conftest import ACCOUNT_ID, KEY
from rig.daemon import STORAGE, TENANT, configuration
from rig.tools import Tools

REAL_AZ = pathlib.Path("/usr/bin/az")
SCOPES = [STORAGE, "https://sts.mixedreality.azure.com//.default", "api://app-1/User.Read"]
TENANTS = [None, TENANT, "contoso.onmicrosoft.com"]

# What every program needs, and the daemon passes on as the SDK does; the rest of its own
# environment the daemon keeps for itself, since there are secrets in it.
SHARED = {
    "PATH": None,
    "HOME": "/srv/home",
    "LANG": "C.UTF-8",
    "TZ": "XST-5:30",
    "AZURE_CONFIG_DIR": "/srv/azure",
}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    made = Tools(tmp_path / "tools")
    for name, value in {**SHARED, "PATH": made.path}.items():
        monkeypatch.setenv(name, value)
    time.tzset()
    yield made
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def by_daemon(make_daemon, emulator, tools):
    """Let the daemon ask the tool once, and tell what the account came to."""

    def ask(kind, scope=STORAGE, tenant=None, **environment):
        account = {"kind": "entra", "scope": scope, "credential": kind, "tenant_id": tenant}
        daemon = make_daemon(
            configuration(emulator, {"storage": account}),
            environment={name: os.environ[name] for name in SHARED} | environment,
        ).start()
        daemon.wait_for_outcome("storage")
        return daemon

    return ask


def in_hours(hours):
    return int(time.time()) // 60 * 60 + 3600 * hours


def relevant(call):
    names = set(SHARED) | {name for name in call["environment"] if "COLOR" in name}
    return {name: call["environment"].get(name) for name in names}


# ---- how they are run ------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("scope", SCOPES)
def test_az_is_run_as_the_sdk_runs_it(tools, by_daemon, scope, tenant):
    tools.put("az", status=1)
    with pytest.raises(Exception):
        AzureCliCredential(tenant_id=tenant or "").get_token(scope)
    by_daemon("azure_cli", scope, tenant)
    sdk, daemon = tools.calls("az")[:2]
    assert daemon["arguments"] == sdk["arguments"]
    assert relevant(daemon) == relevant(sdk)
    assert daemon["directory"] == sdk["directory"]


def powershell(call):
    """The options, and what Get-AzAccessToken is told."""
    *options, encoded = call["arguments"]
    script = base64.b64decode(encoded, validate=True).decode("utf-16-le")
    (resource, tenant), = re.findall(
        r"Get-AzAccessToken -ResourceUrl '([^']*)'(?: -TenantId '?([^'\s]*)'?)?\s", script
    )
    assert "Import-Module" in script and "2.2.0" in script
    assert "NO_AZ_ACCOUNT_MODULE" in script and "azsdk%" in script
    return options, resource, tenant


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("scope", SCOPES)
def test_pwsh_is_run_as_the_sdk_runs_it(tools, by_daemon, scope, tenant):
    tools.put("pwsh", status=1)
    with pytest.raises(CredentialUnavailableError):
        AzurePowerShellCredential(tenant_id=tenant or "").get_token(scope)
    by_daemon("azure_powershell", scope, tenant)
    sdk, daemon = tools.calls("pwsh")[:2]
    # Newer releases of the SDK leave the profiles of users out, too (azure-protocol.md D).
    options, *told = powershell(daemon)
    assert [option for option in options if option != "-NoProfile"] == [
        option for option in powershell(sdk)[0] if option != "-NoProfile"
    ]
    assert told == list(powershell(sdk)[1:])
    shared = {name: value for name, value in relevant(daemon).items() if name in SHARED}
    assert shared == {name: sdk["environment"].get(name) for name in SHARED}
    assert daemon["directory"] == sdk["directory"]


@pytest.mark.skipif(
    not hasattr(azure.identity, "AzureDeveloperCliCredential"),
    reason="this release of azure.identity has no AzureDeveloperCliCredential",
)
@pytest.mark.parametrize("tenant", TENANTS)
def test_azd_is_run_as_the_sdk_runs_it(tools, by_daemon, tenant):
    tools.put("azd", status=1)
    with pytest.raises(Exception):
        azure.identity.AzureDeveloperCliCredential(tenant_id=tenant or "").get_token(STORAGE)
    by_daemon("azure_developer_cli", STORAGE, tenant)
    sdk, daemon = tools.calls("azd")[:2]
    # Older releases of the SDK do not say --no-prompt.
    assert [word for word in daemon["arguments"] if word != "--no-prompt"] == [
        word for word in sdk["arguments"] if word != "--no-prompt"
    ]
    assert relevant(daemon) == relevant(sdk)


# ---- how they are understood -----------------------------------------------------------------------


def test_the_answer_of_az_means_the_same(tools, by_daemon):
    local = datetime.datetime.fromtimestamp(in_hours(2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    tools.put("az", output=json.dumps({"accessToken": "e30.e30.e30", "expiresOn": local}))
    sdk = AzureCliCredential().get_token(STORAGE)
    served = by_daemon("azure_cli").token("storage")
    assert (served["token"], served["expires_on"]) == (sdk.token, sdk.expires_on)
    assert sdk.expires_on == in_hours(2)


def test_the_answer_of_pwsh_means_the_same(tools, by_daemon):
    tools.put("pwsh", output=f"WARNING: old\n\nazsdk%e30.e30.e30%{in_hours(2)}\n\n")
    sdk = AzurePowerShellCredential().get_token(STORAGE)
    served = by_daemon("azure_powershell").token("storage")
    assert (served["token"], served["expires_on"]) == (sdk.token, sdk.expires_on)


UNAVAILABLE = {
    "not logged in": {"complaint": "ERROR: Please run 'az login' to setup account.", "status": 1},
    "no subscription": {"complaint": "Please run 'az account set'", "status": 1},
    "not found by a shell": {"complaint": "", "status": 127},
}


@pytest.mark.parametrize("what", UNAVAILABLE)
def test_az_is_unavailable_to_both(tools, by_daemon, what):
    tools.put("az", **UNAVAILABLE[what])
    with pytest.raises(CredentialUnavailableError):
        AzureCliCredential().get_token(STORAGE)
    assert by_daemon("azure_cli").account("storage")["last_error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    "how",
    [
        {"complaint": "Get-AzAccessToken: Run Connect-AzAccount to login.", "status": 1},
        {"output": "NO_AZ_ACCOUNT_MODULE\n"},
        {"status": 127},
    ],
)
def test_pwsh_is_unavailable_to_both(tools, by_daemon, how):
    tools.put("pwsh", **how)
    with pytest.raises(CredentialUnavailableError):
        AzurePowerShellCredential().get_token(STORAGE)
    assert by_daemon("azure_powershell").account("storage")["last_error"]["code"] == "unavailable"


def test_az_that_is_not_there_is_unavailable_to_both(tools, by_daemon, monkeypatch):
    monkeypatch.setenv("PATH", str(tools.directory))
    with pytest.raises(CredentialUnavailableError):
        AzureCliCredential().get_token(STORAGE)
    assert by_daemon("azure_cli").account("storage")["last_error"]["code"] == "unavailable"


# ---- the real Azure CLI ----------------------------------------------------------------------------

real_az = pytest.mark.skipif(not REAL_AZ.exists(), reason="the package azure-cli is not installed")


@pytest.fixture
def az(tools, tmp_path, emulator, monkeypatch):
    """The real az, beside an endpoint of a managed identity; it has a folder of its own."""
    folder = tmp_path / "azure"
    folder.mkdir()
    # No telemetry: it would be sent by a process of its own after the end of az.
    (folder / "config").write_text("[core]\ncollect_telemetry = no\n")
    (endpoint,) = emulator.environment("cloud_shell").items()
    wrapper = tools.directory / "az"
    wrapper.write_text(f"#!/bin/sh\nexport {endpoint[0]}={endpoint[1]}\nexec {REAL_AZ} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def log_in(folder):
    """What `az login --identity` leaves in its folder."""
    subscription = {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "test",
        "state": "Enabled",
        "user": {
            "name": "systemAssignedIdentity",
            "type": "servicePrincipal",
            "assignedIdentityInfo": "MSI",
        },
        "isDefault": True,
        "tenantId": TENANT,
        "environmentName": "AzureCloud",
        "homeTenantId": TENANT,
        "managedByTenants": [],
    }
    profile = {"installationId": "00000000-0000-0000-0000-000000000009"}
    (folder / "azureProfile.json").write_text(
        json.dumps({**profile, "subscriptions": [subscription]})
    )


@real_az
def test_the_real_az_says_to_log_in(az, by_daemon):
    error = by_daemon("azure_cli").account("storage")["last_error"]
    assert error["code"] == "unavailable"
    assert "the Azure CLI is not logged in: run 'az login' as the user " in error["message"]
    with pytest.raises(CredentialUnavailableError, match="az login"):
        AzureCliCredential().get_token(STORAGE)


@real_az
def test_the_real_az_gives_both_a_token(az, by_daemon):
    log_in(az)
    sdk = AzureCliCredential().get_token(STORAGE)
    served = by_daemon("azure_cli").token("storage")
    claims = []
    for token in (sdk.token, served["token"]):
        payload = token.split(".")[1]
        claims.append(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    assert claims[0]["aud"] == claims[1]["aud"] == "https://storage.azure.com"
    assert claims[0]["oid"] == claims[1]["oid"]
    assert abs(served["expires_on"] - claims[1]["exp"]) <= 2
    assert abs(sdk.expires_on - claims[0]["exp"]) <= 2


@real_az
def test_the_real_az_gives_a_token_that_the_sts_takes(az, make_daemon, emulator):
    log_in(az)
    emulator.put_account(ACCOUNT_ID, KEY, apps=list(emulator.identities()))
    account = {
        "account_id": ACCOUNT_ID,
        "account_domain": "eastus2.mixedreality.azure.com",
        "endpoint": emulator.sts,
        "credential": "azure_cli",
    }
    daemon = make_daemon(
        configuration(emulator, {"anchors": account}),
        environment={name: os.environ[name] for name in SHARED},
    ).start()
    daemon.wait_for_token("anchors")
    assert daemon.token("anchors")["account_id"] == ACCOUNT_ID


@real_az
def test_the_real_az_finds_a_tenant_that_it_does_not_know_in_its_arguments(az, by_daemon):
    log_in(az)
    error = by_daemon("azure_cli", tenant="contoso.onmicrosoft.com").account("storage")["last_error"]
    assert error["code"] == "upstream_fault"
    assert "Tenant shouldn't be specified for managed identity account" in error["message"]
