/*
 * Compact JWTs that were received: taken apart, and their signature verified.
 */
#ifndef MRTOKEND_EMULATOR_JWT_H
#define MRTOKEND_EMULATOR_JWT_H

#include <json-c/json.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jwt {
	struct json_object *header;
	struct json_object *payload;
	const char *text; /* the caller's */
	size_t signed_len; /* of the text: what the signature is over */
	unsigned char *signature;
	size_t signature_len;
};

/*
 * Take a JWT apart: three parts of base64url, the first two of them JSON objects. Padding is
 * tolerated, since a real client leaves it in (azure-protocol.md B.3).
 *
 * text  stays the caller's, and alive as long as the jwt
 *
 * Returns whether it is one. jwt_free() is due either way.
 */
bool jwt_parse(struct jwt *jwt, const char *text);
void jwt_free(struct jwt *jwt);
#define _cleanup_jwt_ __attribute__((cleanup(jwt_free)))

/* Whether the header's alg is RS256 or PS256: what Entra takes. */
bool jwt_has_known_algorithm(const struct jwt *jwt);

/* Whether the signature is by that RSA key, with the algorithm of the header. Any thread. */
bool jwt_is_signed_by(const struct jwt *jwt, EVP_PKEY *key);

/* The string member of an object, or NULL when it is missing or no string. */
const char *jwt_string(struct json_object *object, const char *name);

/*
 * A time of the payload. Whole or not, as a number: real clients send both.
 * Returns whether it is there.
 */
bool jwt_time(const struct jwt *jwt, const char *name, int64_t *seconds);

#endif
