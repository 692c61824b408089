"""The daemon's requests to Microsoft Entra ID beside those of azure.identity, field by field.

Both ask the same emulator, which records what it receives; what may differ between them is written
down here with its reason, and nothing else may.
"""

import urllib.parse

import pytest
from azure.identity import ClientSecretCredential, EnvironmentCredential
from azure.mixedreality.authentication import MixedRealityStsClient

from conftest import ACCOUNT_ID, KEY
from rig.daemon import APP, STORAGE, TENANT, configuration, entra_keys

SECRET = "oracle~Secret+with/odd=characters & a space"
DOMAIN = "eastus2.mixedreality.azure.com"

# What MSAL adds for its makers' statistics and for its own cache; the service needs none of it
# (azure-protocol.md B.2).
MSAL_FIELDS = {"client_info"}
# That the client can answer a challenge for claims. The daemon cannot: its clients get a token, and
# what a service says of it later never comes back here. Without the promise, tokens live no longer
# than services are ready to trust them unasked.
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
# Who asks, what each HTTP library adds by itself, and what is new each time.
MAY_DIFFER = {"user-agent", "accept-encoding", "connection", "content-length"}
FRESH = {"client-request-id"}


@pytest.fixture(autouse=True)
def prepared(emulator, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", emulator.ca_file)
    emulator.put_app(APP, secrets=[SECRET])
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "app.secret"
    path.touch(mode=0o600)
    path.write_text(SECRET)
    return path


def token_request(emulator):
    """The one request for a token since the last look."""
    (found,) = [r for r in emulator.requests(server="entra") if r["method"] == "POST"]
    emulator.clear_requests()
    assert (found["status"], found["complaint"]) == (200, None)
    return found


def form_of(request):
    pairs = urllib.parse.parse_qsl(request["body"], keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def without_additions(form):
    return {name: form[name] for name in form if name not in MSAL_FIELDS | PROMISES}


def headers_of(request):
    return {name.lower(): value for name, value in request["headers"]}


@pytest.fixture
def by_sdk(emulator):
    credential = ClientSecretCredential(
        TENANT, APP, SECRET, authority=emulator.entra, instance_discovery=False
    )
    assert credential.get_token(STORAGE).token
    return token_request(emulator)


@pytest.fixture
def by_daemon(emulator, make_daemon, secret_file, by_sdk):
    keys = entra_keys(emulator, credential="client_secret", client_secret=f"file:{secret_file}")
    daemon = make_daemon(configuration(emulator, {"storage": keys})).start()
    daemon.wait_for_token("storage")
    return token_request(emulator)


@pytest.mark.parametrize("part", ["method", "path", "target", "version"])
def test_the_request_is_the_same_in_its(by_sdk, by_daemon, part):
    assert by_daemon[part] == by_sdk[part]


def test_the_form_is_the_same(by_sdk, by_daemon):
    assert form_of(by_daemon) == without_additions(form_of(by_sdk))


def test_the_headers_are_the_same(by_sdk, by_daemon):
    sdk, daemon = headers_of(by_sdk), headers_of(by_daemon)
    left = set(sdk) - MAY_DIFFER - FRESH - MSAL_HEADERS
    assert set(daemon) - MAY_DIFFER - FRESH == left
    for name in left:
        assert daemon[name] == sdk[name], name


def test_the_exchange_at_the_sts_is_that_of_the_sdk(emulator, make_daemon, secret_file):
    scope = f"{emulator.sts}/.default"  # as the client for Python asks (azure-protocol.md A.3)
    credential = ClientSecretCredential(
        TENANT, APP, SECRET, authority=emulator.entra, instance_discovery=False
    )
    with MixedRealityStsClient(
        ACCOUNT_ID,
        DOMAIN,
        credential,
        custom_endpoint_url=emulator.sts,
        connection_verify=emulator.ca_file,
    ) as client:
        client.get_token()
    (sdk,) = emulator.requests(server="sts")
    sdk_form = form_of(token_request(emulator))
    keys = entra_keys(
        emulator,
        kind=None,
        scope=scope,
        account_id=ACCOUNT_ID,
        account_domain=DOMAIN,
        endpoint=emulator.sts,
        credential="client_secret",
        client_secret=f"file:{secret_file}",
    )
    daemon = make_daemon(configuration(emulator, {"anchors": keys})).start()
    daemon.wait_for_token("anchors")
    (own,) = emulator.requests(server="sts")
    own_form = form_of(token_request(emulator))
    assert own_form["scope"] == sdk_form["scope"] == scope
    assert (own["method"], own["target"]) == (sdk["method"], sdk["target"])
    own_headers, sdk_headers = headers_of(own), headers_of(sdk)
    assert set(own_headers) - MAY_DIFFER == set(sdk_headers) - MAY_DIFFER
    for headers in (own_headers, sdk_headers):
        assert headers["authorization"].startswith("Bearer ey")
        assert headers["accept"] == "application/json"


def test_the_environment_is_read_as_the_sdk_reads_it(emulator, make_daemon, monkeypatch):
    variables = {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": APP,
        "AZURE_CLIENT_SECRET": SECRET,
        # Of the sets that are complete the first counts. (A user by himself cannot be compared:
        # MSAL asks for his realm at the authority's host without its port.)
        "AZURE_USERNAME": "ada@example.com",
        "AZURE_PASSWORD": "the password of a user",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    EnvironmentCredential(authority=emulator.entra, instance_discovery=False).get_token(STORAGE)
    sdk = form_of(token_request(emulator))
    keys = {
        "kind": "entra",
        "scope": STORAGE,
        "credential": "environment",
        "authority": emulator.entra,
    }
    daemon = make_daemon(configuration(emulator, {"storage": keys}), environment=variables)
    daemon.start().wait_for_token("storage")
    assert form_of(token_request(emulator)) == without_additions(sdk)
