"""The credentials of azure.identity, as Debian ships it, against the emulator.

One test for each credential: where the real client gets its token, the emulator asks no more of a
client than the service does; what it recorded is what a replacement has to send.
"""

import base64
import concurrent.futures
import datetime
import json
import os
import re
import time
import urllib.parse
import uuid

import jwt
import msal
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
    DeviceCodeCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
)
from azure.identity._credentials import imds
from azure.mixedreality.authentication import MixedRealityStsClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from rig.emulator import Emulator

ID = "4b1c3c5e-1111-4222-8333-0123456789ab"
KEY = "b3JhY2xlLWtleS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM="
DOMAIN = "eastus2.mixedreality.azure.com"
TENANT = "e3a1c0de-0000-4000-8000-000000000001"
APP = "a9900001-0000-4000-8000-000000000001"
SECRET = "oracle~Secret+with/odd=characters & a space"
SYSTEM_IDENTITY = "e3a1c0de-0000-4000-8000-0000000000a1"
USER_IDENTITY = "e3a1c0de-0000-4000-8000-0000000000b2"
RESOURCE_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/oracle"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/oracle"
)
STS_SCOPE = "https://sts.mixedreality.azure.com//.default"
SCOPE = "https://storage.azure.com/.default"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    arc = ["--arc-directory", str(tmp_path_factory.mktemp("arc"))]
    with Emulator(tmp_path_factory.mktemp("oracle"), {ID: KEY}, arc) as emulator:
        yield emulator


@pytest.fixture
def emulator(running, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in list(os.environ):
        if name.startswith(("AZURE_", "MSI_", "IDENTITY_", "IMDS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", running.ca_file)
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", running.entra)
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


def test_sts_client_with_the_constant_scope_of_another_client(emulator):
    """The .NET client asks for one scope whatever the domain, with two slashes."""
    claims = claims_of(secret_credential(emulator).get_token(STS_SCOPE).token)
    assert claims["aud"] == "https://sts.mixedreality.azure.com/"
    credential = secret_credential(emulator)

    class Constant:
        def get_token(self, *scopes, **options):
            return credential.get_token(STS_SCOPE)

    with sts_client(emulator, Constant()) as client:
        assert claims_of(client.get_token().token)["tid"] == TENANT


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


# ---- certificates ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate():
    """A key and its certificate, issued by an authority of its own."""
    return make_certificate()


def make_certificate(valid_days=1):
    now = datetime.datetime.utcnow()
    issued = []
    for name, issuer in (("authority", None), ("app", "authority")):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        signing_key = issued[0][0] if issued else key
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer or name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=valid_days))
            .sign(signing_key, hashes.SHA256())
        )
        issued.append((key, certificate))
    return issued


def pem_of(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key, password=None):
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def register(emulator, certificate, **members):
    emulator.put_app(APP, certificates=[pem_of(certificate).decode()], **members)


def last_assertion(emulator):
    """The header and the claims of the assertion that the client sent last."""
    form = urllib.parse.parse_qs(emulator.requests(server="entra")[-1]["body"])
    head, payload, _ = form["client_assertion"][0].split(".")
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, payload)]


@pytest.mark.parametrize("password", [None, b"pass phrase"])
@pytest.mark.parametrize("sends_chain", [False, True])
def test_certificate_credential_from_pem(emulator, certificate, tmp_path, password, sends_chain):
    (_, authority), (key, own) = certificate
    path = tmp_path / "app.pem"
    path.write_bytes(key_pem(key, password) + pem_of(own) + pem_of(authority))
    register(emulator, own)
    credential = CertificateCredential(
        TENANT,
        APP,
        str(path),
        password=password,
        send_certificate_chain=sends_chain,
        **entra_options(emulator),
    )
    claims = claims_of(credential.get_token(SCOPE).token)
    assert claims["appid"] == APP and claims["appidacr"] == "2"
    assert_no_complaints(emulator)
    header, assertion = last_assertion(emulator)
    assert header["x5t"] and ("x5c" in header) == sends_chain
    assert assertion["aud"] == f"{emulator.entra}/{TENANT}/oauth2/v2.0/token"


@pytest.mark.parametrize("sends_chain", [False, True])
def test_certificate_credential_from_pfx(emulator, certificate, sends_chain):
    (_, authority), (key, own) = certificate
    register(emulator, own)
    data = pkcs12.serialize_key_and_certificates(
        b"app", key, own, [authority], serialization.BestAvailableEncryption(b"secret")
    )
    credential = CertificateCredential(
        TENANT,
        APP,
        certificate_data=data,
        password="secret",
        send_certificate_chain=sends_chain,
        **entra_options(emulator),
    )
    assert claims_of(credential.get_token(SCOPE).token)["appid"] == APP
    assert_no_complaints(emulator)


