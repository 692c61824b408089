#include "credential/managed_identity.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARC_AGENT "/opt/azcmagent/bin/himds"

static const char workload[] = "workload_identity";
static const char *const keys[] = {"client_id", "object_id", "resource_id", NULL};

static int managed_identity_check(const struct credential_settings *settings, struct error *err)
{
	const struct {
		const char *key;
		const char *value;
	} ids[] = {
		{"client_id", settings->client_id},
		{"object_id", settings->object_id},
		{"resource_id", settings->resource_id},
	};
	const char *found = NULL;
	/* In a list, client_id may be another's. */
	for (size_t i = settings->kind_count > 1; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (ids[i].value == NULL)
			continue;
		if (found != NULL)
			return error_set(err, ERR_CONFIGURATION,
				"both %s and %s name a managed identity; leave one of them out",
				found, ids[i].key);
		found = ids[i].key;
	}
	return 0;
}

/* ---- the environment ---------------------------------------------------------------------------
 */

static bool is_set(const char *name)
{
	return identity_is_set(getenv(name));
}

/* A variable with a secret is empty once it was read. */
static bool has_secret(const char *name)
{
	return is_set(name) || secret_source_remembers(name);
}

static struct identity_environment read_environment(const struct credential_settings *settings)
{
	struct identity_environment environment = {
		.identity_endpoint = getenv("IDENTITY_ENDPOINT"),
		.identity_server_thumbprint = getenv("IDENTITY_SERVER_THUMBPRINT"),
		.imds_endpoint = getenv("IMDS_ENDPOINT"),
		.msi_endpoint = getenv("MSI_ENDPOINT"),
		.pod_identity_authority_host = getenv("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
		.default_identity_client_id = getenv("DEFAULT_IDENTITY_CLIENT_ID"),
		.has_identity_header = has_secret("IDENTITY_HEADER"),
		.has_msi_secret = has_secret("MSI_SECRET"),
		.has_arc_agent = access(ARC_AGENT, F_OK) == 0,
	};
	/* A chain has it as a member of its own. */
	environment.has_federated_token =
		!settings->is_in_chain && credential_kind_find(workload) != NULL &&
		is_set("AZURE_AUTHORITY_HOST") && is_set("AZURE_TENANT_ID") &&
		is_set("AZURE_FEDERATED_TOKEN_FILE");
	return environment;
}

/* ---- opening -----------------------------------------------------------------------------------
 */

static int no_memory(struct error *err)
{
	return error_set(err, ERR_NO_MEMORY, "cannot keep a managed identity: out of memory");
}

/* The selector and the identifier that the settings name. */
static const char *find_id(const struct credential_settings *settings,
	const struct identity_source *source, const struct identity_environment *environment,
	enum identity_selector *selector)
{
	const char *const ids[IDENTITY_SELECTOR_COUNT] = {
		[IDENTITY_CLIENT_ID] = settings->client_id,
		[IDENTITY_OBJECT_ID] = settings->object_id,
		[IDENTITY_RESOURCE_ID] = settings->resource_id,
	};
	/* The client's is the last, for it may be there for another credential of a chain. */
	for (*selector = IDENTITY_RESOURCE_ID; *selector > IDENTITY_SYSTEM_ASSIGNED; --*selector)
		if (identity_is_set(ids[*selector]))
			return ids[*selector];
	if (!source->takes_default_identity ||
		!identity_is_set(environment->default_identity_client_id))
		return NULL;
	*selector = IDENTITY_CLIENT_ID;
	return environment->default_identity_client_id;
}

/* The header line with the secret. Returns 0, or -1 with *err. */
static int read_secret(struct managed_identity *identity, struct error *err)
{
	const struct identity_source *source = identity->source;
	const struct secret_source variable = {
		.kind = SECRET_SOURCE_ENVIRONMENT, .name = (char *)source->secret_variable};
	_cleanup_secret_ struct secret *secret = secret_source_read(&variable, err);
	if (secret == NULL)
		return -1;
	const char *bytes = secret_bytes(secret);
	for (size_t i = 0; i < secret_len(secret); i++)
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return error_set(err, ERR_SECRET_SOURCE,
				"%s: the byte at offset %zu has no place in a header",
				source->secret_variable, i);
	identity->secret_offset = strlen(source->secret_header);
	identity->secret_line = secret_new(identity->secret_offset + secret_len(secret));
	if (identity->secret_line == NULL ||
		secret_append_string(identity->secret_line, source->secret_header) != 0 ||
		secret_append_secret(identity->secret_line, secret) != 0)
		return no_memory(err);
	return 0;
}

static bool is_thumbprint(const char *word)
{
	size_t len = strspn(word, "0123456789abcdefABCDEF");
	return len == 40 && word[len] == '\0';
}

/* Whether the source can do what the settings ask of it. Returns 0, or -1 with *err. */
static int check_source(const struct managed_identity *identity,
	const struct identity_environment *environment, struct error *err)
{
	const struct identity_source *source = identity->source;
	if (identity->id != NULL && source->selectors[identity->selector] == NULL)
		return error_set(err, ERR_CONFIGURATION,
			"%s: leave out client_id, object_id and resource_id, and AZURE_CLIENT_ID "
			"where credential = default",
			source->refusal);
	if (identity->endpoint != NULL &&
		identity_source_check_endpoint(source, identity->endpoint, err) != 0)
		return -1;
	if (source->has_thumbprint && !is_thumbprint(environment->identity_server_thumbprint))
		return error_set(err, ERR_CONFIGURATION,
			"IDENTITY_SERVER_THUMBPRINT: found %zu characters, expected SHA-1 as 40 "
			"hexadecimal digits",
			strlen(environment->identity_server_thumbprint));
	return 0;
}

/* A copy, or NULL of NULL. *failed is set when there is no memory. */
static char *copy(const char *string, bool *failed)
{
	char *copied = string == NULL ? NULL : strdup(string);
	*failed = *failed || (string != NULL && copied == NULL);
	return copied;
}

int managed_identity_choose(struct managed_identity *identity,
	const struct credential_settings *settings, const struct identity_environment *environment,
	struct error *err)
{
	_cleanup_text_ struct text endpoint = {0};
	bool failed = false;
	identity->trouble = ERROR_INIT;
	identity->source = identity_source_select(environment, &identity->trouble);
	const struct identity_source *source = identity->source;
	if (source == NULL)
		return 0;
	identity->id = copy(find_id(settings, source, environment, &identity->selector), &failed);
	identity->ca_file = copy(settings->ca_file, &failed);
	if (source->has_thumbprint)
		identity->thumbprint = copy(environment->identity_server_thumbprint, &failed);
	if (source->put_endpoint != NULL) {
		source->put_endpoint(environment, &endpoint);
		identity->endpoint = copy(text_string(&endpoint), &failed);
		failed = failed || identity->endpoint == NULL;
	}
	if (failed)
		return no_memory(err);
	if (check_source(identity, environment, &identity->trouble) != 0)
		return 0;
	if (identity->endpoint != NULL) {
		const char *host = strstr(identity->endpoint, "://") + 3;
		identity->origin = strndup(identity->endpoint,
			(size_t)(host - identity->endpoint) + strcspn(host, "/?"));
		if (identity->origin == NULL)
			return no_memory(err);
	}
	identity->is_probed = source->is_probed && settings->is_in_chain &&
			      !identity_is_set(environment->pod_identity_authority_host);
	struct error trouble = ERROR_INIT;
	if (source->secret_variable == NULL || read_secret(identity, &trouble) == 0)
		return 0;
	identity->trouble = trouble;
	return trouble.code == ERR_NO_MEMORY ? no_memory(err) : 0;
}

static void managed_identity_close(struct credential *credential)
{
	struct managed_identity *self = (struct managed_identity *)credential;
	credential_close(self->exchanged);
	secret_free(self->secret_line);
	free(self->endpoint);
	free(self->origin);
	free(self->id);
	free(self->ca_file);
	free(self->thumbprint);
	free(self);
}

static struct credential *managed_identity_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct managed_identity *self = calloc(1, sizeof(*self));
	if (self == NULL) {
		no_memory(err);
		return NULL;
	}
	struct identity_environment environment = read_environment(settings);
	int result = managed_identity_choose(self, settings, &environment, err);
	/* A host may give the same secret by an older name too. */
	secret_source_wipe_environment("IDENTITY_HEADER");
	secret_source_wipe_environment("MSI_SECRET");
	if (result == 0 && self->trouble.code == ERR_NONE &&
		self->source == &identity_token_exchange)
		self->exchanged = credential_open_kind(
			credential_kind_find(workload), settings, account, &self->trouble);
	if (result == 0)
		return &self->credential;
	managed_identity_close(&self->credential);
	return NULL;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static struct credential_call *managed_identity_ask(struct credential *credential,
	const char *scope, struct loop *loop, credential_done_fn done, void *context,
	struct error *err)
{
	struct managed_identity *self = (struct managed_identity *)credential;
	if (self->exchanged != NULL)
		return token_exchange_start(self, scope, loop, done, context, err);
	return identity_call_start(self, scope, loop, done, context, err);
}

static void managed_identity_cancel(struct credential_call *call)
{
	if (((struct managed_identity *)call->credential)->exchanged != NULL)
		token_exchange_cancel(call);
	else
		identity_call_cancel(call);
}

static void managed_identity_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct managed_identity *self = (const struct managed_identity *)credential;
	if (self->exchanged != NULL)
		credential_visit_secrets(self->exchanged, visit, context);
}

const struct credential_kind credential_managed_identity = {
	.name = "managed_identity",
	.keys = keys,
	.check = managed_identity_check,
	.open = managed_identity_open,
	.ask = managed_identity_ask,
	.cancel = managed_identity_cancel,
	.secrets = managed_identity_secrets,
	.close = managed_identity_close,
	.is_shared = true,
};
