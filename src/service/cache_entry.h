/*
 * One token of a kept image: its bytes, and what they say. Nothing here touches a file.
 * The layout is told in service/cache_image.h.
 */
#ifndef MRTOKEND_SERVICE_CACHE_ENTRY_H
#define MRTOKEND_SERVICE_CACHE_ENTRY_H

#include "token/account.h"

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CACHE_ENTRY_SIZE 96 /* without what is of any length */
#define CACHE_NAME_MAX 255
#define CACHE_DIGEST_SIZE 32

/* No token is kept that would live longer: no upstream's token is believed to (refresh_task.c). */
#define CACHE_LIFETIME_MAX_MS (INT64_C(48) * 3600 * 1000)

/* What an entry says. The strings are not terminated, and lie in whoever's memory they came from.
 */
struct cache_entry {
	const char *name; /* of the account */
	size_t name_len;
	const char *given_by; /* the credential's kind, or of length 0 */
	size_t given_by_len;
	const char *notice;
	size_t notice_len;
	const char *token;
	size_t token_len;
	unsigned char settings[CACHE_DIGEST_SIZE]; /* cache_settings_digest() of the account's */
	uint64_t number; /* the snapshot's */
	int64_t expires_on; /* Unix seconds, and so the next two */
	int64_t refresh_on;
	int64_t refreshed_on;
	int64_t received_ms; /* CLOCK_BOOTTIME, and so the next two */
	int64_t dead_at_ms;
	int64_t next_ms;
};

/* What comes before the strings. */
void cache_entry_encode(const struct cache_entry *entry, unsigned char out[CACHE_ENTRY_SIZE]);

/*
 * Read the entry at *at, no further than `end`, and move *at behind it. Every byte may be anything.
 * Returns whether there is one: lengths within their bounds, a name without a NUL.
 */
bool cache_entry_decode(
	const unsigned char **at, const unsigned char *end, struct cache_entry *entry);

/* How many bytes it takes. */
size_t cache_entry_size(const struct cache_entry *entry);

/* As strcmp() of the names. */
int cache_entry_compare_names(const struct cache_entry *a, const struct cache_entry *b);

/* Whether a process of this boot can have got it before `now_ms`, and believed it. */
bool cache_entry_has_sound_times(const struct cache_entry *entry, int64_t now_ms);

/*
 * SHA-256 of all that tells whose token it is and who asked for it: name, kind, endpoint, account
 * id and domain, scope, credentials. Returns 0, or -1: no memory.
 */
int cache_settings_digest(
	const struct account_settings *settings, unsigned char out[CACHE_DIGEST_SIZE]);

/* Numbers are little-endian, at any address. */
static inline void cache_put_32(unsigned char *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static inline void cache_put_64(unsigned char *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static inline uint32_t cache_get_32(const unsigned char *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static inline uint64_t cache_get_64(const unsigned char *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

#endif
