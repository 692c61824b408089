"""The daemon's requests for managed identities beside those of azure.identity, source by source.

Both ask the same emulator, which records what it receives; what may differ between them is written
down here with its reason, and nothing else may.
"""

import json
import os
import subprocess
import sys
import urllib.parse

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.arc import KEY_DIRECTORY, arc_machine, can_be_arc
from rig.daemon import STORAGE, configuration
from rig.emulator import Emulator

STS_SCOPE = "https://sts.mixedreality.azure.com//.default"
SYSTEM = "e3a1c0de-0000-4000-8000-0000000000a1"
USER = "e3a1c0de-0000-4000-8000-0000000000b2"
USER_OBJECT = "e3a1c0de-0000-4000-8000-0000000000b3"
USER_RESOURCE = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/oracle"
NOBODY = "e3a1c0de-0000-4000-8000-0000000000ff"

# Who asks, and what its HTTP library adds by itself. The length is that of the same form, which
# each of them encodes in its own way.
MAY_DIFFER = {"user-agent", "accept-encoding", "connection", "content-length"}

# Both are good, one is new: Debian's client still asks Azure Arc in the version of 2019.
API_VERSIONS = {"azure_arc": ("2019-11-01", "2020-06-01")}

# A file is good once, so each of them shows the key of a file of its own.
FRESH = {"azure_arc": {"authorization"}}

needs_root = pytest.mark.skipif(not can_be_arc(), reason="a mount namespace needs root")
ARC = pytest.param("azure_arc", marks=needs_root)
SOURCES = ["imds", "app_service", ARC, "service_fabric", "azure_ml", "cloud_shell"]

# What names an identity: the source, the daemon's key and its value, the client's arguments.
BY_RESOURCE = {"identity_config": {"mi_res_id": USER_RESOURCE}}
NAMED = [
    ("imds", "client_id", USER, {"client_id": USER}),
    ("imds", "object_id", USER_OBJECT, {"identity_config": {"object_id": USER_OBJECT}}),
    ("imds", "resource_id", USER_RESOURCE, {"identity_config": {"msi_res_id": USER_RESOURCE}}),
    ("app_service", "client_id", USER, {"client_id": USER}),
    ("app_service", "object_id", USER_OBJECT, {"identity_config": {"object_id": USER_OBJECT}}),
    ("app_service", "resource_id", USER_RESOURCE, BY_RESOURCE),
    ("azure_ml", "client_id", USER, {"client_id": USER}),
]

# The client in a process of its own: it reads the environment, and the files of an agent.
CLIENT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from azure.identity import ManagedIdentityCredential
options, scope = json.loads(sys.argv[1]), sys.argv[2]
try:
    token = ManagedIdentityCredential(**options).get_token(scope)
    print(json.dumps({"token": token.token, "expires_on": token.expires_on}))
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    return arc_machine(tmp_path_factory.mktemp("arc")) if can_be_arc() else []


@pytest.fixture(scope="module")
def shared_emulator(tmp_path_factory, machine):
    directory = tmp_path_factory.mktemp("emulator")
    arc = ["--arc-directory", str(KEY_DIRECTORY if machine else directory / "tokens")]
    with Emulator(directory, {ACCOUNT_ID: [KEY]}, arc, machine) as running:
        yield running


@pytest.fixture(autouse=True)
def host(emulator):
    emulator.put_identity(SYSTEM, system_assigned=True)
    emulator.put_identity(USER, object_id=USER_OBJECT, resource_id=USER_RESOURCE)


