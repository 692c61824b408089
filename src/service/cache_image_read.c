#include "service/cache_image.h"

#include "credential/credential.h"
#include "token/jwt.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct cache_image {
	const unsigned char *bytes;
	size_t size;
};

static int check_entries(const struct cache_image *image, int64_t now_ms, struct error *err)
{
	uint32_t count = cache_get_32(image->bytes + CACHE_IMAGE_COUNT_AT);
	const unsigned char *at = image->bytes + CACHE_IMAGE_HEADER_SIZE;
	const unsigned char *end = image->bytes + image->size - CACHE_DIGEST_SIZE;
	struct cache_entry before = {0};
	for (uint32_t i = 0; i < count; i++) {
		struct cache_entry entry;
		if (!cache_entry_decode(&at, end, &entry))
			return error_set(err, ERR_SYSTEM, "found damage: entry %u of %u is none",
				(unsigned)i + 1, (unsigned)count);
		if (i > 0 && cache_entry_compare_names(&before, &entry) >= 0)
			return error_set(err, ERR_SYSTEM,
				"found damage: the name of entry %u does not come after the one "
				"before it",
				(unsigned)i + 1);
		if (!cache_entry_has_sound_times(&entry, now_ms))
			return error_set(err, ERR_SYSTEM,
				"found times in entry %u that no token of this boot can have",
				(unsigned)i + 1);
		before = entry;
	}
	if (at != end)
		return error_set(err, ERR_SYSTEM,
			"found damage: %zu bytes behind the last of %u entries", (size_t)(end - at),
			(unsigned)count);
	return 0;
}

static int check_digest(const struct cache_image *image, struct error *err)
{
	unsigned char sum[CACHE_DIGEST_SIZE];
	size_t covered = image->size - CACHE_DIGEST_SIZE;
	if (EVP_Digest(image->bytes, covered, sum, NULL, EVP_sha256(), NULL) != 1)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	if (memcmp(sum, image->bytes + covered, sizeof(sum)) != 0)
		return error_set(err, ERR_SYSTEM, "found damage: its bytes do not fit its digest");
	return 0;
}

/* The version first: what follows may be otherwise in another. */
static int check(
	const struct cache_image *image, const struct cache_moment *moment, struct error *err)
{
	if (memcmp(image->bytes, CACHE_IMAGE_MAGIC, strlen(CACHE_IMAGE_MAGIC)) != 0)
		return error_set(err, ERR_SYSTEM, "found something else than kept tokens");
	if (cache_get_32(image->bytes + CACHE_IMAGE_VERSION_AT) != CACHE_IMAGE_VERSION)
		return error_set(err, ERR_SYSTEM,
			"found tokens that another version of mrtokend kept (format %u), expected "
			"format %d",
			(unsigned)cache_get_32(image->bytes + CACHE_IMAGE_VERSION_AT),
			CACHE_IMAGE_VERSION);
	if (cache_get_64(image->bytes + CACHE_IMAGE_SIZE_AT) != image->size)
		return error_set(err, ERR_SYSTEM, "found damage: %zu bytes, expected %llu",
			image->size,
			(unsigned long long)cache_get_64(image->bytes + CACHE_IMAGE_SIZE_AT));
	if (check_digest(image, err) != 0)
		return -1;
	if (memcmp(image->bytes + CACHE_IMAGE_BOOT_AT, moment->boot, CACHE_IMAGE_BOOT_SIZE) != 0)
		return error_set(err, ERR_SYSTEM,
			"found tokens of another boot, whose times mean nothing in this one");
	return check_entries(image, moment->now_ms, err);
}

/* Whether it can be looked at without being changed meanwhile, and how large it is. */
static int check_descriptor(int fd, size_t *size, struct error *err)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return error_set(err, ERR_SYSTEM, "found no memfd");
	if ((seals & CACHE_IMAGE_SEALS) != CACHE_IMAGE_SEALS)
		return error_set(err, ERR_SYSTEM,
			"found a memfd that is not sealed (%#x), expected one that nobody can "
			"change (%#x)",
			(unsigned)seals, (unsigned)CACHE_IMAGE_SEALS);
	if (st.st_size < CACHE_IMAGE_HEADER_SIZE + CACHE_DIGEST_SIZE ||
		(uint64_t)st.st_size > CACHE_IMAGE_MAX)
		return error_set(err, ERR_SYSTEM, "found %lld bytes, expected %d to %zu",
			(long long)st.st_size, CACHE_IMAGE_HEADER_SIZE + CACHE_DIGEST_SIZE,
			CACHE_IMAGE_MAX);
	*size = (size_t)st.st_size;
	return 0;
}

struct cache_image *cache_image_open(int fd, const struct cache_moment *moment, struct error *err)
{
	size_t size = 0;
	if (check_descriptor(fd, &size, err) != 0)
		return NULL;
	struct cache_image *image = malloc(sizeof(*image));
	/* Private, because older kernels refuse to share what is sealed; nothing is copied. */
	void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (image == NULL || bytes == MAP_FAILED) {
		error_set_errno(err, image == NULL ? ENOMEM : errno, "cannot look at a memfd");
		if (bytes != MAP_FAILED)
			munmap(bytes, size);
		free(image);
		return NULL;
	}
	*image = (struct cache_image){.bytes = bytes, .size = size};
	if (madvise(bytes, size, MADV_DONTDUMP) != 0 || madvise(bytes, size, MADV_DONTFORK) != 0)
		error_set_errno(err, errno, "cannot keep tokens out of core dumps");
	else if (check(image, moment, err) == 0)
		return image;
	cache_image_close(image);
	return NULL;
}

