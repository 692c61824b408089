"""Accounts whose credential is one of Microsoft Entra ID: by a secret, by a list, by the environment."""

import base64
import contextlib
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import urllib.parse

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.credentials import certificate_pem, ec_key, key_pem, make_certificate, write_secret
from rig.daemon import (
    APP,
    STORAGE,
    TENANT,
    account_keys,
    binary,
    configuration,
    entra_keys,
    probe,
)

SECRET = "whole~Secret+with/odd=characters & a space"
OTHER_SECRET = "another~Secret+of/the=same & app, later on"
STS_SCOPE = "https://sts.mixedreality.azure.com//.default"
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(autouse=True)
def app(emulator):
    emulator.change_settings(entra_expires_in_s=3599, entra_refresh_in_s=0)
    emulator.put_app(APP, secrets=[SECRET])
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "app.secret"
    path.touch(mode=0o600)
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def keys(emulator, secret_file):
    """Make the keys of an account with a client secret; those that are None are left out."""

    def make(**changes):
        return entra_keys(
            emulator,
            **{"credential": "client_secret", "client_secret": f"file:{secret_file}", **changes},
        )

    return make


@pytest.fixture
def serve(make_daemon, emulator):
    """Start a daemon with these accounts: {name: keys}."""

    def start(accounts, **options):
        return make_daemon(configuration(emulator, accounts), **options).start()

    return start


@pytest.fixture
def mixed_reality(emulator, keys):
    """The keys of an account of the STS, asked with an Entra token."""
    return keys(
        kind=None,
        scope=None,
        account_id=ACCOUNT_ID,
        account_domain="eastus2.mixedreality.azure.com",
        endpoint=emulator.sts,
    )


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def form_of(request):
    return dict(urllib.parse.parse_qsl(request["body"], strict_parsing=True))


def entra_requests(emulator):
    return [one for one in emulator.requests(server="entra") if one["path"].endswith("/token")]


# ---- what is served ----------------------------------------------------------------------------


def test_serves_the_entra_token_itself(serve, keys):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    served = daemon.token("storage")
    claims = claims_of(served["token"])
    assert (claims["aud"], claims["appid"]) == ("https://storage.azure.com", APP)
    assert abs(served["expires_on"] - claims["exp"]) <= 2
    assert served["scope"] == STORAGE
    assert (served["account_id"], served["account_domain"]) == (None, None)
    assert served["token_type"] == "Bearer" and served["account"] == "storage"


@pytest.mark.parametrize("form", ["text", "header"])
def test_serves_it_through_the_same_routes(serve, keys, form):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    token = daemon.token("storage")["token"]
    answer = daemon.get(f"/v1/token?format={form}")
    line = {"text": token, "header": f"Authorization: Bearer {token}\n"}[form]
    assert (answer.status, answer.body.decode()) == (200, line)


def test_an_entra_account_has_no_place_at_the_path_of_the_sts(serve, keys):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    assert daemon.get(f"/Accounts/{ACCOUNT_ID}/token").status == 404


def test_exchanges_an_entra_token_at_the_sts(serve, mixed_reality, emulator):
    daemon = serve({"anchors": mixed_reality})
    daemon.wait_for_token("anchors")
    claims = claims_of(daemon.token("anchors")["token"])
    assert (claims["aid"], claims["tid"]) == (ACCOUNT_ID, TENANT)
    (asked,) = entra_requests(emulator)
    assert form_of(asked)["scope"] == STS_SCOPE
    (exchange,) = emulator.requests(server="sts")
    assert claims_of(dict(exchange["headers"])["Authorization"][7:])["appid"] == APP


def test_a_scope_of_the_clients_own_is_asked_for(serve, mixed_reality, emulator):
    daemon = serve({"anchors": {**mixed_reality, "scope": f"{emulator.sts}/.default"}})
    daemon.wait_for_token("anchors")
    assert form_of(entra_requests(emulator)[0])["scope"] == f"{emulator.sts}/.default"


