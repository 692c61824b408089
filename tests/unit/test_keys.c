#include "config/keys.h"

#include "unit.h"

/* ---- one structure of each section -------------------------------------------------------------
 */

/* A configuration with one listener and one account, as fresh as they come. */
static struct config *make_config(void)
{
	struct config *config = calloc(1, sizeof(*config));
	ck_assert_ptr_nonnull(config);
	config->listeners = calloc(1, sizeof(*config->listeners));
	config->accounts = calloc(1, sizeof(*config->accounts));
	ck_assert(config->listeners != NULL && config->accounts != NULL);
	config->listener_count = 1;
	config->account_count = 1;
	return config;
}

static void *target_in(struct config *config, enum config_section_kind section)
{
	switch (section) {
	case CONFIG_SECTION_LISTENER:
		return config->listeners;
	case CONFIG_SECTION_ACCOUNT:
		return config->accounts;
	default:
		return config;
	}
}

static struct config *make_preset_config(void)
{
	struct config *config = make_config();
	for (int i = 0; i < CONFIG_SECTION_COUNT; i++) {
		enum config_section_kind section = (enum config_section_kind)i;
		ck_assert_int_eq(config_keys_preset(section, target_in(config, section)), 0);
	}
	return config;
}

static const struct config_key *find(enum config_section_kind section, const char *name)
{
	const char *nearest = NULL;
	const struct config_key *key = config_key_find(section, name, &nearest);
	ck_assert_msg(key != NULL, "%s", name);
	return key;
}

static void assert_printed(
	const struct config_key *key, struct config *config, const char *expected)
{
	_cleanup_text_ struct text printed = {0};
	key->print(target_in(config, key->section), &printed);
	ck_assert_msg(strcmp(text_string(&printed), expected) == 0, "%s: found '%s', expected '%s'",
		key->name, text_string(&printed), expected);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

START_TEST(has_a_word_for_each_section)
{
	ck_assert_str_eq(config_sections[CONFIG_SECTION_DAEMON].word, "daemon");
	ck_assert_str_eq(config_sections[CONFIG_SECTION_LISTENER].word, "listener");
	ck_assert_str_eq(config_sections[CONFIG_SECTION_ACCOUNT].word, "account");
	ck_assert(!config_sections[CONFIG_SECTION_DAEMON].has_name);
	ck_assert(config_sections[CONFIG_SECTION_LISTENER].has_name);
	ck_assert(config_sections[CONFIG_SECTION_ACCOUNT].has_name);
	ck_assert_uint_eq(config_sections[CONFIG_SECTION_DAEMON].size, sizeof(struct config));
	ck_assert_uint_eq(
		config_sections[CONFIG_SECTION_LISTENER].size, sizeof(struct config_listener));
	ck_assert_uint_eq(
		config_sections[CONFIG_SECTION_ACCOUNT].size, sizeof(struct config_account));
}
END_TEST

START_TEST(has_all_that_a_key_must_have)
{
	ck_assert_uint_gt(config_key_count, 0);
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		ck_assert_int_lt(key->section, CONFIG_SECTION_COUNT);
		ck_assert_ptr_nonnull(key->name);
		size_t len = strlen(key->name);
		ck_assert_uint_gt(len, 0);
		ck_assert_msg(
			strspn(key->name, "abcdefghijklmnopqrstuvwxyz_") == len, "%s", key->name);
		ck_assert_msg(key->set != NULL && key->print != NULL, "%s", key->name);
		ck_assert_msg(key->summary != NULL && strlen(key->summary) >= 10, "%s", key->name);
		ck_assert_msg(!key->is_required || key->preset == NULL,
			"%s is required and has a preset", key->name);
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(config_keys[j].section != key->section ||
					      strcmp(config_keys[j].name, key->name) != 0,
				"%s stands there twice", key->name);
	}
}
END_TEST

START_TEST(fits_the_bits_that_remember_what_was_seen)
{
	/* The builder has one bit of 64 for each key. */
	ck_assert_uint_le(config_key_count, CONFIG_KEYS_MAX);
	ck_assert_uint_le(CONFIG_KEYS_MAX, 64);
}
END_TEST

