/*
 * An account from the environment alone, for containers: with an account key, or else with what
 * the AZURE_* variables and the platform offer.
 */
#include "config/builder.h"

#include <stdlib.h>

#define VARIABLE_DOMAIN "MIXEDREALITY_ACCOUNT_DOMAIN"
#define VARIABLE_ID "MIXEDREALITY_ACCOUNT_ID"
#define VARIABLE_KEY "MIXEDREALITY_ACCOUNT_KEY"
#define VARIABLE_KEY_FILE "MIXEDREALITY_ACCOUNT_KEY_FILE"

static void set_key(struct builder *builder, struct section *section, const char *name,
	const char *value, const char *variable)
{
	const char *nearest = NULL;
	_cleanup_text_ struct text where = {0};
	text_appendf(&where, "environment variable %s", variable);
	if (text_string(&where) == NULL)
		builder->has_no_memory = true;
	else
		builder_set(builder, section, config_key_find(section->kind, name, &nearest), value,
			where.data);
}

/* What tells that a credential of Microsoft Entra ID is to be found without an account key. */
static const char *const entra_variables[] = {
	"AZURE_TOKEN_CREDENTIALS",
	"AZURE_CLIENT_ID",
	"AZURE_TENANT_ID",
	"AZURE_FEDERATED_TOKEN_FILE",
	"IDENTITY_ENDPOINT",
	"MSI_ENDPOINT",
};

static bool has_entra_variable(void)
{
	for (size_t i = 0; i < sizeof(entra_variables) / sizeof(entra_variables[0]); i++) {
		const char *value = getenv(entra_variables[i]);
		if (value != NULL && value[0] != '\0')
			return true;
	}
	return false;
}

static void set_key_source(struct builder *builder, struct section *section)
{
	const char *key = getenv(VARIABLE_KEY);
	const char *key_file = getenv(VARIABLE_KEY_FILE);
	if (key != NULL && key_file != NULL) {
		builder_problem(builder, "both " VARIABLE_KEY " and " VARIABLE_KEY_FILE
					 " are set; set only one of them");
	} else if (key_file != NULL && key_file[0] != '/') {
		builder_problem(builder, "environment variable " VARIABLE_KEY_FILE
					 ": found no absolute path (and maybe the key, so it is "
					 "not shown), expected one "
					 "such as /run/secrets/anchors-key");
	} else if (key_file != NULL) {
		_cleanup_text_ struct text source = {0};
		text_appendf(&source, "file:%s", key_file);
		if (text_string(&source) == NULL)
			builder->has_no_memory = true;
		else
			set_key(builder, section, "account_key", source.data, VARIABLE_KEY_FILE);
	} else if (key != NULL && key[0] == '\0' && !secret_source_remembers(VARIABLE_KEY)) {
		builder_problem(builder, "environment variable " VARIABLE_KEY " is empty; set it");
	} else if (key != NULL) {
		set_key(builder, section, "account_key", "env:" VARIABLE_KEY, VARIABLE_KEY);
	} else if (has_entra_variable()) {
		set_key(builder, section, "credential", "default", "AZURE_TOKEN_CREDENTIALS");
	} else {
		builder_problem(builder, "neither " VARIABLE_KEY_FILE " nor " VARIABLE_KEY
					 " is set; set one of them, or the AZURE_* variables of a "
					 "credential of Microsoft Entra ID (for a managed identity "
					 "AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential)");
	}
}

static void set_plain(struct builder *builder, struct section *section, const char *name,
	const char *variable, const char *meaning)
{
	const char *value = getenv(variable);
	if (value != NULL)
		set_key(builder, section, name, value, variable);
	else
		builder_problem(builder,
			"environment variable %s is not set; set it to the account's %s", variable,
			meaning);
}

bool builder_read_environment(struct builder *builder)
{
	if (getenv(VARIABLE_DOMAIN) == NULL && getenv(VARIABLE_ID) == NULL &&
		getenv(VARIABLE_KEY) == NULL && getenv(VARIABLE_KEY_FILE) == NULL)
		return false;
	struct section *section =
		builder_section(builder, CONFIG_SECTION_ACCOUNT, "default", CONFIG_ENVIRONMENT);
	if (section == NULL)
		return true;
	text_append(&builder->config->sources,
		"the environment variables MIXEDREALITY_ACCOUNT_* and "
		"AZURE_*\n");
	set_plain(builder, section, "account_domain", VARIABLE_DOMAIN, "domain");
	set_plain(builder, section, "account_id", VARIABLE_ID, "identifier");
	set_key_source(builder, section);
	section->seen = UINT64_MAX; /* what is missing was told above */
	return true;
}