def test_tells_what_the_account_is(serve, keys):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    account = daemon.account("storage")
    assert account["kind"] == "entra" and account["scope"] == STORAGE
    assert account["credential"] == account["credential_in_use"] == "client_secret"
    assert (account["state"], account["notice"], account["endpoint"]) == ("valid", None, None)


# ---- sharing -----------------------------------------------------------------------------------


def test_accounts_with_one_credential_and_scope_share_one_exchange(serve, keys, emulator):
    names = [f"a{number}" for number in range(20)]
    daemon = serve({name: keys() for name in names})
    for name in names:
        daemon.wait_for_token(name)
    assert len(entra_requests(emulator)) == 1
    assert len({daemon.token(name)["token"] for name in names}) == 1


def test_another_scope_is_another_exchange(serve, keys, emulator):
    daemon = serve({"one": keys(), "two": keys(scope="https://vault.azure.net/.default")})
    daemon.wait_for_token("one")
    daemon.wait_for_token("two")
    assert len(entra_requests(emulator)) == 2
    assert claims_of(daemon.token("two")["token"])["aud"] == "https://vault.azure.net"


def test_a_shared_failure_is_one_failure(serve, keys, emulator):
    emulator.add_fault("status", server="entra", status=503, count=0)
    names = [f"a{number}" for number in range(20)]
    daemon = serve({name: keys() for name in names})
    for name in names:
        daemon.wait_for_failure(name)
    first = [daemon.account(name)["last_error"]["correlation_id"] for name in names]
    assert len(set(first)) <= len(entra_requests(emulator)) < len(names)


def test_a_reload_keeps_the_token_of_an_unchanged_account(serve, keys, emulator):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    token = daemon.token("storage")["token"]
    daemon.reload()
    assert daemon.token("storage")["token"] == token
    assert len(entra_requests(emulator)) == 1


def test_a_reload_with_another_scope_gets_another_token(serve, keys, emulator):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    mark = daemon.mark()
    scope = "https://vault.azure.net/.default"
    daemon.write_config(configuration(emulator, {"storage": keys(scope=scope)}))
    daemon.reload()
    daemon.wait_for_token("storage", mark)
    assert claims_of(daemon.token("storage")["token"])["aud"] == "https://vault.azure.net"


# ---- refreshing --------------------------------------------------------------------------------


def test_obeys_refresh_in(serve, keys, emulator):
    emulator.change_settings(entra_expires_in_s=86399, entra_refresh_in_s=20000)
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    wait_s = daemon.account("storage")["refresh_in"]
    # The random part is a tenth of what is left behind it.
    assert 19990 <= wait_s <= 20000 + (86399 - 20000) / 10


def test_refreshes_at_half_life_where_none_is_told(serve, keys, emulator):
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    assert 3599 / 2 - 10 <= daemon.account("storage")["refresh_in"] <= 3599 * 0.6


def test_a_rotated_secret_is_used_without_a_restart(serve, keys, emulator, secret_file):
    emulator.change_settings(entra_expires_in_s=4)
    daemon = serve({"storage": keys()})
    daemon.wait_for_token("storage")
    emulator.put_app(APP, secrets=[OTHER_SECRET])
    replacement = secret_file.with_suffix(".new")
    replacement.touch(mode=0o600)
    replacement.write_text(OTHER_SECRET)
    replacement.rename(secret_file)
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    assert form_of(entra_requests(emulator)[-1])["client_secret"] == OTHER_SECRET


def test_an_entra_token_that_the_sts_refuses_is_got_anew_once(serve, mixed_reality, emulator):
    other = {**mixed_reality, "account_id": "11111111-2222-4333-8444-555555555555"}
    emulator.put_account(other["account_id"], KEY, apps=[APP])
    daemon = serve({"anchors": mixed_reality})
    daemon.wait_for_token("anchors")
    # The second account finds the Entra token of the first, which the STS no longer takes.
    emulator.add_fault("status", server="sts", status=401)
    daemon.write_config(
        configuration(emulator, {"anchors": mixed_reality, "others": other})
    )
    daemon.reload()
    daemon.wait_for_token("others")
    assert len(entra_requests(emulator)) == 2
    assert [one["status"] for one in emulator.requests(server="sts")] == [200, 401, 200]


