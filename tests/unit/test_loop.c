#include "base/loop.h"

#include "base/http_client.h"
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>

/* ---- a clock that the test moves ---------------------------------------------------------------
 */

static int64_t now_ms = 1000;

static int64_t told_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return now_ms;
}

static int64_t told_realtime_s(const struct clock *clock)
{
	(void)clock;
	return 0;
}

static const struct clock told_clock = {told_boottime_ms, told_realtime_s};

static struct loop *make_loop(const struct clock *clock)
{
	struct error err = ERROR_INIT;
	struct loop *loop = loop_new(clock, &err);
	ck_assert_msg(loop != NULL, "%s", err.message);
	return loop;
}

/* The host's own time, whatever the loop believes. */
static int64_t time_ms(void)
{
	return clock_boottime_ms(&clock_system);
}

/* ---- timers ------------------------------------------------------------------------------------
 */

struct alarm {
	struct loop_timer timer;
	struct loop *loop;
	int fired;
	int order; /* when it fired, among all */
	int64_t sets_again_at_ms; /* 0: not */
	struct alarm *cancels; /* NULL: none */
};

static int fired_ever;

static void on_alarm(void *context)
{
	struct alarm *alarm = context;
	alarm->fired++;
	alarm->order = ++fired_ever;
	if (alarm->sets_again_at_ms != 0)
		ck_assert_int_eq(
			loop_timer_set(alarm->loop, &alarm->timer, alarm->sets_again_at_ms), 0);
	if (alarm->cancels != NULL)
		loop_timer_cancel(alarm->loop, &alarm->cancels->timer);
}

static void set_alarm(struct loop *loop, struct alarm *alarm, int64_t due_ms)
{
	alarm->loop = loop;
	alarm->timer.fire = on_alarm;
	alarm->timer.context = alarm;
	ck_assert_int_eq(loop_timer_set(loop, &alarm->timer, due_ms), 0);
}

START_TEST(fires_what_is_due_in_the_order_of_the_times)
{
	static const int64_t dues_ms[] = {1500, 1100, 3000, 0, 1400, -5, 2001, 2000};
	static const int orders[] = {5, 3, 0, 2, 4, 1, 0, 6};
	struct alarm alarms[UNIT_COUNT(dues_ms)] = {0};
	struct loop *loop = make_loop(&told_clock);
	for (size_t i = 0; i < UNIT_COUNT(alarms); i++)
		set_alarm(loop, &alarms[i], dues_ms[i]);
	now_ms = 2000;
	loop_run(loop, 0);
	for (size_t i = 0; i < UNIT_COUNT(alarms); i++)
		ck_assert_msg(alarms[i].order == orders[i] && alarms[i].fired == (orders[i] > 0),
			"%zu: %d", i, alarms[i].order);
	now_ms = 3000;
	loop_run(loop, 0);
	ck_assert_int_eq(alarms[6].order, 7);
	ck_assert_int_eq(alarms[2].order, 8);
	loop_free(loop);
}
END_TEST

START_TEST(fires_a_timer_once_each_time_it_is_set)
{
	struct alarm alarm = {0};
	struct loop *loop = make_loop(&told_clock);
	for (int times = 1; times < 4; times++) {
		set_alarm(loop, &alarm, 0);
		for (int round = 0; round < 3; round++)
			loop_run(loop, 0);
		ck_assert_int_eq(alarm.fired, times);
	}
	loop_free(loop);
}
END_TEST

START_TEST(moves_a_timer_that_is_set)
{
	struct alarm later = {0};
	struct alarm sooner = {0};
	struct loop *loop = make_loop(&told_clock);
	set_alarm(loop, &later, 1100);
	set_alarm(loop, &sooner, 9000);
	set_alarm(loop, &later, 9000);
	set_alarm(loop, &sooner, 1100);
	now_ms = 1100;
	loop_run(loop, 0);
	ck_assert_int_eq(later.fired, 0);
	ck_assert_int_eq(sooner.fired, 1);
	loop_free(loop);
}
END_TEST

