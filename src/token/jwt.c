#include "token/jwt.h"

#include "base/text.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_MEMORY "cannot decode a token: out of memory"
#define LARGEST_EXP ((int64_t)1 << 53)

/* The payload part, decoded. NULL with *err when the token has none. */
static struct secret *decode_payload(const struct secret *token, struct error *err)
{
	const char *text = secret_bytes(token);
	const char *end = text + secret_len(token);
	const char *first_dot = memchr(text, '.', secret_len(token));
	const char *start = first_dot == NULL ? end : first_dot + 1;
	const char *second_dot = memchr(start, '.', (size_t)(end - start));
	if (first_dot == NULL || second_dot == NULL) {
		error_set(err, ERR_UPSTREAM_FORMAT,
			"the token is not a JWT: found %d part(s), expected 3 separated by dots",
			first_dot == NULL ? 1 : 2);
		return NULL;
	}
	size_t len = (size_t)(second_dot - start);
	struct secret *payload = secret_new(3 * len / 4 + 1);
	unsigned char *room = payload == NULL ? NULL : secret_extend(payload, 3 * len / 4 + 1);
	if (room == NULL) {
		secret_free(payload);
		error_set(err, ERR_NO_MEMORY, NO_MEMORY);
		return NULL;
	}
	ssize_t decoded = base64_decode(start, len, room);
	if (decoded <= 0) {
		secret_free(payload);
		error_set(err, ERR_UPSTREAM_FORMAT, "the token is not a JWT: its payload is %s",
			len == 0 ? "empty" : "not base64url");
		return NULL;
	}
	secret_truncate(payload, (size_t)decoded);
	return payload;
}

static int read_exp(const struct json_object *claims, int64_t *expires_on, struct error *err)
{
	struct json_object *exp = NULL;
	int64_t value = 0;
	if (!json_object_object_get_ex(claims, "exp", &exp))
		return error_set(err, ERR_UPSTREAM_FORMAT, "the token has no exp claim");
	if (json_object_is_type(exp, json_type_int)) {
		value = json_object_get_int64(exp);
	} else if (json_object_is_type(exp, json_type_double)) {
		double number = json_object_get_double(exp);
		if (isfinite(number) && number >= 1 && number <= (double)LARGEST_EXP)
			value = (int64_t)number;
	} else if (json_object_is_type(exp, json_type_string)) {
		parse_integer(json_object_get_string(exp), 1, LARGEST_EXP, &value);
	}
	if (value <= 0 || value > LARGEST_EXP)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the token's exp claim is not a time: expected Unix seconds");
	*expires_on = value;
	return 0;
}

int jwt_expiry(const struct secret *token, int64_t *expires_on, struct error *err)
{
	_cleanup_secret_ struct secret *payload = decode_payload(token, err);
	if (payload == NULL)
		return -1;
	struct json_tokener *tokener = json_tokener_new();
	if (tokener == NULL)
		return error_set(err, ERR_NO_MEMORY, NO_MEMORY);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT); /* nothing may follow the object */
	errno = 0; /* json-c does not tell what there was no memory for from what is no JSON */
	struct json_object *claims =
		json_tokener_parse_ex(tokener, secret_bytes(payload), (int)secret_len(payload));
	int result = -1;
	if (json_object_is_type(claims, json_type_object))
		result = read_exp(claims, expires_on, err);
	else if (claims == NULL && errno == ENOMEM)
		error_set(err, ERR_NO_MEMORY, NO_MEMORY);
	else
		error_set(err, ERR_UPSTREAM_FORMAT,
			"the token is not a JWT: its payload is not a JSON object");
	json_object_put(claims);
	json_tokener_free(tokener);
	return result;
}
