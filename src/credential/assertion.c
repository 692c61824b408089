#include "credential/assertion.h"

#include "base/json_out.h"
#include "base/random.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct error *err)
{
	return error_set(err, ERR_NO_MEMORY, "cannot make an assertion: out of memory");
}

/* Append base64url of the JSON, which is freed. Returns 0, or -1 without memory. */
static int append_part(struct secret *out, struct json_out *part)
{
	const char *json = text_string(&part->text);
	char *encoded = json == NULL ? NULL : malloc(4 * ((part->text.len + 2) / 3) + 1);
	int result = -1;
	if (encoded != NULL) {
		base64url_encode((const unsigned char *)json, part->text.len, encoded);
		result = secret_append_string(out, encoded);
	}
	free(encoded);
	text_free(&part->text);
	return result;
}

static int append_header(
	struct secret *out, const struct certificate *certificate, bool sends_chain)
{
	struct json_out header = {0};
	json_out_begin(&header, NULL, '{');
	json_out_string(&header, "typ", "JWT");
	json_out_string(&header, "alg", certificate_algorithm(certificate));
	json_out_string(&header, certificate_thumbprint_member(certificate),
		certificate_thumbprint(certificate));
	if (sends_chain)
		certificate_put_chain(certificate, "x5c", &header);
	json_out_end(&header, '}');
	return append_part(out, &header);
}

static int append_claims(
	struct secret *out, const struct assertion_claims *claims, const char *identifier)
{
	struct json_out payload = {0};
	json_out_begin(&payload, NULL, '{');
	json_out_string(&payload, "aud", claims->audience);
	json_out_string(&payload, "iss", claims->client_id);
	json_out_string(&payload, "sub", claims->client_id);
	json_out_string(&payload, "jti", identifier);
	json_out_number(&payload, "nbf", true, claims->now_s);
	json_out_number(&payload, "iat", true, claims->now_s);
	json_out_number(&payload, "exp", true, claims->now_s + ASSERTION_LIFETIME_S);
	json_out_end(&payload, '}');
	return append_part(out, &payload);
}

/* Sign what is there by now, and append it. Returns 0, or -1 with *err. */
static int append_signature(
	struct secret *assertion, const struct certificate *certificate, struct error *err)
{
	/* The dot before the signature is no part of what is signed. */
	_cleanup_secret_ struct secret *signature = secret_new(512);
	if (signature == NULL)
		return no_memory(err);
	if (certificate_sign(certificate, assertion, signature, err) != 0)
		return -1;
	if (secret_append_string(assertion, ".") != 0 ||
		secret_append_secret(assertion, signature) != 0)
		return no_memory(err);
	return 0;
}

struct secret *assertion_make(const struct certificate *certificate,
	const struct assertion_claims *claims, struct error *err)
{
	char identifier[RANDOM_UUID_SIZE];
	if (random_uuid(identifier, err) != 0)
		return NULL;
	struct secret *assertion = secret_new(2048);
	if (assertion == NULL || append_header(assertion, certificate, claims->sends_chain) != 0 ||
		secret_append_string(assertion, ".") != 0 ||
		append_claims(assertion, claims, identifier) != 0)
		no_memory(err);
	else if (append_signature(assertion, certificate, err) == 0)
		return assertion;
	secret_free(assertion);
	return NULL;
}
