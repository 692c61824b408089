#include "token/schedule.h"

#include "unit.h"

#define NOW_MS INT64_C(123456789)
#define ALMOST_ONE 0.99999999976716935 /* the largest roll: 1 - 2^-32 */
#define DAY_MS INT64_C(86400000)

static int64_t wait_after_success(int64_t lifetime_ms, double roll)
{
	struct schedule schedule = {.failures = 3, .next_ms = 5};
	schedule_succeeded(&schedule, NOW_MS, lifetime_ms, 0, roll);
	ck_assert_uint_eq(schedule.failures, 0);
	return schedule.next_ms - NOW_MS;
}

/* After `failures` in a row, the last of them with this error. */
static int64_t wait_after_failure(
	unsigned failures, enum error_code code, int64_t retry_after_s, double roll)
{
	struct schedule schedule = {.failures = failures - 1, .next_ms = 5};
	struct error err = ERROR_INIT;
	err.code = code;
	err.retry_after_s = retry_after_s;
	schedule_failed(&schedule, NOW_MS, &err, roll);
	ck_assert_uint_eq(schedule.failures, failures);
	return schedule.next_ms - NOW_MS;
}

/* What the backoff may come to at most, written out a second time. */
static int64_t span_of(unsigned failures)
{
	int64_t span_ms = 1000;
	for (unsigned i = 1; i < failures && span_ms < 300000; i++)
		span_ms *= 2;
	return span_ms < 300000 ? span_ms : 300000;
}

/* ---- success -----------------------------------------------------------------------------------
 */

START_TEST(is_due_at_once_when_zeroed)
{
	struct schedule schedule = {0};
	ck_assert_int_le(schedule.next_ms, 0);
	ck_assert_uint_eq(schedule.failures, 0);
}
END_TEST

START_TEST(refreshes_at_half_life_plus_up_to_a_tenth)
{
	ck_assert_int_eq(wait_after_success(DAY_MS, 0), DAY_MS / 2);
	ck_assert_int_eq(wait_after_success(DAY_MS, 0.5), DAY_MS / 2 + DAY_MS / 20);
	ck_assert_int_eq(wait_after_success(DAY_MS, ALMOST_ONE), DAY_MS / 2 + DAY_MS / 10 - 1);
	ck_assert_int_eq(wait_after_success(10000, 0), 5000);
	ck_assert_int_eq(wait_after_success(10000, ALMOST_ONE), 5999);
}
END_TEST

START_TEST(leaves_nine_hours_of_outage_to_a_token_of_a_day)
{
	/* 86,400 s, of which at most six tenths pass before the first try. */
	ck_assert_int_gt(DAY_MS - wait_after_success(DAY_MS, ALMOST_ONE), INT64_C(9) * 3600000);
}
END_TEST

START_TEST(never_refreshes_sooner_than_a_second_after_a_token)
{
	static const int64_t lifetimes_ms[] = {1999, 1000, 500, 1, 0, -1, -DAY_MS};
	for (size_t i = 0; i < UNIT_COUNT(lifetimes_ms); i++)
		ck_assert_int_eq(wait_after_success(lifetimes_ms[i], 0), SCHEDULE_LEAST_MS);
	ck_assert_int_eq(wait_after_success(2000, 0), 1000);
	ck_assert_int_eq(wait_after_success(2002, 0), 1001);
}
END_TEST

START_TEST(survives_the_longest_life_that_a_token_can_have)
{
	/* exp is at most 2^53 seconds. */
	int64_t longest_ms = (INT64_C(1) << 53) * 1000;
	for (int i = 0; i < 2; i++) {
		int64_t wait_ms = wait_after_success(longest_ms, i == 0 ? 0 : ALMOST_ONE);
		ck_assert_int_ge(wait_ms, longest_ms / 2);
		ck_assert_int_lt(wait_ms, longest_ms / 10 * 6);
	}
	ck_assert_int_gt(wait_after_success(INT64_MAX, ALMOST_ONE), INT64_MAX / 2);
}
END_TEST

