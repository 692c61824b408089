#include "config/keys.h"

#include "config/access_keys.h"
#include "credential/authority.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
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

/* A word of a list: *rest is moved behind it. Returns its length, or 0 at the end. */
static size_t next_word(const char **rest, const char **word)
{
	static const char separators[] = ", \t";
	*word = *rest + strspn(*rest, separators);
	size_t len = strcspn(*word, separators);
	*rest = *word + len;
	return len;
}

static int refuse_credential(const char *value, struct error *err)
{
	_cleanup_text_ struct text known = {0};
	for (size_t i = 0; credential_kinds[i] != NULL; i++)
		text_appendf(&known, "%s%s", i == 0 ? "" : ", ", credential_kinds[i]->name);
	return error_set(err, ERR_CONFIGURATION, "found '%s', expected %s; or several, in order",
		value, text_string(&known) == NULL ? "" : text_string(&known));
}

static int set_credential(void *target, const char *value, struct error *err)
{
	struct config_account *account = target;
	const struct credential_kind *kinds[CREDENTIAL_LIST_MAX];
	_cleanup_text_ struct text names = {0};
	const char *rest = value;
	const char *word;
	size_t count = 0;
	size_t len;
	while ((len = next_word(&rest, &word)) > 0) {
		char name[64];
		snprintf(name, sizeof(name), "%.*s", (int)len, word);
		const struct credential_kind *kind = credential_kind_find(name);
		if (kind == NULL || count == CREDENTIAL_LIST_MAX)
			return refuse_credential(value, err);
		for (size_t i = 0; i < count; i++)
			if (kinds[i] == kind)
				return error_set(err, ERR_CONFIGURATION,
					"found %s twice; keep one of them", name);
		kinds[count++] = kind;
		text_appendf(&names, "%s%s", names.len == 0 ? "" : ", ", name);
	}
	if (count == 0)
		return refuse_credential(value, err);
	for (size_t i = 0; i < count; i++)
		account->credential.kinds[i] = kinds[i];
	account->credential.kind_count = count;
	return replace(&account->settings.credential,
		text_string(&names) == NULL ? value : text_string(&names), err);
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

/* Where a secret is. The functions of each such key differ by nothing but the member. */
#define SOURCE_KEY(member)                                                                  \
	static int set_##member(void *target, const char *value, struct error *err)         \
	{                                                                                   \
		return set_source(                                                          \
			&((struct config_account *)target)->credential.member, value, err); \
	}                                                                                   \
	static void print_##member(const void *target, struct text *out)                    \
	{                                                                                   \
		secret_source_describe(                                                     \
			&((const struct config_account *)target)->credential.member, out);  \
	}

SOURCE_KEY(account_key)
SOURCE_KEY(secondary_account_key)
SOURCE_KEY(static_token)
SOURCE_KEY(client_secret)
SOURCE_KEY(client_certificate)
SOURCE_KEY(client_certificate_password)
SOURCE_KEY(client_assertion)
SOURCE_KEY(refresh_token_key)

static int replace_tenant(char **string, const char *value, struct error *err)
{
	return tenant_id_check(value, err) != 0 ? -1 : replace(string, value, err);
}

static int replace_uuid(char **string, const char *value, struct error *err)
{
	if (!is_uuid(value))
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected a UUID such as 00000000-0000-0000-0000-000000000000",
			value);
	return replace(string, value, err);
}

static int replace_resource_id(char **string, const char *value, struct error *err)
{
	if (value[0] != '/' || strpbrk(value, " \t\"\\") != NULL)
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected the identity's resource identifier, beginning with "
			"/subscriptions/",
			value);
	return replace(string, value, err);
}

static int replace_scope(char **string, const char *value, struct error *err)
{
	/* Those of URIs that need no escape in JSON: it stands in answers as it is. */
	if (value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				"-._~:/?#[]@!$&()*+,=%")] != '\0')
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected a scope such as https://storage.azure.com/.default",
			value);
	return replace(string, value, err);
}

static int replace_user(char **string, const char *value, struct error *err)
{
	errno = 0;
	if (getpwnam(value) == NULL)
		return error_set(
			err, ERR_CONFIGURATION, "found '%s', expected a user that exists", value);
	return replace(string, value, err);
}

