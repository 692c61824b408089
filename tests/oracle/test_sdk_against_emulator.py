"""The client that mrtokend replaces, as Debian ships it, against the emulator.

If the real client gets its token here, the emulator asks of a client no more than the service does;
what it recorded of it is what a replacement has to send.
"""

import asyncio
import base64
import json
import re
import time

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.mixedreality.authentication import MixedRealityStsClient
from azure.mixedreality.authentication.aio import MixedRealityStsClient as AsyncStsClient

from rig.emulator import Emulator

ID = "4b1c3c5e-1111-4222-8333-0123456789ab"
KEY = "b3JhY2xlLWtleS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM="
DOMAIN = "eastus2.mixedreality.azure.com"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("oracle"), {ID: KEY}) as emulator:
        yield emulator


@pytest.fixture
def emulator(running, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    running.clear_faults()
    running.clear_requests()
    yield running
    running.clear_faults()


def ask_sync(emulator, key=KEY, account=ID, **options):
    with MixedRealityStsClient(
        account,
        DOMAIN,
        AzureKeyCredential(key),
        custom_endpoint_url=emulator.sts,
        connection_verify=emulator.ca_file,
        **options,
    ) as client:
        return client.get_token()


def ask_async(emulator, key=KEY, account=ID, **options):
    async def ask():
        async with AsyncStsClient(
            account,
            DOMAIN,
            AzureKeyCredential(key),
            custom_endpoint_url=emulator.sts,
            connection_verify=emulator.ca_file,
            **options,
        ) as client:
            return await client.get_token()

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request):
    return request.param


def test_gets_a_token_and_its_expiry(emulator, ask):
    token = ask(emulator)
    payload = token.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert token.expires_on == claims["exp"]
    assert abs(token.expires_on - (time.time() + 86400)) < 10
    assert claims["aid"] == ID


def test_reads_every_token(emulator):
    """It decodes payloads as plain base64, so one with '-' or '_' would break it."""
    with MixedRealityStsClient(
        ID,
        DOMAIN,
        AzureKeyCredential(KEY),
        custom_endpoint_url=emulator.sts,
        connection_verify=emulator.ca_file,
    ) as client:
        for _ in range(50):
            assert client.get_token().expires_on > time.time()


def test_what_it_sends_is_as_the_emulator_wants_it(emulator, ask):
    ask(emulator)
    (recorded,) = emulator.requests()
    headers = {name.lower(): value for name, value in recorded["headers"]}
    assert recorded["complaint"] is None
    assert recorded["status"] == 200
    assert recorded["method"] == "GET"
    assert recorded["path"] == f"/Accounts/{ID}/token"
    assert recorded["query"] in ({}, {"api-version": "2019-02-28-preview"})
    assert recorded["body"] == ""
    assert headers["authorization"] == f"Bearer {ID}:{KEY}"
    assert headers["accept"] == "application/json"
    assert re.fullmatch("[A-Za-z0-9+/]{22}", headers["x-mrc-cv"])
    assert headers["user-agent"].startswith("azsdk-python-mixedreality-authentication/")


def test_account_in_upper_case_is_the_same(emulator, ask):
    assert ask(emulator, account=ID.upper()).token


def test_short_lifetime_is_seen(emulator, ask):
    emulator.add_fault("token", lifetime_s=30)
    assert abs(ask(emulator).expires_on - (time.time() + 30)) < 5


def test_wrong_key_is_an_authentication_error(emulator, ask):
    with pytest.raises(ClientAuthenticationError) as caught:
        ask(emulator, key="wrong")
    assert caught.value.status_code == 401
    assert "key is wrong" in caught.value.response.headers["WWW-Authenticate"]
    assert len(emulator.requests()) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for_and_retried(emulator, ask, status):
    emulator.add_fault("status", status=status, headers={"Retry-After": "1"})
    started = time.monotonic()
    assert ask(emulator).token
    assert time.monotonic() - started >= 1
    first, second = emulator.requests()
    assert (first["status"], second["status"]) == (status, 200)
    assert first["complaint"] is None and second["complaint"] is None
    vectors = [dict(r["headers"])["X-MRC-CV"] for r in (first, second)]
    assert vectors[0] == vectors[1], "retries of a call keep its correlation vector"


def test_other_faults_become_errors(emulator, ask):
    emulator.add_fault("status", status=500, count=0)
    with pytest.raises(HttpResponseError) as caught:
        ask(emulator, retry_total=0)
    assert caught.value.status_code == 500


@pytest.mark.parametrize(
    "fault",
    [{"action": "reset", "at": "accept"}, {"action": "reset"}, {"action": "truncate"}],
    ids=["accept", "headers", "truncate"],
)
def test_broken_connections_are_errors(emulator, ask, fault):
    emulator.add_fault(count=0, **fault)
    with pytest.raises((ServiceRequestError, ServiceResponseError, HttpResponseError)):
        ask(emulator, retry_total=0)


def test_certificate_is_verified(emulator, ask, tmp_path):
    with Emulator(tmp_path) as stranger:
        foreign = stranger.ca_file
    with pytest.raises(ServiceRequestError):
        ask_with_authority(emulator, ask, foreign)
    assert emulator.requests() == []


def ask_with_authority(emulator, ask, ca_file):
    class Other:
        sts = emulator.sts

    Other.ca_file = ca_file
    return ask(Other, retry_total=0)
