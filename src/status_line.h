/*
 * The one line that the service manager shows of the daemon: how many accounts have a valid token,
 * what fails, and what happens next.
 */
#ifndef MRTOKEND_STATUS_LINE_H
#define MRTOKEND_STATUS_LINE_H

#include "token/account.h"

#include <stddef.h>
#include <stdint.h>

#define STATUS_LINE_SIZE 768

struct status_line {
	char state[640]; /* to be told as soon as it changes */
	char next[112]; /* changes by time alone: to be told now and then */
};

/*
 * Describe the registry's accounts at `now_ms` (CLOCK_BOOTTIME).
 *
 * reader        the thread's place among the epoch's readers
 * reload_error  why the last reload failed, or ""
 */
void status_line_describe(struct registry *registry, unsigned reader, int64_t now_ms,
	const char *reload_error, struct status_line *line);

/* Both parts in one; `out` has STATUS_LINE_SIZE bytes. */
void status_line_join(const struct status_line *line, char *out);

#endif