/* A string, read by `read`; likewise. */
#define STRING_KEY(name, member, read)                                                \
	static int set_##name(void *target, const char *value, struct error *err)     \
	{                                                                             \
		return read(&((struct config_account *)target)->member, value, err);  \
	}                                                                             \
	static void print_##name(const void *target, struct text *out)                \
	{                                                                             \
		const char *string = ((const struct config_account *)target)->member; \
		if (string != NULL)                                                   \
			text_append(out, string);                                     \
	}

STRING_KEY(scope, settings.scope, replace_scope)
STRING_KEY(authority, credential.authority, authority_parse)
STRING_KEY(tenant_id, credential.tenant_id, replace_tenant)
STRING_KEY(client_id, credential.client_id, replace_uuid)
STRING_KEY(client_assertion_command, credential.client_assertion_command, replace)
STRING_KEY(federated_token_file, credential.federated_token_file, replace_path)
STRING_KEY(object_id, credential.object_id, replace_uuid)
STRING_KEY(resource_id, credential.resource_id, replace_resource_id)
STRING_KEY(run_as, credential.run_as, replace_user)
STRING_KEY(refresh_token_file, credential.refresh_token_file, replace_path)

static int set_send_certificate_chain(void *target, const char *value, struct error *err)
{
	if (parse_boolean(value,
		    &((struct config_account *)target)->credential.sends_certificate_chain) != 0)
		return error_set(err, ERR_CONFIGURATION, "found '%s', expected yes or no", value);
	return 0;
}

