"""Accounts with a managed identity: each of Azure's hosts, and what goes wrong there."""

import base64
import calendar
import contextlib
import http.server
import json
import re
import threading

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.arc import KEY_DIRECTORY, arc_machine, can_be_arc
from rig.daemon import STORAGE, TENANT, account_keys, configuration
from rig.emulator import Emulator

SYSTEM = "e3a1c0de-0000-4000-8000-0000000000a1"
USER = "e3a1c0de-0000-4000-8000-0000000000b2"
USER_OBJECT = "e3a1c0de-0000-4000-8000-0000000000b3"
USER_RESOURCE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/whole"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/whole"
)
NOBODY = "e3a1c0de-0000-4000-8000-0000000000ff"
STS_RESOURCE = "https://sts.mixedreality.azure.com/"
CLOSED = "http://127.0.0.1:1"  # nobody listens there

needs_root = pytest.mark.skipif(not can_be_arc(), reason="a mount namespace needs root")
ARC = pytest.param("azure_arc", marks=needs_root)
SOURCES = ["imds", "app_service", ARC, "service_fabric", "azure_ml", "cloud_shell"]
SECRETS = {
    "app_service": "IDENTITY_HEADER",
    "service_fabric": "IDENTITY_HEADER",
    "azure_ml": "MSI_SECRET",
}


@pytest.fixture(scope="module")
def key_directory(tmp_path_factory):
    """Where the key files are that the daemon finds in the place of the agent's."""
    return tmp_path_factory.mktemp("arc")


@pytest.fixture(scope="module")
def machine(key_directory):
    return arc_machine(key_directory) if can_be_arc() else []


@pytest.fixture(scope="module")
def shared_emulator(tmp_path_factory, machine):
    directory = tmp_path_factory.mktemp("emulator")
    arc = ["--arc-directory", str(KEY_DIRECTORY if machine else directory / "tokens")]
    with Emulator(directory, {ACCOUNT_ID: [KEY]}, arc, machine) as running:
        yield running


@pytest.fixture(autouse=True)
def host(emulator):
    """A host with two identities, which get tokens of the account at the STS."""
    usual = emulator.settings()
    emulator.put_identity(SYSTEM, system_assigned=True)
    emulator.put_identity(USER, object_id=USER_OBJECT, resource_id=USER_RESOURCE)
    emulator.put_account(ACCOUNT_ID, KEY, apps=[SYSTEM, USER])
    yield emulator
    emulator.change_settings(**usual)


def keys(**changes):
    return {"kind": "entra", "scope": STORAGE, "credential": "managed_identity", **changes}


@pytest.fixture
def serve(make_daemon, emulator, machine):
    """Start a daemon with these accounts on a host of that kind, or with these variables."""

    def start(source, accounts=None, **variables):
        environment = emulator.environment(source) if isinstance(source, str) else dict(source)
        environment.update(variables)
        text = configuration(emulator, accounts or {"storage": keys()})
        wrap = machine if "IMDS_ENDPOINT" in environment else ()
        return make_daemon(text, environment=environment, wrap=wrap).start()

    return start


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def failure_of(daemon, account="storage"):
    daemon.wait_for_failure(account)
    return daemon.account(account)["last_error"]


# ---- what is served ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_serves_the_token_of_the_system_assigned_identity(serve, emulator, source):
    daemon = serve(source)
    daemon.wait_for_token("storage")
    served = daemon.token("storage")
    claims = claims_of(served["token"])
    assert (claims["aud"], claims["appid"]) == ("https://storage.azure.com", SYSTEM)
    assert claims["tid"] == TENANT
    assert abs(served["expires_on"] - claims["exp"]) <= 2
    assert daemon.account("storage")["credential_in_use"] == "managed_identity"
    complaints = [(r["server"], r["complaint"]) for r in emulator.requests()]
    assert set(complaints) == {(source, None)}


@pytest.mark.parametrize("source", SOURCES)
def test_exchanges_its_token_at_the_sts(serve, emulator, source):
    keys = account_keys(emulator, "", account_key=None, credential="managed_identity")
    daemon = serve(source, {"anchors": keys})
    daemon.wait_for_token("anchors")
    assert claims_of(daemon.token()["token"])["tid"] == TENANT
    (exchange,) = emulator.requests(server="sts")
    bearer = dict(exchange["headers"])["Authorization"].removeprefix("Bearer ")
    assert claims_of(bearer)["aud"] == STS_RESOURCE
    assert claims_of(bearer)["appid"] == SYSTEM


