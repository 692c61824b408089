/*
 * Running children in unit tests: scripts that the test writes, a loop that is run until they have
 * ended, and what came of them. Each test program that needs it includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_CHILD_RIG_H
#define MRTOKEND_TESTS_UNIT_CHILD_RIG_H

#include "base/child.h"
#include "base/clock.h"
#include "base/loop.h"

#include "files.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>

struct outcome {
	bool is_done;
	bool has_result;
	int status;
	char output[8192];
	char complaint[CHILD_COMPLAINT_MAX + 1];
	struct error err;
};

static struct loop *loop;

static inline void loop_make(void)
{
	struct error err;
	if (loop == NULL)
		loop = loop_new(&clock_system, &err);
	ck_assert_ptr_nonnull(loop);
}

static inline void keep_outcome(void *context, struct child_result *result, const struct error *err)
{
	struct outcome *outcome = context;
	ck_assert(!outcome->is_done);
	outcome->is_done = true;
	if (result == NULL) {
		outcome->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	outcome->has_result = true;
	outcome->status = result->status;
	snprintf(outcome->output, sizeof(outcome->output), "%s", secret_bytes(result->output));
	snprintf(outcome->complaint, sizeof(outcome->complaint), "%s",
		secret_bytes(result->complaint));
}

/* Run the loop until it is done. */
static inline void finish(struct outcome *outcome)
{
	while (!outcome->is_done)
		loop_run(loop, 1000);
}

/* Write an executable script. Returns its path, one of a few that are used in turn. */
static inline const char *script(const char *name, const char *body)
{
	const char *path = write_file(name, body);
	ck_assert_int_eq(chmod(path, 0755), 0);
	return path;
}

static const char *const no_environment[] = {NULL};

/* A command with usual limits; it runs as this process. */
static inline struct child_command command_of(const char *const *arguments)
{
	return (struct child_command){
		.arguments = arguments,
		.environment = no_environment,
		.path = "/usr/bin:/bin",
		.directory = "/",
		.uid = geteuid(),
		.gid = getegid(),
		.timeout_ms = 60000,
		.output_max = 4096,
	};
}

static inline struct child *begin(const struct child_command *command, struct outcome *outcome)
{
	struct error err;
	loop_make();
	*outcome = (struct outcome){0};
	struct child *child = child_start(loop, command, keep_outcome, outcome, &err);
	ck_assert_ptr_nonnull(child);
	ck_assert(!outcome->is_done);
	return child;
}

static inline void run(const struct child_command *command, struct outcome *outcome)
{
	begin(command, outcome);
	finish(outcome);
}

/* Run a shell script with usual limits. */
static inline void run_script(const char *body, struct outcome *outcome)
{
	const char *const arguments[] = {script("program", body), NULL};
	struct child_command command = command_of(arguments);
	run(&command, outcome);
}

static inline int count_descriptors(void)
{
	DIR *fds = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(fds);
	int count = 0;
	while (readdir(fds) != NULL)
		count++;
	closedir(fds);
	return count;
}

/* The loop leaves no process, not even one that nobody has waited for. */
static inline void assert_no_children(void)
{
	siginfo_t info;
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
		loop_run(loop, 10);
	ck_assert_int_eq(errno, ECHILD);
}

/* Run the loop until a script has made the file. */
static inline void wait_for_file(const char *path)
{
	while (access(path, F_OK) != 0)
		loop_run(loop, 5);
}

#endif