START_TEST(prints_nothing_of_what_is_not_set)
{
	struct config *config = make_preset_config();
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].preset == NULL)
			assert_printed(&config_keys[i], config, "");
	config_free(config);
}
END_TEST

START_TEST(prints_each_preset_as_it_stands_in_the_table)
{
	struct config *config = make_preset_config();
	size_t count = 0;
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].preset == NULL)
			continue;
		assert_printed(&config_keys[i], config, config_keys[i].preset);
		count++;
	}
	ck_assert_uint_eq(count, 5);
	ck_assert_int_eq(config->log_level, LOG_LEVEL_INFO);
	ck_assert_uint_eq(config->listeners[0].mode, 0660);
	ck_assert_ptr_eq(config->accounts[0].upstream, &upstream_mixed_reality);
	ck_assert_ptr_eq(config->accounts[0].credential.kinds[0], &credential_account_key);
	ck_assert(config->accounts[0].settings.is_required);
	config_free(config);
}
END_TEST

/* ---- finding -----------------------------------------------------------------------------------
 */

START_TEST(finds_every_key_in_its_own_section_only)
{
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		ck_assert_ptr_eq(find(key->section, key->name), key);
		for (int other = 0; other < CONFIG_SECTION_COUNT; other++) {
			const char *nearest = NULL;
			if (other != (int)key->section)
				ck_assert_ptr_ne(config_key_find((enum config_section_kind)other,
							 key->name, &nearest),
					key);
		}
	}
}
END_TEST

START_TEST(names_the_nearest_key_of_the_section)
{
	static const struct {
		enum config_section_kind section;
		const char *name;
		const char *nearest;
	} cases[] = {
		{CONFIG_SECTION_DAEMON, "loglevel", "log_level"},
		{CONFIG_SECTION_DAEMON, "default_acount", "default_account"},
		{CONFIG_SECTION_DAEMON, "cafile", "ca_file"},
		{CONFIG_SECTION_DAEMON, "path", NULL},
		{CONFIG_SECTION_DAEMON, "", NULL},
		{CONFIG_SECTION_LISTENER, "paht", "path"},
		{CONFIG_SECTION_LISTENER, "mod", "mode"},
		{CONFIG_SECTION_LISTENER, "gruop", "group"},
		{CONFIG_SECTION_LISTENER, "account_id", NULL},
		{CONFIG_SECTION_ACCOUNT, "acount_id", "account_id"},
		{CONFIG_SECTION_ACCOUNT, "account_idd", "account_id"},
		{CONFIG_SECTION_ACCOUNT, "account_kye", "account_key"},
		{CONFIG_SECTION_ACCOUNT, "acount_domian", "account_domain"},
		{CONFIG_SECTION_ACCOUNT, "credentials", "credential"},
		{CONFIG_SECTION_ACCOUNT, "endpiont", "endpoint"},
		{CONFIG_SECTION_ACCOUNT, "require", "required"},
		{CONFIG_SECTION_ACCOUNT, "second_account_key", NULL},
		{CONFIG_SECTION_ACCOUNT, "Account_id", "account_id"},
		{CONFIG_SECTION_ACCOUNT, "tenant", NULL},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		const char *nearest = "untouched";
		ck_assert_ptr_null(config_key_find(cases[i].section, cases[i].name, &nearest));
		if (cases[i].nearest == NULL)
			ck_assert_msg(nearest == NULL, "%s: %s", cases[i].name, nearest);
		else
			ck_assert_pstr_eq(nearest, cases[i].nearest);
	}
}
END_TEST

/* ---- values ------------------------------------------------------------------------------------
 */

