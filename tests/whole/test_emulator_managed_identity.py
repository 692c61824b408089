"""mrtoken-emulator as the managed identity endpoints of Azure's hosts, each in its own shape."""

import base64
import hashlib
import json
import os
import pathlib
import re
import ssl
import stat
import time
import urllib.parse
import uuid

import pytest
import requests

from rig.emulator import Emulator

ID = "7f1c3c5e-0000-4000-8000-0123456789ab"
KEY = "a2V5LW9uZS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM0NTY="
TENANT = "e3a1c0de-0000-4000-8000-000000000001"
SYSTEM = "e3a1c0de-0000-4000-8000-0000000000a1"
USER = "e3a1c0de-0000-4000-8000-0000000000b2"
RESOURCE_ID = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/x"
RESOURCE = "https://storage.azure.com"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    arc = ["--arc-directory", str(tmp_path_factory.mktemp("arc") / "tokens")]
    with Emulator(tmp_path_factory.mktemp("identity"), {ID: KEY}, arc) as emulator:
        emulator.arc_directory = pathlib.Path(arc[1])
        yield emulator


@pytest.fixture
def emulator(running):
    running.clear_faults()
    running.clear_requests()
    usual = running.settings()
    running.put_identity(SYSTEM, system_assigned=True)
    running.put_identity(USER, resource_id=RESOURCE_ID)
    yield running
    running.clear_faults()
    running.change_settings(**usual)


class Source:
    """What a client of one source sends; changes to None leave a header or parameter out."""

    def __init__(self, name, path, version, headers, method="GET", secret=None):
        self.name = name
        self.path = path
        self.version = version
        self.headers = headers
        self.method = method
        self.secret = secret  # which variable has it, and which header takes it

    def ask(self, emulator, path=None, method=None, headers=None, body=None, **parameters):
        given = dict(self.headers)
        if self.secret:
            variable, header = self.secret
            given[header] = emulator.environment(self.name)[variable]
        if self.method == "POST":
            given["Content-Type"] = FORM
        given.update(headers or {})
        fields = {"api-version": self.version, "resource": RESOURCE, **parameters}
        fields = [(name, value) for name, value in fields.items() if value is not None]
        encoded = urllib.parse.urlencode(fields)
        target = emulator.endpoints[self.name] + (path or self.path)
        if self.method == "GET":
            target += "?" + encoded
        with requests.Session() as session:
            session.trust_env = False
            session.verify = emulator.ca_file
            return session.request(
                method or self.method,
                target,
                headers={name: value for name, value in given.items() if value is not None},
                data=body if body is not None else encoded if self.method == "POST" else None,
                timeout=30,
            )

    def __repr__(self):
        return self.name


class Arc(Source):
    def ask(self, emulator, headers=None, **arguments):
        """The challenge is answered, unless the test sends an Authorization of its own."""
        headers = dict(headers or {})
        if "Authorization" not in headers:
            headers["Authorization"] = f"Basic {read_key(self.challenge(emulator))}"
        return super().ask(emulator, headers=headers, **arguments)

    def challenge(self, emulator):
        return super().ask(emulator)


def read_key(challenge):
    assert challenge.status_code == 401
    realm = re.fullmatch("Basic realm=(/.*)", challenge.headers["WWW-Authenticate"]).group(1)
    assert realm.endswith(".key")
    return pathlib.Path(realm).read_text()


