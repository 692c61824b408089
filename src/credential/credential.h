/*
 * Credentials: what an account shows to the STS to get its token. Each kind is one file with one
 * table of functions; a new kind is one more file, one more line in credential.c and its keys in
 * config/keys.c.
 */
#ifndef MRTOKEND_CREDENTIAL_CREDENTIAL_H
#define MRTOKEND_CREDENTIAL_CREDENTIAL_H

#include "base/error.h"
#include "base/http_client.h"
#include "base/secret.h"
#include "credential/secret_source.h"
#include "token/account.h"

struct credential_kind;

/* What the configuration says. Strings are owned; keys that a kind does not use stay empty. */
struct credential_settings {
	const struct credential_kind *kind;
	struct secret_source account_key;
	struct secret_source secondary_account_key;
};

/* Every kind's own structure begins with this. */
struct credential {
	const struct credential_kind *kind;
};

/*
 * bearer  what stands behind "Bearer " in the Authorization header, valid until the function
 *         returns; NULL on failure, and then *err says why
 */
typedef void (*bearer_done_fn)(void *context, const struct secret *bearer, const struct error *err);

struct credential_kind {
	const char *name;

	/*
	 * Whether the settings are complete and fit together; nothing is opened.
	 * Returns 0, or -1 with *err: ERR_CONFIGURATION.
	 */
	int (*check)(const struct credential_settings *settings, struct error *err);

	/*
	 * Make a credential, with its secrets read. The main thread.
	 * Returns NULL with *err, worded for whoever writes the configuration.
	 */
	struct credential *(*open)(const struct credential_settings *settings,
		const struct account_settings *account, struct error *err);

	/* Call `done` once, at once or later. The refresh thread, like all below. */
	void (*get_bearer)(struct credential *credential, struct http_client *client,
		bearer_done_fn done, void *context);

	/*
	 * The STS said 401 to the bearer of the last get_bearer(), for the `refusals`th time in one
	 * exchange. Returns whether there is another one that is worth trying right now. Optional.
	 */
	bool (*refused)(struct credential *credential, const struct account_settings *account,
		unsigned refusals);

	/* The STS took the bearer of the last get_bearer(). Optional. */
	void (*accepted)(struct credential *credential);

	/* Wipe and free; a get_bearer() under way ends without calling back. Any one thread. */
	void (*close)(struct credential *credential);
};

extern const struct credential_kind credential_account_key;

/* All kinds, in the order in which messages list them, ended by NULL. */
extern const struct credential_kind *const credential_kinds[];

/* The kind of that name, or NULL. */
const struct credential_kind *credential_kind_find(const char *name);

void credential_settings_clear(struct credential_settings *settings);

/* Through the kind's table. NULL is fine. */
void credential_close(struct credential *credential);

#endif
