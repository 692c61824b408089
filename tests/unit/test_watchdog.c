#include "service/watchdog.h"

#include "files.h"

#include <pthread.h>

#define START_MS INT64_C(7000000)
#define LIMIT_MS INT64_C(8000)

/* ---- what all tests share ----------------------------------------------------------------------
 */

static struct {
	int64_t now_ms;
	unsigned fed;
	unsigned woken[2];
	bool is_stuck[2];
	struct heartbeat beats[2];
	struct watchdog watchdog;
} scene;

static int64_t scene_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return scene.now_ms;
}

static const struct clock scene_clock = {.boottime_ms = scene_boottime_ms};

static void feed(void)
{
	scene.fed++;
}

/* The thread comes round as soon as it is woken, unless it is stuck. */
static void wake(void *context)
{
	size_t i = (size_t)((struct heartbeat *)context - scene.beats);
	scene.woken[i]++;
	if (!scene.is_stuck[i])
		heartbeat_answer(context);
}

static void scene_open(int64_t limit_ms)
{
	struct error err = ERROR_INIT;
	memset(&scene, 0, sizeof(scene));
	scene.now_ms = START_MS;
	ck_assert_int_eq(watchdog_open(&scene.watchdog, &scene_clock, limit_ms, feed, &err), 0);
	for (size_t i = 0; i < UNIT_COUNT(scene.beats); i++) {
		heartbeat_init(
			&scene.beats[i], i == 0 ? "refresh" : "serve", wake, &scene.beats[i]);
		watchdog_watch(&scene.watchdog, &scene.beats[i]);
	}
}

/* What the main thread does at its descriptor's or its timer's word. */
static void go_to(int64_t at_ms)
{
	while (watchdog_due_ms(&scene.watchdog) <= at_ms) {
		if (scene.now_ms < watchdog_due_ms(&scene.watchdog))
			scene.now_ms = watchdog_due_ms(&scene.watchdog);
		watchdog_turn(&scene.watchdog);
	}
	scene.now_ms = at_ms;
	watchdog_turn(&scene.watchdog);
}

static void let_go(size_t i)
{
	scene.is_stuck[i] = false;
	heartbeat_answer(&scene.beats[i]);
	watchdog_turn(&scene.watchdog);
}

static unsigned count_of(const char *text, const char *part)
{
	unsigned count = 0;
	for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
		count++;
	return count;
}

/* ---- all goes on -------------------------------------------------------------------------------
 */

