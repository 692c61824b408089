#include "credential/credential.h"

#include "asking.h"
#include "credential/chain.h"
#include "scripted.h"
#include "unit.h"

#define DAY_S INT64_C(86400)
/* The most that an answer can say: json_answer.h. */
#define MOST_S (INT64_C(1) << 53)

/* ---- lifetimes ---------------------------------------------------------------------------------
 */

static struct loop *loop;

static int set_lifetime(
	struct access_token *token, struct credential_lifetime told, struct error *err)
{
	*token = (struct access_token){0};
	*err = ERROR_INIT;
	loop = make_loop();
	int result = credential_set_lifetime(token, loop, &told, err);
	loop_free(loop);
	return result;
}

/* What was told at the time when the request was sent; -1: it was not. */
#define TOLD(in, on, refresh, date)        \
	((struct credential_lifetime){     \
		.expires_in_s = (in),      \
		.expires_on_s = (on),      \
		.refresh_in_s = (refresh), \
		.server_date_s = (date),   \
		.sent_ms = START_MS,       \
	})

START_TEST(counts_a_life_from_the_sending_by_the_servers_clock)
{
	static const struct {
		struct credential_lifetime told;
		int64_t expires_on;
		int64_t life_s;
	} cases[] = {
		{TOLD(3600, -1, -1, TODAY_S), TODAY_S + 3600, 3600},
		{TOLD(3600, -1, -1, -1), TODAY_S + 3600, 3600},
		/* The server's clock is ahead by a day, or this host's behind. */
		{TOLD(3600, -1, -1, TODAY_S + DAY_S), TODAY_S + DAY_S + 3600, 3600},
		{TOLD(-1, TODAY_S + DAY_S + 3600, -1, TODAY_S + DAY_S), TODAY_S + DAY_S + 3600,
			3600},
		{TOLD(-1, TODAY_S - DAY_S + 3600, -1, TODAY_S - DAY_S), TODAY_S - DAY_S + 3600,
			3600},
		{TOLD(-1, TODAY_S + 3600, -1, -1), TODAY_S + 3600, 3600},
		/* What is told twice is taken from expires_on. */
		{TOLD(60, TODAY_S + 3600, -1, TODAY_S), TODAY_S + 3600, 3600},
		{TOLD(1, -1, -1, TODAY_S), TODAY_S + 1, 1},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct access_token token;
		struct error err;
		ck_assert_msg(
			set_lifetime(&token, cases[i].told, &err) == 0, "%zu: %s", i, err.message);
		ck_assert_int_eq(token.expires_on, cases[i].expires_on);
		ck_assert_int_eq(token.dead_at_ms, START_MS + cases[i].life_s * 1000);
		ck_assert_int_eq(token.refresh_at_ms, -1);
	}
}
END_TEST

START_TEST(counts_what_passed_until_the_answer_against_the_token)
{
	struct access_token token;
	struct error err;
	test_boottime_ms = START_MS + 5000;
	ck_assert_int_eq(set_lifetime(&token, TOLD(60, -1, 30, TODAY_S), &err), 0);
	ck_assert_int_eq(token.dead_at_ms, START_MS + 60000);
	ck_assert_int_eq(token.refresh_at_ms, START_MS + 30000);
	ck_assert_int_eq(set_lifetime(&token, TOLD(5, -1, -1, TODAY_S), &err), -1);
}
END_TEST

START_TEST(passes_on_when_the_token_is_to_be_renewed)
{
	struct access_token token;
	struct error err;
	ck_assert_int_eq(set_lifetime(&token, TOLD(3600, -1, 1800, -1), &err), 0);
	ck_assert_int_eq(token.refresh_at_ms, START_MS + 1800000);
	ck_assert_int_eq(set_lifetime(&token, TOLD(3600, -1, 0, -1), &err), 0);
	ck_assert_int_eq(token.refresh_at_ms, -1);
}
END_TEST

