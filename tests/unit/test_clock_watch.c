#include "base/clock_watch.h"

#include "unit.h"

#include <unistd.h>

static const struct clock_readings before = {
	.realtime_ms = INT64_C(1709251200000), .boottime_ms = 90000, .monotonic_ms = 50000};

static struct clock_change change_after(int64_t real_ms, int64_t boot_ms, int64_t monotonic_ms)
{
	const struct clock_readings after = {
		.realtime_ms = before.realtime_ms + real_ms,
		.boottime_ms = before.boottime_ms + boot_ms,
		.monotonic_ms = before.monotonic_ms + monotonic_ms,
	};
	return clock_change_between(&before, &after);
}

static void assert_change(struct clock_change change, int64_t set_by_ms, int64_t slept_ms)
{
	ck_assert_int_eq(change.set_by_ms, set_by_ms);
	ck_assert_int_eq(change.slept_ms, slept_ms);
}

START_TEST(time_that_passes_is_no_change)
{
	assert_change(change_after(3600000, 3600000, 3600000), 0, 0);
}
END_TEST

START_TEST(tells_by_how_much_the_clock_was_set)
{
	assert_change(change_after(86400000 + 10, 10, 10), 86400000, 0);
	assert_change(change_after(-86400000 + 10, 10, 10), -86400000, 0);
}
END_TEST

START_TEST(tells_how_long_the_machine_slept)
{
	assert_change(change_after(28800010, 28800010, 10), 0, 28800000);
}
END_TEST

START_TEST(tells_both_when_the_clock_is_wrong_after_a_sleep)
{
	assert_change(change_after(10, 28800010, 10), -28800000, 28800000);
}
END_TEST

static void never(void *context, const struct clock_change *change)
{
	(void)change;
	++*(int *)context;
}

START_TEST(is_quiet_while_nobody_sets_the_clock_and_stops)
{
	struct error err = ERROR_INIT;
	int calls = 0;
	struct loop *loop = loop_new(&clock_system, &err);
	ck_assert_ptr_nonnull(loop);
	struct clock_watch watch = {.changed = never, .context = &calls};
	ck_assert_msg(clock_watch_start(&watch, loop, &err) == 0, "%s", err.message);
	int fd = watch.watch.fd;
	loop_run(loop, 20);
	ck_assert_int_eq(calls, 0);
	clock_watch_stop(&watch);
	clock_watch_stop(&watch);
	ck_assert_int_eq(close(fd), -1);
	loop_free(loop);
}
END_TEST

UNIT_MAIN("clock_watch", time_that_passes_is_no_change, tells_by_how_much_the_clock_was_set,
	tells_how_long_the_machine_slept, tells_both_when_the_clock_is_wrong_after_a_sleep,
	is_quiet_while_nobody_sets_the_clock_and_stops)
