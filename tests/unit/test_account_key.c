#include "base/message_id.h"
#include "credential/credential.h"
#include "credential/live_secret.h"
#include "credential/secret_state.h"

#include "files.h"
#include "moved_clock.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#define ID "E2a1c0de-0000-4000-8000-00000000ABCD"
#define FIRST_KEY "Zm9vYmFyRmlyc3RLZXkrLz0rLz0rLz0rLz0rLz0rLz0="
#define SECOND_KEY "c2Vjb25kS2V5T2ZUaGVBY2NvdW50T2ZUaGVBY2NvdW4="

/* ---- the credential under test -----------------------------------------------------------------
 */

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

/* Read by the kind only, so no copies. */
static const struct account_settings account = {
	.name = (char *)"anchors",
	.account_id = (char *)ID,
};

static void set_file(struct secret_source *source, const char *path)
{
	char word[300];
	snprintf(word, sizeof(word), "file:%s", path);
	secret_source_clear(source);
	ck_assert_int_eq(secret_source_parse(word, source, NULL), 0);
}

static struct credential *open_paths(
	const char *first_path, const char *second_path, struct error *err)
{
	struct credential_settings settings = {.kinds = {&credential_account_key}, .kind_count = 1};
	if (first_path != NULL)
		set_file(&settings.account_key, first_path);
	if (second_path != NULL)
		set_file(&settings.secondary_account_key, second_path);
	struct credential *credential = credential_open(&settings, &account, err);
	credential_settings_clear(&settings);
	ck_assert_uint_eq(settings.kind_count, 0);
	ck_assert_ptr_null(settings.account_key.name);
	return credential;
}