# ---- a list, and the chain of the SDKs -----------------------------------------------------------


def test_a_list_goes_on_where_one_is_not_available(serve, keys):
    daemon = serve({"storage": keys(credential="environment, client_secret")})
    daemon.wait_for_token("storage")
    account = daemon.account("storage")
    assert account["credential"] == "environment, client_secret"
    assert account["credential_in_use"] == "client_secret"


def test_a_list_ends_at_one_that_was_used_and_failed(serve, keys, emulator, tmp_path):
    emulator.put_app(APP, secrets=["other"])
    token = tmp_path / "token"
    token.write_text("x")
    daemon = serve(
        {"storage": keys(credential="client_secret, static_token", static_token=f"file:{token}")}
    )
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["upstream_code"] == "AADSTS7000215" and "static_token" not in error["message"]


def test_the_environment_is_a_credential(serve, keys, emulator):
    plain = keys(credential="environment", client_secret=None, tenant_id=None, client_id=None)
    variables = {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": APP,
        "AZURE_CLIENT_SECRET": SECRET,
    }
    daemon = serve({"storage": plain}, environment=variables)
    daemon.wait_for_token("storage")
    assert form_of(entra_requests(emulator)[0])["client_secret"] == SECRET
    with open(f"/proc/{daemon.pid}/environ", "rb") as file:
        assert SECRET.encode() not in file.read()
    daemon.reload()
    assert daemon.account("storage")["state"] == "valid"


def test_an_incomplete_environment_is_told(serve, keys):
    plain = keys(credential="environment", client_secret=None, tenant_id=None, client_id=None)
    daemon = serve({"storage": plain}, environment={"AZURE_TENANT_ID": TENANT})
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["code"] == "unavailable"
    assert "for a secret it lacks AZURE_CLIENT_ID, AZURE_CLIENT_SECRET;" in error["message"]


def test_the_environment_may_describe_a_user(serve, keys, emulator):
    emulator.put_app(APP, public=True)
    plain = keys(credential="environment", client_secret=None, tenant_id=None, client_id=None)
    variables = {
        "AZURE_CLIENT_ID": APP,
        "AZURE_TENANT_ID": TENANT,
        "AZURE_USERNAME": "ada@example.com",
        "AZURE_PASSWORD": "the password of a user",
    }
    daemon = serve({"storage": plain}, environment=variables)
    daemon.wait_for_failure("storage")
    # Nobody has a password at the emulator; it is the service's own answer to a wrong one.
    assert daemon.account("storage")["last_error"]["upstream_code"] == "AADSTS50126"
    form = form_of(entra_requests(emulator)[0])
    assert (form["username"], form["password"]) == ("ada@example.com", "the password of a user")
    assert "password of" not in daemon.log()


