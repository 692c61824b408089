/*
 * What an upstream says of an error, made fit for people: short, printable, and without whatever it
 * repeats of the credential that it was shown. Any thread.
 */
#ifndef MRTOKEND_UPSTREAM_DETAIL_H
#define MRTOKEND_UPSTREAM_DETAIL_H

#include "base/secret.h"

#include <stdbool.h>
#include <stddef.h>

#define DETAIL_MAX 160

/*
 * Whether the words repeat a part of what stands in `line` from `secret_offset` on, eight bytes of
 * it in a row, be they escaped as in JSON or in a URL. True too when there is no memory to find
 * out.
 */
bool detail_repeats(const struct secret *line, size_t secret_offset, const char *words, size_t len);

/*
 * The words, cut to DETAIL_MAX. They are withheld as a whole when they repeat the credential; and
 * of other words any that is long enough to be a key or a token.
 */
void detail_copy(const struct secret *line, size_t secret_offset, const char *words, size_t len,
	char out[DETAIL_MAX]);

/* What a body says: its code and message if it is JSON that has them, else its first words. */
void detail_of_body(const struct secret *line, size_t secret_offset,
	const struct secret *body_secret, char out[DETAIL_MAX]);

#endif
