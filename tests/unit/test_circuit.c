#include "base/circuit.h"

#include "unit.h"

#define NOW_MS INT64_C(123456789)
#define ALMOST_ONE 0.99999999976716935 /* the largest roll: 1 - 2^-32 */

static struct circuit opened(double roll)
{
	struct circuit circuit = {0};
	for (int i = 1; i <= CIRCUIT_FAILURES; i++)
		ck_assert(circuit_failed(&circuit, NOW_MS, 0, -1, roll) == (i == CIRCUIT_FAILURES));
	ck_assert_int_eq(circuit.state, CIRCUIT_OPEN);
	return circuit;
}

/* The probe's number. */
static uint64_t probe_at(struct circuit *circuit, int64_t now_ms)
{
	uint64_t probe = 0;
	ck_assert_int_eq(circuit_ask(circuit, now_ms, &probe), CIRCUIT_PROBE);
	ck_assert_uint_ne(probe, 0);
	return probe;
}

static void assert_asks(struct circuit *circuit, int64_t now_ms, enum circuit_verdict verdict)
{
	uint64_t probe = 99;
	ck_assert_int_eq(circuit_ask(circuit, now_ms, &probe), verdict);
	ck_assert_uint_eq(probe, 0);
}

START_TEST(lets_all_pass_when_zeroed)
{
	struct circuit circuit = {0};
	for (int i = 0; i < 100; i++)
		assert_asks(&circuit, NOW_MS + i, CIRCUIT_PASS);
}
END_TEST

START_TEST(opens_after_five_failures_in_a_row_and_not_before)
{
	struct circuit circuit = {0};
	for (int round = 0; round < 10; round++) {
		for (int i = 1; i < CIRCUIT_FAILURES; i++)
			ck_assert(!circuit_failed(&circuit, NOW_MS, 0, -1, 0.5));
		assert_asks(&circuit, NOW_MS, CIRCUIT_PASS);
		ck_assert(!circuit_succeeded(&circuit)); /* it was not open */
	}
	for (int i = 1; i < CIRCUIT_FAILURES; i++)
		ck_assert(!circuit_failed(&circuit, NOW_MS + i, 0, -1, 0.5));
	ck_assert(circuit_failed(&circuit, NOW_MS + 9, 0, -1, 0.5));
	ck_assert_int_eq(circuit.since_ms, NOW_MS + 1);
	ck_assert_int_eq(circuit.until_ms, NOW_MS + 9 + 500);
	assert_asks(&circuit, NOW_MS + 9, CIRCUIT_REFUSE);
}
END_TEST

START_TEST(lets_one_probe_through_when_its_time_is_over)
{
	struct circuit circuit = opened(0.5);
	assert_asks(&circuit, circuit.until_ms - 1, CIRCUIT_REFUSE);
	ck_assert(circuit_refuses(&circuit, circuit.until_ms - 1));
	ck_assert(!circuit_refuses(&circuit, circuit.until_ms));
	probe_at(&circuit, circuit.until_ms);
	for (int i = 0; i < 100; i++)
		assert_asks(&circuit, circuit.until_ms + i * 1000, CIRCUIT_WAIT);
}
END_TEST

START_TEST(is_closed_by_the_probe_that_is_answered)
{
	struct circuit circuit = opened(0.5);
	probe_at(&circuit, circuit.until_ms);
	ck_assert(circuit_succeeded(&circuit));
	assert_asks(&circuit, NOW_MS, CIRCUIT_PASS);
	ck_assert_uint_eq(circuit.failures, 0);
	/* And it takes five again, and begins with a short time. */
	for (int i = 1; i < CIRCUIT_FAILURES; i++)
		ck_assert(!circuit_failed(&circuit, NOW_MS, 0, -1, ALMOST_ONE));
	ck_assert(circuit_failed(&circuit, NOW_MS, 0, -1, ALMOST_ONE));
	ck_assert_int_eq(circuit.until_ms, NOW_MS + 999);
}
END_TEST

START_TEST(opens_for_longer_with_each_probe_that_fails_up_to_a_minute)
{
	static const int64_t spans_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
	struct circuit least = opened(0);
	struct circuit most = opened(ALMOST_ONE);
	for (size_t i = 0; i < 100; i++) {
		int64_t span_ms = i < UNIT_COUNT(spans_ms) ? spans_ms[i] : 60000;
		int64_t now_ms = i == 0 ? NOW_MS : NOW_MS + (int64_t)i * 100000;
		ck_assert_int_eq(least.until_ms - now_ms, CIRCUIT_LEAST_MS);
		ck_assert_int_eq(most.until_ms - now_ms, span_ms - 1);
		ck_assert_int_eq(least.spread_ms, span_ms);
		ck_assert_int_eq(most.spread_ms, span_ms);
		now_ms = NOW_MS + (int64_t)(i + 1) * 100000;
		ck_assert(circuit_failed(&least, now_ms, probe_at(&least, now_ms), -1, 0));
		ck_assert(circuit_failed(&most, now_ms, probe_at(&most, now_ms), -1, ALMOST_ONE));
		ck_assert_int_eq(least.since_ms, NOW_MS); /* since it began to fail */
	}
	most.openings = UINT32_MAX - 1;
	ck_assert(circuit_failed(&most, NOW_MS, probe_at(&most, most.until_ms), -1, ALMOST_ONE));
	ck_assert_int_eq(most.until_ms, NOW_MS + CIRCUIT_SPAN_MAX_MS - 1);
}
END_TEST

