/*
 * Writing to standard output: by write(2), with no buffer between that would keep a copy, and with
 * every failure told.
 */
#ifndef MRTOKEND_CLI_OUTPUT_H
#define MRTOKEND_CLI_OUTPUT_H

#include "base/secret.h"
#include "cli/cli.h"

/*
 * Make sure that descriptors 0 to 2 are taken, so that no socket gets one of them and is written to
 * as if it were standard output. Writing to one that was closed still fails. SIGPIPE is ignored: a
 * closed pipe is a failure like any other. Call first of all.
 */
void output_prepare(void);

/*
 * Write all of it to standard output.
 * Returns 0, or -1 with *failure: CLI_EXIT_FAILURE and errno's words.
 */
int output_secret(const struct secret *secret, struct cli_failure *failure);
int output_text(const struct text *text, struct cli_failure *failure);

/* Write it to standard error with control characters other than line ends replaced by '?'. */
void output_error(const char *message);

/* Whether standard error is a terminal that goes back to the beginning of a line. */
bool output_error_is_terminal(void);

/* Append `bytes` with whatever is not printable ASCII replaced by '?'. */
void output_printable(struct text *text, const char *bytes, size_t len);

/* Columns of the terminal at standard output, or 0 when it is none. */
size_t output_terminal_width(void);

/* Whether to colour: standard output is a terminal, NO_COLOR is not set, TERM is not "dumb". */
bool output_is_coloured(void);

#endif