@pytest.mark.parametrize(
    "source, key, value",
    [
        ("imds", "client_id", USER),
        ("imds", "object_id", USER_OBJECT),
        ("imds", "resource_id", USER_RESOURCE),
        ("app_service", "client_id", USER),
        ("app_service", "object_id", USER_OBJECT),
        ("app_service", "resource_id", USER_RESOURCE),
        ("azure_ml", "client_id", USER),
    ],
)
def test_serves_the_token_of_a_user_assigned_identity(serve, source, key, value):
    daemon = serve(source, {"storage": keys(**{key: value})})
    daemon.wait_for_token("storage")
    claims = claims_of(daemon.token("storage")["token"])
    assert (claims["appid"], claims["oid"]) == (USER, USER_OBJECT)


def test_the_variable_of_other_credentials_names_no_identity(serve):
    """As with the SDK, where AZURE_CLIENT_ID means one in DefaultAzureCredential only."""
    daemon = serve("imds", AZURE_CLIENT_ID=USER)
    daemon.wait_for_token("storage")
    assert claims_of(daemon.token("storage")["token"])["appid"] == SYSTEM


def test_azure_ml_may_say_which_identity_is_the_default(serve):
    daemon = serve("azure_ml", DEFAULT_IDENTITY_CLIENT_ID=USER)
    daemon.wait_for_token("storage")
    assert claims_of(daemon.token("storage")["token"])["appid"] == USER


def test_accounts_with_one_identity_and_scope_share_one_request(serve, emulator):
    accounts = {f"a{number}": keys() for number in range(10)}
    daemon = serve("app_service", {**accounts, "other": keys(client_id=USER)})
    for name in [*accounts, "other"]:
        daemon.wait_for_token(name)
    assert len(emulator.requests(server="app_service")) == 2
    assert claims_of(daemon.token("other")["token"])["appid"] == USER


# ---- refreshing --------------------------------------------------------------------------------


def test_obeys_refresh_in(serve, emulator):
    emulator.change_settings(identity_expires_in_s=86400, identity_refresh_in_s=20000)
    daemon = serve("imds")
    daemon.wait_for_token("storage")
    # The random part is a tenth of what is left behind it.
    assert 19990 <= daemon.account("storage")["refresh_in"] <= 20000 + (86400 - 20000) / 10


def test_refreshes_at_half_life_where_none_is_told(serve):
    daemon = serve("app_service")
    daemon.wait_for_token("storage")
    assert 43190 <= daemon.account("storage")["refresh_in"] <= 43200 + 8640


def test_does_not_ask_in_a_loop_for_a_token_that_stays_the_same(serve, emulator):
    """A host keeps a token until it is near its end, and gives it to whoever asks."""
    emulator.add_fault("token", server="imds", lifetime_s=6)
    emulator.add_fault("same_token", server="imds", count=0)
    daemon = serve("imds")
    daemon.wait_for_token("storage")
    daemon.wait_for_log("the same token again")
    first, second = [r["received_on"] for r in emulator.requests(server="imds")][:2]
    assert second - first >= 2500


def test_a_wrong_clock_of_this_host_does_not_count(serve, emulator):
    emulator.change_settings(date_offset_s=86400 * 365)
    daemon = serve("app_service")
    daemon.wait_for_token("storage")
    assert daemon.account("storage")["state"] == "valid"
    assert 43190 <= daemon.account("storage")["refresh_in"] <= 43200 + 8640


# ---- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SECRETS)
def test_its_secret_is_nowhere_to_be_seen(serve, emulator, source):
    secret = emulator.environment(source)[SECRETS[source]]
    daemon = serve(source)
    daemon.wait_for_token("storage")
    with open(f"/proc/{daemon.pid}/environ", "rb") as file:
        assert secret.encode() not in file.read()
    assert secret not in daemon.log()
    assert secret not in json.dumps(daemon.account("storage"))


