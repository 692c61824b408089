"""mrtoken-emulator as Microsoft Entra ID: what it gives, what it refuses, and with which words."""

import base64
import datetime
import json
import re
import time
import urllib.parse
import uuid

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from rig.emulator import Emulator

ID = "7f1c3c5e-0000-4000-8000-0123456789ab"
OTHER_ID = "7f1c3c5e-0000-4000-8000-ffffffffffff"
KEY = "a2V5LW9uZS1vZi10aGUtdGVzdHMtYWNjb3VudC0xMjM0NTY="
TENANT = "e3a1c0de-0000-4000-8000-000000000001"
DOMAIN = "emulator.onmicrosoft.com"
OTHER_TENANT = "e3a1c0de-0000-4000-8000-000000000002"
APP = "a9900001-0000-4000-8000-000000000001"
OTHER_APP = "a9900001-0000-4000-8000-000000000002"
SECRET = "s3cret~with.odd+characters &=%"
STS_SCOPE = "https://sts.mixedreality.azure.com//.default"
SCOPE = "https://storage.azure.com/.default"
FORM = "application/x-www-form-urlencoded"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("entra"), {ID: KEY, OTHER_ID: KEY}) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    running.clear_faults()
    running.clear_requests()
    usual = running.settings()
    running.put_app(APP, secrets=[SECRET])
    running.put_account(ID, KEY, apps=[APP])
    yield running
    running.clear_faults()
    running.change_settings(**usual)
    running.delete_app(APP)


def ask(emulator, path, method="GET", **arguments):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = emulator.ca_file
        return session.request(method, emulator.entra + path, timeout=30, **arguments)


def secret_form(**changes):
    form = {
        "grant_type": "client_credentials",
        "client_id": APP,
        "client_secret": SECRET,
        "scope": SCOPE,
        **changes,
    }
    return {name: value for name, value in form.items() if value is not None}


def post(emulator, form, tenant=TENANT, endpoint="token", content_type=FORM, **arguments):
    body = form if isinstance(form, (str, bytes)) else urllib.parse.urlencode(form)
    headers = {"Content-Type": content_type} if content_type else {}
    headers.update(arguments.pop("headers", {}))
    path = f"/{tenant}/oauth2/v2.0/{endpoint}"
    return ask(emulator, path, "POST", data=body, headers=headers, **arguments)


def token_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def part_of(token, number):
    part = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def claims_of(token):
    return part_of(token, 1)


