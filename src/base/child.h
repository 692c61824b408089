/*
 * Run a program and take what it prints: without a shell, with nothing of this process but what is
 * named here, for a limited time, in a process group of its own that is killed as a whole.
 * The loop's thread.
 */
#ifndef MRTOKEND_BASE_CHILD_H
#define MRTOKEND_BASE_CHILD_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"

#include <sys/types.h>

struct child;

struct child_command {
	const char *const *arguments; /* the program's path or name first, ended by NULL */
	const char *const *environment; /* NAME=VALUE, ended by NULL: all that it gets */
	const char *path; /* where a name without a slash is looked for, like $PATH */
	const char *directory; /* the working directory */
	uid_t uid; /* as whom it runs; the process's own is always allowed */
	gid_t gid;
	const char *user; /* whose supplementary groups it gets when uid is another; or NULL */
	int64_t timeout_ms; /* then SIGTERM, and CHILD_GRACE_MS later SIGKILL */
	size_t output_max; /* of standard output; more is an error, and the program is killed */
};

#define CHILD_GRACE_MS 1000
/* The beginning of standard error that is kept. */
#define CHILD_COMPLAINT_MAX 2048

struct child_result {
	int status; /* as waitpid() tells it */
	struct secret *output; /* may be taken: set it to NULL then */
	const struct secret *complaint; /* standard error's beginning; it may hold a secret */
};

/*
 * Called once, from within loop_run(), when the program has ended or was made to.
 * result  NULL when it could not be run, ran too long or printed too much, and then *err says so:
 *         ERR_UNAVAILABLE when there is no such program, ERR_TIMEOUT, ERR_UPSTREAM_FORMAT for too
 *         much output, ERR_SYSTEM, ERR_NO_MEMORY. It lives until the function returns.
 */
typedef void (*child_done_fn)(void *context, struct child_result *result, const struct error *err);

/*
 * Start it. Everything in *command is copied or no longer used when this returns.
 * Returns the child, valid until `done` is called; or NULL with *err, and `done` is not called.
 */
struct child *child_start(struct loop *loop, const struct child_command *command,
	child_done_fn done, void *context, struct error *err);

/* Kill it, and do not call `done`. */
void child_cancel(struct child *child);

#endif
