#include "base/clock.h"

#include "unit.h"

#include <time.h>

START_TEST(boottime_lies_between_two_readings_of_the_kernels_clock)
{
	struct timespec before;
	struct timespec after;
	ck_assert_int_eq(clock_gettime(CLOCK_BOOTTIME, &before), 0);
	int64_t now = clock_boottime_ms(&clock_system);
	ck_assert_int_eq(clock_gettime(CLOCK_BOOTTIME, &after), 0);
	ck_assert_int_ge(now, (int64_t)before.tv_sec * 1000 + before.tv_nsec / 1000000);
	ck_assert_int_le(now, (int64_t)after.tv_sec * 1000 + after.tv_nsec / 1000000);
}
END_TEST

START_TEST(boottime_never_goes_back)
{
	int64_t last = clock_boottime_ms(&clock_system);
	for (int i = 0; i < 10000; i++) {
		int64_t now = clock_boottime_ms(&clock_system);
		ck_assert_int_ge(now, last);
		last = now;
	}
}
END_TEST

START_TEST(boottime_counts_milliseconds)
{
	int64_t before = clock_boottime_ms(&clock_system);
	struct timespec pause = {.tv_nsec = 20000000};
	while (nanosleep(&pause, &pause) != 0)
		;
	int64_t passed = clock_boottime_ms(&clock_system) - before;
	ck_assert_int_ge(passed, 19);
	ck_assert_int_lt(passed, 60000);
}
END_TEST

START_TEST(realtime_lies_between_two_readings_of_unix_time)
{
	/* time() may lag by a tick behind clock_gettime(). */
	struct timespec before;
	struct timespec after;
	ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &before), 0);
	int64_t now = clock_realtime_s(&clock_system);
	ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &after), 0);
	ck_assert_int_ge(now, before.tv_sec);
	ck_assert_int_le(now, after.tv_sec);
}
END_TEST

/* A clock of a test, as the tests of the scheduler have them. */
struct set_clock {
	struct clock clock;
	int64_t boottime_ms;
	int64_t realtime_s;
};

static int64_t set_boottime_ms(const struct clock *clock)
{
	return ((const struct set_clock *)clock)->boottime_ms;
}

static int64_t set_realtime_s(const struct clock *clock)
{
	return ((const struct set_clock *)clock)->realtime_s;
}

START_TEST(a_test_can_put_its_own_clock_in_place)
{
	struct set_clock first = {{set_boottime_ms, set_realtime_s}, 5, 1700000000};
	struct set_clock second = {{set_boottime_ms, set_realtime_s}, INT64_MAX, INT64_MIN};
	ck_assert_int_eq(clock_boottime_ms(&first.clock), 5);
	ck_assert_int_eq(clock_realtime_s(&first.clock), 1700000000);
	ck_assert_int_eq(clock_boottime_ms(&second.clock), INT64_MAX);
	ck_assert_int_eq(clock_realtime_s(&second.clock), INT64_MIN);
	first.boottime_ms += 1500;
	ck_assert_int_eq(clock_boottime_ms(&first.clock), 1505);
}
END_TEST

UNIT_MAIN("clock", boottime_lies_between_two_readings_of_the_kernels_clock,
	boottime_never_goes_back, boottime_counts_milliseconds,
	realtime_lies_between_two_readings_of_unix_time, a_test_can_put_its_own_clock_in_place)
