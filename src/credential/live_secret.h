/*
 * A secret that follows its source: a file is looked at before each use and read again when it is
 * another one or has changed, as rotation by rename, by Kubernetes' links or by systemd makes it.
 */
#ifndef MRTOKEND_CREDENTIAL_LIVE_SECRET_H
#define MRTOKEND_CREDENTIAL_LIVE_SECRET_H

#include "base/error.h"
#include "base/secret.h"
#include "credential/secret_source.h"

#include <stdbool.h>
#include <stdint.h>

struct live_secret;

/*
 * The main thread. A variable is read now, and wiped from the environment; a file is not opened
 * yet.
 *
 * source  copied; SECRET_SOURCE_NONE is an error
 * key     the key of the configuration that names it, for messages; a constant
 *
 * Returns NULL with *err. Free with live_secret_free().
 */
struct live_secret *live_secret_open(
	const struct secret_source *source, const char *key, struct error *err);

/*
 * The same for bytes that white space may be a part of, such as those of PKCS#12: they are left as
 * they are.
 */
struct live_secret *live_secret_open_binary(
	const struct secret_source *source, const char *key, struct error *err);

/* The same for a file whose path does not come from a secret's key; the path is absolute. */
struct live_secret *live_secret_open_file(const char *path, const char *key, struct error *err);

/*
 * The secret as it is now, without white space around it; owned by `live`, valid until the next
 * call. The refresh thread.
 *
 * version  a number that is another one whenever the secret is; or NULL
 *
 * Returns NULL with *err: ERR_SECRET_SOURCE, worded with the key and where it is configured.
 */
const struct secret *live_secret_get(
	struct live_secret *live, uint64_t *version, struct error *err);

/* The number of the secret that was read last; 0 before that. It is not read now. */
uint64_t live_secret_version(const struct live_secret *live);

/* The absolute path of the file that it follows, or NULL. Valid as long as `live`. */
const char *live_secret_path(const struct live_secret *live);

/*
 * Whether both were found to hold the same when they were last read; one that was not read yet
 * holds nothing. Neither is read now.
 */
bool live_secret_is_same(const struct live_secret *a, const struct live_secret *b);

/* "file:/PATH" or the like, for messages. Valid as long as `live`. */
const char *live_secret_name(const struct live_secret *live);

/* NULL is fine. */
void live_secret_free(struct live_secret *live);

#endif
