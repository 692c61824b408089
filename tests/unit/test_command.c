#include "credential/command.h"

#include "files.h"
#include "unit.h"

#define KEY "client_assertion_command"

static struct loop *loop;

/* ---- words ------------------------------------------------------------------------------------
 */

static void assert_words(const char *line, const char *const *expected)
{
	struct error err = ERROR_INIT;
	char **words = NULL;
	int result = command_split(line, KEY, &words, &err);
	ck_assert_msg(result == 0, "%s: %s", line, err.message);
	size_t i = 0;
	for (; expected[i] != NULL; i++) {
		ck_assert_ptr_nonnull(words[i]);
		ck_assert_str_eq(words[i], expected[i]);
	}
	ck_assert_ptr_null(words[i]);
	free(words);
}

START_TEST(splits_words_at_spaces)
{
	assert_words("/bin/a", (const char *const[]){"/bin/a", NULL});
	assert_words("  /bin/a \t b   c  ", (const char *const[]){"/bin/a", "b", "c", NULL});
}
END_TEST

START_TEST(keeps_spaces_in_double_quotes)
{
	assert_words("/bin/a \"two words\" x\"y z\"w \"\" \"q\\\"q\" \"b\\\\b\" \"n\\n\"",
		(const char *const[]){
			"/bin/a", "two words", "xy zw", "", "q\"q", "b\\b", "n\\n", NULL});
	assert_words("\"/opt/my tools/a\" b", (const char *const[]){"/opt/my tools/a", "b", NULL});
}
END_TEST

START_TEST(gives_no_other_letter_a_meaning)
{
	assert_words("/bin/a $HOME `id` 'x y' ; | & > * ~ \\x",
		(const char *const[]){"/bin/a", "$HOME", "`id`", "'x", "y'", ";", "|", "&", ">",
			"*", "~", "\\x", NULL});
}
END_TEST