START_TEST(refuses_a_life_that_is_over_or_not_told)
{
	static const struct credential_lifetime cases[] = {
		TOLD(0, -1, -1, TODAY_S),
		TOLD(-1, TODAY_S, -1, TODAY_S),
		TOLD(-1, TODAY_S - 1, -1, TODAY_S),
		TOLD(3600, TODAY_S - 1, -1, TODAY_S),
		TOLD(-1, 0, -1, TODAY_S),
		TOLD(-1, TODAY_S + 3600, -1, TODAY_S + 3600),
	};
	struct access_token token;
	struct error err;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		ck_assert_msg(set_lifetime(&token, cases[i], &err) == -1, "%zu", i);
		ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
		ck_assert_ptr_nonnull(strstr(err.message, "expected one with a life ahead"));
	}
	ck_assert_int_eq(set_lifetime(&token, TOLD(-1, -1, 1800, TODAY_S), &err), -1);
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_str_eq(err.message, "the answer tells neither expires_on nor expires_in");
}
END_TEST

START_TEST(believes_no_life_longer_than_two_days)
{
	static const struct credential_lifetime cases[] = {
		TOLD(CREDENTIAL_LIFETIME_MAX_S + 1, -1, -1, TODAY_S),
		TOLD(MOST_S, -1, MOST_S, TODAY_S), TOLD(-1, MOST_S, MOST_S, TODAY_S),
		TOLD(-1, TODAY_S + 3600, -1, 0), /* a Date of 1970 */
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct access_token token;
		struct error err;
		ck_assert_int_eq(set_lifetime(&token, cases[i], &err), 0);
		ck_assert_int_eq(token.dead_at_ms, START_MS + CREDENTIAL_LIFETIME_MAX_S * 1000);
		ck_assert_int_gt(token.expires_on, 0);
	}
}
END_TEST

/* ---- answers that are ready --------------------------------------------------------------------
 */

static const struct credential_kind kind = {.name = "scripted", SCRIPTED_FUNCTIONS};

START_TEST(answers_with_a_token_from_within_the_loop)
{
	struct scripted giver;
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	size_t before = bytes_in_use();
	scripted_init(&giver, &kind);
	loop = make_loop();
	struct access_token token = {
		.token = secret_from("the-token", 9),
		.expires_on = 4711,
		.is_static = true,
		.notice = "look at it",
	};
	struct credential_call *call = credential_answer_ready(
		&giver.credential, loop, &token, NULL, on_asked, &asked, &err);
	ck_assert_ptr_nonnull(call);
	ck_assert_ptr_eq(call->credential, &giver.credential);
	ck_assert_ptr_null(token.token); /* taken over */
	ck_assert_int_eq(asked.calls, 0);
	wait_until_answered(loop, &asked);
	assert_token(&asked, "the-token");
	ck_assert_int_eq(asked.parts.expires_on, 4711);
	ck_assert_str_eq(asked.parts.notice, "look at it");
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), before);
}
END_TEST

START_TEST(answers_with_an_error_from_within_the_loop)
{
	struct scripted giver;
	struct asked asked = {0};
	struct error ready = ERROR_INIT;
	struct error err = ERROR_INIT;
	scripted_init(&giver, &kind);
	loop = make_loop();
	error_set(&ready, ERR_UNAVAILABLE, "nothing is configured");
	ready.retry_after_s = 5;
	ck_assert_ptr_nonnull(credential_answer_ready(
		&giver.credential, loop, NULL, &ready, on_asked, &asked, &err));
	ready = ERROR_INIT; /* it was copied */
	wait_until_answered(loop, &asked);
	assert_failure(&asked, ERR_UNAVAILABLE, "nothing is configured");
	ck_assert_int_eq(asked.err.retry_after_s, 5);
	loop_free(loop);
}
END_TEST

START_TEST(wipes_a_ready_token_when_it_is_cancelled)
{
	struct scripted giver;
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	size_t before = bytes_in_use();
	scripted_init(&giver, &kind);
	loop = make_loop();
	struct access_token token = {.token = secret_from("the-token", 9)};
	credential_cancel_ready(credential_answer_ready(
		&giver.credential, loop, &token, NULL, on_asked, &asked, &err));
	loop_run(loop, 0);
	ck_assert_int_eq(asked.calls, 0);
	ck_assert_uint_eq(bytes_in_use(), before);
	loop_free(loop);
}
END_TEST

