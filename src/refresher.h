/*
 * The background thread that keeps every account's token fresh. It owns the network and the
 * credentials; it alone writes to the registry. Others hand it a configuration and read what it
 * publishes.
 */
#ifndef MRTOKEND_REFRESHER_H
#define MRTOKEND_REFRESHER_H

#include "base/answer_wait.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heartbeat.h"
#include "credential/credential.h"
#include "token/account.h"
#include "upstream/upstream.h"

struct refresher;

struct refresher_options {
	struct registry *registry;
	const struct answer_maker *answer_maker;
	const struct clock *clock;
	/* From 0 up to but not including 1; the refresh thread. NULL: random_part(). */
	double (*roll)(void);
	/* Called on the refresh thread after an account's state may have changed. It must not wait.
	 */
	void (*on_change)(void *context);
	void *context;
	/* What whoever waits in refresher_adopt() does meanwhile. */
	struct meanwhile meanwhile;
};

/* A configuration for the refresher: a table, and for each of its accounts, in its order: */
struct refresher_account {
	struct credential *credential;
	const struct upstream *upstream;
};

/*
 * Start the thread; it has no accounts yet. *options is copied, what it points to is not.
 * Returns NULL with *err.
 */
struct refresher *refresher_start(const struct refresher_options *options, struct error *err);

/*
 * Put a configuration in place of the present one, at once for all readers. An account that names
 * the same token as one before (see account_settings_name_same_token()) keeps the token and its
 * schedule; an exchange under way for it is begun again with the new credential. An account that
 * comes with a token of another process (see account_inherit()) keeps that one and its schedule,
 * and is served from the moment that this returns.
 *
 * table     taken over on success
 * accounts  table->count of them; the array and the credentials are taken over on success
 *
 * Returns, when the new configuration is in place, 0; or -1 with *err: ERR_NO_MEMORY, and nothing
 * has changed. Any thread but the refresh thread; one at a time.
 */
int refresher_adopt(struct refresher *refresher, struct account_table *table,
	struct refresher_account *accounts, struct error *err);

/* Whether the thread still goes round. Any thread, until refresher_stop(). */
struct heartbeat *refresher_heartbeat(struct refresher *refresher);

/* End the thread and the exchanges under way, and wipe the credentials. The registry stays as it
 * is. */
void refresher_stop(struct refresher *refresher);

#endif
