"""The daemon's assertions beside those of azure.identity: by certificate, by federated token.

Both ask the same emulator, which records what it receives; what may differ between them is written
down here with its reason, and nothing else may.
"""

import pytest
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
)

from rig.credentials import (
    certificate_pem,
    federated_token,
    federation,
    form_of,
    key_pem,
    make_certificate,
    parts_of,
    pfx,
    rsa_key,
    token_requests,
    write_secret,
)
from rig.daemon import APP, STORAGE, TENANT, configuration, entra_keys

PASSPHRASE = "correct horse battery staple"

# ---- what may differ -------------------------------------------------------------------------

# What MSAL adds for its makers' statistics and for its own cache; the service needs none of it
# (azure-protocol.md B.2).
MSAL_FIELDS = {"client_info"}
# That the client can answer a challenge for claims, which the daemon cannot: what a service says of
# a token never comes back to it.
PROMISES = {"claims"}
MSAL_HEADERS = {
    "x-client-sku",
    "x-client-ver",
    "x-client-os",
    "x-client-cpu",
    "x-client-current-telemetry",
    "x-client-last-telemetry",
    "x-ms-lib-capability",
    "x-ms-client-request-id",
}
# Who asks, what each HTTP library adds by itself, and what is new each time. (The client that needs
# no MSAL sends no client-request-id, and has azure-core's x-ms-client-request-id in its place.)
MAY_DIFFER = {"user-agent", "accept-encoding", "connection", "content-length"}
# The client that needs no MSAL takes what comes; the daemon asks for JSON, as MSAL does.
WITHOUT_MSAL = {"accept"}
FRESH = {"client-request-id", "x-ms-client-request-id", "x-ms-return-client-request-id"}
# New each time.
FRESH_CLAIMS = {"jti", "iat", "exp"}
# From when it is valid, which RFC 7523 leaves to the client: the older direct client of the SDK and
# MSAL for other languages send it, MSAL for Python does not. A service that is told is not left to
# guess.
DAEMON_CLAIMS = {"nbf"}


