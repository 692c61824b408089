"""Accounts whose credential is a certificate, in every form of file; and what is wrong with files."""

import json
import os
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from conftest import ACCOUNT_ID, KEY
from rig.credentials import (
    DAY_S,
    assert_no_complaints,
    assertions,
    certificate_pem,
    ec_key,
    form_of,
    key_pem,
    make_certificate,
    parts_of,
    pfx,
    rsa_key,
    thumbprint,
    token_requests,
    write_secret,
)
from rig.daemon import APP, TENANT, account_keys, configuration, entra_keys

PASSPHRASE = "correct horse battery staple"
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL


@pytest.fixture(scope="module")
def authority():
    return make_certificate(rsa_key("authority"), name="authority")


@pytest.fixture(scope="module")
def own(authority):
    """The app's certificate, issued by that authority."""
    return make_certificate(rsa_key(), issuer_key=rsa_key("authority"))


@pytest.fixture(autouse=True)
def app(emulator, own):
    emulator.change_settings(entra_expires_in_s=3599, entra_refresh_in_s=0)
    register(emulator, own)
    emulator.put_account(ACCOUNT_ID, KEY, apps=[APP])


def register(emulator, *certificates):
    emulator.put_app(APP, certificates=[certificate_pem(one).decode() for one in certificates])


@pytest.fixture
def file(tmp_path, own):
    return write_secret(tmp_path / "app.pem", key_pem(rsa_key()) + certificate_pem(own))


@pytest.fixture
def passphrase_file(tmp_path):
    return write_secret(tmp_path / "passphrase", PASSPHRASE + "\n")


@pytest.fixture
def keys(emulator, file):
    def make(**changes):
        return entra_keys(
            emulator,
            **{
                "credential": "client_certificate",
                "client_certificate": f"file:{file}",
                **changes,
            },
        )

    return make


@pytest.fixture
def serve(make_daemon, emulator):
    def start(keys, **options):
        return make_daemon(configuration(emulator, {"storage": keys}), **options).start()

    return start


# ---- what is served ------------------------------------------------------------------------------


FORMS = {
    "PEM, key first": (None, lambda own: key_pem(rsa_key()) + certificate_pem(own)),
    "PEM, certificate first": (None, lambda own: certificate_pem(own) + key_pem(rsa_key())),
    "PEM, traditional": (
        None,
        lambda own: certificate_pem(own) + key_pem(rsa_key(), form=TRADITIONAL),
    ),
    "PEM, encrypted": (
        PASSPHRASE,
        lambda own: certificate_pem(own) + key_pem(rsa_key(), PASSPHRASE),
    ),
    "PEM, traditional and encrypted": (
        PASSPHRASE,
        lambda own: certificate_pem(own) + key_pem(rsa_key(), PASSPHRASE, TRADITIONAL),
    ),
    "PKCS#12": (None, lambda own: pfx(rsa_key(), own)),
    "PKCS#12, encrypted": (PASSPHRASE, lambda own: pfx(rsa_key(), own, passphrase=PASSPHRASE)),
}


@pytest.mark.parametrize("passphrase, make", FORMS.values(), ids=FORMS)
def test_serves_a_token_by_a_certificate_in(
    serve, keys, emulator, file, own, passphrase_file, passphrase, make
):
    write_secret(file, make(own))
    password = f"file:{passphrase_file}" if passphrase else None
    daemon = serve(keys(client_certificate_password=password))
    daemon.wait_for_token("storage")
    claims = parts_of(daemon.token("storage")["token"])[1]
    assert (claims["appid"], claims["appidacr"]) == (APP, "2")
    header, _ = parts_of(assertions(emulator)[0])
    assert header == {"typ": "JWT", "alg": "RS256", "x5t": thumbprint(own)}
    assert_no_complaints(emulator)
    assert PASSPHRASE not in daemon.log()


def test_serves_a_token_by_pkcs12_as_older_tools_encrypt_it(
    serve, keys, file, passphrase_file, tmp_path
):
    made = tmp_path / "app.pfx"
    command = ["openssl", "pkcs12", "-export", "-legacy", "-in", str(file), "-out", str(made)]
    subprocess.run([*command, "-passout", f"file:{passphrase_file}"], check=True)
    daemon = serve(
        keys(
            client_certificate=f"file:{made}",
            client_certificate_password=f"file:{passphrase_file}",
        )
    )
    daemon.wait_for_token("storage")


