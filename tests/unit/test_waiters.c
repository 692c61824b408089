/*
 * Who waits for what, and who wakes whom, on a registry that is filled by hand. libmicrohttpd's
 * part is noted instead of done.
 */
#include "server/waiters.h"

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#define SECOND 1000

/* ---- connections, of which it is only known whether they are suspended ------------------------
 */

#define CONNECTIONS_MAX 64

static struct {
	int suspended; /* now */
	int resumes;
	int suspends;
} connections[CONNECTIONS_MAX];

static struct MHD_Connection *connection_at(size_t which)
{
	return (struct MHD_Connection *)&connections[which];
}

void __wrap_MHD_suspend_connection(struct MHD_Connection *connection);
void __wrap_MHD_resume_connection(struct MHD_Connection *connection);

void __wrap_MHD_suspend_connection(struct MHD_Connection *connection)
{
	size_t which = (size_t)((typeof(&connections[0]))connection - connections);
	connections[which].suspended++;
	connections[which].suspends++;
	ck_assert_int_eq(connections[which].suspended, 1);
}

void __wrap_MHD_resume_connection(struct MHD_Connection *connection)
{
	size_t which = (size_t)((typeof(&connections[0]))connection - connections);
	connections[which].suspended--;
	connections[which].resumes++;
	ck_assert_int_eq(connections[which].suspended, 0);
}

static unsigned suspended(void)
{
	unsigned count = 0;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		count += connections[i].suspended != 0;
	return count;
}

/* ---- the scene ----------------------------------------------------------------------------------
 */

static struct registry registry;
static struct waiters waiters;
static struct waiter *places[CONNECTIONS_MAX];
static atomic_uint notices;

static void on_notice(void *context)
{
	(void)context;
	atomic_fetch_add(&notices, 1);
}

static struct account_table *make_table(size_t count)
{
	struct account **accounts = calloc(count, sizeof(struct account *));
	for (size_t i = 0; i < count; i++) {
		char name[16];
		snprintf(name, sizeof(name), "a%zu", i);
		struct account_settings settings = {
			.name = strdup(name),
			.kind = strdup("entra"),
			.credential = strdup("client_secret"),
		};
		accounts[i] = account_new(&settings);
	}
	return account_table_new(accounts, count, NULL);
}

/* In place of the present one, which is freed once nobody looks at it. */
static void adopt(size_t count)
{
	epoch_retire(&registry.epoch, registry_publish_table(&registry, make_table(count)),
		account_table_free);
}

static void open_scene(size_t count)
{
	registry_init(&registry);
	registry_set_notify(&registry, on_notice, NULL);
	adopt(count);
	waiters = (struct waiters){.registry = &registry, .limit = CONNECTIONS_MAX};
	atomic_store(&notices, 0);
}

static void close_scene(void)
{
	waiters_close(&waiters);
	ck_assert_uint_eq(suspended(), 0);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		waiter_free(&waiters, places[i]);
	waiters_destroy(&waiters);
	epoch_reclaim(&registry.epoch);
	registry_destroy(&registry);
}

static struct account *account_at(size_t which)
{
	return atomic_load(&registry.table)->accounts[which];
}

/* What a request does that finds no token. */
static bool wait_for(size_t connection, size_t account, int64_t bound_ms, int64_t now_ms)
{
	struct wait_terms terms = {.bound_ms = bound_ms};
	terms.adoptions = atomic_load(&registry.adoptions); /* before the table */
	terms.table = atomic_load(&registry.table);
	terms.account = terms.table->accounts[account];
	terms.snapshot = atomic_load(&terms.account->snapshot);
	terms.report = atomic_load(&terms.account->report);
	return waiters_wait(
		&waiters, &places[connection], connection_at(connection), &terms, now_ms);
}

