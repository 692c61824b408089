#include "app_scene.h"

#define TOKEN "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwb2QifQ.c2lnbmF0dXJl"
#define NEWER_TOKEN "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwb2QifQ.bmV3ZXI"

static void put_token(const char *token)
{
	replace_file("token", token, strlen(token));
}

static void open_pod(const char *const *answers)
{
	scene_open(&credential_workload_identity, answers);
	put_token(TOKEN "\n");
	settings.federated_token_file = strdup(path_of("token"));
}

/* All comes from the environment, the authority included. */
static void take_variables(void)
{
	setenv("AZURE_TENANT_ID", settings.tenant_id, 1);
	setenv("AZURE_CLIENT_ID", settings.client_id, 1);
	setenv("AZURE_FEDERATED_TOKEN_FILE", settings.federated_token_file, 1);
	setenv("AZURE_AUTHORITY_HOST", settings.authority, 1);
	char *ca_file = settings.ca_file;
	settings.ca_file = NULL;
	credential_settings_clear(&settings);
	settings.kinds[0] = &credential_workload_identity;
	settings.kind_count = 1;
	settings.ca_file = ca_file;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

START_TEST(shows_the_token_of_the_file)
{
	const char *const answers[] = {good_answer(), NULL};
	open_pod(answers);
	struct credential *credential = open_credential();
	ask_well(credential);
	scene_close(credential);
	ck_assert_int_eq(
		strncmp(request_of(&server, 0), "POST /" TENANT "/oauth2/v2.0/token ", 61), 0);
	ck_assert_str_eq(assertion_of(0), TOKEN);
}
END_TEST

START_TEST(takes_what_the_environment_says)
{
	const char *const answers[] = {good_answer(), NULL};
	open_pod(answers);
	take_variables();
	struct credential *credential = open_credential();
	clear_variables(); /* they are read when it is opened */
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(0), TOKEN);
}
END_TEST

START_TEST(takes_keys_before_variables)
{
	const char *const answers[] = {good_answer(), NULL};
	open_pod(answers);
	setenv("AZURE_TENANT_ID", "other", 1);
	setenv("AZURE_CLIENT_ID", "other", 1);
	setenv("AZURE_FEDERATED_TOKEN_FILE", "/other", 1);
	setenv("AZURE_AUTHORITY_HOST", "other.example", 1);
	struct credential *credential = open_credential();
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(0), TOKEN);
}
END_TEST

START_TEST(reads_the_token_that_the_platform_renewed)
{
	const char *const answers[] = {good_answer(), NULL};
	open_pod(answers);
	struct credential *credential = open_credential();
	ask_well(credential);
	put_token(NEWER_TOKEN);
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(0), TOKEN);
	ck_assert_str_eq(assertion_of(1), NEWER_TOKEN);
}
END_TEST

START_TEST(shows_no_token_again_that_entra_finds_late)
{
	const char *const answers[] = {late_answer(), NULL};
	open_pod(answers);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_DENIED, "AADSTS700024: ");
	ck_assert_uint_eq(count_of(&server), 1);
	scene_close(credential);
}
END_TEST

START_TEST(shows_the_newer_token_once_when_entra_finds_the_older_late)
{
	const char *const answers[] = {late_answer(), NULL};
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	open_pod(answers);
	struct credential *credential = open_credential();
	ck_assert_ptr_nonnull(
		credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err));
	put_token(NEWER_TOKEN); /* while the older one is on its way */
	wait_until_answered(loop, &asked);
	assert_failure(&asked, ERR_DENIED, "AADSTS700024: ");
	ck_assert_uint_eq(count_of(&server), 2);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(1), NEWER_TOKEN);
}
END_TEST

START_TEST(tells_when_the_token_goes_away_before_it_is_shown_anew)
{
	const char *const answers[] = {late_answer(), NULL};
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	open_pod(answers);
	struct credential *credential = open_credential();
	ck_assert_ptr_nonnull(
		credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err));
	ck_assert_int_eq(unlink(path_of("token")), 0);
	wait_until_answered(loop, &asked);
	assert_failure(&asked, ERR_SECRET_SOURCE, "federated_token_file: cannot open /");
	scene_close(credential);
}
END_TEST

START_TEST(is_cancelled_before_and_after_it_was_sent)
{
	static const char *const silence[] = {NULL};
	for (int is_sent = 0; is_sent < 2; is_sent++) {
		open_pod(silence);
		struct credential *credential = open_credential();
		ask_and_cancel(credential, is_sent == 1);
		scene_close(credential);
	}
}
END_TEST

/* ---- where there is none -----------------------------------------------------------------------
 */

static void assert_unavailable(const char *words)
{
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_UNAVAILABLE, words);
	scene_close(credential);
}

