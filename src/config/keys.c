#include "config/keys.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

const struct config_section config_sections[CONFIG_SECTION_COUNT] = {
	[CONFIG_SECTION_DAEMON] = {"daemon", false, sizeof(struct config)},
	[CONFIG_SECTION_LISTENER] = {"listener", true, sizeof(struct config_listener)},
	[CONFIG_SECTION_ACCOUNT] = {"account", true, sizeof(struct config_account)},
};

static int replace(char **string, const char *value, struct error *err)
{
	char *copy = strdup(value);
	if (copy == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	free(*string);
	*string = copy;
	return 0;
}

static int replace_path(char **string, const char *value, struct error *err)
{
	if (value[0] != '/')
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected an absolute path, beginning with /", value);
	return replace(string, value, err);
}

static bool is_host_and_port(const char *word)
{
	size_t host =
		strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
	int64_t port = 0;
	if (host == 0 || host > 253 || word[0] == '.' || word[0] == '-')
		return false;
	if (word[host] == '\0')
		return word[host - 1] != '.' && word[host - 1] != '-';
	return word[host] == ':' && parse_integer(word + host + 1, 1, 65535, &port) == 0;
}

/* ---- [daemon] ---- */

static int set_default_account(void *target, const char *value, struct error *err)
{
	return replace(&((struct config *)target)->default_account, value, err);
}

static void print_default_account(const void *target, struct text *out)
{
	const struct config *config = target;
	if (config->default_account != NULL)
		text_append(out, config->default_account);
}

static int set_ca_file(void *target, const char *value, struct error *err)
{
	return replace_path(&((struct config *)target)->ca_file, value, err);
}

static void print_ca_file(const void *target, struct text *out)
{
	const struct config *config = target;
	if (config->ca_file != NULL)
		text_append(out, config->ca_file);
}

static int set_log_level(void *target, const char *value, struct error *err)
{
	if (log_parse_level(value, &((struct config *)target)->log_level) != 0)
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected error, warning, notice, info or debug", value);
	return 0;
}

static void print_log_level(const void *target, struct text *out)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
	text_append(out, names[((const struct config *)target)->log_level - LOG_LEVEL_ERROR]);
}

/* ---- [listener NAME] ---- */

static int set_path(void *target, const char *value, struct error *err)
{
	if (strlen(value) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return error_set(err, ERR_CONFIGURATION,
			"found a path of %zu bytes, expected at most %zu, the most that a Unix "
			"socket can have",
			strlen(value), sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
	return replace_path(&((struct config_listener *)target)->path, value, err);
}

static void print_path(const void *target, struct text *out)
{
	const struct config_listener *listener = target;
	if (listener->path != NULL)
		text_append(out, listener->path);
}

static int set_mode(void *target, const char *value, struct error *err)
{
	if (parse_mode(value, &((struct config_listener *)target)->mode) != 0)
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected an octal mode of four digits with its leading zero, "
			"such as "
			"0660",
			value);
	return 0;
}

static void print_mode(const void *target, struct text *out)
{
	text_appendf(out, "%04o", (unsigned)((const struct config_listener *)target)->mode);
}

static int set_group(void *target, const char *value, struct error *err)
{
	struct config_listener *listener = target;
	errno = 0;
	const struct group *group = getgrnam(value);
	if (group == NULL)
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected a group that exists: create it (groupadd --system "
			"%s) or name "
			"another",
			value, value);
	listener->gid = group->gr_gid;
	return replace(&listener->group, value, err);
}

static void print_group(const void *target, struct text *out)
{
	const struct config_listener *listener = target;
	if (listener->group != NULL)
		text_append(out, listener->group);
}

/* ---- [account NAME] ---- */

static int set_kind(void *target, const char *value, struct error *err)
{
	struct config_account *account = target;
	account->upstream = upstream_find(value);
	if (account->upstream == NULL) {
		_cleanup_text_ struct text known = {0};
		for (size_t i = 0; upstreams[i] != NULL; i++)
			text_appendf(&known, "%s%s", i == 0 ? "" : ", ", upstreams[i]->kind);
		return error_set(err, ERR_CONFIGURATION, "found '%s', expected %s", value,
			text_string(&known) == NULL ? "" : text_string(&known));
	}
	return replace(&account->settings.kind, value, err);
}

static void print_kind(const void *target, struct text *out)
{
	text_append(out, ((const struct config_account *)target)->settings.kind);
}

static int set_account_id(void *target, const char *value, struct error *err)
{
	if (!is_uuid(value))
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected the account's identifier as the portal shows it, a "
			"UUID such as "
			"00000000-0000-0000-0000-000000000000",
			value);
	return replace(&((struct config_account *)target)->settings.account_id, value, err);
}

static void print_account_id(const void *target, struct text *out)
{
	const struct config_account *account = target;
	if (account->settings.account_id != NULL)
		text_append(out, account->settings.account_id);
}

static int set_account_domain(void *target, const char *value, struct error *err)
{
	if (!is_host_and_port(value))
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected a host name such as eastus2.mixedreality.azure.com, "
			"without "
			"https:// before it and without a path behind it",
			value);
	return replace(&((struct config_account *)target)->settings.account_domain, value, err);
}

static void print_account_domain(const void *target, struct text *out)
{
	const struct config_account *account = target;
	if (account->settings.account_domain != NULL)
		text_append(out, account->settings.account_domain);
}

