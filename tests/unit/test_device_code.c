/*
 * The credential as far as it goes without the service: its settings, its file, and what a service
 * that cannot be reached makes of it. What it says on the wire: tests/whole/test_login.py.
 */
#include "base/log.h"
#include "credential/chain.h"
#include "credential/credential.h"
#include "credential/refresh_token_store.h"

#include "files.h"
#include "unit.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define SCOPE "https://storage.azure.com/.default"
#define CLIENT "a9900001-0000-4000-8000-000000000001"
#define TENANT "e3a1c0de-0000-4000-8000-000000000001"
#define TOKEN "0.AAAA-refresh-token_of.the~test"
#define KEY "the bytes of refresh_token_key"

/* ---- the scene ---------------------------------------------------------------------------------
 */

static const struct account_settings account = {.name = (char *)"anchors"};
static struct credential_settings settings;
static struct loop *loop;
static char authority[64];

/* A port that nobody listens at. */
static void find_authority(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	snprintf(authority, sizeof(authority), "https://127.0.0.1:%d", ntohs(address.sin_port));
}

static void open_scene(void)
{
	struct error err = ERROR_INIT;
	unsetenv("https_proxy");
	unsetenv("HTTPS_PROXY");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	log_set_level(LOG_LEVEL_ERROR);
	find_authority();
	loop = loop_new(&clock_system, &err);
	ck_assert_msg(loop != NULL, "%s", err.message);
	settings.kinds[0] = &credential_device_code;
	settings.kind_count = 1;
	settings.authority = strdup(authority);
	settings.tenant_id = strdup(TENANT);
	settings.client_id = strdup(CLIENT);
}

static void close_scene(struct credential *credential)
{
	struct secret_memory usage;
	credential_close(credential);
	loop_free(loop);
	credential_settings_clear(&settings);
	secret_memory_usage(&usage);
	ck_assert_uint_eq(usage.bytes_in_use, 0);
}

/* Keep logins in this file, with a key that is KEY. */
static void set_file(const char *path)
{
	char word[300];
	snprintf(word, sizeof(word), "file:%s", write_file("key", KEY "\n"));
	ck_assert_int_eq(secret_source_parse(word, &settings.refresh_token_key, NULL), 0);
	settings.refresh_token_file = strdup(path);
}

static void put_login(const char *path, const char *token_string, const char *key_string)
{
	struct error err = ERROR_INIT;
	const struct refresh_token_owner owner = {authority, TENANT, CLIENT};
	_cleanup_secret_ struct secret *token = secret_from(token_string, strlen(token_string));
	_cleanup_secret_ struct secret *key = secret_from(key_string, strlen(key_string));
	ck_assert_msg(refresh_token_save(path, token, key, &owner, &err) == 0, "%s", err.message);
}

