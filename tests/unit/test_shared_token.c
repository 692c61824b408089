#include "credential/shared_token.h"

#include "asking.h"
#include "scripted.h"
#include "unit.h"

#define MINUTE_MS (INT64_C(60) * 1000)
#define HOUR_MS (60 * MINUTE_MS)
#define OTHER_SCOPE "https://other.example/.default"

static const struct credential_kind kind = {.name = "scripted", SCRIPTED_FUNCTIONS};
static const struct credential_kind plain_kind = {
	.name = "plain",
	.ask = scripted_ask,
	.cancel = scripted_cancel,
	.close = scripted_close,
};

static struct loop *loop;
static struct scripted giver;
static size_t bytes_before;

static void scene_open(void)
{
	bytes_before = bytes_in_use();
	loop = make_loop();
	scripted_init(&giver, &kind);
}

static void scene_close(void)
{
	ck_assert_ptr_null(giver.call);
	credential_close(&giver.credential);
	ck_assert_uint_eq(giver.closed, 1);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

static struct token_wait *start_for(const char *scope, bool takes_older, struct asked *asked)
{
	struct error err = ERROR_INIT;
	*asked = (struct asked){.err = ERROR_INIT};
	struct token_wait *wait = shared_token_ask(
		&giver.credential, scope, takes_older, loop, on_asked, asked, &err);
	ck_assert_int_eq(asked->calls, 0);
	return wait;
}

static struct token_wait *start(struct asked *asked)
{
	struct token_wait *wait = start_for(SCOPE, false, asked);
	ck_assert_ptr_nonnull(wait);
	return wait;
}

/* Ask, and wait for the answer. */
static struct asked take(bool takes_older)
{
	struct asked asked;
	ck_assert_ptr_nonnull(start_for(SCOPE, takes_older, &asked));
	wait_until_answered(loop, &asked);
	return asked;
}

static struct asked take_fresh(void)
{
	return take(false);
}

/* ---- one exchange ------------------------------------------------------------------------------
 */

#define MANY 1000

START_TEST(asks_once_for_a_thousand_who_wait)
{
	static struct asked asked[MANY];
	scene_open();
	giver.is_late = true;
	for (int i = 0; i < MANY; i++) {
		start(&asked[i]);
		if (i % 100 == 0)
			loop_run(loop, 0);
	}
	ck_assert_uint_eq(giver.asked, 1);
	ck_assert_str_eq(giver.last_scope, SCOPE);
	scripted_answer(&giver);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(asked[i].calls, 1);
		assert_token(&asked[i], "the-token");
		ck_assert(!asked[i].parts.is_cached);
		ck_assert_str_eq(asked[i].parts.given_by, "scripted");
	}
	ck_assert_uint_eq(giver.asked, 1);
	scene_close();
}
END_TEST

START_TEST(shares_a_failure_as_it_shares_a_success)
{
	static struct asked asked[MANY];
	scene_open();
	giver.is_late = true;
	giver.token = NULL;
	giver.failure = ERR_UPSTREAM_FAULT;
	giver.reason = "the service is down";
	for (int i = 0; i < MANY; i++)
		start(&asked[i]);
	scripted_answer(&giver);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(asked[i].calls, 1);
		assert_failure(&asked[i], ERR_UPSTREAM_FAULT, "the service is down");
	}
	ck_assert_uint_eq(giver.asked, 1);
	scene_close();
}
END_TEST

static int served[4];
static int served_count;

static void note_order(void *context, struct access_token *token, const struct error *err)
{
	(void)token;
	(void)err;
	served[served_count++] = *(int *)context;
}

