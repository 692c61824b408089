#include "credential/assertion.h"

#include "app_scene.h"
#include "certificates.h"

#define AUDIENCE "https://login.example.com/" TENANT "/oauth2/v2.0/token"

static struct certificate *load(EVP_PKEY *key, X509 *own)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *file = make_pem(key, own);
	struct certificate *certificate = certificate_load(file, NULL, &err);
	ck_assert_msg(certificate != NULL, "%s", err.message);
	return certificate;
}

static struct secret *make(const struct certificate *certificate, bool sends_chain)
{
	struct error err = ERROR_INIT;
	const struct assertion_claims claims = {AUDIENCE, CLIENT, TODAY_S, sends_chain};
	struct secret *assertion = assertion_make(certificate, &claims, &err);
	ck_assert_msg(assertion != NULL, "%s", err.message);
	return assertion;
}

static struct certificate *load_any(void)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	struct certificate *certificate = load(key, own);
	X509_free(own);
	EVP_PKEY_free(key);
	return certificate;
}

START_TEST(claims_to_be_the_app_at_the_token_endpoint)
{
	struct certificate *certificate = load_any();
	struct secret *assertion = make(certificate, false);
	struct json_object *claims = part_of(secret_bytes(assertion), 1);
	ck_assert_str_eq(string_of(claims, "aud"), AUDIENCE);
	ck_assert_str_eq(string_of(claims, "iss"), CLIENT);
	ck_assert_str_eq(string_of(claims, "sub"), CLIENT);
	ck_assert_int_eq(json_object_object_length(claims), 7);
	json_object_put(claims);
	secret_free(assertion);
	certificate_free(certificate);
}
END_TEST

START_TEST(is_valid_for_ten_minutes_from_now)
{
	struct certificate *certificate = load_any();
	struct secret *assertion = make(certificate, false);
	struct json_object *claims = part_of(secret_bytes(assertion), 1);
	ck_assert_int_eq(number_of(claims, "nbf"), TODAY_S);
	ck_assert_int_eq(number_of(claims, "iat"), TODAY_S);
	ck_assert_int_eq(number_of(claims, "exp"), TODAY_S + 600);
	json_object_put(claims);
	secret_free(assertion);
	certificate_free(certificate);
}
END_TEST

START_TEST(has_an_identifier_of_its_own)
{
	struct certificate *certificate = load_any();
	char identifiers[2][64];
	for (size_t i = 0; i < 2; i++) {
		struct secret *assertion = make(certificate, false);
		struct json_object *claims = part_of(secret_bytes(assertion), 1);
		snprintf(identifiers[i], sizeof(identifiers[i]), "%s", string_of(claims, "jti"));
		ck_assert(is_uuid(identifiers[i]));
		json_object_put(claims);
		secret_free(assertion);
	}
	ck_assert_str_ne(identifiers[0], identifiers[1]);
	certificate_free(certificate);
}
END_TEST

START_TEST(names_algorithm_and_certificate_by_the_kind_of_key)
{
	EVP_PKEY *keys[] = {make_rsa_key(), make_ec_key("P-384")};
	static const char *const expected[][2] = {{"RS256", "x5t"}, {"ES384", "x5t#S256"}};
	for (size_t i = 0; i < UNIT_COUNT(keys); i++) {
		X509 *own = issue_certificate(keys[i], 0, DAY_S);
		struct certificate *certificate = load(keys[i], own);
		struct secret *assertion = make(certificate, false);
		struct json_object *header = part_of(secret_bytes(assertion), 0);
		ck_assert_str_eq(string_of(header, "typ"), "JWT");
		ck_assert_str_eq(string_of(header, "alg"), expected[i][0]);
		ck_assert_str_eq(
			string_of(header, expected[i][1]), certificate_thumbprint(certificate));
		ck_assert_int_eq(json_object_object_length(header), 3);
		json_object_put(header);
		secret_free(assertion);
		certificate_free(certificate);
		X509_free(own);
		EVP_PKEY_free(keys[i]);
	}
}
END_TEST

START_TEST(sends_the_chain_where_it_is_wanted)
{
	struct certificate *certificate = load_any();
	struct secret *assertion = make(certificate, true);
	struct json_object *header = part_of(secret_bytes(assertion), 0);
	struct json_object *chain = chain_of(certificate);
	struct json_object *sent = NULL;
	ck_assert(json_object_object_get_ex(header, "x5c", &sent));
	ck_assert(json_object_equal(sent, chain));
	json_object_put(chain);
	json_object_put(header);
	secret_free(assertion);
	certificate_free(certificate);
}
END_TEST

/* Whether OpenSSL, which did not flatten anything here, finds the signature good. */
START_TEST(is_signed_over_both_parts)
{
	EVP_PKEY *key = make_rsa_key();
	X509 *own = issue_certificate(key, 0, DAY_S);
	struct certificate *certificate = load(key, own);
	struct secret *assertion = make(certificate, false);
	const char *text = secret_bytes(assertion);
	const char *signature = strrchr(text, '.') + 1;
	unsigned char raw[1024];
	ssize_t len = base64_decode(signature, strlen(signature), raw);
	for (int is_whole = 1; is_whole >= 0; is_whole--) {
		EVP_MD_CTX *context = EVP_MD_CTX_new();
		ck_assert_int_eq(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
		ck_assert_int_eq(
			EVP_DigestVerify(context, raw, (size_t)len, (const unsigned char *)text,
				(size_t)(signature - text - 2 + is_whole)),
			is_whole);
		EVP_MD_CTX_free(context);
	}
	ck_assert_ptr_null(strpbrk(text, "=+/ \n"));
	secret_free(assertion);
	certificate_free(certificate);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

UNIT_MAIN("assertion", claims_to_be_the_app_at_the_token_endpoint,
	is_valid_for_ten_minutes_from_now, has_an_identifier_of_its_own,
	names_algorithm_and_certificate_by_the_kind_of_key, sends_the_chain_where_it_is_wanted,
	is_signed_over_both_parts)