START_TEST(does_not_fire_what_was_cancelled)
{
	struct alarm never_set = {0};
	struct alarm first = {0};
	struct alarm second = {0};
	struct alarm third = {0};
	struct loop *loop = make_loop(&told_clock);
	loop_timer_cancel(loop, &never_set.timer);
	set_alarm(loop, &first, 0);
	set_alarm(loop, &second, 1);
	set_alarm(loop, &third, 2);
	loop_timer_cancel(loop, &first.timer);
	loop_timer_cancel(loop, &first.timer);
	second.cancels = &third; /* which is due too */
	loop_run(loop, 0);
	loop_run(loop, 0);
	ck_assert_int_eq(first.fired, 0);
	ck_assert_int_eq(second.fired, 1);
	ck_assert_int_eq(third.fired, 0);
	loop_free(loop);
}
END_TEST

START_TEST(leaves_what_is_set_while_it_fires_for_the_next_round)
{
	struct alarm alarm = {.sets_again_at_ms = -1};
	struct loop *loop = make_loop(&told_clock);
	set_alarm(loop, &alarm, 0);
	for (int round = 1; round < 100; round++) {
		loop_run(loop, 60000); /* and it does not wait for it either */
		ck_assert_int_eq(alarm.fired, round);
	}
	loop_free(loop);
}
END_TEST

static void free_on_alarm(void *context)
{
	struct alarm *alarm = context;
	fired_ever++;
	free(alarm);
}

START_TEST(lets_a_timer_be_freed_by_what_it_calls)
{
	struct loop *loop = make_loop(&told_clock);
	for (int i = 0; i < 20; i++) {
		struct alarm *alarm = calloc(1, sizeof(*alarm));
		set_alarm(loop, alarm, i);
		alarm->timer.fire = free_on_alarm;
	}
	loop_run(loop, 0);
	ck_assert_int_eq(fired_ever, 20);
	loop_free(loop);
}
END_TEST

START_TEST(waits_for_the_first_timer_and_no_longer)
{
	struct alarm alarm = {0};
	struct alarm far = {0};
	struct loop *loop = make_loop(&clock_system);
	int64_t start_ms = time_ms();
	set_alarm(loop, &alarm, start_ms + 40);
	set_alarm(loop, &far, INT64_MAX);
	while (alarm.fired == 0)
		loop_run(loop, INT64_MAX);
	ck_assert_int_ge(time_ms(), start_ms + 40);
	ck_assert_int_lt(time_ms(), start_ms + 20000);
	ck_assert_int_eq(far.fired, 0);
	loop_free(loop);
}
END_TEST

START_TEST(waits_no_longer_than_it_is_told)
{
	struct loop *loop = make_loop(&clock_system);
	int64_t start_ms = time_ms();
	loop_run(loop, 30);
	ck_assert_int_ge(time_ms(), start_ms + 29);
	ck_assert_int_lt(time_ms(), start_ms + 20000);
	loop_free(loop);
}
END_TEST

static void set_without_memory(void *context)
{
	struct loop *loop = context;
	static struct alarm alarms[10000];
	size_t count = 0;
	unit_exhaust_memory();
	while (count < UNIT_COUNT(alarms) &&
		loop_timer_set(loop, &alarms[count].timer, (int64_t)count) == 0)
		count++;
	/* What is set can still be moved, and what is not set stays so. */
	if (count == UNIT_COUNT(alarms) || (count > 0 && loop_timer_set(loop, &alarms[0].timer, 5)))
		_exit(1);
	loop_timer_cancel(loop, &alarms[count].timer);
}

START_TEST(tells_that_there_is_no_memory_for_a_timer)
{
	struct loop *loop = make_loop(&told_clock);
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(set_without_memory, loop), 0);
	loop_free(loop);
}
END_TEST

/* ---- descriptors -------------------------------------------------------------------------------
 */

struct eye {
	struct loop_watch watch;
	struct loop *loop;
	int pipe[2]; /* its reading end is watched, or its writing end */
	int ready;
	short revents;
	struct eye *stops; /* NULL: none */
	bool frees;
	struct eye *starts; /* NULL: none */
};

