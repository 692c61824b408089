/*
 * Upstreams: the services that tokens come from, each behind this one small interface. All of it
 * belongs to the refresh thread.
 */
#ifndef MRTOKEND_UPSTREAM_UPSTREAM_H
#define MRTOKEND_UPSTREAM_UPSTREAM_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"
#include "credential/credential.h"
#include "token/account.h"

#include <stdbool.h>
#include <stdint.h>

struct upstream_token {
	struct secret *token; /* may be taken: set it to NULL then */
	int64_t expires_on; /* Unix seconds, by the upstream's clock */
	int64_t server_date_s; /* the upstream's Date, or -1 when it told none */
	int64_t dead_at_ms; /* CLOCK_BOOTTIME, where that is known better than from these; or 0 */
	int64_t refresh_at_ms; /* CLOCK_BOOTTIME, where the upstream told it (refresh_in); or 0 */
	bool is_static; /* there is no other to be had; it is looked for again at refresh_at_ms */
	const char *given_by; /* the kind of the credential, which in a chain is one of several */
	const char *key; /* access_token.key */
	const char *notice; /* what someone should look at although it worked, or "" */
	bool is_notice_told; /* it is in the log already */
	const char *notice_id; /* its MESSAGE_ID, or NULL */
};

/*
 * Called once for each exchange, from within loop_run() or from start().
 * token  NULL on failure, and then *err says why; it lives until the function returns
 */
typedef void (*upstream_done_fn)(
	void *context, struct upstream_token *token, const struct error *err);

struct upstream_exchange;

struct upstream {
	const char *kind;

	/* The keys of an [account] that it takes beside the credential's, as those of a
	 * credential_kind. */
	const char *const *keys;

	/*
	 * Whether the account's credential is of use to it, as far as the settings tell.
	 * Returns 0, or -1 with *err: ERR_CONFIGURATION.
	 */
	int (*check)(const struct credential_settings *credential, struct error *err);

	/*
	 * Begin an exchange. All arguments outlive it.
	 * Returns it, valid until `done` is called; NULL when `done` was called already.
	 */
	struct upstream_exchange *(*start)(const struct account_settings *account,
		struct credential *credential, struct loop *loop, upstream_done_fn done,
		void *context);
	/* End it without calling `done`. */
	void (*cancel)(struct upstream_exchange *exchange);
};

extern const struct upstream upstream_mixed_reality;
extern const struct upstream upstream_entra;

/*
 * Make *token what a credential gave; the secret is copied, for others may have it too.
 * Returns 0, or -1 with *err: ERR_NO_MEMORY, and token->token is NULL.
 */
int upstream_token_copy(
	struct upstream_token *token, const struct access_token *from, struct error *err);

/* All upstreams, ended by NULL; and the one of that kind, or NULL. */
extern const struct upstream *const upstreams[];
const struct upstream *upstream_find(const char *kind);

#endif