static int set_endpoint(void *target, const char *value, struct error *err)
{
	struct config_account *account = target;
	static const char scheme[] = "https://";
	size_t scheme_len = sizeof(scheme) - 1;
	char *trimmed = strdup(value);
	if (trimmed == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	size_t len = strlen(trimmed);
	if (len > scheme_len && trimmed[len - 1] == '/')
		trimmed[len - 1] = '\0';
	if (strncasecmp(trimmed, scheme, scheme_len) != 0 ||
		!is_host_and_port(trimmed + scheme_len)) {
		free(trimmed);
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected https://HOST or https://HOST:PORT, nothing behind it",
			value);
	}
	memcpy(trimmed, scheme, scheme_len);
	free(account->settings.endpoint);
	account->settings.endpoint = trimmed;
	return 0;
}

static void print_endpoint(const void *target, struct text *out)
{
	const struct config_account *account = target;
	if (account->settings.endpoint != NULL)
		text_append(out, account->settings.endpoint);
}

static int set_credential(void *target, const char *value, struct error *err)
{
	struct config_account *account = target;
	const struct credential_kind *kind = credential_kind_find(value);
	if (kind == NULL) {
		_cleanup_text_ struct text known = {0};
		for (size_t i = 0; credential_kinds[i] != NULL; i++)
			text_appendf(&known, "%s%s", i == 0 ? "" : ", ", credential_kinds[i]->name);
		return error_set(err, ERR_CONFIGURATION, "found '%s', expected %s", value,
			text_string(&known) == NULL ? "" : text_string(&known));
	}
	account->credential.kind = kind;
	return replace(&account->settings.credential, value, err);
}

static void print_credential(const void *target, struct text *out)
{
	text_append(out, ((const struct config_account *)target)->settings.credential);
}

static int set_source(struct secret_source *source, const char *value, struct error *err)
{
	struct secret_source read = {0};
	if (secret_source_parse(value, &read, err) != 0)
		return -1;
	secret_source_clear(source);
	*source = read;
	return 0;
}

static int set_account_key(void *target, const char *value, struct error *err)
{
	return set_source(&((struct config_account *)target)->credential.account_key, value, err);
}

static void print_account_key(const void *target, struct text *out)
{
	secret_source_describe(
		&((const struct config_account *)target)->credential.account_key, out);
}

static int set_secondary_account_key(void *target, const char *value, struct error *err)
{
	return set_source(
		&((struct config_account *)target)->credential.secondary_account_key, value, err);
}

static void print_secondary_account_key(const void *target, struct text *out)
{
	secret_source_describe(
		&((const struct config_account *)target)->credential.secondary_account_key, out);
}

static int set_required(void *target, const char *value, struct error *err)
{
	if (parse_boolean(value, &((struct config_account *)target)->settings.is_required) != 0)
		return error_set(err, ERR_CONFIGURATION, "found '%s', expected yes or no", value);
	return 0;
}

static void print_required(const void *target, struct text *out)
{
	text_append(
		out, ((const struct config_account *)target)->settings.is_required ? "yes" : "no");
}

const struct config_key config_keys[] = {
	{CONFIG_SECTION_DAEMON, "default_account", set_default_account, print_default_account,
		false, false, NULL,
		"the account of GET /v1/token; the only one is it without being named"},
	{CONFIG_SECTION_DAEMON, "ca_file", set_ca_file, print_ca_file, false, true, NULL,
		"certificate authorities to trust, PEM; without it $SSL_CERT_FILE, else the "
		"system's"},
	{CONFIG_SECTION_DAEMON, "log_level", set_log_level, print_log_level, false, false, "info",
		"error, warning, notice, info or debug"},

	{CONFIG_SECTION_LISTENER, "path", set_path, print_path, true, true, NULL,
		"the socket's path"},
	{CONFIG_SECTION_LISTENER, "mode", set_mode, print_mode, false, false, "0660",
		"the socket's mode, octal"},
	{CONFIG_SECTION_LISTENER, "group", set_group, print_group, false, false, NULL,
		"the socket's group; without it the daemon's own"},

	{CONFIG_SECTION_ACCOUNT, "kind", set_kind, print_kind, false, false, "mixed_reality",
		"the upstream that gives the token"},
	{CONFIG_SECTION_ACCOUNT, "account_id", set_account_id, print_account_id, true, false, NULL,
		"the account's identifier, a UUID"},
	{CONFIG_SECTION_ACCOUNT, "account_domain", set_account_domain, print_account_domain, true,
		true, NULL, "the account's domain, such as eastus2.mixedreality.azure.com"},
	{CONFIG_SECTION_ACCOUNT, "endpoint", set_endpoint, print_endpoint, false, true, NULL,
		"the STS, when it is not https://sts.ACCOUNT_DOMAIN"},
	{CONFIG_SECTION_ACCOUNT, "credential", set_credential, print_credential, false, false,
		"account_key", "what is shown to the STS"},
	{CONFIG_SECTION_ACCOUNT, "account_key", set_account_key, print_account_key, false, false,
		NULL, "where the account's key is: credential:NAME, file:/PATH or env:NAME"},
	{CONFIG_SECTION_ACCOUNT, "secondary_account_key", set_secondary_account_key,
		print_secondary_account_key, false, false, NULL,
		"where its second key is, which is tried when the STS refuses the first"},
	{CONFIG_SECTION_ACCOUNT, "required", set_required, print_required, false, false, "yes",
		"whether readiness waits for its token"},
};

const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

const struct config_key *config_key_find(
	enum config_section_kind section, const char *name, const char **nearest)
{
	const char *names[sizeof(config_keys) / sizeof(config_keys[0])];
	size_t count = 0;
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].section != section)
			continue;
		if (strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
		names[count++] = config_keys[i].name;
	}
	*nearest = nearest_word(name, names, count);
	return NULL;
}

int config_keys_preset(enum config_section_kind section, void *target)
{
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].section == section && config_keys[i].preset != NULL &&
			config_keys[i].set(target, config_keys[i].preset, NULL) != 0)
			return -1;
	return 0;
}
