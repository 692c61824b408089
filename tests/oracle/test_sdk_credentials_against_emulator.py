"""The credentials of azure.identity, as Debian ships it, against the emulator.

One test for each credential: where the real client gets its token, the emulator asks no more of a
client than the service does; what it recorded is what a replacement has to send.
"""

import base64
import json
import os
import re
import time

import msal
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mixedreality.authentication import MixedRealityStsClient

from rig.emulator import Emulator

ID = "4b1c3c5e-1111-4222-8333-0123456789ab"
KEY = "b3JhY2xlLWtleS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM="
DOMAIN = "eastus2.mixedreality.azure.com"
TENANT = "e3a1c0de-0000-4000-8000-000000000001"
APP = "a9900001-0000-4000-8000-000000000001"
SECRET = "oracle~Secret+with/odd=characters & a space"
STS_SCOPE = "https://sts.mixedreality.azure.com//.default"
SCOPE = "https://storage.azure.com/.default"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("oracle"), {ID: KEY}) as emulator:
        yield emulator


@pytest.fixture
def emulator(running, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in [name for name in os.environ if name.startswith(("AZURE_", "MSI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", running.ca_file)
    running.clear_faults()
    running.clear_requests()
    running.put_app(APP, secrets=[SECRET])
    running.put_account(ID, KEY, apps=[APP])
    yield running
    running.clear_faults()
    running.delete_app(APP)


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def entra_options(emulator):
    """What every credential of a user of a private authority is given."""
    return {"authority": emulator.entra, "instance_discovery": False}


def secret_credential(emulator, secret=SECRET, **options):
    return ClientSecretCredential(TENANT, APP, secret, **{**entra_options(emulator), **options})


def assert_no_complaints(emulator):
    complaints = [(r["server"], r["target"], r["complaint"]) for r in emulator.requests()]
    assert [one for one in complaints if one[2] is not None] == []


def assert_fails(credential, code, scope=SCOPE):
    """The real client says that the credential was refused, and has the service's words."""
    with pytest.raises(ClientAuthenticationError) as caught:
        credential.get_token(scope)
    assert f"AADSTS{code}: " in caught.value.message
    for line in (r"\bTrace ID: [0-9a-f-]{36}", r"\bCorrelation ID: [0-9a-f-]{36}"):
        assert re.search(line, caught.value.message)
    return caught.value


# ---- a secret ----------------------------------------------------------------------------------


def test_client_secret_credential(emulator):
    token = secret_credential(emulator).get_token(SCOPE)
    claims = claims_of(token.token)
    assert abs(token.expires_on - claims["exp"]) <= 2
    assert abs(token.expires_on - time.time() - 3599) < 10
    assert claims["aud"] == "https://storage.azure.com"
    assert claims["tid"] == TENANT and claims["appid"] == APP
    assert_no_complaints(emulator)
    discovery, asked = emulator.requests(server="entra")
    assert discovery["path"] == f"/{TENANT}/v2.0/.well-known/openid-configuration"
    assert asked["path"] == f"/{TENANT}/oauth2/v2.0/token"


def test_msal_finds_the_authority_by_instance_discovery(emulator):
    """By MSAL alone: under azure.identity it also asks a host whose name it has built in."""
    application = msal.ConfidentialClientApplication(
        APP,
        client_credential=SECRET,
        authority=f"{emulator.entra}/{TENANT}",
        instance_discovery=f"{emulator.entra}/common/discovery/instance",
    )
    assert "access_token" in application.acquire_token_for_client([SCOPE])
    assert_no_complaints(emulator)
    assert emulator.requests(server="entra")[0]["path"] == "/common/discovery/instance"


def test_client_secret_credential_with_a_wrong_secret(emulator):
    error = assert_fails(secret_credential(emulator, "wrong"), 7000215)
    assert SECRET not in error.message


def test_client_secret_credential_with_an_expired_secret(emulator):
    emulator.put_app(APP, secrets=["other", {"secret": SECRET, "expires_on": 1600000000}])
    assert_fails(secret_credential(emulator), 7000222)


def test_client_secret_credential_of_an_unknown_app(emulator):
    emulator.delete_app(APP)
    assert_fails(secret_credential(emulator), 700016)
    emulator.put_app(APP, secrets=[SECRET])


def test_client_secret_credential_in_an_unknown_tenant(emulator):
    credential = ClientSecretCredential(
        "00000000-1111-4222-8333-444444444444", APP, SECRET, **entra_options(emulator)
    )
    with pytest.raises(ClientAuthenticationError) as caught:
        credential.get_token(SCOPE)
    assert "Unable to get authority configuration" in str(caught.value)


def test_client_secret_credential_without_consent(emulator):
    emulator.put_app(APP, secrets=[SECRET], resources=["https://sts.mixedreality.azure.com"])
    assert_fails(secret_credential(emulator), 65001)


def test_client_secret_credential_is_throttled_and_obeys(emulator):
    credential = secret_credential(emulator)
    credential.get_token(STS_SCOPE)  # so that the authority is known
    emulator.add_fault("status", server="entra", status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    assert credential.get_token(SCOPE).token
    assert time.monotonic() - started >= 1


# ---- the exchange at the STS -------------------------------------------------------------------


def sts_client(emulator, credential):
    return MixedRealityStsClient(
        ID,
        DOMAIN,
        credential,
        custom_endpoint_url=emulator.sts,
        connection_verify=emulator.ca_file,
    )


@pytest.mark.parametrize("version", [1, 2])
def test_sts_client_with_an_entra_credential(emulator, version):
    emulator.change_settings(entra_token_version=version)
    try:
        with sts_client(emulator, secret_credential(emulator)) as client:
            token = client.get_token()
    finally:
        emulator.change_settings(entra_token_version=1)
    claims = claims_of(token.token)
    assert claims["aid"] == ID and claims["tid"] == TENANT
    assert token.expires_on == claims["exp"]
    assert_no_complaints(emulator)
    (asked,) = emulator.requests(server="sts")
    bearer = dict(asked["headers"])["Authorization"].removeprefix("Bearer ")
    assert claims_of(bearer)["aud"] == emulator.sts


def test_sts_client_without_permission_is_forbidden(emulator):
    emulator.put_account(ID, KEY, apps=[])
    with sts_client(emulator, secret_credential(emulator)) as client:
        with pytest.raises(HttpResponseError) as caught:
            client.get_token()
    assert caught.value.status_code == 403


def test_sts_client_with_a_wrong_secret(emulator):
    with sts_client(emulator, secret_credential(emulator, "wrong")) as client:
        with pytest.raises(ClientAuthenticationError) as caught:
            client.get_token()
    assert "AADSTS7000215" in caught.value.message
    assert emulator.requests(server="sts") == []
