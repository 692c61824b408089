/*
 * Outages, hours of them in no time: the schedule of accounts and the circuit of the origin that
 * they share, run together as base/http_client.h and refresh_task.h do.
 */
#include "base/circuit.h"
#include "base/heap.h"
#include "base/http_client.h"
#include "token/schedule.h"

#include "unit.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define LIFETIME_MS (24 * HOUR_MS - 2 * SECOND_MS) /* less what is counted against a token */
#define ACCOUNTS_MAX 1000
#define ANSWER_MS INT64_C(50)

static uint64_t dice;

static double roll(void)
{
	return (double)unit_random(&dice, UINT64_C(1) << 31) / 2147483648.0;
}

/* ---- one account -------------------------------------------------------------------------------
 */

enum rolls { ROLLS_AT_RANDOM, ROLLS_LEAST, ROLLS_MOST };

static double roll_of(enum rolls rolls)
{
	return rolls == ROLLS_AT_RANDOM ? roll() : rolls == ROLLS_LEAST ? 0 : 0.99999999976716935;
}

/* What goes wrong with an exchange in an outage, and how long it takes. */
static int64_t go_wrong(struct error *err)
{
	static const enum error_code codes[] = {ERR_NETWORK, ERR_TLS, ERR_TIMEOUT, ERR_THROTTLED,
		ERR_UPSTREAM_FAULT, ERR_DENIED, ERR_REFUSED, ERR_UPSTREAM_FORMAT};
	*err = ERROR_INIT;
	err->code = codes[unit_random(&dice, UNIT_COUNT(codes))];
	/* Held back by a circuit, at its worst: a minute, and spread over another one. */
	if (unit_random(&dice, 3) == 0) {
		err->code = ERR_NETWORK;
		err->retry_after_s = 60;
		err->spread_ms = CIRCUIT_SPAN_MAX_MS;
	} else if (err->code == ERR_THROTTLED) {
		err->retry_after_s = (int64_t)unit_random(&dice, 270);
	}
	return err->code == ERR_TIMEOUT ? HTTP_TOTAL_TIMEOUT_MS
					: (int64_t)unit_random(&dice, 2 * SECOND_MS);
}

/*
 * Whether an account with a token of 0 h has a valid one all the while, when nothing works from
 * `from_ms` to `until_ms`.
 * fails_in  before the outage, one exchange in so many fails too; 0: none
 */
static bool outlives(int64_t from_ms, int64_t until_ms, enum rolls rolls, unsigned fails_in)
{
	struct schedule schedule = {0};
	int64_t dead_at_ms = LIFETIME_MS;
	schedule_succeeded(&schedule, 0, LIFETIME_MS, 0, roll_of(rolls));
	while (schedule.next_ms < until_ms + 24 * HOUR_MS) {
		struct error err;
		int64_t now_ms = schedule.next_ms;
		bool is_out = now_ms >= from_ms && now_ms < until_ms;
		bool has_failed =
			now_ms < from_ms && fails_in > 0 && unit_random(&dice, fails_in) == 0;
		if (is_out || has_failed) {
			now_ms += go_wrong(&err);
			schedule_failed(&schedule, now_ms, &err, roll_of(rolls));
			continue;
		}
		now_ms += ANSWER_MS;
		if (now_ms >= dead_at_ms)
			return false;
		dead_at_ms = now_ms + LIFETIME_MS;
		schedule_succeeded(&schedule, now_ms, LIFETIME_MS, 0, roll_of(rolls));
	}
	return true;
}

START_TEST(a_token_of_a_day_outlives_an_outage_of_nine_hours_and_a_half_from_any_minute)
{
	static const int64_t outage_ms = 9 * HOUR_MS + HOUR_MS / 2;
	dice = unit_seed("outage");
	for (int64_t from_ms = 0; from_ms <= 24 * HOUR_MS; from_ms += MINUTE_MS)
		for (int round = 0; round < 60; round++) {
			enum rolls rolls = round == 0   ? ROLLS_LEAST
					   : round < 40 ? ROLLS_MOST
							: ROLLS_AT_RANDOM;
			if (!outlives(from_ms, from_ms + outage_ms, rolls, 0))
				ck_abort_msg("a token died in an outage from minute %" PRId64,
					from_ms / MINUTE_MS);
		}
	/* Ten hours are too many for the unlucky: or else this proves nothing. */
	ck_assert(!outlives(14 * HOUR_MS, 24 * HOUR_MS, ROLLS_MOST, 0));
}
END_TEST

START_TEST(it_does_so_with_an_upstream_that_fails_at_random_before)
{
	static const int64_t outage_ms = 9 * HOUR_MS;
	dice = unit_seed("outage with failures");
	for (int64_t from_ms = 0; from_ms <= 24 * HOUR_MS; from_ms += MINUTE_MS)
		for (int round = 0; round < 10; round++)
			if (!outlives(from_ms, from_ms + outage_ms, ROLLS_AT_RANDOM, 3))
				ck_abort_msg("a token died in an outage from minute %" PRId64,
					from_ms / MINUTE_MS);
}
END_TEST

