/*
 * Upstreams: the services that tokens come from, each behind this one small interface. All of it
 * belongs to the refresh thread.
 */
#ifndef MRTOKEND_UPSTREAM_UPSTREAM_H
#define MRTOKEND_UPSTREAM_UPSTREAM_H

#include "base/error.h"
#include "base/http_client.h"
#include "base/secret.h"
#include "credential/credential.h"
#include "token/account.h"

#include <stdint.h>

struct upstream_token {
	struct secret *token; /* may be taken: set it to NULL then */
	int64_t expires_on; /* Unix seconds, by the upstream's clock */
	int64_t server_date_s; /* the upstream's Date, or -1 when it told none */
};

/*
 * Called once for each exchange, from within http_client_run() or from start().
 * token  NULL on failure, and then *err says why; it lives until the function returns
 */
typedef void (*upstream_done_fn)(
	void *context, struct upstream_token *token, const struct error *err);

struct upstream_exchange;

struct upstream {
	const char *kind;
	/*
	 * Begin an exchange. All arguments outlive it.
	 * Returns it, valid until `done` is called; NULL when `done` was called already.
	 */
	struct upstream_exchange *(*start)(const struct account_settings *account,
		struct credential *credential, struct http_client *client, upstream_done_fn done,
		void *context);
	/* End it without calling `done`. */
	void (*cancel)(struct upstream_exchange *exchange);
};

extern const struct upstream upstream_mixed_reality;

/* All upstreams, ended by NULL; and the one of that kind, or NULL. */
extern const struct upstream *const upstreams[];
const struct upstream *upstream_find(const char *kind);

#endif