@pytest.fixture
def ask_by_sdk(emulator, machine):
    def ask(source, scope=STORAGE, environment=None, **options):
        variables = {"PATH": os.environ["PATH"], **emulator.environment(source)}
        variables.update(environment or {})
        wrap = machine if source == "azure_arc" else []
        result = subprocess.run(
            [*wrap, sys.executable, "-c", CLIENT, json.dumps(options), scope],
            env=variables,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(result.stdout)

    return ask


@pytest.fixture
def start_daemon(emulator, machine, make_daemon):
    def start(source, scope=STORAGE, environment=None, **keys):
        account = {"kind": "entra", "scope": scope, "credential": "managed_identity", **keys}
        return make_daemon(
            configuration(emulator, {"storage": account}),
            environment={**emulator.environment(source), **(environment or {})},
            wrap=machine if source == "azure_arc" else (),
        ).start()

    return start


def take_requests(emulator, source):
    """What was received since the last look."""
    found = emulator.requests()
    emulator.clear_requests()
    assert {one["server"] for one in found} == {source}
    return found


@pytest.fixture
def compare(emulator, ask_by_sdk, start_daemon):
    """The requests of both for one token: the client's, and the daemon's."""

    def run(source, scope=STORAGE, keys=None, options=None, environment=None, before=None):
        before = before or (lambda: None)
        before()
        token = ask_by_sdk(source, scope, environment, **(options or {}))
        assert "token" in token, token
        by_sdk = take_requests(emulator, source)
        before()
        daemon = start_daemon(source, scope, environment, **(keys or {}))
        daemon.wait_for_token("storage")
        by_daemon = take_requests(emulator, source)
        assert abs(daemon.token("storage")["expires_on"] - token["expires_on"]) < 10
        return by_sdk, by_daemon

    return run


def parameters_of(request):
    """Those of the query or of the form: the two spell ':' and '/' in different ways."""
    words = request["target"].partition("?")[2] or request["body"]
    pairs = urllib.parse.parse_qsl(words, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def headers_of(request):
    names = [name.lower() for name, _ in request["headers"]]
    assert len(names) == len(set(names)), names
    return {name.lower(): value for name, value in request["headers"]}


def assert_alike(source, by_sdk, by_daemon):
    for part in ("method", "path", "version", "status", "complaint"):
        assert by_daemon[part] == by_sdk[part], part
    assert bool(by_daemon["body"]) == bool(by_sdk["body"])
    sdk, daemon = parameters_of(by_sdk), parameters_of(by_daemon)
    if source in API_VERSIONS:
        assert (sdk.pop("api-version"), daemon.pop("api-version")) == API_VERSIONS[source]
    assert daemon == sdk
    sdk, daemon = headers_of(by_sdk), headers_of(by_daemon)
    assert sdk["user-agent"].startswith("azsdk-python-identity/")
    assert daemon["user-agent"].startswith("mrtokend/")
    assert set(daemon) - MAY_DIFFER == set(sdk) - MAY_DIFFER
    for name in set(daemon) - MAY_DIFFER - FRESH.get(source, set()):
        assert daemon[name] == sdk[name], name


@pytest.mark.parametrize("scope", [STORAGE, STS_SCOPE])
@pytest.mark.parametrize("source", SOURCES)
def test_asks_for_the_system_assigned_identity_as_the_sdk_does(compare, source, scope):
    by_sdk, by_daemon = compare(source, scope)
    assert len(by_daemon) == len(by_sdk) == (2 if source == "azure_arc" else 1)
    for sdk, daemon in zip(by_sdk, by_daemon):
        assert_alike(source, sdk, daemon)
    assert parameters_of(by_daemon[-1])["resource"] == scope.removesuffix("/.default")


@pytest.mark.parametrize("source, key, value, options", NAMED)
def test_asks_for_a_user_assigned_identity_as_the_sdk_does(compare, source, key, value, options):
    (by_sdk,), (by_daemon,) = compare(source, keys={key: value}, options=options)
    assert_alike(source, by_sdk, by_daemon)
    assert value in parameters_of(by_daemon).values()


@pytest.mark.parametrize("source", ["imds", "app_service"])
def test_the_variable_of_other_credentials_names_no_identity_to_either(compare, source):
    (by_sdk,), (by_daemon,) = compare(source, environment={"AZURE_CLIENT_ID": USER})
    assert_alike(source, by_sdk, by_daemon)
    assert "client_id" not in parameters_of(by_daemon)


def test_keeps_the_query_of_an_endpoint_as_the_sdk_does(emulator, compare):
    """Container Instances tell an address that brings its own version."""
    address = emulator.environment("app_service")["IDENTITY_ENDPOINT"]
    environment = {"IDENTITY_ENDPOINT": f"{address}?api-version=2019-08-01"}
    (by_sdk,), (by_daemon,) = compare("app_service", environment=environment)
    assert_alike("app_service", by_sdk, by_daemon)


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_takes_slashes_off_the_address_of_imds_as_the_sdk_does(emulator, compare, slashes):
    address = emulator.environment("imds")["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
    environment = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": address + slashes}
    (by_sdk,), (by_daemon,) = compare("imds", environment=environment)
    assert_alike("imds", by_sdk, by_daemon)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_asks_imds_again_as_the_sdk_does(emulator, compare, status):
    """The delays are unit-tested; the first is a second, where the client has none."""
    by_sdk, by_daemon = compare(
        "imds", before=lambda: emulator.add_fault("status", server="imds", status=status)
    )
    assert [one["status"] for one in by_sdk] == [status, 200]
    assert [one["status"] for one in by_daemon] == [status, 200]
    for sdk, daemon in zip(by_sdk, by_daemon):
        assert_alike("imds", sdk, daemon)


# What the client raises, and what the daemon's error is then called. CredentialUnavailableError
# lets a chain go on, as "unavailable" does; the other ends it.
FAILURES = [
    ("imds", {"client_id": NOBODY}, "CredentialUnavailableError", "unavailable"),
    ("app_service", {"client_id": NOBODY}, "ClientAuthenticationError", "refused"),
    pytest.param(
        "azure_arc", {"client_id": USER}, "ClientAuthenticationError", "configuration",
        marks=needs_root,
    ),
]


@pytest.mark.parametrize("source, identity, raised, code", FAILURES)
def test_a_chain_goes_on_or_ends_where_that_of_the_sdk_does(
    ask_by_sdk, start_daemon, source, identity, raised, code
):
    assert ask_by_sdk(source, **identity)["error"] == raised
    daemon = start_daemon(source, **identity)
    daemon.wait_for_failure("storage")
    assert daemon.account("storage")["last_error"]["code"] == code


def test_an_endpoint_alone_is_no_source_to_either(ask_by_sdk, start_daemon):
    environment = {"IDENTITY_HEADER": ""}
    failure = ask_by_sdk("app_service", environment=environment)
    assert failure["error"] == "CredentialUnavailableError"
    daemon = start_daemon("app_service", environment=environment)
    daemon.wait_for_failure("storage")
    assert daemon.account("storage")["last_error"]["code"] == "unavailable"