static void print_send_certificate_chain(const void *target, struct text *out)
{
	if (((const struct config_account *)target)->credential.sends_certificate_chain)
		text_append(out, "yes");
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

/* Who may do what: `read` is of config/access_keys.h; likewise. */
#define ACCESS_KEY(name, member, read)                                                          \
	static int set_##name(void *target, const char *value, struct error *err)               \
	{                                                                                       \
		return read(                                                                    \
			&((struct config_account *)target)->settings.rules.member, value, err); \
	}                                                                                       \
	static void print_##name(const void *target, struct text *out)                          \
	{                                                                                       \
		access_print(                                                                   \
			&((const struct config_account *)target)->settings.rules.member, out);  \
	}

ACCESS_KEY(allow_users, allow.users, access_read_users)
ACCESS_KEY(allow_groups, allow.groups, access_read_groups)
ACCESS_KEY(allow_units, allow.units, access_read_units)
ACCESS_KEY(deny_users, deny.users, access_read_users)
ACCESS_KEY(deny_groups, deny.groups, access_read_groups)
ACCESS_KEY(deny_units, deny.units, access_read_units)
ACCESS_KEY(admin_users, admin.users, access_read_users)
ACCESS_KEY(admin_groups, admin.groups, access_read_groups)
ACCESS_KEY(admin_units, admin.units, access_read_units)

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
	{CONFIG_SECTION_ACCOUNT, "account_id", set_account_id, print_account_id, false, false, NULL,
		"the account's identifier, a UUID"},
	{CONFIG_SECTION_ACCOUNT, "account_domain", set_account_domain, print_account_domain, false,
		true, NULL, "the account's domain, such as eastus2.mixedreality.azure.com"},
	{CONFIG_SECTION_ACCOUNT, "endpoint", set_endpoint, print_endpoint, false, true, NULL,
		"the STS, when it is not https://sts.ACCOUNT_DOMAIN"},
	{CONFIG_SECTION_ACCOUNT, "scope", set_scope, print_scope, false, true, NULL,
		"what an Entra token is asked for, such as https://storage.azure.com/.default"},
	{CONFIG_SECTION_ACCOUNT, "credential", set_credential, print_credential, false, false,
		"account_key", "what is shown to the upstream; several are tried in order"},
	{CONFIG_SECTION_ACCOUNT, "account_key", set_account_key, print_account_key, false, false,
		NULL, "where the account's key is: credential:NAME, file:/PATH or env:NAME"},
	{CONFIG_SECTION_ACCOUNT, "secondary_account_key", set_secondary_account_key,
		print_secondary_account_key, false, false, NULL,
		"where its second key is, which is tried when the STS refuses the first"},
	{CONFIG_SECTION_ACCOUNT, "static_token", set_static_token, print_static_token, false, false,
		NULL, "where a token is that somebody else renews"},
	{CONFIG_SECTION_ACCOUNT, "authority", set_authority, print_authority, false, true, NULL,
		"Microsoft Entra ID: public, us_government, china, or https://HOST"},
	{CONFIG_SECTION_ACCOUNT, "tenant_id", set_tenant_id, print_tenant_id, false, true, NULL,
		"the tenant's identifier or domain"},
	{CONFIG_SECTION_ACCOUNT, "client_id", set_client_id, print_client_id, false, false, NULL,
		"the identifier of the app registration, or of a user-assigned managed identity"},
	{CONFIG_SECTION_ACCOUNT, "client_secret", set_client_secret, print_client_secret, false,
		false, NULL, "where the app's secret is"},
	{CONFIG_SECTION_ACCOUNT, "client_certificate", set_client_certificate,
		print_client_certificate, false, false, NULL,
		"where the app's certificate is, with its key, PEM or PKCS#12"},
	{CONFIG_SECTION_ACCOUNT, "client_certificate_password", set_client_certificate_password,
		print_client_certificate_password, false, false, NULL,
		"where the passphrase of that key is"},
	{CONFIG_SECTION_ACCOUNT, "send_certificate_chain", set_send_certificate_chain,
		print_send_certificate_chain, false, false, NULL,
		"whether the certificate is sent along, for authentication by subject name and "
		"issuer"},
	{CONFIG_SECTION_ACCOUNT, "client_assertion", set_client_assertion, print_client_assertion,
		false, false, NULL, "where an assertion is that stands for the app"},
	{CONFIG_SECTION_ACCOUNT, "client_assertion_command", set_client_assertion_command,
		print_client_assertion_command, false, true, NULL,
		"a program that prints such an assertion, with its arguments"},
	{CONFIG_SECTION_ACCOUNT, "federated_token_file", set_federated_token_file,
		print_federated_token_file, false, true, NULL,
		"the token file of workload identity, when it is not $AZURE_FEDERATED_TOKEN_FILE"},
	{CONFIG_SECTION_ACCOUNT, "object_id", set_object_id, print_object_id, false, false, NULL,
		"the object identifier of a user-assigned managed identity"},
	{CONFIG_SECTION_ACCOUNT, "resource_id", set_resource_id, print_resource_id, false, true,
		NULL, "the resource identifier of a user-assigned managed identity"},
	{CONFIG_SECTION_ACCOUNT, "run_as", set_run_as, print_run_as, false, false, NULL,
		"the user that developer tools and commands run as, when it is not the daemon's"},
	{CONFIG_SECTION_ACCOUNT, "refresh_token_file", set_refresh_token_file,
		print_refresh_token_file, false, true, NULL,
		"where a login is kept over a restart, encrypted"},
	{CONFIG_SECTION_ACCOUNT, "refresh_token_key", set_refresh_token_key,
		print_refresh_token_key, false, false, NULL, "where the key to that file is"},
	{CONFIG_SECTION_ACCOUNT, "required", set_required, print_required, false, false, "yes",
		"whether readiness waits for its token"},
	{CONFIG_SECTION_ACCOUNT, "allow_users", set_allow_users, print_allow_users, false, true,
		NULL, "users who may get the token, by name or number"},
	{CONFIG_SECTION_ACCOUNT, "allow_groups", set_allow_groups, print_allow_groups, false, true,
		NULL, "groups whose members may get the token"},
	{CONFIG_SECTION_ACCOUNT, "allow_units", set_allow_units, print_allow_units, false, true,
		NULL, "systemd units whose processes may get the token"},
	{CONFIG_SECTION_ACCOUNT, "deny_users", set_deny_users, print_deny_users, false, true, NULL,
		"users who may do nothing with the account, whatever allows it"},
	{CONFIG_SECTION_ACCOUNT, "deny_groups", set_deny_groups, print_deny_groups, false, true,
		NULL, "groups whose members may do nothing with it"},
	{CONFIG_SECTION_ACCOUNT, "deny_units", set_deny_units, print_deny_units, false, true, NULL,
		"systemd units whose processes may do nothing with it"},
	{CONFIG_SECTION_ACCOUNT, "admin_users", set_admin_users, print_admin_users, false, true,
		NULL, "users who may have it refreshed and log in to it"},
	{CONFIG_SECTION_ACCOUNT, "admin_groups", set_admin_groups, print_admin_groups, false, true,
		NULL, "groups whose members may"},
	{CONFIG_SECTION_ACCOUNT, "admin_units", set_admin_units, print_admin_units, false, true,
		NULL, "systemd units whose processes may"},
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