@pytest.mark.parametrize("source", SECRETS)
def test_its_secret_is_known_after_a_reload(serve, emulator, source):
    daemon = serve(source)
    daemon.wait_for_token("storage")
    mark = daemon.mark()
    text = configuration(emulator, {"vault": keys(scope="https://vault.azure.net/.default")})
    daemon.write_config(text)
    daemon.reload()
    daemon.wait_for_token("vault", mark)
    assert claims_of(daemon.token("vault")["token"])["aud"] == "https://vault.azure.net"


def test_a_secret_that_is_not_used_is_wiped_too(serve, emulator):
    """App Service tells the same secret by an older name."""
    daemon = serve("app_service", MSI_ENDPOINT=CLOSED, MSI_SECRET="an-older-secret")
    daemon.wait_for_token("storage")
    with open(f"/proc/{daemon.pid}/environ", "rb") as file:
        assert b"an-older-secret" not in file.read()


def test_a_wrong_secret_is_told_and_not_repeated(serve):
    daemon = serve("app_service", IDENTITY_HEADER="a-wrong-secret-of-the-test")
    error = failure_of(daemon)
    assert (error["code"], error["status"]) == ("denied", 401)
    assert error["message"].endswith("; check IDENTITY_HEADER, which the daemon read at its start")
    assert "a-wrong-secret" not in daemon.log()


# ---- identities that are not there -------------------------------------------------------------


@pytest.mark.parametrize(
    "source, account, message",
    [
        ("azure_arc", {"client_id": USER}, "Azure Arc gives a machine its system-assigned"),
        ("service_fabric", {"object_id": USER}, "Service Fabric gives a service the identity"),
        ("azure_ml", {"object_id": USER}, "Azure Machine Learning knows identities by client_id"),
        ("azure_ml", {"resource_id": USER_RESOURCE}, "Azure Machine Learning knows identities by"),
        ("cloud_shell", {"client_id": USER}, "Cloud Shell has no identity but that of the user"),
    ],
)
def test_a_host_without_user_assigned_identities_says_so(
    serve, emulator, key_file, source, account, message
):
    accounts = {"storage": keys(**account), "anchors": account_keys(emulator, key_file)}
    daemon = serve(source, accounts)
    error = failure_of(daemon)
    assert error["code"] == "configuration"
    assert message in error["message"] and "leave out client_id, object_id" in error["message"]
    daemon.wait_for_token("anchors")  # the other account is none the worse
    assert emulator.requests(server=source) == []


@pytest.mark.parametrize(
    "source, code, message",
    [
        ("imds", "unavailable", "answered 400 with invalid_request: Identity not found; the "
            "requested identity is not assigned to this host: assign it, or check client_id"),
        ("app_service", "refused", "answered 400 with Identity not found; check that the identity "
            "is assigned to the app"),
        ("azure_ml", "refused", "answered 400 with Identity not found; check that the compute has"),
    ],
)
def test_an_identity_that_the_host_lacks_is_told(serve, source, code, message):
    daemon = serve(source, {"storage": keys(client_id=NOBODY)})
    error = failure_of(daemon)
    assert (error["code"], error["status"]) == (code, 400)
    assert message in error["message"]


def test_a_virtual_machine_without_an_identity_is_told(serve, emulator):
    emulator.delete_identity(SYSTEM)
    error = failure_of(serve("imds"))
    assert error["code"] == "unavailable"
    assert "no identity assigned to this host: switch on its system-assigned" in error["message"]


def test_a_cluster_without_an_identity_is_told_with_the_correlation_id(serve, emulator):
    emulator.delete_identity(SYSTEM)
    error = failure_of(serve("service_fabric"))
    assert (error["status"], error["upstream_code"]) == (404, "ManagedIdentityNotFound")
    assert re.fullmatch("[0-9a-f-]{36}", error["correlation_id"])
    assert f"correlation id {error['correlation_id']}; check the identity" in error["message"]