def certificate_credential(emulator, certificate):
    _, (key, own) = certificate
    return CertificateCredential(
        TENANT, APP, certificate_data=key_pem(key) + pem_of(own), **entra_options(emulator)
    )


def test_certificate_credential_that_is_not_registered(emulator, certificate):
    emulator.put_app(APP, secrets=[SECRET])
    assert_fails(certificate_credential(emulator, certificate), 700027)


def test_certificate_credential_that_has_expired(emulator):
    expired = make_certificate(valid_days=-1)
    register(emulator, expired[1][1])
    assert_fails(certificate_credential(emulator, expired), 1000502)


def test_certificate_credential_of_a_clock_that_is_behind(emulator, certificate):
    register(emulator, certificate[1][1])
    try:
        emulator.change_settings(date_offset_s=3600)
        assert_fails(certificate_credential(emulator, certificate), 700024)
    finally:
        emulator.change_settings(date_offset_s=0)


def test_sts_client_with_a_certificate(emulator, certificate):
    register(emulator, certificate[1][1])
    with sts_client(emulator, certificate_credential(emulator, certificate)) as client:
        assert claims_of(client.get_token().token)["tid"] == TENANT
    assert_no_complaints(emulator)


# ---- assertions of others ----------------------------------------------------------------------

ISSUER = "https://oidc.cluster.example/"
SUBJECT = "system:serviceaccount:anchors:renderer"


