#include "cache_scene.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define FIRST_ENTRY CACHE_IMAGE_HEADER_SIZE /* that of "anchors" */

/* Opens it at that moment, and says why not. */
static struct cache_image *open_at(
	const void *bytes, size_t len, const struct cache_moment *moment, struct error *err)
{
	int fd = scene_memfd(bytes, len, CACHE_IMAGE_SEALS);
	*err = ERROR_INIT;
	struct cache_image *image = cache_image_open(fd, moment, err);
	close(fd);
	ck_assert_int_eq(image == NULL, err->code != ERR_NONE);
	return image;
}

static void assert_refused(struct scene_bytes bytes, const char *reason)
{
	struct error err;
	ck_assert_ptr_null(open_at(bytes.at, bytes.len, &scene_moment, &err));
	ck_assert_msg(strstr(err.message, reason) != NULL, "%s", err.message);
}

/* Take the image over into the table, as the process after. */
static struct cache_takeover take(
	struct scene_bytes bytes, const struct cache_moment *moment, struct account_table *table)
{
	struct error err;
	struct cache_takeover takeover;
	struct cache_image *image = open_at(bytes.at, bytes.len, moment, &err);
	ck_assert_msg(image != NULL, "%s", err.message);
	cache_image_take(image, moment, table, &scene_maker, &takeover);
	cache_image_close(image);
	return takeover;
}

static void assert_same(const struct account *after, const struct account *before)
{
	const struct snapshot *one = atomic_load(&before->snapshot);
	const struct snapshot *two = atomic_load(&after->snapshot);
	const struct account_report *said = atomic_load(&before->report);
	const struct account_report *says = atomic_load(&after->report);
	ck_assert_ptr_nonnull(two);
	ck_assert(secret_equal(one->token, two->token));
	ck_assert_uint_eq(one->number, two->number);
	ck_assert_int_eq(one->expires_on, two->expires_on);
	ck_assert_int_eq(one->refresh_on, two->refresh_on);
	ck_assert_int_eq(one->received_ms, two->received_ms);
	ck_assert_int_eq(one->dead_at_ms, two->dead_at_ms);
	ck_assert_int_eq(said->next_ms, says->next_ms);
	ck_assert_int_eq(said->refreshed_on, says->refreshed_on);
	ck_assert_str_eq(said->given_by, says->given_by);
	ck_assert_str_eq(said->notice, says->notice);
	ck_assert_uint_eq(says->failures, 0);
}

/* ---- what goes in comes out --------------------------------------------------------------------
 */

START_TEST(what_is_written_is_taken_over)
{
	struct account_table *before = scene_two(true);
	struct account_table *after = scene_two(false);
	struct scene_bytes bytes = scene_image();
	free(bytes.at);
	int fd = scene_write(before, 41);
	bytes = scene_read(fd);
	struct error err = ERROR_INIT;
	struct cache_takeover takeover;
	struct cache_image *image = cache_image_open(fd, &scene_moment, &err);
	ck_assert_msg(image != NULL, "%s", err.message);
	close(fd);
	ck_assert_uint_eq(cache_image_generation(image), 41);
	cache_image_take(image, &scene_moment, after, &scene_maker, &takeover);
	cache_image_close(image);
	ck_assert_uint_eq(takeover.taken, 2);
	ck_assert_uint_eq(takeover.expired + takeover.strange + takeover.unfit, 0);
	for (size_t i = 0; i < 2; i++)
		assert_same(after->accounts[i], before->accounts[i]);
	ck_assert_uint_eq(cache_image_fingerprint(after, SCENE_NOW_MS),
		cache_image_fingerprint(before, SCENE_NOW_MS));
	free(bytes.at);
	account_table_free(before);
	account_table_free(after);
	ck_assert_int_eq(scene_answers, 0);
}
END_TEST

START_TEST(an_image_is_sealed_and_ends_with_the_process)
{
	struct account_table *table = scene_two(true);
	int fd = scene_write(table, 1);
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & CACHE_IMAGE_SEALS, CACHE_IMAGE_SEALS);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	struct stat st;
	ck_assert_int_eq(fstat(fd, &st), 0);
	/* Where the kernel can be told so. */
	int other = memfd_create("other", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (other >= 0) {
		ck_assert_int_eq(st.st_mode & 0111, 0);
		close(other);
	}
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
	ck_assert_int_ne(ftruncate(fd, 10), 0);
	ck_assert_int_ne(ftruncate(fd, 1000000), 0);
	close(fd);
	account_table_free(table);
}
END_TEST