START_TEST(forgets_failures_at_a_success)
{
	struct schedule schedule = {0};
	struct error err = ERROR_INIT;
	err.code = ERR_NETWORK;
	for (int i = 0; i < 12; i++)
		schedule_failed(&schedule, NOW_MS, &err, ALMOST_ONE);
	ck_assert_int_gt(schedule.next_ms, NOW_MS + 200000);
	schedule_succeeded(&schedule, NOW_MS, DAY_MS, 0, 0);
	ck_assert_uint_eq(schedule.failures, 0);
	schedule_failed(&schedule, NOW_MS, &err, ALMOST_ONE);
	ck_assert_uint_eq(schedule.failures, 1);
	ck_assert_int_lt(schedule.next_ms, NOW_MS + SCHEDULE_BACKOFF_FIRST_MS);
}
END_TEST

static int64_t wait_with_refresh_in(int64_t lifetime_ms, int64_t refresh_in_ms, double roll)
{
	struct schedule schedule = {.failures = 3, .next_ms = 5};
	schedule_succeeded(&schedule, NOW_MS, lifetime_ms, refresh_in_ms, roll);
	ck_assert_uint_eq(schedule.failures, 0);
	return schedule.next_ms - NOW_MS;
}

START_TEST(refreshes_when_the_upstream_wants_it_and_up_to_a_tenth_of_the_rest_later)
{
	ck_assert_int_eq(wait_with_refresh_in(100000, 20000, 0), 20000);
	ck_assert_int_eq(wait_with_refresh_in(100000, 20000, 0.5), 24000);
	ck_assert_int_eq(wait_with_refresh_in(100000, 20000, ALMOST_ONE), 27999);
	/* Before half life or after it. */
	ck_assert_int_eq(wait_with_refresh_in(DAY_MS, 1000, 0), 1000);
	ck_assert_int_eq(wait_with_refresh_in(100000, 99990, 0), 99990);
	ck_assert_int_lt(wait_with_refresh_in(100000, 99990, ALMOST_ONE), 100000);
	ck_assert_int_eq(wait_with_refresh_in(100000, 1, 0), SCHEDULE_LEAST_MS);
}
END_TEST

START_TEST(passes_over_a_wish_that_would_leave_a_gap)
{
	static const int64_t refresh_in_ms[] = {0, -1, 100000, 100001, INT64_MAX};
	for (size_t i = 0; i < UNIT_COUNT(refresh_in_ms); i++)
		ck_assert_int_eq(wait_with_refresh_in(100000, refresh_in_ms[i], 0), 50000);
}
END_TEST

static int64_t wait_after_same(int64_t left_ms, int64_t look_in_ms)
{
	struct schedule schedule = {.failures = 3, .next_ms = 5};
	schedule_same(&schedule, NOW_MS, left_ms, look_in_ms);
	ck_assert_uint_eq(schedule.failures, 0);
	return schedule.next_ms - NOW_MS;
}

START_TEST(asks_for_the_same_token_ever_more_often_but_not_in_a_loop)
{
	ck_assert_int_eq(wait_after_same(100000, 0), 50000);
	ck_assert_int_eq(wait_after_same(50000, 0), 25000);
	ck_assert_int_eq(wait_after_same(1999, 0), SCHEDULE_LEAST_MS);
	ck_assert_int_eq(wait_after_same(0, 0), SCHEDULE_LEAST_MS);
	ck_assert_int_eq(wait_after_same(-5, 0), SCHEDULE_LEAST_MS);
}
END_TEST

START_TEST(looks_at_what_nobody_refreshes_when_it_is_told_to)
{
	ck_assert_int_eq(wait_after_same(100000, 10000), 10000);
	ck_assert_int_eq(wait_after_same(5000, 10000), 10000);
	ck_assert_int_eq(wait_after_same(100000, 1), SCHEDULE_LEAST_MS);
}
END_TEST

/* ---- failure -----------------------------------------------------------------------------------
 */

START_TEST(backs_off_by_doubling_up_to_five_minutes)
{
	for (unsigned failures = 1; failures <= 40; failures++) {
		int64_t least = wait_after_failure(failures, ERR_NETWORK, -1, 0);
		int64_t most = wait_after_failure(failures, ERR_NETWORK, -1, ALMOST_ONE);
		int64_t half = wait_after_failure(failures, ERR_NETWORK, -1, 0.5);
		ck_assert_int_eq(least, 250);
		ck_assert_int_eq(most, span_of(failures) - 1);
		ck_assert_int_eq(half, span_of(failures) / 2);
	}
	ck_assert_int_eq(wait_after_failure(9, ERR_NETWORK, -1, ALMOST_ONE), 255999);
	ck_assert_int_eq(wait_after_failure(10, ERR_NETWORK, -1, ALMOST_ONE), 299999);
}
END_TEST

