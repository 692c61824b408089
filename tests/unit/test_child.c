#include "base/child.h"

#include "child_rig.h"

/* ---- what a program says --------------------------------------------------------------------- */

START_TEST(gives_the_status_and_both_outputs_of_a_program)
{
	struct outcome outcome;
	run_script("#!/bin/sh\necho token\necho complaint >&2\nexit 0\n", &outcome);
	ck_assert(outcome.has_result);
	unit_assert_exited(outcome.status, 0);
	ck_assert_str_eq(outcome.output, "token\n");
	ck_assert_str_eq(outcome.complaint, "complaint\n");
	assert_no_children();
}
END_TEST

START_TEST(gives_the_status_of_a_program_that_fails)
{
	struct outcome outcome;
	run_script("#!/bin/sh\necho part\necho no >&2\nexit 3\n", &outcome);
	ck_assert(outcome.has_result);
	unit_assert_exited(outcome.status, 3);
	ck_assert_str_eq(outcome.output, "part\n");
	ck_assert_str_eq(outcome.complaint, "no\n");
}
END_TEST

START_TEST(gives_the_signal_that_ended_a_program)
{
	struct outcome outcome;
	run_script("#!/bin/sh\nkill -USR1 $$\nsleep 60\n", &outcome);
	ck_assert(outcome.has_result);
	unit_assert_killed(outcome.status, SIGUSR1);
}
END_TEST

START_TEST(takes_the_output_of_a_program_that_prints_nothing)
{
	struct outcome outcome;
	run_script("#!/bin/sh\n", &outcome);
	ck_assert(outcome.has_result);
	unit_assert_exited(outcome.status, 0);
	ck_assert_str_eq(outcome.output, "");
	ck_assert_str_eq(outcome.complaint, "");
}
END_TEST

static struct secret *taken;

static void take_output(void *context, struct child_result *result, const struct error *err)
{
	(void)err;
	taken = result->output;
	result->output = NULL;
	*(bool *)context = true;
}

START_TEST(lets_the_output_be_taken)
{
	struct error err;
	bool is_done = false;
	const char *const arguments[] = {script("program", "#!/bin/sh\nprintf token\n"), NULL};
	struct child_command command = command_of(arguments);
	loop_make();
	ck_assert_ptr_nonnull(child_start(loop, &command, take_output, &is_done, &err));
	while (!is_done)
		loop_run(loop, 1000);
	ck_assert_str_eq(secret_bytes(taken), "token");
	secret_free(taken);
}
END_TEST

START_TEST(passes_every_argument_as_it_is)
{
	struct outcome outcome;
	const char *const arguments[] = {
		script("program", "#!/bin/sh\nfor a; do printf '[%s]' \"$a\"; done\n"), "",
		"two words", "$HOME;`id`|\"'*", "--option=\n", NULL};
	struct child_command command = command_of(arguments);
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "[][two words][$HOME;`id`|\"'*][--option=\n]");
}
END_TEST