START_TEST(only_valid_tokens_that_can_be_refreshed_are_written)
{
	struct account_table *table = scene_two(true);
	int fd = scene_write(table, 1);
	struct scene_bytes both = scene_read(fd);
	close(fd);
	atomic_load(&table->accounts[0]->report)->is_static = true;
	fd = scene_write(table, 1);
	struct scene_bytes one = scene_read(fd);
	close(fd);
	ck_assert_uint_lt(one.len, both.len);
	ck_assert_ptr_null(memmem(one.at, one.len, "storage", 7));
	ck_assert_ptr_nonnull(memmem(both.at, both.len, "opaque-token-of-storage", 23));
	const struct cache_moment later = {.now_ms = SCENE_DEAD_MS};
	struct error err = ERROR_INIT;
	fd = cache_image_write(table, &later, 1, &err);
	struct scene_bytes none = scene_read(fd);
	close(fd);
	ck_assert_uint_eq(none.len, CACHE_IMAGE_HEADER_SIZE + CACHE_DIGEST_SIZE);
	free(both.at);
	free(one.at);
	free(none.at);
	account_table_free(table);
}
END_TEST

START_TEST(the_fingerprint_changes_with_what_would_be_written)
{
	struct account_table *table = scene_two(true);
	uint64_t first = cache_image_fingerprint(table, SCENE_NOW_MS);
	ck_assert_uint_ne(first, 0);
	ck_assert_uint_eq(cache_image_fingerprint(table, SCENE_NOW_MS + 1), first);
	ck_assert_uint_eq(cache_image_fingerprint(table, SCENE_DEAD_MS), 0);
	atomic_load(&table->accounts[1]->report)->next_ms++;
	uint64_t second = cache_image_fingerprint(table, SCENE_NOW_MS);
	ck_assert_uint_ne(second, first);
	scene_give(table->accounts[0], "another", SCENE_NOW_MS);
	ck_assert_uint_ne(cache_image_fingerprint(table, SCENE_NOW_MS), second);
	account_table_free(table);
}
END_TEST

START_TEST(after_a_failure_the_next_refresh_is_due_at_once)
{
	struct account_table *before = scene_two(true);
	struct account_table *after = scene_two(false);
	atomic_load(&before->accounts[1]->report)->failures = 3;
	int fd = scene_write(before, 1);
	struct scene_bytes bytes = scene_read(fd);
	close(fd);
	ck_assert_uint_eq(take(bytes, &scene_moment, after).taken, 2);
	ck_assert_int_eq(atomic_load(&after->accounts[0]->report)->next_ms, SCENE_NEXT_MS);
	ck_assert_int_eq(atomic_load(&after->accounts[1]->report)->next_ms, 0);
	free(bytes.at);
	account_table_free(before);
	account_table_free(after);
}
END_TEST

START_TEST(the_upstreams_own_time_is_kept_after_a_failure)
{
	struct account_table *before = scene_two(true);
	struct account_table *after = scene_two(false);
	struct account_report *report = atomic_load(&before->accounts[1]->report);
	report->failures = 3;
	report->error.retry_after_s = 100;
	int fd = scene_write(before, 1);
	struct scene_bytes bytes = scene_read(fd);
	close(fd);
	ck_assert_uint_eq(take(bytes, &scene_moment, after).taken, 2);
	ck_assert_int_eq(atomic_load(&after->accounts[1]->report)->next_ms, SCENE_NEXT_MS);
	free(bytes.at);
	account_table_free(before);
	account_table_free(after);
}
END_TEST

START_TEST(a_token_with_times_that_are_refused_spoils_no_other)
{
	struct account_table *before = scene_two(true);
	struct account_table *after = scene_two(false);
	((struct snapshot *)atomic_load(&before->accounts[0]->snapshot))->expires_on = INT64_MAX;
	int fd = scene_write(before, 1);
	struct scene_bytes bytes = scene_read(fd);
	close(fd);
	ck_assert_uint_eq(take(bytes, &scene_moment, after).taken, 1);
	free(bytes.at);
	account_table_free(before);
	account_table_free(after);
}
END_TEST

