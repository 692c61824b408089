#include "credential/assertion.h"

#include "base/random.h"
#include "base/text.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct error *err)
{
	return error_set(err, ERR_NO_MEMORY, "cannot make an assertion: out of memory");
}

/* Add the member, which is taken over. Returns 0, or -1 without memory. */
static int add(struct json_object *object, const char *name, struct json_object *value)
{
	if (value != NULL && json_object_object_add(object, name, value) == 0)
		return 0;
	json_object_put(value);
	return -1;
}

static int add_string(struct json_object *object, const char *name, const char *value)
{
	return add(object, name, json_object_new_string(value));
}

/* Append base64url of the JSON. Returns 0, or -1 without memory. */
static int append_part(struct secret *out, struct json_object *object)
{
	const char *json = json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t len = json == NULL ? 0 : strlen(json);
	char *encoded = json == NULL ? NULL : malloc(4 * ((len + 2) / 3) + 1);
	if (encoded == NULL)
		return -1;
	base64url_encode((const unsigned char *)json, len, encoded);
	int result = secret_append_string(out, encoded);
	free(encoded);
	return result;
}

static int append_header(
	struct secret *out, const struct certificate *certificate, bool sends_chain)
{
	struct json_object *header = json_object_new_object();
	int result = header == NULL ? -1 : 0;
	if (result == 0)
		result = add_string(header, "typ", "JWT");
	if (result == 0)
		result = add_string(header, "alg", certificate_algorithm(certificate));
	if (result == 0)
		result = add_string(header, certificate_thumbprint_member(certificate),
			certificate_thumbprint(certificate));
	if (result == 0 && sends_chain)
		result = add(header, "x5c", certificate_chain(certificate));
	if (result == 0)
		result = append_part(out, header);
	json_object_put(header);
	return result;
}

static int append_claims(
	struct secret *out, const struct assertion_claims *claims, const char *identifier)
{
	const struct {
		const char *name;
		const char *string; /* or NULL, and the number counts */
		int64_t number;
	} members[] = {
		{"aud", claims->audience, 0},
		{"iss", claims->client_id, 0},
		{"sub", claims->client_id, 0},
		{"jti", identifier, 0},
		{"nbf", NULL, claims->now_s},
		{"iat", NULL, claims->now_s},
		{"exp", NULL, claims->now_s + ASSERTION_LIFETIME_S},
	};
	struct json_object *payload = json_object_new_object();
	int result = payload == NULL ? -1 : 0;
	for (size_t i = 0; result == 0 && i < sizeof(members) / sizeof(members[0]); i++)
		result = add(payload, members[i].name,
			members[i].string != NULL ? json_object_new_string(members[i].string)
						  : json_object_new_int64(members[i].number));
	if (result == 0)
		result = append_part(out, payload);
	json_object_put(payload);
	return result;
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
