/*
 * The event loop of the refresh thread: requests on their way, timers, and descriptors of helpers.
 * Whatever is asked of something that runs on a loop is answered from within loop_run(), never
 * before the question has returned.
 *
 * All functions belong to the loop's thread, but for loop_new(), loop_free() and loop_wake().
 */
#ifndef MRTOKEND_BASE_LOOP_H
#define MRTOKEND_BASE_LOOP_H

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"

#include <poll.h>
#include <stdint.h>

struct http_client;
struct loop;

/* Embedded in whatever waits for a time. Zeroed: not set. */
struct loop_timer {
	struct heap_node node;
	void (*fire)(void *context);
	void *context;
};

/* Embedded in whatever waits for a descriptor. Zeroed: not watched. */
struct loop_watch {
	struct loop_watch *next;
	struct loop_watch *previous;
	int fd;
	short events; /* POLLIN or POLLOUT */
	short revents;
	void (*ready)(void *context);
	void *context;
};

/*
 * Returns a loop with an HTTP client of its own, or NULL with *err.
 * clock  lives as long as the loop
 */
struct loop *loop_new(const struct clock *clock, struct error *err);

/* Ends every request without calling back; timers and watches are forgotten. NULL is fine. */
void loop_free(struct loop *loop);

struct http_client *loop_http(const struct loop *loop);
const struct clock *loop_clock(const struct loop *loop);

/* CLOCK_BOOTTIME in milliseconds. */
int64_t loop_now_ms(const struct loop *loop);

/*
 * Call `fire` at `due_ms`, or as soon as the loop runs if that is past; a timer that is set is
 * moved. Returns 0, or -1 when there is no memory, and then it is as it was.
 */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_ms);

/* It will not fire. Not being set is fine. */
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Call `ready` whenever the descriptor has one of `events`, or an error. */
void loop_watch_start(struct loop *loop, struct loop_watch *watch);

/* Not being watched is fine. */
void loop_watch_stop(struct loop *loop, struct loop_watch *watch);

/* Wait for at most `most_ms` for something to happen, or a wake-up, and deal with it. */
void loop_run(struct loop *loop, int64_t most_ms);

/* Make a loop_run() in another thread return early; it may be the next one. Any thread. */
void loop_wake(struct loop *loop);

#endif
