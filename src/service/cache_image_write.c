#include "service/cache_image.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* ---- what is to be written ---------------------------------------------------------------------
 */

/* What of an account is to be written, each loaded once; or false: nothing. */
static bool find_token(const struct account *account, int64_t now_ms,
	const struct snapshot **snapshot, const struct account_report **report)
{
	*snapshot = atomic_load(&account->snapshot);
	*report = atomic_load(&account->report);
	return snapshot_is_valid(*snapshot, now_ms) && !(*report)->is_static;
}

/* A new process is a reason to try again now, unless the upstream said when. */
static int64_t next_of(const struct account_report *report)
{
	return report->failures > 0 && report->error.retry_after_s <= 0 ? 0 : report->next_ms;
}

/* FNV-1a, by eight bytes at a time. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * UINT64_C(0x100000001b3);
}

uint64_t cache_image_fingerprint(const struct account_table *table, int64_t now_ms)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t count = 0;
	for (size_t i = 0; i < table->count; i++) {
		const struct snapshot *snapshot;
		const struct account_report *report;
		if (!find_token(table->accounts[i], now_ms, &snapshot, &report))
			continue;
		hash = mix(mix(mix(hash, i), snapshot->number), (uint64_t)next_of(report));
		count++;
	}
	return count == 0 ? 0 : hash | 1;
}

static int entry_of(const struct account_settings *settings, const struct snapshot *snapshot,
	const struct account_report *report, struct cache_entry *entry, struct error *err)
{
	*entry = (struct cache_entry){
		.name = settings->name,
		.name_len = strlen(settings->name),
		.given_by = report->given_by,
		.given_by_len = report->given_by == NULL ? 0 : strnlen(report->given_by, UINT8_MAX),
		.notice = report->notice,
		.notice_len = strnlen(report->notice, UINT8_MAX),
		.token = secret_bytes(snapshot->token),
		.token_len = secret_len(snapshot->token),
		.number = snapshot->number,
		.expires_on = snapshot->expires_on,
		.refresh_on = snapshot->refresh_on,
		.refreshed_on = report->refreshed_on,
		.received_ms = snapshot->received_ms,
		.dead_at_ms = snapshot->dead_at_ms,
		.next_ms = next_of(report),
	};
	if (entry->name_len > CACHE_NAME_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"account %.40s...: found a name of %zu bytes, expected %d at most",
			entry->name, entry->name_len, CACHE_NAME_MAX);
	if (cache_settings_digest(settings, entry->settings) != 0)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return cache_entry_compare_names(a, b);
}

/* What all accounts have: views of what is published, none of which is copied. */
struct entries {
	struct cache_entry *all; /* in the order of their names */
	size_t count;
	size_t size; /* of the whole image */
};

static int find_entries(const struct account_table *table, int64_t now_ms, struct entries *entries,
	struct error *err)
{
	entries->all = calloc(table->count + 1, sizeof(*entries->all));
	if (entries->all == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	entries->size = CACHE_IMAGE_HEADER_SIZE + CACHE_DIGEST_SIZE;
	for (size_t i = 0; i < table->count; i++) {
		const struct snapshot *snapshot;
		const struct account_report *report;
		struct cache_entry *entry = &entries->all[entries->count];
		if (!find_token(table->accounts[i], now_ms, &snapshot, &report))
			continue;
		if (entry_of(&table->accounts[i]->settings, snapshot, report, entry, err) != 0)
			return -1;
		if (!cache_entry_has_sound_times(entry, now_ms))
			continue; /* the reader would refuse all for its sake */
		entries->size += cache_entry_size(entry);
		entries->count++;
	}
	if (entries->size > CACHE_IMAGE_MAX)
		return error_set(err, ERR_SYSTEM,
			"found tokens of %zu bytes in all, expected %zu at most", entries->size,
			CACHE_IMAGE_MAX);
	qsort(entries->all, entries->count, sizeof(*entries->all), by_name);
	return 0;
}

/* ---- writing it --------------------------------------------------------------------------------
 */

/* What is under way of an image. */
struct writer {
	int fd;
	EVP_MD_CTX *digest; /* of all that was written */
};

/* Newer kernels want to be told that nobody will execute it; older ones do not know the flag. */
static int open_memfd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("mrtokend-tokens", flags | MFD_NOEXEC_SEAL);
	return fd >= 0 || errno != EINVAL ? fd : memfd_create("mrtokend-tokens", flags);
}

