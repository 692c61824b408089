/*
 * Start a program: fork, give up whatever is not named, execute. What child.h does not need the
 * loop for.
 */
#ifndef MRTOKEND_BASE_SPAWN_H
#define MRTOKEND_BASE_SPAWN_H

#include "base/child.h"
#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* All descriptors are closed on exec, and reading does not block. */
struct spawned {
	pid_t pid; /* leads a session and a process group of its own; not yet waited for */
	int pidfd; /* readable when it has ended; -1 where the kernel has none */
	int output_fd; /* its standard output */
	int complaint_fd; /* its standard error */
	int report_fd; /* see spawn_read_report() */
};

/*
 * Start it. That it runs is not known yet when this returns: spawn_read_report() tells.
 * Returns 0, or -1 with *err: ERR_SYSTEM, ERR_NO_MEMORY. *spawned is set on success only.
 */
int spawn_start(const struct child_command *command, struct spawned *spawned, struct error *err);

/*
 * Whether the program could be executed, once `report_fd` is readable or the process has ended.
 * Returns 0 when it could, or nobody will ever say; 1 when that is not known yet; -1 when it could
 * not, with *err: ERR_UNAVAILABLE when there is no such program or it is none, ERR_CONFIGURATION
 * when this process may not become that user, ERR_SYSTEM.
 */
int spawn_read_report(const struct child_command *command, int report_fd, struct error *err);

/*
 * Send the signal to the process and to all of its group. It has not been waited for.
 * Returns 0, also when it has ended; or -1 with errno: this process may not.
 */
int spawn_kill(pid_t pid, int signal_number);

#endif
