#include "credential/run_as.h"

#include "unit.h"

#include <pwd.h>

/* The variable's value, or NULL; there is never more than one. */
static const char *value_of(const struct run_as *run_as, const char *name)
{
	const char *value = NULL;
	for (char **variable = run_as->environment; *variable != NULL; variable++)
		if (strncmp(*variable, name, strlen(name)) == 0 &&
			(*variable)[strlen(name)] == '=') {
			ck_assert_ptr_null(value);
			value = *variable + strlen(name) + 1;
		}
	return value;
}

static void set(const char *name, const char *value)
{
	ck_assert_int_eq(setenv(name, value, 1), 0);
}

static void open_as(struct run_as *run_as, const char *name, const char *const *additions)
{
	struct error err = ERROR_INIT;
	int result = run_as_open(run_as, name, additions, &err);
	ck_assert_msg(result == 0, "%s", err.message);
}

START_TEST(passes_what_tools_need_and_nothing_else)
{
	static const char *const wanted[] = {"LANG", "LC_ALL", "TZ", "HTTPS_PROXY", "no_proxy",
		"SSL_CERT_FILE", "AZURE_CONFIG_DIR", "AZURE_CORE_OUTPUT", "AZD_CONFIG_DIR",
		"PSModulePath", "XDG_CONFIG_HOME"};
	static const char *const unwanted[] = {"AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID",
		"AZURE_PASSWORD", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "MIXEDREALITY_ACCOUNT_KEY",
		"IDENTITY_HEADER", "MSI_SECRET", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET",
		"LISTEN_FDS", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP",
		"AZURE_CORE", "XAZURE_CORE_X", "LANGX"};
	struct run_as run_as;
	for (size_t i = 0; i < UNIT_COUNT(wanted); i++)
		set(wanted[i], "wanted");
	for (size_t i = 0; i < UNIT_COUNT(unwanted); i++)
		set(unwanted[i], "unwanted");
	open_as(&run_as, NULL, NULL);
	for (size_t i = 0; i < UNIT_COUNT(wanted); i++) {
		ck_assert_msg(value_of(&run_as, wanted[i]) != NULL, "%s", wanted[i]);
		ck_assert_str_eq(value_of(&run_as, wanted[i]), "wanted");
	}
	for (char **variable = run_as.environment; *variable != NULL; variable++)
		ck_assert_msg(strstr(*variable, "unwanted") == NULL, "%s", *variable);
	run_as_clear(&run_as);
}
END_TEST

START_TEST(leaves_out_what_is_empty_or_was_wiped)
{
	struct run_as run_as;
	set("AZURE_CONFIG_DIR", "");
	set("HTTPS_PROXY", "");
	open_as(&run_as, NULL, NULL);
	ck_assert_ptr_null(value_of(&run_as, "AZURE_CONFIG_DIR"));
	ck_assert_ptr_null(value_of(&run_as, "HTTPS_PROXY"));
	run_as_clear(&run_as);
}
END_TEST

START_TEST(runs_as_the_daemons_own_user_where_none_is_named)
{
	struct run_as run_as;
	struct child_command command = {0};
	set("PATH", "/opt/tools:/usr/bin");
	set("HOME", "/srv/own");
	open_as(&run_as, NULL, NULL);
	run_as_fill(&run_as, &command);
	ck_assert_uint_eq(command.uid, geteuid());
	ck_assert_str_eq(command.path, "/opt/tools:/usr/bin");
	ck_assert_str_eq(value_of(&run_as, "PATH"), "/opt/tools:/usr/bin");
	ck_assert_str_eq(value_of(&run_as, "HOME"), "/srv/own");
	ck_assert_str_eq(value_of(&run_as, "USER"), command.user);
	ck_assert_str_eq(value_of(&run_as, "LOGNAME"), command.user);
	ck_assert_ptr_eq(command.environment, run_as.environment);
	run_as_clear(&run_as);
}
END_TEST

START_TEST(has_a_path_and_a_home_where_the_daemon_has_none)
{
	struct run_as run_as;
	const struct passwd *own = getpwuid(geteuid());
	ck_assert_int_eq(unsetenv("PATH"), 0);
	ck_assert_int_eq(unsetenv("HOME"), 0);
	open_as(&run_as, NULL, NULL);
	ck_assert_ptr_nonnull(strstr(run_as.path, "/usr/bin"));
	ck_assert_str_eq(value_of(&run_as, "HOME"), own == NULL ? "/" : own->pw_dir);
	run_as_clear(&run_as);
}
END_TEST