START_TEST(serves_in_the_order_of_asking)
{
	static int numbers[] = {0, 1, 2, 3};
	struct error err = ERROR_INIT;
	scene_open();
	for (int i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(shared_token_ask(
			&giver.credential, SCOPE, false, loop, note_order, &numbers[i], &err));
	while (served_count < 4)
		loop_run(loop, 0);
	ck_assert_mem_eq(served, numbers, sizeof(served));
	scene_close();
}
END_TEST

START_TEST(asks_for_each_scope_by_itself)
{
	struct asked one;
	struct asked other;
	scene_open();
	struct asked first = take_fresh();
	assert_token(&first, "the-token");
	ck_assert_ptr_nonnull(start_for(OTHER_SCOPE, false, &other));
	ck_assert_uint_eq(giver.asked, 2);
	ck_assert_str_eq(giver.last_scope, OTHER_SCOPE);
	start(&one);
	wait_until_answered(loop, &one);
	ck_assert_int_eq(other.calls, 1);
	ck_assert(!other.parts.is_cached);
	ck_assert(one.parts.is_cached);
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

/* ---- the token that is there -------------------------------------------------------------------
 */

START_TEST(gives_the_same_until_half_of_its_life)
{
	scene_open();
	struct asked first = take_fresh();
	ck_assert(!first.parts.is_cached);
	test_boottime_ms = START_MS + HOUR_MS / 2 - 1;
	giver.token = "another";
	struct asked asked = take_fresh();
	assert_token(&asked, "the-token");
	ck_assert(asked.parts.is_cached);
	ck_assert_int_eq(asked.parts.dead_at_ms, first.parts.dead_at_ms);
	ck_assert_int_eq(asked.parts.expires_on, first.parts.expires_on);
	ck_assert_str_eq(asked.parts.given_by, "scripted");
	ck_assert_uint_eq(giver.asked, 1);
	test_boottime_ms++;
	asked = take_fresh();
	assert_token(&asked, "another");
	ck_assert(!asked.parts.is_cached);
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(gives_the_same_until_its_giver_wants_it_renewed)
{
	static const int64_t refresh_in_ms[] = {10 * MINUTE_MS, 50 * MINUTE_MS};
	for (size_t i = 0; i < UNIT_COUNT(refresh_in_ms); i++) {
		test_boottime_ms = START_MS;
		scene_open();
		giver.refresh_in_ms = refresh_in_ms[i];
		take_fresh();
		test_boottime_ms += refresh_in_ms[i] - 1;
		take_fresh();
		ck_assert_uint_eq(giver.asked, 1);
		test_boottime_ms++;
		take_fresh();
		ck_assert_uint_eq(giver.asked, 2);
		scene_close();
	}
}
END_TEST

START_TEST(gives_none_that_is_about_to_end)
{
	scene_open();
	giver.refresh_in_ms = HOUR_MS; /* never, as it were */
	take_fresh();
	test_boottime_ms = START_MS + HOUR_MS - SHARED_TOKEN_LEAST_MS;
	take_fresh();
	ck_assert_uint_eq(giver.asked, 1);
	test_boottime_ms++;
	take_fresh();
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(passes_on_a_short_token_but_keeps_it_for_nobody)
{
	scene_open();
	giver.life_ms = SHARED_TOKEN_LEAST_MS - 1;
	struct asked asked = take_fresh();
	assert_token(&asked, "the-token");
	take_fresh();
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(keeps_neither_account_keys_nor_static_tokens)
{
	for (int what = 0; what < 2; what++) {
		scene_open();
		giver.is_account_key = what == 0;
		giver.is_static = what == 1;
		for (unsigned i = 1; i < 4; i++) {
			struct asked asked = take_fresh();
			assert_token(&asked, "the-token");
			ck_assert(!asked.parts.is_cached);
			ck_assert_uint_eq(giver.asked, i);
		}
		scene_close();
	}
}
END_TEST

START_TEST(tells_who_gave_it_where_that_is_another)
{
	scene_open();
	giver.given_by = "a member";
	struct asked asked = take_fresh();
	ck_assert_str_eq(asked.parts.given_by, "a member");
	asked = take_fresh();
	ck_assert_str_eq(asked.parts.given_by, "a member");
	scene_close();
}
END_TEST

/* ---- the older one -----------------------------------------------------------------------------
 */

START_TEST(gives_the_older_one_to_who_takes_it_when_it_cannot_be_renewed)
{
	struct asked strict;
	struct asked lenient;
	scene_open();
	take_fresh();
	test_boottime_ms += 40 * MINUTE_MS;
	giver.token = NULL;
	giver.failure = ERR_NETWORK;
	start(&strict);
	ck_assert_ptr_nonnull(start_for(SCOPE, true, &lenient));
	wait_until_answered(loop, &strict);
	assert_failure(&strict, ERR_NETWORK, "no luck");
	ck_assert_int_eq(lenient.calls, 1);
	assert_token(&lenient, "the-token");
	ck_assert(lenient.parts.is_cached);
	ck_assert_uint_eq(giver.asked, 2);
	/* While nobody asks again, it is the answer at once. */
	struct asked again = take(true);
	assert_token(&again, "the-token");
	ck_assert(again.parts.is_cached);
	again = take_fresh();
	assert_failure(&again, ERR_NETWORK, "no luck");
	ck_assert_uint_eq(giver.asked, 2);
	/* And then it is asked for again. */
	test_boottime_ms += SHARED_TOKEN_FAILED_MS;
	again = take(true);
	assert_token(&again, "the-token");
	ck_assert_uint_eq(giver.asked, 3);
	/* But not for longer than it is good. */
	test_boottime_ms = START_MS + HOUR_MS - SHARED_TOKEN_LEAST_MS + 1;
	again = take(true);
	assert_failure(&again, ERR_NETWORK, "no luck");
	scene_close();
}
END_TEST

START_TEST(gives_a_new_one_also_to_who_would_take_the_older)
{
	scene_open();
	take_fresh();
	test_boottime_ms += 40 * MINUTE_MS;
	giver.token = "another";
	struct asked asked = take(true);
	assert_token(&asked, "another");
	scene_close();
}
END_TEST

/* ---- quiet after a failure ---------------------------------------------------------------------
 */

/* For how long the failure is the answer, which is found by asking. */
static int64_t quiet_after(enum error_code code, int64_t retry_after_s)
{
	int64_t quiet_ms = 0;
	test_boottime_ms = START_MS;
	scene_open();
	giver.token = NULL;
	giver.failure = code;
	giver.retry_after_s = retry_after_s;
	take_fresh();
	for (int64_t step_ms = 1 << 23; step_ms > 0; step_ms /= 2) {
		test_boottime_ms = START_MS + quiet_ms + step_ms - 1;
		unsigned before = giver.asked;
		struct asked asked;
		struct token_wait *wait = start(&asked);
		ck_assert_uint_le(giver.asked, before + 1);
		bool is_quiet = giver.asked == before;
		/* Its answer would begin another silence. */
		shared_token_cancel(wait);
		if (is_quiet)
			quiet_ms += step_ms;
	}
	scene_close();
	return quiet_ms;
}

START_TEST(is_quiet_for_as_long_as_the_failure_wants)
{
	static const struct {
		enum error_code code;
		int64_t quiet_ms;
	} cases[] = {
		{ERR_SYSTEM, 0},
		{ERR_NO_MEMORY, 0},
		{ERR_CONFIGURATION, 0},
		{ERR_SECRET_SOURCE, 0}, /* a file: it may be there in the next moment */
		{ERR_UNAVAILABLE, 0},
		{ERR_NETWORK, SHARED_TOKEN_FAILED_MS},
		{ERR_TLS, SHARED_TOKEN_FAILED_MS},
		{ERR_TIMEOUT, SHARED_TOKEN_FAILED_MS},
		{ERR_THROTTLED, SHARED_TOKEN_FAILED_MS},
		{ERR_UPSTREAM_FAULT, SHARED_TOKEN_FAILED_MS},
		{ERR_UPSTREAM_FORMAT, SHARED_TOKEN_FAILED_MS},
		{ERR_DENIED, SHARED_TOKEN_REFUSED_MS},
		{ERR_REFUSED, SHARED_TOKEN_REFUSED_MS},
	};
	ck_assert_uint_eq(UNIT_COUNT(cases), ERR_CODE_COUNT - 1);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		int64_t quiet_ms = quiet_after(cases[i].code, 0);
		ck_assert_msg(quiet_ms == cases[i].quiet_ms, "%s: %" PRId64 " ms",
			error_code_name(cases[i].code), quiet_ms);
	}
}
END_TEST

START_TEST(obeys_a_retry_after)
{
	ck_assert_int_eq(quiet_after(ERR_THROTTLED, 40), 40000);
	ck_assert_int_eq(quiet_after(ERR_THROTTLED, 3600), 3600000);
	ck_assert_int_eq(quiet_after(ERR_DENIED, 5), 5000);
	ck_assert_int_eq(quiet_after(ERR_UNAVAILABLE, 7), 7000);
}
END_TEST

START_TEST(is_not_silenced_for_longer_than_an_hour)
{
	static const int64_t asked_s[] = {3601, 8000, INT32_MAX, INT64_MAX / 1000, INT64_MAX};
	for (size_t i = 0; i < UNIT_COUNT(asked_s); i++)
		ck_assert_int_eq(quiet_after(ERR_THROTTLED, asked_s[i]), 3600000);
}
END_TEST

START_TEST(tells_the_failure_to_who_asks_meanwhile_from_within_the_loop)
{
	scene_open();
	giver.token = NULL;
	giver.failure = ERR_THROTTLED;
	giver.retry_after_s = 30;
	take_fresh();
	struct asked asked = take_fresh(); /* which checks that it is from within */
	assert_failure(&asked, ERR_THROTTLED, "no luck");
	ck_assert_int_eq(asked.err.retry_after_s, 30);
	/* As much as is left of it, lest the wait begins anew. */
	test_boottime_ms += 20500;
	asked = take_fresh();
	ck_assert_int_eq(asked.err.retry_after_s, 10);
	test_boottime_ms += 9499;
	asked = take_fresh();
	ck_assert_int_eq(asked.err.retry_after_s, 1);
	ck_assert_uint_eq(giver.asked, 1);
	test_boottime_ms++;
	giver.token = "the-token";
	asked = take_fresh();
	assert_token(&asked, "the-token");
	scene_close();
}
END_TEST

START_TEST(asks_for_real_when_the_silence_ends_before_the_answer)
{
	struct asked asked;
	scene_open();
	giver.token = NULL;
	giver.failure = ERR_NETWORK;
	take_fresh();
	start(&asked);
	ck_assert_uint_eq(giver.asked, 1);
	test_boottime_ms += SHARED_TOKEN_FAILED_MS;
	giver.token = "the-token";
	wait_until_answered(loop, &asked);
	assert_token(&asked, "the-token");
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(forgives_a_failure)
{
	scene_open();
	giver.token = NULL;
	take_fresh();
	giver.token = "the-token";
	struct asked asked = take_fresh();
	assert_failure(&asked, ERR_DENIED, "no luck");
	shared_token_forgive(&giver.credential);
	asked = take_fresh();
	assert_token(&asked, "the-token");
	/* The token is not forgotten by that. */
	shared_token_forgive(&giver.credential);
	asked = take_fresh();
	ck_assert(asked.parts.is_cached);
	scene_close();
}
END_TEST

START_TEST(forgets_tokens_and_failures)
{
	struct asked other;
	scene_open();
	take_fresh();
	giver.token = NULL;
	ck_assert_ptr_nonnull(start_for(OTHER_SCOPE, false, &other));
	wait_until_answered(loop, &other);
	giver.token = "another";
	shared_token_forget(&giver.credential);
	struct asked asked = take_fresh();
	assert_token(&asked, "another");
	ck_assert_ptr_nonnull(start_for(OTHER_SCOPE, false, &other));
	wait_until_answered(loop, &other);
	assert_token(&other, "another");
	ck_assert_uint_eq(giver.asked, 4);
	scene_close();
}
END_TEST

/* ---- who cannot be asked -----------------------------------------------------------------------
 */

START_TEST(passes_on_that_it_cannot_be_asked)
{
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	scene_open();
	giver.cannot_be_asked = true;
	giver.failure = ERR_SECRET_SOURCE;
	giver.reason = "no such file";
	for (unsigned i = 1; i < 4; i++) {
		ck_assert_ptr_null(shared_token_ask(
			&giver.credential, SCOPE, true, loop, on_asked, &asked, &err));
		ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
		ck_assert_str_eq(err.message, "no such file");
		ck_assert_uint_eq(giver.asked, i);
	}
	loop_run(loop, 0);
	ck_assert_int_eq(asked.calls, 0);
	giver.cannot_be_asked = false;
	asked = take_fresh();
	assert_token(&asked, "the-token");
	scene_close();
}
END_TEST

START_TEST(gives_the_older_one_when_it_cannot_be_asked)
{
	struct asked asked;
	scene_open();
	take_fresh();
	test_boottime_ms += 40 * MINUTE_MS;
	giver.cannot_be_asked = true;
	giver.failure = ERR_SECRET_SOURCE;
	giver.reason = "no such file";
	ck_assert_ptr_nonnull(start_for(SCOPE, true, &asked));
	wait_until_answered(loop, &asked);
	assert_token(&asked, "the-token");
	ck_assert(asked.parts.is_cached);
	ck_assert_ptr_null(start_for(SCOPE, false, &asked));
	scene_close();
}
END_TEST

START_TEST(tells_within_the_loop_that_it_cannot_be_asked_any_more)
{
	struct asked asked;
	scene_open();
	giver.token = NULL;
	giver.failure = ERR_NETWORK;
	take_fresh();
	start(&asked); /* who will be told the failure */
	test_boottime_ms += SHARED_TOKEN_FAILED_MS;
	giver.cannot_be_asked = true;
	giver.reason = "no such file";
	wait_until_answered(loop, &asked);
	assert_failure(&asked, ERR_NETWORK, "no such file");
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

/* ---- cancelling --------------------------------------------------------------------------------
 */

START_TEST(does_not_disturb_others_when_one_leaves)
{
	struct asked asked[5];
	struct token_wait *waits[5];
	scene_open();
	giver.is_late = true;
	for (int i = 0; i < 5; i++)
		waits[i] = start(&asked[i]);
	shared_token_cancel(waits[0]);
	shared_token_cancel(waits[2]);
	shared_token_cancel(waits[4]);
	ck_assert_uint_eq(giver.cancelled, 0);
	scripted_answer(&giver);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(asked[i].calls, i % 2);
	scene_close();
}
END_TEST

START_TEST(ends_the_exchange_when_all_have_left)
{
	struct asked asked[3];
	struct token_wait *waits[3];
	scene_open();
	for (int i = 0; i < 3; i++)
		waits[i] = start(&asked[i]);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(giver.cancelled, 0);
		shared_token_cancel(waits[i]);
	}
	ck_assert_uint_eq(giver.cancelled, 1);
	loop_run(loop, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(asked[i].calls, 0);
	struct asked again = take_fresh();
	assert_token(&again, "the-token");
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(lets_one_leave_who_would_be_given_what_is_there)
{
	struct asked asked;
	scene_open();
	take_fresh();
	shared_token_cancel(start(&asked));
	loop_run(loop, 0);
	ck_assert_int_eq(asked.calls, 0);
	ck_assert_uint_eq(giver.cancelled, 0);
	scene_close();
}
END_TEST

/* One who does something from within its callback. */
struct actor {
	struct asked asked;
	struct token_wait *cancels; /* NULL: none */
	struct asked *starts; /* asks again into this; NULL: not */
	struct token_wait *started;
};

static void act(void *context, struct access_token *token, const struct error *err)
{
	struct actor *actor = context;
	on_asked(&actor->asked, token, err);
	if (actor->cancels != NULL)
		shared_token_cancel(actor->cancels);
	if (actor->starts != NULL)
		actor->started = start(actor->starts);
}

static struct token_wait *start_actor(struct actor *actor)
{
	struct error err = ERROR_INIT;
	struct token_wait *wait =
		shared_token_ask(&giver.credential, SCOPE, false, loop, act, actor, &err);
	ck_assert_ptr_nonnull(wait);
	return wait;
}

START_TEST(lets_one_cancel_another_from_within_its_answer)
{
	for (int fails = 0; fails < 2; fails++) {
		struct actor actor = {0};
		struct asked before;
		struct asked cancelled;
		struct asked behind;
		test_boottime_ms += HOUR_MS;
		scene_open();
		giver.token = fails ? NULL : "the-token";
		start(&before);
		start_actor(&actor);
		actor.cancels = start(&cancelled);
		start(&behind);
		wait_until_answered(loop, &behind);
		ck_assert_int_eq(before.calls, 1);
		ck_assert_int_eq(actor.asked.calls, 1);
		ck_assert_int_eq(cancelled.calls, 0);
		ck_assert_uint_eq(giver.asked, 1);
		ck_assert_uint_eq(giver.cancelled, 0);
		scene_close();
	}
}
END_TEST

START_TEST(lets_one_ask_again_from_within_its_answer)
{
	struct asked again;
	struct asked behind;
	struct actor actor = {.starts = &again};
	scene_open();
	giver.token = NULL;
	giver.failure = ERR_UNAVAILABLE; /* without a silence */
	start_actor(&actor);
	start(&behind);
	loop_run(loop, 0);
	ck_assert_int_eq(actor.asked.calls, 1);
	ck_assert_int_eq(behind.calls, 1);
	ck_assert_int_eq(again.calls, 0);
	giver.token = "the-token";
	wait_until_answered(loop, &again);
	assert_token(&again, "the-token");
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(keeps_a_new_exchange_when_one_of_the_old_leaves)
{
	struct asked again;
	struct asked leaving;
	struct actor actor = {.starts = &again};
	scene_open();
	giver.token = NULL;
	giver.failure = ERR_UNAVAILABLE;
	start_actor(&actor);
	actor.cancels = start(&leaving);
	loop_run(loop, 0);
	ck_assert_int_eq(leaving.calls, 0);
	ck_assert_uint_eq(giver.cancelled, 0);
	wait_until_answered(loop, &again);
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

/* ---- refused and accepted ----------------------------------------------------------------------
 */

START_TEST(forgets_a_refused_token_and_asks_once_more_if_it_was_cached)
{
	static const struct account_settings account = {.name = (char *)"anchors"};
	scene_open();
	take_fresh();
	struct asked cached = take_fresh();
	ck_assert(cached.parts.is_cached);
	ck_assert(shared_token_refused(&giver.credential, SCOPE, &account, true, 1));
	ck_assert_uint_eq(giver.refused, 1);
	ck_assert_ptr_eq(giver.last_account, &account);
	giver.token = "another";
	struct asked fresh = take_fresh();
	assert_token(&fresh, "another");
	ck_assert(!fresh.parts.is_cached);
	/* It was got just now: another one would be no better. */
	ck_assert(!shared_token_refused(&giver.credential, SCOPE, &account, false, 2));
	ck_assert_uint_eq(giver.last_refusals, 2);
	ck_assert(!shared_token_refused(&giver.credential, SCOPE, &account, true, 2));
	scene_close();
}
END_TEST

START_TEST(tries_what_the_credential_has_left)
{
	static const struct account_settings account = {.name = (char *)"anchors"};
	scene_open();
	giver.has_another = true;
	take_fresh();
	ck_assert(shared_token_refused(&giver.credential, SCOPE, &account, false, 1));
	ck_assert(shared_token_refused(&giver.credential, SCOPE, &account, false, 2));
	scene_close();
}
END_TEST

START_TEST(knows_of_a_scope_that_nobody_asked_for)
{
	static const struct account_settings account = {.name = (char *)"anchors"};
	scene_open();
	ck_assert(!shared_token_refused(&giver.credential, "unknown", &account, false, 1));
	shared_token_forgive(&giver.credential);
	shared_token_forget(&giver.credential);
	scene_close();
}
END_TEST

START_TEST(passes_on_that_the_token_was_accepted)
{
	scene_open();
	shared_token_accepted(&giver.credential);
	ck_assert_uint_eq(giver.accepted, 1);
	scene_close();
}
END_TEST

START_TEST(does_without_what_a_credential_may_leave_out)
{
	static const struct account_settings account = {.name = (char *)"anchors"};
	scene_open();
	giver.credential.kind = &plain_kind;
	take_fresh();
	shared_token_accepted(&giver.credential);
	ck_assert(shared_token_refused(&giver.credential, SCOPE, &account, true, 1));
	ck_assert(!shared_token_refused(&giver.credential, SCOPE, &account, false, 1));
	scene_close();
}
END_TEST

UNIT_MAIN("shared_token", asks_once_for_a_thousand_who_wait,
	shares_a_failure_as_it_shares_a_success, serves_in_the_order_of_asking,
	asks_for_each_scope_by_itself, gives_the_same_until_half_of_its_life,
	gives_the_same_until_its_giver_wants_it_renewed, gives_none_that_is_about_to_end,
	passes_on_a_short_token_but_keeps_it_for_nobody,
	keeps_neither_account_keys_nor_static_tokens, tells_who_gave_it_where_that_is_another,
	gives_the_older_one_to_who_takes_it_when_it_cannot_be_renewed,
	gives_a_new_one_also_to_who_would_take_the_older, is_quiet_for_as_long_as_the_failure_wants,
	obeys_a_retry_after, is_not_silenced_for_longer_than_an_hour,
	tells_the_failure_to_who_asks_meanwhile_from_within_the_loop,
	asks_for_real_when_the_silence_ends_before_the_answer, forgives_a_failure,
	forgets_tokens_and_failures, passes_on_that_it_cannot_be_asked,
	gives_the_older_one_when_it_cannot_be_asked,
	tells_within_the_loop_that_it_cannot_be_asked_any_more,
	does_not_disturb_others_when_one_leaves, ends_the_exchange_when_all_have_left,
	lets_one_leave_who_would_be_given_what_is_there,
	lets_one_cancel_another_from_within_its_answer, lets_one_ask_again_from_within_its_answer,
	keeps_a_new_exchange_when_one_of_the_old_leaves,
	forgets_a_refused_token_and_asks_once_more_if_it_was_cached,
	tries_what_the_credential_has_left, knows_of_a_scope_that_nobody_asked_for,
	passes_on_that_the_token_was_accepted, does_without_what_a_credential_may_leave_out)