START_TEST(backs_off_after_more_failures_than_can_be_counted)
{
	static const unsigned counts[] = {63, 64, 65, 1000, 65536, UINT32_MAX - 1, UINT32_MAX};
	for (size_t i = 0; i < UNIT_COUNT(counts); i++)
		ck_assert_int_eq(
			wait_after_failure(counts[i], ERR_TIMEOUT, -1, ALMOST_ONE), 299999);
	struct schedule schedule = {.failures = UINT32_MAX};
	struct error err = ERROR_INIT;
	err.code = ERR_NETWORK;
	schedule_failed(&schedule, NOW_MS, &err, ALMOST_ONE);
	ck_assert_int_gt(schedule.next_ms, NOW_MS);
	ck_assert_int_lt(schedule.next_ms, NOW_MS + SCHEDULE_BACKOFF_MAX_MS);
}
END_TEST

START_TEST(retries_slowly_what_someone_must_mend)
{
	for (int i = ERR_NONE + 1; i < ERR_CODE_COUNT; i++) {
		enum error_code code = (enum error_code)i;
		enum error_class class = error_class_of(code);
		bool is_slow =
			class == ERROR_CLASS_CREDENTIAL || class == ERROR_CLASS_CONFIGURATION;
		int64_t least = wait_after_failure(1, code, -1, ALMOST_ONE);
		int64_t most = wait_after_failure(1, code, -1, 0);
		ck_assert_msg(
			is_slow ? least == 270001 && most == 300000 : least == 999 && most == 250,
			"%s: %" PRId64 " and %" PRId64, error_code_name(code), least, most);
	}
	ck_assert_int_eq(wait_after_failure(1, ERR_DENIED, -1, 0), 300000);
	ck_assert_int_eq(wait_after_failure(40, ERR_DENIED, -1, 0), 300000);
	ck_assert_int_eq(wait_after_failure(1, ERR_REFUSED, -1, 0), 300000);
	ck_assert_int_eq(wait_after_failure(1, ERR_THROTTLED, -1, 0.5), 500);
	ck_assert_int_eq(wait_after_failure(1, ERR_UPSTREAM_FAULT, -1, 0.5), 500);
	ck_assert_int_eq(wait_after_failure(1, ERR_UPSTREAM_FORMAT, -1, 0.5), 500);
}
END_TEST

START_TEST(obeys_retry_after_and_adds_up_to_a_tenth)
{
	static const unsigned failures[] = {1, 5, 40};
	for (size_t i = 0; i < UNIT_COUNT(failures); i++) {
		unsigned count = failures[i];
		ck_assert_int_eq(wait_after_failure(count, ERR_THROTTLED, 1, 0), 1000);
		ck_assert_int_eq(wait_after_failure(count, ERR_THROTTLED, 7, 0), 7000);
		ck_assert_int_eq(wait_after_failure(count, ERR_THROTTLED, 7, ALMOST_ONE), 7699);
		ck_assert_int_eq(wait_after_failure(count, ERR_UPSTREAM_FAULT, 600, 0), 600000);
		ck_assert_int_eq(wait_after_failure(count, ERR_THROTTLED, 3600, 0), 3600000);
	}
	ck_assert_int_eq(wait_after_failure(1, ERR_DENIED, 600, 0), 600000);
}
END_TEST

START_TEST(is_not_hurried_by_retry_after_where_someone_must_act)
{
	ck_assert_int_eq(wait_after_failure(1, ERR_DENIED, 1, 0), 300000);
	ck_assert_int_eq(wait_after_failure(9, ERR_REFUSED, 1, 0), 300000);
}
END_TEST

START_TEST(caps_retry_after_at_an_hour)
{
	static const int64_t asked_s[] = {3601, 86400, INT64_C(1) << 53, INT64_MAX};
	for (size_t i = 0; i < UNIT_COUNT(asked_s); i++) {
		ck_assert_int_eq(wait_after_failure(1, ERR_THROTTLED, asked_s[i], 0), 3600000);
		ck_assert_int_eq(
			wait_after_failure(1, ERR_THROTTLED, asked_s[i], ALMOST_ONE), 3959999);
	}
}
END_TEST

START_TEST(keeps_backing_off_when_retry_after_is_zero)
{
	ck_assert_int_eq(wait_after_failure(1, ERR_THROTTLED, 0, 0.5), 500);
	ck_assert_int_eq(wait_after_failure(20, ERR_THROTTLED, 0, 0.5), 150000);
	ck_assert_int_eq(wait_after_failure(1, ERR_DENIED, 0, 0), 300000);
}
END_TEST

