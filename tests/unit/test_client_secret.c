#include "credential/credential.h"

#include "asking.h"
#include "files.h"
#include "tls_server.h"
#include "unit.h"

#define TENANT "e2a1c0de-0000-4000-8000-000000000001"
#define CLIENT "a1a1c0de-0000-4000-8000-000000000002"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define FORM                                                        \
	"client_id=" CLIENT "&grant_type=client_credentials&scope=" \
	"https%3A%2F%2Fexample.com%2F.default&client_secret="

static const struct account_settings account = {.name = (char *)"anchors"};

static struct server server;
static struct loop *loop;
static struct credential_settings settings;
static size_t bytes_before;

static void set_source(const char *word)
{
	secret_source_clear(&settings.client_secret);
	ck_assert_int_eq(secret_source_parse(word, &settings.client_secret, NULL), 0);
}

static void set_file(const char *path)
{
	char word[300];
	snprintf(word, sizeof(word), "file:%s", path);
	set_source(word);
}

static const char *good_answer(void)
{
	static char answer[512];
	return text_of(answer, sizeof(answer), HEAD,
		"{\"token_type\":\"Bearer\",\"expires_in\":3599,\"refresh_in\":1800,"
		"\"access_token\":\"eyJ.the-token\"}");
}

static void scene_open(const char *const *answers)
{
	bytes_before = bytes_in_use();
	server_start(&server, answers);
	loop = make_loop();
	settings = (struct credential_settings){
		.kinds = {&credential_client_secret},
		.kind_count = 1,
		.authority = strdup(server.origin),
		.tenant_id = strdup(TENANT),
		.client_id = strdup(CLIENT),
		.ca_file = strdup(server.ca_file),
	};
	set_file(write_file("secret", "Sup3r secret\n"));
}

