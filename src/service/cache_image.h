/*
 * The tokens of all accounts as bytes in a sealed memfd, for the next process of the same service.
 *
 * In it are tokens, their times and the names of their accounts; no credential. It is of use to one
 * format version, within one boot (its times are CLOCK_BOOTTIME), and for an account whose settings
 * name the same token and the same one who asks. Little-endian:
 *
 *    offset  bytes
 *         0      8  "mrtcache"
 *         8      4  version, 1
 *        12      4  how many entries
 *        16      8  bytes in all
 *        24      8  generation: which of two images is the newer one
 *        32     16  the boot's identifier
 *        48      n  entries, in the order of the accounts' names, no name twice
 *      48+n     32  SHA-256 of all before it
 *
 * and each entry:
 *
 *         0      2  length of the account's name, 1 to 255
 *         2      1  length of the name of the credential that gave the token
 *         3      1  length of the notice
 *         4      4  length of the token, 1 to SNAPSHOT_TOKEN_MAX
 *         8     32  SHA-256 of the account's settings: cache_settings_digest()
 *        40      8  the snapshot's number
 *        48     48  expires_on, refresh_on, refreshed_on (Unix seconds),
 *                   received_ms, dead_at_ms, next_ms (CLOCK_BOOTTIME)
 *        96      n  name, credential, notice, token
 *
 * The digest finds damage, no forgery: who may put a descriptor into the service manager's store
 * is the service itself.
 */
#ifndef MRTOKEND_SERVICE_CACHE_IMAGE_H
#define MRTOKEND_SERVICE_CACHE_IMAGE_H

#include "base/error.h"
#include "service/cache_entry.h"
#include "token/account.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_IMAGE_MAGIC "mrtcache"
#define CACHE_IMAGE_VERSION 1
#define CACHE_IMAGE_VERSION_AT 8
#define CACHE_IMAGE_COUNT_AT 12
#define CACHE_IMAGE_SIZE_AT 16
#define CACHE_IMAGE_GENERATION_AT 24
#define CACHE_IMAGE_BOOT_AT 32
#define CACHE_IMAGE_BOOT_SIZE 16
#define CACHE_IMAGE_HEADER_SIZE 48

/* 10,000 accounts with the longest tokens that are in use take a tenth of it. */
#define CACHE_IMAGE_MAX ((size_t)256 << 20)

/* Nobody may change it: neither its bytes nor its size. */
#define CACHE_IMAGE_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct cache_image; /* one that was found good; a view of the memfd, no copy */

/* Of which boot an image is, and when it is looked at. */
struct cache_moment {
	unsigned char boot[CACHE_IMAGE_BOOT_SIZE];
	int64_t now_ms; /* CLOCK_BOOTTIME */
};

/*
 * Write the valid tokens of the table's accounts. Tokens that are static are left out: they are
 * read from where they come from. Of an account whose last refresh failed, the next is due at once.
 * Between epoch_enter() and epoch_leave().
 *
 * Returns the descriptor of the sealed memfd, close-on-exec; or -1 with *err.
 */
int cache_image_write(const struct account_table *table, const struct cache_moment *moment,
	uint64_t generation, struct error *err);

/*
 * What cache_image_write() would write, as one number: the same as long as that is the same; 0 when
 * there is no token to be written. Between epoch_enter() and epoch_leave(). Allocates nothing.
 */
uint64_t cache_image_fingerprint(const struct account_table *table, int64_t now_ms);

/*
 * Check all of an image.
 * fd  stays the caller's, and may be closed
 *
 * Returns it, to be closed; or NULL with *err that says what was found and expected: no memfd, not
 * sealed, of another size, version or boot, damaged.
 */
struct cache_image *cache_image_open(int fd, const struct cache_moment *moment, struct error *err);

uint64_t cache_image_generation(const struct cache_image *image);

/* What became of an image's entries. */
struct cache_takeover {
	size_t taken;
	size_t expired;
	size_t strange; /* no such account in the configuration, or it is another one now */
	size_t unfit; /* the token cannot be served; *first_err says why */
	struct error first_err;
};

/*
 * Give the accounts their tokens by account_inherit().
 * table  of nobody else yet
 * maker  as for snapshot_build()
 */
void cache_image_take(const struct cache_image *image, const struct cache_moment *moment,
	struct account_table *table, const struct answer_maker *maker,
	struct cache_takeover *takeover);

/* NULL is fine. */
void cache_image_close(struct cache_image *image);

#endif
