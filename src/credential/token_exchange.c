/*
 * A pod with a workload identity: a managed identity, asked for by itself, is that one, as with the
 * SDK's ManagedIdentityCredential. In a chain both are there. Source: azure-protocol.md C.1.
 */
#include "credential/managed_identity.h"

#include <stdlib.h>

static bool is_here(const struct identity_environment *environment)
{
	return !identity_is_set(environment->identity_endpoint) && environment->has_federated_token;
}

const struct identity_source identity_token_exchange = {
	.name = "workload identity",
	.variable = "AZURE_FEDERATED_TOKEN_FILE",
	.is_here = is_here,
	.selectors = {[IDENTITY_CLIENT_ID] = "client_id"},
	.refusal = "AZURE_FEDERATED_TOKEN_FILE makes it a workload identity, which has a client_id "
		   "only",
};

struct exchange_call {
	struct credential_call call;
	struct credential_call *inner;
};

static void on_done(void *context, struct access_token *token, const struct error *err)
{
	struct exchange_call *exchange = context;
	if (token != NULL && token->given_by == NULL)
		token->given_by = "workload_identity";
	exchange->call.done(exchange->call.context, token, err);
	free(exchange);
}

struct credential_call *token_exchange_start(struct managed_identity *identity, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct credential *workload = identity->exchanged;
	struct exchange_call *exchange = calloc(1, sizeof(*exchange));
	if (exchange == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	exchange->call = (struct credential_call){&identity->credential, done, context};
	exchange->inner = workload->kind->ask(workload, scope, loop, on_done, exchange, err);
	if (exchange->inner != NULL)
		return &exchange->call;
	free(exchange);
	return NULL;
}

void token_exchange_cancel(struct credential_call *call)
{
	struct exchange_call *exchange = (struct exchange_call *)call;
	exchange->inner->credential->kind->cancel(exchange->inner);
	free(exchange);
}
