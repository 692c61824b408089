/*
 * The Entra token that a client shows to the STS: azure-protocol.md A.2, A.3.
 */
#ifndef MRTOKEND_EMULATOR_BEARER_H
#define MRTOKEND_EMULATOR_BEARER_H

#include "emulator/emulator.h"

/* Who holds the token. */
struct bearer {
	char tenant_id[UUID_SIZE];
	char client_id[UUID_SIZE];
	char object_id[UUID_SIZE];
};

/* Whether it looks like a JWT, rather than like an account key. */
bool bearer_is_jwt(const char *token);

/*
 * Whether the STS takes the token: issued by the emulated Entra, for the STS, to a tenant that is
 * known, and not expired.
 *
 * host    that the STS was asked at: its audience may be that
 * bearer  set when it is good
 *
 * Returns NULL, or a static sentence on what is wrong.
 */
const char *bearer_check(
	struct emulator *emulator, const char *host, const char *token, struct bearer *bearer);

#endif