START_TEST(takes_output_up_to_the_limit_and_not_a_byte_more)
{
	struct outcome outcome;
	const char *const fits[] = {"head", "-c", "4096", "/dev/zero", NULL};
	struct child_command command = command_of(fits);
	run(&command, &outcome);
	ck_assert(outcome.has_result);
	const char *const too_long[] = {"head", "-c", "4097", "/dev/zero", NULL};
	command = command_of(too_long);
	run(&command, &outcome);
	ck_assert(!outcome.has_result);
	ck_assert_int_eq(outcome.err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_str_eq(outcome.err.message, "head printed more than 4096 bytes, and was killed");
	assert_no_children();
}
END_TEST

START_TEST(kills_a_program_that_prints_without_end)
{
	struct outcome outcome;
	run_script("#!/bin/sh\ntrap '' TERM PIPE\nwhile :; do echo huge; done\n", &outcome);
	ck_assert_int_eq(outcome.err.code, ERR_UPSTREAM_FORMAT);
	assert_no_children();
}
END_TEST

START_TEST(keeps_the_beginning_of_a_long_complaint_and_lets_it_be_written)
{
	struct outcome outcome;
	run_script("#!/bin/sh\nprintf beginning >&2\nhead -c 1000000 /dev/zero | tr '\\0' x >&2\n"
		   "echo done\n",
		&outcome);
	ck_assert(outcome.has_result);
	ck_assert_str_eq(outcome.output, "done\n");
	ck_assert_uint_eq(strlen(outcome.complaint), CHILD_COMPLAINT_MAX);
	ck_assert(strncmp(outcome.complaint, "beginningxxx", 12) == 0);
}
END_TEST

START_TEST(reads_what_was_written_right_before_the_end)
{
	for (int i = 0; i < 50; i++) {
		struct outcome outcome;
		const char *const arguments[] = {"printf", "%4000s", "x", NULL};
		struct child_command command = command_of(arguments);
		run(&command, &outcome);
		ck_assert(outcome.has_result);
		ck_assert_uint_eq(strlen(outcome.output), 4000);
	}
}
END_TEST

/* ---- what cannot be run ---------------------------------------------------------------------- */

START_TEST(tells_a_program_that_is_not_there_from_one_that_exits_with_127)
{
	struct outcome outcome;
	const char *const absent[] = {"no-such-program-here", "x", NULL};
	struct child_command command = command_of(absent);
	run(&command, &outcome);
	ck_assert(!outcome.has_result);
	ck_assert_int_eq(outcome.err.code, ERR_UNAVAILABLE);
	ck_assert_str_eq(outcome.err.message,
		"there is no program no-such-program-here in PATH (/usr/bin:/bin)");
	run_script("#!/bin/sh\nexit 127\n", &outcome);
	ck_assert(outcome.has_result);
	unit_assert_exited(outcome.status, 127);
	assert_no_children();
}
END_TEST

START_TEST(tells_why_a_file_cannot_be_run)
{
	const struct {
		const char *name;
		const char *content;
		mode_t mode;
		enum error_code code;
		const char *message;
	} cases[] = {
		{"absent", NULL, 0, ERR_UNAVAILABLE, "there is no program "},
		{"plain", "#!/bin/sh\n", 0644, ERR_UNAVAILABLE, ": Permission denied"},
		{"no-format", "echo hello\n", 0755, ERR_UNAVAILABLE, ": Exec format error"},
		{"lost", "#!/no/such/interpreter\n", 0755, ERR_UNAVAILABLE,
			": it is there, but what its first line (#!)"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct outcome outcome;
		const char *path = path_of(cases[i].name);
		if (cases[i].content != NULL)
			ck_assert_int_eq(
				chmod(write_file(cases[i].name, cases[i].content), cases[i].mode),
				0);
		const char *const arguments[] = {path, NULL};
		struct child_command command = command_of(arguments);
		run(&command, &outcome);
		ck_assert(!outcome.has_result);
		ck_assert_int_eq(outcome.err.code, cases[i].code);
		ck_assert_msg(strstr(outcome.err.message, cases[i].message) != NULL, "%s: %s",
			cases[i].name, outcome.err.message);
		ck_assert_ptr_nonnull(strstr(outcome.err.message, path));
	}
	assert_no_children();
}
END_TEST

START_TEST(tells_that_the_directory_is_not_there)
{
	struct outcome outcome;
	const char *const arguments[] = {"true", NULL};
	struct child_command command = command_of(arguments);
	command.directory = "/no/such/directory";
	run(&command, &outcome);
	ck_assert_int_eq(outcome.err.code, ERR_SYSTEM);
	ck_assert_str_eq(outcome.err.message,
		"cannot run true in the directory /no/such/directory: No such file or directory");
}
END_TEST

START_TEST(looks_for_a_name_along_the_path_only)
{
	struct outcome outcome;
	char path[1024];
	ck_assert_int_eq(mkdir(path_of("one"), 0755), 0);
	ck_assert_int_eq(mkdir(path_of("two"), 0755), 0);
	script("tool", "#!/bin/sh\necho of the working directory\n");
	script("two/tool", "#!/bin/sh\necho second\n");
	const char *const arguments[] = {"tool", NULL};
	struct child_command command = command_of(arguments);
	ck_assert_int_eq(chdir(directory), 0);
	command.directory = directory;
	/* Empty entries and relative ones would be the working directory. */
	command.path = ":.::one:";
	run(&command, &outcome);
	ck_assert_int_eq(outcome.err.code, ERR_UNAVAILABLE);
	command.path = NULL;
	run(&command, &outcome);
	ck_assert_int_eq(outcome.err.code, ERR_UNAVAILABLE);
	snprintf(path, sizeof(path), "::/no/such:%s/one:.:%s/two", directory, directory);
	command.path = path;
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "second\n");
	/* What may not be run there is passed over, as by a shell. */
	write_file("one/tool", "#!/bin/sh\necho first\n");
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "second\n");
	ck_assert_int_eq(chmod(path_of("one/tool"), 0755), 0);
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "first\n");
}
END_TEST

