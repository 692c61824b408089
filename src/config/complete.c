/*
 * What is implied by the configuration, and what only the whole of it can tell.
 */
#include "config/builder.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET RUNSTATEDIR "/mrtokend/mrtokend.sock"

static void check_required_keys(struct builder *builder, const struct section *section)
{
	char title[SECTION_TITLE_MAX];
	section_title(section, title);
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].section == section->kind && config_keys[i].is_required &&
			(section->seen & (UINT32_C(1) << i)) == 0)
			builder_problem(builder, "%s: %s: '%s' is missing: %s", section->where,
				title, config_keys[i].name, config_keys[i].summary);
}

static void complete_account(struct builder *builder, const struct section *section)
{
	struct config_account *account = &builder->config->accounts[section->index];
	struct error err = ERROR_INIT;
	const char *ca_file = builder->config->ca_file;
	builder_copy(builder, &account->credential.account_key.where,
		section_where(section, "account_key"));
	builder_copy(builder, &account->credential.secondary_account_key.where,
		section_where(section, "secondary_account_key"));
	if (account->credential.kind->check != NULL &&
		account->credential.kind->check(&account->credential, &err) != 0 &&
		strcmp(account->where, CONFIG_ENVIRONMENT) != 0)
		builder_problem(builder, "%s: [account %s]: %s", account->where,
			account->settings.name, err.message);
	if (account->settings.endpoint == NULL && account->settings.account_domain != NULL) {
		_cleanup_text_ struct text endpoint = {0};
		/* azure-protocol.md A.1 */
		text_appendf(&endpoint, "https://sts.%s", account->settings.account_domain);
		account->settings.endpoint = text_steal(&endpoint);
		if (account->settings.endpoint == NULL)
			builder->has_no_memory = true;
	}
	if (ca_file != NULL)
		builder_copy(builder, &account->settings.ca_file, ca_file);
}

/* Two listeners cannot have one socket. */
static void check_path(struct builder *builder, const struct section *section)
{
	const struct config_listener *listeners = builder->config->listeners;
	const char *path = listeners[section->index].path;
	for (size_t i = 0; i < section->index && path != NULL; i++)
		if (listeners[i].path != NULL && strcmp(listeners[i].path, path) == 0)
			builder_problem(builder,
				"%s: [listener %s]: path: found %s, which is the path of [listener "
				"%s] "
				"already; each needs its own",
				section_where(section, "path"), section->name, path,
				listeners[i].name);
}

static void check_default_account(struct builder *builder, const struct section *section)
{
	struct config *config = builder->config;
	if (config->default_account != NULL &&
		!builder_has_section(builder, CONFIG_SECTION_ACCOUNT, config->default_account))
		builder_problem(builder,
			"%s: [daemon]: default_account: found '%s', expected the name of an "
			"[account "
			"NAME]",
			section_where(section, "default_account"), config->default_account);
}

/* A daemon without a listener has one, at the path where clients look. */
static void complete_listeners(struct builder *builder)
{
	if (builder->config->listener_count > 0)
		return;
	struct section *section =
		builder_section(builder, CONFIG_SECTION_LISTENER, "main", "the built-in listener");
	const char *nearest = NULL;
	if (section != NULL)
		builder_set(builder, section,
			config_key_find(CONFIG_SECTION_LISTENER, "path", &nearest), DEFAULT_SOCKET,
			section->where);
}

void builder_complete(struct builder *builder, const char *path)
{
	struct config *config = builder->config;
	const char *variable = getenv("SSL_CERT_FILE");
	if (config->account_count == 0 && !builder_read_environment(builder))
		builder_problem(builder,
			"%s: no account: write an [account NAME] section, or set "
			"MIXEDREALITY_ACCOUNT_DOMAIN, MIXEDREALITY_ACCOUNT_ID and "
			"MIXEDREALITY_ACCOUNT_KEY_FILE",
			path);
	complete_listeners(builder);
	if (builder->has_no_memory)
		return; /* an account may be there by half */
	if (config->ca_file == NULL && variable != NULL && variable[0] == '/')
		builder_copy(builder, &config->ca_file, variable);
	if (config->default_account == NULL && config->account_count == 1)
		builder_copy(builder, &config->default_account, config->accounts[0].settings.name);
	for (size_t i = 0; i < builder->section_count; i++) {
		const struct section *section = builder->sections[i];
		check_required_keys(builder, section);
		if (section->kind == CONFIG_SECTION_ACCOUNT)
			complete_account(builder, section);
		else if (section->kind == CONFIG_SECTION_LISTENER)
			check_path(builder, section);
		else
			check_default_account(builder, section);
	}
}