/* With one key, or with two. */
static struct credential *open_keys(const char *first, const char *second)
{
	struct error err = ERROR_INIT;
	struct credential *credential = open_paths(write_file("first", first),
		second == NULL ? NULL : write_file("second", second), &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	ck_assert_ptr_eq(credential->kind, &credential_account_key);
	return credential;
}

struct got {
	int calls;
	char bearer[4096];
	const char *key;
	char notice[256];
	bool is_notice_told;
	struct error err;
};

static void on_bearer(void *context, struct access_token *token, const struct error *err)
{
	struct got *got = context;
	got->calls++;
	if (token == NULL) {
		got->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	ck_assert(token->is_account_key && token->dead_at_ms == INT64_MAX);
	const struct secret *bearer = token->token;
	ck_assert_uint_eq(strlen(secret_bytes(bearer)), secret_len(bearer));
	snprintf(got->bearer, sizeof(got->bearer), "%s", secret_bytes(bearer));
	got->key = token->key;
	snprintf(got->notice, sizeof(got->notice), "%s", token->notice);
	got->is_notice_told = token->is_notice_told;
	ck_assert(
		got->notice[0] == '\0' ||
		(token->notice_id != NULL && strcmp(token->notice_id, MESSAGE_KEY_FALLBACK) == 0));
	ck_assert_ptr_null(strstr(got->notice, "Zm9v"));
	ck_assert_ptr_null(strstr(got->notice, "c2Vj"));
}

/* What it shows, or why it shows nothing. */
static struct got ask(struct credential *credential)
{
	struct got got = {0};
	struct error err = ERROR_INIT;
	struct loop *loop = loop_new(&test_clock, &err);
	ck_assert_ptr_nonnull(loop);
	ck_assert_ptr_nonnull(credential->kind->ask(credential, "", loop, on_bearer, &got, &err));
	ck_assert_int_eq(got.calls, 0); /* never before it is back */
	loop_run(loop, 1000);
	ck_assert_int_eq(got.calls, 1);
	loop_free(loop);
	return got;
}

static void assert_bearer(struct credential *credential, const char *expected)
{
	struct got got = ask(credential);
	ck_assert_str_eq(got.bearer, expected);
}

/* Of a pair: the key it shows, and the start of what someone should look at. */
static void assert_key(struct credential *credential, const char *key, const char *notice)
{
	struct got got = ask(credential);
	ck_assert_msg(got.key != NULL && strcmp(got.key, key) == 0, "%s", got.err.message);
	ck_assert_str_eq(
		got.bearer, strcmp(key, "account_key") == 0 ? ID ":" FIRST_KEY : ID ":" SECOND_KEY);
	ck_assert_msg(*notice == '\0' ? got.notice[0] == '\0'
				      : strncmp(got.notice, notice, strlen(notice)) == 0,
		"%s", got.notice);
}

#define FIRST "account_key"
#define SECOND "secondary_account_key"
#define FIRST_IS_REFUSED                                                                         \
	"the STS refused the account_key, the secondary_account_key is in use: put a valid key " \
	"in "                                                                                    \
	"file:/"
#define SECOND_IS_REFUSED                                                                         \
	"the STS refused the secondary_account_key, there is no second key to fall back on: put " \
	"a "                                                                                      \
	"valid key in file:/"

/* Whether another bearer is worth an exchange now; what is logged must hold no key. */
static bool is_refused(struct credential *credential, unsigned refusals, const char **logged)
{
	capture_begin();
	bool is_other = credential->kind->refused(credential, &account, refusals);
	*logged = capture_end();
	ck_assert_ptr_null(strstr(*logged, "Zm9v"));
	ck_assert_ptr_null(strstr(*logged, "c2Vj"));
	return is_other;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

START_TEST(is_found_by_its_name)
{
	ck_assert_ptr_eq(credential_kind_find("account_key"), &credential_account_key);
	ck_assert_str_eq(credential_account_key.name, "account_key");
	static const char *const unknown[] = {
		"", "account", "Account_key", "account_key ", "account_keys"};
	for (size_t i = 0; i < UNIT_COUNT(unknown); i++)
		ck_assert_ptr_null(credential_kind_find(unknown[i]));
}
END_TEST

START_TEST(has_all_that_a_kind_must_have)
{
	size_t count = 0;
	for (; credential_kinds[count] != NULL; count++) {
		const struct credential_kind *kind = credential_kinds[count];
		ck_assert_ptr_nonnull(kind->name);
		ck_assert(kind->open != NULL && kind->ask != NULL && kind->cancel != NULL &&
			  kind->keys != NULL && kind->close != NULL);
		ck_assert_ptr_eq(credential_kind_find(kind->name), kind);
	}
	ck_assert_uint_ge(count, 1);
	credential_close(NULL);
}
END_TEST

START_TEST(wants_a_first_key)
{
	ck_assert_str_eq(credential_account_key.keys[0], "!account_key");
	ck_assert_str_eq(credential_account_key.keys[1], "secondary_account_key");
	ck_assert_ptr_null(credential_account_key.keys[2]);
}
END_TEST

/* ---- opening -----------------------------------------------------------------------------------
 */

START_TEST(shows_account_id_colon_key_as_they_are)
{
	static const char *const keys[] = {FIRST_KEY, "x", "with:colon:", "\"quoted\\\"", "!~"};
	for (size_t i = 0; i < UNIT_COUNT(keys); i++) {
		char content[128];
		char expected[128];
		snprintf(content, sizeof(content), "%s\n", keys[i]);
		snprintf(expected, sizeof(expected), ID ":%s", keys[i]);
		struct credential *credential = open_keys(content, NULL);
		assert_bearer(credential, expected);
		assert_bearer(credential, expected);
		credential_close(credential);
	}
}
END_TEST

START_TEST(gives_back_its_secret_memory)
{
	size_t before = bytes_in_use();
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	ck_assert_uint_gt(bytes_in_use(), before);
	credential_close(credential);
	ck_assert_uint_eq(bytes_in_use(), before);
}
END_TEST

START_TEST(shows_the_key_that_is_in_its_file_now)
{
	struct credential *credential = open_keys(FIRST_KEY, NULL);
	assert_bearer(credential, ID ":" FIRST_KEY);
	write_file("first", SECOND_KEY);
	assert_bearer(credential, ID ":" SECOND_KEY);
	ck_assert_int_eq(rename(write_file("new", FIRST_KEY), path_of("first")), 0);
	assert_bearer(credential, ID ":" FIRST_KEY);
	credential_close(credential);
}
END_TEST

START_TEST(can_be_left_alone)
{
	struct got got = {0};
	struct error err = ERROR_INIT;
	struct loop *loop = loop_new(&test_clock, &err);
	struct credential *credential = open_keys(FIRST_KEY, NULL);
	credential->kind->cancel(
		credential->kind->ask(credential, "", loop, on_bearer, &got, &err));
	loop_run(loop, 0);
	ck_assert_int_eq(got.calls, 0);
	loop_free(loop);
	credential_close(credential);
}
END_TEST

START_TEST(reads_its_key_from_a_variable_too)
{
	struct credential_settings settings = {.kinds = {&credential_account_key}, .kind_count = 1};
	struct error err = ERROR_INIT;
	setenv("UNIT_KEY", FIRST_KEY, 1);
	ck_assert_int_eq(secret_source_parse("env:UNIT_KEY", &settings.account_key, &err), 0);
	/* Two accounts with one variable, which is wiped at the first. */
	for (int i = 0; i < 2; i++) {
		struct credential *credential = credential_open(&settings, &account, &err);
		ck_assert_msg(credential != NULL, "%s", err.message);
		assert_bearer(credential, ID ":" FIRST_KEY);
		credential_close(credential);
	}
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(names_the_key_that_cannot_be_read)
{
	size_t before = bytes_in_use();
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(open_paths(path_of("missing"), NULL, &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(
		strstr(err.message, "[account anchors]: account_key: cannot open /") == err.message,
		"%s", err.message);
	ck_assert_ptr_nonnull(strstr(err.message, "/missing: No such file or directory"));
	err = ERROR_INIT;
	ck_assert_ptr_null(open_paths(write_file("first", FIRST_KEY), path_of("missing"), &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(
		strstr(err.message, "[account anchors]: secondary_account_key: cannot open /") ==
			err.message,
		"%s", err.message);
	err = ERROR_INIT;
	ck_assert_ptr_null(open_paths(write_file("first", "\n"), NULL, &err));
	ck_assert_msg(strstr(err.message, "[account anchors]: account_key: file:/") == err.message,
		"%s", err.message);
	ck_assert_ptr_nonnull(strstr(err.message, "is empty"));
	ck_assert_uint_eq(bytes_in_use(), before);
}
END_TEST

START_TEST(names_the_place_that_names_the_key)
{
	struct error err = ERROR_INIT;
	struct credential_settings settings = {.kinds = {&credential_account_key}, .kind_count = 1};
	set_file(&settings.account_key, path_of("missing"));
	settings.account_key.where = strdup("/etc/drop-in.conf:5");
	ck_assert_ptr_null(credential_open(&settings, &account, &err));
	ck_assert_msg(
		strstr(err.message, "/etc/drop-in.conf:5: [account anchors]: account_key: ") ==
			err.message,
		"%s", err.message);
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(refuses_bytes_that_break_out_of_a_header_and_shows_none)
{
	size_t before = bytes_in_use();
	int refused = 0;
	for (int byte = 0; byte < 256; byte++) {
		if (byte > 0x20 && byte < 0x7f)
			continue;
		for (int second = 0; second < 2; second++) {
			char key[] = "Zm9vYmFy?Zm9vYmFy\n";
			char expected[80];
			struct error err = ERROR_INIT;
			key[8] = (char)byte;
			const char *bad = write_bytes("bad", key, sizeof(key) - 1);
			struct credential *credential =
				second == 0 ? open_paths(bad, NULL, &err)
					    : open_paths(write_file("first", FIRST_KEY), bad, &err);
			ck_assert_msg(credential == NULL, "byte %#x", (unsigned)byte);
			ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
			snprintf(expected, sizeof(expected),
				"[account anchors]: %s: the byte at offset 8 has no place",
				second == 0 ? "account_key" : "secondary_account_key");
			ck_assert_msg(strncmp(err.message, expected, strlen(expected)) == 0, "%s",
				err.message);
			ck_assert_ptr_null(strstr(err.message, "Zm9v"));
		}
		refused++;
	}
	ck_assert_int_eq(refused, 256 - 94);
	ck_assert_uint_eq(bytes_in_use(), before);
}
END_TEST

/* ---- refused and accepted ----------------------------------------------------------------------
 */

START_TEST(has_no_other_bearer_than_the_one_of_a_single_key)
{
	const char *logged = NULL;
	struct credential *credential = open_keys(FIRST_KEY, NULL);
	for (int i = 0; i < 3; i++) {
		ck_assert(!is_refused(credential, 1, &logged));
		ck_assert_str_eq(logged, "");
		assert_bearer(credential, ID ":" FIRST_KEY);
	}
	assert_bearer(credential, ID ":" FIRST_KEY);
	credential_close(credential);
}
END_TEST

/* The STS takes what the credential shows from now on, or the next that it shows. */
static void accept(struct credential *credential)
{
	credential->kind->accepted(credential);
}

/* Both keys are there, and the STS refuses the first: an exchange with the second works. */
static struct credential *open_with_first_refused(void)
{
	const char *logged = NULL;
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	assert_key(credential, FIRST, "");
	ck_assert(is_refused(credential, 1, &logged));
	assert_key(credential, SECOND, FIRST_IS_REFUSED);
	accept(credential);
	return credential;
}

START_TEST(shows_the_first_key_while_the_sts_takes_it)
{
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	for (int i = 0; i < 3; i++) {
		assert_key(credential, FIRST, "");
		accept(credential);
	}
	credential_close(credential);
}
END_TEST

START_TEST(tries_the_second_key_when_the_first_is_refused_and_says_so)
{
	const char *logged = NULL;
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	assert_bearer(credential, ID ":" FIRST_KEY);
	ck_assert(is_refused(credential, 1, &logged));
	ck_assert_ptr_nonnull(
		strstr(logged, "warning: account anchors: the STS refused the account_key, trying "
			       "the secondary_account_key; put a valid key in file:/"));
	ck_assert_ptr_nonnull(strstr(logged, " ACCOUNT=anchors"));
	struct got got = ask(credential);
	ck_assert_str_eq(got.bearer, ID ":" SECOND_KEY);
	ck_assert_str_eq(got.key, SECOND);
	ck_assert_msg(got.is_notice_told, "%s", got.notice);
	credential_close(credential);
}
END_TEST

START_TEST(tries_each_key_once_a_round_when_both_are_refused)
{
	const char *logged = NULL;
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	for (int round = 0; round < 3; round++) {
		assert_bearer(credential, ID ":" FIRST_KEY);
		ck_assert(is_refused(credential, 1, &logged));
		assert_bearer(credential, ID ":" SECOND_KEY);
		ck_assert(!is_refused(credential, 2, &logged));
		ck_assert_str_eq(logged, "");
	}
	credential_close(credential);
}
END_TEST

START_TEST(remembers_which_key_works)
{
	struct credential *credential = open_with_first_refused();
	for (int i = 0; i < 3; i++) {
		now_ms += INT64_C(1000000);
		assert_key(credential, SECOND, FIRST_IS_REFUSED);
		accept(credential);
	}
	credential_close(credential);
}
END_TEST

START_TEST(tries_a_refused_first_key_again_in_an_hour_and_once)
{
	const char *logged = NULL;
	struct credential *credential = open_with_first_refused();
	now_ms += 3599999;
	assert_key(credential, SECOND, FIRST_IS_REFUSED);
	accept(credential);
	now_ms += 1;
	assert_key(credential, FIRST, "");
	ck_assert(is_refused(credential, 1, &logged));
	assert_key(credential, SECOND, FIRST_IS_REFUSED);
	accept(credential);
	assert_key(credential, SECOND, FIRST_IS_REFUSED);
	/* Nor is one that broke off a reason to try again and again. */
	now_ms += 3600000;
	assert_key(credential, FIRST, "");
	assert_key(credential, SECOND, FIRST_IS_REFUSED);
	credential_close(credential);
}
END_TEST

START_TEST(returns_to_the_first_key_when_it_works_again)
{
	struct credential *credential = open_with_first_refused();
	now_ms += 3600000;
	for (int i = 0; i < 3; i++) {
		assert_key(credential, FIRST, "");
		accept(credential);
	}
	credential_close(credential);
}
END_TEST

START_TEST(returns_to_the_first_key_when_it_is_another_one)
{
	struct credential *credential = open_with_first_refused();
	write_file("first", "another");
	struct got got = ask(credential);
	ck_assert_str_eq(got.bearer, ID ":another");
	ck_assert_str_eq(got.key, FIRST);
	ck_assert_str_eq(got.notice, "");
	credential_close(credential);
}
END_TEST

START_TEST(returns_to_the_first_key_when_something_may_have_changed)
{
	struct credential *credential = open_with_first_refused();
	credential->kind->reconsider(credential);
	assert_key(credential, FIRST, "");
	credential_close(credential);
}
END_TEST

START_TEST(goes_back_to_the_first_key_when_the_second_is_refused_later)
{
	const char *logged = NULL;
	struct credential *credential = open_with_first_refused();
	/* The second was made anew, and the first one's old value is valid again. */
	assert_key(credential, SECOND, FIRST_IS_REFUSED);
	ck_assert(is_refused(credential, 1, &logged));
	ck_assert_ptr_nonnull(
		strstr(logged, "refused the secondary_account_key, trying the account_key"));
	assert_key(credential, FIRST, SECOND_IS_REFUSED);
	accept(credential);
	assert_key(credential, FIRST, SECOND_IS_REFUSED);
	write_file("second", "another");
	assert_key(credential, FIRST, "");
	credential_close(credential);
}
END_TEST

START_TEST(tries_the_other_key_in_the_next_exchange_when_one_broke_off)
{
	/* The first was refused, and the exchange with the second broke off. */
	const char *logged = NULL;
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	assert_bearer(credential, ID ":" FIRST_KEY);
	ck_assert(is_refused(credential, 1, &logged));
	assert_bearer(credential, ID ":" SECOND_KEY);
	/* In the next one the second is refused too: the first may have been put right by now. */
	assert_bearer(credential, ID ":" SECOND_KEY);
	ck_assert(is_refused(credential, 1, &logged));
	assert_bearer(credential, ID ":" FIRST_KEY);
	ck_assert(!is_refused(credential, 2, &logged));
	credential_close(credential);
}
END_TEST

START_TEST(tries_a_key_again_that_was_replaced_on_its_way)
{
	const char *logged = NULL;
	for (int count = 1; count <= 2; count++) {
		struct credential *credential =
			open_keys(FIRST_KEY, count == 1 ? NULL : SECOND_KEY);
		assert_bearer(credential, ID ":" FIRST_KEY);
		write_file("first", "another");
		ck_assert(is_refused(credential, 1, &logged));
		ck_assert_str_eq(logged, "");
		assert_bearer(credential, ID ":another");
		credential_close(credential);
	}
}
END_TEST

START_TEST(gives_up_on_a_key_that_changes_all_the_time)
{
	const char *logged = NULL;
	unsigned refusals = 0;
	struct credential *credential = open_keys(FIRST_KEY, NULL);
	do {
		char key[32];
		ask(credential);
		snprintf(key, sizeof(key), "key-%u", ++refusals);
		write_file("first", key);
		ck_assert_uint_lt(refusals, 10);
	} while (is_refused(credential, refusals, &logged));
	ck_assert_uint_eq(refusals, 4);
	credential_close(credential);
}
END_TEST

/* ---- one that cannot be read ------------------------------------------------------------------
 */

START_TEST(goes_on_with_the_key_that_can_be_read)
{
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	ck_assert_int_eq(unlink(path_of("first")), 0);
	assert_key(credential, SECOND,
		"the secondary_account_key is in use; account_key: cannot open /");
	ck_assert(!ask(credential).is_notice_told);
	/* There is no other one. */
	const char *logged = NULL;
	ck_assert(!is_refused(credential, 1, &logged));
	ck_assert_str_eq(logged, "");
	write_file("first", FIRST_KEY);
	assert_key(credential, FIRST, SECOND_IS_REFUSED);
	accept(credential);
	ck_assert_int_eq(unlink(path_of("second")), 0);
	assert_key(credential, FIRST,
		"there is no second key to fall back on; secondary_account_key: cannot open /");
	credential_close(credential);
}
END_TEST

START_TEST(tells_of_both_keys_when_none_can_be_read)
{
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	ck_assert_int_eq(unlink(path_of("first")), 0);
	write_file("second", "a b");
	struct got got = ask(credential);
	ck_assert_int_eq(got.err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strstr(got.err.message, "account_key: cannot open /") == got.err.message &&
			      strstr(got.err.message,
				      "; and secondary_account_key: the byte at offset 1 ") != NULL,
		"%s", got.err.message);
	write_file("second", SECOND_KEY);
	assert_key(credential, SECOND, "the secondary_account_key is in use; account_key: cannot");
	credential_close(credential);
}
END_TEST

/* ---- its files --------------------------------------------------------------------------------
 */

static void count_rotated(void *context, struct live_secret *secret, enum secret_change change)
{
	char *names = context;
	ck_assert_int_eq(change, SECRET_IS_ROTATED);
	const char *path = live_secret_path(secret);
	strcat(names, path == NULL ? "none" : strrchr(path, '/'));
}

START_TEST(tells_which_files_its_keys_are_in)
{
	char names[64] = "";
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	credential_visit_secrets(credential, count_rotated, names);
	ck_assert_str_eq(names, "/first/second");
	credential_close(credential);
}
END_TEST

START_TEST(tells_whether_its_secrets_are_others)
{
	struct credential *credential = open_keys(FIRST_KEY, SECOND_KEY);
	struct secret_state before = secret_state_now(credential);
	ck_assert(before.is_readable);
	/* Written anew, and the same. */
	ck_assert_int_eq(rename(write_file("new", FIRST_KEY "\n"), path_of("first")), 0);
	struct secret_state now = secret_state_now(credential);
	ck_assert_uint_eq(now.versions, before.versions);
	/* Gone, and back. */
	ck_assert_int_eq(rename(path_of("second"), path_of("aside")), 0);
	now = secret_state_now(credential);
	ck_assert(!now.is_readable);
	ck_assert_uint_eq(now.versions, before.versions);
	ck_assert_int_eq(rename(path_of("aside"), path_of("second")), 0);
	now = secret_state_now(credential);
	ck_assert(now.is_readable);
	ck_assert_uint_eq(now.versions, before.versions);
	write_file("second", "another");
	now = secret_state_now(credential);
	ck_assert_uint_gt(now.versions, before.versions);
	ck_assert_uint_gt(now.rotations, before.rotations);
	credential_close(credential);
}
END_TEST

START_TEST(tells_whether_another_one_has_other_secrets)
{
	struct secret_state state = {0};
	struct credential *before = open_keys(FIRST_KEY, SECOND_KEY);
	struct credential *same = open_keys(FIRST_KEY, SECOND_KEY);
	struct credential *single = open_keys(FIRST_KEY, NULL);
	struct credential *other = open_keys(FIRST_KEY, "another");
	/* `before` holds what it read then, whatever the files are now. */
	ck_assert(secret_state_differs(before, other, &state));
	ck_assert(state.is_readable && state.versions == 2);
	ck_assert(secret_state_differs(before, single, &state));
	write_file("second", SECOND_KEY);
	ck_assert(!secret_state_differs(before, same, &state));
	credential_close(before);
	credential_close(same);
	credential_close(single);
	credential_close(other);
}
END_TEST

UNIT_MAIN("account_key", is_found_by_its_name, has_all_that_a_kind_must_have, wants_a_first_key,
	shows_account_id_colon_key_as_they_are, gives_back_its_secret_memory,
	shows_the_key_that_is_in_its_file_now, can_be_left_alone, reads_its_key_from_a_variable_too,
	names_the_key_that_cannot_be_read, names_the_place_that_names_the_key,
	refuses_bytes_that_break_out_of_a_header_and_shows_none,
	has_no_other_bearer_than_the_one_of_a_single_key,
	shows_the_first_key_while_the_sts_takes_it,
	tries_the_second_key_when_the_first_is_refused_and_says_so,
	tries_each_key_once_a_round_when_both_are_refused, remembers_which_key_works,
	tries_a_refused_first_key_again_in_an_hour_and_once,
	returns_to_the_first_key_when_it_works_again,
	returns_to_the_first_key_when_it_is_another_one,
	returns_to_the_first_key_when_something_may_have_changed,
	goes_back_to_the_first_key_when_the_second_is_refused_later,
	tries_the_other_key_in_the_next_exchange_when_one_broke_off,
	tries_a_key_again_that_was_replaced_on_its_way, gives_up_on_a_key_that_changes_all_the_time,
	goes_on_with_the_key_that_can_be_read, tells_of_both_keys_when_none_can_be_read,
	tells_which_files_its_keys_are_in, tells_whether_its_secrets_are_others,
	tells_whether_another_one_has_other_secrets)