START_TEST(refuses_what_is_no_command)
{
	static const struct {
		const char *line;
		const char *words;
	} cases[] = {
		{"", "found '', expected a program by its absolute path"},
		{" \t", "found '', expected a program by its absolute path"},
		{"a b", "found 'a', expected a program by its absolute path"},
		{"./a", "found './a', expected a program by its absolute path"},
		{"\"\" /bin/a", "found '', expected a program by its absolute path"},
		{"/bin/a \"b", "a double quote is not closed"},
		{"/bin/a \"b\\\"", "a double quote is not closed"},
		{"/bin/a \"b\\", "a double quote is not closed"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = ERROR_INIT;
		char **words = NULL;
		ck_assert_int_eq(command_split(cases[i].line, KEY, &words, &err), -1);
		ck_assert_ptr_null(words);
		ck_assert_int_eq(err.code, ERR_CONFIGURATION);
		ck_assert_msg(strstr(err.message, cases[i].words) != NULL, "%s: %s", cases[i].line,
			err.message);
		ck_assert(strncmp(err.message, KEY ": ", strlen(KEY) + 2) == 0);
	}
}
END_TEST

START_TEST(takes_as_many_words_as_there_may_be_and_no_more)
{
	struct error err = ERROR_INIT;
	char **words = NULL;
	char line[16 + 2 * COMMAND_WORDS_MAX] = "/bin/a";
	for (int i = 1; i < COMMAND_WORDS_MAX; i++)
		strcat(line, " x");
	ck_assert_int_eq(command_split(line, KEY, &words, &err), 0);
	free(words);
	strcat(line, " x");
	ck_assert_int_eq(command_split(line, KEY, &words, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "more than 64 words; put them into a script"));
}
END_TEST

/* ---- running ----------------------------------------------------------------------------------
 */

struct outcome {
	bool is_done;
	bool has_output;
	char output[1024];
	struct error err;
};

static void on_output(void *context, struct secret **output, const struct error *err)
{
	struct outcome *outcome = context;
	ck_assert(!outcome->is_done);
	outcome->is_done = true;
	outcome->has_output = output != NULL;
	if (output == NULL) {
		outcome->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	snprintf(outcome->output, sizeof(outcome->output), "%s", secret_bytes(*output));
}

static struct command *open_script(const char *body, const char *arguments)
{
	struct error err = ERROR_INIT;
	char line[512];
	if (loop == NULL)
		loop = loop_new(&clock_system, &err);
	ck_assert_ptr_nonnull(loop);
	const char *path = write_file("program", body);
	ck_assert_int_eq(chmod(path, 0755), 0);
	snprintf(line, sizeof(line), "%s %s", path, arguments);
	struct command *command = command_open(line, KEY, NULL, &err);
	ck_assert_msg(command != NULL, "%s", err.message);
	return command;
}

static void run(const char *body, const char *arguments, struct outcome *outcome)
{
	struct error err = ERROR_INIT;
	struct command *command = open_script(body, arguments);
	*outcome = (struct outcome){0};
	ck_assert_ptr_nonnull(command_start(command, loop, on_output, outcome, &err));
	ck_assert(!outcome->is_done);
	while (!outcome->is_done)
		loop_run(loop, 1000);
	command_close(command);
}

static void assert_failed(const struct outcome *outcome, enum error_code code, const char *words)
{
	ck_assert(!outcome->has_output);
	ck_assert_msg(outcome->err.code == code && strstr(outcome->err.message, words) != NULL,
		"%s: %s", error_code_name(outcome->err.code), outcome->err.message);
	ck_assert(strncmp(outcome->err.message, KEY ": ", strlen(KEY) + 2) == 0);
}

START_TEST(gives_the_output_without_space_around_it)
{
	struct outcome outcome;
	run("#!/bin/sh\nprintf '\\n  %s|%s \\n\\n' \"$1\" \"$2\"\n", "\"a b\" c", &outcome);
	ck_assert(outcome.has_output);
	ck_assert_str_eq(outcome.output, "a b|c");
}
END_TEST

static struct secret *taken;

static void take(void *context, struct secret **output, const struct error *err)
{
	(void)err;
	taken = *output;
	*output = NULL;
	*(bool *)context = true;
}

START_TEST(lets_the_output_be_taken)
{
	bool is_done = false;
	struct error err = ERROR_INIT;
	struct command *command = open_script("#!/bin/sh\necho assertion\n", "");
	ck_assert_ptr_nonnull(command_start(command, loop, take, &is_done, &err));
	while (!is_done)
		loop_run(loop, 1000);
	ck_assert_str_eq(secret_bytes(taken), "assertion");
	secret_free(taken);
	command_close(command);
}
END_TEST

START_TEST(tells_why_there_is_no_output)
{
	struct outcome outcome;
	run("#!/bin/sh\necho ' '\n", "", &outcome);
	assert_failed(&outcome, ERR_SECRET_SOURCE, "/program printed nothing");
	run("#!/bin/sh\necho cannot do it >&2\nexit 3\n", "", &outcome);
	assert_failed(&outcome, ERR_SECRET_SOURCE, "/program exited with 3: cannot do it");
	run("#!/bin/sh\nkill -9 $$\n", "", &outcome);
	assert_failed(&outcome, ERR_SECRET_SOURCE, "/program was ended by signal 9");
	run("#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x\n", "", &outcome);
	assert_failed(&outcome, ERR_UPSTREAM_FORMAT, "/program printed more than 65536 bytes");
	run("#!/no/such/interpreter\n", "", &outcome);
	assert_failed(&outcome, ERR_UNAVAILABLE, "cannot run ");
}
END_TEST

START_TEST(repeats_no_part_of_an_output_that_went_with_a_failure)
{
	struct outcome outcome;
	run("#!/bin/sh\necho shortAssertion\necho bad: shortAssertion >&2\nexit 1\n", "", &outcome);
	assert_failed(&outcome, ERR_SECRET_SOURCE, "exited with 1: (withheld");
	ck_assert_ptr_null(strstr(outcome.err.message, "Assertion"));
}
END_TEST

START_TEST(is_cancelled)
{
	struct error err = ERROR_INIT;
	struct outcome outcome = {0};
	struct command *command = open_script("#!/bin/sh\nexec sleep 60\n", "");
	struct command_run *started = command_start(command, loop, on_output, &outcome, &err);
	loop_run(loop, 0);
	command_cancel(started);
	command_cancel(command_start(command, loop, on_output, &outcome, &err));
	loop_run(loop, 0);
	ck_assert(!outcome.is_done);
	command_close(command);
	command_close(NULL);
}
END_TEST

START_TEST(refuses_a_user_that_does_not_exist)
{
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(command_open("/bin/true", KEY, "no-such-user-of-this-host", &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_ptr_null(command_open("true", KEY, NULL, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
}
END_TEST

UNIT_MAIN("command", splits_words_at_spaces, keeps_spaces_in_double_quotes,
	gives_no_other_letter_a_meaning, refuses_what_is_no_command,
	takes_as_many_words_as_there_may_be_and_no_more, gives_the_output_without_space_around_it,
	lets_the_output_be_taken, tells_why_there_is_no_output,
	repeats_no_part_of_an_output_that_went_with_a_failure, is_cancelled,
	refuses_a_user_that_does_not_exist)