# ---- hosts that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables, code, message",
    [
        (
            {"AZURE_POD_IDENTITY_AUTHORITY_HOST": CLOSED},
            "network",
            "no managed identity endpoint here (IMDS): no answer from http://127.0.0.1:1: ",
        ),
        (
            {"IDENTITY_ENDPOINT": CLOSED, "IDENTITY_HEADER": "s"},
            "network",
            "the managed identity endpoint of App Service: no answer from http://127.0.0.1:1: ",
        ),
        (
            {"IDENTITY_ENDPOINT": CLOSED},
            "unavailable",
            "no managed identity endpoint is known here: found IDENTITY_ENDPOINT in the "
            "environment, expected IDENTITY_HEADER (App Service) or IMDS_ENDPOINT (Azure Arc)",
        ),
        (
            {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://192.0.2.1"},
            "configuration",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST: found http://192.0.2.1/metadata/identity/oauth2/"
            "token, expected an address of this host itself",
        ),
        (
            {"MSI_ENDPOINT": "http://cloud.example/token"},
            "configuration",
            "MSI_ENDPOINT: found http://cloud.example/token, expected an address of this host",
        ),
    ],
)
def test_a_host_that_is_none_is_told(serve, emulator, key_file, variables, code, message):
    daemon = serve(variables, {"storage": keys(), "anchors": account_keys(emulator, key_file)})
    error = failure_of(daemon)
    assert error["code"] == code
    assert message in error["message"]
    daemon.wait_for_token("anchors")


# ---- what goes wrong on the way ----------------------------------------------------------------


