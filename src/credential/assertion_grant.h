/*
 * The client-credentials grant by an assertion, of whichever origin: what the kinds have in common
 * that show one. An assertion that Entra finds outside its validity (AADSTS700024) is got anew
 * once. The refresh thread. Source: azure-protocol.md B.2, B.7.
 */
#ifndef MRTOKEND_CREDENTIAL_ASSERTION_GRANT_H
#define MRTOKEND_CREDENTIAL_ASSERTION_GRANT_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"
#include "credential/credential.h"
#include "credential/entra_app.h"

#include <stdbool.h>

struct assertion_grant;

/* Where a kind has its assertions from. */
struct assertion_origin {
	/*
	 * Get one, and give it to assertion_grant_send(), now or later.
	 * is_anew  Entra found the last one of this grant outside its validity
	 * Returns 0; or 1 when there is no other one than that; or -1 with *err.
	 */
	int (*get)(struct assertion_grant *grant, bool is_anew, struct error *err);

	/* End what get() has under way. Optional, where get() always sends at once. */
	void (*cancel)(struct assertion_grant *grant);

	/* Entra explained why it gave no token, for what is kept of the assertion. Optional. */
	void (*refused)(struct credential *credential);

	/* Say something on a token before it is handed over. Optional. */
	void (*describe)(
		struct credential *credential, struct loop *loop, struct access_token *token);
};

struct assertion_grant {
	struct credential_call call;
	const struct assertion_origin *origin;
	const struct entra_app *app;
	const char *scope;
	struct loop *loop;
	void *pending; /* for get() and cancel(), or NULL */
	struct entra_grant *sent; /* or NULL */
	bool is_renewed; /* it was got anew */
	int64_t server_date_s; /* of the answer that asked for that, Unix seconds; or 0 or less */
};

/* A kind's ask(). `app` lives as long as the credential. */
struct credential_call *assertion_grant_start(struct credential *credential,
	const struct assertion_origin *origin, const struct entra_app *app, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err);

/* Send the assertion, which is copied. Returns 0, or -1 with *err. */
int assertion_grant_send(
	struct assertion_grant *grant, const struct secret *assertion, struct error *err);

/* There is none: say so, and free the grant. Not from within get(). */
void assertion_grant_fail(struct assertion_grant *grant, const struct error *err);

/* A kind's cancel(). */
void assertion_grant_cancel(struct credential_call *call);

#endif
