#include "base/clock.h"

#include <time.h>

static int64_t system_boottime_ms(const struct clock *clock)
{
	(void)clock;
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_realtime_s(const struct clock *clock)
{
	(void)clock;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

const struct clock clock_system = {
	.boottime_ms = system_boottime_ms,
	.realtime_s = system_realtime_s,
};