static void on_ready(void *context)
{
	struct eye *eye = context;
	eye->ready++;
	eye->revents = eye->watch.revents;
	if (eye->stops != NULL) {
		struct eye *stopped = eye->stops;
		loop_watch_stop(eye->loop, &stopped->watch);
		if (eye->frees)
			free(stopped);
	}
	if (eye->starts != NULL)
		loop_watch_start(eye->loop, &eye->starts->watch);
}

static void open_eye(struct loop *loop, struct eye *eye, short events)
{
	*eye = (struct eye){.loop = loop};
	ck_assert_int_eq(pipe2(eye->pipe, O_CLOEXEC | O_NONBLOCK), 0);
	eye->watch.fd = eye->pipe[events == POLLIN ? 0 : 1];
	eye->watch.events = events;
	eye->watch.ready = on_ready;
	eye->watch.context = eye;
}

static void close_end(struct eye *eye, int end)
{
	if (eye->pipe[end] >= 0)
		close(eye->pipe[end]);
	eye->pipe[end] = -1;
}

static void close_eye(struct eye *eye)
{
	loop_watch_stop(eye->loop, &eye->watch);
	close_end(eye, 0);
	close_end(eye, 1);
}

static void write_to(const struct eye *eye)
{
	ck_assert_int_eq(write(eye->pipe[1], "x", 1), 1);
}

START_TEST(tells_that_something_can_be_read_as_long_as_it_can)
{
	struct eye eye;
	char byte;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &eye, POLLIN);
	loop_watch_start(loop, &eye.watch);
	loop_run(loop, 0);
	ck_assert_int_eq(eye.ready, 0);
	write_to(&eye);
	loop_run(loop, 60000);
	ck_assert_int_eq(eye.ready, 1);
	ck_assert_int_eq(eye.revents, POLLIN);
	loop_run(loop, 60000); /* it was not read */
	ck_assert_int_eq(eye.ready, 2);
	ck_assert_int_eq(read(eye.pipe[0], &byte, 1), 1);
	loop_run(loop, 0);
	ck_assert_int_eq(eye.ready, 2);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

START_TEST(tells_that_something_can_be_written)
{
	struct eye eye;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &eye, POLLOUT);
	loop_watch_start(loop, &eye.watch);
	loop_run(loop, 60000);
	ck_assert_int_eq(eye.ready, 1);
	ck_assert_int_eq(eye.revents, POLLOUT);
	while (write(eye.pipe[1], "0123456789abcdef", 16) > 0)
		;
	loop_run(loop, 0);
	ck_assert_int_eq(eye.ready, 1);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

START_TEST(tells_of_a_hang_up)
{
	struct eye reading;
	struct eye writing;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &reading, POLLIN);
	loop_watch_start(loop, &reading.watch);
	close_end(&reading, 1); /* without a byte */
	while (reading.ready == 0)
		loop_run(loop, 100);
	ck_assert(reading.revents & POLLHUP);
	close_eye(&reading);
	open_eye(loop, &writing, POLLOUT);
	loop_watch_start(loop, &writing.watch);
	close_end(&writing, 0);
	while (writing.ready == 0)
		loop_run(loop, 100);
	ck_assert(writing.revents & POLLERR);
	close_eye(&writing);
	loop_free(loop);
}
END_TEST

START_TEST(wakes_up_for_a_hang_up)
{
	struct eye eye;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &eye, POLLIN);
	loop_watch_start(loop, &eye.watch);
	close_end(&eye, 1);
	int64_t start_ms = time_ms();
	loop_run(loop, 60000);
	ck_assert_int_eq(eye.ready, 1);
	ck_assert_int_lt(time_ms(), start_ms + 20000);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

START_TEST(tells_of_a_descriptor_that_is_closed)
{
	struct eye eye;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &eye, POLLIN);
	loop_watch_start(loop, &eye.watch);
	close_end(&eye, 0);
	loop_run(loop, 0);
	ck_assert_int_eq(eye.ready, 1);
	ck_assert(eye.revents & POLLNVAL);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

