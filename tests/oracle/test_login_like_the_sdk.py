"""A login by device code beside that of azure.identity, request by request.

The SDK's client and the daemon log in at the same emulator, then each asks for a token for another
scope, which its refresh token brings. What may differ is written down here with its reason, and
nothing else may.
"""

import concurrent.futures
import time
import urllib.parse

import pytest
from azure.identity import DeviceCodeCredential

from rig.daemon import APP, STORAGE, TENANT, configuration, entra_keys

VAULT = "https://vault.azure.net/.default"
USER_SCOPES = {"openid", "profile", "offline_access"}
SECONDS = 30

# The device code a second time, under a name that an early form of the service wanted; RFC 8628
# does not know it.
OLD_FIELDS = {"code"}
# That the client can answer a challenge for claims, which the daemon cannot: see
# test_entra_like_the_sdk.py.
PROMISES = {"claims"}
# Those of MSAL's makers, and a hint for the service's own routing.
MSAL_HEADERS = {
    "x-client-sku",
    "x-client-ver",
    "x-client-os",
    "x-client-cpu",
    "x-client-current-telemetry",
    "x-client-last-telemetry",
    "x-ms-lib-capability",
    "x-ms-client-request-id",
    "x-anchormailbox",
}
MAY_DIFFER = {"user-agent", "accept-encoding", "connection", "content-length"}
FRESH = {"client-request-id"}
# MSAL's library says */* as it begins, and what it reads in all that follows; the daemon always does.
SAID_SOONER = {("begin", "accept"): ("*/*", "application/json")}
# New each time, and nobody else's.
SECRETS = {"device_code", "refresh_token"}


@pytest.fixture(autouse=True)
def prepared(emulator, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", emulator.ca_file)
    emulator.put_app(APP, public=True)
    emulator.change_settings(device_code_interval_s=1, entra_expires_in_s=3599)


def form_of(request):
    pairs = urllib.parse.parse_qsl(request["body"], keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def headers_of(request):
    return {name.lower(): value for name, value in request["headers"]}


def sort_out(emulator):
    """The requests of one login: {step: the last of it}."""
    found = {}
    for request in emulator.requests(server="entra"):
        if request["path"].endswith("/devicecode"):
            found["begin"] = request
        elif request["path"].endswith("/token"):
            step = "refresh" if "refresh_token=" in request["body"] else "poll"
            found[step] = request
    emulator.clear_requests()
    assert set(found) == {"begin", "poll", "refresh"}
    for step, request in found.items():
        assert (request["status"], request["complaint"]) == (200, None), step
    return found


def wait_for_code(emulator, known):
    """The code of a flow that was not there before."""
    deadline = time.monotonic() + SECONDS
    while True:
        codes = [flow["user_code"] for flow in emulator.device_codes()]
        if new := [code for code in codes if code not in known]:
            return new[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def known_codes(emulator):
    return {flow["user_code"] for flow in emulator.device_codes()}


def log_in_by_sdk(emulator, **options):
    known = known_codes(emulator)
    shown = []
    credential = DeviceCodeCredential(
        prompt_callback=lambda *args: shown.append(args),
        authority=emulator.entra,
        instance_discovery=False,
        **options,
    )
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(credential.get_token, STORAGE)
        emulator.decide_device_code(wait_for_code(emulator, known), "approved")
        waiting.result(SECONDS)
    credential.get_token(VAULT)
    return shown, sort_out(emulator)


def log_in_by_daemon(emulator, make_daemon, **keys):
    keys = entra_keys(emulator, credential="device_code", **keys)
    known = known_codes(emulator)
    daemon = make_daemon(configuration(emulator, {"storage": keys})).start()
    assert daemon.request("POST", "/v1/accounts/storage/login").status == 202
    code = wait_for_code(emulator, known)
    daemon.wait_for_log("somebody is logging in")
    shown = daemon.get("/v1/accounts/storage/login").json()
    emulator.decide_device_code(code, "approved")
    daemon.wait_for_token("storage")
    mark = daemon.mark()
    daemon.write_config(daemon.config_file.read_text().replace(STORAGE, VAULT))
    daemon.reload()
    daemon.wait_for_token("storage", mark)
    return shown, sort_out(emulator)


@pytest.fixture
def both(emulator, make_daemon):
    """{step: (the SDK's request, the daemon's)}"""
    _, sdk = log_in_by_sdk(emulator, client_id=APP, tenant_id=TENANT)
    _, daemon = log_in_by_daemon(emulator, make_daemon)
    return {step: (sdk[step], daemon[step]) for step in sdk}


def comparable(request):
    """The form as it can be compared: scopes have no order, secrets are their owner's."""
    form = {k: v for k, v in form_of(request).items() if k not in OLD_FIELDS | PROMISES}
    if "scope" in form:
        form["scope"] = set(form["scope"].split(" "))
    return {name: len(v) > 0 if name in SECRETS else v for name, v in form.items()}


def test_the_requests_go_to_the_same_place(both):
    for step, (sdk, daemon) in both.items():
        for part in ("method", "path", "target", "version"):
            assert daemon[part] == sdk[part], (step, part)


def test_the_forms_are_the_same(both):
    for step, (sdk, daemon) in both.items():
        assert comparable(daemon) == comparable(sdk), step


def test_the_headers_are_the_same(both):
    for step, (sdk, daemon) in both.items():
        sdk, daemon = headers_of(sdk), headers_of(daemon)
        left = set(sdk) - MAY_DIFFER - FRESH - MSAL_HEADERS
        assert set(daemon) - MAY_DIFFER - FRESH == left, step
        for name in left:
            expected = SAID_SOONER.get((step, name), (sdk[name], sdk[name]))
            assert (sdk[name], daemon[name]) == expected, (step, name)


def test_the_scopes_are_those_of_msal(both):
    for step, scope in (("begin", STORAGE), ("refresh", VAULT)):
        for request in both[step]:
            assert set(form_of(request)["scope"].split(" ")) == {scope} | USER_SCOPES


def test_a_login_is_one_code_and_its_polls_for_both(both):
    for request in both["poll"]:
        form = form_of(request)
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"
        assert form["client_info"] == "1"
        assert form.get("code", form["device_code"]) == form["device_code"]


def test_the_daemon_shows_what_the_sdk_shows(emulator, make_daemon):
    ((uri, code, _),), _ = log_in_by_sdk(emulator, client_id=APP, tenant_id=TENANT)
    shown, _ = log_in_by_daemon(emulator, make_daemon)
    assert shown["verification_uri"] == uri
    assert len(shown["user_code"]) == len(code)


def test_the_defaults_are_those_of_the_sdk(emulator, make_daemon):
    developer_tools = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
    emulator.put_app(developer_tools, public=True)
    _, sdk = log_in_by_sdk(emulator)
    _, daemon = log_in_by_daemon(emulator, make_daemon, client_id=None, tenant_id=None)
    assert daemon["begin"]["path"] == sdk["begin"]["path"]
    assert daemon["begin"]["path"].split("/")[1] == "organizations"
    assert form_of(daemon["begin"])["client_id"] == form_of(sdk["begin"])["client_id"]
    assert form_of(daemon["begin"])["client_id"] == developer_tools
