#include "status_line.h"

#include "unit.h"

#define NOW_MS INT64_C(9000000)
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define ACCOUNTS 3

/* ---- a registry with accounts ------------------------------------------------------------------
 */

static void *make_answer(enum representation representation, struct secret *body, const char *etag)
{
	(void)representation;
	(void)etag;
	return body;
}

static void release_answer(void *answer)
{
	secret_free(answer);
}

static const struct answer_maker maker = {.make = make_answer, .release = release_answer};

static struct registry registry;
static struct account *accounts[ACCOUNTS];

static void scene_open(size_t count)
{
	static const char *const names[ACCOUNTS] = {"anchors", "rendering", "storage"};
	struct account **list = calloc(count + 1, sizeof(struct account *));
	ck_assert_ptr_nonnull(list);
	for (size_t i = 0; i < count; i++) {
		struct account_settings settings = {.name = strdup(names[i])};
		accounts[i] = list[i] = account_new(&settings);
		ck_assert_ptr_nonnull(list[i]);
	}
	registry_init(&registry);
	atomic_store(&registry.table, account_table_new(list, count, NULL));
	ck_assert_ptr_nonnull(atomic_load(&registry.table));
}

/* The account has a token that lives a day, and is refreshed in so long. */
static void give_token(size_t i, int64_t next_in_ms)
{
	const struct snapshot_parts parts = {
		.account = "any",
		.scope = "any",
		.expires_on = 1700086400,
		.dead_at_ms = NOW_MS + 24 * HOUR_MS,
	};
	struct snapshot *snapshot = snapshot_build(secret_from("t.o.k", 5), &parts, &maker, NULL);
	ck_assert_ptr_nonnull(snapshot);
	account_publish_snapshot(&registry, accounts[i], snapshot);
	atomic_load(&accounts[i]->report)->next_ms = NOW_MS + next_in_ms;
}

static void give_failure(size_t i, enum error_code code, int64_t next_in_ms)
{
	struct account_report *report = atomic_load(&accounts[i]->report);
	error_set(&report->error, code, "it failed");
	report->next_ms = NOW_MS + next_in_ms;
}

static const char *line_at(int64_t now_ms, const char *reload_error)
{
	static char text[STATUS_LINE_SIZE];
	struct status_line line;
	status_line_describe(&registry, 1, now_ms, reload_error, &line);
	status_line_join(&line, text);
	return text;
}

/* ---- what it says ------------------------------------------------------------------------------
 */

START_TEST(tells_the_next_refresh_and_whose_it_is)
{
	scene_open(3);
	give_token(0, 11 * HOUR_MS + 59 * MINUTE_MS);
	give_token(1, 12 * HOUR_MS);
	give_token(2, 13 * HOUR_MS);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"3 of 3 accounts have a valid token; next refresh in 11 h (anchors)");
	give_token(1, 2 * HOUR_MS - 1);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"3 of 3 accounts have a valid token; next refresh in 119 min (rendering)");
	give_token(2, 2 * MINUTE_MS - 1);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"3 of 3 accounts have a valid token; next refresh in less than 2 min (storage)");
	registry_destroy(&registry);
}
END_TEST

START_TEST(tells_what_is_refreshed_now)
{
	scene_open(2);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"0 of 2 accounts have a valid token; refreshing 2 accounts now");
	give_token(0, 12 * HOUR_MS);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"1 of 2 accounts have a valid token; refreshing now (rendering)");
	registry_destroy(&registry);
}
END_TEST

START_TEST(tells_what_fails_and_when_it_is_tried_again)
{
	scene_open(3);
	give_token(0, 12 * HOUR_MS);
	give_failure(1, ERR_DENIED, 5 * MINUTE_MS);
	give_token(2, 13 * HOUR_MS);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"2 of 3 accounts have a valid token; refresh fails for 1: rendering (denied); "
		"next refresh in 5 min (rendering)");
	give_failure(2, ERR_TIMEOUT, 6 * MINUTE_MS);
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"2 of 3 accounts have a valid token; refresh fails for 2: rendering (denied), ...; "
		"next refresh in 5 min (rendering)");
	registry_destroy(&registry);
}
END_TEST

