/*
 * Microsoft Entra ID as an upstream: the access token for a scope that the credential gets is what
 * the account serves. Credentials that share settings share the token too: shared_token.h.
 */
#include "credential/shared_token.h"
#include "upstream/upstream.h"

#include <stdlib.h>

struct upstream_exchange {
	struct token_wait *wait;
	upstream_done_fn done;
	void *context;
};

static void on_token(void *context, struct access_token *from, const struct error *err)
{
	struct upstream_exchange *exchange = context;
	struct error copy_err = ERROR_INIT;
	struct upstream_token token = {0};
	if (from != NULL && upstream_token_copy(&token, from, &copy_err) != 0)
		err = &copy_err;
	exchange->done(exchange->context, token.token == NULL ? NULL : &token, err);
	secret_free(token.token);
	free(exchange);
}

static struct upstream_exchange *entra_start(const struct account_settings *account,
	struct credential *credential, struct loop *loop, upstream_done_fn done, void *context)
{
	struct error err = ERROR_INIT;
	struct upstream_exchange *exchange = calloc(1, sizeof(*exchange));
	if (exchange == NULL) {
		error_set(&err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
	} else {
		exchange->done = done;
		exchange->context = context;
		exchange->wait = shared_token_ask(
			credential, account->scope, false, loop, on_token, exchange, &err);
		if (exchange->wait != NULL)
			return exchange;
	}
	done(context, NULL, &err);
	free(exchange);
	return NULL;
}

static void entra_cancel(struct upstream_exchange *exchange)
{
	shared_token_cancel(exchange->wait);
	free(exchange);
}

static int entra_check(const struct credential_settings *credential, struct error *err)
{
	for (size_t i = 0; i < credential->kind_count; i++)
		if (credential->kinds[i] == &credential_account_key)
			return error_set(err, ERR_CONFIGURATION,
				"kind = entra takes no account_key, which the credential is unless "
				"another is set; write credential = managed_identity, "
				"client_certificate, default or another of mrtokend.conf(5)");
	return 0;
}

static const char *const keys[] = {"!scope", NULL};

const struct upstream upstream_entra = {
	.kind = "entra",
	.keys = keys,
	.check = entra_check,
	.start = entra_start,
	.cancel = entra_cancel,
};