/* A report that tells of so many exchanges. */
static void report(size_t account, unsigned exchanges)
{
	struct account_report *new = calloc(1, sizeof(*new));
	new->exchanges = exchanges;
	account_publish_report(&registry, account_at(account), new);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

START_TEST(wakes_those_who_wait_for_the_account_and_no_others)
{
	open_scene(3);
	for (size_t i = 0; i < 6; i++)
		ck_assert(wait_for(i, i % 3, 5 * SECOND, 0));
	ck_assert_uint_eq(suspended(), 6);
	ck_assert_uint_eq(notices, 0);
	report(1, 1);
	ck_assert_uint_eq(notices, 1);
	waiters_wake(&waiters, 0);
	for (size_t i = 0; i < 6; i++)
		ck_assert_int_eq(connections[i].suspended, i % 3 != 1);
	/* Nobody waits for it any more, so nobody is told. */
	report(1, 2);
	ck_assert_uint_eq(notices, 1);
	report(0, 1);
	report(2, 1);
	report(0, 2);
	ck_assert_uint_eq(notices, 3);
	waiters_wake(&waiters, 0);
	ck_assert_uint_eq(suspended(), 0);
	close_scene();
}
END_TEST

START_TEST(ends_the_wait_with_the_exchange)
{
	open_scene(1);
	report(0, 4);
	ck_assert(wait_for(0, 0, 5 * SECOND, 0));
	ck_assert_uint_eq(waiter_exchanges(places[0], atomic_load(&account_at(0)->report)), 4);
	/* Something else is new: it waits on. */
	report(0, 4);
	waiters_wake(&waiters, 10);
	ck_assert_uint_eq(suspended(), 0);
	ck_assert(wait_for(0, 0, 5 * SECOND, 10));
	report(0, 5);
	waiters_wake(&waiters, 20);
	ck_assert(!wait_for(0, 0, 5 * SECOND, 20));
	ck_assert_uint_eq(waiter_exchanges(places[0], atomic_load(&account_at(0)->report)), 4);
	ck_assert_uint_eq(suspended(), 0);
	close_scene();
}
END_TEST

START_TEST(ends_the_wait_when_its_time_is_over)
{
	open_scene(1);
	ck_assert_int_eq(waiters_next_ms(&waiters), INT64_MAX);
	ck_assert_int_eq(waiter_end_ms(NULL, 5 * SECOND, 100), 100 + 5 * SECOND);
	ck_assert(wait_for(0, 0, 5 * SECOND, 100));
	ck_assert(wait_for(1, 0, 2 * SECOND, 200));
	ck_assert_int_eq(waiters_next_ms(&waiters), 200 + 2 * SECOND);
	waiters_wake(&waiters, 199 + 2 * SECOND);
	ck_assert_uint_eq(suspended(), 2);
	waiters_wake(&waiters, 200 + 2 * SECOND);
	ck_assert_int_eq(connections[0].suspended, 1);
	ck_assert_int_eq(connections[1].suspended, 0);
	ck_assert(!wait_for(1, 0, 2 * SECOND, 200 + 2 * SECOND));
	/* The time counts from the first call, however often it is woken. */
	report(0, 0);
	waiters_wake(&waiters, 3 * SECOND);
	ck_assert(wait_for(0, 0, 5 * SECOND, 3 * SECOND));
	ck_assert_int_eq(waiters_next_ms(&waiters), 100 + 5 * SECOND);
	ck_assert_int_eq(waiter_end_ms(places[0], 5 * SECOND, 3 * SECOND), 100 + 5 * SECOND);
	close_scene();
}
END_TEST

START_TEST(does_not_wait_for_what_has_come_already)
{
	open_scene(1);
	const struct wait_terms terms = {
		.adoptions = atomic_load(&registry.adoptions),
		.table = atomic_load(&registry.table),
		.account = account_at(0),
		.report = atomic_load(&account_at(0)->report),
		.bound_ms = SECOND,
	};
	/* Between the look and the wait; as nobody waits yet, nobody is told. */
	epoch_enter(&registry.epoch, 0);
	report(0, 1);
	ck_assert_uint_eq(notices, 0);
	ck_assert(waiters_wait(&waiters, &places[0], connection_at(0), &terms, 0));
	/* It goes on in the next round, which comes at once. */
	ck_assert_int_eq(connections[0].suspends, 1);
	ck_assert_int_eq(connections[0].resumes, 0);
	ck_assert_int_eq(waiters_next_ms(&waiters), 0);
	epoch_leave(&registry.epoch, 0);
	waiters_wake(&waiters, 0);
	ck_assert_int_eq(connections[0].suspended, 0);
	ck_assert(!wait_for(0, 0, SECOND, 0));
	close_scene();
}
END_TEST

START_TEST(wakes_all_when_there_is_a_new_table)
{
	open_scene(3);
	report(2, 7);
	for (size_t i = 0; i < 3; i++)
		ck_assert(wait_for(i, i, 5 * SECOND, 0));
	report(2, 8); /* listed, and then gone */
	adopt(1);
	epoch_reclaim(&registry.epoch);
	waiters_wake(&waiters, 0);
	ck_assert_uint_eq(suspended(), 0);
	/* Its exchanges are counted anew: the account may be another one. */
	ck_assert(wait_for(2, 0, 5 * SECOND, 0));
	report(0, 1);
	waiters_wake(&waiters, 0);
	ck_assert(!wait_for(2, 0, 5 * SECOND, 0));
	close_scene();
}
END_TEST

START_TEST(keeps_the_lists_of_two_tables_apart)
{
	open_scene(2);
	ck_assert(wait_for(0, 0, 5 * SECOND, 0));
	ck_assert(wait_for(1, 1, 5 * SECOND, 0));
	adopt(8);
	/* A request that comes before anybody has looked. */
	ck_assert(wait_for(2, 7, 5 * SECOND, 0));
	ck_assert_uint_eq(suspended(), 3);
	ck_assert_int_eq(waiters_next_ms(&waiters), 0);
	waiters_wake(&waiters, 0);
	ck_assert_uint_eq(suspended(), 0);
	ck_assert_int_eq(waiters_next_ms(&waiters), INT64_MAX);
	ck_assert(wait_for(2, 7, 5 * SECOND, 0));
	waiters_wake(&waiters, 0);
	ck_assert_uint_eq(suspended(), 1);
	report(7, 1);
	waiters_wake(&waiters, 0);
	ck_assert_uint_eq(suspended(), 0);
	close_scene();
}
END_TEST

START_TEST(lets_so_many_wait_and_no_more)
{
	open_scene(1);
	waiters.limit = 2;
	ck_assert(wait_for(0, 0, SECOND, 0));
	ck_assert(wait_for(1, 0, SECOND, 0));
	ck_assert(!wait_for(2, 0, SECOND, 0));
	ck_assert_ptr_null(places[2]);
	waiters_wake(&waiters, SECOND);
	ck_assert(wait_for(2, 0, SECOND, SECOND));
	close_scene();
}
END_TEST

START_TEST(forgets_one_whose_connection_is_gone)
{
	open_scene(1);
	ck_assert(wait_for(0, 0, SECOND, 0));
	ck_assert(wait_for(1, 0, SECOND, 0));
	ck_assert(wait_for(2, 0, SECOND, 0));
	connections[1].suspended = 0; /* as libmicrohttpd ends it */
	waiter_free(&waiters, places[1]);
	places[1] = NULL;
	report(0, 1);
	waiters_wake(&waiters, 0);
	ck_assert_int_eq(connections[1].resumes, 0);
	ck_assert_uint_eq(suspended(), 0);
	waiter_free(&waiters, NULL);
	close_scene();
}
END_TEST

START_TEST(lets_nobody_wait_once_it_is_closed)
{
	open_scene(1);
	ck_assert(wait_for(0, 0, SECOND, 0));
	waiters_close(&waiters);
	ck_assert_uint_eq(suspended(), 0);
	ck_assert(!wait_for(0, 0, SECOND, 0));
	ck_assert(!wait_for(1, 0, SECOND, 0));
	close_scene();
}
END_TEST

/* ---- two threads -------------------------------------------------------------------------------
 */

#define ROUNDS 20000
#define ACCOUNTS 4

static atomic_uint ended[ACCOUNTS]; /* exchanges, of each account's name */

/* The refresh thread: publishes, and changes the table now and then. */
static void *publish(void *context)
{
	uint64_t *state = context;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t which = unit_random(state, ACCOUNTS);
		if (unit_random(state, 50) == 0) {
			struct account_table *table = make_table(ACCOUNTS);
			for (size_t i = 0; i < ACCOUNTS; i++)
				atomic_load(&table->accounts[i]->report)->exchanges =
					atomic_load(&ended[i]);
			epoch_retire(&registry.epoch, registry_publish_table(&registry, table),
				account_table_free);
		} else {
			report(which, atomic_fetch_add(&ended[which], 1) + 1);
		}
		epoch_reclaim(&registry.epoch);
	}
	return NULL;
}

