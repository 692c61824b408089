#include "base/message_id.h"
#include "credential/credential.h"

#include "base/text.h"

#include "asking.h"
#include "files.h"
#include "unit.h"

#define HOUR_MS (INT64_C(3600) * 1000)

static const struct account_settings account = {.name = (char *)"anchors"};

static struct loop *loop;
static struct credential *credential;
static size_t bytes_before;

/* A token that expires so long after today's beginning. */
static const char *token_for(int64_t expires_in_s)
{
	static char tokens[4][256];
	static size_t turn;
	char *token = tokens[turn++ % UNIT_COUNT(tokens)];
	char claims[64];
	snprintf(claims, sizeof(claims), "{\"exp\":%" PRId64 "}", TODAY_S + expires_in_s);
	strcpy(token, "eyJhbGciOiJSUzI1NiJ9.");
	base64url_encode((const unsigned char *)claims, strlen(claims), token + strlen(token));
	strcat(token, ".c2lnbmF0dXJl");
	return token;
}

static void scene_open(const char *content)
{
	struct error err = ERROR_INIT;
	char word[300];
	struct credential_settings settings = {
		.kinds = {&credential_static_token}, .kind_count = 1};
	bytes_before = bytes_in_use();
	test_boottime_ms = START_MS;
	test_realtime_s = TODAY_S;
	loop = make_loop();
	const char *path = path_of("token");
	if (content != NULL)
		write_file("token", content);
	snprintf(word, sizeof(word), "file:%s", path);
	ck_assert_int_eq(secret_source_parse(word, &settings.static_token, &err), 0);
	settings.static_token.where = strdup("/etc/x.conf:7");
	credential = credential_open(&settings, &account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	credential_settings_clear(&settings);
}

static void replace(const char *content)
{
	const char *path = path_of("token");
	ck_assert_int_eq(rename(write_file("new", content), path), 0);
}

static struct asked ask_now(void)
{
	struct asked asked;
	ask(loop, credential, &asked);
	ck_assert_ptr_null(strstr(asked.err.message, "eyJ"));
	ck_assert_ptr_null(strstr(asked.parts.notice, "eyJ"));
	return asked;
}

static void scene_close(void)
{
	credential_close(credential);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

START_TEST(gives_the_token_as_it_is_until_it_expires)
{
	const char *token = token_for(86400);
	char content[300];
	snprintf(content, sizeof(content), "%s\n", token);
	scene_open(content);
	struct asked asked = ask_now();
	assert_token(&asked, token);
	ck_assert(asked.parts.is_static);
	ck_assert(!asked.parts.is_account_key);
	ck_assert_int_eq(asked.parts.expires_on, TODAY_S + 86400);
	ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 86400000);
	ck_assert_str_eq(asked.parts.notice, "");
	test_boottime_ms += 86400000 - 1;
	asked = ask_now();
	assert_token(&asked, token);
	ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 86400000);
	test_boottime_ms++;
	asked = ask_now();
	assert_failure(&asked, ERR_SECRET_SOURCE, "and cannot be refreshed; put a new one there");
	assert_failure(&asked, ERR_SECRET_SOURCE, "static_token: the token in file:/");
	scene_close();
}
END_TEST

START_TEST(wants_to_be_looked_at_every_ten_seconds_and_at_its_end)
{
	scene_open(token_for(15));
	struct asked asked = ask_now();
	ck_assert_int_eq(asked.parts.refresh_at_ms, START_MS + 10000);
	test_boottime_ms += 10000;
	asked = ask_now();
	ck_assert_int_eq(asked.parts.refresh_at_ms, START_MS + 15000);
	scene_close();
}
END_TEST

START_TEST(takes_the_next_token_from_the_file)
{
	scene_open(token_for(3600));
	ask_now();
	const char *next = token_for(7200);
	replace(next);
	test_boottime_ms += 3600000;
	test_realtime_s += 3600;
	struct asked asked = ask_now();
	assert_token(&asked, next);
	ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 7200000);
	scene_close();
}
END_TEST

START_TEST(lives_as_long_as_it_should_whatever_becomes_of_the_hosts_clock)
{
	scene_open(token_for(3600));
	ask_now();
	static const int64_t steps_s[] = {-86400, 86400, -TODAY_S};
	for (size_t i = 0; i < UNIT_COUNT(steps_s); i++) {
		test_realtime_s = TODAY_S + steps_s[i];
		struct asked asked = ask_now();
		ck_assert(asked.has_token);
		ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 3600000);
	}
	scene_close();
}
END_TEST

