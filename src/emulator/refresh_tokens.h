/*
 * The refresh tokens that the emulated Entra gave to users. Any thread; one lock.
 */
#ifndef MRTOKEND_EMULATOR_REFRESH_TOKENS_H
#define MRTOKEND_EMULATOR_REFRESH_TOKENS_H

#include "emulator/entra_tokens.h"

#include <stddef.h>
#include <stdint.h>

struct refresh_tokens;

/* Whom a refresh token is for. */
struct refresh_grant {
	char tenant_id[UUID_SIZE];
	char client_id[UUID_SIZE];
	struct entra_user user;
	int64_t expires_on; /* by the emulator's clock */
};

enum refresh_check {
	REFRESH_GOOD,
	REFRESH_UNKNOWN,
	REFRESH_REVOKED,
	REFRESH_EXPIRED,
};

/* Returns NULL when there is no memory. */
struct refresh_tokens *refresh_tokens_new(void);
void refresh_tokens_free(struct refresh_tokens *tokens);

/* A new token for the grant, to be freed; NULL when there is no memory. */
char *refresh_tokens_issue(struct refresh_tokens *tokens, const struct refresh_grant *grant);

/*
 * Whether the token is good at that time. An old one stays so when a new one is given, as with the
 * service.
 *
 * grant  set when it is
 */
enum refresh_check refresh_tokens_check(struct refresh_tokens *tokens, const char *token,
	int64_t now_s, struct refresh_grant *grant);

/* Revoke them all. Returns how many were good. */
size_t refresh_tokens_revoke(struct refresh_tokens *tokens);

#endif
