/*
 * A clock that only the test moves. Each test program that needs it includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_MOVED_CLOCK_H
#define MRTOKEND_TESTS_UNIT_MOVED_CLOCK_H

#include "base/clock.h"

static int64_t now_ms = 1000;

static inline int64_t moved_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return now_ms;
}

static inline int64_t moved_realtime_s(const struct clock *clock)
{
	(void)clock;
	return 1800000000 + now_ms / 1000;
}

static const struct clock test_clock = {moved_boottime_ms, moved_realtime_s};

#endif