def test_sends_no_chain_unless_it_is_told_to(serve, keys, emulator, own, authority, file):
    write_secret(file, key_pem(rsa_key()) + certificate_pem(own, authority))
    serve(keys()).wait_for_token("storage")
    assert "x5c" not in parts_of(assertions(emulator)[0])[0]


def test_sends_the_chain_when_it_is_told_to(serve, keys, emulator, own, authority, file):
    write_secret(file, certificate_pem(authority, own) + key_pem(rsa_key()))
    serve(keys(send_certificate_chain="yes")).wait_for_token("storage")
    header = parts_of(assertions(emulator)[0])[0]
    expected = [certificate_pem(one).decode().split("\n")[1:-2] for one in (own, authority)]
    assert header["x5c"] == ["".join(lines) for lines in expected]
    assert_no_complaints(emulator)


def test_exchanges_its_token_at_the_sts(serve, keys, emulator):
    daemon = serve(
        keys(
            kind=None,
            scope=None,
            account_id=ACCOUNT_ID,
            account_domain="eastus2.mixedreality.azure.com",
            endpoint=emulator.sts,
        )
    )
    daemon.wait_for_token("storage")
    claims = parts_of(daemon.token("storage")["token"])[1]
    assert (claims["aid"], claims["tid"]) == (ACCOUNT_ID, TENANT)
    assert_no_complaints(emulator)


CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@pytest.mark.parametrize("algorithm", CURVES)
def test_signs_by_an_ec_key_although_entra_takes_none(serve, keys, emulator, file, algorithm):
    """The emulator refuses it, as Entra does; that it is well formed others can tell."""
    key = ec_key(CURVES[algorithm])
    certificate = make_certificate(key)
    register(emulator, certificate)
    write_secret(file, certificate_pem(certificate) + key_pem(key))
    daemon = serve(keys())
    daemon.wait_for_failure("storage")
    assert daemon.account("storage")["last_error"]["code"] == "denied"
    (assertion,) = assertions(emulator)
    header = {"typ": "JWT", "alg": algorithm, "x5t#S256": thumbprint(certificate, hashes.SHA256)}
    assert parts_of(assertion)[0] == header
    endpoint = f"{emulator.entra}/{TENANT}/oauth2/v2.0/token"
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=endpoint)
    assert (claims["iss"], claims["sub"]) == (APP, APP)


def test_one_assertion_serves_several_accounts(make_daemon, keys, emulator):
    other = keys(scope="https://vault.azure.net/.default")
    daemon = make_daemon(configuration(emulator, {"storage": keys(), "vault": other})).start()
    daemon.wait_for_token("storage")
    daemon.wait_for_token("vault")
    shown = assertions(emulator)
    assert len(shown) == 2 and shown[0] == shown[1]


# ---- rotation ------------------------------------------------------------------------------------


def test_a_rotated_certificate_is_used_without_a_restart(serve, keys, emulator, own, file):
    emulator.change_settings(entra_expires_in_s=4)
    daemon = serve(keys())
    daemon.wait_for_token("storage")
    newer = make_certificate(rsa_key("newer"))
    register(emulator, newer)
    write_secret(file, key_pem(rsa_key("newer")) + certificate_pem(newer))
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    shown = [parts_of(one)[0]["x5t"] for one in assertions(emulator)]
    assert shown[0] == thumbprint(own) and shown[-1] == thumbprint(newer)
    assert_no_complaints(emulator)


def test_a_bad_replacement_disturbs_no_token_that_is_there(serve, keys, emulator, own, file):
    emulator.change_settings(entra_expires_in_s=14)
    daemon = serve(keys())
    daemon.wait_for_token("storage")
    write_secret(file, certificate_pem(own))
    daemon.wait_for_failure("storage")
    assert daemon.account("storage")["state"] == "degraded"
    assert daemon.token("storage")["token"]


