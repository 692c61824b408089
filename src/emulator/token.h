/*
 * Access tokens as the STS issues them: compact JWTs, signed with RS256.
 * Claims and header: azure-protocol.md A.5; the rule about '-' and '_': A.9.
 */
#ifndef MRTOKEND_EMULATOR_TOKEN_H
#define MRTOKEND_EMULATOR_TOKEN_H

#include "base/error.h"

#include <stdint.h>

struct token_issuer;

/* What a resource service needs to verify a token. The strings are the issuer's. */
struct token_verification {
	const char *kid; /* SHA-1 of the DER form of the public key, in upper-case hexadecimal */
	const char *x5t; /* the same in base64url */
	const char *public_key_pem;
};

/*
 * An issuer with a fresh RSA key of 2,048 bits.
 * Returns NULL with *err: ERR_SYSTEM. Free with token_issuer_free().
 */
struct token_issuer *token_issuer_new(struct error *err);
void token_issuer_free(struct token_issuer *issuer);

/* Any thread. */
struct token_verification token_issuer_verification(const struct token_issuer *issuer);

/*
 * Sign a token for the account, as for a caller that showed an account key (tid is all zeros).
 *
 * account_id  a UUID in any case; in the token it is in lower case
 * issued_on   Unix seconds: nbf and iat
 * lifetime_s  exp - nbf; may be negative
 *
 * Returns a string to be freed, or NULL with *err: ERR_SYSTEM. Any thread. Its payload has neither
 * '-' nor '_', so that the clients which decode it as plain base64 can read it.
 */
char *token_issue(const struct token_issuer *issuer, const char *account_id, int64_t issued_on,
	int64_t lifetime_s, struct error *err);

#endif