START_TEST(obeys_retry_after_as_the_least)
{
	struct circuit circuit = {.failures = CIRCUIT_FAILURES - 1};
	struct circuit fresh = circuit;
	ck_assert(circuit_failed(&circuit, NOW_MS, 0, 20, 0));
	ck_assert_int_eq(circuit.until_ms, NOW_MS + 20000);
	ck_assert_int_eq(circuit.spread_ms, 20000);
	circuit = fresh;
	circuit_failed(&circuit, NOW_MS, 0, 20, ALMOST_ONE);
	ck_assert_int_eq(circuit.until_ms, NOW_MS + 21999);
	circuit = fresh;
	circuit_failed(&circuit, NOW_MS, 0, 600, 0);
	ck_assert_int_eq(circuit.until_ms, NOW_MS + 600000);
	ck_assert_int_eq(circuit.spread_ms, CIRCUIT_SPAN_MAX_MS);
	circuit = fresh;
	circuit_failed(&circuit, NOW_MS, 0, INT64_MAX, 0);
	ck_assert_int_eq(circuit.until_ms, NOW_MS + CIRCUIT_RETRY_AFTER_MAX_S * 1000);
	circuit = fresh;
	circuit.openings = 10; /* the backoff is longer already */
	circuit_failed(&circuit, NOW_MS, 0, 5, ALMOST_ONE);
	ck_assert_int_eq(circuit.until_ms, NOW_MS + CIRCUIT_SPAN_MAX_MS - 1);
	for (int64_t none_s = -1; none_s <= 0; none_s++) {
		circuit = fresh;
		circuit_failed(&circuit, NOW_MS, 0, none_s, 0.5);
		ck_assert_int_eq(circuit.until_ms, NOW_MS + 500);
	}
}
END_TEST

START_TEST(gives_the_place_of_a_cancelled_probe_to_the_next_who_asks)
{
	struct circuit circuit = opened(0.5);
	int64_t now_ms = circuit.until_ms;
	uint64_t first = probe_at(&circuit, now_ms);
	ck_assert(!circuit_abandoned(&circuit, now_ms, 0)); /* not the probe */
	assert_asks(&circuit, now_ms, CIRCUIT_WAIT);
	ck_assert(circuit_abandoned(&circuit, now_ms, first));
	ck_assert(!circuit_refuses(&circuit, now_ms));
	uint64_t second = probe_at(&circuit, now_ms);
	ck_assert_uint_ne(second, first);
	assert_asks(&circuit, now_ms, CIRCUIT_WAIT);
	ck_assert_uint_eq(circuit.openings, 1); /* it did not fail */
}
END_TEST

START_TEST(does_not_take_what_comes_late_for_the_probe)
{
	struct circuit circuit = opened(0.5);
	struct circuit before = circuit;
	ck_assert(
		!circuit_failed(&circuit, NOW_MS + 1, 0, 100, 0.9)); /* sent while it was closed */
	ck_assert_int_eq(circuit.until_ms, before.until_ms);
	uint64_t first = probe_at(&circuit, circuit.until_ms);
	ck_assert(!circuit_failed(&circuit, NOW_MS + 2, 0, -1, 0.9));
	assert_asks(&circuit, circuit.until_ms, CIRCUIT_WAIT);
	/* A late answer closes it, with a probe still under way, which then means nothing. */
	ck_assert(circuit_succeeded(&circuit));
	ck_assert(!circuit_failed(&circuit, NOW_MS, first, -1, 0.5));
	ck_assert(!circuit_abandoned(&circuit, NOW_MS, first));
	circuit = opened(0.5);
	first = probe_at(&circuit, circuit.until_ms);
	circuit_reset(&circuit);
	circuit.failures = CIRCUIT_FAILURES - 1;
	ck_assert(circuit_failed(&circuit, NOW_MS, 0, -1, 0.5));
	uint64_t second = probe_at(&circuit, circuit.until_ms);
	ck_assert(!circuit_failed(&circuit, NOW_MS, first, -1, 0.5));
	assert_asks(&circuit, circuit.until_ms, CIRCUIT_WAIT);
	ck_assert(circuit_failed(&circuit, NOW_MS, second, -1, 0.5));
}
END_TEST