TOKEN_PATH = "/metadata/identity/oauth2/token"
METADATA = {"Metadata": "true"}
IMDS = Source("imds", TOKEN_PATH, "2018-02-01", METADATA)
APP_SERVICE = Source(
    "app_service", "/msi/token", "2019-08-01", {}, secret=("IDENTITY_HEADER", "X-IDENTITY-HEADER")
)
ARC = Arc("azure_arc", TOKEN_PATH, "2020-06-01", METADATA)
FABRIC = Source(
    "service_fabric",
    TOKEN_PATH,
    "2019-07-01-preview",
    {},
    secret=("IDENTITY_HEADER", "Secret"),
)
ML = Source("azure_ml", "/msi/token", "2017-09-01", {}, secret=("MSI_SECRET", "secret"))
SHELL = Source("cloud_shell", "/oauth2/token", None, METADATA, "POST")
ALL = [IMDS, APP_SERVICE, ARC, FABRIC, ML, SHELL]
OF_GET = [IMDS, APP_SERVICE, ARC, FABRIC, ML]
every_source = pytest.mark.parametrize("source", ALL, ids=repr)


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def sentence_of(source, answer):
    """What is wrong, from the place where the source says it, whose shape is checked on the way."""
    body = answer.json()
    if source in (IMDS, ARC):
        assert sorted(body) == ["error", "error_description"]
        return body["error_description"]
    if source in (APP_SERVICE, ML):
        assert sorted(body) == ["message", "statusCode"]
        assert body["statusCode"] == answer.status_code
        return body["message"]
    return body["error"]["message"]


def assert_refused(emulator, source, answer, status, words):
    assert answer.status_code == status, answer.text
    assert words in sentence_of(source, answer)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    recorded = emulator.requests()[-1]
    assert recorded["server"] == source.name and recorded["status"] == status
    assert words in recorded["complaint"]


# ---- the token, in each shape ------------------------------------------------------------------

SHAPES = {
    "imds": (
        {"access_token", "client_id", "expires_in", "expires_on", "ext_expires_in"}
        | {"not_before", "resource", "token_type"},
        str,
    ),
    "app_service": ({"access_token", "expires_on", "resource", "token_type", "client_id"}, str),
    "azure_arc": (
        {"access_token", "client_id", "expires_in", "expires_on", "ext_expires_in"}
        | {"not_before", "resource", "token_type"},
        str,
    ),
    "service_fabric": ({"access_token", "expires_on", "resource", "token_type"}, str),
    "azure_ml": ({"access_token", "expires_on", "resource", "token_type", "client_id"}, int),
    "cloud_shell": (
        {"access_token", "refresh_token", "expires_in", "expires_on", "not_before"}
        | {"resource", "token_type"},
        str,
    ),
}


@every_source
def test_token_in_the_shape_of_the_source(emulator, source):
    answer = source.ask(emulator)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    members, kind = SHAPES[source.name]
    assert set(body) == members
    for name in members & {"expires_in", "expires_on", "ext_expires_in", "not_before"}:
        assert type(body[name]) is kind and int(body[name]) > 0
    assert body["token_type"] == "Bearer" and body["resource"] == RESOURCE
    claims = claims_of(body["access_token"])
    assert int(body["expires_on"]) == claims["exp"]
    assert abs(claims["exp"] - time.time() - 86400) < 10
    assert claims["aud"] == RESOURCE and claims["tid"] == TENANT and claims["appid"] == SYSTEM
    assert claims["oid"] == emulator.identities()[SYSTEM]["object_id"]
    assert emulator.requests()[-1]["complaint"] is None


@every_source
def test_slash_behind_the_path_makes_no_difference(emulator, source):
    assert source.ask(emulator, path=source.path + "/").status_code == 200


@every_source
def test_resource_keeps_its_slash(emulator, source):
    resource = "https://sts.mixedreality.azure.com/"
    body = source.ask(emulator, resource=resource).json()
    assert body["resource"] == resource and claims_of(body["access_token"])["aud"] == resource


@pytest.mark.parametrize("source", [IMDS, APP_SERVICE], ids=repr)
def test_lifetime_is_settable(emulator, source):
    emulator.change_settings(identity_expires_in_s=3600, identity_refresh_in_s=1800)
    body = source.ask(emulator).json()
    assert abs(int(body["expires_on"]) - time.time() - 3600) < 5
    assert body["refresh_in"] == "1800"


