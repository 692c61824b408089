/*
 * Run a program and take what it prints: without a shell, with nothing of this process but what is
 * named here, for a limited time, in a process group of its own that is killed when the program
 * ends; the program itself is killed by the kernel when this process ends. What it started in other
 * groups is left to the service's cgroup.
 *
 * No more than CHILD_COUNT_MAX run at a time, however many are asked for: the others wait for their
 * turn, in the order in which they were asked for.
 *
 * One thread of the process runs children: the loop's, or that of all loops that do.
 */
#ifndef MRTOKEND_BASE_CHILD_H
#define MRTOKEND_BASE_CHILD_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"

#include <sys/types.h>

struct child;

/* Enough to keep a host's cores busy, and too few to bring it down. */
#define CHILD_COUNT_MAX 4

#define CHILD_GRACE_MS 1000
/* The beginning of standard error that is kept. */
#define CHILD_COMPLAINT_MAX 8192

struct child_command {
	const char *const *arguments; /* the program's path or name first, ended by NULL */
	const char *const *environment; /* NAME=VALUE, ended by NULL: all that it gets */
	/* Where a name without a slash is looked for, as in $PATH; entries that are no absolute
	 * path, empty ones included, are passed over. NULL is empty. */
	const char *path;
	const char *directory; /* the working directory */
	/* As whom it runs. When uid is the process's own, nothing of this is changed. */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* the supplementary groups */
	size_t group_count;
	const char *user; /* the name, for messages; or NULL */
	int64_t timeout_ms; /* from its start; then SIGTERM, and CHILD_GRACE_MS later SIGKILL */
	size_t output_max; /* of standard output; more is an error, and the program is killed */
};

/* A copy with all that it points to, in one block. NULL: no memory. Free with free(). */
struct child_command *child_command_copy(const struct child_command *command);

struct child_result {
	int status; /* as waitpid() tells it */
	struct secret *output; /* may be taken: set it to NULL then */
	const struct secret *complaint; /* standard error's beginning; it may hold a secret */
};

/*
 * Called once, from within loop_run(), when the program has ended or was made to. What it left
 * running in its session's process group is killed then: nobody waits for a pipe that a grandchild
 * holds open.
 * result  NULL when it could not be run, ran too long or printed too much, and then *err says so:
 *         ERR_UNAVAILABLE when there is no such program, ERR_CONFIGURATION when this process may
 *         not run it as that user, ERR_TIMEOUT, ERR_UPSTREAM_FORMAT for too much output,
 *         ERR_SYSTEM, ERR_NO_MEMORY. It lives until the function returns.
 */
typedef void (*child_done_fn)(void *context, struct child_result *result, const struct error *err);

/*
 * Start it when its turn comes, from within loop_run(). Everything in *command is copied.
 * Returns the child, valid until `done` is called or child_cancel(); or NULL with *err:
 * ERR_NO_MEMORY, and `done` is not called.
 */
struct child *child_start(struct loop *loop, const struct child_command *command,
	child_done_fn done, void *context, struct error *err);

/* Kill it with all of its process group, and do not call `done`. Waits for its end, but briefly. */
void child_cancel(struct child *child);

#endif
