#include "credential/assertion_grant.h"

#include <stdlib.h>

/* The assertion is outside its validity: azure-protocol.md B.7. */
#define AADSTS_ASSERTION_TIME 700024

void assertion_grant_fail(struct assertion_grant *grant, const struct error *err)
{
	grant->call.done(grant->call.context, NULL, err);
	free(grant);
}

static void on_done(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error)
{
	struct assertion_grant *grant = context;
	struct error again = ERROR_INIT;
	int result = 1;
	grant->sent = NULL;
	if (answer != NULL) {
		if (grant->origin->describe != NULL)
			grant->origin->describe(
				grant->call.credential, grant->loop, &answer->token);
		grant->call.done(grant->call.context, &answer->token, NULL);
		free(grant);
		return;
	}
	if (error->error[0] != '\0' && grant->origin->refused != NULL)
		grant->origin->refused(grant->call.credential);
	if (error->code == AADSTS_ASSERTION_TIME && !grant->is_renewed) {
		grant->is_renewed = true;
		grant->server_date_s = error->server_date_s;
		result = grant->origin->get(grant, true, &again);
	}
	if (result != 0)
		assertion_grant_fail(grant, result < 0 ? &again : err);
}

int assertion_grant_send(
	struct assertion_grant *grant, const struct secret *assertion, struct error *err)
{
	const struct entra_tenant tenant = entra_app_tenant(grant->app);
	const struct entra_form form = {
		.grant_type = "client_credentials",
		.client_id = grant->app->client_id,
		.scope = grant->scope,
		.client_assertion = assertion,
	};
	grant->sent = entra_grant_start(&tenant, &form, grant->loop, on_done, grant, err);
	return grant->sent == NULL ? -1 : 0;
}

struct credential_call *assertion_grant_start(struct credential *credential,
	const struct assertion_origin *origin, const struct entra_app *app, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct assertion_grant *grant = calloc(1, sizeof(*grant));
	if (grant == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	*grant = (struct assertion_grant){
		.call = {credential, done, context},
		.origin = origin,
		.app = app,
		.scope = scope,
		.loop = loop,
	};
	if (origin->get(grant, false, err) == 0)
		return &grant->call;
	free(grant);
	return NULL;
}

void assertion_grant_cancel(struct credential_call *call)
{
	struct assertion_grant *grant = (struct assertion_grant *)call;
	if (grant->sent != NULL)
		entra_grant_cancel(grant->sent);
	else
		grant->origin->cancel(grant);
	free(grant);
}