START_TEST(is_fed_at_half_of_its_time)
{
	scene_open(LIMIT_MS);
	capture_begin();
	for (int i = 0; i < 100; i++) {
		go_to(START_MS + i * LIMIT_MS / 2);
		ck_assert_uint_eq(scene.fed, (unsigned)i + 1);
		go_to(START_MS + (i + 1) * LIMIT_MS / 2 - 1);
		ck_assert_uint_eq(scene.fed, (unsigned)i + 1);
	}
	/* One question a feeding, and no other wake-up. */
	ck_assert_uint_eq(scene.woken[0], 100);
	ck_assert_uint_eq(scene.woken[1], 100);
	ck_assert_str_eq(capture_end(), "");
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(does_nothing_where_there_is_none)
{
	scene_open(0);
	ck_assert_int_eq(watchdog_due_ms(&scene.watchdog), INT64_MAX);
	ck_assert_int_eq(scene.watchdog.fd, -1);
	scene.now_ms += 1000000;
	watchdog_turn(&scene.watchdog);
	ck_assert_uint_eq(scene.fed + scene.woken[0] + scene.woken[1], 0);
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(the_shortest_time_is_no_loop)
{
	scene_open(1);
	go_to(START_MS + 1000);
	ck_assert_uint_le(scene.fed, 1001);
	ck_assert_uint_ge(scene.fed, 500);
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(turns_without_a_reason_change_nothing)
{
	scene_open(LIMIT_MS);
	go_to(START_MS);
	for (int i = 0; i < 1000; i++)
		watchdog_turn(&scene.watchdog);
	ck_assert_uint_eq(scene.fed, 1);
	ck_assert_uint_eq(scene.woken[0], 1);
	watchdog_close(&scene.watchdog);
}
END_TEST

/* ---- a thread does not answer ------------------------------------------------------------------
 */

START_TEST(is_never_fed_while_a_thread_hangs_which_is_told_once)
{
	for (size_t i = 0; i < UNIT_COUNT(scene.beats); i++) {
		scene_open(LIMIT_MS);
		go_to(START_MS);
		scene.is_stuck[i] = true;
		capture_begin();
		/* Asked at half of the time, told at three quarters. */
		go_to(START_MS + LIMIT_MS * 3 / 4 - 1);
		ck_assert_str_eq(capture_end(), "");
		capture_begin();
		go_to(START_MS + 10 * LIMIT_MS);
		const char *text = capture_end();
		char expected[64];
		snprintf(expected, sizeof(expected),
			"error: the thread '%s' hangs: ", scene.beats[i].thread);
		ck_assert_msg(strstr(text, expected) != NULL, "%s", text);
		ck_assert_ptr_nonnull(strstr(text, "not answered for 2.0 s"));
		ck_assert_ptr_nonnull(strstr(text, "in about 2.0 s"));
		ck_assert_uint_eq(count_of(text, "\n"), 1);
		ck_assert_uint_eq(scene.fed, 1);
		watchdog_close(&scene.watchdog);
	}
}
END_TEST

START_TEST(tells_of_each_thread_that_hangs)
{
	scene_open(LIMIT_MS);
	scene.is_stuck[0] = scene.is_stuck[1] = true;
	capture_begin();
	go_to(START_MS + LIMIT_MS);
	const char *text = capture_end();
	ck_assert_uint_eq(count_of(text, "the thread 'refresh' hangs"), 1);
	ck_assert_uint_eq(count_of(text, "the thread 'serve' hangs"), 1);
	ck_assert_uint_eq(scene.fed, 0);
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(a_slow_thread_is_fed_for_as_soon_as_it_answers)
{
	scene_open(LIMIT_MS);
	go_to(START_MS);
	scene.is_stuck[0] = true;
	capture_begin();
	go_to(START_MS + LIMIT_MS * 3 / 4 - 1);
	ck_assert_uint_eq(scene.fed, 1);
	let_go(0);
	ck_assert_uint_eq(scene.fed, 2);
	ck_assert_str_eq(capture_end(), "");
	/* And the pace is as before. */
	go_to(START_MS + LIMIT_MS - 1);
	ck_assert_uint_eq(scene.fed, 2);
	go_to(START_MS + LIMIT_MS);
	ck_assert_uint_eq(scene.fed, 3);
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(one_that_comes_back_is_told_and_fed_for)
{
	scene_open(LIMIT_MS);
	go_to(START_MS);
	scene.is_stuck[1] = true;
	go_to(START_MS + LIMIT_MS - 100);
	capture_begin();
	let_go(1);
	const char *text = capture_end();
	ck_assert_ptr_nonnull(strstr(text, "notice: the thread 'serve' goes on, after 3.9 s"));
	ck_assert_uint_eq(scene.fed, 2);
	capture_begin();
	go_to(START_MS + 4 * LIMIT_MS);
	ck_assert_str_eq(capture_end(), "");
	ck_assert_uint_eq(scene.fed, 9);
	/* The next time it is told again. */
	scene.is_stuck[1] = true;
	capture_begin();
	go_to(START_MS + 5 * LIMIT_MS);
	ck_assert_uint_eq(count_of(capture_end(), "hangs"), 1);
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(an_answer_makes_the_descriptor_readable)
{
	uint64_t count = 0;
	scene_open(LIMIT_MS);
	scene.is_stuck[0] = scene.is_stuck[1] = true;
	watchdog_turn(&scene.watchdog);
	ck_assert_int_lt(read(scene.watchdog.fd, &count, sizeof(count)), 0);
	heartbeat_answer(&scene.beats[0]);
	ck_assert_int_eq(read(scene.watchdog.fd, &count, sizeof(count)), sizeof(count));
	/* Once a question. */
	heartbeat_answer(&scene.beats[0]);
	ck_assert_int_lt(read(scene.watchdog.fd, &count, sizeof(count)), 0);
	watchdog_close(&scene.watchdog);
}
END_TEST

START_TEST(a_process_that_stood_still_is_no_thread_that_hangs)
{
	scene_open(LIMIT_MS);
	go_to(START_MS);
	/* Stopped between a question and its answer, for an hour. */
	scene.is_stuck[0] = true;
	scene.now_ms = watchdog_due_ms(&scene.watchdog);
	watchdog_turn(&scene.watchdog);
	scene.now_ms += 3600000;
	capture_begin();
	watchdog_turn(&scene.watchdog);
	let_go(0);
	ck_assert_str_eq(capture_end(), "");
	ck_assert_uint_eq(scene.fed, 2);
	/* But one that hangs since is found. */
	scene.is_stuck[0] = true;
	capture_begin();
	go_to(scene.now_ms + LIMIT_MS);
	ck_assert_uint_eq(count_of(capture_end(), "hangs"), 1);
	watchdog_close(&scene.watchdog);
}
END_TEST

/* ---- real threads ------------------------------------------------------------------------------
 */

struct worker {
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	bool is_woken;
	bool wants_stop;
	struct heartbeat beat;
};

static void worker_wake(void *context)
{
	struct worker *worker = context;
	pthread_mutex_lock(&worker->lock);
	worker->is_woken = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

static void *worker_main(void *context)
{
	struct worker *worker = context;
	bool goes_on = true;
	while (goes_on) {
		heartbeat_answer(&worker->beat);
		pthread_mutex_lock(&worker->lock);
		while (!worker->is_woken)
			pthread_cond_wait(&worker->changed, &worker->lock);
		worker->is_woken = false;
		goes_on = !worker->wants_stop;
		pthread_mutex_unlock(&worker->lock);
	}
	return NULL;
}

START_TEST(an_idle_thread_answers_each_question)
{
	struct worker worker = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	struct watchdog watchdog;
	struct error err = ERROR_INIT;
	pthread_t thread;
	memset(&scene, 0, sizeof(scene));
	heartbeat_init(&worker.beat, "idle", worker_wake, &worker);
	ck_assert_int_eq(pthread_create(&thread, NULL, worker_main, &worker), 0);
	ck_assert_int_eq(watchdog_open(&watchdog, &scene_clock, LIMIT_MS, feed, &err), 0);
	watchdog_watch(&watchdog, &worker.beat);
	for (unsigned i = 0; i < 2000; i++) {
		scene.now_ms = watchdog_due_ms(&watchdog);
		watchdog_turn(&watchdog); /* asks */
		while (scene.fed == i)
			watchdog_turn(&watchdog);
		ck_assert_uint_eq(scene.fed, i + 1);
	}
	pthread_mutex_lock(&worker.lock);
	worker.wants_stop = true;
	pthread_mutex_unlock(&worker.lock);
	worker_wake(&worker);
	pthread_join(thread, NULL);
	watchdog_close(&watchdog);
}
END_TEST

UNIT_MAIN("watchdog", is_fed_at_half_of_its_time, does_nothing_where_there_is_none,
	the_shortest_time_is_no_loop, turns_without_a_reason_change_nothing,
	is_never_fed_while_a_thread_hangs_which_is_told_once, tells_of_each_thread_that_hangs,
	a_slow_thread_is_fed_for_as_soon_as_it_answers, one_that_comes_back_is_told_and_fed_for,
	an_answer_makes_the_descriptor_readable, a_process_that_stood_still_is_no_thread_that_hangs,
	an_idle_thread_answers_each_question)