/* ---- as a model --------------------------------------------------------------------------------
 */

#define FLIGHTS_MAX 12
#define STEPS 3000
#define RUNS 300

/* Requests at random against a circuit, and what must hold after each step. */
static void run_model(uint64_t *state)
{
	struct circuit circuit = {0};
	uint64_t flights[FLIGHTS_MAX]; /* the probe's number, or 0 */
	size_t count = 0;
	unsigned in_a_row = 0;
	int64_t now_ms = NOW_MS;
	for (int step = 0; step < STEPS; step++) {
		uint64_t event = unit_random(state, 100);
		double roll = (double)unit_random(state, 1 << 20) / (1 << 20);
		if (event < 40) {
			uint64_t probe = 0;
			bool would_refuse = circuit_refuses(&circuit, now_ms);
			enum circuit_state was = circuit.state;
			enum circuit_verdict verdict = circuit_ask(&circuit, now_ms, &probe);
			ck_assert((verdict == CIRCUIT_REFUSE) == would_refuse);
			ck_assert((verdict == CIRCUIT_PROBE) == (probe != 0));
			ck_assert((verdict == CIRCUIT_PASS) == (was == CIRCUIT_CLOSED));
			ck_assert((verdict == CIRCUIT_WAIT) == (was == CIRCUIT_HALF_OPEN));
			if (verdict <= CIRCUIT_PROBE && count < FLIGHTS_MAX)
				flights[count++] = probe;
			else if (verdict == CIRCUIT_PROBE) /* nobody to carry it */
				ck_assert(circuit_abandoned(&circuit, now_ms, probe));
		} else if (event < 85 && count > 0) {
			size_t at = unit_random(state, count);
			uint64_t probe = flights[at];
			enum circuit_state was = circuit.state;
			bool is_probe = was == CIRCUIT_HALF_OPEN && probe == circuit.probe;
			flights[at] = flights[--count];
			if (event < 50) {
				ck_assert(circuit_succeeded(&circuit) == (was != CIRCUIT_CLOSED));
				ck_assert_int_eq(circuit.state, CIRCUIT_CLOSED);
				in_a_row = 0;
			} else if (event < 80) {
				int64_t retry_after_s = (int64_t)unit_random(state, 400) - 300;
				in_a_row++;
				bool opens = circuit_failed(
					&circuit, now_ms, probe, retry_after_s, roll);
				ck_assert(opens ==
					  (is_probe || (was == CIRCUIT_CLOSED &&
							       in_a_row == CIRCUIT_FAILURES)));
				if (opens) {
					int64_t wait_ms = circuit.until_ms - now_ms;
					ck_assert_int_ge(wait_ms, CIRCUIT_LEAST_MS);
					ck_assert_int_ge(wait_ms, retry_after_s * 1000);
					ck_assert_int_le(wait_ms, 110000);
					ck_assert_int_gt(circuit.spread_ms, 0);
					ck_assert_int_le(circuit.spread_ms, CIRCUIT_SPAN_MAX_MS);
				}
			} else {
				ck_assert(circuit_abandoned(&circuit, now_ms, probe) == is_probe);
			}
		} else if (event == 99 && unit_random(state, 20) == 0) {
			circuit_reset(&circuit);
			in_a_row = 0;
		} else {
			now_ms += (int64_t)unit_random(state, event < 95 ? 500 : 40000);
		}
		/* Half open means: its probe is on its way, once. Nobody waits for nothing. */
		size_t probes = 0;
		for (size_t i = 0; i < count; i++)
			probes += flights[i] != 0 && flights[i] == circuit.probe;
		ck_assert_uint_le(probes, 1);
		if (circuit.state == CIRCUIT_HALF_OPEN)
			ck_assert_uint_eq(probes, 1);
		ck_assert_uint_eq(circuit.failures, in_a_row);
		if (circuit.state == CIRCUIT_CLOSED)
			ck_assert_uint_lt(in_a_row, CIRCUIT_FAILURES);
	}
}

START_TEST(holds_what_it_promises_through_any_events)
{
	uint64_t state = unit_seed("circuit");
	for (int run = 0; run < RUNS; run++)
		run_model(&state);
}
END_TEST

UNIT_MAIN("circuit", lets_all_pass_when_zeroed, opens_after_five_failures_in_a_row_and_not_before,
	lets_one_probe_through_when_its_time_is_over, is_closed_by_the_probe_that_is_answered,
	opens_for_longer_with_each_probe_that_fails_up_to_a_minute, obeys_retry_after_as_the_least,
	gives_the_place_of_a_cancelled_probe_to_the_next_who_asks,
	does_not_take_what_comes_late_for_the_probe, holds_what_it_promises_through_any_events)
