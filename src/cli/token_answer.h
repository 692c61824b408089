/*
 * Is this an answer with a token, and a whole one? Checked in place, in secret memory, so that
 * nothing else is ever printed as a token and no copy of one is made.
 */
#ifndef MRTOKEND_CLI_TOKEN_ANSWER_H
#define MRTOKEND_CLI_TOKEN_ANSWER_H

#include "base/secret.h"

enum token_form {
	TOKEN_FORM_BARE, /* TOKEN */
	TOKEN_FORM_HEADER, /* Authorization: Bearer TOKEN */
	TOKEN_FORM_JSON, /* an object whose member "token" is a string */
};

/*
 * White space at the ends is dropped first. A token is what RFC 6750 allows behind "Bearer".
 * Returns NULL if it is of the form, or else what is wrong, without a byte of it.
 */
const char *token_answer_fault(struct secret *body, enum token_form form);

#endif