static void lack_descriptors(void *argument)
{
	(void)argument;
	struct outcome outcome;
	const char *const arguments[] = {"true", NULL};
	struct child_command command = command_of(arguments);
	begin(&command, &outcome);
	int most = dup(0) + 4;
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)most, (rlim_t)most});
	finish(&outcome);
	if (outcome.has_result || outcome.err.code != ERR_SYSTEM ||
		strcmp(outcome.err.message,
			"cannot run true: no descriptors for it: Too many open files") != 0)
		_exit(1);
}

START_TEST(tells_that_there_are_no_descriptors_left)
{
	unit_assert_exited(unit_in_child(lack_descriptors, NULL), 0);
}
END_TEST

static void ignore_children(void *argument)
{
	(void)argument;
	struct outcome outcome;
	const char *const arguments[] = {"true", NULL};
	struct child_command command = command_of(arguments);
	signal(SIGCHLD, SIG_IGN);
	run(&command, &outcome);
	if (outcome.has_result || outcome.err.code != ERR_SYSTEM ||
		strstr(outcome.err.message, "SIGCHLD") == NULL)
		_exit(1);
}

START_TEST(refuses_to_run_anything_while_sigchld_is_ignored)
{
	unit_assert_exited(unit_in_child(ignore_children, NULL), 0);
}
END_TEST

static void lack_memory(void *argument)
{
	(void)argument;
	struct error err;
	struct outcome outcome = {0};
	const char *const arguments[] = {"true", NULL};
	struct child_command command = command_of(arguments);
	loop_make();
	unit_exhaust_memory();
	if (child_start(loop, &command, keep_outcome, &outcome, &err) != NULL ||
		err.code != ERR_NO_MEMORY)
		_exit(1);
}

START_TEST(says_so_when_there_is_no_memory)
{
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(lack_memory, NULL), 0);
}
END_TEST

/* ---- what takes too long --------------------------------------------------------------------- */

START_TEST(stops_a_program_that_takes_too_long)
{
	struct outcome outcome;
	const char *marker = path_of("obeyed");
	char body[512];
	snprintf(body, sizeof(body),
		"#!/bin/sh\ntrap 'echo yes >%s; exit 0' TERM\nsleep 60 & wait\n", marker);
	const char *const arguments[] = {script("slow", body), NULL};
	struct child_command command = command_of(arguments);
	command.timeout_ms = 300;
	int64_t before_ms = clock_boottime_ms(&clock_system);
	run(&command, &outcome);
	ck_assert_int_ge(clock_boottime_ms(&clock_system) - before_ms, 300);
	ck_assert_int_eq(outcome.err.code, ERR_TIMEOUT);
	ck_assert_ptr_nonnull(
		strstr(outcome.err.message, "slow did not end within 0.3 s, and was stopped"));
	ck_assert_int_eq(access(marker, F_OK), 0);
	assert_no_children();
}
END_TEST