@pytest.mark.parametrize("offset_s", [86400, -86400])
def test_a_clock_that_is_wrong_by_a_day_changes_nothing(serve, keys, emulator, offset_s):
    """The second assertion is made by the server's clock, and so is every one after it."""
    emulator.change_settings(date_offset_s=offset_s, entra_expires_in_s=4)
    daemon = serve(keys())
    daemon.wait_for_token("storage")
    one, other = assertions(emulator)
    assert parts_of(one)[1]["nbf"] == pytest.approx(time.time(), abs=30)
    assert parts_of(other)[1]["nbf"] == pytest.approx(time.time() + offset_s, abs=30)
    assert "refresh failed" not in daemon.log()
    mark = daemon.mark()
    daemon.wait_for_token("storage", mark)
    assert assertions(emulator)[2:] == [other]


def test_an_assertion_outside_its_validity_is_made_anew_once(serve, keys, emulator):
    fault = {"error": "invalid_client", "error_description": "AADSTS700024: not now.",
             "error_codes": [700024]}
    emulator.add_fault("status", server="entra", status=401, body=json.dumps(fault), count=0)
    daemon = serve(keys())
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert (error["code"], error["upstream_code"]) == ("denied", "AADSTS700024")
    assert "check this host's clock" in error["message"]
    assert len(assertions(emulator)) == 2


# ---- its end -------------------------------------------------------------------------------------


def test_the_end_of_a_certificate_is_told_ahead(serve, keys, emulator, file):
    soon = make_certificate(rsa_key(), from_s=-300 * DAY_S, to_s=20 * DAY_S)
    register(emulator, soon)
    write_secret(file, key_pem(rsa_key()) + certificate_pem(soon))
    daemon = serve(keys())
    daemon.wait_for_token("storage")
    notice = (
        f"the certificate expires on {soon.not_valid_after} UTC: register a new one with the "
        f"app, and put it in file:{file}"
    )
    daemon.wait_for_log(f"account storage: {notice}")
    account = daemon.account("storage")
    assert (account["state"], account["notice"]) == ("valid", notice)


# ---- what is wrong with a file -------------------------------------------------------------------


def expired():
    return make_certificate(rsa_key(), from_s=-2 * DAY_S, to_s=-DAY_S)


def of_the_future():
    return make_certificate(rsa_key(), from_s=DAY_S, to_s=2 * DAY_S)


NEITHER = (
    "client_certificate: file:PATH: it is neither PEM, which has lines of -----BEGIN and -----END, "
    "nor PKCS#12 (.pfx, .p12); export the certificate with its key in one of these forms"
)
NO_PASSPHRASE = (
    "client_certificate: file:PATH: it is encrypted and there is no passphrase for it; set "
    "client_certificate_password"
)
WRONG_PASSPHRASE = (
    "client_certificate: file:PATH: the passphrase does not open it; correct "
    "client_certificate_password"
)
MISMATCH = (
    "client_certificate: file:PATH: its private key and its certificate do not belong together; "
    "put the key beside the certificate that was made for it"
)
BAD_FILES = {
    "a missing file": (None, None, "client_certificate: cannot open PATH: No such file"),
    "an empty file": ("", None, "file:PATH is empty"),
    "a directory": (..., None, "client_certificate: PATH is not a regular file"),
    "no certificate file at all": ("nonsense", None, NEITHER),
    "a page of a captive portal": ("<!DOCTYPE html><html></html>\n", None, NEITHER),
    "a certificate alone": (
        lambda own: certificate_pem(own),
        None,
        "client_certificate: file:PATH: it has a certificate but not its private key; put both "
        "into one file",
    ),
    "a key alone": (
        lambda own: key_pem(rsa_key()),
        None,
        "client_certificate: file:PATH: it has a private key but not its certificate; put both "
        "into one file",
    ),
    "a key of another certificate": (
        lambda own: key_pem(rsa_key("other")) + certificate_pem(own),
        None,
        MISMATCH,
    ),
    "an encrypted key without a passphrase": (
        lambda own: certificate_pem(own) + key_pem(rsa_key(), PASSPHRASE),
        None,
        NO_PASSPHRASE,
    ),
    "encrypted PKCS#12 without a passphrase": (
        lambda own: pfx(rsa_key(), own, passphrase=PASSPHRASE),
        None,
        NO_PASSPHRASE,
    ),
    "a wrong passphrase": (
        lambda own: certificate_pem(own) + key_pem(rsa_key(), PASSPHRASE),
        "incorrect",
        WRONG_PASSPHRASE,
    ),
    "a wrong passphrase of PKCS#12": (
        lambda own: pfx(rsa_key(), own, passphrase=PASSPHRASE),
        "incorrect",
        WRONG_PASSPHRASE,
    ),
    "a kind of key that cannot sign for Entra": (
        lambda own: certificate_pem(own) + key_pem(ed25519.Ed25519PrivateKey.generate()),
        None,
        "client_certificate: file:PATH: its private key is ED25519; expected RSA, or EC on the "
        "curve P-256, P-384 or P-521",
    ),
    "a file that was cut off": (
        lambda own: (key_pem(rsa_key()) + certificate_pem(own))[:-100],
        None,
        "client_certificate: file:PATH: a block of it is damaged or cut off: expected base64 "
        "between lines of -----BEGIN and -----END",
    ),
}


