/*
 * The one line that the service manager shows of the daemon: how many accounts have a valid token,
 * what fails, and what happens next.
 */
#ifndef MRTOKEND_STATUS_LINE_H
#define MRTOKEND_STATUS_LINE_H

#include "base/error.h"
#include "token/account.h"

#include <stddef.h>
#include <stdint.h>

/* The state has room for the whole reason of a failed reload. */
#define STATUS_LINE_STATE_SIZE (640 + ERROR_MESSAGE_SIZE)
#define STATUS_LINE_NEXT_SIZE 112
#define STATUS_LINE_SIZE (STATUS_LINE_STATE_SIZE + STATUS_LINE_NEXT_SIZE)

struct status_line {
	char state[STATUS_LINE_STATE_SIZE]; /* to be told as soon as it changes */
	char next[STATUS_LINE_NEXT_SIZE]; /* changes by time alone: to be told now and then */
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