static struct credential *open_credential(void)
{
	struct error err = ERROR_INIT;
	struct credential *credential = credential_open(&settings, &account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	return credential;
}

struct heard {
	unsigned calls;
	bool has_token;
	struct error err;
};

static void on_done(void *context, struct access_token *token, const struct error *err)
{
	struct heard *heard = context;
	heard->calls++;
	heard->has_token = token != NULL;
	if (token == NULL)
		heard->err = *err;
}

/* Ask, and wait for the answer: a failure. */
static struct error ask(struct credential *credential)
{
	struct error err = ERROR_INIT;
	struct heard heard = {0};
	struct credential_call *call =
		credential->kind->ask(credential, SCOPE, loop, on_done, &heard, &err);
	ck_assert_uint_eq(heard.calls, 0);
	if (call == NULL)
		return err;
	while (heard.calls == 0)
		loop_run(loop, 1000);
	ck_assert_uint_eq(heard.calls, 1);
	ck_assert(!heard.has_token);
	return heard.err;
}

static void assert_says(const struct error *err, enum error_code code, const char *words)
{
	ck_assert_msg(err->code == code, "%s: %s", error_code_name(err->code), err->message);
	ck_assert_msg(strstr(err->message, words) != NULL, "no '%s' in: %s", words, err->message);
	ck_assert_ptr_null(strstr(err->message, TOKEN));
	ck_assert_ptr_null(strstr(err->message, KEY));
}

/* ---- settings ----------------------------------------------------------------------------------
 */

START_TEST(wants_a_file_and_its_key_or_neither)
{
	struct error err = ERROR_INIT;
	open_scene();
	ck_assert_int_eq(credential_device_code.check(&settings, &err), 0);
	set_file("/var/lib/mrtokend/anchors.login");
	ck_assert_int_eq(credential_device_code.check(&settings, &err), 0);
	secret_source_clear(&settings.refresh_token_key);
	ck_assert_int_eq(credential_device_code.check(&settings, &err), -1);
	assert_says(&err, ERR_CONFIGURATION, "refresh_token_key is missing");
	free(settings.refresh_token_file);
	set_file("/var/lib/mrtokend/anchors.login");
	free(settings.refresh_token_file);
	settings.refresh_token_file = NULL;
	ck_assert_int_eq(credential_device_code.check(&settings, &err), -1);
	assert_says(&err, ERR_CONFIGURATION, "refresh_token_file is missing");
	close_scene(NULL);
}
END_TEST

START_TEST(needs_no_setting_at_all)
{
	struct error err = ERROR_INIT;
	open_scene();
	credential_settings_clear(&settings);
	settings.kinds[0] = &credential_device_code;
	settings.kind_count = 1;
	unsetenv("AZURE_AUTHORITY_HOST");
	ck_assert_int_eq(credential_device_code.check(&settings, &err), 0);
	close_scene(open_credential());
}
END_TEST

START_TEST(is_shared_by_accounts_with_the_same_settings)
{
	ck_assert(credential_device_code.is_shared);
}
END_TEST

START_TEST(is_found_as_what_has_a_login_in_a_chain_too)
{
	open_scene();
	settings.kinds[0] = &credential_static_token;
	settings.kinds[1] = &credential_device_code;
	settings.kind_count = 2;
	char word[300];
	snprintf(word, sizeof(word), "file:%s", write_file("static", "token"));
	ck_assert_int_eq(secret_source_parse(word, &settings.static_token, NULL), 0);
	struct credential *chain = open_credential();
	size_t count = 0;
	struct credential *const *members = chain->kind->members(chain, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_ptr_eq(credential_with_login(chain), members[1]);
	ck_assert_ptr_null(credential_with_login(members[0]));
	close_scene(chain);
}
END_TEST

/* ---- asking ------------------------------------------------------------------------------------
 */

START_TEST(says_that_a_login_is_needed_and_how)
{
	open_scene();
	struct credential *credential = open_credential();
	struct error err = ask(credential);
	assert_says(&err, ERR_UNAVAILABLE,
		"login needed, run mrtoken login ACCOUNT: nobody has logged in since the daemon");
	close_scene(credential);
}
END_TEST

START_TEST(says_that_there_is_no_file_yet)
{
	open_scene();
	set_file(path_of("login"));
	struct credential *credential = open_credential();
	struct error err = ask(credential);
	assert_says(&err, ERR_UNAVAILABLE, "/login is not there yet");
	close_scene(credential);
}
END_TEST

START_TEST(goes_on_with_the_login_in_the_file)
{
	open_scene();
	set_file(path_of("login"));
	put_login(path_of("login"), TOKEN, KEY);
	struct credential *credential = open_credential();
	struct error err = ask(credential);
	assert_says(&err, ERR_NETWORK, "127.0.0.1");
	/* A service that is not there does not end a login. */
	err = ask(credential);
	assert_says(&err, ERR_NETWORK, "127.0.0.1");
	close_scene(credential);
}
END_TEST

START_TEST(finds_a_login_that_comes_into_the_file_later)
{
	open_scene();
	set_file(path_of("login"));
	struct credential *credential = open_credential();
	struct error err = ask(credential);
	assert_says(&err, ERR_UNAVAILABLE, "login needed");
	ck_assert(err.needs_login);
	put_login(path_of("login"), TOKEN, KEY);
	err = ask(credential);
	assert_says(&err, ERR_NETWORK, "127.0.0.1");
	close_scene(credential);
}
END_TEST

START_TEST(says_what_is_wrong_with_the_file)
{
	static const char *const words[] = {"another refresh_token_key", "something else",
		"has mode 0644", "refresh_token_key"};
	open_scene();
	set_file(path_of("login"));
	struct credential *credential = open_credential();
	for (size_t i = 0; i < UNIT_COUNT(words); i++) {
		remove(path_of("login"));
		if (i == 0)
			put_login(path_of("login"), TOKEN, "another key of many bytes");
		else if (i == 1)
			write_file("login", "my notes");
		else
			put_login(path_of("login"), TOKEN, KEY);
		if (i == 2)
			ck_assert_int_eq(chmod(path_of("login"), 0644), 0);
		if (i == 3)
			ck_assert_int_eq(remove(path_of("key")), 0);
		struct error err = ask(credential);
		assert_says(&err, ERR_SECRET_SOURCE, words[i]);
		ck_assert_int_eq(access(path_of("login"), F_OK), 0);
	}
	close_scene(credential);
}
END_TEST

START_TEST(can_be_cancelled_while_it_asks)
{
	struct error err = ERROR_INIT;
	struct heard heard = {0};
	open_scene();
	set_file(path_of("login"));
	put_login(path_of("login"), TOKEN, KEY);
	struct credential *credential = open_credential();
	struct credential_call *call =
		credential->kind->ask(credential, SCOPE, loop, on_done, &heard, &err);
	ck_assert_msg(call != NULL, "%s", err.message);
	credential->kind->cancel(call);
	for (int i = 0; i < 3; i++)
		loop_run(loop, 10);
	ck_assert_uint_eq(heard.calls, 0);
	close_scene(credential);
}
END_TEST

/* ---- logging in --------------------------------------------------------------------------------
 */

struct watched {
	unsigned changes;
	struct account_login last;
};

static void on_changed(void *context, const struct account_login *login)
{
	struct watched *watched = context;
	watched->changes++;
	watched->last = *login;
}

static struct credential_login *log_in(
	struct credential *credential, struct watched *watched, struct error *err)
{
	*watched = (struct watched){0};
	return credential->kind->login(credential, SCOPE, loop, on_changed, watched, err);
}

START_TEST(tells_all_who_wait_why_a_login_failed)
{
	struct error err = ERROR_INIT;
	struct watched watched[2];
	open_scene();
	struct credential *credential = open_credential();
	for (size_t i = 0; i < 2; i++) {
		struct credential_login *login = log_in(credential, &watched[i], &err);
		ck_assert_msg(login != NULL, "%s", err.message);
		ck_assert_ptr_eq(login->credential, credential);
		ck_assert_int_eq(login->now->state, ACCOUNT_LOGIN_STARTING);
		ck_assert_uint_eq(watched[i].changes, 0);
	}
	while (watched[0].changes == 0)
		loop_run(loop, 1000);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(watched[i].changes, 1);
		ck_assert_int_eq(watched[i].last.state, ACCOUNT_LOGIN_FAILED);
		assert_says(&watched[i].last.error, ERR_NETWORK, "127.0.0.1");
	}
	close_scene(credential);
}
END_TEST

START_TEST(begins_anew_after_a_login_that_failed)
{
	struct error err = ERROR_INIT;
	struct watched watched;
	open_scene();
	struct credential *credential = open_credential();
	for (int i = 0; i < 2; i++) {
		ck_assert_ptr_nonnull(log_in(credential, &watched, &err));
		while (watched.changes == 0)
			loop_run(loop, 1000);
		ck_assert_int_eq(watched.last.state, ACCOUNT_LOGIN_FAILED);
	}
	close_scene(credential);
}
END_TEST

START_TEST(ends_a_login_when_the_last_one_leaves)
{
	struct error err = ERROR_INIT;
	struct watched watched[2];
	open_scene();
	struct credential *credential = open_credential();
	struct credential_login *first = log_in(credential, &watched[0], &err);
	struct credential_login *second = log_in(credential, &watched[1], &err);
	ck_assert(first != NULL && second != NULL);
	credential->kind->leave_login(first);
	credential->kind->leave_login(second);
	for (int i = 0; i < 3; i++)
		loop_run(loop, 10);
	ck_assert_uint_eq(watched[0].changes + watched[1].changes, 0);
	close_scene(credential);
}
END_TEST

START_TEST(goes_on_for_those_who_stay)
{
	struct error err = ERROR_INIT;
	struct watched watched[2];
	open_scene();
	struct credential *credential = open_credential();
	struct credential_login *first = log_in(credential, &watched[0], &err);
	ck_assert(first != NULL && log_in(credential, &watched[1], &err) != NULL);
	credential->kind->leave_login(first);
	while (watched[1].changes == 0)
		loop_run(loop, 1000);
	ck_assert_uint_eq(watched[0].changes, 0);
	close_scene(credential);
}
END_TEST

/* Nobody shall sign in for nothing. */
START_TEST(begins_no_login_that_could_not_be_kept)
{
	struct error err = ERROR_INIT;
	struct watched watched;
	open_scene();
	set_file(path_of("login"));
	write_file("login", "my notes");
	struct credential *credential = open_credential();
	ck_assert_ptr_null(log_in(credential, &watched, &err));
	assert_says(&err, ERR_SECRET_SOURCE, "move it away and log in again");
	ck_assert_int_eq(remove(path_of("login")), 0);
	err = ERROR_INIT;
	struct credential_login *login = log_in(credential, &watched, &err);
	ck_assert_msg(login != NULL, "%s", err.message);
	credential->kind->leave_login(login);
	close_scene(credential);
}
END_TEST

UNIT_MAIN("device_code", wants_a_file_and_its_key_or_neither, needs_no_setting_at_all,
	is_shared_by_accounts_with_the_same_settings, is_found_as_what_has_a_login_in_a_chain_too,
	says_that_a_login_is_needed_and_how, says_that_there_is_no_file_yet,
	goes_on_with_the_login_in_the_file, finds_a_login_that_comes_into_the_file_later,
	says_what_is_wrong_with_the_file, can_be_cancelled_while_it_asks,
	tells_all_who_wait_why_a_login_failed, begins_anew_after_a_login_that_failed,
	ends_a_login_when_the_last_one_leaves, goes_on_for_those_who_stay,
	begins_no_login_that_could_not_be_kept)
