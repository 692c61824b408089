/*
 * An RSA key that signs tokens: one of the STS, one of Microsoft Entra ID.
 */
#ifndef MRTOKEND_EMULATOR_SIGNING_KEY_H
#define MRTOKEND_EMULATOR_SIGNING_KEY_H

#include "base/error.h"

#include <json-c/json.h>
#include <openssl/types.h>

/* Does not change once made. The strings are what a resource needs to verify a token. */
struct signing_key {
	EVP_PKEY *key; /* only read once made, which libcrypto allows from many threads */
	char *kid; /* SHA-1 of the DER form of the public key, in upper-case hexadecimal */
	char *x5t; /* the same in base64url */
	char *public_key_pem;
};

/*
 * A fresh RSA key of 2,048 bits.
 * Returns NULL with *err: ERR_SYSTEM. Free with signing_key_free().
 */
struct signing_key *signing_key_new(struct error *err);
void signing_key_free(struct signing_key *key);

/* The public key as a JSON web key, for a key set; to be put. NULL without memory. */
struct json_object *signing_key_jwk(const struct signing_key *key, const char *kid);

/*
 * Sign a compact JWT with RS256.
 *
 * header, payload  JSON, encoded as they are
 *
 * Returns a string to be freed, or NULL with *err: ERR_SYSTEM. Any thread.
 */
char *signing_key_sign(
	const struct signing_key *key, const char *header, const char *payload, struct error *err);

#endif
