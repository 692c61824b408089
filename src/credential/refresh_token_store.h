/*
 * The refresh token of a login in a file that outlives the daemon: encrypted and authenticated by
 * AES-256-GCM, with a key that HKDF-SHA256 derives from the bytes of refresh_token_key.
 *
 * The file is written as a whole or not at all, and only over one that could be read. One that
 * cannot be read is left as it is, whatever the reason: what to do about it is said to a person.
 */
#ifndef MRTOKEND_CREDENTIAL_REFRESH_TOKEN_STORE_H
#define MRTOKEND_CREDENTIAL_REFRESH_TOKEN_STORE_H

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"

#include <stddef.h>

/* Those of Microsoft Entra ID have one or two thousand bytes. */
#define REFRESH_TOKEN_MAX ((size_t)32 * 1024)
#define REFRESH_TOKEN_KEY_MIN ((size_t)16)

/* Salt and nonce, new with every image. */
#define REFRESH_TOKEN_FRESH_SIZE 28

/* Whose refresh token it is. An image of one owner is refused to any other; case does not count. */
struct refresh_token_owner {
	const char *authority;
	const char *tenant_id;
	const char *client_id;
};

/*
 * Make the image of a refresh token: what a file holds, no secret any more.
 *
 * fresh  REFRESH_TOKEN_FRESH_SIZE random bytes, never the same twice with one key
 * image  empty; bytes, not a string
 *
 * Returns 0, or -1 with *err: ERR_SECRET_SOURCE when the key is too short, ERR_UPSTREAM_FORMAT when
 * the token is empty or too long, ERR_NO_MEMORY. Any thread.
 */
int refresh_token_encode(const struct secret *token, const struct secret *key,
	const struct refresh_token_owner *owner, const unsigned char *fresh, struct text *image,
	struct error *err);

/*
 * The refresh token of an image.
 * Returns NULL with *err: ERR_SECRET_SOURCE, which tells apart what is no image, another version,
 * another key, another owner and damage; ERR_NO_MEMORY. Any thread. Free with secret_free().
 */
struct secret *refresh_token_decode(const void *image, size_t len, const struct secret *key,
	const struct refresh_token_owner *owner, struct error *err);

/*
 * Read the file.
 * Returns 0 with *token, which the caller frees; 1 when there is no such file; or -1 with *err:
 * ERR_SECRET_SOURCE that names the file, ERR_NO_MEMORY. The refresh thread.
 */
int refresh_token_load(const char *path, const struct secret *key,
	const struct refresh_token_owner *owner, struct secret **token, struct error *err);

/*
 * Put the token into the file, which is there afterwards, whole, whenever the power fails. A file
 * that refresh_token_load() would not read is not replaced. The refresh thread, which waits for the
 * disk.
 * Returns 0, or -1 with *err: ERR_SECRET_SOURCE that names the file, and then it is as it was.
 */
int refresh_token_save(const char *path, const struct secret *token, const struct secret *key,
	const struct refresh_token_owner *owner, struct error *err);

/*
 * Remove the file; one that is not there is as good as removed. The refresh thread, likewise.
 * Returns 0, or -1 with *err: ERR_SECRET_SOURCE that names the file.
 */
int refresh_token_remove(const char *path, struct error *err);

#endif