START_TEST(does_not_call_what_was_stopped)
{
	struct eye eye;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &eye, POLLIN);
	write_to(&eye);
	loop_watch_stop(loop, &eye.watch); /* it was never started */
	loop_watch_start(loop, &eye.watch);
	loop_watch_stop(loop, &eye.watch);
	loop_watch_stop(loop, &eye.watch);
	loop_run(loop, 0);
	ck_assert_int_eq(eye.ready, 0);
	/* And when it is started again, it is as before. */
	loop_watch_start(loop, &eye.watch);
	loop_run(loop, 60000);
	ck_assert_int_eq(eye.ready, 1);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

START_TEST(does_not_call_what_another_one_stopped_in_the_same_round)
{
	struct eye one;
	struct eye other;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &one, POLLIN);
	open_eye(loop, &other, POLLIN);
	write_to(&one);
	write_to(&other);
	one.stops = &other;
	other.stops = &one;
	loop_watch_start(loop, &one.watch);
	loop_watch_start(loop, &other.watch);
	loop_run(loop, 60000);
	ck_assert_int_eq(one.ready + other.ready, 1);
	close_eye(&one);
	close_eye(&other);
	loop_free(loop);
}
END_TEST

START_TEST(lets_one_free_another_that_is_ready_too)
{
	struct loop *loop = make_loop(&clock_system);
	struct eye *eyes[2] = {calloc(1, sizeof(struct eye)), calloc(1, sizeof(struct eye))};
	int ends[4];
	for (int i = 0; i < 2; i++) {
		open_eye(loop, eyes[i], POLLIN);
		memcpy(&ends[2 * i], eyes[i]->pipe, sizeof(eyes[i]->pipe));
		write_to(eyes[i]);
		loop_watch_start(loop, &eyes[i]->watch);
	}
	/* Whichever is called first, the other one is gone. */
	for (int i = 0; i < 2; i++) {
		eyes[i]->stops = eyes[1 - i];
		eyes[i]->frees = true;
	}
	/* Which one is left is told by the loop alone: the last that was started is first. */
	loop_run(loop, 60000);
	ck_assert_int_eq(eyes[1]->ready, 1);
	loop_watch_stop(loop, &eyes[1]->watch);
	free(eyes[1]);
	for (int i = 0; i < 4; i++)
		close(ends[i]);
	loop_free(loop);
}
END_TEST

START_TEST(lets_one_stop_itself)
{
	struct eye eye;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &eye, POLLIN);
	eye.stops = &eye;
	write_to(&eye);
	loop_watch_start(loop, &eye.watch);
	for (int round = 0; round < 3; round++)
		loop_run(loop, 0);
	ck_assert_int_eq(eye.ready, 1);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

START_TEST(looks_at_what_is_started_while_it_calls_in_the_next_round)
{
	struct eye first;
	struct eye second;
	struct loop *loop = make_loop(&clock_system);
	open_eye(loop, &first, POLLIN);
	open_eye(loop, &second, POLLIN);
	write_to(&first);
	write_to(&second);
	first.starts = &second;
	loop_watch_start(loop, &first.watch);
	loop_run(loop, 60000);
	ck_assert_int_eq(first.ready, 1);
	ck_assert_int_eq(second.ready, 0);
	first.starts = NULL;
	loop_run(loop, 60000);
	ck_assert_int_eq(second.ready, 1);
	close_eye(&first);
	close_eye(&second);
	loop_free(loop);
}
END_TEST

#define MANY 200

START_TEST(looks_at_many)
{
	static struct eye eyes[MANY];
	struct loop *loop = make_loop(&clock_system);
	for (int i = 0; i < MANY; i++) {
		open_eye(loop, &eyes[i], POLLIN);
		loop_watch_start(loop, &eyes[i].watch);
		loop_run(loop, 0);
	}
	for (int i = 0; i < MANY; i += 3)
		write_to(&eyes[i]);
	loop_run(loop, 60000);
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(eyes[i].ready, i % 3 == 0);
	for (int i = 0; i < MANY; i += 2)
		close_eye(&eyes[i]);
	loop_run(loop, 0);
	for (int i = 1; i < MANY; i += 2) {
		ck_assert_int_eq(eyes[i].ready, i % 3 == 0 ? 2 : 0);
		close_eye(&eyes[i]);
	}
	loop_free(loop);
}
END_TEST

