"""Accounts whose credential is the token that a platform gives to its workloads."""

import subprocess
import time

import pytest

from conftest import ACCOUNT_ID, KEY
from rig.credentials import (
    assert_no_complaints,
    assertions,
    federated_token,
    federation,
    parts_of,
    rsa_key,
    token_requests,
    write_secret,
)
from rig.daemon import APP, STORAGE, TENANT, account_keys, binary, configuration

PLAIN = {"kind": "entra", "scope": STORAGE, "credential": "workload_identity"}


@pytest.fixture(autouse=True)
def app(emulator):
    emulator.change_settings(entra_expires_in_s=3599, entra_refresh_in_s=0)
    emulator.put_app(APP, federated=[federation(rsa_key("cluster"))])
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])


@pytest.fixture
def token_file(tmp_path):
    return write_secret(tmp_path / "token", federated_token(rsa_key("cluster")))


@pytest.fixture
def variables(emulator, token_file):
    """What the webhook of Azure Workload Identity gives to a pod."""
    return {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": APP,
        "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
        "AZURE_AUTHORITY_HOST": f"{emulator.entra}/",
    }


@pytest.fixture
def serve(make_daemon, emulator, variables):
    def start(accounts, **changes):
        environment = {**variables, **changes}
        return make_daemon(configuration(emulator, accounts), environment=environment).start()

    return start


def error_of(daemon, account="storage"):
    daemon.wait_for_failure(account)
    return daemon.account(account)["last_error"]


# ---- what is served ------------------------------------------------------------------------------


def test_serves_a_token_for_what_the_platform_gives(serve, emulator, token_file):
    daemon = serve({"storage": PLAIN})
    daemon.wait_for_token("storage")
    claims = parts_of(daemon.token("storage")["token"])[1]
    assert (claims["appid"], claims["tid"]) == (APP, TENANT)
    assert assertions(emulator) == [token_file.read_text()]
    assert_no_complaints(emulator)
    assert token_file.read_text() not in daemon.log()


def test_exchanges_its_token_at_the_sts(serve, emulator):
    daemon = serve(
        {
            "anchors": {
                "account_id": ACCOUNT_ID,
                "account_domain": "eastus2.mixedreality.azure.com",
                "endpoint": emulator.sts,
                "credential": "workload_identity",
            }
        }
    )
    daemon.wait_for_token("anchors")
    claims = parts_of(daemon.token("anchors")["token"])[1]
    assert (claims["aid"], claims["tid"]) == (ACCOUNT_ID, TENANT)
    assert_no_complaints(emulator)


def test_keys_of_the_account_come_before_variables(serve, emulator, variables):
    keys = {
        **PLAIN,
        "tenant_id": TENANT,
        "client_id": APP,
        "federated_token_file": variables["AZURE_FEDERATED_TOKEN_FILE"],
        "authority": emulator.entra,
    }
    daemon = serve(
        {"storage": keys},
        AZURE_TENANT_ID="other",
        AZURE_CLIENT_ID="other",
        AZURE_FEDERATED_TOKEN_FILE="/other",
        AZURE_AUTHORITY_HOST="other.example",
    )
    daemon.wait_for_token("storage")


def test_default_finds_it(serve):
    daemon = serve({"storage": {**PLAIN, "credential": "default"}})
    daemon.wait_for_token("storage")
    assert daemon.account("storage")["credential_in_use"] == "workload_identity"


# ---- rotation ------------------------------------------------------------------------------------


def test_a_renewed_token_is_used_without_a_restart(serve, emulator, token_file):
    emulator.change_settings(entra_expires_in_s=4)
    daemon = serve({"storage": PLAIN})
    daemon.wait_for_token("storage")
    newer = federated_token(rsa_key("cluster"), exp=int(time.time()) + 7200)
    write_secret(token_file, newer)
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    assert assertions(emulator)[-1] == newer
    assert_no_complaints(emulator)


def test_links_are_followed_as_kubernetes_turns_them(serve, emulator, tmp_path):
    """A projected volume: the file is a link into ..data, which is a link to the present folder."""
    emulator.change_settings(entra_expires_in_s=4)
    tokens = [federated_token(rsa_key("cluster"), jti=str(turn)) for turn in range(2)]
    for turn, token in enumerate(tokens):
        (tmp_path / f"..{turn}").mkdir()
        write_secret(tmp_path / f"..{turn}" / "token", token)
    (tmp_path / "..data").symlink_to("..0")
    path = tmp_path / "projected"
    path.symlink_to("..data/token")
    daemon = serve({"storage": PLAIN}, AZURE_FEDERATED_TOKEN_FILE=str(path))
    daemon.wait_for_token("storage")
    (tmp_path / "..next").symlink_to("..1")
    (tmp_path / "..next").rename(tmp_path / "..data")
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    assert (assertions(emulator)[0], assertions(emulator)[-1]) == tuple(tokens)


def test_a_stale_token_is_told_and_shown_once(serve, emulator, token_file):
    write_secret(token_file, federated_token(rsa_key("cluster"), exp=1600000000))
    error = error_of(serve({"storage": PLAIN}))
    assert (error["code"], error["upstream_code"]) == ("denied", "AADSTS700024")
    assert "check this host's clock, and that the platform renews the token" in error["message"]
    assert len(token_requests(emulator)) == 1


