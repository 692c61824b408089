"""What apps of Microsoft Entra ID prove themselves by: keys, certificates, federated tokens."""

import base64
import datetime
import functools
import ipaddress
import json
import time
import urllib.parse

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

DAY_S = 24 * 3600
ISSUER = "https://oidc.cluster.example/"
SUBJECT = "system:serviceaccount:anchors:renderer"


def write_secret(path, content):
    """Put a file that nobody else can read in the place of another one, as rotation does."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.rename(path)
    return path


# ---- certificates ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def rsa_key(name="app"):
    """A key of that name, made once; 2048 bits are what Entra wants at least."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.lru_cache(maxsize=None)
def ec_key(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


def make_certificate(key, from_s=-DAY_S, to_s=365 * DAY_S, issuer_key=None, name="app", address=None):
    """A certificate that is valid from and to, in seconds from now; of a server, with its address."""
    now = datetime.datetime.utcnow()
    issuer = "authority" if issuer_key else name
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(seconds=from_s))
        .not_valid_after(now + datetime.timedelta(seconds=to_s))
    )
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def certificate_pem(*certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _encryption(passphrase):
    if passphrase is None:
        return serialization.NoEncryption()
    return serialization.BestAvailableEncryption(passphrase.encode())


def key_pem(key, passphrase=None, form=serialization.PrivateFormat.PKCS8):
    return key.private_bytes(serialization.Encoding.PEM, form, _encryption(passphrase))


def pfx(key, certificate, *others, passphrase=None):
    return pkcs12.serialize_key_and_certificates(
        b"app", key, certificate, list(others) or None, _encryption(passphrase)
    )


def thumbprint(certificate, digest=hashes.SHA1):
    """As it stands in x5t, or with SHA-256 in x5t#S256."""
    fingerprint = certificate.fingerprint(digest())
    return base64.urlsafe_b64encode(fingerprint).decode().rstrip("=")


# ---- federated tokens --------------------------------------------------------------------------


def federated_token(key, **changes):
    """As a Kubernetes cluster projects it: the audience is a list."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": ["api://AzureADTokenExchange"],
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        **changes,
    }
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "cluster"})


def federation(key, **changes):
    """The federated credential of an app that trusts the tokens above."""
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {"issuer": ISSUER, "subject": SUBJECT, "public_key": public.decode(), **changes}


# ---- what was recorded -------------------------------------------------------------------------


def form_of(request):
    pairs = urllib.parse.parse_qsl(request["body"], keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def token_requests(emulator):
    """The requests for tokens at the emulated Entra, without those for documents about it."""
    return [r for r in emulator.requests(server="entra") if r["path"].endswith("/token")]


def assertions(emulator):
    return [form_of(request)["client_assertion"] for request in token_requests(emulator)]


def parts_of(token):
    """Header and claims of a JWT."""
    return [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in token.split(".")[:2]
    ]


def assert_no_complaints(emulator):
    complaints = [(r["server"], r["target"], r["complaint"]) for r in emulator.requests()]
    assert [one for one in complaints if one[2] is not None] == []
