/*
 * Memory for secrets: keys, tokens, and whatever holds a copy of one.
 *
 * It is locked against swapping, left out of core dumps, hidden from debuggers where the kernel can
 * do that, not there in a forked child, fenced by guard pages, ended by canaries, and wiped when
 * freed. Whatever is secret lives in a struct secret, and functions that need its bytes take the
 * struct. Any thread may allocate and free; the bytes of one secret belong to one thread at a time
 * until they no longer change. A forked child neither reads nor frees what its parent had, for it
 * is zero or not mapped there; it can have secrets of its own.
 */
#ifndef MRTOKEND_BASE_SECRET_H
#define MRTOKEND_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret;

/* The longest secret. An answer, a key or a file beyond it is refused by whoever reads it. */
#define SECRET_MAX ((size_t)1 << 20)

/*
 * An empty secret that can grow to `capacity` bytes without moving.
 * Returns NULL when there is no memory, or `capacity` is above SECRET_MAX. Free with secret_free().
 */
struct secret *secret_new(size_t capacity);

/* A secret with a copy of `len` bytes. The caller wipes the original. NULL as secret_new(). */
struct secret *secret_from(const void *bytes, size_t len);

/*
 * Append bytes, not its own; the secret moves when it must grow, and the old place is wiped.
 * Returns 0, or -1 when there is no memory or it would pass SECRET_MAX; it is then unchanged.
 */
int secret_append(struct secret *secret, const void *bytes, size_t len);

/* Append the bytes of a string that is no secret, or of a secret. Returns as secret_append. */
int secret_append_string(struct secret *secret, const char *string);
int secret_append_secret(struct secret *secret, const struct secret *other);

/*
 * Append `len` zero bytes for the caller to fill in; secret_truncate() drops what was too much.
 * Returns where they start, valid until the secret changes, or NULL as secret_append.
 */
unsigned char *secret_extend(struct secret *secret, size_t len);

/* Drop white space and line ends at both ends: key files end in a newline. */
void secret_trim(struct secret *secret);

/* Wipe the bytes beyond `len`, which must not be above the present length. */
void secret_truncate(struct secret *secret, size_t len);

/* The bytes, always followed by a NUL that does not count. Valid until the secret changes. */
const char *secret_bytes(const struct secret *secret);
size_t secret_len(const struct secret *secret);

/* Whether both hold the same bytes. Time depends on the lengths only. NULL equals nothing. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Whether the `len` bytes at `haystack` contain the secret. An empty secret is in nothing. */
bool secret_is_within(const struct secret *secret, const char *haystack, size_t len);

/* Wipe and free. NULL is fine. A damaged canary ends the process at once. */
void secret_free(struct secret *secret);

void secret_cleanup(struct secret **secret);
#define _cleanup_secret_ __attribute__((cleanup(secret_cleanup)))

struct secret_memory {
	size_t bytes_in_use; /* handed out, rounded up to the places they take */
	size_t bytes_mapped; /* without the guard pages */
	size_t bytes_hidden; /* mapped, and beyond the reach of /proc/PID/mem and ptrace */
	size_t bytes_unlocked; /* mapped, but the lock was refused (RLIMIT_MEMLOCK) */
};

/* How much there is, for metrics and for the warning about unlocked memory. Any thread. */
void secret_memory_usage(struct secret_memory *usage);

#endif
