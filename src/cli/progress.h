/*
 * Waiting, seen on standard error: on a terminal one line that moves, elsewhere a line now and
 * then. One thread.
 */
#ifndef MRTOKEND_CLI_PROGRESS_H
#define MRTOKEND_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Where it is no terminal, a line comes as often as this. */
#define PROGRESS_LINE_S 60

/* Zeroed is the beginning. */
struct progress {
	unsigned turn;
	bool has_line; /* on the terminal, to be wiped */
	int64_t told_s; /* what was left when it was last told; 0: not told yet */
};

/* Tell what is waited for and how long that may take, in seconds. */
void progress_show(struct progress *progress, const char *what, int64_t left_s);

/* Leave no line behind that is half of one. */
void progress_end(struct progress *progress);

/*
 * From now on, SIGINT and SIGTERM end the line on the terminal, say these words, and end the
 * process as they do.
 */
void progress_catch_signals(const char *words);

#endif
