/*
 * How a program ended that a credential was to be got from, for the person who has to act. Pure.
 */
#ifndef MRTOKEND_CREDENTIAL_PROGRAM_END_H
#define MRTOKEND_CREDENTIAL_PROGRAM_END_H

#include "base/secret.h"

#include <stddef.h>

/* What is long enough for any of the sentences. */
#define PROGRAM_END_MAX 512

/*
 * Say it: "exited with 3: ERROR: no such subscription", "was ended by signal 9".
 *
 * status     as waitpid() tells it
 * complaint  what it wrote to standard error: the first line of it that says ERROR, else the first
 *            that is no WARNING, is shown, as far as it may be
 * shown      a secret that the words must not repeat, or NULL
 */
void program_end_describe(int status, const struct secret *complaint, const struct secret *shown,
	char out[PROGRAM_END_MAX]);

#endif
