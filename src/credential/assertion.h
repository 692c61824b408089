/*
 * Assertions: what an app signs by its certificate, and shows to Microsoft Entra ID in the place of
 * a secret. A JWT in the compact form of JWS. Source: azure-protocol.md B.3, RFC 7515, RFC 7523.
 */
#ifndef MRTOKEND_CREDENTIAL_ASSERTION_H
#define MRTOKEND_CREDENTIAL_ASSERTION_H

#include "base/error.h"
#include "base/secret.h"
#include "credential/certificate.h"

#include <stdbool.h>
#include <stdint.h>

/* How long it is good for, and how long it is used: as MSAL has it. */
#define ASSERTION_LIFETIME_S 600
#define ASSERTION_REUSE_S (ASSERTION_LIFETIME_S - 60)

struct assertion_claims {
	const char *audience; /* the token endpoint */
	const char *client_id;
	int64_t now_s; /* Unix seconds */
	bool sends_chain; /* with the certificates, for authentication by subject name and issuer */
};

/*
 * Make a new one. Any one thread.
 * Returns NULL with *err: ERR_NO_MEMORY, ERR_SYSTEM. Free with secret_free().
 */
struct secret *assertion_make(const struct certificate *certificate,
	const struct assertion_claims *claims, struct error *err);

#endif
