/*
 * Access tokens as the STS issues them: compact JWTs, signed with RS256.
 * Claims and header: azure-protocol.md A.5; the rule about '-' and '_': A.9.
 */
#ifndef MRTOKEND_EMULATOR_TOKEN_H
#define MRTOKEND_EMULATOR_TOKEN_H

#include "base/error.h"
#include "emulator/signing_key.h"

#include <stdint.h>

/* The tenant of whoever showed an account key, which belongs to none. */
#define TENANT_NONE "00000000-0000-0000-0000-000000000000"

/*
 * Sign a token for the account.
 *
 * account_id  a UUID in any case; in the token it is in lower case
 * tenant_id   that of the Entra token which was shown, or TENANT_NONE
 * issued_on   Unix seconds: nbf and iat
 * lifetime_s  exp - nbf; may be negative
 *
 * Returns a string to be freed, or NULL with *err: ERR_SYSTEM. Any thread. Its payload has neither
 * '-' nor '_', so that the clients which decode it as plain base64 can read it.
 */
char *token_issue(const struct signing_key *key, const char *account_id, const char *tenant_id,
	int64_t issued_on, int64_t lifetime_s, struct error *err);

#endif
