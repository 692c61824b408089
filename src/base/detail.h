/*
 * What an upstream says of an error, made fit for people: short, printable, and without whatever it
 * repeats of the credential that it was shown. Any thread.
 */
#ifndef MRTOKEND_BASE_DETAIL_H
#define MRTOKEND_BASE_DETAIL_H

#include "base/secret.h"

#include <stdbool.h>
#include <stddef.h>

#define DETAIL_MAX 160 /* as much as is said of an error that is nothing special */
#define DETAIL_LEAST 64

/*
 * `line` is what was sent, or NULL where nothing in it was secret.
 *
 * Whether the words repeat a part of what stands in `line` from `secret_offset` on, eight bytes of
 * it in a row, be they escaped as in JSON or in a URL. True too when there is no memory to find
 * out.
 */
bool detail_repeats(const struct secret *line, size_t secret_offset, const char *words, size_t len);

/*
 * The words, cut to what fits `out`, which is at least DETAIL_LEAST. They are withheld as a whole
 * when they repeat the credential; and of other words any that is long enough to be a key or a
 * token.
 */
void detail_copy(const struct secret *line, size_t secret_offset, const char *words, size_t len,
	char *out, size_t out_size);

/* What a body says: its code and message if it is JSON that has them, else its first words. */
void detail_of_body(const struct secret *line, size_t secret_offset,
	const struct secret *body_secret, char *out, size_t out_size);

#endif
