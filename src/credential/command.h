/*
 * A command of the configuration whose output is a secret, such as client_assertion_command: its
 * words are split here and run without a shell.
 */
#ifndef MRTOKEND_CREDENTIAL_COMMAND_H
#define MRTOKEND_CREDENTIAL_COMMAND_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"

#include <stddef.h>

struct command; /* split, and ready to be run at any time */
struct command_run; /* one run of it, under way */

/* Words at most, the program included. */
#define COMMAND_WORDS_MAX 64
/* From its start, which may have to wait for its turn: child.h. */
#define COMMAND_TIMEOUT_MS 30000
/* Of standard output: as long as any secret may be. */
#define COMMAND_OUTPUT_MAX ((size_t)64 * 1024)

/*
 * Split the line into words: they are divided by spaces, and "double quotes" keep spaces in a word,
 * or make an empty one; within them \" and \\ stand for " and \. Nothing else has a meaning: no
 * variable, no pattern, no single quote. The first word, the program, is an absolute path.
 *
 * key    that the line is the value of, for messages, such as "client_assertion_command"
 * words  set on success only: ended by NULL, one block of memory; free()
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, worded for whoever writes the configuration;
 * ERR_NO_MEMORY. Pure; any thread.
 */
int command_split(const char *line, const char *key, char ***words, struct error *err);

/*
 * The main thread, from a kind's open(): the user is looked up and the environment is read.
 * line    as above; copied
 * key     a constant
 * run_as  the user that it runs as, or NULL for the daemon's own
 * Returns NULL with *err: ERR_CONFIGURATION, ERR_NO_MEMORY. Free with command_close().
 */
struct command *command_open(
	const char *line, const char *key, const char *run_as, struct error *err);

/*
 * Called once, from within loop_run().
 * output  what it printed, without white space around it and never empty; may be taken: set it to
 *         NULL then. NULL on failure, and then *err says why, with the key and the program:
 *         ERR_UNAVAILABLE when there is no such program, ERR_CONFIGURATION when the daemon may not
 *         run it as that user, ERR_SECRET_SOURCE when it failed or printed nothing, ERR_TIMEOUT,
 *         ERR_UPSTREAM_FORMAT when it printed too much, ERR_SYSTEM, ERR_NO_MEMORY.
 */
typedef void (*command_done_fn)(void *context, struct secret **output, const struct error *err);

/*
 * Run it; never calls `done` before it returns. The refresh thread. `command` outlives the run.
 * Returns the run, valid until `done` is called or command_cancel(); or NULL with *err.
 */
struct command_run *command_start(struct command *command, struct loop *loop, command_done_fn done,
	void *context, struct error *err);

/* Kill it, and do not call `done`. */
void command_cancel(struct command_run *run);

/* No run is under way. NULL is fine. */
void command_close(struct command *command);

#endif