/* ---- a thousand accounts and one origin --------------------------------------------------------
 */

struct sim_account {
	struct heap_node timer;
	struct sim_account *next_waiting;
	struct schedule schedule;
	int64_t dead_at_ms;
	int64_t succeeded_ms; /* last */
	uint64_t probe;
};

struct flight {
	struct sim_account *account; /* NULL: none */
	int64_t ends_ms;
	bool fails;
};

static struct sim_account accounts[ACCOUNTS_MAX];
static struct {
	int64_t now_ms;
	int64_t from_ms; /* the outage */
	int64_t until_ms;
	int64_t hang_ms; /* how long a request takes to fail */
	size_t count;
	struct heap heap;
	struct circuit circuit;
	struct flight flights[HTTP_CONNECTIONS_PER_ORIGIN];
	struct sim_account *waiting;
	struct sim_account **last_waiting;
	unsigned sent_while_out;
	unsigned gaps; /* times that a token died before there was a new one */
	unsigned seconds[600]; /* what was sent in each second after the outage */
} sim;

static void set_timer(struct sim_account *account)
{
	heap_put(&sim.heap, &account->timer, account->schedule.next_ms);
}

/* As http_origin_refuses() words it. */
static bool is_held_back(struct sim_account *account)
{
	struct error err = ERROR_INIT;
	if (!circuit_refuses(&sim.circuit, sim.now_ms))
		return false;
	err.code = ERR_NETWORK;
	err.retry_after_s = (sim.circuit.until_ms - sim.now_ms + 999) / 1000;
	err.spread_ms = sim.circuit.spread_ms;
	schedule_failed(&account->schedule, sim.now_ms, &err, roll());
	set_timer(account);
	return true;
}

static struct flight *free_flight(void)
{
	for (size_t i = 0; i < UNIT_COUNT(sim.flights); i++)
		if (sim.flights[i].account == NULL)
			return &sim.flights[i];
	return NULL;
}

/* Returns false when it has to wait. */
static bool launch(struct sim_account *account)
{
	struct flight *flight = free_flight();
	if (flight == NULL ||
		circuit_ask(&sim.circuit, sim.now_ms, &account->probe) == CIRCUIT_WAIT)
		return false;
	flight->account = account;
	flight->fails = sim.now_ms >= sim.from_ms && sim.now_ms < sim.until_ms;
	flight->ends_ms = sim.now_ms + (flight->fails ? sim.hang_ms : ANSWER_MS);
	int64_t second = (sim.now_ms - sim.until_ms) / SECOND_MS;
	sim.sent_while_out += flight->fails;
	if (sim.now_ms >= sim.until_ms && second < (int64_t)UNIT_COUNT(sim.seconds))
		sim.seconds[second]++;
	return true;
}

static void start(struct sim_account *account)
{
	heap_remove(&sim.heap, &account->timer);
	if (is_held_back(account) || launch(account))
		return;
	account->next_waiting = NULL;
	*sim.last_waiting = account;
	sim.last_waiting = &account->next_waiting;
}

static void land(struct flight *flight)
{
	struct sim_account *account = flight->account;
	flight->account = NULL;
	if (flight->fails) {
		struct error err = ERROR_INIT;
		err.code = ERR_NETWORK;
		schedule_failed(&account->schedule, sim.now_ms, &err, roll());
		circuit_failed(&sim.circuit, sim.now_ms, account->probe, -1, roll());
	} else {
		sim.gaps += account->dead_at_ms <= sim.now_ms;
		account->dead_at_ms = sim.now_ms + LIFETIME_MS;
		account->succeeded_ms = sim.now_ms;
		schedule_succeeded(&account->schedule, sim.now_ms, LIFETIME_MS, 0, roll());
		circuit_succeeded(&sim.circuit);
	}
	set_timer(account);
	while (sim.waiting != NULL) {
		struct sim_account *first = sim.waiting;
		if (!is_held_back(first) && !launch(first))
			break;
		sim.waiting = first->next_waiting;
		if (sim.waiting == NULL)
			sim.last_waiting = &sim.waiting;
	}
}

static struct flight *first_to_land(void)
{
	struct flight *first = NULL;
	for (size_t i = 0; i < UNIT_COUNT(sim.flights); i++)
		if (sim.flights[i].account != NULL &&
			(first == NULL || sim.flights[i].ends_ms < first->ends_ms))
			first = &sim.flights[i];
	return first;
}

