#include "service/watchdog.h"

#include "base/log.h"
#include "base/message_id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

int watchdog_open(struct watchdog *watchdog, const struct clock *clock, int64_t limit_ms,
	void (*feed)(void), struct error *err)
{
	*watchdog = (struct watchdog){.clock = clock, .feed = feed, .fd = -1};
	if (limit_ms <= 0)
		return 0;
	watchdog->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watchdog->fd < 0)
		return error_set_errno(err, errno, "cannot set up the watchdog");
	watchdog->limit_ms = limit_ms;
	watchdog->due_ms = clock_boottime_ms(clock);
	return 0;
}

void watchdog_close(struct watchdog *watchdog)
{
	if (watchdog->fd >= 0)
		close(watchdog->fd);
	watchdog->fd = -1;
	watchdog->limit_ms = 0;
	watchdog->thread_count = 0;
}

void watchdog_watch(struct watchdog *watchdog, struct heartbeat *heartbeat)
{
	if (watchdog->thread_count < WATCHDOG_THREADS_MAX)
		watchdog->threads[watchdog->thread_count++].heartbeat = heartbeat;
}

int64_t watchdog_due_ms(const struct watchdog *watchdog)
{
	return watchdog->limit_ms == 0 ? INT64_MAX : watchdog->due_ms;
}

/* Half of the limit, so that an answer may take the other half. */
static int64_t pace_ms(const struct watchdog *watchdog)
{
	return watchdog->limit_ms / 2 > 0 ? watchdog->limit_ms / 2 : 1;
}

/* How long a thread may take for an answer before the log tells that it hangs. */
static int64_t patience_ms(const struct watchdog *watchdog)
{
	return watchdog->limit_ms / 4 > 0 ? watchdog->limit_ms / 4 : 1;
}

static void ask(struct watchdog *watchdog, int64_t now_ms)
{
	for (size_t i = 0; i < watchdog->thread_count; i++)
		heartbeat_ask(watchdog->threads[i].heartbeat, watchdog->fd);
	watchdog->is_asking = true;
	watchdog->asked_ms = now_ms;
	watchdog->due_ms = now_ms + patience_ms(watchdog);
}

static void tell(const struct watchdog *watchdog, const struct watchdog_thread *thread,
	bool is_back, int64_t silent_ms)
{
	const char *name = thread->heartbeat->thread;
	const struct log_field fields[] = {
		{"MESSAGE_ID", is_back ? NULL : MESSAGE_THREAD_HANGS},
		{"THREAD", name},
		{0},
	};
	int64_t left_ms = pace_ms(watchdog) - silent_ms;
	if (is_back)
		log_event(LOG_LEVEL_NOTICE, fields, "the thread '%s' goes on, after %.1f s", name,
			(double)silent_ms / 1000);
	else
		log_event(LOG_LEVEL_ERROR, fields,
			"the thread '%s' hangs: it has not answered for %.1f s, expected an answer "
			"at once; the watchdog is not fed, so the service manager will end this "
			"process and start it again in about %.1f s",
			name, (double)silent_ms / 1000, left_ms > 0 ? (double)left_ms / 1000 : 0.0);
}

/* Returns whether every thread has answered; those that did after all are told of. */
static bool is_answered(struct watchdog *watchdog, int64_t now_ms)
{
	bool all = true;
	for (size_t i = 0; i < watchdog->thread_count; i++) {
		struct watchdog_thread *thread = &watchdog->threads[i];
		if (!heartbeat_is_answered(thread->heartbeat)) {
			all = false;
		} else if (thread->is_told) {
			tell(watchdog, thread, true, now_ms - watchdog->asked_ms);
			thread->is_told = false;
		}
	}
	return all;
}

/* Nobody answered in time. */
static void complain(struct watchdog *watchdog, int64_t now_ms)
{
	/* This thread comes late itself: all of the process or the machine stood still. */
	if (now_ms - watchdog->due_ms >= patience_ms(watchdog)) {
		watchdog->asked_ms = now_ms;
		watchdog->due_ms = now_ms + patience_ms(watchdog);
		return;
	}
	for (size_t i = 0; i < watchdog->thread_count; i++) {
		struct watchdog_thread *thread = &watchdog->threads[i];
		if (thread->is_told || heartbeat_is_answered(thread->heartbeat))
			continue;
		tell(watchdog, thread, false, now_ms - watchdog->asked_ms);
		thread->is_told = true;
	}
	watchdog->due_ms = now_ms + pace_ms(watchdog);
}

void watchdog_turn(struct watchdog *watchdog)
{
	uint64_t answers;
	if (watchdog->limit_ms == 0)
		return;
	ssize_t got = read(watchdog->fd, &answers, sizeof(answers));
	(void)got; /* it is only there to wake the main thread */
	int64_t now_ms = clock_boottime_ms(watchdog->clock);
	if (!watchdog->is_asking) {
		if (now_ms >= watchdog->due_ms)
			ask(watchdog, now_ms);
	} else if (is_answered(watchdog, now_ms)) {
		watchdog->feed();
		watchdog->is_asking = false;
		watchdog->due_ms = watchdog->asked_ms + pace_ms(watchdog);
		if (watchdog->due_ms <= now_ms)
			ask(watchdog, now_ms);
	} else if (now_ms >= watchdog->due_ms) {
		complain(watchdog, now_ms);
	}
}