uint64_t cache_image_generation(const struct cache_image *image)
{
	return cache_get_64(image->bytes + CACHE_IMAGE_GENERATION_AT);
}

/* ---- taking it over ----------------------------------------------------------------------------
 */

/*
 * A token of the STS is a JWT that names its own end, which must be the one that was kept with it;
 * others are opaque, and their end was told beside them (azure-protocol.md A.9).
 */
static int check_expiry(const struct cache_entry *entry, const struct account_settings *settings,
	const struct secret *token, struct error *err)
{
	int64_t expires_on = 0;
	if (settings->account_id == NULL)
		return 0;
	if (jwt_expiry(token, &expires_on, err) != 0)
		return -1;
	if (expires_on != entry->expires_on)
		return error_set(err, ERR_SYSTEM,
			"found a token that expires at %lld, expected %lld as it was kept",
			(long long)expires_on, (long long)entry->expires_on);
	return 0;
}

static struct snapshot *build_snapshot(const struct cache_entry *entry,
	const struct account_settings *settings, const struct answer_maker *maker,
	struct error *err)
{
	const struct snapshot_parts parts = {
		.account = settings->name,
		.account_id = settings->account_id,
		.account_domain = settings->account_domain,
		.scope = settings->account_id == NULL ? settings->scope : NULL,
		.expires_on = entry->expires_on,
		.refresh_on = entry->refresh_on,
		.dead_at_ms = entry->dead_at_ms,
		.received_ms = entry->received_ms,
		.number = entry->number,
	};
	struct snapshot *snapshot = NULL;
	struct secret *token = secret_from(entry->token, entry->token_len);
	if (token == NULL)
		error_set(err, ERR_NO_MEMORY, "cannot keep a token: out of memory");
	else if (check_expiry(entry, settings, token, err) == 0)
		snapshot = snapshot_build(token, &parts, maker, err);
	if (snapshot == NULL)
		secret_free(token);
	return snapshot;
}

static void take_report(const struct cache_entry *entry, const struct account_report *before,
	struct account_report *report)
{
	char given_by[UINT8_MAX + 1];
	snprintf(given_by, sizeof(given_by), "%.*s", (int)entry->given_by_len, entry->given_by);
	const struct credential_kind *kind = credential_kind_find(given_by);
	*report = *before;
	/* However far off it is said to be, the token's end comes first. */
	report->next_ms = entry->next_ms < entry->dead_at_ms ? entry->next_ms : entry->dead_at_ms;
	report->refreshed_on = entry->refreshed_on;
	report->given_by = kind == NULL ? NULL : kind->name;
	snprintf(report->notice, sizeof(report->notice), "%.*s", (int)entry->notice_len,
		entry->notice);
	error_make_printable(report->notice);
}

static int take_entry(const struct cache_entry *entry, struct account *account,
	const struct answer_maker *maker, struct error *err)
{
	struct account_report report;
	struct snapshot *snapshot = build_snapshot(entry, &account->settings, maker, err);
	if (snapshot == NULL)
		return -1;
	take_report(entry, atomic_load(&account->report), &report);
	account_inherit(account, snapshot, &report);
	return 0;
}

/* The account that the entry is of, as it was configured when the token came; or NULL. */
static struct account *find_account(
	const struct account_table *table, const struct cache_entry *entry)
{
	char name[CACHE_NAME_MAX + 1] = {0};
	unsigned char settings[CACHE_DIGEST_SIZE];
	memcpy(name, entry->name, entry->name_len);
	struct account *account = account_table_find(table, name);
	if (account == NULL || cache_settings_digest(&account->settings, settings) != 0 ||
		memcmp(settings, entry->settings, sizeof(settings)) != 0)
		return NULL;
	return account;
}

void cache_image_take(const struct cache_image *image, const struct cache_moment *moment,
	struct account_table *table, const struct answer_maker *maker,
	struct cache_takeover *takeover)
{
	const unsigned char *at = image->bytes + CACHE_IMAGE_HEADER_SIZE;
	const unsigned char *end = image->bytes + image->size - CACHE_DIGEST_SIZE;
	struct cache_entry entry;
	*takeover = (struct cache_takeover){.first_err = ERROR_INIT};
	while (cache_entry_decode(&at, end, &entry)) {
		struct error err = ERROR_INIT;
		struct account *account = find_account(table, &entry);
		if (account == NULL) {
			takeover->strange++;
		} else if (entry.dead_at_ms <= moment->now_ms) {
			takeover->expired++;
		} else if (take_entry(&entry, account, maker, &err) == 0) {
			takeover->taken++;
		} else if (takeover->unfit++ == 0) {
			error_wrap(&err, "account %s", account->settings.name);
			takeover->first_err = err;
		}
	}
}

void cache_image_close(struct cache_image *image)
{
	if (image == NULL)
		return;
	munmap((void *)image->bytes, image->size);
	free(image);
}