def test_a_container_needs_no_file_for_a_credential_of_entra(make_daemon, emulator, tmp_path):
    # The socket's own path is the installed one: what was understood is what is looked at.
    environment = {
        **os.environ,
        "MIXEDREALITY_ACCOUNT_DOMAIN": "eastus2.mixedreality.azure.com",
        "MIXEDREALITY_ACCOUNT_ID": ACCOUNT_ID,
        "AZURE_TENANT_ID": TENANT,
    }
    result = subprocess.run(
        [binary("mrtokend"), "--check-config"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "credential = default\n" in result.stdout
    assert f"scope = {STS_SCOPE}\n" in result.stdout


def test_an_unknown_choice_of_credentials_is_refused(make_daemon, emulator, keys):
    plain = keys(credential="default", client_secret=None, tenant_id=None, client_id=None)
    daemon = make_daemon(
        configuration(emulator, {"storage": plain}),
        environment={"AZURE_TOKEN_CREDENTIALS": "production"},
    ).start(wait=False)
    line = daemon.wait_for_log("AZURE_TOKEN_CREDENTIALS")
    assert daemon.wait() == 1
    assert "found 'production', expected prod, dev, EnvironmentCredential," in line


# ---- a token that somebody else got --------------------------------------------------------------


def make_token(emulator, lifetime_s):
    """A token of the emulated STS that lives so long."""
    import requests

    emulator.add_fault("token", server="sts", lifetime_s=lifetime_s)
    answer = requests.get(
        f"{emulator.sts}/Accounts/{ACCOUNT_ID}/token",
        headers={"Authorization": f"Bearer {ACCOUNT_ID}:{KEY}", "Accept": "application/json"},
        verify=emulator.ca_file,
    )
    emulator.clear_requests()
    return answer.json()["AccessToken"]


@pytest.fixture
def static_keys(tmp_path, emulator):
    path = tmp_path / "static.token"
    path.touch(mode=0o600)
    return path, {
        "account_id": ACCOUNT_ID,
        "account_domain": "eastus2.mixedreality.azure.com",
        "endpoint": emulator.sts,
        "credential": "static_token",
        "static_token": f"file:{path}",
    }


def test_a_static_token_is_served_as_it_is(serve, static_keys, emulator):
    path, keys = static_keys
    token = make_token(emulator, 86400)
    path.write_text(token)
    daemon = serve({"anchors": keys})
    daemon.wait_for_token("anchors")
    assert daemon.token("anchors")["token"] == token
    assert daemon.account("anchors")["state"] == "valid"
    assert emulator.requests() == []


def test_a_static_token_serves_an_entra_account_too(serve, static_keys, emulator):
    path, keys = static_keys
    token = make_token(emulator, 86400)
    path.write_text(token)
    entra = {"kind": "entra", "scope": STORAGE, "credential": "static_token",
             "static_token": keys["static_token"]}
    daemon = serve({"storage": entra})
    daemon.wait_for_token("storage")
    assert daemon.token("storage")["token"] == token


def test_a_static_token_that_is_replaced_is_read_again(serve, static_keys, emulator):
    path, keys = static_keys
    path.write_text(make_token(emulator, 86400))
    daemon = serve({"anchors": keys})
    daemon.wait_for_token("anchors")
    newer = make_token(emulator, 86400)
    path.write_text(newer)
    mark = daemon.mark()
    daemon.wait_for_token("anchors", mark)
    assert daemon.token("anchors")["token"] == newer


def test_a_static_token_that_has_expired_says_so(serve, static_keys, emulator):
    path, keys = static_keys
    path.write_text(make_token(emulator, 0))
    daemon = serve({"anchors": keys})
    daemon.wait_for_failure("anchors")
    answer = daemon.get("/v1/accounts/anchors/token")
    assert answer.status == 503
    message = answer.json()["error"]["message"]
    assert "static_token: the token in file:" in message and "cannot be refreshed" in message


def test_a_static_token_is_served_no_longer_than_it_lives(serve, static_keys, emulator):
    path, keys = static_keys
    path.write_text(make_token(emulator, 3))
    daemon = serve({"anchors": keys})
    daemon.wait_for_token("anchors")
    daemon.wait_for_failure("anchors")
    assert daemon.account("anchors")["state"] == "failed"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "file:PATH is empty: expected a secret in it"),
        ("no-jwt", "static_token: file:PATH: "),
        (
            "e30.e30.e30",
            "static_token: file:PATH: ",
        ),
    ],
)
def test_what_is_no_token_is_told(serve, static_keys, text, message):
    path, keys = static_keys
    path.write_text(text)
    daemon = serve({"anchors": keys})
    daemon.wait_for_failure("anchors")
    error = daemon.account("anchors")["last_error"]
    assert error["code"] == "secret_source"
    assert message.replace("PATH", str(path)) in error["message"]


# ---- what goes wrong -----------------------------------------------------------------------------