static const struct {
	enum config_section_kind section;
	const char *name;
	const char *value;
	const char *printed; /* NULL: as it was set */
} good[] = {
	{CONFIG_SECTION_DAEMON, "default_account", "anchors", NULL},
	{CONFIG_SECTION_DAEMON, "ca_file", "/etc/ssl/ca.pem", NULL},
	{CONFIG_SECTION_DAEMON, "log_level", "error", NULL},
	{CONFIG_SECTION_DAEMON, "log_level", "warning", NULL},
	{CONFIG_SECTION_DAEMON, "log_level", "notice", NULL},
	{CONFIG_SECTION_DAEMON, "log_level", "info", NULL},
	{CONFIG_SECTION_DAEMON, "log_level", "debug", NULL},
	{CONFIG_SECTION_LISTENER, "path", "/run/x.sock", NULL},
	{CONFIG_SECTION_LISTENER, "mode", "0600", NULL},
	{CONFIG_SECTION_LISTENER, "mode", "0666", NULL},
	{CONFIG_SECTION_LISTENER, "mode", "0000", NULL},
	{CONFIG_SECTION_LISTENER, "group", "root", NULL},
	{CONFIG_SECTION_ACCOUNT, "kind", "mixed_reality", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_id", "0a1b2c3d-0000-4000-8000-00000000ABCD", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_domain", "mixedreality.azure.com", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_domain", "localhost", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_domain", "127.0.0.1:4443", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_domain", "a:1", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_domain", "a:65535", NULL},
	{CONFIG_SECTION_ACCOUNT, "endpoint", "https://127.0.0.1:4443", NULL},
	{CONFIG_SECTION_ACCOUNT, "endpoint", "https://sts.mixedreality.azure.com", NULL},
	{CONFIG_SECTION_ACCOUNT, "endpoint", "https://a/", "https://a"},
	{CONFIG_SECTION_ACCOUNT, "endpoint", "HTTPS://A:443/", "https://A:443"},
	{CONFIG_SECTION_ACCOUNT, "credential", "account_key", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_key", "credential:anchors-key", NULL},
	{CONFIG_SECTION_ACCOUNT, "account_key", "file:/etc/key", NULL},
	{CONFIG_SECTION_ACCOUNT, "secondary_account_key", "env:KEY", NULL},
	{CONFIG_SECTION_ACCOUNT, "kind", "entra", NULL},
	{CONFIG_SECTION_ACCOUNT, "credential", "default,static_token", "default, static_token"},
	{CONFIG_SECTION_ACCOUNT, "credential", "environment client_secret",
		"environment, client_secret"},
	{CONFIG_SECTION_ACCOUNT, "scope", "https://storage.azure.com/.default", NULL},
	{CONFIG_SECTION_ACCOUNT, "static_token", "file:/run/token", NULL},
	{CONFIG_SECTION_ACCOUNT, "authority", "public", "https://login.microsoftonline.com"},
	{CONFIG_SECTION_ACCOUNT, "authority", "us_government", "https://login.microsoftonline.us"},
	{CONFIG_SECTION_ACCOUNT, "authority", "china", "https://login.chinacloudapi.cn"},
	{CONFIG_SECTION_ACCOUNT, "authority", "login.example:8443/", "https://login.example:8443"},
	{CONFIG_SECTION_ACCOUNT, "tenant_id", "contoso.onmicrosoft.com", NULL},
	{CONFIG_SECTION_ACCOUNT, "client_id", "0a1b2c3d-0000-4000-8000-00000000ABCD", NULL},
	{CONFIG_SECTION_ACCOUNT, "client_secret", "credential:app", NULL},
	{CONFIG_SECTION_ACCOUNT, "client_certificate", "file:/etc/app.pem", NULL},
	{CONFIG_SECTION_ACCOUNT, "client_certificate_password", "env:PASSWORD", NULL},
	{CONFIG_SECTION_ACCOUNT, "send_certificate_chain", "yes", NULL},
	{CONFIG_SECTION_ACCOUNT, "client_assertion", "file:/run/assertion", NULL},
	{CONFIG_SECTION_ACCOUNT, "client_assertion_command", "/bin/make --for app", NULL},
	{CONFIG_SECTION_ACCOUNT, "federated_token_file", "/var/run/token", NULL},
	{CONFIG_SECTION_ACCOUNT, "object_id", "0a1b2c3d-0000-4000-8000-00000000ABCD", NULL},
	{CONFIG_SECTION_ACCOUNT, "resource_id", "/subscriptions/a/b", NULL},
	{CONFIG_SECTION_ACCOUNT, "run_as", "root", NULL},
	{CONFIG_SECTION_ACCOUNT, "refresh_token_file", "/var/lib/login", NULL},
	{CONFIG_SECTION_ACCOUNT, "refresh_token_key", "credential:login-key", NULL},
	{CONFIG_SECTION_ACCOUNT, "required", "no", NULL},
	{CONFIG_SECTION_ACCOUNT, "required", "TRUE", "yes"},
	{CONFIG_SECTION_ACCOUNT, "required", "0", "no"},
	{CONFIG_SECTION_ACCOUNT, "allow_users", "root, 1000", NULL},
	{CONFIG_SECTION_ACCOUNT, "allow_users", "4294967294", NULL},
	{CONFIG_SECTION_ACCOUNT, "allow_groups", "root,7\t8", "root, 7, 8"},
	{CONFIG_SECTION_ACCOUNT, "allow_units", "x.service,y@.service", "x.service, y@.service"},
	{CONFIG_SECTION_ACCOUNT, "allow_units", "a\\x2db@c:d_1.scope", NULL},
	{CONFIG_SECTION_ACCOUNT, "deny_users", "0", NULL},
	{CONFIG_SECTION_ACCOUNT, "deny_groups", "root", NULL},
	{CONFIG_SECTION_ACCOUNT, "deny_units", "user@1000.service", NULL},
	{CONFIG_SECTION_ACCOUNT, "admin_users", "root", NULL},
	{CONFIG_SECTION_ACCOUNT, "admin_groups", "root, daemon", NULL},
	{CONFIG_SECTION_ACCOUNT, "admin_units", "x.socket, x.mount, x.swap", NULL},
};

START_TEST(prints_each_value_so_that_it_can_be_set_again)
{
	struct config *config = make_preset_config();
	for (size_t i = 0; i < UNIT_COUNT(good); i++) {
		const struct config_key *key = find(good[i].section, good[i].name);
		const char *printed = good[i].printed == NULL ? good[i].value : good[i].printed;
		for (int again = 0; again < 2; again++) {
			struct error err = ERROR_INIT;
			const char *value = again ? printed : good[i].value;
			ck_assert_msg(key->set(target_in(config, key->section), value, &err) == 0,
				"%s = %s: %s", key->name, value, err.message);
			assert_printed(key, config, printed);
		}
	}
	config_free(config);
}
END_TEST

START_TEST(has_a_good_value_of_every_key_in_this_test)
{
	for (size_t i = 0; i < config_key_count; i++) {
		bool is_there = false;
		for (size_t j = 0; j < UNIT_COUNT(good); j++)
			is_there =
				is_there || (good[j].section == config_keys[i].section &&
						    strcmp(good[j].name, config_keys[i].name) == 0);
		ck_assert_msg(is_there, "%s", config_keys[i].name);
	}
}
END_TEST

START_TEST(refuses_bad_values_and_keeps_the_good_one)
{
	static char long_path[] = "/23456789012345678901234567890123456789012345678901234567890"
				  "1234567890123456789012345678901234567890123456789";
	static const struct {
		enum config_section_kind section;
		const char *name;
		const char *good;
		const char *bad[16];
		const char *words;
	} cases[] = {
		{CONFIG_SECTION_DAEMON, "ca_file", "/a", {"a", "./a", "~/a", "file:/a"},
			"expected an absolute path, beginning with /"},
		{CONFIG_SECTION_DAEMON, "log_level", "debug",
			{"Info", "INFO", "warn", "7", "err", "debug,info"},
			"expected error, warning, notice, info or debug"},
		{CONFIG_SECTION_LISTENER, "path", "/a", {"a", "@abstract", "run/a"},
			"expected an absolute path, beginning with /"},
		{CONFIG_SECTION_LISTENER, "path", "/a", {long_path},
			"found a path of 109 bytes, expected at most 107"},
		{CONFIG_SECTION_LISTENER, "mode", "0640",
			{"640", "0888", "432", "00660", "066", "0o660", "0x1b0", "-660", "+0660",
				"u=rw", "0668", "01777"},
			"expected an octal mode of four digits with its leading zero, such as "
			"0660"},
		{CONFIG_SECTION_LISTENER, "group", "root", {"no-such-group-of-this-host", "0"},
			"expected a group that exists: create it (groupadd --system "},
		{CONFIG_SECTION_ACCOUNT, "kind", "mixed_reality",
			{"mixed-reality", "Mixed_Reality", "azure"}, "expected mixed_reality"},
		{CONFIG_SECTION_ACCOUNT, "account_id", "0a1b2c3d-0000-4000-8000-00000000abcd",
			{"anchors", "0a1b2c3d0000400080000000000000abcd",
				"{0a1b2c3d-0000-4000-8000-00000000abcd}",
				"0a1b2c3d-0000-4000-8000-00000000abc",
				"0a1b2c3d-0000-4000-8000-00000000abcdd",
				"0a1b2c3g-0000-4000-8000-00000000abcd"},
			"expected the account's identifier as the portal shows it, a UUID"},
		{CONFIG_SECTION_ACCOUNT, "account_domain", "a.b",
			{"https://a.b", "a.b/", "a.b/c", "user@a.b", "a b", ".a.b", "a.b.", "-a.b",
				"a.b:", "a.b:0", "a.b:65536", "a.b:x", "a_b", "a.b?c", "a.b#c",
				"a.b:443:444"},
			"expected a host name such as eastus2.mixedreality.azure.com"},
		{CONFIG_SECTION_ACCOUNT, "endpoint", "https://a.b",
			{"http://a.b", "a.b", "https://", "https:///", "https://a.b//",
				"https://a.b/path", "https://user@a.b", "https://user:pw@a.b",
				"https://a.b?x", "https://a.b:0", "https://a.b:99999", "ftp://a.b",
				" https://a.b", "https://a b", "https:a.b", "https//a.b"},
			"expected https://HOST or https://HOST:PORT, nothing behind it"},
		{CONFIG_SECTION_ACCOUNT, "credential", "account_key",
			{"account-key", "key", "Default", "account_key, key", "x, default"},
			"expected account_key"},
		{CONFIG_SECTION_ACCOUNT, "credential", "account_key",
			{"account_key, account_key", "default,environment default"},
			"twice; keep one of them"},
		{CONFIG_SECTION_ACCOUNT, "scope", "https://a/.default",
			{"two scopes", "a\"b", "a\\b", "a\tb"}, "expected a scope such as"},
		{CONFIG_SECTION_ACCOUNT, "authority", "https://a.b",
			{"http://a.b", "https://a.b/path", "azure cloud", "https://"},
			"expected public, us_government, china, or https://HOST"},
		{CONFIG_SECTION_ACCOUNT, "tenant_id", "a.b", {"a/b", "..", "a b", "a?b", "a%2fb"},
			"expected the tenant's identifier"},
		{CONFIG_SECTION_ACCOUNT, "client_id", "0a1b2c3d-0000-4000-8000-00000000abcd",
			{"app", "0a1b2c3d"}, "expected a UUID"},
		{CONFIG_SECTION_ACCOUNT, "object_id", "0a1b2c3d-0000-4000-8000-00000000abcd",
			{"app"}, "expected a UUID"},
		{CONFIG_SECTION_ACCOUNT, "resource_id", "/subscriptions/a",
			{"subscriptions/a", "/a b", "/a\"b"}, "beginning with /subscriptions/"},
		{CONFIG_SECTION_ACCOUNT, "federated_token_file", "/a", {"a", "file:/a"},
			"expected an absolute path"},
		{CONFIG_SECTION_ACCOUNT, "run_as", "root", {"no-such-user-of-this-host"},
			"expected a user that exists"},
		{CONFIG_SECTION_ACCOUNT, "send_certificate_chain", "yes", {"maybe"},
			"expected yes or no"},
		{CONFIG_SECTION_ACCOUNT, "client_secret", "file:/a", {"c2VjcmV0"},
			"a secret never stands in the configuration itself"},
		{CONFIG_SECTION_ACCOUNT, "account_key", "file:/a",
			{"c2VjcmV0", "key:x", "file:a", "env:a b", "credential:"}, ""},
		{CONFIG_SECTION_ACCOUNT, "secondary_account_key", "file:/a", {"c2VjcmV0"},
			"a secret never stands in the configuration itself"},
		{CONFIG_SECTION_ACCOUNT, "required", "no", {"maybe", "y", "2", "never"},
			"expected yes or no"},
		{CONFIG_SECTION_ACCOUNT, "allow_users", "root",
			{"no-such-user-of-this-host", "root, no-such-user", "-1", "0x0", "*"},
			"expected a user that exists, or a number"},
		{CONFIG_SECTION_ACCOUNT, "deny_users", "root",
			{"4294967295", "4294967296", "root 99999999999999999999"},
			"expected the number of a user, at most 4294967294"},
		{CONFIG_SECTION_ACCOUNT, "admin_groups", "root", {"no-such-group", "root,no-such"},
			"expected a group that exists, or a number"},
		{CONFIG_SECTION_ACCOUNT, "allow_groups", "root", {",", " , "}, "expected a name"},
		{CONFIG_SECTION_ACCOUNT, "deny_units", "x.service",
			{"x", "x.slice", ".service", "@.service", "x.service/y.service",
				"*.service", "x.service, y", "x.services", "x.target",
				"a b.service"},
			"expected the whole name of a unit that runs processes"},
	};
	struct config *config = make_preset_config();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		const struct config_key *key = find(cases[i].section, cases[i].name);
		void *target = target_in(config, key->section);
		ck_assert_int_eq(key->set(target, cases[i].good, NULL), 0);
		for (size_t j = 0; j < 16 && cases[i].bad[j] != NULL; j++) {
			struct error err = ERROR_INIT;
			ck_assert_msg(key->set(target, cases[i].bad[j], &err) == -1, "%s = %s",
				key->name, cases[i].bad[j]);
			ck_assert_int_eq(err.code, ERR_CONFIGURATION);
			ck_assert_msg(strstr(err.message, cases[i].words) != NULL, "%s = %s: %s",
				key->name, cases[i].bad[j], err.message);
			assert_printed(key, config, cases[i].good);
		}
	}
	config_free(config);
}
END_TEST

