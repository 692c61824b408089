/*
 * What is implied by the configuration, and what only the whole of it can tell.
 */
#include "config/builder.h"

#include <stdlib.h>
#include <string.h>

/*
 * Two slashes: the audience is https://sts.mixedreality.azure.com/ with the slash, which works in
 * all regions. Source: azure-protocol.md A.3.
 */
#define DEFAULT_SCOPE "https://sts.mixedreality.azure.com//.default"

#define DEFAULT_SOCKET RUNSTATEDIR "/mrtokend/mrtokend.sock"

static void check_required_keys(struct builder *builder, const struct section *section)
{
	char title[SECTION_TITLE_MAX];
	section_title(section, title);
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].section == section->kind && config_keys[i].is_required &&
			(section->seen & (UINT64_C(1) << i)) == 0)
			builder_problem(builder, "%s: %s: '%s' is missing: %s", section->where,
				title, config_keys[i].name, config_keys[i].summary);
}

/* Where each source is named, for the errors of whoever reads it. */
static void keep_places(struct builder *builder, const struct section *section)
{
	struct credential_settings *credential =
		&builder->config->accounts[section->index].credential;
	const struct {
		const char *key;
		struct secret_source *source;
	} sources[] = {
		{"account_key", &credential->account_key},
		{"secondary_account_key", &credential->secondary_account_key},
		{"static_token", &credential->static_token},
		{"client_secret", &credential->client_secret},
		{"client_certificate", &credential->client_certificate},
		{"client_certificate_password", &credential->client_certificate_password},
		{"client_assertion", &credential->client_assertion},
		{"refresh_token_key", &credential->refresh_token_key},
	};
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (sources[i].source->kind != SECRET_SOURCE_NONE)
			builder_copy(builder, &sources[i].source->where,
				section_where(section, sources[i].key));
}

static bool asks_for_scope(const struct config_account *account)
{
	for (size_t i = 0; i < account->credential.kind_count; i++)
		if (!account->credential.kinds[i]->ignores_scope)
			return true;
	return false;
}

/* Whether one of the lists has the key. *is_needed: whether one cannot do without. */
static bool is_taken(const struct config_account *account, const char *key, bool *is_needed)
{
	bool is_found = false;
	*is_needed = false;
	if (strcmp(key, "scope") == 0 && !asks_for_scope(account) &&
		account->upstream == &upstream_mixed_reality)
		return false;
	for (size_t list = 0; list <= account->credential.kind_count; list++) {
		const char *const *keys = list == 0 ? account->upstream->keys
						    : account->credential.kinds[list - 1]->keys;
		for (size_t i = 0; keys[i] != NULL; i++) {
			bool needs = keys[i][0] == '!';
			if (strcmp(keys[i] + needs, key) != 0)
				continue;
			is_found = true;
			*is_needed = *is_needed || needs;
		}
	}
	return is_found;
}

/* A key without effect is a mistake of whoever wrote it; one that is missing is another. */
static void check_account_keys(struct builder *builder, const struct section *section)
{
	/* These concern any account. */
	static const char *const common[] = {"kind", "credential", "required", "allow_users",
		"allow_groups", "allow_units", "deny_users", "deny_groups", "deny_units",
		"admin_users", "admin_groups", "admin_units"};
	const struct config_account *account = &builder->config->accounts[section->index];
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		bool is_seen = (section->seen & (UINT64_C(1) << i)) != 0;
		bool is_needed = false;
		bool is_common = key->section != CONFIG_SECTION_ACCOUNT;
		for (size_t j = 0; j < sizeof(common) / sizeof(common[0]); j++)
			is_common = is_common || strcmp(common[j], key->name) == 0;
		if (is_common)
			continue;
		bool has_effect = is_taken(account, key->name, &is_needed);
		if (is_needed && !is_seen)
			builder_problem(builder, "%s: [account %s]: '%s' is missing: %s",
				section->where, section->name, key->name, key->summary);
		else if (is_seen && !has_effect)
			builder_problem(builder,
				"%s: [account %s]: %s: it has no effect with kind = %s and "
				"credential = %s; drop the line",
				section_where(section, key->name), section->name, key->name,
				account->settings.kind, account->settings.credential);
	}
}

/* Returns whether nothing was wrong. */
static bool check_credential(struct builder *builder, const struct section *section)
{
	const struct config_account *account = &builder->config->accounts[section->index];
	const struct credential_settings *credential = &account->credential;
	struct error err = ERROR_INIT;
	int result = account->upstream->check(credential, &err);
	for (size_t i = 0; result == 0 && i < credential->kind_count; i++)
		if (credential->kinds[i]->check != NULL)
			result = credential->kinds[i]->check(credential, &err);
	if (result != 0)
		builder_problem(builder, "%s: [account %s]: %s", section->where, section->name,
			err.message);
	return result == 0;
}

static void complete_account(struct builder *builder, const struct section *section)
{
	struct config_account *account = &builder->config->accounts[section->index];
	const char *ca_file = builder->config->ca_file;
	_cleanup_text_ struct text subject = {0};
	keep_places(builder, section);
	builder_copy(builder, &account->credential.where, account->where);
	/* What a credential lacks is of no matter where it has no place. */
	if (check_credential(builder, section) && strcmp(account->where, CONFIG_ENVIRONMENT) != 0)
		check_account_keys(builder, section);
	if (ca_file != NULL) {
		builder_copy(builder, &account->settings.ca_file, ca_file);
		builder_copy(builder, &account->credential.ca_file, ca_file);
	}
	credential_settings_subject(&account->credential, &subject);
	if (text_string(&subject) != NULL)
		builder_copy(builder, &account->settings.subject, subject.data);
	else
		builder->has_no_memory = true;
	if (account->upstream != &upstream_mixed_reality)
		return;
	if (account->settings.scope == NULL && asks_for_scope(account))
		builder_copy(builder, &account->settings.scope, DEFAULT_SCOPE);
	if (account->settings.endpoint == NULL && account->settings.account_domain != NULL) {
		_cleanup_text_ struct text endpoint = {0};
		/* azure-protocol.md A.1 */
		text_appendf(&endpoint, "https://sts.%s", account->settings.account_domain);
		account->settings.endpoint = text_steal(&endpoint);
		if (account->settings.endpoint == NULL)
			builder->has_no_memory = true;
	}
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