/* Whatever is published while somebody waits is told, so that no wait goes on after the end. */
START_TEST(misses_nothing_that_another_thread_publishes)
{
	uint64_t seed = unit_seed("misses_nothing");
	pthread_t thread;
	open_scene(ACCOUNTS);
	ck_assert_int_eq(pthread_create(&thread, NULL, publish, &seed), 0);
	bool is_over = false;
	while (!is_over) {
		is_over = pthread_tryjoin_np(thread, NULL) == 0;
		epoch_enter(&registry.epoch, 0);
		waiters_wake(&waiters, 0);
		for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
			if (connections[i].suspended)
				continue;
			waiter_free(&waiters, places[i]);
			places[i] = NULL;
			ck_assert(wait_for(i, i % ACCOUNTS, SECOND, 0));
		}
		epoch_leave(&registry.epoch, 0);
	}
	/* It was told of the last that it had not seen: each of the rest waits for what is there.
	 */
	epoch_enter(&registry.epoch, 0);
	waiters_wake(&waiters, 0);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (connections[i].suspended)
			ck_assert_uint_eq(waiter_exchanges(places[i], NULL),
				atomic_load(&account_at(i % ACCOUNTS)->report)->exchanges);
	epoch_leave(&registry.epoch, 0);
	close_scene();
}
END_TEST

UNIT_MAIN("waiters", wakes_those_who_wait_for_the_account_and_no_others,
	ends_the_wait_with_the_exchange, ends_the_wait_when_its_time_is_over,
	does_not_wait_for_what_has_come_already, wakes_all_when_there_is_a_new_table,
	keeps_the_lists_of_two_tables_apart, lets_so_many_wait_and_no_more,
	forgets_one_whose_connection_is_gone, lets_nobody_wait_once_it_is_closed,
	misses_nothing_that_another_thread_publishes)
