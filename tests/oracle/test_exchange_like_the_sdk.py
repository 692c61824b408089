"""The daemon's exchange beside that of the client that it replaces, header by header.

Both ask the same emulator, which records what it receives; what may differ between them is written
down in MAY_DIFFER, and nothing else may.
"""

import re

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.mixedreality.authentication import MixedRealityStsClient

from conftest import ACCOUNT_ID, KEY
from rig.daemon import account_section

DOMAIN = "eastus2.mixedreality.azure.com"

# Who asks, and what its HTTP library adds by itself.
MAY_DIFFER = {"user-agent", "accept-encoding", "connection"}
# What is new with each request, and its form.
FRESH = {
    "x-mrc-cv": "[A-Za-z0-9+/]{22}",
    "x-ms-client-request-id": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}

# What a request with a body would have.
BODY_HEADERS = {"content-length", "content-type", "transfer-encoding", "content-encoding", "expect"}

SPELLINGS = [ACCOUNT_ID, ACCOUNT_ID.upper(), ACCOUNT_ID.title()]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask_by_sdk(emulator, account_id):
    with MixedRealityStsClient(
        account_id,
        DOMAIN,
        AzureKeyCredential(KEY),
        custom_endpoint_url=emulator.sts,
        connection_verify=emulator.ca_file,
    ) as client:
        return client.get_token()


@pytest.fixture(params=SPELLINGS, ids=["lower", "upper", "mixed"])
def exchanges(request, emulator, make_daemon, key_file):
    """The spelling of the account's identifier; the SDK's request and the daemon's."""
    ask_by_sdk(emulator, request.param)
    running = make_daemon(
        account_section("anchors", emulator, key_file, request.param, account_domain=DOMAIN)
    ).start()
    running.wait_for_token("anchors")
    by_sdk, by_daemon = emulator.requests()
    assert headers_of(by_sdk)["user-agent"].startswith("azsdk-python-mixedreality-authentication/")
    assert headers_of(by_daemon)["user-agent"].startswith("mrtokend/")
    return request.param, by_sdk, by_daemon


def headers_of(recorded):
    """{name in small letters: value}; none may be there twice."""
    names = [name.lower() for name, _ in recorded["headers"]]
    assert len(names) == len(set(names)), names
    return {name.lower(): value for name, value in recorded["headers"]}


@pytest.mark.parametrize("part", ["method", "path", "target", "query", "version", "body"])
def test_the_request_is_the_same_in_its(exchanges, part):
    _, by_sdk, by_daemon = exchanges
    assert by_daemon[part] == by_sdk[part]


def test_the_query_is_the_api_version(exchanges):
    _, by_sdk, by_daemon = exchanges
    for recorded in (by_sdk, by_daemon):
        assert recorded["query"] == {"api-version": "2019-02-28-preview"}


def test_the_headers_are_the_same(exchanges):
    _, by_sdk, by_daemon = exchanges
    sdk, daemon = headers_of(by_sdk), headers_of(by_daemon)
    assert set(daemon) - MAY_DIFFER == set(sdk) - MAY_DIFFER
    for name in sorted(set(daemon) - MAY_DIFFER - set(FRESH)):
        assert daemon[name] == sdk[name], name


def test_the_headers_in_common_are_those_of_the_protocol(exchanges):
    _, _, by_daemon = exchanges
    assert set(headers_of(by_daemon)) - MAY_DIFFER == {
        "host",
        "accept",
        "authorization",
        *FRESH,
    }


def test_there_is_no_header_of_a_body(exchanges):
    for recorded in exchanges[1:]:
        assert BODY_HEADERS.isdisjoint(headers_of(recorded))
        assert recorded["body"] == ""


def test_the_identifier_is_sent_as_it_was_written(exchanges):
    written, by_sdk, by_daemon = exchanges
    for recorded in (by_sdk, by_daemon):
        assert recorded["path"] == f"/Accounts/{written}/token"
        assert headers_of(recorded)["authorization"] == f"Bearer {written}:{KEY}"


def test_the_strict_emulator_finds_no_fault_with_either(exchanges):
    for recorded in exchanges[1:]:
        assert (recorded["status"], recorded["complaint"]) == (200, None)


@pytest.mark.parametrize("name", FRESH)
def test_it_is_of_one_form_and_fresh_each_time(emulator, make_daemon, key_file, name):
    for _ in range(3):
        ask_by_sdk(emulator, ACCOUNT_ID)
    emulator.change_settings(token_lifetime_s=3)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    recorded = emulator.wait_for_requests(6)
    running.stop()
    values = [headers_of(request)[name] for request in recorded]
    assert all(re.fullmatch(FRESH[name], value) for value in values), values
    assert len(set(values)) == len(values)


def test_the_token_is_the_same_kind_of_thing(emulator, make_daemon, key_file):
    token = ask_by_sdk(emulator, ACCOUNT_ID)
    running = make_daemon(account_section("anchors", emulator, key_file)).start()
    running.wait_for_token("anchors")
    served = running.token()
    assert served["token"].count(".") == token.token.count(".") == 2
    assert abs(served["expires_on"] - token.expires_on) < 10