static void run_until(int64_t end_ms)
{
	for (;;) {
		struct flight *flight = first_to_land();
		const struct heap_node *node = heap_first(&sim.heap);
		bool lands = flight != NULL && (node == NULL || flight->ends_ms <= node->due_ms);
		int64_t next_ms = lands ? flight->ends_ms : node == NULL ? end_ms : node->due_ms;
		if (next_ms >= end_ms)
			return;
		if (next_ms > sim.now_ms)
			sim.now_ms = next_ms;
		if (lands)
			land(flight);
		else
			start(node->owner);
	}
}

/*
 * 1,000 accounts that begin together at 0.
 * Returns how many requests were sent in the busiest second of the ten minutes after the outage.
 */
static unsigned run_outage(int64_t from_ms, int64_t until_ms, int64_t hang_ms)
{
	unsigned peak = 0;
	heap_free(&sim.heap);
	memset(&sim, 0, sizeof(sim));
	memset(accounts, 0, sizeof(accounts));
	sim.from_ms = from_ms;
	sim.until_ms = until_ms;
	sim.hang_ms = hang_ms;
	sim.last_waiting = &sim.waiting;
	ck_assert_int_eq(heap_reserve(&sim.heap, ACCOUNTS_MAX), 0);
	for (size_t i = 0; i < ACCOUNTS_MAX; i++) {
		accounts[i].timer.owner = &accounts[i];
		accounts[i].dead_at_ms = INT64_MAX;
		set_timer(&accounts[i]);
	}
	run_until(until_ms + 10 * MINUTE_MS);
	for (size_t i = 0; i < UNIT_COUNT(sim.seconds); i++)
		if (sim.seconds[i] > peak)
			peak = sim.seconds[i];
	printf("outage of %" PRId64 " s, failures take %" PRId64 " ms: %u requests in it, %u in "
	       "the busiest second after it\n",
		(until_ms - from_ms) / 1000, hang_ms, sim.sent_while_out, peak);
	return peak;
}

/* How many have had no success since the outage. */
static unsigned count_without_success(void)
{
	unsigned count = 0;
	for (size_t i = 0; i < ACCOUNTS_MAX; i++)
		count += accounts[i].succeeded_ms < sim.until_ms;
	return count;
}

START_TEST(a_thousand_accounts_do_not_hammer_what_is_down_and_spread_when_it_is_up)
{
	static const int64_t hangs_ms[] = {1, 200, HTTP_CONNECT_TIMEOUT_MS, HTTP_TOTAL_TIMEOUT_MS};
	dice = unit_seed("thousand accounts");
	for (size_t i = 0; i < UNIT_COUNT(hangs_ms); i++)
		for (int round = 0; round < 5; round++) {
			unsigned peak = run_outage(0, HOUR_MS, hangs_ms[i]);
			ck_assert_uint_le(peak, 50); /* 17 if they were spread evenly */
			ck_assert_uint_eq(count_without_success(), 0);
			/* Two a minute, and some before it was known to be down. */
			ck_assert_uint_le(sim.sent_while_out, 60 * 3 + 20);
			ck_assert_uint_ge(sim.sent_while_out, 60);
		}
	heap_free(&sim.heap);
}
END_TEST

START_TEST(all_recover_within_two_minutes_but_for_the_probes)
{
	dice = unit_seed("recovery");
	run_outage(0, HOUR_MS, 1);
	unsigned late = 0;
	for (size_t i = 0; i < ACCOUNTS_MAX; i++)
		late += accounts[i].succeeded_ms >
			sim.until_ms + 2 * CIRCUIT_SPAN_MAX_MS + SECOND_MS;
	ck_assert_uint_le(late, 20); /* those keep to their own backoff, of five minutes */
	/* A short outage is over soon for all. */
	run_outage(0, 10 * SECOND_MS, 1);
	for (size_t i = 0; i < ACCOUNTS_MAX; i++)
		ck_assert_int_lt(accounts[i].succeeded_ms, sim.until_ms + 40 * SECOND_MS);
	heap_free(&sim.heap);
}
END_TEST

START_TEST(no_token_of_a_thousand_dies_in_nine_hours_and_a_half)
{
	dice = unit_seed("thousand tokens");
	for (int64_t from_ms = 11 * HOUR_MS; from_ms < 15 * HOUR_MS; from_ms += 24 * MINUTE_MS) {
		run_outage(from_ms, from_ms + 9 * HOUR_MS + HOUR_MS / 2,
			unit_random(&dice, 2) == 0 ? 1 : HTTP_CONNECT_TIMEOUT_MS);
		ck_assert_uint_eq(sim.gaps, 0);
	}
	heap_free(&sim.heap);
}
END_TEST

UNIT_MAIN("outage", a_token_of_a_day_outlives_an_outage_of_nine_hours_and_a_half_from_any_minute,
	it_does_so_with_an_upstream_that_fails_at_random_before,
	a_thousand_accounts_do_not_hammer_what_is_down_and_spread_when_it_is_up,
	all_recover_within_two_minutes_but_for_the_probes,
	no_token_of_a_thousand_dies_in_nine_hours_and_a_half)