static int writer_open(struct writer *writer, struct error *err)
{
	writer->fd = open_memfd();
	if (writer->fd < 0)
		return error_set_errno(err, errno, "cannot make a memfd");
	writer->digest = EVP_MD_CTX_new();
	if (writer->digest == NULL || EVP_DigestInit_ex(writer->digest, EVP_sha256(), NULL) != 1)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	return 0;
}

/* A memfd takes all or says why not; there is nobody who could interrupt it. */
static int put(int fd, const struct iovec *pieces, int count, struct error *err)
{
	size_t len = 0;
	for (int i = 0; i < count; i++)
		len += pieces[i].iov_len;
	ssize_t written = writev(fd, pieces, count);
	if (written < 0)
		return error_set_errno(err, errno, "cannot write to a memfd");
	if ((size_t)written != len)
		return error_set(err, ERR_SYSTEM,
			"a memfd took %zd of %zu bytes: no memory is left", written, len);
	return 0;
}

static int put_and_digest(
	struct writer *writer, const struct iovec *pieces, int count, struct error *err)
{
	for (int i = 0; i < count; i++)
		if (EVP_DigestUpdate(writer->digest, pieces[i].iov_base, pieces[i].iov_len) != 1)
			return error_set(err, ERR_NO_MEMORY, "out of memory");
	return put(writer->fd, pieces, count, err);
}

static struct iovec piece(const void *bytes, size_t len)
{
	return (struct iovec){.iov_base = (void *)bytes, .iov_len = len};
}

static int put_header(struct writer *writer, const struct entries *entries,
	const struct cache_moment *moment, uint64_t generation, struct error *err)
{
	unsigned char header[CACHE_IMAGE_HEADER_SIZE] = CACHE_IMAGE_MAGIC;
	const struct iovec pieces[] = {piece(header, sizeof(header))};
	cache_put_32(header + CACHE_IMAGE_VERSION_AT, CACHE_IMAGE_VERSION);
	cache_put_32(header + CACHE_IMAGE_COUNT_AT, (uint32_t)entries->count);
	cache_put_64(header + CACHE_IMAGE_SIZE_AT, entries->size);
	cache_put_64(header + CACHE_IMAGE_GENERATION_AT, generation);
	memcpy(header + CACHE_IMAGE_BOOT_AT, moment->boot, CACHE_IMAGE_BOOT_SIZE);
	return put_and_digest(writer, pieces, 1, err);
}

static int put_entry(struct writer *writer, const struct cache_entry *entry, struct error *err)
{
	unsigned char head[CACHE_ENTRY_SIZE];
	cache_entry_encode(entry, head);
	const struct iovec pieces[] = {
		piece(head, sizeof(head)),
		piece(entry->name, entry->name_len),
		piece(entry->given_by, entry->given_by_len),
		piece(entry->notice, entry->notice_len),
		piece(entry->token, entry->token_len),
	};
	return put_and_digest(writer, pieces, sizeof(pieces) / sizeof(pieces[0]), err);
}

static int put_digest(struct writer *writer, struct error *err)
{
	unsigned char sum[CACHE_DIGEST_SIZE];
	const struct iovec pieces[] = {piece(sum, sizeof(sum))};
	if (EVP_DigestFinal_ex(writer->digest, sum, NULL) != 1)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	return put(writer->fd, pieces, 1, err);
}

static int write_all(struct writer *writer, const struct entries *entries,
	const struct cache_moment *moment, uint64_t generation, struct error *err)
{
	if (put_header(writer, entries, moment, generation, err) != 0)
		return -1;
	for (size_t i = 0; i < entries->count; i++)
		if (put_entry(writer, &entries->all[i], err) != 0)
			return -1;
	if (put_digest(writer, err) != 0)
		return -1;
	if (fcntl(writer->fd, F_ADD_SEALS, CACHE_IMAGE_SEALS) != 0)
		return error_set_errno(err, errno, "cannot seal a memfd");
	return 0;
}

int cache_image_write(const struct account_table *table, const struct cache_moment *moment,
	uint64_t generation, struct error *err)
{
	struct entries entries = {0};
	struct writer writer = {.fd = -1};
	int result = -1;
	if (find_entries(table, moment->now_ms, &entries, err) == 0 &&
		writer_open(&writer, err) == 0)
		result = write_all(&writer, &entries, moment, generation, err);
	free(entries.all);
	EVP_MD_CTX_free(writer.digest);
	if (result == 0)
		return writer.fd;
	if (writer.fd >= 0)
		close(writer.fd); /* and with it goes what was written */
	return -1;
}