def assert_refused(emulator, answer, code, word, status=400, sentence=""):
    """Refused in the service's shape, and the record says why."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store, no-cache"
    body = answer.json()
    assert body["error"] == word
    first, trace, correlation, timestamp = body["error_description"].split("\r\n")
    assert first.startswith(f"AADSTS{code}: ") and sentence in first
    assert trace == f"Trace ID: {body['trace_id']}"
    assert correlation == f"Correlation ID: {body['correlation_id']}"
    assert timestamp == f"Timestamp: {body['timestamp']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", body["timestamp"])
    uuid.UUID(body["trace_id"])
    uuid.UUID(body["correlation_id"])
    assert body["error_codes"] == [code]
    assert body["error_uri"] == f"{emulator.entra}/error?code={code}"
    recorded = emulator.requests()[-1]
    assert recorded["server"] == "entra" and recorded["status"] == status
    assert recorded["complaint"] in first
    assert SECRET not in answer.text


# ---- documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", [TENANT, TENANT.upper(), DOMAIN, "common", "organizations"])
def test_configuration_names_the_endpoints(emulator, tenant):
    answer = ask(emulator, f"/{tenant}/v2.0/.well-known/openid-configuration")
    document = answer.json()
    base = f"{emulator.entra}/{tenant}"
    assert answer.status_code == 200
    assert document["token_endpoint"] == f"{base}/oauth2/v2.0/token"
    assert document["authorization_endpoint"] == f"{base}/oauth2/v2.0/authorize"
    assert document["device_authorization_endpoint"] == f"{base}/oauth2/v2.0/devicecode"
    assert document["jwks_uri"] == f"{base}/discovery/v2.0/keys"
    assert document["issuer"] == f"{emulator.entra}/{TENANT}/v2.0"


@pytest.mark.parametrize(
    "tenant, code", [(OTHER_TENANT, 90002), ("nobody.example", 90002), ("n_o", 900023)]
)
def test_configuration_of_an_unknown_tenant(emulator, tenant, code):
    answer = ask(emulator, f"/{tenant}/v2.0/.well-known/openid-configuration")
    assert_refused(emulator, answer, code, "invalid_request", sentence=tenant)


def test_instance_discovery(emulator):
    query = {
        "api-version": "1.1",
        "authorization_endpoint": f"https://127.0.0.1/{TENANT}/oauth2/v2.0/authorize",
    }
    document = ask(emulator, "/common/discovery/instance", params=query).json()
    configuration = f"{emulator.entra}/{TENANT}/v2.0/.well-known/openid-configuration"
    assert document["tenant_discovery_endpoint"] == configuration
    host = urllib.parse.urlparse(emulator.entra).netloc
    assert document["metadata"][0]["aliases"] == [host]


@pytest.mark.parametrize(
    "changes, code, word",
    [
        ({"authorization_endpoint": "https://evil.example/x/oauth2/v2.0/authorize"}, 50049, "invalid_instance"),
        ({"authorization_endpoint": f"https://127.0.0.1/{TENANT}"}, 50049, "invalid_instance"),
        ({"authorization_endpoint": f"http://127.0.0.1/{TENANT}/oauth2/v2.0/authorize"}, 50049, "invalid_instance"),
        ({"api-version": "2.0"}, 9002313, "invalid_request"),
        ({"x": "1"}, 9002313, "invalid_request"),
        ({"api-version": ""}, 900144, "invalid_request"),
    ],
)
def test_instance_discovery_refuses(emulator, changes, code, word):
    query = {
        "api-version": "1.1",
        "authorization_endpoint": f"https://127.0.0.1/{TENANT}/oauth2/v2.0/authorize",
        **changes,
    }
    answer = ask(emulator, "/common/discovery/instance", params=query)
    assert_refused(emulator, answer, code, word)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/{TENANT}/oauth2/token",
        f"/{TENANT}/oauth2/v2.0/token/",
        f"/{TENANT}/oauth2/v2.0/Token",
        f"//{TENANT}/oauth2/v2.0/token",
        "/" + "x" * 254 + "/oauth2/v2.0/token",
        f"/{TENANT}/discovery/instance?api-version=1.1&authorization_endpoint=x",
    ],
)
def test_refuses_another_path(emulator, path):
    answer = ask(emulator, path)
    assert answer.status_code == 404 and answer.content == b""


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_token_endpoint_takes_post_only(emulator, method):
    answer = ask(emulator, f"/{TENANT}/oauth2/v2.0/token", method)
    assert_refused(emulator, answer, 900561, "invalid_request", 405)
    assert answer.headers["Allow"] == "POST"


# ---- the token ---------------------------------------------------------------------------------


def test_answer_has_the_shape_of_the_service(emulator):
    answer = post(emulator, secret_form())
    body = answer.json()
    assert sorted(body) == ["access_token", "expires_in", "ext_expires_in", "token_type"]
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3599 and body["ext_expires_in"] == 3599
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store, no-cache"
    assert answer.headers["Pragma"] == "no-cache"
    uuid.UUID(answer.headers["x-ms-request-id"])


def test_token_of_version_1(emulator):
    claims = claims_of(token_of(post(emulator, secret_form())))
    assert claims["ver"] == "1.0"
    assert claims["aud"] == "https://storage.azure.com"
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert claims["tid"] == TENANT and claims["appid"] == APP and claims["appidacr"] == "1"
    assert claims["oid"] == claims["sub"] == emulator.apps()[APP]["object_id"]
    assert claims["nbf"] == claims["iat"] <= time.time()
    assert abs(claims["exp"] - time.time() - 3599) < 5


def test_token_of_version_2(emulator):
    emulator.change_settings(entra_token_version=2)
    claims = claims_of(token_of(post(emulator, secret_form())))
    assert claims["ver"] == "2.0"
    assert claims["iss"] == f"{emulator.entra}/{TENANT}/v2.0"
    assert claims["azp"] == APP and "appid" not in claims


@pytest.mark.parametrize("version", [1, 2])
def test_token_is_signed_with_the_published_key(emulator, version):
    emulator.change_settings(entra_token_version=version)
    token = token_of(post(emulator, secret_form()))
    (key,) = ask(emulator, f"/{TENANT}/discovery/v2.0/keys").json()["keys"]
    header = part_of(token, 0)
    assert header["alg"] == "RS256" and header["kid"] == key["kid"]
    n, e = (
        int.from_bytes(base64.urlsafe_b64decode(key[name] + "=="), "big") for name in ("n", "e")
    )
    signed, signature = token.rsplit(".", 1)
    rsa.RSAPublicNumbers(e, n).public_key().verify(
        base64.urlsafe_b64decode(signature + "=="),
        signed.encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )


def test_lifetimes_are_settable(emulator):
    emulator.change_settings(
        entra_expires_in_s=86399, entra_ext_expires_in_s=172800, entra_refresh_in_s=43199
    )
    body = post(emulator, secret_form()).json()
    assert (body["expires_in"], body["ext_expires_in"], body["refresh_in"]) == (
        86399,
        172800,
        43199,
    )
    assert abs(claims_of(body["access_token"])["exp"] - time.time() - 86399) < 5


def test_one_trailing_default_is_cut_off_the_scope(emulator):
    claims = claims_of(token_of(post(emulator, secret_form(scope=STS_SCOPE))))
    assert claims["aud"] == "https://sts.mixedreality.azure.com/"


@pytest.mark.parametrize("tenant", [TENANT.upper(), DOMAIN, DOMAIN.upper()])
def test_tenant_is_known_by_its_names(emulator, tenant):
    assert claims_of(token_of(post(emulator, secret_form(), tenant)))["tid"] == TENANT


@pytest.mark.parametrize(
    "fields",
    [
        {"client_info": "1"},
        {"claims": '{"access_token":{"xms_cc":{"values":["CP1"]}}}'},
        {"x-client-SKU": "msal.js.node", "x-client-VER": "1.0", "x-ms-lib-capability": "x"},
    ],
)
def test_accepts_what_clients_add(emulator, fields):
    token_of(post(emulator, secret_form(**fields)))
    assert emulator.requests()[-1]["complaint"] is None


@pytest.mark.parametrize("content_type", [FORM, FORM + ";charset=utf-8", FORM.upper()])
def test_accepts_content_types_of_clients(emulator, content_type):
    token_of(post(emulator, secret_form(), content_type=content_type))


# ---- strictness --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, code, word, status",
    [
        ({"grant_type": None}, 900144, "invalid_request", 400),
        ({"client_id": None}, 900144, "invalid_request", 400),
        ({"scope": None}, 900144, "invalid_request", 400),
        ({"scope": ""}, 900144, "invalid_request", 400),
        ({"grant_type": "implicit"}, 70003, "unsupported_grant_type", 400),
        ({"client_id": OTHER_APP}, 700016, "unauthorized_client", 400),
        ({"client_id": "app"}, 700016, "unauthorized_client", 400),
        ({"client_secret": None}, 7000218, "invalid_client", 401),
        ({"client_secret": "wrong"}, 7000215, "invalid_client", 401),
        ({"client_secret": SECRET + " "}, 7000215, "invalid_client", 401),
        ({"client_secret": SECRET.upper()}, 7000215, "invalid_client", 401),
        ({"scope": "https://storage.azure.com"}, 70011, "invalid_scope", 400),
        ({"scope": "https://storage.azure.com/user_impersonation"}, 70011, "invalid_scope", 400),
        ({"scope": ".default"}, 70011, "invalid_scope", 400),
        ({"scope": "/.default"}, 70011, "invalid_scope", 400),
        ({"scope": "storage/.default"}, 70011, "invalid_scope", 400),
        ({"scope": "https:///.default"}, 70011, "invalid_scope", 400),
        ({"scope": f"{SCOPE} {SCOPE}"}, 70011, "invalid_scope", 400),
        ({"scope": f"{SCOPE} openid"}, 70011, "invalid_scope", 400),
        ({"scope": "x" * 2000}, 70011, "invalid_scope", 400),
        ({"resource": "https://storage.azure.com"}, 9002313, "invalid_request", 400),
        ({"username": "ada"}, 9002313, "invalid_request", 400),
        ({"client_assertion": "a.b.c"}, 9002313, "invalid_request", 400),
        ({"client_assertion_type": ASSERTION_TYPE}, 9002313, "invalid_request", 400),
    ],
)
def test_refuses_a_form(emulator, changes, code, word, status):
    assert_refused(emulator, post(emulator, secret_form(**changes)), code, word, status)


def test_missing_parameter_is_named(emulator):
    answer = post(emulator, secret_form(scope=None))
    assert_refused(emulator, answer, 900144, "invalid_request", sentence="scope")


@pytest.mark.parametrize(
    "body, words",
    [
        ("grant_type=client_credentials&grant_type=client_credentials", "there twice"),
        ("grant_type", "no name or no '='"),
        ("=x", "no name or no '='"),
        ("grant_type=%zz", "percent-encoding"),
        ("grant_type=%00", "percent-encoding"),
        ("grant_type=password&", "ends in '&'"),
        ("&".join(f"f{n}=1" for n in range(40)), "too many fields"),
        ("grant_type=" + "x" * 70000, "too long"),
    ],
)
def test_refuses_a_malformed_body(emulator, body, words):
    answer = post(emulator, body)
    assert_refused(emulator, answer, 9002313, "invalid_request", sentence=words)


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", FORM + "x"])
def test_refuses_another_content_type(emulator, content_type):
    answer = post(emulator, secret_form(), content_type=content_type)
    assert_refused(emulator, answer, 9002313, "invalid_request", sentence="Content-Type")


def test_refuses_a_query(emulator):
    answer = post(emulator, secret_form(), params={"x": "1"})
    assert_refused(emulator, answer, 9002313, "invalid_request", sentence="query")


@pytest.mark.parametrize(
    "tenant, code",
    [(OTHER_TENANT, 90002), ("nobody.example", 90002), ("n_o", 900023), ("common", 50059)],
)
def test_refuses_another_tenant(emulator, tenant, code):
    assert_refused(emulator, post(emulator, secret_form(), tenant), code, "invalid_request")


def test_app_is_at_home_in_its_tenants(emulator):
    emulator.put_tenant(OTHER_TENANT, domain="other.example")
    try:
        assert claims_of(token_of(post(emulator, secret_form(), "other.example")))["tid"] == (
            OTHER_TENANT
        )
        emulator.put_app(APP, secrets=[SECRET], tenants=[TENANT])
        answer = post(emulator, secret_form(), OTHER_TENANT)
        assert_refused(emulator, answer, 700016, "unauthorized_client")
        token_of(post(emulator, secret_form()))
    finally:
        emulator.delete_tenant(OTHER_TENANT)


def test_missing_consent(emulator):
    emulator.put_app(APP, secrets=[SECRET], resources=["https://sts.mixedreality.azure.com"])
    token_of(post(emulator, secret_form(scope=STS_SCOPE)))
    answer = post(emulator, secret_form())
    assert_refused(emulator, answer, 65001, "invalid_grant", sentence="https://storage.azure.com")
    assert answer.json()["suberror"] == "consent_required"


def test_expired_secret_is_told_from_a_wrong_one(emulator):
    emulator.put_app(APP, secrets=[{"secret": SECRET, "expires_on": int(time.time()) - 1}])
    answer = post(emulator, secret_form())
    assert_refused(emulator, answer, 7000222, "invalid_client", 401)


def test_secret_expires_with_the_clock(emulator):
    emulator.put_app(APP, secrets=[{"secret": SECRET, "expires_on": int(time.time()) + 600}])
    token_of(post(emulator, secret_form()))
    emulator.change_settings(date_offset_s=601)
    assert_refused(emulator, post(emulator, secret_form()), 7000222, "invalid_client", 401)


def test_correlation_is_the_clients_own(emulator):
    own = str(uuid.uuid4())
    answer = post(emulator, secret_form(client_secret="x"), headers={"client-request-id": own})
    assert answer.json()["correlation_id"] == own


def test_password_is_refused(emulator):
    emulator.put_app(APP, public=True)
    form = {
        "grant_type": "password",
        "client_id": APP,
        "scope": SCOPE,
        "username": "ada@example.com",
        "password": "x",
    }
    assert_refused(emulator, post(emulator, form), 50126, "invalid_grant")


def test_detail_cannot_break_the_answer(emulator):
    answer = post(emulator, secret_form(client_id='"\r\n\x01é'))
    assert_refused(emulator, answer, 700016, "unauthorized_client")


# ---- assertions --------------------------------------------------------------------------------


class Identity:
    """An RSA key, and a certificate for it by itself."""

    def __init__(self, valid_days=1):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        now = datetime.datetime.utcnow()
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=valid_days))
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def x5c(self):
        return base64.b64encode(
            self.certificate.public_bytes(serialization.Encoding.DER)
        ).decode()

    @property
    def public_key_pem(self):
        return (
            self.key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    @property
    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        n, e = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e))
        return {"kty": "RSA", "kid": "k", "n": encode(n), "e": encode(e)}

    def thumbprint(self, algorithm=hashes.SHA1()):
        return encode(self.certificate.fingerprint(algorithm))

    def sign(self, text, algorithm):
        scheme = padding.PKCS1v15()
        if algorithm == "PS256":
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return self.key.sign(text, scheme, hashes.SHA256())


def encode(data):
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def compact(identity, header, claims):
    text = f"{encode(header)}.{encode(claims)}"
    return f"{text}.{encode(identity.sign(text.encode(), header.get('alg')))}"


def drop_none(pairs):
    return {name: value for name, value in pairs.items() if value is not None}


@pytest.fixture(scope="module")
def own():
    return Identity()


@pytest.fixture(scope="module")
def stranger():
    return Identity()


def assertion(emulator, identity, header=None, **claims):
    now = int(time.time())
    header = drop_none(
        {"typ": "JWT", "alg": "RS256", "x5t": identity.thumbprint(), **(header or {})}
    )
    usual = {
        "aud": f"{emulator.entra}/{TENANT}/oauth2/v2.0/token",
        "iss": APP,
        "sub": APP,
        "jti": str(uuid.uuid4()),
        "nbf": now,
        "exp": now + 600,
    }
    return compact(identity, header, drop_none({**usual, **claims}))


def assertion_form(text, **changes):
    return secret_form(
        client_secret=None,
        client_assertion=text,
        client_assertion_type=ASSERTION_TYPE,
        **changes,
    )


S256 = hashes.SHA256()


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
@pytest.mark.parametrize("names", ["x5t", "x5t#S256", "both"])
def test_certificate_is_known_by_either_thumbprint(emulator, own, algorithm, names):
    emulator.put_app(APP, certificates=[own.pem])
    header = {
        "alg": algorithm,
        "x5t": own.thumbprint() if names != "x5t#S256" else None,
        "x5t#S256": own.thumbprint(S256) if names != "x5t" else None,
    }
    token = token_of(post(emulator, assertion_form(assertion(emulator, own, header))))
    assert claims_of(token)["appidacr"] == "2"


def test_padding_that_a_client_leaves_in_is_tolerated(emulator, own):
    emulator.put_app(APP, certificates=[own.pem])
    header = {"typ": "JWT", "alg": "RS256", "x5t": own.thumbprint() + "="}
    now = int(time.time())
    claims = {
        "aud": f"{emulator.entra}/{TENANT}/oauth2/v2.0/token",
        "iss": APP,
        "sub": APP,
        "jti": "1",
        "exp": now + 1800.5,
    }
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in (header, claims)]
    text = ".".join(parts)
    signature = base64.urlsafe_b64encode(own.sign(text.encode(), "RS256")).decode()
    token_of(post(emulator, assertion_form(f"{text}.{signature}")))


def test_assertion_may_be_shown_again(emulator, own):
    emulator.put_app(APP, certificates=[own.pem])
    text = assertion(emulator, own)
    for _ in range(2):
        token_of(post(emulator, assertion_form(text)))


def test_assertion_may_name_the_tenant_as_the_path_does(emulator, own):
    emulator.put_app(APP, certificates=[own.pem])
    text = assertion(emulator, own, aud=f"{emulator.entra}/{DOMAIN}/oauth2/v2.0/token")
    token_of(post(emulator, assertion_form(text), DOMAIN))
    assert_refused(emulator, post(emulator, assertion_form(text)), 700023, "invalid_client", 401)


def test_chain_is_accepted(emulator, own, stranger):
    emulator.put_app(APP, certificates=[own.pem])
    text = assertion(emulator, own, {"x5c": [own.x5c, stranger.x5c]})
    token_of(post(emulator, assertion_form(text)))


@pytest.mark.parametrize(
    "header, claims, code, word, status",
    [
        ({"alg": "HS256"}, {}, 5002738, "invalid_client", 401),
        ({"alg": "none"}, {}, 5002738, "invalid_client", 401),
        ({"alg": None}, {}, 5002738, "invalid_client", 401),
        ({"x5t": None}, {}, 700027, "invalid_client", 401),
        ({"x5t": "AAAA"}, {}, 700027, "invalid_client", 401),
        ({"x5t#S256": "AAAA"}, {}, 700027, "invalid_client", 401),
        ({"x5c": []}, {}, 700027, "invalid_client", 401),
        ({"x5c": ["AAAA"]}, {}, 700027, "invalid_client", 401),
        ({"x5c": "AAAA"}, {}, 700027, "invalid_client", 401),
        ({}, {"aud": "https://login.microsoftonline.com/x"}, 700023, "invalid_client", 401),
        ({}, {"aud": None}, 700023, "invalid_client", 401),
        ({}, {"iss": OTHER_APP}, 700021, "invalid_client", 401),
        ({}, {"sub": OTHER_APP}, 700021, "invalid_client", 401),
        ({}, {"iss": None}, 50027, "invalid_request", 400),
        ({}, {"jti": None}, 50027, "invalid_request", 400),
        ({}, {"exp": None}, 50027, "invalid_request", 400),
        ({}, {"exp": "1600000000"}, 50027, "invalid_request", 400),
        ({}, {"exp": 1600000000}, 700024, "invalid_client", 401),
        ({}, {"nbf": 4000000000, "exp": 4000000600}, 700024, "invalid_client", 401),
    ],
)
def test_refuses_an_assertion(emulator, own, header, claims, code, word, status):
    emulator.put_app(APP, certificates=[own.pem])
    text = assertion(emulator, own, header, **claims)
    assert_refused(emulator, post(emulator, assertion_form(text)), code, word, status)


def test_refuses_an_assertion_of_another_key(emulator, own, stranger):
    emulator.put_app(APP, certificates=[own.pem])
    answer = post(emulator, assertion_form(assertion(emulator, stranger)))
    assert_refused(emulator, answer, 700027, "invalid_client", 401, "thumbprint")
    text = assertion(emulator, stranger, {"x5t": own.thumbprint()})
    answer = post(emulator, assertion_form(text))
    assert_refused(emulator, answer, 700027, "invalid_client", 401, "signature")
    text = assertion(emulator, own, {"x5c": [stranger.x5c]})
    assert_refused(emulator, post(emulator, assertion_form(text)), 700027, "invalid_client", 401, "x5c")


def test_refuses_an_assertion_that_was_changed(emulator, own):
    emulator.put_app(APP, certificates=[own.pem])
    head, payload, signature = assertion(emulator, own).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = f"{head}.{encode({**claims, 'exp': claims['exp'] + 1})}.{signature}"
    answer = post(emulator, assertion_form(changed))
    assert_refused(emulator, answer, 700027, "invalid_client", 401)


def test_refuses_an_expired_certificate(emulator):
    expired = Identity(valid_days=-1)
    emulator.put_app(APP, certificates=[expired.pem])
    answer = post(emulator, assertion_form(assertion(emulator, expired)))
    assert_refused(emulator, answer, 1000502, "invalid_client", 401)


@pytest.mark.parametrize(
    "text", ["x", "a.b", "a.b.c", "e30.e30.", "e30.e30.AA.AA", "W10.e30.AA", "e30.W10.AA", "!.!.!"]
)
def test_refuses_what_is_no_jwt(emulator, own, text):
    emulator.put_app(APP, certificates=[own.pem])
    assert_refused(emulator, post(emulator, assertion_form(text)), 50027, "invalid_request")


def test_refuses_another_assertion_type(emulator, own):
    emulator.put_app(APP, certificates=[own.pem])
    form = assertion_form(assertion(emulator, own))
    form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    assert_refused(emulator, post(emulator, form), 9002313, "invalid_request")


# ---- federation --------------------------------------------------------------------------------

ISSUER = "https://oidc.cluster.example/"
SUBJECT = "system:serviceaccount:anchors:renderer"


def federated(emulator, identity, header=None, **claims):
    usual = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": ["api://AzureADTokenExchange"],
        "jti": None,
    }
    return assertion(emulator, identity, {"x5t": None, **(header or {})}, **{**usual, **claims})


@pytest.mark.parametrize("form", ["pem", "jwks"])
def test_federated_token_is_taken(emulator, own, stranger, form):
    key = {"public_key": own.public_key_pem}
    if form == "jwks":
        key = {"jwks": {"keys": [stranger.jwk, own.jwk]}}
    emulator.put_app(APP, federated=[{"issuer": ISSUER, "subject": SUBJECT, **key}])
    token_of(post(emulator, assertion_form(federated(emulator, own))))
    text = federated(emulator, own, aud="api://AzureADTokenExchange")
    token_of(post(emulator, assertion_form(text)))


@pytest.mark.parametrize(
    "claims, code, word, status",
    [
        ({"iss": ISSUER.rstrip("/")}, 700211, "invalid_client", 401),
        ({"sub": SUBJECT.upper()}, 700213, "invalid_client", 401),
        ({"aud": "api://other"}, 700212, "invalid_client", 401),
        ({"aud": []}, 700212, "invalid_client", 401),
        ({"exp": 1600000000}, 700024, "invalid_client", 401),
        ({"exp": None}, 50027, "invalid_request", 400),
    ],
)
def test_refuses_a_federated_token(emulator, own, claims, code, word, status):
    entry = {"issuer": ISSUER, "subject": SUBJECT, "public_key": own.public_key_pem}
    emulator.put_app(APP, federated=[entry])
    text = federated(emulator, own, **claims)
    assert_refused(emulator, post(emulator, assertion_form(text)), code, word, status)


def test_refuses_a_federated_token_of_another_key(emulator, own, stranger):
    entry = {"issuer": ISSUER, "subject": SUBJECT, "public_key": own.public_key_pem}
    emulator.put_app(APP, federated=[entry])
    answer = post(emulator, assertion_form(federated(emulator, stranger)))
    assert_refused(emulator, answer, 700027, "invalid_client", 401, "issuer")


def test_refuses_a_federated_token_without_federation(emulator, own):
    answer = post(emulator, assertion_form(federated(emulator, own)))
    assert_refused(emulator, answer, 70021, "invalid_client", 401)


# ---- device codes and refresh tokens -----------------------------------------------------------


@pytest.fixture
def public_app(emulator):
    emulator.put_app(APP, public=True)
    emulator.change_settings(device_code_interval_s=1)
    return emulator


def begin(emulator, scope=f"{SCOPE} openid profile offline_access", **changes):
    form = drop_none({"client_id": APP, "scope": scope, **changes})
    return post(emulator, form, endpoint="devicecode")


def poll(emulator, device_code, **changes):
    form = {"grant_type": DEVICE_GRANT, "client_id": APP, "device_code": device_code, **changes}
    return post(emulator, form)


def refresh(emulator, token, **changes):
    form = {
        "grant_type": "refresh_token",
        "client_id": APP,
        "refresh_token": token,
        "scope": SCOPE,
        **changes,
    }
    return post(emulator, form)


def test_device_code_answer(public_app):
    body = begin(public_app).json()
    assert body["expires_in"] == 900 and body["interval"] == 1
    assert body["verification_uri"].startswith(public_app.entra)
    assert body["user_code"] in body["message"] and body["verification_uri"] in body["message"]
    (flow,) = [f for f in public_app.device_codes() if f["user_code"] == body["user_code"]]
    assert flow["state"] == "pending" and flow["polls"] == 0 and flow["client_id"] == APP


def test_device_code_is_pending_until_it_is_approved(public_app):
    body = begin(public_app).json()
    answer = poll(public_app, body["device_code"])
    assert_refused(public_app, answer, 70016, "authorization_pending")
    public_app.decide_device_code(body["user_code"].lower(), "approved", username="ada@x.example")
    tokens = poll(public_app, body["device_code"], client_info="1").json()
    claims = claims_of(tokens["access_token"])
    assert claims["upn"] == "ada@x.example" and claims["scp"] == "user_impersonation"
    identity = claims_of(tokens["id_token"])
    assert identity["aud"] == APP and identity["iss"] == f"{public_app.entra}/{TENANT}/v2.0"
    info = json.loads(base64.urlsafe_b64decode(tokens["client_info"] + "=="))
    assert info == {"uid": claims["oid"], "utid": TENANT}
    assert tokens["refresh_token"] and tokens["scope"]
    answer = poll(public_app, body["device_code"])
    assert_refused(public_app, answer, 54005, "invalid_grant")


@pytest.mark.parametrize(
    "state, code, word", [("declined", 65004, "authorization_declined"), ("expired", 70020, "expired_token")]
)
def test_device_code_that_is_not_approved(public_app, state, code, word):
    body = begin(public_app).json()
    public_app.decide_device_code(body["user_code"], state)
    assert_refused(public_app, poll(public_app, body["device_code"]), code, word)
    answer = public_app.ask_control(
        "PUT", f"/v1/device-codes/{body['user_code']}", json={"state": "approved"}
    )
    assert answer.status_code == 404


def test_device_code_expires_with_the_clock(public_app):
    body = begin(public_app).json()
    public_app.change_settings(date_offset_s=901)
    assert_refused(public_app, poll(public_app, body["device_code"]), 70020, "expired_token")


def test_polling_too_fast_slows_the_client_down(public_app):
    public_app.change_settings(device_code_interval_s=5)
    body = begin(public_app).json()
    poll(public_app, body["device_code"])
    assert_refused(public_app, poll(public_app, body["device_code"]), 700164, "slow_down")
    (flow,) = [f for f in public_app.device_codes() if f["user_code"] == body["user_code"]]
    assert flow["interval_s"] == 10 and flow["polls"] == 2


def test_refuses_a_foreign_device_code(public_app):
    body = begin(public_app).json()
    assert_refused(public_app, poll(public_app, "x"), 70018, "bad_verification_code")
    public_app.put_app(OTHER_APP, public=True)
    try:
        answer = poll(public_app, body["device_code"], client_id=OTHER_APP)
        assert_refused(public_app, answer, 70018, "bad_verification_code")
    finally:
        public_app.delete_app(OTHER_APP)


def test_device_code_is_for_public_apps(emulator):
    assert_refused(emulator, begin(emulator), 7000218, "invalid_client", 401)


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"client_id": None}, 900144),
        ({"scope": None}, 900144),
        ({"client_secret": "x"}, 9002313),
        ({"scope": "https://a.example/x https://b.example/x"}, 70011),
    ],
)
def test_refuses_to_begin(public_app, changes, code):
    answer = begin(public_app, **changes)
    assert answer.status_code == 400 and answer.json()["error_codes"] == [code]


def test_public_app_shows_no_secret(public_app):
    answer = post(public_app, secret_form())
    assert_refused(public_app, answer, 700025, "invalid_client", 401)


@pytest.fixture
def refresh_token(public_app):
    body = begin(public_app).json()
    public_app.decide_device_code(body["user_code"], "approved", username="ada@x.example")
    return poll(public_app, body["device_code"]).json()["refresh_token"]


def test_refresh_token_gives_tokens_for_any_resource(public_app, refresh_token):
    tokens = refresh(public_app, refresh_token, scope="https://vault.azure.net/.default").json()
    claims = claims_of(tokens["access_token"])
    assert claims["aud"] == "https://vault.azure.net" and claims["upn"] == "ada@x.example"
    assert tokens["refresh_token"] != refresh_token
    token_of(refresh(public_app, tokens["refresh_token"]))
    token_of(refresh(public_app, refresh_token))


def test_refuses_refresh_tokens_that_are_no_longer_good(public_app, refresh_token):
    assert_refused(public_app, refresh(public_app, "1.AAAA"), 70000, "invalid_grant")
    public_app.change_settings(date_offset_s=91 * 86400)
    assert_refused(public_app, refresh(public_app, refresh_token), 700082, "invalid_grant")
    public_app.change_settings(date_offset_s=0)
    assert public_app.revoke_refresh_tokens() >= 1
    assert_refused(public_app, refresh(public_app, refresh_token), 50173, "invalid_grant")


def test_refuses_a_refresh_token_of_another_app(public_app, refresh_token):
    public_app.put_app(OTHER_APP, public=True)
    try:
        answer = refresh(public_app, refresh_token, client_id=OTHER_APP)
        assert_refused(public_app, answer, 70000, "invalid_grant", sentence="another client")
    finally:
        public_app.delete_app(OTHER_APP)


# ---- faults ------------------------------------------------------------------------------------


def test_throttling_has_its_code_and_a_time(emulator):
    emulator.add_fault("status", server="entra", status=429)
    answer = post(emulator, secret_form())
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "5"
    assert answer.json()["error_codes"] == [90055]
    emulator.add_fault("status", server="entra", status=429, headers={"Retry-After": "2"})
    assert post(emulator, secret_form()).headers["Retry-After"] == "2"
    token_of(post(emulator, secret_form()))


@pytest.mark.parametrize("status", [500, 503, 504])
def test_passing_fault_has_its_shape(emulator, status):
    emulator.add_fault("status", server="entra", status=status)
    answer = post(emulator, secret_form())
    assert answer.status_code == status
    assert answer.json()["error"] == "temporarily_unavailable"


def test_fault_can_name_a_code(emulator):
    emulator.add_fault("status", server="entra", status=400, aadsts=50196)
    body = post(emulator, secret_form()).json()
    assert body["error_codes"] == [50196] and body["error"] == "invalid_grant"
    emulator.add_fault("status", server="entra", status=400, aadsts=123456)
    assert post(emulator, secret_form()).json()["error_codes"] == [123456]


def test_code_is_for_entra_only(emulator):
    answer = emulator.ask_control(
        "POST", "/v1/faults", json={"action": "status", "status": 400, "aadsts": 50196}
    )
    assert answer.status_code == 400 and "entra only" in answer.json()["error"]


def test_fault_is_for_its_server(emulator):
    emulator.add_fault("status", status=500)
    emulator.add_fault("status", server="imds", status=500)
    token_of(post(emulator, secret_form()))
    assert len(emulator.faults()) == 2


def test_fault_names_a_known_server(emulator):
    body = {"action": "delay", "delay_ms": 1, "server": "control"}
    answer = emulator.ask_control("POST", "/v1/faults", json=body)
    assert answer.status_code == 400
    assert "must be one of sts, entra, imds" in answer.json()["error"]


def test_fault_is_for_its_app(emulator):
    emulator.put_app(OTHER_APP, secrets=[SECRET])
    emulator.add_fault("status", server="entra", status=500, account=OTHER_APP.upper())
    token_of(post(emulator, secret_form()))
    assert post(emulator, secret_form(client_id=OTHER_APP)).status_code == 500
    emulator.delete_app(OTHER_APP)


def test_token_faults_wait_for_a_token(emulator):
    first = token_of(post(emulator, secret_form()))
    emulator.add_fault("same_token", server="entra")
    emulator.add_fault("token", server="entra", lifetime_s=30)
    ask(emulator, f"/{TENANT}/v2.0/.well-known/openid-configuration")
    assert token_of(post(emulator, secret_form())) == first
    body = post(emulator, secret_form()).json()
    assert body["expires_in"] == 30
    assert abs(claims_of(body["access_token"])["exp"] - time.time() - 30) < 5


def test_garbage_and_cut_answers(emulator):
    page = "<html>Sign in to the network</html>"
    emulator.add_fault("status", server="entra", status=200, body=page, content_type="text/html")
    answer = post(emulator, secret_form())
    assert answer.text == page and answer.headers["Content-Type"] == "text/html"
    emulator.add_fault("truncate", server="entra")
    answer = post(emulator, secret_form())
    assert 0 < len(answer.content) < int(answer.headers["Content-Length"])
    emulator.add_fault("reset", server="entra", at="accept")
    with pytest.raises(requests.exceptions.RequestException):
        post(emulator, secret_form())
    token_of(post(emulator, secret_form()))


# ---- the STS and tokens of Entra ---------------------------------------------------------------


def exchange(emulator, bearer, account=ID):
    headers = {
        "Accept": "application/json",
        "Authorization": f"Bearer {bearer}",
        "Accept-Encoding": None,
    }
    with requests.Session() as session:
        session.trust_env = False
        session.verify = emulator.ca_file
        return session.get(f"{emulator.sts}/Accounts/{account}/token", headers=headers, timeout=30)


def entra_token(emulator, scope=STS_SCOPE, tenant=TENANT):
    return token_of(post(emulator, secret_form(scope=scope), tenant))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "scope",
    [
        STS_SCOPE,
        "https://sts.mixedreality.azure.com/.default",
        "https://sts.eastus2.mixedreality.azure.com/.default",
        "{endpoint}/.default",
        "{endpoint}//.default",
    ],
)
def test_sts_takes_a_token_for_it(emulator, scope, version):
    emulator.change_settings(entra_token_version=version)
    answer = exchange(emulator, entra_token(emulator, scope.format(endpoint=emulator.sts)))
    claims = claims_of(answer.json()["AccessToken"])
    assert claims["tid"] == TENANT and claims["aid"] == ID


@pytest.mark.parametrize(
    "scope",
    [
        SCOPE,
        "https://mixedreality.azure.com/.default",
        "https://sts.a.b.mixedreality.azure.com/.default",
        "https://sts.evil-mixedreality.azure.com/.default",
        "https://sts..mixedreality.azure.com/.default",
        "https://sts.mixedreality.azure.com.evil.example/.default",
        "https://sts.mixedreality.azure.com///.default",
    ],
)
def test_sts_refuses_a_token_for_another(emulator, scope):
    answer = exchange(emulator, entra_token(emulator, scope))
    assert answer.status_code == 401 and "audience" in answer.headers["WWW-Authenticate"]


def assert_sts_refuses(answer, status, words):
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_sts_refuses_an_expired_token(emulator):
    emulator.add_fault("token", server="entra", lifetime_s=-1)
    assert_sts_refuses(exchange(emulator, entra_token(emulator)), 401, "expired")


def test_sts_refuses_a_changed_token(emulator):
    head, payload, signature = entra_token(emulator).split(".")
    claims = claims_of(f"{head}.{payload}.")
    changed = f"{head}.{encode({**claims, 'appid': OTHER_APP})}.{signature}"
    assert_sts_refuses(exchange(emulator, changed), 401, "signature")
    assert_sts_refuses(exchange(emulator, "a.b.c"), 401, "no JWT")


def test_sts_refuses_an_own_token(emulator):
    own_token = exchange(emulator, entra_token(emulator)).json()["AccessToken"]
    assert_sts_refuses(exchange(emulator, own_token), 401, "signature")


def test_account_permits_apps(emulator):
    bearer = entra_token(emulator)
    assert_sts_refuses(exchange(emulator, bearer, OTHER_ID), 403, "does not permit")
    assert_sts_refuses(exchange(emulator, bearer, str(uuid.uuid4())), 401, "unknown")
    emulator.put_account(ID, KEY)
    assert exchange(emulator, bearer).status_code == 200, "what is not named stays"
    emulator.put_account(ID, KEY, apps=[emulator.apps()[APP]["object_id"].upper()])
    assert exchange(emulator, bearer).status_code == 200, "by its object identifier"
    emulator.put_account(ID, KEY, apps=[])
    assert_sts_refuses(exchange(emulator, bearer), 403, "does not permit")


def test_account_is_of_a_tenant(emulator):
    emulator.put_tenant(OTHER_TENANT)
    try:
        emulator.put_account(ID, KEY, apps=[APP], tenant=TENANT)
        assert exchange(emulator, entra_token(emulator)).status_code == 200
        bearer = entra_token(emulator, tenant=OTHER_TENANT)
        assert_sts_refuses(exchange(emulator, bearer), 401, "another tenant")
    finally:
        emulator.delete_tenant(OTHER_TENANT)
    assert_sts_refuses(exchange(emulator, bearer), 401, "tenant of the token is unknown")


# ---- registration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, words",
    [
        ({"secret": "x"}, 'an app has no member "secret", only "tenants"'),
        ({"secrets": "x"}, '"secrets" must be an array'),
        ({"secrets": [""]}, "a secret has 0 characters"),
        ({"secrets": [{"secret": "x", "until": 1}]}, 'has no member "until"'),
        ({"secrets": [{"expires_on": 1}]}, '"secret" must be a string'),
        ({"tenants": ["contoso"]}, '"tenants" must be an array of UUIDs'),
        ({"object_id": "x"}, '"object_id" must be a UUID'),
        ({"public": 1}, '"public" must be true or false'),
        ({"certificates": ["x"]}, 'entry 1 of "certificates" is no certificate'),
        ({"federated": [{"issuer": "i", "subject": "s"}]}, 'needs either "public_key" or "jwks"'),
        ({"federated": [{"issuer": "i", "subject": "s", "public_key": "x"}]}, '"public_key" must be'),
        ({"federated": [{"issuer": "i", "subject": "s", "jwks": {"keys": []}}]}, "1 to 8 keys"),
        ({"federated": [{"issuer": "i", "subject": "s", "jwks": {"keys": [{}]}}]}, "key 1 of"),
        ({"federated": [1]}, "must be an object"),
    ],
)
def test_refuses_a_bad_app_and_keeps_the_old(emulator, body, words):
    answer = emulator.ask_control("PUT", f"/v1/apps/{APP}", json=body)
    assert answer.status_code == 400 and words in answer.json()["error"]
    token_of(post(emulator, secret_form()))


def test_apps_are_listed_without_secrets(emulator, own):
    emulator.put_app(APP, secrets=[SECRET, "second"], certificates=[own.pem])
    listed = emulator.apps()[APP]
    assert listed["secrets"] == 2 and listed["certificates"] == [own.thumbprint(S256)]
    assert SECRET not in emulator.ask_control("GET", "/v1/apps").text


def test_app_is_added_replaced_and_deleted(emulator):
    path = f"/v1/apps/{OTHER_APP}"
    assert emulator.ask_control("PUT", path, json={"secrets": ["a"]}).status_code == 201
    before = emulator.apps()[OTHER_APP]["object_id"]
    assert emulator.ask_control("PUT", path, json={"secrets": ["b"]}).status_code == 200
    assert emulator.apps()[OTHER_APP]["object_id"] == before
    answer = post(emulator, secret_form(client_id=OTHER_APP, client_secret="a"))
    assert_refused(emulator, answer, 7000215, "invalid_client", 401)
    token_of(post(emulator, secret_form(client_id=OTHER_APP, client_secret="b")))
    assert emulator.ask_control("DELETE", path).status_code == 200
    assert emulator.ask_control("DELETE", path).status_code == 404


@pytest.mark.parametrize(
    "path, body, words",
    [
        (f"/v1/tenants/{OTHER_TENANT}", {"domain": "no domain"}, "is no domain name"),
        (f"/v1/tenants/{OTHER_TENANT}", {"domain": DOMAIN}, "another tenant's domain"),
        (f"/v1/tenants/{OTHER_TENANT}", {"name": "x"}, 'no member "name"'),
        ("/v1/tenants/contoso", {}, "tenant identifier in the path is not a UUID"),
        ("/v1/apps/contoso", {}, "app identifier in the path is not a UUID"),
        ("/v1/device-codes/X", {"state": "maybe"}, "must be one of approved, declined, expired"),
        (f"/v1/accounts/{ID}", {"keys": ["k"], "apps": ["x"]}, '"apps" must be an array of UUIDs'),
    ],
)
def test_refuses_bad_registrations(emulator, path, body, words):
    answer = emulator.ask_control("PUT", path, json=body)
    assert answer.status_code == 400 and words in answer.json()["error"]


def test_options_register(tmp_path):
    arguments = ["--tenant", f"{OTHER_TENANT}:contoso.example", "--app", f"{APP}:with:colon"]
    with Emulator(tmp_path, arguments=arguments) as own_emulator:
        assert own_emulator.tenants() == [{"id": OTHER_TENANT, "domain": "contoso.example"}]
        form = secret_form(client_secret="with:colon")
        assert claims_of(token_of(post(own_emulator, form, "contoso.example")))["appid"] == APP


def test_log_has_no_secret_and_no_token(emulator):
    token_of(post(emulator, secret_form()))
    post(emulator, secret_form(client_secret="wrong-secret"))
    log = emulator.log()
    assert f"info: entra: POST /{TENANT}/oauth2/v2.0/token: 200\n" in log
    assert ": 401: The client secret is wrong." in log
    assert SECRET not in log and "wrong-secret" not in log and "eyJ" not in log