@pytest.fixture(scope="module")
def issuer_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def federated_token(key, **changes):
    """As a Kubernetes cluster projects it: the audience is a list."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": ["api://AzureADTokenExchange"],
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        **changes,
    }
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "cluster"})


def federate(emulator, key, **changes):
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    federated = {"issuer": ISSUER, "subject": SUBJECT, "public_key": public.decode(), **changes}
    emulator.put_app(APP, federated=[federated])


def assertion_credential(assertion):
    """Its authority is that of the environment: this version chokes on any option."""
    return ClientAssertionCredential(TENANT, APP, lambda: assertion)


def test_client_assertion_credential(emulator, issuer_key):
    federate(emulator, issuer_key)
    credential = assertion_credential(federated_token(issuer_key))
    assert claims_of(credential.get_token(SCOPE).token)["appid"] == APP
    assert_no_complaints(emulator)


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"iss": "https://another.example/"}, 700211),
        ({"sub": "system:serviceaccount:anchors:other"}, 700213),
        ({"aud": ["api://other"]}, 700212),
        ({"exp": 1600000000}, 700024),
    ],
)
def test_client_assertion_credential_that_does_not_match(emulator, issuer_key, changes, code):
    federate(emulator, issuer_key)
    assert_fails(assertion_credential(federated_token(issuer_key, **changes)), code)


def test_client_assertion_credential_without_any_federation(emulator, issuer_key):
    assert_fails(assertion_credential(federated_token(issuer_key)), 70021)


def test_client_assertion_credential_signed_by_a_stranger(emulator, issuer_key):
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    federate(emulator, issuer_key)
    assert_fails(assertion_credential(federated_token(stranger)), 700027)


def test_workload_identity(emulator, issuer_key, tmp_path, monkeypatch):
    """In this version of the library it has no class of its own."""
    federate(emulator, issuer_key)
    path = tmp_path / "token"
    path.write_text(federated_token(issuer_key))
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", APP)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(path))
    with sts_client(emulator, ManagedIdentityCredential()) as client:
        assert claims_of(client.get_token().token)["tid"] == TENANT
    assert_no_complaints(emulator)


# ---- a user ------------------------------------------------------------------------------------


@pytest.fixture
def public_app(emulator):
    emulator.put_app(APP, public=True)
    emulator.change_settings(device_code_interval_s=1)
    yield emulator
    emulator.change_settings(device_code_interval_s=5, device_code_lifetime_s=900)


def device_credential(emulator, shown):
    return DeviceCodeCredential(
        APP,
        tenant_id=TENANT,
        prompt_callback=lambda uri, code, expires_on: shown.append((uri, code, expires_on)),
        **entra_options(emulator),
    )


def start_sign_in(pool, emulator, credential, scope=SCOPE):
    """Have the client begin; returns what it will have, once it has polled in vain."""
    waiting = pool.submit(credential.get_token, scope)
    deadline = time.monotonic() + 30
    while not any(flow["polls"] for flow in pending_codes(emulator)):
        assert time.monotonic() < deadline and not waiting.done()
        time.sleep(0.05)
    return waiting


def pending_codes(emulator):
    return [flow for flow in emulator.device_codes() if flow["state"] == "pending"]


def test_device_code_credential(public_app):
    shown = []
    credential = device_credential(public_app, shown)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = start_sign_in(pool, public_app, credential)
        ((uri, code, expires_on),) = shown
        assert uri.startswith(public_app.entra)
        public_app.decide_device_code(code, "approved", username="ada@example.com")
        token = waiting.result(30)
    claims = claims_of(token.token)
    assert claims["upn"] == "ada@example.com" and claims["appid"] == APP
    assert claims["scp"] == "user_impersonation"
    complaints = [r["complaint"] for r in public_app.requests(server="entra")]
    assert set(complaints) <= {None, "The user has not decided yet."}


def test_device_code_credential_refreshes_silently(public_app):
    shown = []
    credential = device_credential(public_app, shown)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = start_sign_in(pool, public_app, credential)
        public_app.decide_device_code(shown[0][1], "approved")
        waiting.result(30)
    public_app.clear_requests()
    other = credential.get_token("https://vault.azure.net/.default")
    assert claims_of(other.token)["aud"] == "https://vault.azure.net"
    assert len(shown) == 1
    assert_no_complaints(public_app)
    assert "grant_type=refresh_token" in public_app.requests(server="entra")[-1]["body"]


@pytest.mark.parametrize("state, code", [("declined", 65004), ("expired", 70020)])
def test_device_code_credential_that_is_not_approved(public_app, state, code):
    shown = []
    credential = device_credential(public_app, shown)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = start_sign_in(pool, public_app, credential)
        public_app.decide_device_code(shown[0][1], state)
        with pytest.raises(ClientAuthenticationError) as caught:
            waiting.result(30)
    assert f"AADSTS{code}" in caught.value.message


# ---- managed identities ------------------------------------------------------------------------


@pytest.fixture
def host(emulator, monkeypatch):
    """Put a process onto a host of some kind; its identities get tokens at the STS."""
    emulator.put_identity(SYSTEM_IDENTITY, system_assigned=True)
    emulator.put_identity(USER_IDENTITY, resource_id=RESOURCE_ID)
    emulator.put_account(ID, KEY, apps=[SYSTEM_IDENTITY, USER_IDENTITY])

    def enter(server):
        for name, value in emulator.environment(server).items():
            monkeypatch.setenv(name, value)
        return emulator

    return enter


SOURCES = ["imds", "app_service", "azure_arc", "service_fabric", "azure_ml", "cloud_shell"]


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("source", SOURCES)
def test_managed_identity_credential(host, source):
    emulator = host(source)
    token = ManagedIdentityCredential().get_token(SCOPE)
    claims = claims_of(token.token)
    assert claims["appid"] == SYSTEM_IDENTITY and claims["tid"] == TENANT
    assert claims["aud"] == "https://storage.azure.com"
    assert abs(token.expires_on - claims["exp"]) <= 2
    assert abs(token.expires_on - time.time() - 86400) < 10
    assert_no_complaints(emulator)
    assert {r["server"] for r in emulator.requests()} == {source}


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("source", SOURCES)
def test_sts_client_with_a_managed_identity(host, source):
    emulator = host(source)
    with sts_client(emulator, ManagedIdentityCredential()) as client:
        token = client.get_token()
    assert claims_of(token.token)["tid"] == TENANT
    assert_no_complaints(emulator)


@pytest.mark.parametrize("source", ["imds", "app_service", "azure_ml"])
def test_managed_identity_credential_of_a_client_id(host, source):
    emulator = host(source)
    token = ManagedIdentityCredential(client_id=USER_IDENTITY).get_token(SCOPE)
    assert claims_of(token.token)["appid"] == USER_IDENTITY
    assert_no_complaints(emulator)


@pytest.mark.parametrize(
    "source, name",
    [("imds", "msi_res_id"), ("imds", "mi_res_id"), ("app_service", "mi_res_id")],
)
def test_managed_identity_credential_of_a_resource_id(host, source, name):
    host(source)
    credential = ManagedIdentityCredential(identity_config={name: RESOURCE_ID})
    assert claims_of(credential.get_token(SCOPE).token)["xms_mirid"] == RESOURCE_ID


@pytest.mark.parametrize("source", ["imds", "app_service"])
def test_managed_identity_credential_of_an_object_id(host, source):
    emulator = host(source)
    object_id = emulator.identities()[USER_IDENTITY]["object_id"]
    credential = ManagedIdentityCredential(identity_config={"object_id": object_id})
    assert claims_of(credential.get_token(SCOPE).token)["oid"] == object_id


def test_imds_is_probed_without_the_header(host, monkeypatch):
    """Where no variable says that it is there, the client asks first what it must refuse."""
    emulator = host("imds")
    monkeypatch.delenv("AZURE_POD_IDENTITY_AUTHORITY_HOST")
    monkeypatch.setattr(imds, "IMDS_AUTHORITY", emulator.endpoints["imds"])
    assert ManagedIdentityCredential().get_token(SCOPE).token
    probe, asked = emulator.requests(server="imds")
    assert probe["status"] == 400 and asked["status"] == 200
    assert "Metadata" not in dict(probe["headers"])


def test_imds_without_an_identity_is_unavailable(host):
    emulator = host("imds")
    emulator.delete_identity(SYSTEM_IDENTITY)
    with pytest.raises(CredentialUnavailableError) as caught:
        ManagedIdentityCredential().get_token(SCOPE)
    assert "No identity has been assigned" in caught.value.message
    with pytest.raises(CredentialUnavailableError) as caught:
        ManagedIdentityCredential(client_id=str(uuid.uuid4())).get_token(SCOPE)
    assert "has not been assigned" in caught.value.message


@pytest.mark.parametrize("status", [404, 429, 500])
def test_imds_is_asked_again(host, status):
    emulator = host("imds")
    emulator.add_fault("status", server="imds", status=status)
    assert ManagedIdentityCredential().get_token(SCOPE).token
    assert [r["status"] for r in emulator.requests(server="imds")] == [status, 200]


def test_app_service_with_a_wrong_header(host, monkeypatch):
    host("app_service")
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(HttpResponseError):
        ManagedIdentityCredential().get_token(SCOPE)


def test_azure_arc_challenges_first(host):
    emulator = host("azure_arc")
    assert ManagedIdentityCredential().get_token(SCOPE).token
    challenge, asked = emulator.requests(server="azure_arc")
    assert (challenge["status"], asked["status"]) == (401, 200)
    assert dict(asked["headers"])["Authorization"].startswith("Basic ")


# ---- chains ------------------------------------------------------------------------------------


@pytest.fixture
def environment(emulator, monkeypatch):
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", APP)
    return monkeypatch


def test_environment_credential_with_a_secret(emulator, environment):
    environment.setenv("AZURE_CLIENT_SECRET", SECRET)
    credential = EnvironmentCredential(instance_discovery=False)
    assert claims_of(credential.get_token(SCOPE).token)["appid"] == APP
    assert_no_complaints(emulator)


def test_environment_credential_with_a_certificate(emulator, environment, certificate, tmp_path):
    _, (key, own) = certificate
    path = tmp_path / "app.pem"
    path.write_bytes(key_pem(key) + pem_of(own))
    register(emulator, own)
    environment.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(path))
    credential = EnvironmentCredential(instance_discovery=False)
    assert claims_of(credential.get_token(SCOPE).token)["appidacr"] == "2"
    assert_no_complaints(emulator)


def test_default_credential_takes_the_environment_first(emulator, environment, host):
    host("imds")
    environment.setenv("AZURE_CLIENT_SECRET", SECRET)
    emulator.put_account(ID, KEY, apps=[APP])
    with sts_client(emulator, DefaultAzureCredential(instance_discovery=False)) as client:
        assert claims_of(client.get_token().token)["tid"] == TENANT
    assert_no_complaints(emulator)
    assert emulator.requests(server="imds") == []


def test_default_credential_stops_at_a_wrong_secret(emulator, environment, host):
    host("imds")
    environment.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(ClientAuthenticationError) as caught:
        DefaultAzureCredential(instance_discovery=False).get_token(SCOPE)
    assert "AADSTS7000215" in caught.value.message
    assert emulator.requests(server="imds") == []


def test_default_credential_goes_on_to_the_managed_identity(host):
    emulator = host("imds")
    with sts_client(emulator, DefaultAzureCredential(instance_discovery=False)) as client:
        assert claims_of(client.get_token().token)["tid"] == TENANT
    assert_no_complaints(emulator)