WHAT_ENTRA_SAYS = {
    "a wrong secret": (
        {"secrets": ["other"]},
        "denied",
        "AADSTS7000215",
        "client_secret is wrong: take the secret's value and not its identifier",
    ),
    "an expired secret": (
        {"secrets": ["other", {"secret": SECRET, "expires_on": 1600000000}]},
        "denied",
        "AADSTS7000222",
        "the client secret has expired: make a new one",
    ),
    "no consent": (
        {"secrets": [SECRET], "resources": ["https://sts.mixedreality.azure.com"]},
        "denied",
        "AADSTS65001",
        "an administrator of the tenant must consent",
    ),
    "an unknown app": (None, "refused", "AADSTS700016", "check client_id and tenant_id"),
}


def check_error(daemon, code, upstream_code, advice):
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert (error["code"], error["upstream_code"]) == (code, upstream_code)
    assert re.fullmatch(UUID, error["correlation_id"])
    message = error["message"]
    assert f"{upstream_code}: " in message and advice in message
    assert f"correlation id {error['correlation_id']}" in message
    assert re.search(rf"trace id {UUID}", message)
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", message)
    assert SECRET not in daemon.log()
    return error


@pytest.mark.parametrize("members, code, aadsts, advice", WHAT_ENTRA_SAYS.values(),
                         ids=WHAT_ENTRA_SAYS)
def test_tells_the_whole_error_and_what_to_do(
    serve, keys, emulator, members, code, aadsts, advice
):
    if members is None:
        emulator.delete_app(APP)
    else:
        emulator.put_app(APP, **members)
    check_error(serve({"storage": keys()}), code, aadsts, advice)


def test_tells_of_an_unknown_tenant(serve, keys):
    other = "00000000-1111-4222-8333-444444444444"
    check_error(serve({"storage": keys(tenant_id=other)}), "refused", "AADSTS90002",
                "check tenant_id and authority: there is no such tenant")


def test_a_throttled_request_is_repeated_when_it_may_be(serve, keys, emulator):
    emulator.add_fault("status", server="entra", status=429, headers={"Retry-After": "2"})
    daemon = serve({"storage": keys()})
    check_error(daemon, "throttled", "AADSTS90055", "asks too often")
    daemon.wait_for_token("storage")
    refused, taken = entra_requests(emulator)
    assert taken["received_on"] - refused["received_on"] >= 2000


BROKEN = {
    "a captive portal": (
        {"action": "wrong_type"},
        "upstream_format",
        "found Content-Type text/html; charset=utf-8, expected application/json (is a proxy or a "
        "captive portal in between?)",
    ),
    "a megabyte": (
        {"action": "oversize", "size": 1 << 20},
        "upstream_format",
        "answered with more than the 262144 bytes that an answer may have",
    ),
    "half an answer": ({"action": "truncate"}, "network", "no answer from https://127.0.0.1:"),
    "a redirect": (
        {"action": "status", "status": 302, "headers": {"Location": "https://elsewhere.example/"}},
        "refused",
        "answered 302",
    ),
    "no JSON": (
        {"action": "status", "status": 200, "body": "<html>", "content_type": "application/json"},
        "upstream_format",
        "answered 200, but not with a token of use: the body is not a complete JSON object",
    ),
    "no token": (
        {"action": "status", "status": 200, "body": '{"expires_in":3599}'},
        "upstream_format",
        "the body has no member access_token with a string",
    ),
    "no lifetime": (
        {"action": "status", "status": 200, "body": '{"access_token":"x"}'},
        "upstream_format",
        "the answer tells neither expires_on nor expires_in",
    ),
    "no bearer": (
        {"action": "status", "status": 200,
         "body": '{"access_token":"x","expires_in":3599,"token_type":"pop"}'},
        "upstream_format",
        "the body's token_type is not Bearer",
    ),
    "a lifetime that is none": (
        {"action": "status", "status": 200, "body": '{"access_token":"x","expires_in":-1}'},
        "upstream_format",
        "the body's member expires_in is no number of seconds",
    ),
    "an error of a proxy": (
        {"action": "status", "status": 502, "body": "bad gateway", "content_type": "text/plain"},
        "upstream_fault",
        "answered 502 with bad gateway",
    ),
}