@pytest.mark.parametrize(
    "source, name, value",
    [
        (IMDS, "client_id", USER.upper()),
        (IMDS, "object_id", None),
        (IMDS, "msi_res_id", RESOURCE_ID),
        (IMDS, "mi_res_id", RESOURCE_ID.upper()),
        (APP_SERVICE, "client_id", USER),
        (APP_SERVICE, "object_id", None),
        (APP_SERVICE, "mi_res_id", RESOURCE_ID),
        (ML, "clientid", USER),
    ],
    ids=str,
)
def test_identity_is_selected(emulator, source, name, value):
    value = value or emulator.identities()[USER]["object_id"]
    claims = claims_of(source.ask(emulator, **{name: value}).json()["access_token"])
    assert claims["appid"] == USER and claims["xms_mirid"] == RESOURCE_ID


def test_parameters_of_newer_clients_are_ignored(emulator):
    answer = IMDS.ask(emulator, xms_cc="CP1", token_sha256_to_refresh="abc")
    assert answer.status_code == 200


# ---- strictness --------------------------------------------------------------------------------


@every_source
def test_refuses_another_path(emulator, source):
    for path in ("/", source.path + "s", source.path.upper(), "/" + source.path):
        assert source.ask(emulator, path=path).status_code == 404


@every_source
def test_refuses_another_method(emulator, source):
    method = "POST" if source.method == "GET" else "GET"
    answer = source.ask(emulator, method=method)
    assert answer.status_code == 405 and answer.headers["Allow"] == source.method


@pytest.mark.parametrize("source", OF_GET, ids=repr)
@pytest.mark.parametrize("version", [None, "", "2018-02-02", "2019-08-01-preview"])
def test_refuses_another_version(emulator, source, version):
    answer = source.ask(emulator, **{"api-version": version})
    assert_refused(emulator, source, answer, 400, "api-version is")


@every_source
@pytest.mark.parametrize("resource", [None, "", "storage", RESOURCE + "/.default", "https://a b"])
def test_refuses_a_resource(emulator, source, resource):
    answer = source.ask(emulator, resource=resource)
    assert_refused(emulator, source, answer, 400, "resource")


@every_source
def test_refuses_an_unknown_parameter(emulator, source):
    answer = source.ask(emulator, scope="x")
    assert_refused(emulator, source, answer, 400, "does not take")


@pytest.mark.parametrize("source", [ARC, FABRIC, SHELL], ids=repr)
def test_has_no_user_assigned_identities(emulator, source):
    answer = source.ask(emulator, client_id=USER)
    assert_refused(emulator, source, answer, 400, "does not take")


@pytest.mark.parametrize(
    "source, status", [(IMDS, 400), (APP_SERVICE, 400), (ML, 400)], ids=str
)
def test_unknown_identity(emulator, source, status):
    name = "clientid" if source is ML else "client_id"
    answer = source.ask(emulator, **{name: str(uuid.uuid4())})
    assert_refused(emulator, source, answer, status, "Identity not found")


@every_source
def test_host_without_an_identity(emulator, source):
    emulator.delete_identity(SYSTEM)
    answer = source.ask(emulator)
    assert_refused(emulator, source, answer, 404 if source is FABRIC else 400, "Identity not found")


def test_two_selectors_are_one_too_many(emulator):
    answer = IMDS.ask(emulator, client_id=USER, msi_res_id=RESOURCE_ID)
    assert_refused(emulator, IMDS, answer, 400, "more than one")


@pytest.mark.parametrize("source", [IMDS, ARC, SHELL], ids=repr)
@pytest.mark.parametrize("value", [None, "false", "", "True"])
def test_metadata_header_is_needed(emulator, source, value):
    answer = source.ask(emulator, headers={"Metadata": value})
    assert_refused(emulator, source, answer, 400, "metadata header")


def test_imds_refuses_what_came_through_a_proxy(emulator):
    answer = IMDS.ask(emulator, headers={"X-Forwarded-For": "10.0.0.1"})
    assert_refused(emulator, IMDS, answer, 400, "proxy")