START_TEST(does_timers_and_descriptors_in_one_round)
{
	struct eye eye;
	struct alarm alarm = {0};
	struct loop *loop = make_loop(&told_clock);
	open_eye(loop, &eye, POLLIN);
	write_to(&eye);
	loop_watch_start(loop, &eye.watch);
	set_alarm(loop, &alarm, now_ms);
	loop_run(loop, 60000);
	ck_assert_int_eq(eye.ready, 1);
	ck_assert_int_eq(alarm.fired, 1);
	close_eye(&eye);
	loop_free(loop);
}
END_TEST

/* ---- wake-ups, and the end ---------------------------------------------------------------------
 */

static void *wake_loop(void *context)
{
	/* Most likely it waits by now; if not, the wake-up is for its next round. */
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	loop_wake(context);
	return NULL;
}

START_TEST(is_woken_from_another_thread)
{
	pthread_t thread;
	struct loop *loop = make_loop(&clock_system);
	int64_t start_ms = time_ms();
	ck_assert_int_eq(pthread_create(&thread, NULL, wake_loop, loop), 0);
	loop_run(loop, 60000);
	ck_assert_int_lt(time_ms(), start_ms + 20000);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	loop_free(loop);
}
END_TEST

START_TEST(keeps_a_wake_up_for_the_next_round)
{
	struct loop *loop = make_loop(&clock_system);
	int64_t start_ms = time_ms();
	loop_wake(loop);
	loop_wake(loop);
	loop_run(loop, 60000);
	ck_assert_int_lt(time_ms(), start_ms + 20000);
	loop_free(loop);
}
END_TEST

static void never_called(void *context, struct http_response *response, const struct error *err)
{
	(void)response;
	(void)err;
	++*(int *)context;
}

START_TEST(forgets_everything_when_it_is_freed)
{
	/* A port of this host that nobody reads from: the answer never comes. */
	static const struct http_request request = {.url = "https://127.0.0.1:9/", .body_max = 1};
	struct alarm alarm = {0};
	struct error err = ERROR_INIT;
	struct eye eye;
	int calls = 0;
	struct loop *loop = make_loop(&told_clock);
	open_eye(loop, &eye, POLLIN);
	write_to(&eye);
	loop_watch_start(loop, &eye.watch);
	set_alarm(loop, &alarm, 0);
	ck_assert_ptr_nonnull(
		http_client_send(loop_http(loop), &request, never_called, &calls, &err));
	loop_free(loop);
	ck_assert_int_eq(alarm.fired + eye.ready + calls, 0);
	close_end(&eye, 0);
	close_end(&eye, 1);
	loop_free(NULL);
}
END_TEST

START_TEST(tells_its_clock_and_its_time)
{
	struct loop *loop = make_loop(&told_clock);
	ck_assert_ptr_eq(loop_clock(loop), &told_clock);
	now_ms = 4711;
	ck_assert_int_eq(loop_now_ms(loop), 4711);
	ck_assert_ptr_nonnull(loop_http(loop));
	loop_free(loop);
}
END_TEST

UNIT_MAIN("loop", fires_what_is_due_in_the_order_of_the_times,
	fires_a_timer_once_each_time_it_is_set, moves_a_timer_that_is_set,
	does_not_fire_what_was_cancelled, leaves_what_is_set_while_it_fires_for_the_next_round,
	lets_a_timer_be_freed_by_what_it_calls, waits_for_the_first_timer_and_no_longer,
	waits_no_longer_than_it_is_told, tells_that_there_is_no_memory_for_a_timer,
	tells_that_something_can_be_read_as_long_as_it_can, tells_that_something_can_be_written,
	tells_of_a_hang_up, wakes_up_for_a_hang_up, tells_of_a_descriptor_that_is_closed,
	does_not_call_what_was_stopped, does_not_call_what_another_one_stopped_in_the_same_round,
	lets_one_free_another_that_is_ready_too, lets_one_stop_itself,
	looks_at_what_is_started_while_it_calls_in_the_next_round, looks_at_many,
	does_timers_and_descriptors_in_one_round, is_woken_from_another_thread,
	keeps_a_wake_up_for_the_next_round, forgets_everything_when_it_is_freed,
	tells_its_clock_and_its_time)
