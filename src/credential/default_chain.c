/*
 * The chain of DefaultAzureCredential: what this host offers, in the SDKs' order, as far as it has
 * a place in a daemon. Source: azure-protocol.md E.
 */
#include "credential/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VARIABLE "AZURE_TOKEN_CREDENTIALS"

/* In order. The class is what the variable calls it; `prod` and `dev` choose a part. */
static const struct {
	const struct credential_kind *kind;
	const char *class_name;
	bool is_for_development;
} rows[] = {
	{&credential_environment, "EnvironmentCredential", false},
	{&credential_workload_identity, "WorkloadIdentityCredential", false},
	{&credential_managed_identity, "ManagedIdentityCredential", false},
	{&credential_azure_cli, "AzureCliCredential", true},
	{&credential_azure_powershell, "AzurePowerShellCredential", true},
	{&credential_azure_developer_cli, "AzureDeveloperCliCredential", true},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* The kinds that the variable chooses. Returns how many, or 0 with *err. */
static size_t choose(const struct credential_kind *kinds[ROW_COUNT], struct error *err)
{
	const char *value = getenv(VARIABLE);
	size_t count = 0;
	char word[64] = "";
	if (value != NULL) {
		value += strspn(value, " \t");
		snprintf(word, sizeof(word), "%s", value);
		for (size_t len = strlen(word); len > 0 && strchr(" \t", word[len - 1]) != NULL;)
			word[--len] = '\0';
	}
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (word[0] == '\0' || strcasecmp(word, rows[i].class_name) == 0 ||
			strcasecmp(word, rows[i].is_for_development ? "dev" : "prod") == 0)
			kinds[count++] = rows[i].kind;
	}
	if (count == 0) {
		error_make_printable(word);
		error_set(err, ERR_CONFIGURATION,
			"environment variable " VARIABLE
			": found '%s', expected prod, dev, EnvironmentCredential, "
			"WorkloadIdentityCredential, ManagedIdentityCredential, "
			"AzureCliCredential, AzurePowerShellCredential or "
			"AzureDeveloperCliCredential",
			word);
	}
	return count;
}

static struct credential *default_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	const struct credential_kind *kinds[ROW_COUNT];
	struct credential_settings own = *settings; /* owns nothing */
	size_t count = choose(kinds, err);
	if (count == 0)
		return NULL;
	/* The variable doubles as the identifier of a user-assigned managed identity. */
	if (own.client_id == NULL)
		own.client_id = getenv("AZURE_CLIENT_ID");
	if (own.client_id != NULL && own.client_id[0] == '\0')
		own.client_id = NULL;
	return chain_open(kinds, count, true, &own, account, err);
}

static const char *const keys[] = {"authority", "client_id", "run_as", NULL};

const struct credential_kind credential_default = {
	.name = "default",
	.keys = keys,
	.open = default_open,
	.ask = chain_ask,
	.cancel = chain_cancel,
	.refused = chain_refused,
	.accepted = chain_accepted,
	.members = chain_members,
	.goes_on = chain_goes_on,
	.close = chain_close,
	.is_shared = true,
};