@pytest.mark.parametrize("source, status", [(APP_SERVICE, 401), (ML, 401), (FABRIC, 400)], ids=str)
def test_secret_is_needed(emulator, source, status):
    name = source.secret[1]
    secret = emulator.environment(source.name)[source.secret[0]]
    for value in (None, "", "wrong", secret[:-1], secret + "0", secret.lower()):
        answer = source.ask(emulator, headers={name: value})
        assert_refused(emulator, source, answer, status, name)
        assert secret not in answer.text


def test_service_fabric_has_codes(emulator):
    codes = [
        FABRIC.ask(emulator, headers={"Secret": None}).json()["error"]["code"],
        FABRIC.ask(emulator, resource=None).json()["error"]["code"],
    ]
    emulator.delete_identity(SYSTEM)
    codes.append(FABRIC.ask(emulator).json()["error"]["code"])
    assert codes == ["SecretHeaderNotFound", "ArgumentNullOrEmpty", "ManagedIdentityNotFound"]


def test_service_fabric_is_known_by_its_thumbprint(emulator):
    address = urllib.parse.urlparse(emulator.endpoints["service_fabric"])
    pem = ssl.get_server_certificate((address.hostname, address.port))
    digest = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    assert emulator.environment("service_fabric")["IDENTITY_SERVER_THUMBPRINT"] == digest


@pytest.mark.parametrize(
    "headers, body, words",
    [
        ({"Content-Type": "application/json"}, None, "Content-Type"),
        ({}, "resource", "no name or no '='"),
        ({}, "resource=a&resource=b", "there twice"),
    ],
)
def test_cloud_shell_refuses_another_body(emulator, headers, body, words):
    answer = SHELL.ask(emulator, headers=headers, body=body)
    assert_refused(emulator, SHELL, answer, 400, words)


def test_refuses_a_body_where_there_is_none(emulator):
    answer = IMDS.ask(emulator, body="x")
    assert_refused(emulator, IMDS, answer, 400, "has a body")


# ---- Azure Arc's challenge ---------------------------------------------------------------------


def test_arc_challenge_points_to_a_private_file(emulator):
    challenge = ARC.challenge(emulator)
    path = pathlib.Path(challenge.headers["WWW-Authenticate"].partition("=")[2])
    assert path.parent == emulator.arc_directory
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert 0 < path.stat().st_size <= 4096
    assert emulator.requests()[-1]["complaint"] is None


def test_arc_key_is_good_once(emulator):
    key = read_key(ARC.challenge(emulator))
    assert ARC.ask(emulator, headers={"Authorization": f"Basic {key}"}).status_code == 200
    answer = ARC.ask(emulator, headers={"Authorization": f"Basic {key}"})
    assert_refused(emulator, ARC, answer, 400, "shown before")
    assert [p for p in emulator.arc_directory.iterdir() if p.read_text() == key] == []


def test_arc_keys_of_several_clients_are_good_together(emulator):
    keys = [read_key(ARC.challenge(emulator)) for _ in range(5)]
    for key in reversed(keys):
        assert ARC.ask(emulator, headers={"Authorization": f"Basic {key}"}).status_code == 200


@pytest.mark.parametrize("form", ["Basic {}x", "Bearer {}", "basic {}", "{}", "Basic {} "])
def test_arc_refuses_another_key(emulator, form):
    key = read_key(ARC.challenge(emulator))
    if form.endswith(" "):
        key = base64.b64encode(key.encode()).decode()
    answer = ARC.ask(emulator, headers={"Authorization": form.format(key).strip()})
    assert answer.status_code == 400


def test_arc_takes_the_older_version(emulator):
    assert ARC.ask(emulator, **{"api-version": "2019-11-01"}).status_code == 200