START_TEST(takes_the_longest_path_that_a_socket_can_have)
{
	char path[109];
	struct config *config = make_preset_config();
	const struct config_key *key = find(CONFIG_SECTION_LISTENER, "path");
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[107] = '\0';
	ck_assert_int_eq(key->set(config->listeners, path, NULL), 0);
	assert_printed(key, config, path);
	path[107] = 'p';
	path[108] = '\0';
	ck_assert_int_eq(key->set(config->listeners, path, NULL), -1);
	config_free(config);
}
END_TEST

START_TEST(takes_the_longest_host_name_that_there_is)
{
	char domain[255];
	struct config *config = make_preset_config();
	const struct config_key *key = find(CONFIG_SECTION_ACCOUNT, "account_domain");
	memset(domain, 'd', sizeof(domain));
	domain[253] = '\0';
	ck_assert_int_eq(key->set(config->accounts, domain, NULL), 0);
	domain[253] = 'd';
	domain[254] = '\0';
	ck_assert_int_eq(key->set(config->accounts, domain, NULL), -1);
	config_free(config);
}
END_TEST

START_TEST(looks_up_the_group)
{
	struct config *config = make_preset_config();
	config->listeners[0].gid = (gid_t)-1;
	const struct config_key *key = find(CONFIG_SECTION_LISTENER, "group");
	ck_assert_int_eq(key->set(config->listeners, "root", NULL), 0);
	ck_assert_uint_eq(config->listeners[0].gid, 0);
	ck_assert_str_eq(config->listeners[0].group, "root");
	config_free(config);
}
END_TEST

static void preset_without_memory(void *config)
{
	unit_exhaust_memory();
	if (config_keys_preset(CONFIG_SECTION_ACCOUNT, ((struct config *)config)->accounts) == 0)
		_exit(1);
}

START_TEST(tells_that_there_is_no_memory_for_presets)
{
	struct config *config = make_config();
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(preset_without_memory, config), 0);
	config_free(config);
}
END_TEST

UNIT_MAIN("keys", has_a_word_for_each_section, has_all_that_a_key_must_have,
	fits_the_bits_that_remember_what_was_seen, prints_nothing_of_what_is_not_set,
	prints_each_preset_as_it_stands_in_the_table, finds_every_key_in_its_own_section_only,
	names_the_nearest_key_of_the_section, prints_each_value_so_that_it_can_be_set_again,
	has_a_good_value_of_every_key_in_this_test, refuses_bad_values_and_keeps_the_good_one,
	takes_the_longest_path_that_a_socket_can_have, takes_the_longest_host_name_that_there_is,
	looks_up_the_group, tells_that_there_is_no_memory_for_presets)
