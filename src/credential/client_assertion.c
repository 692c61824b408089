/*
 * An assertion that somebody else makes, shown to Entra as that of an app: from a source, looked at
 * before each use, or printed by a command, which is run each time. Source: azure-protocol.md B.2.
 */
#include "credential/assertion_grant.h"
#include "credential/command.h"
#include "credential/credential.h"
#include "credential/entra_app.h"
#include "credential/live_secret.h"

#include <stdlib.h>

static const char source_key[] = "client_assertion";
static const char command_key[] = "client_assertion_command";

struct client_assertion {
	struct credential credential;
	struct entra_app app;
	struct live_secret *source; /* one of the two is NULL */
	struct command *command;
	uint64_t sent_version; /* of the assertion that was sent last */
};

static void client_assertion_close(struct credential *credential)
{
	struct client_assertion *self = (struct client_assertion *)credential;
	live_secret_free(self->source);
	command_close(self->command);
	entra_app_clear(&self->app);
	free(self);
}

static int client_assertion_check(const struct credential_settings *settings, struct error *err)
{
	bool has_source = settings->client_assertion.kind != SECRET_SOURCE_NONE;
	bool has_command = settings->client_assertion_command != NULL;
	char **words = NULL;
	if (has_source && has_command)
		return error_set(err, ERR_CONFIGURATION, "both %s and %s are set; keep one of them",
			source_key, command_key);
	if (!has_source && !has_command)
		return error_set(err, ERR_CONFIGURATION,
			"%s is missing: write %s = file:/PATH, credential:NAME or env:NAME, or %s "
			"= /PROGRAM ARGUMENTS",
			source_key, source_key, command_key);
	if (has_source)
		return 0;
	int result = command_split(settings->client_assertion_command, command_key, &words, err);
	free(words);
	return result;
}

static struct credential *client_assertion_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct client_assertion *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	int result = entra_app_open(&self->app, settings, err);
	if (result == 0 && settings->client_assertion_command != NULL) {
		self->command = command_open(
			settings->client_assertion_command, command_key, settings->run_as, err);
		result = self->command == NULL ? -1 : 0;
	} else if (result == 0) {
		self->source = live_secret_open(&settings->client_assertion, source_key, err);
		result = self->source == NULL ? -1 : 0;
	}
	if (result == 0)
		return &self->credential;
	client_assertion_close(&self->credential);
	return NULL;
}

static void on_output(void *context, struct secret **output, const struct error *err)
{
	struct assertion_grant *grant = context;
	struct error failed = ERROR_INIT;
	grant->pending = NULL;
	if (output == NULL)
		assertion_grant_fail(grant, err);
	else if (assertion_grant_send(grant, *output, &failed) != 0)
		assertion_grant_fail(grant, &failed);
}

static int get(struct assertion_grant *grant, bool is_anew, struct error *err)
{
	struct client_assertion *self = (struct client_assertion *)grant->call.credential;
	uint64_t version = 0;
	if (self->command != NULL) {
		grant->pending = command_start(self->command, grant->loop, on_output, grant, err);
		return grant->pending == NULL ? -1 : 0;
	}
	const struct secret *assertion = live_secret_get(self->source, &version, err);
	if (assertion == NULL)
		return -1;
	if (is_anew && version == self->sent_version)
		return 1;
	self->sent_version = version;
	return assertion_grant_send(grant, assertion, err);
}

static void cancel(struct assertion_grant *grant)
{
	command_cancel(grant->pending);
}

static const struct assertion_origin origin = {.get = get, .cancel = cancel};

static struct credential_call *client_assertion_ask(struct credential *credential,
	const char *scope, struct loop *loop, credential_done_fn done, void *context,
	struct error *err)
{
	struct client_assertion *self = (struct client_assertion *)credential;
	return assertion_grant_start(
		credential, &origin, &self->app, scope, loop, done, context, err);
}

static void client_assertion_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct client_assertion *self = (const struct client_assertion *)credential;
	if (self->source != NULL)
		visit(context, self->source, SECRET_IS_RENEWED);
}

static const char *const keys[] = {
	"!tenant_id", "!client_id", source_key, command_key, "run_as", "authority", NULL};

const struct credential_kind credential_client_assertion = {
	.name = "client_assertion",
	.keys = keys,
	.check = client_assertion_check,
	.open = client_assertion_open,
	.ask = client_assertion_ask,
	.cancel = assertion_grant_cancel,
	.secrets = client_assertion_secrets,
	.close = client_assertion_close,
	.is_shared = true,
};