START_TEST(is_unavailable_where_nothing_is_set)
{
	static const char *const silence[] = {NULL};
	open_pod(silence);
	take_variables();
	clear_variables();
	assert_unavailable("the environment describes no workload identity: it lacks "
			   "AZURE_FEDERATED_TOKEN_FILE (or federated_token_file), AZURE_TENANT_ID "
			   "(or tenant_id), AZURE_CLIENT_ID (or client_id)");
}
END_TEST

START_TEST(names_the_one_that_is_missing)
{
	static const char *const names[][2] = {
		{"AZURE_FEDERATED_TOKEN_FILE",
			"it lacks AZURE_FEDERATED_TOKEN_FILE (or federated_token_file)"},
		{"AZURE_TENANT_ID", "it lacks AZURE_TENANT_ID (or tenant_id)"},
		{"AZURE_CLIENT_ID", "it lacks AZURE_CLIENT_ID (or client_id)"},
	};
	static const char *const silence[] = {NULL};
	for (size_t i = 0; i < UNIT_COUNT(names); i++) {
		open_pod(silence);
		take_variables();
		setenv(names[i][0], "", 1); /* as good as not set */
		assert_unavailable(names[i][1]);
	}
}
END_TEST

START_TEST(is_cancelled_where_there_is_none)
{
	static const char *const silence[] = {NULL};
	open_pod(silence);
	take_variables();
	clear_variables();
	struct credential *credential = open_credential();
	ask_and_cancel(credential, false);
	scene_close(credential);
}
END_TEST

START_TEST(looks_at_no_authority_where_there_is_none)
{
	static const char *const silence[] = {NULL};
	open_pod(silence);
	take_variables();
	clear_variables();
	setenv("AZURE_AUTHORITY_HOST", "http://x", 1);
	assert_unavailable("it lacks");
}
END_TEST

START_TEST(ends_a_chain_where_the_file_is_missing)
{
	static const char *const silence[] = {NULL};
	open_pod(silence);
	ck_assert_int_eq(unlink(path_of("token")), 0);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "federated_token_file: cannot open /");
	scene_close(credential);
}
END_TEST

START_TEST(ends_a_chain_where_the_file_is_empty)
{
	static const char *const silence[] = {NULL};
	open_pod(silence);
	put_token(" \n");
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "token is empty: expected a secret in it");
	ck_assert_uint_eq(count_of(&server), 0);
	scene_close(credential);
}
END_TEST

/* ---- what is wrong in the environment ----------------------------------------------------------
 */

static void assert_variable_refused(const char *name, const char *value, const char *words)
{
	static const char *const silence[] = {NULL};
	open_pod(silence);
	take_variables();
	setenv(name, value, 1);
	assert_not_opened(ERR_CONFIGURATION, words);
	scene_close(NULL);
}

START_TEST(refuses_variables_that_are_wrong)
{
	assert_variable_refused("AZURE_TENANT_ID", "a/b",
		"environment variable AZURE_TENANT_ID: found 'a/b', expected the tenant's");
	assert_variable_refused("AZURE_FEDERATED_TOKEN_FILE", "token",
		"environment variable AZURE_FEDERATED_TOKEN_FILE: found 'token', expected an "
		"absolute path");
	assert_variable_refused("AZURE_AUTHORITY_HOST", "http://x",
		"environment variable AZURE_AUTHORITY_HOST: found 'http://x', expected");
}
END_TEST

START_TEST(is_shared_and_takes_the_keys_of_its_kind)
{
	static const char *const expected[] = {
		"tenant_id", "client_id", "federated_token_file", "authority"};
	for (size_t i = 0; i < UNIT_COUNT(expected); i++)
		ck_assert_str_eq(credential_workload_identity.keys[i], expected[i]);
	ck_assert_ptr_null(credential_workload_identity.keys[UNIT_COUNT(expected)]);
	ck_assert(credential_workload_identity.is_shared);
}
END_TEST

UNIT_MAIN("workload_identity", shows_the_token_of_the_file, takes_what_the_environment_says,
	takes_keys_before_variables, reads_the_token_that_the_platform_renewed,
	shows_no_token_again_that_entra_finds_late,
	shows_the_newer_token_once_when_entra_finds_the_older_late,
	tells_when_the_token_goes_away_before_it_is_shown_anew,
	is_cancelled_before_and_after_it_was_sent, is_unavailable_where_nothing_is_set,
	names_the_one_that_is_missing, is_cancelled_where_there_is_none,
	looks_at_no_authority_where_there_is_none, ends_a_chain_where_the_file_is_missing,
	ends_a_chain_where_the_file_is_empty, refuses_variables_that_are_wrong,
	is_shared_and_takes_the_keys_of_its_kind)