@pytest.mark.parametrize("fault, code, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_disturbs_nobody_else(
    serve, keys, emulator, key_file, fault, code, message
):
    emulator.add_fault(**fault, server="entra", count=0)
    daemon = serve({"anchors": account_keys(emulator, key_file), "storage": keys()})
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["code"] == code and message in error["message"]
    daemon.wait_for_token("anchors")
    emulator.clear_faults()
    daemon.wait_for_token("storage") if code != "refused" else daemon.reload()
    daemon.wait_for_token("storage")


@pytest.mark.parametrize(
    "prepare, message",
    [
        (lambda path: path.unlink(), "client_secret: cannot open PATH: No such file or directory"),
        (lambda path: path.write_text("\n"), "client_secret: file:PATH is empty"),
        (
            lambda path: (path.unlink(), path.mkdir()),
            "client_secret: PATH is not a regular file",
        ),
        (
            lambda path: path.write_text("x" * 70000),
            "client_secret: PATH is too long for a secret: expected at most 65536 bytes",
        ),
    ],
    ids=["missing", "empty", "directory", "too long"],
)
def test_a_bad_secret_file_fails_its_account_alone(
    serve, keys, emulator, key_file, secret_file, prepare, message
):
    prepare(secret_file)
    daemon = serve({"anchors": account_keys(emulator, key_file), "storage": keys()})
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["code"] == "secret_source"
    assert message.replace("PATH", str(secret_file)) in error["message"]
    assert f"{daemon.config_file}:" in error["message"]
    daemon.wait_for_token("anchors")


def test_an_authority_that_nobody_vouches_for_is_not_asked(serve, keys, emulator, tmp_path):
    from rig.emulator import Emulator

    with Emulator(tmp_path / "other", {ACCOUNT_ID: KEY}) as other:
        daemon = serve({"storage": keys(authority=other.entra)})
        daemon.wait_for_failure("storage")
        error = daemon.account("storage")["last_error"]
        assert error["code"] == "tls" and "SSL certificate problem" in error["message"]
        assert other.requests(server="entra") == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version, code", [("TLSv1_1", "tls"), ("TLSv1_2", "network")])
def test_an_authority_with_an_old_tls_is_not_asked(
    make_daemon, keys, emulator, key_file, tmp_path, version, code
):
    """The one with TLS 1.2 hangs up behind the handshake, which shows what the other lacks."""
    certificate = certificate_pem(make_certificate(ec_key(), address="127.0.0.1"))
    own = write_secret(tmp_path / "authority.pem", key_pem(ec_key()) + certificate)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pathlib.Path(emulator.ca_file).read_bytes() + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion[version]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve_tls():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        threading.Thread(target=serve_tls, daemon=True).start()
        authority = f"https://127.0.0.1:{listener.getsockname()[1]}"
        accounts = {
            "anchors": account_keys(emulator, key_file),
            "storage": keys(authority=authority),
        }
        daemon = make_daemon(configuration(emulator, accounts, ca_file=trusted)).start()
        line = daemon.wait_for_failure("storage")
        error = daemon.account("storage")["last_error"]
        assert (error["code"], error["status"]) == (code, None)
        assert authority in error["message"] and error["message"] in line
        daemon.wait_for_token("anchors")
        listener.shutdown(socket.SHUT_RDWR)


# ---- what is configured --------------------------------------------------------------------------