/* ---- what is not taken over --------------------------------------------------------------------
 */

START_TEST(a_token_that_expired_meanwhile_is_left_out)
{
	struct scene_bytes bytes = scene_image();
	struct account_table *after = scene_two(false);
	struct cache_moment later = scene_moment;
	later.now_ms = SCENE_DEAD_MS;
	struct cache_takeover takeover = take(bytes, &later, after);
	ck_assert_uint_eq(takeover.expired, 2);
	ck_assert_uint_eq(takeover.taken, 0);
	ck_assert_ptr_null(atomic_load(&after->accounts[0]->snapshot));
	free(bytes.at);
	account_table_free(after);
}
END_TEST

static void change(char **string, const char *value)
{
	free(*string);
	*string = scene_copy(value);
}

/* Whatever of an account's settings is another, its token is not taken over; the other's is. */
static void leave_out_changed(size_t i)
{
	struct scene_bytes bytes = scene_image();
	struct account_table *after = scene_two(false);
	struct account_settings *settings = &after->accounts[1]->settings;
	switch (i) {
	case 0:
		change(&settings->account_id, "0a1b2c3d-0000-4000-8000-00000000abce");
		break;
	case 1:
		change(&settings->account_domain, "west.example");
		break;
	case 2:
		change(&settings->subject, "client_secret\n");
		break;
	case 3:
		change(&settings->endpoint, "https://sts.example:8443");
		break;
	case 4:
		change(&settings->kind, "entra");
		break;
	case 5:
		change(&settings->scope, "");
		break;
	default:
		break;
	}
	struct cache_takeover takeover = take(bytes, &scene_moment, after);
	ck_assert_uint_eq(takeover.taken, 1);
	ck_assert_uint_eq(takeover.strange, 1);
	ck_assert_ptr_nonnull(atomic_load(&after->accounts[0]->snapshot));
	ck_assert_ptr_null(atomic_load(&after->accounts[1]->snapshot));
	ck_assert_int_eq(atomic_load(&after->accounts[1]->report)->next_ms, 0);
	free(bytes.at);
	account_table_free(after);
}

START_TEST(only_the_account_that_was_changed_is_left_out)
{
	for (size_t i = 0; i < 6; i++)
		leave_out_changed(i);
}
END_TEST

START_TEST(an_account_that_is_gone_is_left_out)
{
	struct scene_bytes bytes = scene_image();
	struct account_table *after = scene_table(scene_account("anchors", NULL), NULL);
	struct cache_takeover takeover = take(bytes, &scene_moment, after);
	ck_assert_uint_eq(takeover.taken, 1);
	ck_assert_uint_eq(takeover.strange, 1);
	free(bytes.at);
	account_table_free(after);
}
END_TEST

/* A token is judged as one that comes from the network is. */
static void leave_out_unfit(size_t i)
{
	struct scene_bytes bytes = scene_image();
	unsigned char *signature = memmem(bytes.at, bytes.len, "c2ln", 4);
	*(i == 0 ? signature : signature - 10) = i == 0 ? '"' : 'X';
	scene_seal_digest(bytes);
	struct account_table *after = scene_two(false);
	struct cache_takeover takeover = take(bytes, &scene_moment, after);
	ck_assert_uint_eq(takeover.taken, 1);
	ck_assert_uint_eq(takeover.unfit, 1);
	ck_assert_ptr_nonnull(strstr(takeover.first_err.message, "account anchors: "));
	ck_assert_ptr_null(strstr(takeover.first_err.message, SCENE_TOKEN));
	free(bytes.at);
	account_table_free(after);
	ck_assert_int_eq(scene_answers, 0);
}

START_TEST(a_token_that_cannot_be_served_is_left_out)
{
	for (size_t i = 0; i < 2; i++)
		leave_out_unfit(i);
}
END_TEST

START_TEST(a_token_of_the_sts_must_end_when_it_says)
{
	struct scene_bytes bytes = scene_image();
	cache_put_64(bytes.at + FIRST_ENTRY + 48, SCENE_EXPIRES_ON + 1);
	scene_seal_digest(bytes);
	struct account_table *after = scene_two(false);
	struct cache_takeover takeover = take(bytes, &scene_moment, after);
	ck_assert_uint_eq(takeover.unfit, 1);
	ck_assert_ptr_nonnull(
		strstr(takeover.first_err.message, "1700000000, expected 1700000001"));
	free(bytes.at);
	account_table_free(after);
}
END_TEST

