/*
 * The secret of an app registration, by the client-credentials grant. Source: azure-protocol.md
 * B.2.
 */
#include "credential/credential.h"
#include "credential/entra_app.h"
#include "credential/live_secret.h"

#include <stdlib.h>

struct client_secret {
	struct credential credential;
	struct entra_app app;
	struct live_secret *secret;
};

struct client_secret_call {
	struct credential_call call;
	struct entra_grant *grant;
};

static void client_secret_close(struct credential *credential)
{
	struct client_secret *self = (struct client_secret *)credential;
	live_secret_free(self->secret);
	entra_app_clear(&self->app);
	free(self);
}

static struct credential *client_secret_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct client_secret *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	if (entra_app_open(&self->app, settings, err) == 0)
		self->secret = live_secret_open(&settings->client_secret, "client_secret", err);
	if (self->secret != NULL)
		return &self->credential;
	client_secret_close(&self->credential);
	return NULL;
}

static void on_done(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error)
{
	struct client_secret_call *call = context;
	(void)error;
	call->call.done(call->call.context, answer == NULL ? NULL : &answer->token, err);
	free(call);
}

static struct credential_call *client_secret_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct client_secret *self = (struct client_secret *)credential;
	const struct secret *secret = live_secret_get(self->secret, NULL, err);
	if (secret == NULL)
		return NULL;
	struct client_secret_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	call->call = (struct credential_call){credential, done, context};
	const struct entra_tenant tenant = entra_app_tenant(&self->app);
	const struct entra_form form = {
		.grant_type = "client_credentials",
		.client_id = self->app.client_id,
		.scope = scope,
		.client_secret = secret,
	};
	call->grant = entra_grant_start(&tenant, &form, loop, on_done, call, err);
	if (call->grant != NULL)
		return &call->call;
	free(call);
	return NULL;
}

static void client_secret_cancel(struct credential_call *credential_call)
{
	struct client_secret_call *call = (struct client_secret_call *)credential_call;
	entra_grant_cancel(call->grant);
	free(call);
}

static void client_secret_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct client_secret *self = (const struct client_secret *)credential;
	visit(context, self->secret, SECRET_IS_ROTATED);
}

static const char *const keys[] = {"!tenant_id", "!client_id", "!client_secret", "authority", NULL};

const struct credential_kind credential_client_secret = {
	.name = "client_secret",
	.keys = keys,
	.open = client_secret_open,
	.ask = client_secret_ask,
	.cancel = client_secret_cancel,
	.secrets = client_secret_secrets,
	.close = client_secret_close,
	.is_shared = true,
};
