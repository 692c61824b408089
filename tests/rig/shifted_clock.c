/*
 * Preloaded into a program: its clocks go as the test wants, and it is told of each step as the
 * kernel would tell it. The test writes how far realtime and boottime are shifted, in milliseconds,
 * into the file SHIFTED_CLOCK, and then a byte into the FIFO SHIFTED_CLOCK.steps.
 *
 * CLOCK_MONOTONIC stays as it is, as in a sleep. A timer of CLOCK_REALTIME is the FIFO instead:
 * reading it fails with ECANCELED, as timerfd_create(2) says of TFD_TIMER_CANCEL_ON_SET.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static struct shift {
	_Atomic int64_t realtime_ms;
	_Atomic int64_t boottime_ms;
} none, *volatile shift = &none;

static atomic_int steps_fd = -1;

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("SHIFTED_CLOCK");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(none), PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED) {
		dprintf(2, "shifted_clock: cannot map SHIFTED_CLOCK\n");
		_exit(99);
	}
	shift = map;
}

static void add_ms(struct timespec *time, int64_t ms)
{
	time->tv_sec += ms / 1000;
	time->tv_nsec += ms % 1000 * 1000000;
	if (time->tv_nsec >= 1000000000) {
		time->tv_sec++;
		time->tv_nsec -= 1000000000;
	} else if (time->tv_nsec < 0) {
		time->tv_sec--;
		time->tv_nsec += 1000000000;
	}
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	static int (*_Atomic next)(clockid_t, struct timespec *);
	int (*ask)(clockid_t, struct timespec *) = next;
	if (ask == NULL)
		next = ask = dlsym(RTLD_NEXT, "clock_gettime");
	int result = ask(clock, time);
	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		add_ms(time, shift->realtime_ms);
	if (result == 0 && clock == CLOCK_BOOTTIME)
		add_ms(time, shift->boottime_ms);
	return result;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}

int timerfd_create(clockid_t clock, int flags)
{
	char path[PATH_MAX];
	if (clock != CLOCK_REALTIME)
		return (int)syscall(SYS_timerfd_create, clock, flags);
	snprintf(path, sizeof(path), "%s.steps", getenv("SHIFTED_CLOCK"));
	/* Both ways, so that it has never ended. */
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	steps_fd = fd;
	return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *wanted, struct itimerspec *before)
{
	if (fd != steps_fd)
		return (int)syscall(SYS_timerfd_settime, fd, flags, wanted, before);
	if ((flags & TFD_TIMER_CANCEL_ON_SET) == 0) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

ssize_t read(int fd, void *bytes, size_t count)
{
	static ssize_t (*_Atomic next)(int, void *, size_t);
	ssize_t (*ask)(int, void *, size_t) = next;
	if (ask == NULL)
		next = ask = dlsym(RTLD_NEXT, "read");
	ssize_t len = ask(fd, bytes, count);
	if (fd >= 0 && fd == steps_fd && len > 0) {
		errno = ECANCELED;
		return -1;
	}
	return len;
}