/* ---- what is refused as a whole ----------------------------------------------------------------
 */

START_TEST(another_version_is_refused)
{
	struct scene_bytes bytes = scene_image();
	cache_put_32(bytes.at + CACHE_IMAGE_VERSION_AT, CACHE_IMAGE_VERSION + 1);
	/* Said first, for in another version the digest may be elsewhere. */
	assert_refused(bytes, "another version of mrtokend kept (format 2), expected format 1");
	free(bytes.at);
}
END_TEST

START_TEST(another_boot_is_refused)
{
	struct scene_bytes bytes = scene_image();
	bytes.at[CACHE_IMAGE_BOOT_AT] ^= 1;
	assert_refused(bytes, "its bytes do not fit its digest");
	scene_seal_digest(bytes);
	assert_refused(bytes, "of another boot");
	free(bytes.at);
}
END_TEST

START_TEST(something_else_is_refused)
{
	struct scene_bytes bytes = scene_image();
	struct error err = ERROR_INIT;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_ptr_null(cache_image_open(null, &scene_moment, &err));
	ck_assert_str_eq(err.message, "found no memfd");
	close(null);
	ck_assert_ptr_null(cache_image_open(-1, &scene_moment, &err));
	ck_assert_str_eq(err.message, "found no memfd");
	bytes.at[0] ^= 1;
	scene_seal_digest(bytes);
	assert_refused(bytes, "something else than kept tokens");
	free(bytes.at);
}
END_TEST

/* Whoever could still change it could do so while it is read. */
static void refuse_without_seal(size_t i)
{
	static const int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL};
	struct scene_bytes bytes = scene_image();
	struct error err = ERROR_INIT;
	int fd = scene_memfd(bytes.at, bytes.len, CACHE_IMAGE_SEALS & ~seals[i]);
	ck_assert_ptr_null(cache_image_open(fd, &scene_moment, &err));
	ck_assert_ptr_nonnull(strstr(err.message, "not sealed"));
	close(fd);
	free(bytes.at);
}

START_TEST(an_image_that_lacks_a_seal_is_refused)
{
	for (size_t i = 0; i < 4; i++)
		refuse_without_seal(i);
}
END_TEST

START_TEST(a_size_that_none_has_is_refused)
{
	struct error err = ERROR_INIT;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(fd, (off_t)CACHE_IMAGE_MAX + 1), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, CACHE_IMAGE_SEALS), 0);
	ck_assert_ptr_null(cache_image_open(fd, &scene_moment, &err));
	ck_assert_ptr_nonnull(
		strstr(err.message, "found 268435457 bytes, expected 80 to 268435456"));
	close(fd);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
	struct scene_bytes bytes = scene_image();
	struct error err;
	for (size_t len = 0; len < bytes.len; len++)
		ck_assert_ptr_null(open_at(bytes.at, len, &scene_moment, &err));
	free(bytes.at);
}
END_TEST

START_TEST(every_flipped_bit_is_found)
{
	struct scene_bytes bytes = scene_image();
	struct error err;
	for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
		bytes.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_msg(
			open_at(bytes.at, bytes.len, &scene_moment, &err) == NULL, "bit %zu", bit);
		bytes.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	ck_assert_ptr_nonnull(strstr(err.message, "found damage"));
	free(bytes.at);
}
END_TEST

/*
 * With a digest that fits, as only a forger makes it: it is refused, or what is taken over is
 * served as it is, and nothing breaks. A token lives no longer than one is believed to.
 */