@pytest.fixture(autouse=True)
def prepared(emulator, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", emulator.ca_file)


def token_request(emulator):
    """The one request for a token since the last look."""
    (found,) = token_requests(emulator)
    emulator.clear_requests()
    assert (found["status"], found["complaint"]) == (200, None)
    return found


def headers_of(request):
    return {name.lower(): value for name, value in request["headers"]}


def assert_same_request(daemon, sdk, may_differ=MAY_DIFFER):
    """But for the assertion itself."""
    for part in ("method", "path", "target", "version"):
        assert daemon[part] == sdk[part], part
    added = MSAL_FIELDS | PROMISES | {"client_assertion"}
    own, other = ({n: v for n, v in form_of(r).items() if n not in added} for r in (daemon, sdk))
    assert own == other
    assert "client_assertion" in form_of(daemon) and "client_assertion" in form_of(sdk)
    own, other = headers_of(daemon), headers_of(sdk)
    assert set(own) - may_differ - FRESH == set(other) - may_differ - FRESH - MSAL_HEADERS
    for name in set(own) - may_differ - FRESH:
        assert own[name] == other[name], name


def by_daemon(make_daemon, emulator, environment=None, **keys):
    """What the daemon sends for the token of an account with these keys."""
    configured = configuration(emulator, {"storage": keys})
    daemon = make_daemon(configured, environment=environment).start()
    daemon.wait_for_token("storage")
    return token_request(emulator)


# ---- certificates ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return make_certificate(rsa_key("authority"), name="authority")


@pytest.fixture(scope="module")
def own(authority):
    return make_certificate(rsa_key(), issuer_key=rsa_key("authority"))


FORMS = {
    "PEM": (None, lambda own, authority: key_pem(rsa_key()) + certificate_pem(own, authority)),
    "encrypted PEM": (
        PASSPHRASE,
        lambda own, authority: key_pem(rsa_key(), PASSPHRASE) + certificate_pem(own, authority),
    ),
    "PKCS#12": (None, lambda own, authority: pfx(rsa_key(), own, authority)),
    "encrypted PKCS#12": (
        PASSPHRASE,
        lambda own, authority: pfx(rsa_key(), own, authority, passphrase=PASSPHRASE),
    ),
}


@pytest.fixture(params=FORMS.values(), ids=list(FORMS))
def files(request, tmp_path, emulator, own, authority):
    """A file with the certificate, its passphrase or None, and where that is."""
    passphrase, make = request.param
    emulator.put_app(APP, certificates=[certificate_pem(own).decode()])
    file = write_secret(tmp_path / "app", make(own, authority))
    passphrase_file = write_secret(tmp_path / "passphrase", passphrase) if passphrase else None
    return file, passphrase, passphrase_file


@pytest.fixture(params=[False, True], ids=["without the chain", "with the chain"])
def both(request, files, emulator, make_daemon):
    """The daemon's request and the SDK's, by the same certificate."""
    file, passphrase, passphrase_file = files
    credential = CertificateCredential(
        TENANT,
        APP,
        str(file),
        password=passphrase,
        send_certificate_chain=request.param,
        authority=emulator.entra,
        instance_discovery=False,
    )
    assert credential.get_token(STORAGE).token
    sdk = token_request(emulator)
    keys = entra_keys(
        emulator,
        credential="client_certificate",
        client_certificate=f"file:{file}",
        client_certificate_password=passphrase_file and f"file:{passphrase_file}",
        send_certificate_chain="yes" if request.param else None,
    )
    return by_daemon(make_daemon, emulator, **keys), sdk


def assert_same_assertion(daemon, sdk):
    own, other = (parts_of(form_of(one)["client_assertion"]) for one in (daemon, sdk))
    # MSAL for Python leaves the padding in its thumbprint; RFC 7515 knows none.
    other[0]["x5t"] = other[0]["x5t"].rstrip("=")
    assert own[0] == other[0]
    assert set(own[1]) - DAEMON_CLAIMS == set(other[1])
    for name in set(other[1]) - FRESH_CLAIMS:
        assert own[1][name] == other[1][name], name
    # MSAL for Python spells times as fractions.
    assert own[1]["exp"] - own[1]["iat"] == round(other[1]["exp"] - other[1]["iat"]) == 600
    assert abs(own[1]["iat"] - other[1]["iat"]) < 60
    assert own[1]["nbf"] == own[1]["iat"]
    assert len(own[1]["jti"]) == len(other[1]["jti"]) == 36


def test_a_certificate_is_shown_as_the_sdk_shows_it(both):
    assert_same_request(*both)
    assert_same_assertion(*both)


def test_a_certificate_of_the_environment_is_shown_as_the_sdk_shows_it(
    emulator, make_daemon, monkeypatch, tmp_path, own, authority
):
    """This version of the SDK knows no variable for the chain; newer ones do."""
    emulator.put_app(APP, certificates=[certificate_pem(own).decode()])
    file = write_secret(
        tmp_path / "app", key_pem(rsa_key(), PASSPHRASE) + certificate_pem(own, authority)
    )
    variables = {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": APP,
        "AZURE_CLIENT_CERTIFICATE_PATH": str(file),
        "AZURE_CLIENT_CERTIFICATE_PASSWORD": PASSPHRASE,
        "AZURE_AUTHORITY_HOST": emulator.entra,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    EnvironmentCredential(instance_discovery=False).get_token(STORAGE)
    sdk = token_request(emulator)
    keys = {"kind": "entra", "scope": STORAGE, "credential": "environment"}
    daemon = by_daemon(make_daemon, emulator, variables, **keys)
    assert_same_request(daemon, sdk)
    assert_same_assertion(daemon, sdk)


# ---- assertions of others ----------------------------------------------------------------------


@pytest.fixture
def token(emulator):
    emulator.put_app(APP, federated=[federation(rsa_key("cluster"))])
    return federated_token(rsa_key("cluster"))


def assert_both_show(token, daemon, sdk):
    assert_same_request(daemon, sdk, MAY_DIFFER | WITHOUT_MSAL)
    assert headers_of(daemon)["accept"] == "application/json"
    assert form_of(daemon)["client_assertion"] == form_of(sdk)["client_assertion"] == token


@pytest.mark.parametrize("origin", ["file", "program"])
def test_an_assertion_is_shown_as_the_sdk_shows_it(
    emulator, make_daemon, monkeypatch, tmp_path, token, origin
):
    # Its authority is that of the environment: this version chokes on any option.
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", emulator.entra)
    ClientAssertionCredential(TENANT, APP, lambda: token).get_token(STORAGE)
    sdk = token_request(emulator)
    file = write_secret(tmp_path / "assertion", token)
    key = {
        "file": {"client_assertion": f"file:{file}"},
        "program": {"client_assertion_command": f"/bin/cat {file}"},
    }[origin]
    keys = entra_keys(emulator, credential="client_assertion", **key)
    assert_both_show(token, by_daemon(make_daemon, emulator, **keys), sdk)


def test_a_workload_identity_is_shown_as_the_sdk_shows_it(
    emulator, make_daemon, monkeypatch, tmp_path, token
):
    """In this version of the SDK it has no class of its own, but is a managed identity's origin."""
    variables = {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": APP,
        "AZURE_FEDERATED_TOKEN_FILE": str(write_secret(tmp_path / "token", token)),
        "AZURE_AUTHORITY_HOST": emulator.entra,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ManagedIdentityCredential().get_token(STORAGE)
    sdk = token_request(emulator)
    keys = {"kind": "entra", "scope": STORAGE, "credential": "workload_identity"}
    assert_both_show(token, by_daemon(make_daemon, emulator, variables, **keys), sdk)
