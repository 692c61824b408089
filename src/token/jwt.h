/*
 * What the daemon needs to know of an access token in compact JWT form: when it expires.
 * Signature, issuer and audience are for the service that the token is shown to.
 */
#ifndef MRTOKEND_TOKEN_JWT_H
#define MRTOKEND_TOKEN_JWT_H

#include "base/error.h"
#include "base/secret.h"

#include <stdint.h>

/*
 * Decode the expiry of a compact JWT: at least three parts, a payload in base64url or base64,
 * padded or not, that is a JSON object whose `exp` is an integer, a fraction or a decimal string.
 *
 * expires_on  set on success only; Unix seconds, above 0 and at most 2^53
 *
 * Returns 0, or -1 with *err: ERR_UPSTREAM_FORMAT if the token is not such a JWT, ERR_NO_MEMORY.
 * Any thread. Source: azure-protocol.md A.9.
 */
int jwt_expiry(const struct secret *token, int64_t *expires_on, struct error *err);

#endif