MISTAKES = {
    "a key without effect": (
        {"object_id": APP},
        "object_id: it has no effect with kind = entra and credential = client_secret; drop the "
        "line",
    ),
    "an account identifier": (
        {"account_id": ACCOUNT_ID},
        "account_id: it has no effect with kind = entra and credential = client_secret; drop the "
        "line",
    ),
    "a missing tenant": (
        {"tenant_id": None},
        "'tenant_id' is missing: the tenant's identifier or domain",
    ),
    "a missing scope": (
        {"scope": None},
        "'scope' is missing: what an Entra token is asked for, such as "
        "https://storage.azure.com/.default",
    ),
    "an account key": (
        {"credential": "account_key, client_secret", "account_key": "file:/x"},
        "kind = entra takes no account_key, which the credential is unless another is set; write "
        "credential = managed_identity, client_certificate, default or another of "
        "mrtokend.conf(5)",
    ),
    "a kind twice": (
        {"credential": "client_secret, client_secret"},
        "credential: found client_secret twice; keep one of them",
    ),
    "an authority without TLS": (
        {"authority": "http://login.example"},
        "authority: found 'http://login.example', expected public, us_government, china, or "
        "https://HOST with perhaps a port, and nothing behind it",
    ),
    "a tenant that is none": (
        {"tenant_id": "contoso/x"},
        "tenant_id: found 'contoso/x', expected the tenant's identifier or one of its domains",
    ),
    "a secret": (
        {"client_secret": "abcdef"},
        "client_secret: a secret never stands in the configuration itself (the value is not shown "
        "here); put it in a file and write credential:NAME, file:/PATH or env:NAME",
    ),
}