static void take_token(void *context, struct access_token *token, const struct error *err)
{
	ck_assert_ptr_null(err);
	*(struct secret **)context = token->token;
	token->token = NULL;
}

START_TEST(lets_a_ready_token_be_taken)
{
	struct scripted giver;
	struct secret *taken = NULL;
	struct error err = ERROR_INIT;
	scripted_init(&giver, &kind);
	loop = make_loop();
	struct access_token token = {.token = secret_from("the-token", 9)};
	credential_answer_ready(&giver.credential, loop, &token, NULL, take_token, &taken, &err);
	loop_run(loop, 0);
	ck_assert_str_eq(secret_bytes(taken), "the-token");
	secret_free(taken);
	loop_free(loop);
}
END_TEST

/* ---- the table, and the end --------------------------------------------------------------------
 */

START_TEST(finds_each_kind_by_its_name_alone)
{
	size_t count = 0;
	for (; credential_kinds[count] != NULL; count++)
		ck_assert_ptr_eq(credential_kind_find(credential_kinds[count]->name),
			credential_kinds[count]);
	ck_assert_uint_gt(count, 0);
	/* A list of all of them fits. */
	ck_assert_uint_le(count, CREDENTIAL_LIST_MAX);
	ck_assert_ptr_null(credential_kind_find(""));
	ck_assert_ptr_null(credential_kind_find("Account_key"));
	/* What is no word of the configuration. */
	ck_assert_ptr_null(credential_kind_find("chain"));
	ck_assert_ptr_null(credential_kind_find("user_password"));
}
END_TEST

START_TEST(closes_it_when_nobody_has_it_any_more)
{
	struct scripted giver;
	scripted_init(&giver, &kind);
	giver.credential.references = 3;
	credential_close(&giver.credential);
	credential_close(&giver.credential);
	ck_assert_uint_eq(giver.closed, 0);
	credential_close(&giver.credential);
	ck_assert_uint_eq(giver.closed, 1);
	credential_close(NULL);
}
END_TEST

static struct credential_login *no_login(struct credential *credential, const char *scope,
	struct loop *for_loop, credential_login_fn changed, void *context, struct error *err)
{
	(void)credential;
	(void)scope;
	(void)for_loop;
	(void)changed;
	(void)context;
	(void)err;
	return NULL;
}

static const struct credential_kind login_kind = {
	.name = "login", SCRIPTED_FUNCTIONS, .login = no_login};

START_TEST(finds_the_first_in_a_chain_that_has_a_login)
{
	struct scripted plain;
	struct scripted with_login[2];
	scripted_init(&plain, &kind);
	scripted_init(&with_login[0], &login_kind);
	scripted_init(&with_login[1], &login_kind);
	struct credential *const inner_members[] = {
		&with_login[0].credential, &with_login[1].credential};
	struct credential *inner = chain_new(inner_members, 2, false);
	inner->kind = &credential_chain;
	inner->references = 1;
	struct credential *const members[] = {&plain.credential, inner};
	struct credential *outer = chain_new(members, 2, false);
	outer->kind = &credential_chain;
	outer->references = 1;
	ck_assert_ptr_eq(
		credential_with_login(&with_login[1].credential), &with_login[1].credential);
	ck_assert_ptr_null(credential_with_login(&plain.credential));
	ck_assert_ptr_eq(credential_with_login(inner), &with_login[0].credential);
	ck_assert_ptr_eq(credential_with_login(outer), &with_login[0].credential);
	credential_close(outer);
	ck_assert_uint_eq(plain.closed + with_login[0].closed + with_login[1].closed, 3);
}
END_TEST

UNIT_MAIN("credential", counts_a_life_from_the_sending_by_the_servers_clock,
	counts_what_passed_until_the_answer_against_the_token,
	passes_on_when_the_token_is_to_be_renewed, refuses_a_life_that_is_over_or_not_told,
	believes_no_life_longer_than_two_days, answers_with_a_token_from_within_the_loop,
	answers_with_an_error_from_within_the_loop, wipes_a_ready_token_when_it_is_cancelled,
	lets_a_ready_token_be_taken, finds_each_kind_by_its_name_alone,
	closes_it_when_nobody_has_it_any_more, finds_the_first_in_a_chain_that_has_a_login)
