"""Accounts whose credential is an assertion that somebody else makes: in a file, or by a program."""

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
from rig.daemon import APP, TENANT, account_keys, binary, configuration, entra_keys


@pytest.fixture(autouse=True)
def app(emulator):
    emulator.change_settings(entra_expires_in_s=3599, entra_refresh_in_s=0)
    emulator.put_app(APP, federated=[federation(rsa_key("cluster"))])
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])


@pytest.fixture
def file(tmp_path):
    return write_secret(tmp_path / "assertion", federated_token(rsa_key("cluster")) + "\n")


@pytest.fixture
def keys(emulator):
    def make(**changes):
        return entra_keys(emulator, credential="client_assertion", **changes)

    return make


@pytest.fixture
def by_file(keys, file):
    return keys(client_assertion=f"file:{file}")


@pytest.fixture
def program(tmp_path):
    """Write a program; returns its path."""

    def write(script):
        path = write_secret(tmp_path / "make-assertion", f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def by_program(keys, file, program):
    return keys(client_assertion_command=f"{program('cat -- $1')} {file}")


@pytest.fixture
def serve(make_daemon, emulator):
    def start(keys, **options):
        return make_daemon(configuration(emulator, {"storage": keys}), **options).start()

    return start


def error_of(daemon):
    daemon.wait_for_failure("storage")
    return daemon.account("storage")["last_error"]


# ---- what is served ------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["by_file", "by_program"])
def test_serves_a_token_for_an_assertion(serve, emulator, file, request, origin):
    daemon = serve(request.getfixturevalue(origin))
    daemon.wait_for_token("storage")
    claims = parts_of(daemon.token("storage")["token"])[1]
    assert (claims["appid"], claims["tid"]) == (APP, TENANT)
    assert assertions(emulator) == [file.read_text().strip()]
    assert_no_complaints(emulator)
    assert file.read_text().strip() not in daemon.log()


def test_takes_an_assertion_of_the_environment_and_wipes_it(serve, keys, emulator, file):
    assertion = file.read_text().strip()
    daemon = serve(
        keys(client_assertion="env:APP_ASSERTION"), environment={"APP_ASSERTION": assertion}
    )
    daemon.wait_for_token("storage")
    with open(f"/proc/{daemon.pid}/environ", "rb") as environment:
        assert assertion.encode() not in environment.read()


def test_exchanges_its_token_at_the_sts(serve, by_file, emulator):
    daemon = serve(
        {
            **by_file,
            "kind": None,
            "scope": None,
            "account_id": ACCOUNT_ID,
            "account_domain": "eastus2.mixedreality.azure.com",
            "endpoint": emulator.sts,
        }
    )
    daemon.wait_for_token("storage")
    claims = parts_of(daemon.token("storage")["token"])[1]
    assert (claims["aid"], claims["tid"]) == (ACCOUNT_ID, TENANT)


@pytest.mark.parametrize("origin", ["by_file", "by_program"])
def test_a_newer_assertion_is_used_without_a_restart(serve, emulator, file, request, origin):
    emulator.change_settings(entra_expires_in_s=4)
    daemon = serve(request.getfixturevalue(origin))
    daemon.wait_for_token("storage")
    newer = federated_token(rsa_key("cluster"), exp=int(time.time()) + 7200)
    write_secret(file, newer)
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    assert assertions(emulator)[-1] == newer


@pytest.mark.parametrize("origin, shown", [("by_file", 1), ("by_program", 2)])
def test_a_stale_assertion_is_told(serve, emulator, file, request, origin, shown):
    """A program is asked for another one, once; a file that is the same has none."""
    write_secret(file, federated_token(rsa_key("cluster"), exp=1600000000))
    error = error_of(serve(request.getfixturevalue(origin)))
    assert (error["code"], error["upstream_code"]) == ("denied", "AADSTS700024")
    assert len(token_requests(emulator)) == shown


# ---- what goes wrong -----------------------------------------------------------------------------


def test_a_missing_file_is_told_and_disturbs_no_other_account(
    make_daemon, by_file, emulator, key_file, file
):
    file.unlink()
    accounts = {"storage": by_file, "anchors": account_keys(emulator, key_file)}
    daemon = make_daemon(configuration(emulator, accounts)).start()
    error = error_of(daemon)
    assert error["code"] == "secret_source"
    assert f"client_assertion: cannot open {file}: No such file" in error["message"]
    daemon.wait_for_token("anchors")


def test_an_empty_file_is_told(serve, by_file, file):
    write_secret(file, "\n")
    assert f"file:{file} is empty: expected a secret in it" in error_of(serve(by_file))["message"]


PROGRAMS = {
    "fails": ("echo eySecret; exit 3", "secret_source"),
    "prints nothing": ("exit 0", "secret_source"),
    "prints too much": ("yes eySecret", "upstream_format"),
}


@pytest.mark.parametrize("script, code", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_gives_no_assertion_is_told(serve, keys, program, emulator, script, code):
    path = program(script)
    daemon = serve(keys(client_assertion_command=str(path)))
    error = error_of(daemon)
    assert error["code"] == code
    assert "client_assertion_command" in error["message"] and str(path) in error["message"]
    assert "eySecret" not in daemon.log()
    assert token_requests(emulator) == []


def test_a_missing_program_is_not_available(serve, keys):
    error = error_of(serve(keys(client_assertion_command="/no/such/program")))
    assert error["code"] == "unavailable" and "/no/such/program" in error["message"]


MISTAKES = {
    "neither": (
        {},
        "client_assertion is missing: write client_assertion = file:/PATH, credential:NAME or "
        "env:NAME, or client_assertion_command = /PROGRAM ARGUMENTS",
    ),
    "both": (
        {"client_assertion": "file:/x", "client_assertion_command": "/x"},
        "both client_assertion and client_assertion_command are set; keep one of them",
    ),
}


@pytest.mark.parametrize("changes, message", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(keys, emulator, tmp_path, changes, message):
    file = tmp_path / "mrtokend.conf"
    file.write_text(configuration(emulator, {"storage": keys(**changes)}))
    command = [binary("mrtokend"), "--check-config", "--config", str(file)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 78
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{file}:") and line.endswith(f": [account storage]: {message}")