START_TEST(says_so_when_its_end_is_near)
{
	scene_open(token_for(86400));
	ask_now();
	/* Less than an hour, and less than a quarter. */
	test_boottime_ms = START_MS + 23 * HOUR_MS;
	struct asked asked = ask_now();
	ck_assert_str_eq(asked.parts.notice, "");
	test_boottime_ms++;
	asked = ask_now();
	ck_assert_str_eq(asked.parts.notice_id, MESSAGE_STATIC_TOKEN_EXPIRES);
	ck_assert_ptr_nonnull(strstr(asked.parts.notice, "the static token expires at 1709337600 "
							 "and cannot be refreshed; put a new one "
							 "in file:/"));
	scene_close();
	/* A token of half an hour is not near its end from the beginning. */
	scene_open(token_for(1800));
	ck_assert_str_eq(ask_now().parts.notice, "");
	test_boottime_ms += 1350000;
	ck_assert_str_eq(ask_now().parts.notice, "");
	test_boottime_ms++;
	ck_assert_str_ne(ask_now().parts.notice, "");
	replace(token_for(86400));
	ck_assert_str_eq(ask_now().parts.notice, "");
	scene_close();
}
END_TEST

START_TEST(tells_what_is_wrong_with_the_file)
{
	static const struct {
		const char *content; /* NULL: no file */
		const char *words;
	} cases[] = {
		{NULL, "cannot open /"},
		{"", "is empty"},
		{"\n", "is empty"},
		{"not a token", "JWT"},
		{"a.b", "JWT"},
		{"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "exp"},
		{"eyJhbGciOiJSUzI1NiJ9.!!!.c2ln", "JWT"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		unlink(path_of("token"));
		scene_open(cases[i].content);
		struct asked asked = ask_now();
		assert_failure(&asked, ERR_SECRET_SOURCE, cases[i].words);
		assert_failure(&asked, ERR_SECRET_SOURCE, "static_token: ");
		/* And it goes on when that is mended. */
		replace(token_for(3600));
		asked = ask_now();
		ck_assert_msg(asked.has_token, "%s", asked.err.message);
		scene_close();
	}
}
END_TEST

START_TEST(tells_of_one_that_has_expired_already)
{
	static const int64_t ages_s[] = {0, -1, -86400, -TODAY_S + 1};
	for (size_t i = 0; i < UNIT_COUNT(ages_s); i++) {
		char words[64];
		scene_open(token_for(ages_s[i]));
		struct asked asked = ask_now();
		snprintf(words, sizeof(words), "expired at %" PRId64, TODAY_S + ages_s[i]);
		assert_failure(&asked, ERR_SECRET_SOURCE, words);
		scene_close();
	}
}
END_TEST

START_TEST(survives_the_longest_life_that_a_token_can_claim)
{
	scene_open(token_for((INT64_C(1) << 53) - TODAY_S));
	struct asked asked = ask_now();
	ck_assert(asked.has_token);
	ck_assert_int_gt(asked.parts.dead_at_ms, START_MS);
	ck_assert_int_eq(asked.parts.refresh_at_ms, START_MS + 10000);
	scene_close();
}
END_TEST

START_TEST(answers_nobody_who_has_cancelled)
{
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	scene_open(token_for(3600));
	ask_now();
	size_t before = bytes_in_use();
	struct credential_call *call =
		credential->kind->ask(credential, "", loop, on_asked, &asked, &err);
	ck_assert_ptr_nonnull(call);
	credential->kind->cancel(call);
	loop_run(loop, 0);
	ck_assert_int_eq(asked.calls, 0);
	ck_assert_uint_eq(bytes_in_use(), before);
	scene_close();
}
END_TEST

START_TEST(is_shared_and_for_whatever_it_is_for)
{
	ck_assert_str_eq(credential_static_token.keys[0], "!static_token");
	ck_assert_ptr_null(credential_static_token.keys[1]);
	ck_assert(credential_static_token.is_shared);
	ck_assert(credential_static_token.ignores_scope);
}
END_TEST

UNIT_MAIN("static_token", gives_the_token_as_it_is_until_it_expires,
	wants_to_be_looked_at_every_ten_seconds_and_at_its_end, takes_the_next_token_from_the_file,
	lives_as_long_as_it_should_whatever_becomes_of_the_hosts_clock,
	says_so_when_its_end_is_near, tells_what_is_wrong_with_the_file,
	tells_of_one_that_has_expired_already, survives_the_longest_life_that_a_token_can_claim,
	answers_nobody_who_has_cancelled, is_shared_and_for_whatever_it_is_for)