static struct credential *open_credential(void)
{
	struct error err = ERROR_INIT;
	struct credential *credential = credential_open(&settings, &account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	credential_settings_clear(&settings); /* they go, and the credential stays */
	return credential;
}

static void scene_close(struct credential *credential)
{
	credential_close(credential);
	credential_settings_clear(&settings);
	loop_free(loop);
	server_stop(&server);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

static struct asked ask_now(struct credential *credential)
{
	struct asked asked;
	ask(loop, credential, &asked);
	ck_assert_ptr_null(strstr(asked.err.message, "Sup3r"));
	return asked;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

START_TEST(gets_a_token_for_its_secret)
{
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_token(&asked, "eyJ.the-token");
	ck_assert_int_eq(asked.parts.expires_on, TODAY_S + 3599);
	ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 3599000);
	ck_assert_int_eq(asked.parts.refresh_at_ms, START_MS + 1800000);
	ck_assert(!asked.parts.is_account_key && !asked.parts.is_static);
	scene_close(credential);
	ck_assert_int_eq(
		strncmp(request_of(&server, 0), "POST /" TENANT "/oauth2/v2.0/token ", 61), 0);
	ck_assert_str_eq(body_of(request_of(&server, 0)), FORM "Sup3r%20secret");
}
END_TEST

START_TEST(reads_a_secret_that_was_rotated)
{
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	struct credential *credential = open_credential();
	ask_now(credential);
	ck_assert_int_eq(rename(write_file("new", "Sup3r secret of today"), path_of("secret")), 0);
	ask_now(credential);
	scene_close(credential);
	ck_assert_str_eq(body_of(request_of(&server, 1)), FORM "Sup3r%20secret%20of%20today");
}
END_TEST

START_TEST(tells_of_a_file_that_is_missing_until_it_is_there)
{
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	set_file(path_of("missing"));
	settings.client_secret.where = strdup("/etc/x.conf:7");
	struct credential *credential = open_credential(); /* it fails no other account */
	struct asked asked = ask_now(credential);
	/* Not unavailable: it is configured, so that a chain ends here. */
	assert_failure(&asked, ERR_SECRET_SOURCE, "/etc/x.conf:7: client_secret: cannot open /");
	ck_assert_uint_eq(count_of(&server), 0);
	write_file("missing", "late");
	asked = ask_now(credential);
	assert_token(&asked, "eyJ.the-token");
	scene_close(credential);
	ck_assert_str_eq(body_of(request_of(&server, 0)), FORM "late");
}
END_TEST

START_TEST(passes_on_what_entra_says)
{
	char answer[512];
	const char *const answers[] = {
		text_of(answer, sizeof(answer), "HTTP/1.1 401 No\r\n",
			"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: It "
			"is not 'Sup3r secret'.\"}"),
		NULL};
	scene_open(answers);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_DENIED, "AADSTS7000215: (withheld");
	assert_failure(&asked, ERR_DENIED, "client_secret is wrong");
	scene_close(credential);
}
END_TEST

START_TEST(lets_two_ask_at_a_time)
{
	const char *const answers[] = {good_answer(), NULL};
	struct asked one = {0};
	struct asked other = {0};
	struct error err = ERROR_INIT;
	scene_open(answers);
	struct credential *credential = open_credential();
	ck_assert_ptr_nonnull(credential->kind->ask(credential, "one", loop, on_asked, &one, &err));
	/* The server has one connection at a time, so that this one waits for the other. */
	struct credential_call *call =
		credential->kind->ask(credential, "other", loop, on_asked, &other, &err);
	wait_until_answered(loop, &one);
	credential->kind->cancel(call);
	assert_token(&one, "eyJ.the-token");
	ck_assert_int_eq(other.calls, 0);
	scene_close(credential);
}
END_TEST

START_TEST(is_cancelled_before_and_after_it_was_sent)
{
	static const char *const silence[] = {NULL};
	for (int is_sent = 0; is_sent < 2; is_sent++) {
		struct asked asked = {0};
		struct error err = ERROR_INIT;
		scene_open(silence);
		struct credential *credential = open_credential();
		struct credential_call *call =
			credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
		ck_assert_ptr_eq(call->credential, credential);
		while (is_sent && count_of(&server) == 0)
			loop_run(loop, 5);
		credential->kind->cancel(call);
		for (int i = 0; i < 3; i++)
			loop_run(loop, 5);
		ck_assert_int_eq(asked.calls, 0);
		scene_close(credential);
	}
}
END_TEST

/* ---- opening -----------------------------------------------------------------------------------
 */

START_TEST(reads_a_variable_when_it_is_opened_and_wipes_it)
{
	const char *const answers[] = {good_answer(), NULL};
	setenv("UNIT_SECRET", "of the environment", 1);
	scene_open(answers);
	set_source("env:UNIT_SECRET");
	struct credential *credential = open_credential();
	ck_assert_str_eq(getenv("UNIT_SECRET"), "");
	ask_now(credential);
	credential_close(credential);
	loop_free(loop);
	server_stop(&server);
	ck_assert_str_eq(body_of(request_of(&server, 0)), FORM "of%20the%20environment");
}
END_TEST

START_TEST(tells_of_a_variable_that_is_not_set)
{
	static const char *const silence[] = {NULL};
	struct error err = ERROR_INIT;
	unsetenv("UNIT_SECRET");
	scene_open(silence);
	set_source("env:UNIT_SECRET");
	ck_assert_ptr_null(credential_open(&settings, &account, &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_str_eq(
		err.message, "client_secret: the environment variable UNIT_SECRET is not set");
	scene_close(NULL);
}
END_TEST

START_TEST(takes_the_authority_of_the_environment)
{
	const char *const answers[] = {good_answer(), NULL};
	struct error err = ERROR_INIT;
	scene_open(answers);
	setenv("AZURE_AUTHORITY_HOST", settings.authority, 1);
	free(settings.authority);
	settings.authority = NULL;
	struct credential *credential = credential_open(&settings, &account, &err);
	setenv("AZURE_AUTHORITY_HOST", "http://login.example.com", 1);
	struct asked asked = ask_now(credential);
	assert_token(&asked, "eyJ.the-token");
	/* One that is none is told when it is opened. */
	ck_assert_ptr_null(credential_open(&settings, &account, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_ptr_nonnull(
		strstr(err.message, "environment variable AZURE_AUTHORITY_HOST: found "));
	unsetenv("AZURE_AUTHORITY_HOST");
	scene_close(credential);
}
END_TEST

START_TEST(is_shared_and_takes_the_keys_of_its_kind)
{
	static const char *const expected[] = {
		"!tenant_id", "!client_id", "!client_secret", "authority"};
	for (size_t i = 0; i < UNIT_COUNT(expected); i++)
		ck_assert_str_eq(credential_client_secret.keys[i], expected[i]);
	ck_assert_ptr_null(credential_client_secret.keys[UNIT_COUNT(expected)]);
	ck_assert(credential_client_secret.is_shared);
	ck_assert(!credential_client_secret.ignores_scope);
	ck_assert(!credential_client_secret.is_developer_tool);
}
END_TEST

UNIT_MAIN("client_secret", gets_a_token_for_its_secret, reads_a_secret_that_was_rotated,
	tells_of_a_file_that_is_missing_until_it_is_there, passes_on_what_entra_says,
	lets_two_ask_at_a_time, is_cancelled_before_and_after_it_was_sent,
	reads_a_variable_when_it_is_opened_and_wipes_it, tells_of_a_variable_that_is_not_set,
	takes_the_authority_of_the_environment, is_shared_and_takes_the_keys_of_its_kind)
