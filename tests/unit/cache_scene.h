/*
 * What the tests of kept tokens share: tables of accounts with and without tokens, images as bytes,
 * and memfds made of bytes, forged ones included.
 */
#ifndef MRTOKEND_TESTS_UNIT_CACHE_SCENE_H
#define MRTOKEND_TESTS_UNIT_CACHE_SCENE_H

#include "service/cache_image.h"

#include "unit.h"

#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SCENE_EXPIRES_ON INT64_C(1700000000)
#define SCENE_TOKEN "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9." /* and a signature */
#define SCENE_ID "0a1b2c3d-0000-4000-8000-00000000abcd"
#define SCENE_NOW_MS INT64_C(5000000)
#define SCENE_DEAD_MS (SCENE_NOW_MS + 3600000)
#define SCENE_NEXT_MS (SCENE_NOW_MS + 1800000)

static int scene_answers;

static void *scene_make(enum representation representation, struct secret *body, const char *etag)
{
	(void)representation;
	(void)etag;
	scene_answers++;
	return body;
}

static void scene_release(void *answer)
{
	scene_answers--;
	secret_free(answer);
}

static const struct answer_maker scene_maker = {.make = scene_make, .release = scene_release};

static const struct cache_moment scene_moment = {
	.boot = {0xb0, 0x07, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	.now_ms = SCENE_NOW_MS,
};

static inline char *scene_copy(const char *string)
{
	char *copied = string == NULL ? NULL : strdup(string);
	ck_assert(string == NULL || copied != NULL);
	return copied;
}

/* Of the STS, or with a scope an Entra token. */
static inline struct account *scene_account(const char *name, const char *scope)
{
	struct account_settings settings = {
		.name = scene_copy(name),
		.kind = scene_copy(scope == NULL ? "mixed_reality" : "entra"),
		.account_id = scene_copy(scope == NULL ? SCENE_ID : NULL),
		.account_domain = scene_copy(scope == NULL ? "east.example" : NULL),
		.endpoint = scene_copy("https://sts.example"),
		.scope = scene_copy(scope),
		.subject = scene_copy("account_key\n"),
	};
	struct account *account = account_new(&settings);
	ck_assert_ptr_nonnull(account);
	return account;
}

/* Give it a token as a process had it that has got it at `received_ms`. */
static inline void scene_give(struct account *account, const char *token, int64_t received_ms)
{
	const struct snapshot_parts parts = {
		.account = account->settings.name,
		.account_id = account->settings.account_id,
		.account_domain = account->settings.account_domain,
		.scope = account->settings.scope,
		.expires_on = SCENE_EXPIRES_ON,
		.refresh_on = SCENE_EXPIRES_ON - 1800,
		.dead_at_ms = SCENE_DEAD_MS,
		.received_ms = received_ms,
	};
	struct account_report report = *atomic_load(&account->report);
	struct snapshot *snapshot =
		snapshot_build(secret_from(token, strlen(token)), &parts, &scene_maker, NULL);
	ck_assert_ptr_nonnull(snapshot);
	report.next_ms = SCENE_NEXT_MS;
	report.refreshed_on = SCENE_EXPIRES_ON - 3600;
	report.given_by = "account_key";
	strcpy(report.notice, "the second key is refused");
	account_inherit(account, snapshot, &report);
}

static inline struct account_table *scene_table(struct account *one, struct account *two)
{
	struct account **accounts = calloc(2, sizeof(struct account *));
	ck_assert_ptr_nonnull(accounts);
	accounts[0] = one;
	accounts[1] = two;
	struct account_table *table = account_table_new(accounts, two == NULL ? 1 : 2, NULL);
	ck_assert_ptr_nonnull(table);
	return table;
}

/* The two accounts of most tests; `has_tokens`: of the process before. */
static inline struct account_table *scene_two(bool has_tokens)
{
	struct account *storage = scene_account("storage", "https://storage.example/.default");
	struct account *anchors = scene_account("anchors", NULL);
	if (has_tokens) {
		scene_give(storage, "opaque-token-of-storage", SCENE_NOW_MS - 5000);
		scene_give(anchors, SCENE_TOKEN "c2ln", SCENE_NOW_MS - 5000);
	}
	return scene_table(storage, anchors);
}

struct scene_bytes {
	unsigned char *at;
	size_t len;
};

static inline int scene_write(const struct account_table *table, uint64_t generation)
{
	struct error err = ERROR_INIT;
	int fd = cache_image_write(table, &scene_moment, generation, &err);
	ck_assert_msg(fd >= 0, "%s", err.message);
	return fd;
}

static inline struct scene_bytes scene_read(int fd)
{
	struct stat st;
	ck_assert_int_eq(fstat(fd, &st), 0);
	struct scene_bytes bytes = {malloc((size_t)st.st_size), (size_t)st.st_size};
	ck_assert_ptr_nonnull(bytes.at);
	ck_assert_int_eq(pread(fd, bytes.at, bytes.len, 0), st.st_size);
	return bytes;
}

/* The bytes of an image of scene_two(). */
static inline struct scene_bytes scene_image(void)
{
	struct account_table *table = scene_two(true);
	int fd = scene_write(table, 7);
	struct scene_bytes bytes = scene_read(fd);
	close(fd);
	account_table_free(table);
	return bytes;
}

static inline int scene_memfd(const void *bytes, size_t len, int seals)
{
	int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* Let the digest fit what was changed. */
static inline void scene_seal_digest(struct scene_bytes bytes)
{
	size_t covered = bytes.len - CACHE_DIGEST_SIZE;
	ck_assert_int_eq(
		EVP_Digest(bytes.at, covered, bytes.at + covered, NULL, EVP_sha256(), NULL), 1);
}

#endif