@pytest.mark.parametrize(
    "source, fault",
    [
        ("imds", {"status": 404}),
        ("imds", {"status": 410, "headers": {"Retry-After": "1"}}),
        ("imds", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("imds", {"status": 500, "count": 2, "headers": {"Retry-After": "1"}}),
        ("app_service", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("app_service", {"status": 500}),
        ("app_service", {"status": 503, "count": 2}),
        pytest.param("azure_arc", {"status": 500}, marks=needs_root),
        ("service_fabric", {"status": 502}),
        ("azure_ml", {"status": 504}),
        ("cloud_shell", {"status": 408}),
    ],
)
def test_asks_again_what_time_may_mend(serve, emulator, source, fault):
    emulator.add_fault("status", server=source, **fault)
    daemon = serve(source)
    daemon.wait_for_token("storage")
    assert not any(": refresh failed" in line for line in daemon.log_lines())
    statuses = [r["status"] for r in emulator.requests(server=source) if r["status"] != 401]
    assert statuses == [fault["status"]] * fault.get("count", 1) + [200]
    assert f"answered {fault['status']} with " in daemon.wait_for_log("; asking again in ")


def test_waits_as_long_as_it_is_told(serve, emulator):
    emulator.add_fault("status", server="imds", status=429, headers={"Retry-After": "2"})
    serve("imds").wait_for_token("storage")
    first, second = [r["received_on"] for r in emulator.requests(server="imds")]
    assert 2000 <= second - first < 8000


def test_gives_up_after_three_times_and_tells(serve, emulator):
    emulator.add_fault("status", server="app_service", status=500, count=4)
    daemon = serve("app_service")
    error = failure_of(daemon)
    assert (error["code"], error["status"]) == ("upstream_fault", 500)
    assert re.search(r"App Service at http://127.0.0.1:\d+ answered 500 with ", error["message"])
    assert len(emulator.requests(server="app_service")) >= 4
    daemon.wait_for_token("storage")  # from then on it is up to the schedule


@pytest.mark.parametrize(
    "source, action, members, code, message",
    [
        ("imds", "status", {"status": 403, "body": "network Unreachable"}, "unavailable",
            "answered 403 with network Unreachable; there is no metadata service to be reached"),
        ("imds", "status", {"status": 405}, "refused", "answered 405 with invalid_request: "),
        ("imds", "status", {"status": 302, "headers": {"Location": "https://evil.example/"}},
            "refused", "answered 302 with "),
        ("app_service", "status", {"status": 404}, "refused", "answered 404 with "),
        ("app_service", "status",
            {"status": 429, "headers": {"Retry-After": "300"}}, "throttled", "answered 429 with "),
        ("app_service", "status",
            {"status": 200, "body": "<html>sign in</html>", "content_type": "text/html"},
            "upstream_format", "answered 200, but not with a token of use: found Content-Type "
            "text/html, expected application/json (is a proxy or a captive portal in between?)"),
        ("cloud_shell", "wrong_type", {}, "upstream_format", "found Content-Type text/html; "),
        ("imds", "oversize", {}, "upstream_format",
            "answered with more than the 262144 bytes that an answer may have"),
        ("azure_ml", "truncate", {}, "network", "the managed identity endpoint of Azure Machine "
            "Learning: no answer from http://127.0.0.1:"),
        ("cloud_shell", "reset", {"at": "headers"}, "network", "no answer from http://127.0.0.1:"),
        ("service_fabric", "status", {"status": 200, "body": "[]"}, "upstream_format",
            "the body is not a complete JSON object"),
        ("imds", "status", {"status": 200, "body": '{"access_token":"x"}'}, "upstream_format",
            "tells neither expires_on nor expires_in"),
        ("imds", "status", {"status": 200, "body": '{"expires_in":"3600"}'}, "upstream_format",
            "the body has no member access_token with a string"),
        ("azure_ml", "status", {"status": 200, "body": '{"access_token":"x","expires_on":"soon"}'},
            "upstream_format", "expires_on is neither a number of seconds nor a date"),
        ("imds", "token", {"lifetime_s": 0}, "upstream_format", "the token expires at "),
    ],
)
def test_a_bad_answer_is_told(
    serve, emulator, key_file, source, action, members, code, message
):
    emulator.add_fault(action, server=source, count=0, **members)
    daemon = serve(source, {"storage": keys(), "anchors": account_keys(emulator, key_file)})
    error = failure_of(daemon)
    assert error["code"] == code, error
    assert message in error["message"]
    daemon.wait_for_token("anchors")  # the other account is none the worse
    assert daemon.get("/v1/accounts/storage/token").status == 503


@pytest.mark.parametrize(
    "expires_on",
    ["01/02/2099 03:04:05 +00:00", "1/2/2099 3:04:05 AM +00:00", "2099-01-02T03:04:05Z"],
)
def test_reads_the_date_of_an_older_interface(serve, emulator, expires_on):
    body = {"access_token": "a.b.c", "expires_on": expires_on, "token_type": "Bearer"}
    emulator.add_fault("status", server="azure_ml", status=200, body=json.dumps(body))
    daemon = serve("azure_ml")
    daemon.wait_for_token("storage")
    assert daemon.token("storage")["expires_on"] == calendar.timegm((2099, 1, 2, 3, 4, 5))


# ---- chains ------------------------------------------------------------------------------------


def test_a_list_goes_on_where_the_host_has_no_identity(serve, emulator, tmp_path):
    emulator.delete_identity(SYSTEM)
    secret = tmp_path / "app.secret"
    secret.touch(mode=0o600)
    secret.write_text("the-secret-of-the-app")
    app = "a9900001-0000-4000-8000-000000000001"
    emulator.put_app(app, secrets=["the-secret-of-the-app"])
    account = keys(
        credential="managed_identity, client_secret",
        authority=emulator.entra,
        tenant_id=TENANT,
        client_id=app,
        client_secret=f"file:{secret}",
    )
    daemon = serve("imds", {"storage": account})
    daemon.wait_for_token("storage")
    assert daemon.account("storage")["credential_in_use"] == "client_secret"


def test_a_list_takes_the_identity_where_there_is_one(serve, emulator):
    daemon = serve("app_service", {"storage": keys(credential="environment, managed_identity")})
    daemon.wait_for_token("storage")
    assert daemon.account("storage")["credential_in_use"] == "managed_identity"


# ---- Service Fabric's certificate --------------------------------------------------------------


@pytest.mark.parametrize(
    "thumbprint, code, message",
    [
        ("00" * 20, "tls", "the managed identity endpoint of Service Fabric shows another "
            "certificate than that of IDENTITY_SERVER_THUMBPRINT, or none"),
        ("00" * 32, "configuration", "IDENTITY_SERVER_THUMBPRINT: found 64 characters, expected"),
        ("zz" * 20, "configuration", "IDENTITY_SERVER_THUMBPRINT: found 40 characters, expected"),
    ],
)
def test_shows_its_secret_to_no_other_certificate(serve, emulator, thumbprint, code, message):
    daemon = serve("service_fabric", IDENTITY_SERVER_THUMBPRINT=thumbprint)
    error = failure_of(daemon)
    assert error["code"] == code
    assert message in error["message"]
    assert emulator.requests(server="service_fabric") == []


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_takes_a_thumbprint_in_either_case(serve, emulator, change):
    thumbprint = emulator.environment("service_fabric")["IDENTITY_SERVER_THUMBPRINT"]
    daemon = serve("service_fabric", IDENTITY_SERVER_THUMBPRINT=change(thumbprint))
    daemon.wait_for_token("storage")


def test_does_not_go_there_without_tls(serve, emulator):
    daemon = serve("service_fabric", IDENTITY_ENDPOINT=emulator.endpoints["app_service"])
    error = failure_of(daemon)
    assert error["code"] == "configuration"
    assert "expected an https address" in error["message"]


# ---- an agent of Azure Arc that is not to be trusted -------------------------------------------


@contextlib.contextmanager
def agent(challenge):
    """An agent that answers with that WWW-Authenticate; yields its address and what it was sent."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            self.send_response(401)
            if challenge is not None:
                self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def key_files(key_directory, tmp_path):
    """Files that an agent may name, all with a secret that it is not to be shown."""
    secret = "a-secret-that-no-agent-may-see"
    outside = tmp_path / "outside.key"
    outside.write_text(secret)
    (key_directory / "good.key").write_text(secret)
    (key_directory / "wrong.txt").write_text(secret)
    (key_directory / "big.key").write_text(secret + "x" * 4096)
    (key_directory / "broken.key").write_text(f"{secret}\r\nX-Evil: yes")
    (key_directory / "empty.key").write_text("")
    (key_directory / "link.key").symlink_to(outside)
    (key_directory / "sub").mkdir()
    (key_directory / "sub" / "inner.key").write_text(secret)
    yield {"secret": secret, "outside": str(outside)}
    for path in sorted(key_directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@needs_root
@pytest.mark.parametrize(
    "challenge, code, message",
    [
        (None, "upstream_format", "found no WWW-Authenticate, expected WWW-Authenticate: Basic"),
        ("Basic", "upstream_format", "found another WWW-Authenticate, expected"),
        ("Bearer realm={directory}/good.key", "upstream_format", "found another WWW-Authenticate"),
        ("Basic realm={outside}", "upstream_format", "expected {directory}/NAME.key"),
        ("Basic realm=/etc/shadow", "upstream_format", "found the key file /etc/shadow in the"),
        ("Basic realm={directory}/../../../..{outside}", "upstream_format", "/NAME.key"),
        ("Basic realm={directory}/sub/inner.key", "upstream_format", "/NAME.key"),
        ("Basic realm={directory}/wrong.txt", "upstream_format", "/NAME.key"),
        ("Basic realm=good.key", "upstream_format", "/NAME.key"),
        ("Basic realm={directory}/link.key", "secret_source", "is a symbolic link: expected a"),
        ("Basic realm={directory}/big.key", "secret_source", "expected at most 4096 bytes"),
        ("Basic realm={directory}/broken.key", "secret_source", "the byte at offset 30 of "),
        ("Basic realm={directory}/empty.key", "secret_source", "is empty: expected a key"),
        ("Basic realm={directory}/none.key", "secret_source", "No such file or directory"),
    ],
)
def test_an_agent_gets_no_file_that_is_none_of_its_keys(
    serve, key_files, challenge, code, message
):
    places = {"directory": KEY_DIRECTORY, **key_files}
    with agent(challenge and challenge.format(**places)) as (address, seen):
        daemon = serve({"IDENTITY_ENDPOINT": address, "IMDS_ENDPOINT": address})
        error = failure_of(daemon)
        assert error["code"] == code, error
        assert "cannot answer the challenge of Azure Arc at http://127.0.0.1:" in error["message"]
        assert message.format(**places) in error["message"]
        assert all("Authorization" not in headers for headers in seen)
        assert key_files["secret"] not in daemon.log()


@needs_root
def test_a_key_is_shown_once_and_as_it_is(serve, key_files):
    with agent(f"Basic realm={KEY_DIRECTORY}/good.key") as (address, seen):
        daemon = serve({"IDENTITY_ENDPOINT": address, "IMDS_ENDPOINT": address})
        error = failure_of(daemon)
        assert error["code"] == "denied"
        assert "the agent did not take the key of its own file" in error["message"]
        assert [headers.get("Authorization") for headers in seen[:2]] == [
            None,
            f"Basic {key_files['secret']}",
        ]
        assert {headers["Metadata"] for headers in seen} == {"true"}
