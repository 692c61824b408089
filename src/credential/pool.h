/*
 * Credentials by what their settings say, so that accounts with the same settings have one between
 * them, and a reload goes on with what a credential knows. The pool holds none of them: each lives
 * as long as the accounts that it was given to. The main thread.
 */
#ifndef MRTOKEND_CREDENTIAL_POOL_H
#define MRTOKEND_CREDENTIAL_POOL_H

#include "credential/credential.h"

struct credential_pool;

/* Returns NULL when there is no memory. Free with credential_pool_free(). */
struct credential_pool *credential_pool_new(void);

/*
 * The credential for the settings: one of this pool, or of an older one, whose credentials must all
 * be alive still; else a new one. A kind that is not shared is opened anew each time.
 *
 * older  the pool of the configuration in force, or NULL
 *
 * Returns NULL with *err. Give it back with credential_close().
 */
struct credential *credential_pool_get(struct credential_pool *pool,
	const struct credential_pool *older, const struct credential_settings *settings,
	const struct account_settings *account, struct error *err);

/* NULL is fine. */
void credential_pool_free(struct credential_pool *pool);

#endif