START_TEST(kills_a_program_that_ignores_sigterm)
{
	struct outcome outcome;
	const char *const arguments[] = {
		script("deaf", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n"), NULL};
	struct child_command command = command_of(arguments);
	command.timeout_ms = 200;
	int64_t before_ms = clock_boottime_ms(&clock_system);
	run(&command, &outcome);
	ck_assert_int_ge(clock_boottime_ms(&clock_system) - before_ms, 200 + CHILD_GRACE_MS);
	ck_assert_int_eq(outcome.err.code, ERR_TIMEOUT);
	ck_assert_ptr_nonnull(
		strstr(outcome.err.message, "nor when it was asked to by SIGTERM, and was killed"));
	assert_no_children();
}
END_TEST

START_TEST(stops_a_program_that_was_stopped_by_a_signal)
{
	struct outcome outcome;
	const char *const arguments[] = {
		script("frozen", "#!/bin/sh\nkill -STOP $$\nsleep 60\n"), NULL};
	struct child_command command = command_of(arguments);
	command.timeout_ms = 100;
	run(&command, &outcome);
	ck_assert_int_eq(outcome.err.code, ERR_TIMEOUT);
	assert_no_children();
}
END_TEST

/* ---- what it leaves behind ------------------------------------------------------------------- */

/* Wait, for as long as a test may take, until the process whose number the file holds is gone. */
static void wait_until_gone(const char *pid_file)
{
	long pid = 0;
	FILE *file = fopen(pid_file, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%ld", &pid), 1);
	fclose(file);
	ck_assert_int_gt(pid, 1);
	char path[64];
	char state;
	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	for (;;) {
		file = fopen(path, "r");
		if (file == NULL)
			return;
		int found = fscanf(file, "%*d %*s %c", &state);
		fclose(file);
		if (found == 1 && (state == 'Z' || state == 'X'))
			return; /* whoever adopted it has not waited yet */
		usleep(1000);
	}
}

START_TEST(does_not_wait_for_a_grandchild_that_holds_the_pipe_and_kills_it)
{
	struct outcome outcome;
	const char *pid_file = path_of("grandchild");
	char body[512];
	snprintf(body, sizeof(body), "#!/bin/sh\nsleep 60 &\necho $! >%s\necho token\n", pid_file);
	int64_t before_ms = clock_boottime_ms(&clock_system);
	run_script(body, &outcome);
	ck_assert_int_lt(clock_boottime_ms(&clock_system) - before_ms, 30000);
	ck_assert(outcome.has_result);
	unit_assert_exited(outcome.status, 0);
	ck_assert_str_eq(outcome.output, "token\n");
	wait_until_gone(pid_file);
}
END_TEST

START_TEST(does_not_wait_for_a_grandchild_that_has_left_the_session)
{
	struct outcome outcome;
	char body[512];
	snprintf(body, sizeof(body),
		"#!/bin/sh\nsetsid sh -c 'echo $$ >%s; exec sleep 5' &\n"
		"while [ ! -s %s ]; do sleep 0.01; done\necho token\n",
		path_of("far"), path_of("far"));
	run_script(body, &outcome);
	ck_assert(outcome.has_result);
	ck_assert_str_eq(outcome.output, "token\n");
	assert_no_children();
}
END_TEST

START_TEST(does_not_read_forever_what_a_grandchild_goes_on_to_write)
{
	struct outcome outcome;
	run_script("#!/bin/sh\nyes >&2 &\nsleep 0.1\necho token\n", &outcome);
	ck_assert(outcome.has_result);
	ck_assert_str_eq(outcome.output, "token\n");
}
END_TEST

START_TEST(stops_grandchildren_together_with_a_program_that_takes_too_long)
{
	struct outcome outcome;
	const char *pid_file = path_of("grandchild");
	char body[512];
	snprintf(body, sizeof(body),
		"#!/bin/sh\n(trap '' TERM; while :; do sleep 1; done) &\necho $! >%s\nwait\n",
		pid_file);
	const char *const arguments[] = {script("slow", body), NULL};
	struct child_command command = command_of(arguments);
	command.timeout_ms = 300;
	run(&command, &outcome);
	ck_assert_int_eq(outcome.err.code, ERR_TIMEOUT);
	wait_until_gone(pid_file);
}
END_TEST

START_TEST(leaves_no_descriptor_open)
{
	struct outcome outcome;
	loop_make();
	int before = count_descriptors();
	run_script("#!/bin/sh\necho token\n", &outcome);
	const char *const absent[] = {"/no/such", NULL};
	struct child_command command = command_of(absent);
	run(&command, &outcome);
	const char *const slow[] = {"sleep", "60", NULL};
	command = command_of(slow);
	command.timeout_ms = 10;
	run(&command, &outcome);
	command.timeout_ms = 60000;
	child_cancel(begin(&command, &outcome));
	struct child *child = begin(&command, &outcome);
	loop_run(loop, 1000);
	child_cancel(child);
	ck_assert_int_eq(count_descriptors(), before);
	assert_no_children();
}
END_TEST

/* ---- cancelling ------------------------------------------------------------------------------ */

START_TEST(is_cancelled_before_it_runs)
{
	struct outcome outcome;
	const char *marker = path_of("ran");
	const char *const arguments[] = {"touch", marker, NULL};
	struct child_command command = command_of(arguments);
	child_cancel(begin(&command, &outcome));
	for (int i = 0; i < 5; i++)
		loop_run(loop, 1);
	ck_assert(!outcome.is_done);
	ck_assert_int_ne(access(marker, F_OK), 0);
	assert_no_children();
}
END_TEST

START_TEST(is_cancelled_right_after_its_fork)
{
	for (int i = 0; i < 100; i++) {
		struct outcome outcome;
		const char *const arguments[] = {"sleep", "60", NULL};
		struct child_command command = command_of(arguments);
		struct child *child = begin(&command, &outcome);
		loop_run(loop, 0);
		child_cancel(child);
		ck_assert(!outcome.is_done);
		assert_no_children();
	}
}
END_TEST

START_TEST(is_cancelled_while_it_runs_with_all_that_it_started)
{
	struct outcome outcome;
	const char *pid_file = path_of("grandchild");
	char body[512];
	snprintf(body, sizeof(body),
		"#!/bin/sh\ntrap '' TERM\nsleep 60 &\necho $! >%s.new\nmv %s.new %s\nwait\n",
		pid_file, pid_file, pid_file);
	const char *const arguments[] = {script("slow", body), NULL};
	struct child_command command = command_of(arguments);
	struct child *child = begin(&command, &outcome);
	wait_for_file(pid_file);
	child_cancel(child);
	assert_no_children();
	wait_until_gone(pid_file);
	ck_assert(!outcome.is_done);
}
END_TEST

START_TEST(is_cancelled_after_it_was_told_to_stop)
{
	struct outcome outcome;
	const char *marker = path_of("told");
	char body[512];
	snprintf(body, sizeof(body),
		"#!/bin/sh\ntrap 'touch %s' TERM\nwhile :; do sleep 0.01; done\n", marker);
	const char *const arguments[] = {script("deaf", body), NULL};
	struct child_command command = command_of(arguments);
	command.timeout_ms = 300;
	struct child *child = begin(&command, &outcome);
	wait_for_file(marker);
	child_cancel(child);
	assert_no_children();
	ck_assert(!outcome.is_done);
}
END_TEST

/* ---- turns ----------------------------------------------------------------------------------- */

START_TEST(runs_no_more_than_a_few_at_a_time_and_all_of_them_in_the_end)
{
	struct outcome outcomes[3 * CHILD_COUNT_MAX];
	char body[512];
	ck_assert_int_eq(mkdir(path_of("running"), 0755), 0);
	/* Each counts how many there are beside it, itself included. */
	snprintf(body, sizeof(body),
		"#!/bin/sh\ncd %s\ntouch $$\nls | wc -l\nsleep 0.05\nls | wc -l\nrm $$\n",
		path_of("running"));
	const char *const arguments[] = {script("one", body), NULL};
	struct child_command command = command_of(arguments);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		begin(&command, &outcomes[i]);
	int most = 0;
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++) {
		int first;
		int second;
		finish(&outcomes[i]);
		ck_assert_int_eq(sscanf(outcomes[i].output, "%d %d", &first, &second), 2);
		most = first > most ? first : most;
		most = second > most ? second : most;
	}
	ck_assert_int_le(most, CHILD_COUNT_MAX);
	ck_assert_int_gt(most, 1);
	assert_no_children();
}
END_TEST

START_TEST(lets_others_pass_when_those_that_run_or_wait_are_cancelled)
{
	struct outcome outcomes[CHILD_COUNT_MAX];
	struct outcome waiting[2];
	struct outcome last;
	struct child *children[CHILD_COUNT_MAX];
	const char *const slow[] = {"sleep", "60", NULL};
	const char *const quick[] = {"echo", "done", NULL};
	struct child_command command = command_of(slow);
	for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
		children[i] = begin(&command, &outcomes[i]);
	struct child *first_waiting = begin(&command, &waiting[0]);
	command.arguments = quick;
	begin(&command, &waiting[1]);
	struct child *last_waiting = begin(&command, &last);
	loop_run(loop, 0);
	child_cancel(first_waiting);
	child_cancel(last_waiting);
	child_cancel(children[0]);
	finish(&waiting[1]);
	ck_assert_str_eq(waiting[1].output, "done\n");
	run(&command, &last);
	ck_assert_str_eq(last.output, "done\n");
	for (size_t i = 1; i < CHILD_COUNT_MAX; i++)
		child_cancel(children[i]);
	assert_no_children();
}
END_TEST

START_TEST(counts_its_time_from_its_start_and_not_from_when_it_was_asked_for)
{
	struct outcome outcomes[CHILD_COUNT_MAX];
	struct outcome outcome;
	const char *const slow[] = {"sleep", "0.5", NULL};
	const char *const quick[] = {"echo", "done", NULL};
	struct child_command command = command_of(slow);
	for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
		begin(&command, &outcomes[i]);
	command = command_of(quick);
	command.timeout_ms = 400;
	run(&command, &outcome);
	ck_assert(outcome.has_result);
	for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
		finish(&outcomes[i]);
}
END_TEST

START_TEST(gives_the_turn_on_when_a_program_cannot_be_run)
{
	struct outcome outcome;
	const char *const absent[] = {"/no/such", NULL};
	struct child_command command = command_of(absent);
	for (int i = 0; i < 2 * CHILD_COUNT_MAX; i++)
		run(&command, &outcome);
	run_script("#!/bin/sh\necho done\n", &outcome);
	ck_assert_str_eq(outcome.output, "done\n");
}
END_TEST

START_TEST(copies_all_of_the_command)
{
	struct outcome outcomes[CHILD_COUNT_MAX + 1];
	const char *const slow[] = {"sleep", "0.2", NULL};
	struct child_command command = command_of(slow);
	for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
		begin(&command, &outcomes[i]);
	char program[] = "sh";
	char option[] = "-c";
	char body[] = "echo $A $PWD";
	char variable[] = "A=value";
	char path[] = "/usr/bin:/bin";
	char working[] = "/usr";
	const char *arguments[] = {program, option, body, NULL};
	const char *environment[] = {variable, NULL};
	command = command_of(arguments);
	command.environment = environment;
	command.path = path;
	command.directory = working;
	begin(&command, &outcomes[CHILD_COUNT_MAX]);
	for (char *words[] = {program, option, body, variable, path, working}, **w = words;
		w < words + UNIT_COUNT(words); w++)
		memset(*w, '!', strlen(*w));
	memset(arguments, 0, sizeof(arguments));
	memset(environment, 0, sizeof(environment));
	memset(&command, 0, sizeof(command));
	finish(&outcomes[CHILD_COUNT_MAX]);
	ck_assert_str_eq(outcomes[CHILD_COUNT_MAX].output, "value /usr\n");
	for (size_t i = 0; i < CHILD_COUNT_MAX; i++)
		finish(&outcomes[i]);
}
END_TEST

UNIT_MAIN("child", gives_the_status_and_both_outputs_of_a_program,
	gives_the_status_of_a_program_that_fails, gives_the_signal_that_ended_a_program,
	takes_the_output_of_a_program_that_prints_nothing, lets_the_output_be_taken,
	passes_every_argument_as_it_is, takes_output_up_to_the_limit_and_not_a_byte_more,
	kills_a_program_that_prints_without_end,
	keeps_the_beginning_of_a_long_complaint_and_lets_it_be_written,
	reads_what_was_written_right_before_the_end,
	tells_a_program_that_is_not_there_from_one_that_exits_with_127,
	tells_why_a_file_cannot_be_run, tells_that_the_directory_is_not_there,
	looks_for_a_name_along_the_path_only, tells_that_there_are_no_descriptors_left,
	refuses_to_run_anything_while_sigchld_is_ignored, says_so_when_there_is_no_memory,
	stops_a_program_that_takes_too_long, kills_a_program_that_ignores_sigterm,
	stops_a_program_that_was_stopped_by_a_signal,
	does_not_wait_for_a_grandchild_that_holds_the_pipe_and_kills_it,
	does_not_wait_for_a_grandchild_that_has_left_the_session,
	does_not_read_forever_what_a_grandchild_goes_on_to_write,
	stops_grandchildren_together_with_a_program_that_takes_too_long, leaves_no_descriptor_open,
	is_cancelled_before_it_runs, is_cancelled_right_after_its_fork,
	is_cancelled_while_it_runs_with_all_that_it_started, is_cancelled_after_it_was_told_to_stop,
	runs_no_more_than_a_few_at_a_time_and_all_of_them_in_the_end,
	lets_others_pass_when_those_that_run_or_wait_are_cancelled,
	counts_its_time_from_its_start_and_not_from_when_it_was_asked_for,
	gives_the_turn_on_when_a_program_cannot_be_run, copies_all_of_the_command)