@pytest.mark.parametrize("content, passphrase, message", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_told_and_disturbs_no_other_account(
    make_daemon, keys, emulator, key_file, file, own, tmp_path, content, passphrase, message
):
    file.unlink()
    if content is ...:
        file.mkdir()
    elif content is not None:
        write_secret(file, content(own) if callable(content) else content)
    password = passphrase and f"file:{write_secret(tmp_path / 'pass', passphrase)}"
    accounts = {
        "storage": keys(client_certificate_password=password),
        "anchors": account_keys(emulator, key_file),
    }
    daemon = make_daemon(configuration(emulator, accounts)).start()
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["code"] == "secret_source"
    assert message.replace("PATH", str(file)) in error["message"]
    assert token_requests(emulator) == []
    daemon.wait_for_token("anchors")
    assert "incorrect" not in daemon.log() and PASSPHRASE not in daemon.log()


@pytest.mark.parametrize(
    "make, message",
    [
        (expired, "the certificate expired on {0.not_valid_after} UTC (this host's clock says "),
        (
            of_the_future,
            "the certificate is not valid before {0.not_valid_before} UTC (this host's clock "
            "says ",
        ),
    ],
    ids=["expired", "not yet valid"],
)
def test_a_certificate_outside_its_validity_is_told(
    serve, keys, emulator, file, make, message
):
    certificate = make()
    register(emulator, certificate)
    write_secret(file, key_pem(rsa_key()) + certificate_pem(certificate))
    daemon = serve(keys())
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert error["code"] == "secret_source"
    assert f"client_certificate: file:{file}: {message.format(certificate)}" in error["message"]
    assert token_requests(emulator) == []


# Root may read everything unless it is without these.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_file_that_may_not_be_read_is_told(serve, keys, file):
    file.chmod(0)
    daemon = serve(keys(), wrap=AS_ANYBODY if os.geteuid() == 0 else [])
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert f"client_certificate: cannot open {file}: Permission denied" in error["message"]


def test_a_certificate_that_is_not_registered_is_told(serve, keys, emulator):
    register(emulator, make_certificate(rsa_key("other")))
    daemon = serve(keys())
    daemon.wait_for_failure("storage")
    error = daemon.account("storage")["last_error"]
    assert (error["code"], error["upstream_code"]) == ("denied", "AADSTS700027")
    assert "the certificate is not registered with the app" in error["message"]


def test_the_environment_may_describe_a_certificate(
    serve, emulator, own, authority, file, passphrase_file
):
    write_secret(file, certificate_pem(own, authority) + key_pem(rsa_key(), PASSPHRASE))
    plain = {"kind": "entra", "scope": "https://storage.azure.com/.default"}
    variables = {
        "AZURE_AUTHORITY_HOST": emulator.entra,
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": APP,
        "AZURE_CLIENT_CERTIFICATE_PATH": str(file),
        "AZURE_CLIENT_CERTIFICATE_PASSWORD": PASSPHRASE,
        "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN": "true",
    }
    daemon = serve({**plain, "credential": "environment"}, environment=variables)
    daemon.wait_for_token("storage")
    assert len(parts_of(assertions(emulator)[0])[0]["x5c"]) == 2
    assert set(form_of(token_requests(emulator)[0])) == {
        "client_id",
        "grant_type",
        "scope",
        "client_assertion",
        "client_assertion_type",
    }
