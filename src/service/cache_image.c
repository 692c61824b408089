#include "service/cache_image.h"

#include "credential/credential.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC "mrtcache"
#define MAGIC_SIZE 8

#define VERSION_AT 8
#define COUNT_AT 12
#define SIZE_AT 16
#define GENERATION_AT 24
#define BOOT_AT 32

#define ENTRY_LENGTHS_AT 0
#define ENTRY_PARTS_AT 8
#define ENTRY_SUBJECT_AT 40
#define ENTRY_NUMBER_AT 72
#define ENTRY_TIMES_AT 80

#define NAME_MAX_LEN 255

/* Nobody may change it: neither its bytes nor its size. */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct cache_image {
	const unsigned char *bytes;
	size_t size;
};

/* An entry that was found good, or is to be written. The strings are not terminated. */
struct entry {
	const char *name;
	size_t name_len;
	const char *given_by;
	size_t given_by_len;
	const char *notice;
	size_t notice_len;
	const char *token;
	size_t token_len;
	unsigned char parts[CACHE_IMAGE_DIGEST_SIZE];
	unsigned char subject[CACHE_IMAGE_DIGEST_SIZE];
	uint64_t number;
	int64_t expires_on;
	int64_t refresh_on;
	int64_t refreshed_on;
	int64_t received_ms;
	int64_t dead_at_ms;
	int64_t next_ms;
};

/* ---- numbers and digests ------------------------------------------------------------------------
 */