START_TEST(no_forged_bit_breaks_anything)
{
	struct scene_bytes bytes = scene_image();
	size_t opened = 0;
	for (size_t bit = 0; bit < 8 * (bytes.len - CACHE_DIGEST_SIZE); bit++) {
		struct error err;
		struct cache_takeover takeover = {0};
		struct account_table *after = scene_two(false);
		bytes.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
		scene_seal_digest(bytes);
		struct cache_image *image = open_at(bytes.at, bytes.len, &scene_moment, &err);
		if (image != NULL) {
			opened++;
			cache_image_take(image, &scene_moment, after, &scene_maker, &takeover);
			cache_image_close(image);
		}
		for (size_t i = 0; i < 2; i++) {
			const struct snapshot *snapshot =
				atomic_load(&after->accounts[i]->snapshot);
			if (snapshot == NULL)
				continue;
			ck_assert_int_le(
				snapshot->dead_at_ms, SCENE_NOW_MS + CACHE_LIFETIME_MAX_MS);
			ck_assert_int_le(atomic_load(&after->accounts[i]->report)->next_ms,
				snapshot->dead_at_ms);
		}
		account_table_free(after);
		bytes.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	ck_assert_uint_gt(opened, 100);
	ck_assert_int_eq(scene_answers, 0);
	free(bytes.at);
}
END_TEST

static const struct {
	size_t at;
	int64_t value;
	size_t bytes; /* of the value */
	const char *reason;
} forgeries[] = {
	{CACHE_IMAGE_COUNT_AT, 3, 4, "entry 3 of 3 is none"},
	{CACHE_IMAGE_COUNT_AT, 1, 4, "behind the last of 1 entries"},
	{CACHE_IMAGE_COUNT_AT, 0xffffffff, 4, "entry 3 of 4294967295 is none"},
	{CACHE_IMAGE_SIZE_AT, -1, 8, "bytes, expected 18446744073709551615"},
	{FIRST_ENTRY, 0, 2, "entry 1 of 2 is none"}, /* no name */
	{FIRST_ENTRY, 256, 2, "entry 1 of 2 is none"},
	{FIRST_ENTRY + 4, 0, 4, "entry 1 of 2 is none"}, /* no token */
	{FIRST_ENTRY + 4, 0xffffffff, 4, "entry 1 of 2 is none"},
	{FIRST_ENTRY + 4, SNAPSHOT_TOKEN_MAX, 4, "entry 1 of 2 is none"}, /* beyond the end */
	{FIRST_ENTRY + 40, 0, 8, "entry 1 of 2 is none"}, /* no number */
	{FIRST_ENTRY + CACHE_ENTRY_SIZE, 'z', 1, "does not come after"}, /* "znchors" */
	{FIRST_ENTRY + CACHE_ENTRY_SIZE, 0, 1, "entry 1 of 2 is none"}, /* a NUL in the name */
	{FIRST_ENTRY + 48, -1, 8, "that no token of this boot can have"},
	{FIRST_ENTRY + 72, SCENE_NOW_MS + 1, 8, "that no token of this boot can have"},
	{FIRST_ENTRY + 72, -1, 8, "that no token of this boot can have"},
	{FIRST_ENTRY + 80, 0, 8, "that no token of this boot can have"},
	{FIRST_ENTRY + 80, INT64_MAX, 8, "that no token of this boot can have"},
	{FIRST_ENTRY + 88, INT64_MIN, 8, "that no token of this boot can have"},
};

static void refuse_forgery(size_t i)
{
	struct scene_bytes bytes = scene_image();
	unsigned char value[8];
	cache_put_64(value, (uint64_t)forgeries[i].value);
	memcpy(bytes.at + forgeries[i].at, value, forgeries[i].bytes);
	scene_seal_digest(bytes);
	assert_refused(bytes, forgeries[i].reason);
	free(bytes.at);
}

START_TEST(a_forgery_is_told)
{
	for (size_t i = 0; i < UNIT_COUNT(forgeries); i++)
		refuse_forgery(i);
}
END_TEST

UNIT_MAIN("cache_image", what_is_written_is_taken_over,
	an_image_is_sealed_and_ends_with_the_process,
	only_valid_tokens_that_can_be_refreshed_are_written,
	the_fingerprint_changes_with_what_would_be_written,
	after_a_failure_the_next_refresh_is_due_at_once,
	the_upstreams_own_time_is_kept_after_a_failure,
	a_token_with_times_that_are_refused_spoils_no_other,
	a_token_that_expired_meanwhile_is_left_out, only_the_account_that_was_changed_is_left_out,
	an_account_that_is_gone_is_left_out, a_token_that_cannot_be_served_is_left_out,
	a_token_of_the_sts_must_end_when_it_says, another_version_is_refused,
	another_boot_is_refused, something_else_is_refused, an_image_that_lacks_a_seal_is_refused,
	a_size_that_none_has_is_refused, every_truncation_is_refused, every_flipped_bit_is_found,
	no_forged_bit_breaks_anything, a_forgery_is_told)
