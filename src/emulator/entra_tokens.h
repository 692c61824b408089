/*
 * Tokens as Microsoft Entra ID issues them: access tokens of version 1 and 2, identity tokens.
 */
#ifndef MRTOKEND_EMULATOR_ENTRA_TOKENS_H
#define MRTOKEND_EMULATOR_ENTRA_TOKENS_H

#include "emulator/emulator.h"

#define ENTRA_USERNAME_MAX 127

/* A person who signed in. */
struct entra_user {
	char object_id[UUID_SIZE];
	char username[ENTRA_USERNAME_MAX + 1]; /* "" for none: the app acts for itself */
};

/* What was granted to whom. The strings are the caller's. */
struct entra_grant {
	const char *base; /* "https://" and the Host that was asked; of the issuer of version 2 */
	const char *tenant_id;
	const char *client_id;
	const char *object_id; /* of the app or the managed identity */
	const char *resource_id; /* of a managed identity; NULL for others */
	const char *audience;
	const char *scopes; /* a user's permissions; NULL without one */
	const struct entra_user *user; /* NULL without one */
	int version; /* 1 or 2 */
	char authentication; /* '0' none, '1' secret, '2' certificate or assertion */
};

/*
 * Sign an access token that lives `lifetime_s` seconds from now on, or died then.
 * Returns a string to be freed, or NULL with *err: ERR_SYSTEM. Any thread.
 */
char *entra_access_token(struct emulator *emulator, const struct entra_grant *grant,
	int64_t lifetime_s, struct error *err);

/* The same for the identity token of the grant's user; its audience is the client. */
char *entra_id_token(struct emulator *emulator, const struct entra_grant *grant, int64_t lifetime_s,
	struct error *err);

#endif