static void put_16(unsigned char *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put_32(unsigned char *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put_64(unsigned char *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint16_t get_16(const unsigned char *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static uint32_t get_32(const unsigned char *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get_64(const unsigned char *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static void digest_free(EVP_MD_CTX **digest)
{
	EVP_MD_CTX_free(*digest);
}
#define _cleanup_digest_ __attribute__((cleanup(digest_free)))

static EVP_MD_CTX *digest_new(void)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	if (digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1)
		return digest;
	EVP_MD_CTX_free(digest);
	return NULL;
}

/* Strings with their ends; one that is NULL differs from every other. */
static int digest_strings(const char *const *strings, size_t count, size_t any_case,
	unsigned char out[CACHE_IMAGE_DIGEST_SIZE])
{
	_cleanup_digest_ EVP_MD_CTX *digest = digest_new();
	bool is_made = digest != NULL;
	for (size_t i = 0; i < count && is_made; i++) {
		unsigned char head[9] = {strings[i] != NULL};
		size_t len = strings[i] == NULL ? 0 : strlen(strings[i]);
		put_64(head + 1, len);
		is_made = EVP_DigestUpdate(digest, head, sizeof(head)) == 1;
		for (size_t j = 0; i == any_case && j < len && is_made; j++) {
			char c = strings[i][j];
			c = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
			is_made = EVP_DigestUpdate(digest, &c, 1) == 1;
		}
		if (i != any_case)
			is_made = is_made && EVP_DigestUpdate(digest, strings[i], len) == 1;
	}
	return is_made && EVP_DigestFinal_ex(digest, out, NULL) == 1 ? 0 : -1;
}

/* What an entry is bound to. Returns 0, or -1: no memory. */
static int digest_settings(const struct account_settings *settings,
	unsigned char parts[CACHE_IMAGE_DIGEST_SIZE],
	unsigned char subject[CACHE_IMAGE_DIGEST_SIZE])
{
	const char *strings[ACCOUNT_PART_COUNT];
	const char *const who = settings->subject;
	account_settings_parts(settings, strings);
	if (digest_strings(strings, ACCOUNT_PART_COUNT, ACCOUNT_PART_ID, parts) != 0)
		return -1;
	return digest_strings(&who, 1, SIZE_MAX, subject);
}

/* ---- writing ------------------------------------------------------------------------------------
 */

/* What of an account is to be written, or false: nothing. */
static bool find_token(const struct account *account, int64_t now_ms,
	const struct snapshot **snapshot, const struct account_report **report)
{
	*snapshot = atomic_load(&account->snapshot);
	*report = atomic_load(&account->report);
	return snapshot_is_valid(*snapshot, now_ms) && !(*report)->is_static;
}

static int64_t next_of(const struct account_report *report)
{
	return report->failures > 0 ? 0 : report->next_ms;
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

/* What is under way of an image. */
struct writer {
	int fd;
	EVP_MD_CTX *digest;
	size_t size;
};

static void writer_cleanup(struct writer *writer)
{
	EVP_MD_CTX_free(writer->digest);
	if (writer->fd >= 0)
		close(writer->fd); /* and with it goes what was written */
}
#define _cleanup_writer_ __attribute__((cleanup(writer_cleanup)))

/* A memfd takes all or says why not; there is nobody who could interrupt it. */
static int writer_put(
	struct writer *writer, const struct iovec *pieces, int count, struct error *err)
{
	size_t len = 0;
	for (int i = 0; i < count; i++) {
		if (writer->digest != NULL && EVP_DigestUpdate(writer->digest, pieces[i].iov_base,
						      pieces[i].iov_len) != 1)
			return error_set(err, ERR_NO_MEMORY, "out of memory");
		len += pieces[i].iov_len;
	}
	if (len > CACHE_IMAGE_MAX - writer->size)
		return error_set(err, ERR_SYSTEM,
			"found tokens of more than %zu bytes in all, which is too much to be kept",
			CACHE_IMAGE_MAX);
	ssize_t written = writev(writer->fd, pieces, count);
	if (written < 0)
		return error_set_errno(err, errno, "cannot write to a memfd");
	if ((size_t)written != len)
		return error_set(err, ERR_SYSTEM,
			"a memfd took %zd of %zu bytes: no memory is left", written, len);
	writer->size += len;
	return 0;
}

static struct iovec piece(const void *bytes, size_t len)
{
	return (struct iovec){.iov_base = (void *)bytes, .iov_len = len};
}

static int write_entry(struct writer *writer, const struct account *account,
	const struct snapshot *snapshot, const struct account_report *report, struct error *err)
{
	const char *name = account->settings.name;
	const char *given_by = report->given_by == NULL ? "" : report->given_by;
	size_t name_len = strlen(name);
	size_t given_by_len = strlen(given_by);
	size_t notice_len = strlen(report->notice);
	unsigned char head[CACHE_IMAGE_ENTRY_SIZE];
	if (name_len > NAME_MAX_LEN || given_by_len > UINT8_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"account %.40s...: found a name of %zu bytes, expected %d at most", name,
			name_len, NAME_MAX_LEN);
	put_16(head + ENTRY_LENGTHS_AT, (uint16_t)name_len);
	head[ENTRY_LENGTHS_AT + 2] = (unsigned char)given_by_len;
	head[ENTRY_LENGTHS_AT + 3] = (unsigned char)notice_len;
	put_32(head + ENTRY_LENGTHS_AT + 4, (uint32_t)secret_len(snapshot->token));
	if (digest_settings(&account->settings, head + ENTRY_PARTS_AT, head + ENTRY_SUBJECT_AT) !=
		0)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	put_64(head + ENTRY_NUMBER_AT, snapshot->number);
	const int64_t times[] = {snapshot->expires_on, snapshot->refresh_on, report->refreshed_on,
		snapshot->received_ms, snapshot->dead_at_ms, next_of(report)};
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		put_64(head + ENTRY_TIMES_AT + 8 * i, (uint64_t)times[i]);
	const struct iovec pieces[] = {
		piece(head, sizeof(head)),
		piece(name, name_len),
		piece(given_by, given_by_len),
		piece(report->notice, notice_len),
		piece(secret_bytes(snapshot->token), secret_len(snapshot->token)),
	};
	return writer_put(writer, pieces, sizeof(pieces) / sizeof(pieces[0]), err);
}

/* An account with what was published of it, loaded once. */
struct found {
	const struct account *account;
	const struct snapshot *snapshot;
	const struct account_report *report;
};

static int by_name(const void *a, const void *b)
{
	const struct found *one = a;
	const struct found *two = b;
	return strcmp(one->account->settings.name, two->account->settings.name);
}

static void found_free(struct found **found)
{
	free(*found);
}

/* The accounts with a token, in the order of their names, and how many bytes they take. */
static struct found *find_all(const struct account_table *table, int64_t now_ms, size_t *count)
{
	struct found *found = calloc(table->count + 1, sizeof(*found));
	size_t n = 0;
	for (size_t i = 0; found != NULL && i < table->count; i++) {
		found[n].account = table->accounts[i];
		n += find_token(found[n].account, now_ms, &found[n].snapshot, &found[n].report);
	}
	if (found != NULL)
		qsort(found, n, sizeof(*found), by_name);
	*count = n;
	return found;
}

static size_t size_of(const struct found *found, size_t count)
{
	size_t size = CACHE_IMAGE_HEADER_SIZE + CACHE_IMAGE_DIGEST_SIZE;
	for (size_t i = 0; i < count; i++) {
		const char *given_by = found[i].report->given_by;
		size += CACHE_IMAGE_ENTRY_SIZE + strlen(found[i].account->settings.name) +
			(given_by == NULL ? 0 : strlen(given_by)) +
			strlen(found[i].report->notice) + secret_len(found[i].snapshot->token);
	}
	return size;
}

/* Newer kernels want to be told that nobody will execute it; older ones do not know the flag. */
static int open_memfd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("mrtokend-tokens", flags | MFD_NOEXEC_SEAL);
	return fd >= 0 || errno != EINVAL ? fd : memfd_create("mrtokend-tokens", flags);
}

int cache_image_write(const struct account_table *table, const struct cache_moment *moment,
	uint64_t generation, struct error *err)
{
	size_t count = 0;
	unsigned char header[CACHE_IMAGE_HEADER_SIZE] = MAGIC;
	unsigned char sum[CACHE_IMAGE_DIGEST_SIZE];
	__attribute__((cleanup(found_free))) struct found *found =
		find_all(table, moment->now_ms, &count);
	_cleanup_writer_ struct writer writer = {.fd = open_memfd()};
	if (writer.fd < 0)
		return error_set_errno(err, errno, "cannot make a memfd");
	writer.digest = digest_new();
	if (found == NULL || writer.digest == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	put_32(header + VERSION_AT, CACHE_IMAGE_VERSION);
	put_32(header + COUNT_AT, (uint32_t)count);
	put_64(header + SIZE_AT, size_of(found, count));
	put_64(header + GENERATION_AT, generation);
	memcpy(header + BOOT_AT, moment->boot, CACHE_IMAGE_BOOT_SIZE);
	struct iovec pieces = piece(header, sizeof(header));
	if (writer_put(&writer, &pieces, 1, err) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (write_entry(&writer, found[i].account, found[i].snapshot, found[i].report,
			    err) != 0)
			return -1;
	if (EVP_DigestFinal_ex(writer.digest, sum, NULL) != 1)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	EVP_MD_CTX_free(writer.digest);
	writer.digest = NULL;
	pieces = piece(sum, sizeof(sum));
	if (writer_put(&writer, &pieces, 1, err) != 0)
		return -1;
	if (fcntl(writer.fd, F_ADD_SEALS, SEALS) != 0)
		return error_set_errno(err, errno, "cannot seal a memfd");
	int fd = writer.fd;
	writer.fd = -1;
	return fd;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

/*
 * Read the entry at *at, no further than `end`, and move *at behind it. Returns whether it is one.
 */
static bool read_entry(const unsigned char **at, const unsigned char *end, struct entry *entry)
{
	const unsigned char *head = *at;
	if ((size_t)(end - head) < CACHE_IMAGE_ENTRY_SIZE)
		return false;
	int64_t times[6];
	for (size_t i = 0; i < 6; i++)
		times[i] = (int64_t)get_64(head + ENTRY_TIMES_AT + 8 * i);
	*entry = (struct entry){
		.name_len = get_16(head + ENTRY_LENGTHS_AT),
		.given_by_len = head[ENTRY_LENGTHS_AT + 2],
		.notice_len = head[ENTRY_LENGTHS_AT + 3],
		.token_len = get_32(head + ENTRY_LENGTHS_AT + 4),
		.number = get_64(head + ENTRY_NUMBER_AT),
		.expires_on = times[0],
		.refresh_on = times[1],
		.refreshed_on = times[2],
		.received_ms = times[3],
		.dead_at_ms = times[4],
		.next_ms = times[5],
	};
	memcpy(entry->parts, head + ENTRY_PARTS_AT, sizeof(entry->parts));
	memcpy(entry->subject, head + ENTRY_SUBJECT_AT, sizeof(entry->subject));
	if (entry->name_len < 1 || entry->name_len > NAME_MAX_LEN || entry->token_len < 1 ||
		entry->token_len > SNAPSHOT_TOKEN_MAX || entry->number == 0)
		return false;
	head += CACHE_IMAGE_ENTRY_SIZE;
	if ((size_t)(end - head) <
		entry->name_len + entry->given_by_len + entry->notice_len + entry->token_len)
		return false;
	entry->name = (const char *)head;
	entry->given_by = entry->name + entry->name_len;
	entry->notice = entry->given_by + entry->given_by_len;
	entry->token = entry->notice + entry->notice_len;
	*at = head + entry->name_len + entry->given_by_len + entry->notice_len + entry->token_len;
	return memchr(entry->name, '\0', entry->name_len) == NULL;
}

/* As strcmp() of the names. */
static int compare_names(const struct entry *a, const struct entry *b)
{
	size_t least = a->name_len < b->name_len ? a->name_len : b->name_len;
	int order = memcmp(a->name, b->name, least);
	return order != 0 ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

/* Whether the token was received in this boot's past and lived for some time from then on. */
static bool has_sound_times(const struct entry *entry, int64_t now_ms)
{
	return entry->received_ms >= 0 && entry->received_ms <= now_ms &&
	       entry->dead_at_ms > entry->received_ms && entry->next_ms >= 0;
}

static int check_entries(const struct cache_image *image, int64_t now_ms, struct error *err)
{
	uint32_t count = get_32(image->bytes + COUNT_AT);
	const unsigned char *at = image->bytes + CACHE_IMAGE_HEADER_SIZE;
	const unsigned char *end = image->bytes + image->size - CACHE_IMAGE_DIGEST_SIZE;
	struct entry before = {0};
	for (uint32_t i = 0; i < count; i++) {
		struct entry entry;
		if (!read_entry(&at, end, &entry))
			return error_set(err, ERR_SYSTEM, "found damage: entry %u of %u is none",
				(unsigned)i + 1, (unsigned)count);
		if (i > 0 && compare_names(&before, &entry) >= 0)
			return error_set(err, ERR_SYSTEM,
				"found damage: the name of entry %u does not come after the one "
				"before it",
				(unsigned)i + 1);
		if (!has_sound_times(&entry, now_ms))
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
	unsigned char sum[CACHE_IMAGE_DIGEST_SIZE];
	size_t covered = image->size - CACHE_IMAGE_DIGEST_SIZE;
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
	if (memcmp(image->bytes, MAGIC, MAGIC_SIZE) != 0)
		return error_set(err, ERR_SYSTEM, "found something else than kept tokens");
	if (get_32(image->bytes + VERSION_AT) != CACHE_IMAGE_VERSION)
		return error_set(err, ERR_SYSTEM,
			"found tokens that another version of mrtokend kept (format %u), expected "
			"format %d",
			(unsigned)get_32(image->bytes + VERSION_AT), CACHE_IMAGE_VERSION);
	if (get_64(image->bytes + SIZE_AT) != image->size)
		return error_set(err, ERR_SYSTEM, "found damage: %zu bytes, expected %llu",
			image->size, (unsigned long long)get_64(image->bytes + SIZE_AT));
	if (check_digest(image, err) != 0)
		return -1;
	if (memcmp(image->bytes + BOOT_AT, moment->boot, CACHE_IMAGE_BOOT_SIZE) != 0)
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
	if ((seals & SEALS) != SEALS)
		return error_set(err, ERR_SYSTEM,
			"found a memfd that is not sealed (%#x), expected one that nobody can "
			"change (%#x)",
			(unsigned)seals, (unsigned)SEALS);
	if (st.st_size < CACHE_IMAGE_HEADER_SIZE + CACHE_IMAGE_DIGEST_SIZE ||
		(uint64_t)st.st_size > CACHE_IMAGE_MAX)
		return error_set(err, ERR_SYSTEM, "found %lld bytes, expected %d to %zu",
			(long long)st.st_size, CACHE_IMAGE_HEADER_SIZE + CACHE_IMAGE_DIGEST_SIZE,
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
	return get_64(image->bytes + GENERATION_AT);
}

static void take_report(const struct entry *entry, bool has_same_subject,
	const struct account_report *before, struct account_report *report)
{
	char given_by[UINT8_MAX + 1];
	snprintf(given_by, sizeof(given_by), "%.*s", (int)entry->given_by_len, entry->given_by);
	const struct credential_kind *kind = credential_kind_find(given_by);
	*report = *before;
	report->next_ms = entry->next_ms < entry->dead_at_ms ? entry->next_ms : entry->dead_at_ms;
	/* Who asks now may have fewer rights than who asked before. */
	if (!has_same_subject)
		report->next_ms = 0;
	report->refreshed_on = entry->refreshed_on;
	report->given_by = kind == NULL ? NULL : kind->name;
	snprintf(report->notice, sizeof(report->notice), "%.*s", (int)entry->notice_len,
		entry->notice);
	error_make_printable(report->notice);
}

static int take_entry(const struct entry *entry, struct account *account, bool has_same_subject,
	const struct answer_maker *maker, struct error *err)
{
	const struct account_settings *settings = &account->settings;
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
	struct account_report report;
	struct secret *token = secret_from(entry->token, entry->token_len);
	if (token == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot keep a token: out of memory");
	struct snapshot *snapshot = snapshot_build(token, &parts, maker, err);
	if (snapshot == NULL) {
		secret_free(token);
		return -1;
	}
	take_report(entry, has_same_subject, atomic_load(&account->report), &report);
	account_inherit(account, snapshot, &report);
	return 0;
}

/* The account that the entry is of, and whether the same one asks for it; or NULL. */
static struct account *find_account(
	const struct account_table *table, const struct entry *entry, bool *has_same_subject)
{
	char name[NAME_MAX_LEN + 1] = {0};
	unsigned char parts[CACHE_IMAGE_DIGEST_SIZE];
	unsigned char subject[CACHE_IMAGE_DIGEST_SIZE];
	memcpy(name, entry->name, entry->name_len);
	struct account *account = account_table_find(table, name);
	if (account == NULL || digest_settings(&account->settings, parts, subject) != 0 ||
		memcmp(parts, entry->parts, sizeof(parts)) != 0)
		return NULL;
	*has_same_subject = memcmp(subject, entry->subject, sizeof(subject)) == 0;
	return account;
}

void cache_image_take(const struct cache_image *image, const struct cache_moment *moment,
	struct account_table *table, const struct answer_maker *maker,
	struct cache_takeover *takeover)
{
	const unsigned char *at = image->bytes + CACHE_IMAGE_HEADER_SIZE;
	const unsigned char *end = image->bytes + image->size - CACHE_IMAGE_DIGEST_SIZE;
	struct entry entry;
	*takeover = (struct cache_takeover){.first_err = ERROR_INIT};
	while (read_entry(&at, end, &entry)) {
		struct error err = ERROR_INIT;
		bool has_same_subject = false;
		struct account *account = find_account(table, &entry, &has_same_subject);
		if (account == NULL) {
			takeover->strange++;
		} else if (entry.dead_at_ms <= moment->now_ms) {
			takeover->expired++;
		} else if (take_entry(&entry, account, has_same_subject, maker, &err) == 0) {
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
