/*
 * The service manager's watchdog (WatchdogSec=, sd_watchdog_enabled(3)). At half of its time the
 * main thread asks every watched thread for a sign of life, and feeds it when all have given one. A
 * thread that does not is named in the log, and nobody is fed: the service manager then aborts the
 * process and starts it again.
 *
 * The main thread. Times are of CLOCK_BOOTTIME; a process that was stopped or a machine that slept
 * is told from a thread that hangs by the main thread's own lateness.
 */
#ifndef MRTOKEND_SERVICE_WATCHDOG_H
#define MRTOKEND_SERVICE_WATCHDOG_H

#include "base/clock.h"
#include "base/error.h"
#include "base/heartbeat.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WATCHDOG_THREADS_MAX 16

struct watchdog_thread {
	struct heartbeat *heartbeat;
	bool is_told; /* that it hangs */
};

struct watchdog {
	const struct clock *clock;
	void (*feed)(void);
	int64_t limit_ms; /* without being fed for so long, the service manager ends us; 0: never */
	int fd; /* readable when there is an answer: watchdog_turn() then */
	struct watchdog_thread threads[WATCHDOG_THREADS_MAX];
	size_t thread_count;
	bool is_asking;
	int64_t asked_ms;
	int64_t due_ms; /* when watchdog_turn() has something to do without an answer */
};

/*
 * limit_ms  the service manager's: service_watchdog_ms(); 0 makes a watchdog that does nothing
 * feed      what tells the service manager: service_feed_watchdog()
 * Returns 0, or -1 with *err. Free it by watchdog_close().
 */
int watchdog_open(struct watchdog *watchdog, const struct clock *clock, int64_t limit_ms,
	void (*feed)(void), struct error *err);

/* The watched threads may go on or have ended; they are not asked any more. */
void watchdog_close(struct watchdog *watchdog);

/* Watch a thread; more than there is room for are not watched. */
void watchdog_watch(struct watchdog *watchdog, struct heartbeat *heartbeat);

/* When watchdog_turn() must be called at the latest: CLOCK_BOOTTIME, or INT64_MAX. */
int64_t watchdog_due_ms(const struct watchdog *watchdog);

/* Ask, feed or complain, as the time is. May be called at any time. Never waits. */
void watchdog_turn(struct watchdog *watchdog);

#endif
