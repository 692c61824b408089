/*
 * Notice at once when the clock is set, or when the machine has slept: what was to happen meanwhile
 * is due now, not when a wait has run out, which stands still in sleep. The kernel tells both by a
 * timer that it cancels then. Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.
 *
 * All functions belong to the loop's thread; clock_watch_start() may be called before it runs.
 */
#ifndef MRTOKEND_BASE_CLOCK_WATCH_H
#define MRTOKEND_BASE_CLOCK_WATCH_H

#include "base/error.h"
#include "base/loop.h"

#include <stdint.h>

/* The three clocks of the kernel at one moment, in milliseconds. */
struct clock_readings {
	int64_t realtime_ms;
	int64_t boottime_ms;
	int64_t monotonic_ms; /* stands still in sleep */
};

struct clock_change {
	int64_t set_by_ms; /* how far it was set forward; below 0: back */
	int64_t slept_ms;
};

/* What happened between two readings. Pure. */
struct clock_change clock_change_between(
	const struct clock_readings *before, const struct clock_readings *after);

struct clock_watch {
	struct loop *loop;
	struct loop_watch watch;
	struct clock_readings before;
	void (*changed)(void *context, const struct clock_change *change);
	void *context;
};

/*
 * Call `changed` from within loop_run() whenever the clock was set or the machine has slept, even
 * if it is by less than a millisecond.
 *
 * watch    changed and context are set; it stays where it is until clock_watch_stop()
 *
 * Returns 0, or -1 with *err: ERR_SYSTEM.
 */
int clock_watch_start(struct clock_watch *watch, struct loop *loop, struct error *err);

/* Not being started is fine, if it is zeroed. */
void clock_watch_stop(struct clock_watch *watch);

#endif