@pytest.mark.parametrize("changes, message", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(keys, emulator, tmp_path, changes, message):
    file = tmp_path / "mrtokend.conf"
    file.write_text(configuration(emulator, {"storage": keys(**changes)}))
    result = subprocess.run(
        [binary("mrtokend"), "--check-config", "--config", str(file)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 78
    (line,) = result.stderr.splitlines()
    assert re.fullmatch(rf"{re.escape(str(file))}:\d+: \[account storage\]: .*", line)
    assert line.endswith(message)


@pytest.mark.parametrize(
    "word, authority",
    [
        ("public", "https://login.microsoftonline.com"),
        ("us_government", "https://login.microsoftonline.us"),
        ("china", "https://login.chinacloudapi.cn"),
        ("login.example/", "https://login.example"),
        ("https://login.example:8443", "https://login.example:8443"),
    ],
)
def test_an_authority_has_a_name(keys, emulator, tmp_path, word, authority):
    file = tmp_path / "mrtokend.conf"
    file.write_text(configuration(emulator, {"storage": keys(authority=word)}))
    result = subprocess.run(
        [binary("mrtokend"), "--check-config", "--config", str(file)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert f"\nauthority = {authority}\n" in result.stdout


def test_the_authority_may_come_from_the_environment(serve, keys, emulator):
    environment = {"AZURE_AUTHORITY_HOST": emulator.entra.removeprefix("https://") + "/"}
    daemon = serve({"storage": keys(authority=None)}, environment=environment)
    daemon.wait_for_token("storage")
    assert len(entra_requests(emulator)) == 1


# ---- mrtoken check --probe -----------------------------------------------------------------------


def probe_of(emulator, tmp_path, accounts, name):
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    return probe(tmp_path, configuration(emulator, accounts), name, environment)


def test_a_probe_tells_each_step(mixed_reality, emulator, tmp_path):
    accounts = {"anchors": {**mixed_reality, "credential": "environment, client_secret"}}
    result = probe_of(emulator, tmp_path, accounts, "anchors")
    assert result.returncode == 0, result.stderr
    first, second, third = result.stdout.splitlines()
    assert first.startswith("credential environment: not available here: the environment describes")
    assert second.startswith(f"credential client_secret: gave a token for {STS_SCOPE} that is valid")
    assert third.startswith(f"upstream mixed_reality at {emulator.sts}: gave a token that is valid")
    assert len(entra_requests(emulator)) == len(emulator.requests(server="sts")) == 1


def test_a_probe_that_finds_no_token_says_why(mixed_reality, emulator, tmp_path):
    emulator.put_app(APP, secrets=["other"])
    result = probe_of(emulator, tmp_path, {"anchors": mixed_reality}, "anchors")
    assert result.returncode == 5
    assert result.stdout.startswith("credential client_secret: failed: ")
    assert "AADSTS7000215" in result.stdout and SECRET not in result.stdout
    assert result.stderr == "mrtoken: account anchors gets no token\n"


def test_a_probe_tells_when_the_account_does_not_permit_the_app(mixed_reality, emulator, tmp_path):
    emulator.put_account(ACCOUNT_ID, KEY, apps=[])
    result = probe_of(emulator, tmp_path, {"anchors": mixed_reality}, "anchors")
    assert result.returncode == 5
    line = result.stdout.splitlines()[-1]
    assert " answered 403" in line and "give the credential's principal a role" in line


def test_a_probe_of_no_account_of_the_configuration(mixed_reality, emulator, tmp_path):
    result = probe_of(emulator, tmp_path, {"anchors": mixed_reality}, "anchor")
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == 'mrtoken: the configuration has no account "anchor"\n'


# ---- a proxy on the way --------------------------------------------------------------------------


class Proxy:
    """An HTTP proxy that connects through to wherever it is asked, and tells where that was."""

    def __init__(self, answer="200 Connection established"):
        self.asked = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            got = client.recv(4096)
            if not got:
                return
            head += got
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split()
        self.asked.append((method, target))
        client.sendall(f"HTTP/1.1 {self._answer}\r\nContent-Length: 0\r\n\r\n".encode()
                       if not self._answer.startswith("200")
                       else f"HTTP/1.1 {self._answer}\r\n\r\n".encode())
        if not self._answer.startswith("200"):
            client.close()
            return
        host, port = target.rsplit(":", 1)
        server = socket.create_connection((host, int(port)))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self._listener.close()


@pytest.fixture
def proxy():
    running = Proxy()
    yield running
    running.close()


def test_upstreams_are_asked_through_the_usual_proxy(serve, mixed_reality, emulator, proxy):
    daemon = serve({"anchors": mixed_reality}, environment={"https_proxy": proxy.url})
    daemon.wait_for_token("anchors")
    wanted = [("CONNECT", url.removeprefix("https://")) for url in (emulator.entra, emulator.sts)]
    assert proxy.asked == wanted


def test_no_proxy_is_honoured(serve, mixed_reality, proxy):
    environment = {"https_proxy": proxy.url, "no_proxy": "127.0.0.1"}
    serve({"anchors": mixed_reality}, environment=environment).wait_for_token("anchors")
    assert proxy.asked == []


def test_a_proxy_that_refuses_is_told(serve, keys):
    proxy = Proxy("407 Proxy Authentication Required")
    daemon = serve({"storage": keys()}, environment={"https_proxy": proxy.url})
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["code"] == "network" and "407" in error["message"]
    proxy.close()


# ---- the environment after the start -------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "MIXEDREALITY_ACCOUNT_KEY",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "AZURE_PASSWORD",
        "IDENTITY_HEADER",
        "MSI_SECRET",
    ],
)
def test_a_secret_variable_that_nobody_uses_is_wiped_too(serve, keys, name):
    daemon = serve({"storage": keys()}, environment={name: "a secret that nobody uses"})
    daemon.wait_for_token("storage")
    with open(f"/proc/{daemon.pid}/environ", "rb") as file:
        found = file.read()
    assert name.encode() in found and b"nobody uses" not in found


def test_a_vector_that_repeats_the_secret_is_shown_to_nobody(serve, emulator, make_daemon, tmp_path):
    """Not by the circuit either, which tells all accounts of what one of them was answered."""
    secret = "abc8QSuperSecretOfTheApp"  # as a correlation vector may look
    emulator.put_app(APP, secrets=[secret])
    emulator.add_fault(
        "status", server="entra", status=500, count=0, headers={"MS-CV": f"{secret}.0"}
    )
    path = tmp_path / "vector.secret"
    path.touch(mode=0o600)
    path.write_text(secret)
    keys = entra_keys(emulator, credential="client_secret", client_secret=f"file:{path}")
    scopes = [f"https://service{number}.example/.default" for number in range(6)]
    running = serve({f"a{n}": {**keys, "scope": scope} for n, scope in enumerate(scopes)})
    running.wait_for_log("further ones fail at once")
    for name in (f"a{number}" for number in range(6)):
        running.wait_for_failure(name)
    shown = running.get("/v1/accounts").body.decode() + running.log()
    assert "answered 500" in shown
    assert secret not in shown