START_TEST(knows_home_groups_and_name_of_another_user)
{
	const struct passwd *entry = getpwnam("games");
	if (entry == NULL || geteuid() == entry->pw_uid)
		return;
	struct run_as run_as;
	struct child_command command = {0};
	char home[256];
	uid_t uid = entry->pw_uid;
	gid_t gid = entry->pw_gid;
	snprintf(home, sizeof(home), "%s", entry->pw_dir);
	set("HOME", "/srv/own");
	set("XDG_CONFIG_HOME", "/srv/own/config");
	set("XDG_RUNTIME_DIR", "/run/user/1");
	set("AZURE_CONFIG_DIR", "/srv/azure");
	open_as(&run_as, "games", NULL);
	run_as_fill(&run_as, &command);
	ck_assert_uint_eq(command.uid, uid);
	ck_assert_uint_eq(command.gid, gid);
	ck_assert_str_eq(command.user, "games");
	ck_assert_uint_ge(command.group_count, 1);
	ck_assert_uint_eq(command.groups[0], gid);
	ck_assert_str_eq(value_of(&run_as, "HOME"), home);
	ck_assert_str_eq(value_of(&run_as, "USER"), "games");
	ck_assert_ptr_null(value_of(&run_as, "XDG_CONFIG_HOME"));
	ck_assert_ptr_null(value_of(&run_as, "XDG_RUNTIME_DIR"));
	ck_assert_str_eq(value_of(&run_as, "AZURE_CONFIG_DIR"), "/srv/azure");
	run_as_clear(&run_as);
}
END_TEST

START_TEST(lets_additions_win)
{
	static const char *const additions[] = {"NO_COLOR=true", "LANG=C", NULL};
	struct run_as run_as;
	set("LANG", "de_DE.UTF-8");
	open_as(&run_as, NULL, additions);
	ck_assert_str_eq(value_of(&run_as, "NO_COLOR"), "true");
	ck_assert_str_eq(value_of(&run_as, "LANG"), "C");
	run_as_clear(&run_as);
}
END_TEST

static void assert_described(const char *variable, const char *with)
{
	struct run_as run_as;
	struct text words = {0};
	char expected[512];
	open_as(&run_as, NULL, NULL);
	run_as_describe(&run_as, variable, &words);
	snprintf(expected, sizeof(expected), "%s%s", run_as.user, with);
	ck_assert_str_eq(text_string(&words), expected);
	text_free(&words);
	run_as_clear(&run_as);
}

START_TEST(says_what_one_must_be_to_do_the_same)
{
	const struct passwd *own = getpwuid(geteuid());
	ck_assert_int_eq(unsetenv("AZURE_CONFIG_DIR"), 0);
	if (own != NULL) {
		set("HOME", own->pw_dir);
		assert_described("AZURE_CONFIG_DIR", "");
		assert_described(NULL, "");
	}
	set("HOME", "/srv/own");
	assert_described("AZURE_CONFIG_DIR", " with HOME=/srv/own");
	assert_described(NULL, " with HOME=/srv/own");
	set("AZURE_CONFIG_DIR", "/srv/azure");
	assert_described("AZURE_CONFIG_DIR", " with AZURE_CONFIG_DIR=/srv/azure");
	assert_described(NULL, " with HOME=/srv/own");
}
END_TEST

START_TEST(refuses_a_user_that_does_not_exist)
{
	struct error err = ERROR_INIT;
	struct run_as run_as = {.uid = 7};
	ck_assert_int_eq(run_as_open(&run_as, "no-such-user-of-this-host", NULL, &err), -1);
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_uint_eq(run_as.uid, 7);
}
END_TEST

START_TEST(does_without_an_entry_of_its_own_user)
{
	if (geteuid() != 0)
		return;
	struct run_as run_as;
	ck_assert_int_eq(seteuid(54321), 0);
	ck_assert_int_eq(unsetenv("HOME"), 0);
	open_as(&run_as, NULL, NULL);
	ck_assert_str_eq(run_as.user, "54321");
	ck_assert_uint_eq(run_as.uid, 54321);
	ck_assert_str_eq(value_of(&run_as, "HOME"), "/");
	run_as_clear(&run_as);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

UNIT_MAIN("run_as", passes_what_tools_need_and_nothing_else, leaves_out_what_is_empty_or_was_wiped,
	runs_as_the_daemons_own_user_where_none_is_named,
	has_a_path_and_a_home_where_the_daemon_has_none, knows_home_groups_and_name_of_another_user,
	lets_additions_win, says_what_one_must_be_to_do_the_same,
	refuses_a_user_that_does_not_exist, does_without_an_entry_of_its_own_user)