START_TEST(tells_whose_second_key_is_in_use)
{
	scene_open(3);
	for (size_t i = 0; i < 3; i++)
		give_token(i, 12 * HOUR_MS);
	atomic_load(&accounts[0]->report)->key = "account_key";
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"3 of 3 accounts have a valid token; next refresh in 12 h (anchors)");
	atomic_load(&accounts[1]->report)->key = "secondary_account_key";
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"3 of 3 accounts have a valid token; secondary_account_key in use for 1: "
		"rendering; next refresh in 12 h (anchors)");
	atomic_load(&accounts[2]->report)->key = "secondary_account_key";
	ck_assert_str_eq(line_at(NOW_MS, ""),
		"3 of 3 accounts have a valid token; secondary_account_key in use for 2: "
		"rendering, ...; next refresh in 12 h (anchors)");
	registry_destroy(&registry);
}
END_TEST

START_TEST(tells_of_a_token_that_has_expired)
{
	scene_open(1);
	give_token(0, 30 * HOUR_MS);
	ck_assert_str_eq(line_at(NOW_MS + 24 * HOUR_MS, ""),
		"0 of 1 accounts have a valid token; next refresh in 6 h (anchors)");
	registry_destroy(&registry);
}
END_TEST

START_TEST(tells_of_a_reload_that_failed)
{
	scene_open(1);
	give_token(0, 12 * HOUR_MS);
	ck_assert_str_eq(line_at(NOW_MS, "found 'perhaps'"),
		"1 of 1 accounts have a valid token; reload failed, the old configuration is in "
		"force: found 'perhaps'; next refresh in 12 h (anchors)");
	registry_destroy(&registry);
}
END_TEST

START_TEST(has_no_next_action_where_there_is_none)
{
	scene_open(0);
	ck_assert_str_eq(line_at(NOW_MS, ""), "0 of 0 accounts have a valid token");
	registry_destroy(&registry);
	/* A token that nobody refreshes is looked at every few seconds: no action to tell of. */
	scene_open(1);
	give_token(0, 3000);
	atomic_load(&accounts[0]->report)->is_static = true;
	ck_assert_str_eq(line_at(NOW_MS, ""), "1 of 1 accounts have a valid token");
	registry_destroy(&registry);
}
END_TEST

START_TEST(time_alone_changes_the_part_that_is_told_now_and_then)
{
	struct status_line before;
	struct status_line after;
	scene_open(1);
	give_token(0, 12 * HOUR_MS);
	status_line_describe(&registry, 1, NOW_MS, "", &before);
	status_line_describe(&registry, 1, NOW_MS + 11 * HOUR_MS, "", &after);
	ck_assert_str_eq(before.state, after.state);
	ck_assert_str_ne(before.next, after.next);
	registry_destroy(&registry);
}
END_TEST

START_TEST(the_longest_words_fit)
{
	char reason[4096];
	struct status_line line;
	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	scene_open(1);
	give_token(0, 12 * HOUR_MS);
	status_line_describe(&registry, 1, NOW_MS, reason, &line);
	ck_assert_uint_eq(strlen(line.state), sizeof(line.state) - 1);
	ck_assert_ptr_nonnull(
		strstr(line_at(NOW_MS, reason), "xxx; next refresh in 12 h (anchors)"));
	registry_destroy(&registry);
}
END_TEST

UNIT_MAIN("status_line", tells_the_next_refresh_and_whose_it_is, tells_what_is_refreshed_now,
	tells_what_fails_and_when_it_is_tried_again, tells_whose_second_key_is_in_use,
	tells_of_a_token_that_has_expired, tells_of_a_reload_that_failed,
	has_no_next_action_where_there_is_none,
	time_alone_changes_the_part_that_is_told_now_and_then, the_longest_words_fit)