# ---- where there is none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, words",
    [
        ("AZURE_TENANT_ID", "AZURE_TENANT_ID (or tenant_id)"),
        ("AZURE_CLIENT_ID", "AZURE_CLIENT_ID (or client_id)"),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_FEDERATED_TOKEN_FILE (or federated_token_file)",
        ),
    ],
)
def test_a_missing_variable_is_named(serve, emulator, name, words):
    error = error_of(serve({"storage": PLAIN}, **{name: None}))
    assert error["code"] == "unavailable"
    message = f"the environment describes no workload identity: it lacks {words}"
    assert error["message"].endswith(message)
    assert token_requests(emulator) == []


def test_a_list_goes_on_where_it_is_not_available(serve, emulator, tmp_path):
    emulator.put_app(APP, secrets=["a secret of the test"])
    secret = write_secret(tmp_path / "secret", "a secret of the test")
    keys = {
        **PLAIN,
        "credential": "workload_identity, client_secret",
        "tenant_id": TENANT,
        "client_id": APP,
        "client_secret": f"file:{secret}",
    }
    daemon = serve({"storage": keys}, AZURE_FEDERATED_TOKEN_FILE=None)
    daemon.wait_for_token("storage")
    assert daemon.account("storage")["credential_in_use"] == "client_secret"


# ---- what goes wrong -----------------------------------------------------------------------------


BAD_FILES = {
    "missing": (None, "federated_token_file: cannot open PATH: No such file or directory"),
    "empty": ("", "file:PATH is empty: expected a secret in it"),
    "empty but for white space": (" \n\n", "file:PATH is empty: expected a secret in it"),
    "a folder": (..., "federated_token_file: PATH is not a regular file"),
    "a megabyte": ("x" * 1048576, "PATH is too long for a secret: expected at most 65536 bytes"),
}


@pytest.mark.parametrize("content, message", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_told_ends_a_list_and_disturbs_no_other_account(
    serve, emulator, token_file, key_file, content, message
):
    token_file.unlink()
    if content is ...:
        token_file.mkdir()
    elif content is not None:
        write_secret(token_file, content)
    daemon = serve(
        {
            "storage": {**PLAIN, "credential": "workload_identity, environment"},
            "anchors": account_keys(emulator, key_file),
        }
    )
    error = error_of(daemon)
    assert error["code"] == "secret_source"
    assert message.replace("PATH", str(token_file)) in error["message"]
    assert "environment" not in error["message"]
    assert token_requests(emulator) == []
    daemon.wait_for_token("anchors")


WHAT_ENTRA_SAYS = {
    "another issuer": ({"iss": "https://other.example/"}, 700211, "the assertion's issuer"),
    "another subject": ({"sub": "system:serviceaccount:a:b"}, 700213, "the assertion's subject"),
    "another audience": ({"aud": ["api://other"]}, 700212, "the assertion's audience"),
}


@pytest.mark.parametrize("claims, code, words", WHAT_ENTRA_SAYS.values(), ids=WHAT_ENTRA_SAYS)
def test_a_token_that_the_app_does_not_trust_is_told(serve, token_file, claims, code, words):
    write_secret(token_file, federated_token(rsa_key("cluster"), **claims))
    error = error_of(serve({"storage": PLAIN}))
    assert (error["code"], error["upstream_code"]) == ("denied", f"AADSTS{code}")
    assert words in error["message"]


def test_what_is_no_jwt_is_for_entra_to_judge(serve, emulator, token_file):
    write_secret(token_file, "this is no token, and long enough to be withheld in a message")
    error = error_of(serve({"storage": PLAIN}))
    assert error["upstream_code"].startswith("AADSTS")
    assert "long enough" not in error["message"]


WRONG_VARIABLES = {
    "a tenant": (
        "AZURE_TENANT_ID",
        "contoso/x",
        "found 'contoso/x', expected the tenant's identifier or one of its domains",
    ),
    "a relative path": (
        "AZURE_FEDERATED_TOKEN_FILE",
        "token",
        "found 'token', expected an absolute path",
    ),
    "plain http": (
        "AZURE_AUTHORITY_HOST",
        "http://login.example",
        "found 'http://login.example', expected public, us_government, china, or https://HOST "
        "with perhaps a port, and nothing behind it",
    ),
}


@pytest.mark.parametrize("name, value, words", WRONG_VARIABLES.values(), ids=WRONG_VARIABLES)
def test_a_wrong_variable_is_refused_at_the_start(
    make_daemon, emulator, variables, name, value, words
):
    environment = {**variables, name: value}
    daemon = make_daemon(configuration(emulator, {"storage": PLAIN}), environment=environment)
    daemon.start(wait=False)
    daemon.wait_for_log(f"environment variable {name}: {words}")
    assert daemon.wait() == 1


def test_no_key_of_it_is_needed(tmp_path, emulator):
    file = tmp_path / "mrtokend.conf"
    file.write_text(configuration(emulator, {"storage": PLAIN}))
    command = [binary("mrtokend"), "--check-config", "--config", str(file)]
    subprocess.run(command, check=True, capture_output=True)
