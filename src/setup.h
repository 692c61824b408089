/*
 * From a checked configuration to the parts that run it: accounts with their credentials, and
 * listeners. Whatever fails here leaves everything as it was. The main thread.
 */
#ifndef MRTOKEND_SETUP_H
#define MRTOKEND_SETUP_H

#include "base/error.h"
#include "config/config.h"
#include "credential/pool.h"
#include "refresher.h"
#include "server/listener.h"
#include "service/systemd.h"
#include "token/account.h"

struct setup_accounts {
	struct account_table *table;
	struct refresher_account *accounts; /* table->count of them */
	struct credential_pool *pool; /* of the credentials that accounts may share */
};

/*
 * Make the accounts, and read the secrets of which they have copies.
 * older  the pool of the configuration in force, whose credentials are used again; or NULL
 *
 * Returns 0, or -1 with *err that names the account and
 * where it is configured.
 */
int setup_accounts_open(const struct config *config, const struct credential_pool *older,
	struct setup_accounts *accounts, struct error *err);

/* For when nobody took them over. */
void setup_accounts_close(struct setup_accounts *accounts);

/*
 * Find or make the listeners of the configuration, in its order.
 *
 * present  those that are served already: one with the same name and path is used again
 * passed   sockets of the service manager; the one with a listener's name is its socket, or the
 *          only one for the only listener
 *
 * Returns the array, of config->listener_count; or NULL with *err, and then what was made is
 * closed.
 */
struct listener **setup_listeners_open(const struct config *config, struct listener *const *present,
	size_t present_count, struct passed_socket *passed, size_t passed_count, struct error *err);

/* Close those of `listeners` that are not among `present`, and free the array. */
void setup_listeners_close(struct listener **listeners, size_t count,
	struct listener *const *present, size_t present_count);

/* Give listeners that were there before the mode and group that the configuration now says. */
void setup_listeners_adjust(const struct config *config, struct listener *const *listeners);

#endif