/* ---- any roll ----------------------------------------------------------------------------------
 */

START_TEST(stays_within_its_bounds_at_any_roll)
{
	uint64_t state = unit_seed("stays_within_its_bounds_at_any_roll");
	for (int round = 0; round < 200000; round++) {
		double roll = (double)unit_random(&state, UINT64_C(1) << 31) / 2147483648.0;
		int64_t lifetime_ms = (int64_t)unit_random(&state, UINT64_C(1) << 31);
		int64_t wait_ms = wait_after_success(lifetime_ms, roll);
		int64_t least = lifetime_ms / 2 < 1000 ? 1000 : lifetime_ms / 2;
		int64_t most = lifetime_ms / 2 + lifetime_ms / 10;
		if (wait_ms < least || wait_ms > (most < 1000 ? 1000 : most))
			ck_abort_msg("life %" PRId64 " ms, roll %.17g: %" PRId64 " ms", lifetime_ms,
				roll, wait_ms);
		unsigned failures = 1 + (unsigned)unit_random(&state, 60);
		enum error_code code =
			(enum error_code)(1 + unit_random(&state, ERR_CODE_COUNT - 1));
		int64_t asked_s = (int64_t)unit_random(&state, 8000) - 1;
		wait_ms = wait_after_failure(failures, code, asked_s, roll);
		int64_t asked_ms = asked_s > 3600 ? 3600000 : asked_s * 1000;
		/* Asked for, or chosen: who must act is not hurried by being asked for less. */
		enum error_class class = error_class_of(code);
		bool is_slow =
			class == ERROR_CLASS_CREDENTIAL || class == ERROR_CLASS_CONFIGURATION;
		bool is_as_asked = wait_ms >= asked_ms && wait_ms <= asked_ms / 10 * 11;
		bool is_as_chosen = wait_ms >= 250 && wait_ms <= 300000;
		bool is_fine = asked_s > 0 ? is_as_asked || (is_slow && wait_ms >= asked_ms &&
								    is_as_chosen)
					   : is_as_chosen;
		if (!is_fine)
			ck_abort_msg("%s, %u failures, Retry-After %" PRId64
				     ", roll %.17g: %" PRId64 " ms",
				error_code_name(code), failures, asked_s, roll, wait_ms);
	}
}
END_TEST

START_TEST(spreads_those_who_failed_together)
{
	/* Full jitter: each tenth of the span gets about a tenth of the accounts. */
	uint64_t state = unit_seed("spreads_those_who_failed_together");
	unsigned tenths[10] = {0};
	for (int account = 0; account < 10000; account++) {
		double roll = (double)unit_random(&state, UINT64_C(1) << 31) / 2147483648.0;
		int64_t wait_ms = wait_after_failure(12, ERR_NETWORK, -1, roll);
		tenths[wait_ms * 10 / SCHEDULE_BACKOFF_MAX_MS]++;
	}
	for (size_t i = 0; i < UNIT_COUNT(tenths); i++)
		ck_assert_msg(
			tenths[i] > 800 && tenths[i] < 1200, "tenth %zu has %u", i, tenths[i]);
}
END_TEST

UNIT_MAIN("schedule", is_due_at_once_when_zeroed, refreshes_at_half_life_plus_up_to_a_tenth,
	leaves_nine_hours_of_outage_to_a_token_of_a_day,
	never_refreshes_sooner_than_a_second_after_a_token,
	survives_the_longest_life_that_a_token_can_have, forgets_failures_at_a_success,
	refreshes_when_the_upstream_wants_it_and_up_to_a_tenth_of_the_rest_later,
	passes_over_a_wish_that_would_leave_a_gap,
	asks_for_the_same_token_ever_more_often_but_not_in_a_loop,
	looks_at_what_nobody_refreshes_when_it_is_told_to, backs_off_by_doubling_up_to_five_minutes,
	backs_off_after_more_failures_than_can_be_counted, retries_slowly_what_someone_must_mend,
	obeys_retry_after_and_adds_up_to_a_tenth,
	is_not_hurried_by_retry_after_where_someone_must_act, caps_retry_after_at_an_hour,
	keeps_backing_off_when_retry_after_is_zero, stays_within_its_bounds_at_any_roll,
	spreads_those_who_failed_together)