def test_arc_files_are_removed_at_the_end(tmp_path):
    with Emulator(tmp_path / "d") as own:
        for _ in range(70):
            ARC.challenge(own)
        directory = tmp_path / "d" / "azcmagent-tokens"
        if os.access("/var/opt/azcmagent/tokens", os.W_OK):
            pytest.skip("this host has the directory of the real agent")
        assert len(list(directory.iterdir())) == 64
    assert list(directory.iterdir()) == []


# ---- faults ------------------------------------------------------------------------------------


@every_source
@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
def test_fault_is_for_its_source(emulator, source, status):
    emulator.add_fault("status", server="entra", status=500)
    emulator.add_fault("status", server=source.name, status=status, headers={"Retry-After": "1"})
    # The challenge of Azure Arc is a request like any other.
    answer = source.ask(emulator, headers={"Authorization": "Basic x"} if source is ARC else None)
    assert answer.status_code == status and answer.headers["Retry-After"] == "1"
    assert "told" in sentence_of(source, answer)
    assert source.ask(emulator).status_code == 200
    assert len(emulator.faults()) == 1


def test_fault_is_for_its_identity(emulator):
    emulator.add_fault("status", server="imds", status=500, account=USER)
    assert IMDS.ask(emulator).status_code == 200
    assert IMDS.ask(emulator, client_id=USER).status_code == 500


def test_token_faults(emulator):
    first = IMDS.ask(emulator).json()
    emulator.add_fault("same_token", server="imds")
    emulator.add_fault("token", server="imds", lifetime_s=60)
    again = IMDS.ask(emulator).json()
    assert (again["access_token"], again["expires_on"]) == (
        first["access_token"],
        first["expires_on"],
    )
    assert IMDS.ask(emulator).json()["expires_in"] == "60"


# ---- registration ------------------------------------------------------------------------------


def test_one_identity_is_system_assigned(emulator):
    other = str(uuid.uuid4())
    emulator.put_identity(other, system_assigned=True)
    assert claims_of(IMDS.ask(emulator).json()["access_token"])["appid"] == other
    assert emulator.identities()[SYSTEM]["system_assigned"] is False
    emulator.delete_identity(other)


@pytest.mark.parametrize(
    "body, words",
    [
        ({"object_id": "x"}, '"object_id" must be a UUID'),
        ({"tenant": "x"}, '"tenant" must be a UUID'),
        ({"resource_id": "x" * 512}, "at most 511 characters"),
        ({"system_assigned": "yes"}, '"system_assigned" must be true or false'),
        ({"client_id": USER}, 'an identity has no member "client_id"'),
    ],
)
def test_refuses_a_bad_identity(emulator, body, words):
    answer = emulator.ask_control("PUT", f"/v1/identities/{USER}", json=body)
    assert answer.status_code == 400 and words in answer.json()["error"]
    assert emulator.identities()[USER]["resource_id"] == RESOURCE_ID


def test_identity_of_a_tenant_that_is_gone(emulator):
    gone = str(uuid.uuid4())
    emulator.put_identity(USER, tenant=gone)
    answer = IMDS.ask(emulator, client_id=USER)
    assert_refused(emulator, IMDS, answer, 400, "tenant of the identity is gone")


def test_environment_is_what_hosts_set(emulator):
    names = {server: sorted(emulator.environment(server)) for server in SHAPES}
    assert names == {
        "imds": ["AZURE_POD_IDENTITY_AUTHORITY_HOST"],
        "app_service": ["IDENTITY_ENDPOINT", "IDENTITY_HEADER"],
        "azure_arc": ["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"],
        "service_fabric": ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"],
        "azure_ml": ["MSI_ENDPOINT", "MSI_SECRET"],
        "cloud_shell": ["MSI_ENDPOINT"],
    }
    assert emulator.environment("entra") == {
        "AZURE_AUTHORITY_HOST": emulator.entra,
        "AZURE_TENANT_ID": TENANT,
    }


def test_arc_directory_must_be_absolute(tmp_path):
    with pytest.raises(RuntimeError, match="expected a path that begins with '/'"):
        Emulator(tmp_path, arguments=["--arc-directory", "relative"]).start()
