#include "app_scene.h"

#define ASSERTION "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhcHAifQ.c2lnbmF0dXJl"
#define NEWER_ASSERTION "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhcHAifQ.bmV3ZXI"

static void open_app(const char *const *answers)
{
	scene_open(&credential_client_assertion, answers);
	replace_file("assertion", ASSERTION "\n", sizeof(ASSERTION));
}

/* The assertion comes from a file. */
static void open_app_with_file(const char *const *answers)
{
	open_app(answers);
	set_file(&settings.client_assertion, path_of("assertion"));
}

/* The assertion comes from a script, which gets what follows it. */
static void open_app_with_command(const char *const *answers, const char *script)
{
	char line[600];
	open_app(answers);
	const char *path = write_file("command", script);
	ck_assert_int_eq(chmod(path, 0700), 0);
	snprintf(line, sizeof(line), "%s %s", path, path_of("assertion"));
	settings.client_assertion_command = strdup(line);
}

/* ---- from a source -----------------------------------------------------------------------------
 */

START_TEST(shows_the_assertion_of_a_file)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app_with_file(answers);
	struct credential *credential = open_credential();
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(0), ASSERTION);
}
END_TEST

START_TEST(shows_the_assertion_of_a_variable_and_wipes_it)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers);
	setenv("UNIT_ASSERTION", ASSERTION, 1);
	set_source(&settings.client_assertion, "env:UNIT_ASSERTION");
	struct credential *credential = open_credential();
	ck_assert_str_eq(getenv("UNIT_ASSERTION"), "");
	ask_well(credential);
	secret_source_forget_environment();
	scene_close(credential);
	ck_assert_str_eq(assertion_of(0), ASSERTION);
}
END_TEST

START_TEST(reads_an_assertion_that_was_renewed)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app_with_file(answers);
	struct credential *credential = open_credential();
	ask_well(credential);
	replace_file("assertion", NEWER_ASSERTION, strlen(NEWER_ASSERTION));
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(1), NEWER_ASSERTION);
}
END_TEST

START_TEST(shows_no_assertion_of_a_file_again_that_entra_finds_late)
{
	const char *const answers[] = {late_answer(), NULL};
	open_app_with_file(answers);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_DENIED, "AADSTS700024: ");
	ck_assert_uint_eq(count_of(&server), 1);
	scene_close(credential);
}
END_TEST

START_TEST(tells_of_a_file_that_is_missing)
{
	static const char *const silence[] = {NULL};
	open_app_with_file(silence);
	ck_assert_int_eq(unlink(path_of("assertion")), 0);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "client_assertion: cannot open /");
	scene_close(credential);
}
END_TEST

/* ---- from a command ----------------------------------------------------------------------------
 */

START_TEST(shows_what_the_command_prints)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app_with_command(answers, "#!/bin/sh\ncat \"$1\"\n");
	struct credential *credential = open_credential();
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(0), ASSERTION);
}
END_TEST

START_TEST(runs_the_command_each_time)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app_with_command(answers, "#!/bin/sh\ncat \"$1\"\n");
	struct credential *credential = open_credential();
	ask_well(credential);
	replace_file("assertion", NEWER_ASSERTION, strlen(NEWER_ASSERTION));
	ask_well(credential);
	scene_close(credential);
	ck_assert_str_eq(assertion_of(1), NEWER_ASSERTION);
}
END_TEST

START_TEST(runs_the_command_anew_once_when_entra_finds_its_assertion_late)
{
	const char *const answers[] = {late_answer(), NULL};
	open_app_with_command(answers, "#!/bin/sh\ncat \"$1\"\n");
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_DENIED, "AADSTS700024: ");
	ck_assert_uint_eq(count_of(&server), 2);
	scene_close(credential);
}
END_TEST

START_TEST(tells_what_became_of_the_command)
{
	static const char *const silence[] = {NULL};
	open_app_with_command(silence, "#!/bin/sh\nexit 3\n");
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "client_assertion_command");
	ck_assert_uint_eq(count_of(&server), 0);
	scene_close(credential);
}
END_TEST

