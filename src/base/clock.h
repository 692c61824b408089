/*
 * Time. What schedules runs on CLOCK_BOOTTIME, which counts through suspend and knows no steps;
 * what is told to people and compared with tokens is Unix time. Tests put their own clock in its
 * place.
 */
#ifndef MRTOKEND_BASE_CLOCK_H
#define MRTOKEND_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	/* Milliseconds since boot, suspend included. Any thread. */
	int64_t (*boottime_ms)(const struct clock *clock);
	/* Unix time in seconds, as this host believes. Any thread. */
	int64_t (*realtime_s)(const struct clock *clock);
};

/* The host's clocks. Both are read through the vDSO, without a system call. */
extern const struct clock clock_system;

static inline int64_t clock_boottime_ms(const struct clock *clock)
{
	return clock->boottime_ms(clock);
}

static inline int64_t clock_realtime_s(const struct clock *clock)
{
	return clock->realtime_s(clock);
}

#endif
