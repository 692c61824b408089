#include "base/clock_watch.h"

#include <errno.h>
#include <stddef.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Far enough never to come, and near enough for every kernel's arithmetic: the year 2200. */
#define NEVER_S INT64_C(7258118400)

static int64_t read_ms(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct clock_readings read_all(void)
{
	return (struct clock_readings){
		.realtime_ms = read_ms(CLOCK_REALTIME),
		.boottime_ms = read_ms(CLOCK_BOOTTIME),
		.monotonic_ms = read_ms(CLOCK_MONOTONIC),
	};
}

struct clock_change clock_change_between(
	const struct clock_readings *before, const struct clock_readings *after)
{
	int64_t boottime_ms = after->boottime_ms - before->boottime_ms;
	return (struct clock_change){
		.set_by_ms = after->realtime_ms - before->realtime_ms - boottime_ms,
		.slept_ms = boottime_ms - (after->monotonic_ms - before->monotonic_ms),
	};
}

static void on_timer(void *context)
{
	struct clock_watch *watch = context;
	uint64_t expirations;
	/* Reading makes it watch on; but for ECANCELED there is nothing to be told. */
	if (read(watch->watch.fd, &expirations, sizeof(expirations)) >= 0 || errno != ECANCELED)
		return;
	struct clock_readings now = read_all();
	struct clock_change change = clock_change_between(&watch->before, &now);
	watch->before = now;
	watch->changed(watch->context, &change);
}

int clock_watch_start(struct clock_watch *watch, struct loop *loop, struct error *err)
{
	const struct itimerspec never = {.it_value = {.tv_sec = NEVER_S}};
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd < 0 || timerfd_settime(
			      fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) != 0) {
		error_set_errno(err, errno, "cannot watch the clock");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	watch->loop = loop;
	watch->before = read_all();
	watch->watch = (struct loop_watch){
		.fd = fd,
		.events = POLLIN,
		.ready = on_timer,
		.context = watch,
	};
	loop_watch_start(loop, &watch->watch);
	return 0;
}

void clock_watch_stop(struct clock_watch *watch)
{
	if (watch->loop == NULL)
		return;
	loop_watch_stop(watch->loop, &watch->watch);
	close(watch->watch.fd);
	watch->loop = NULL;
}
