/*
 * The identity of a workload: a token that the platform, such as Kubernetes, puts into a file and
 * renews there is shown to Entra as the assertion of an app that trusts its issuer.
 * AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE say which, where the keys do not.
 * Source: azure-protocol.md B.4.
 */
#include "credential/assertion_grant.h"
#include "credential/authority.h"
#include "credential/credential.h"
#include "credential/entra_app.h"
#include "credential/live_secret.h"

#include <stdlib.h>
#include <string.h>

#define VARIABLE_FILE "AZURE_FEDERATED_TOKEN_FILE"
#define VARIABLE_TENANT "AZURE_TENANT_ID"
#define VARIABLE_CLIENT "AZURE_CLIENT_ID"

struct workload_identity {
	struct credential credential;
	struct entra_app app;
	struct live_secret *token; /* NULL: something is missing */
	uint64_t sent_version; /* of the token that was sent last */
	char missing[256]; /* what */
};

static void workload_identity_close(struct credential *credential)
{
	struct workload_identity *self = (struct workload_identity *)credential;
	live_secret_free(self->token);
	entra_app_clear(&self->app);
	free(self);
}

/* The key's value, else the variable's, else NULL, and it is added to what is missing. */
static char *choose(char *configured, const char *key, const char *variable, struct text *missing)
{
	char *value = configured != NULL ? configured : getenv(variable);
	if (value != NULL && value[0] != '\0')
		return value;
	text_appendf(missing, "%s%s (or %s)", missing->len == 0 ? "" : ", ", variable, key);
	return NULL;
}

/* The parts that come from the environment are as good as those that were configured. */
static int check(const struct credential_settings *settings, const char *tenant_id,
	const char *path, struct error *err)
{
	if (settings->tenant_id == NULL && tenant_id_check(tenant_id, err) != 0)
		return error_wrap(err, "environment variable " VARIABLE_TENANT);
	if (path[0] == '/')
		return 0;
	return error_set(err, ERR_CONFIGURATION,
		"environment variable " VARIABLE_FILE ": found '%s', expected an absolute path",
		path);
}

static int fill_in(struct workload_identity *self, const struct credential_settings *settings,
	struct error *err)
{
	_cleanup_text_ struct text missing = {0};
	const char *path = choose(
		settings->federated_token_file, "federated_token_file", VARIABLE_FILE, &missing);
	const struct credential_settings own = {
		.authority = settings->authority,
		.ca_file = settings->ca_file,
		.tenant_id = choose(settings->tenant_id, "tenant_id", VARIABLE_TENANT, &missing),
		.client_id = choose(settings->client_id, "client_id", VARIABLE_CLIENT, &missing),
	};
	if (missing.has_failed)
		return error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
	if (path == NULL || own.tenant_id == NULL || own.client_id == NULL) {
		strncpy(self->missing, missing.data, sizeof(self->missing) - 1);
		return 0;
	}
	if (check(settings, own.tenant_id, path, err) != 0 ||
		entra_app_open(&self->app, &own, err) != 0)
		return -1;
	self->token = live_secret_open_file(path, "federated_token_file", err);
	return self->token == NULL ? -1 : 0;
}

static struct credential *workload_identity_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct workload_identity *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	if (fill_in(self, settings, err) == 0)
		return &self->credential;
	workload_identity_close(&self->credential);
	return NULL;
}

/* A file that is missing or empty ends a chain, as it does in the SDK: the rest is configured. */
static int get(struct assertion_grant *grant, bool is_anew, struct error *err)
{
	struct workload_identity *self = (struct workload_identity *)grant->call.credential;
	uint64_t version = 0;
	const struct secret *token = live_secret_get(self->token, &version, err);
	if (token == NULL)
		return -1;
	if (is_anew && version == self->sent_version)
		return 1;
	self->sent_version = version;
	return assertion_grant_send(grant, token, err);
}

static const struct assertion_origin origin = {.get = get};

static struct credential_call *workload_identity_ask(struct credential *credential,
	const char *scope, struct loop *loop, credential_done_fn done, void *context,
	struct error *err)
{
	struct workload_identity *self = (struct workload_identity *)credential;
	struct error missing = ERROR_INIT;
	if (self->token != NULL)
		return assertion_grant_start(
			credential, &origin, &self->app, scope, loop, done, context, err);
	error_set(&missing, ERR_UNAVAILABLE,
		"the environment describes no workload identity: it lacks %s", self->missing);
	return credential_answer_ready(credential, loop, NULL, &missing, done, context, err);
}

static void workload_identity_cancel(struct credential_call *call)
{
	const struct workload_identity *self = (const struct workload_identity *)call->credential;
	if (self->token != NULL)
		assertion_grant_cancel(call);
	else
		credential_cancel_ready(call);
}

static void workload_identity_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct workload_identity *self = (const struct workload_identity *)credential;
	if (self->token != NULL)
		visit(context, self->token, SECRET_IS_RENEWED);
}

static const char *const keys[] = {
	"tenant_id", "client_id", "federated_token_file", "authority", NULL};

const struct credential_kind credential_workload_identity = {
	.name = "workload_identity",
	.keys = keys,
	.open = workload_identity_open,
	.ask = workload_identity_ask,
	.cancel = workload_identity_cancel,
	.secrets = workload_identity_secrets,
	.close = workload_identity_close,
	.is_shared = true,
};