START_TEST(is_unavailable_where_there_is_no_such_program)
{
	static const char *const silence[] = {NULL};
	open_app(silence);
	settings.client_assertion_command = strdup("/no/such/program now");
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_UNAVAILABLE, "/no/such/program");
	scene_close(credential);
}
END_TEST

START_TEST(is_cancelled_in_every_state)
{
	static const char *const silence[] = {NULL};
	for (int state = 0; state < 4; state++) {
		if (state < 2)
			open_app_with_file(silence);
		else
			open_app_with_command(silence, state == 2 ? "#!/bin/sh\nexec sleep 600\n"
								  : "#!/bin/sh\ncat \"$1\"\n");
		struct credential *credential = open_credential();
		ask_and_cancel(credential, state % 2 == 1);
		scene_close(credential);
	}
}
END_TEST

START_TEST(is_cancelled_while_the_command_runs_anew)
{
	const char *const answers[] = {late_answer(), NULL};
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	/* The second time it does not come to its end. */
	open_app_with_command(answers,
		"#!/bin/sh\ncat \"$1\" && rm \"$1\" && exit 0\n: >\"$1.2\"; exec sleep 600\n");
	char mark[300];
	snprintf(mark, sizeof(mark), "%s.2", path_of("assertion"));
	struct credential *credential = open_credential();
	struct credential_call *call =
		credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
	ck_assert_msg(call != NULL, "%s", err.message);
	for (int i = 0; i < 6000 && access(mark, F_OK) != 0; i++)
		loop_run(loop, 5);
	ck_assert_int_eq(access(mark, F_OK), 0);
	credential->kind->cancel(call);
	ck_assert_int_eq(asked.calls, 0);
	scene_close(credential);
}
END_TEST

/* ---- settings ----------------------------------------------------------------------------------
 */

static void assert_checked(const char *words)
{
	struct error err = ERROR_INIT;
	int result = credential_client_assertion.check(&settings, &err);
	if (words == NULL) {
		ck_assert_msg(result == 0, "%s", err.message);
		return;
	}
	ck_assert_int_eq(result, -1);
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_msg(
		strstr(err.message, words) != NULL, "'%s' is without '%s'", err.message, words);
}

START_TEST(wants_a_source_or_a_command)
{
	assert_checked("client_assertion is missing: write client_assertion = file:/PATH, "
		       "credential:NAME or env:NAME, or client_assertion_command = /PROGRAM "
		       "ARGUMENTS");
	settings.client_assertion_command = strdup("/bin/cat /x");
	assert_checked(NULL);
	set_source(&settings.client_assertion, "file:/x");
	assert_checked("both client_assertion and client_assertion_command are set; keep one of "
		       "them");
	free(settings.client_assertion_command);
	settings.client_assertion_command = NULL;
	assert_checked(NULL);
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(refuses_a_command_that_cannot_be_split)
{
	settings.client_assertion_command = strdup("cat /x");
	assert_checked("client_assertion_command: found 'cat', expected");
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(is_shared_and_takes_the_keys_of_its_kind)
{
	static const char *const expected[] = {"!tenant_id", "!client_id", "client_assertion",
		"client_assertion_command", "run_as", "authority"};
	for (size_t i = 0; i < UNIT_COUNT(expected); i++)
		ck_assert_str_eq(credential_client_assertion.keys[i], expected[i]);
	ck_assert_ptr_null(credential_client_assertion.keys[UNIT_COUNT(expected)]);
	ck_assert(credential_client_assertion.is_shared);
}
END_TEST

UNIT_MAIN("client_assertion", shows_the_assertion_of_a_file,
	shows_the_assertion_of_a_variable_and_wipes_it, reads_an_assertion_that_was_renewed,
	shows_no_assertion_of_a_file_again_that_entra_finds_late, tells_of_a_file_that_is_missing,
	shows_what_the_command_prints, runs_the_command_each_time,
	runs_the_command_anew_once_when_entra_finds_its_assertion_late,
	tells_what_became_of_the_command, is_unavailable_where_there_is_no_such_program,
	is_cancelled_in_every_state, is_cancelled_while_the_command_runs_anew,
	wants_a_source_or_a_command, refuses_a_command_that_cannot_be_split,
	is_shared_and_takes_the_keys_of_its_kind)
