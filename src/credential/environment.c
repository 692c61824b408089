/*
 * The credential that the AZURE_* variables describe, in the order of EnvironmentCredential: the
 * first set that is complete. Source: azure-protocol.md E.
 */
#include "credential/user_password.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct environment {
	struct credential credential;
	struct credential *inner; /* NULL: no set is complete */
	char missing[400];
};

/* Whether the variable has a value, be it one that was wiped when it was read. */
static bool is_set(const char *name)
{
	const char *value = getenv(name);
	return value != NULL && (value[0] != '\0' || secret_source_remembers(name));
}

/* The sets, in order: the kind that takes them, and what it needs. */
static const struct {
	const char *kind; /* NULL: the one below */
	const char *what_for;
	const char *variables[4];
} sets[] = {
	{"client_secret", "for a secret",
		{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"}},
	{"client_certificate", "for a certificate",
		{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_CERTIFICATE_PATH"}},
	{NULL, "for a user", {"AZURE_CLIENT_ID", USER_NAME_VARIABLE, USER_PASSWORD_VARIABLE}},
};

#define SET_COUNT (sizeof(sets) / sizeof(sets[0]))

static bool is_complete(size_t set)
{
	for (size_t i = 0; sets[set].variables[i] != NULL; i++)
		if (!is_set(sets[set].variables[i]))
			return false;
	return true;
}

static bool is_yes(const char *word)
{
	return word != NULL && (strcmp(word, "1") == 0 || strcasecmp(word, "true") == 0);
}

static struct secret_source variable(const char *name)
{
	if (!is_set(name))
		return (struct secret_source){0};
	return (struct secret_source){SECRET_SOURCE_ENVIRONMENT, (char *)name, NULL};
}

/* Settings that own nothing, made of the variables. */
static struct credential *open_set(size_t set, const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	const struct credential_settings own = {
		.ca_file = settings->ca_file,
		.authority = settings->authority,
		.tenant_id = is_set("AZURE_TENANT_ID") ? getenv("AZURE_TENANT_ID") : NULL,
		.client_id = getenv("AZURE_CLIENT_ID"),
		.client_secret = variable("AZURE_CLIENT_SECRET"),
		.client_certificate = {SECRET_SOURCE_FILE, getenv("AZURE_CLIENT_CERTIFICATE_PATH"),
			(char *)"environment variable AZURE_CLIENT_CERTIFICATE_PATH"},
		.client_certificate_password = variable("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
		.sends_certificate_chain = is_yes(getenv("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")),
	};
	const struct credential_kind *kind = sets[set].kind == NULL
						     ? &credential_user_password
						     : credential_kind_find(sets[set].kind);
	return credential_open_kind(kind, &own, account, err);
}

/* Say what the first set lacks, or that nothing at all is set. */
static void describe_missing(struct environment *self)
{
	_cleanup_text_ struct text words = {0};
	bool is_any_set = false;
	for (size_t set = 0; set < SET_COUNT; set++)
		for (size_t i = 0; sets[set].variables[i] != NULL; i++)
			is_any_set |= is_set(sets[set].variables[i]);
	if (!is_any_set)
		text_append(&words,
			"none of AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and the "
			"like is set");
	for (size_t set = 0; is_any_set && set < SET_COUNT; set++) {
		text_appendf(&words, "%s%s it lacks ", set == 0 ? "" : "; ", sets[set].what_for);
		const char *comma = "";
		for (size_t i = 0; sets[set].variables[i] != NULL; i++) {
			if (is_set(sets[set].variables[i]))
				continue;
			text_appendf(&words, "%s%s", comma, sets[set].variables[i]);
			comma = ", ";
		}
	}
	const char *string = text_string(&words);
	snprintf(self->missing, sizeof(self->missing), "%s", string == NULL ? "" : string);
}

static struct credential *environment_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct environment *self = calloc(1, sizeof(*self));
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	for (size_t set = 0; set < SET_COUNT; set++) {
		if (!is_complete(set))
			continue;
		self->inner = open_set(set, settings, account, err);
		if (self->inner != NULL)
			return &self->credential;
		free(self);
		return NULL;
	}
	describe_missing(self);
	return &self->credential;
}

static struct credential_call *environment_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct environment *self = (struct environment *)credential;
	struct error missing = ERROR_INIT;
	if (self->inner != NULL)
		return self->inner->kind->ask(self->inner, scope, loop, done, context, err);
	error_set(&missing, ERR_UNAVAILABLE, "the environment describes no credential: %s",
		self->missing);
	return credential_answer_ready(credential, loop, NULL, &missing, done, context, err);
}

static void environment_cancel(struct credential_call *call)
{
	/* The inner credential's, or an answer that was ready. */
	if (call->credential->kind == &credential_environment)
		credential_cancel_ready(call);
	else
		call->credential->kind->cancel(call);
}

static void environment_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct environment *self = (const struct environment *)credential;
	if (self->inner != NULL)
		credential_visit_secrets(self->inner, visit, context);
}

static void environment_close(struct credential *credential)
{
	struct environment *self = (struct environment *)credential;
	credential_close(self->inner);
	free(self);
}

static const char *const keys[] = {"authority", NULL};

const struct credential_kind credential_environment = {
	.name = "environment",
	.keys = keys,
	.open = environment_open,
	.ask = environment_ask,
	.cancel = environment_cancel,
	.secrets = environment_secrets,
	.close = environment_close,
	.is_shared = true,
};
