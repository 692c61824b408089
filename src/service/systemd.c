#include "service/systemd.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

static void notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void notify(const char *format, ...)
{
	char message[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	int result = sd_notify(0, message);
	if (result < 0)
		log_warning("cannot notify the service manager: %s", strerror(-result));
}

void service_ready(const char *status)
{
	notify("READY=1\nSTATUS=%s", status);
}

void service_status(const char *status)
{
	notify("STATUS=%s", status);
}

void service_reloading(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* The time is for Type=notify-reload, which systemd has from 253 on. */
	notify("RELOADING=1\nSTATUS=reloading the configuration\nMONOTONIC_USEC=%" PRId64,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void service_stopping(void)
{
	notify("STOPPING=1\nSTATUS=finishing open answers");
}

int64_t service_watchdog_ms(void)
{
	uint64_t limit_us = 0;
	/* Unset, so that programs started from here do not believe it to be meant for them. */
	int result = sd_watchdog_enabled(1, &limit_us);
	if (result < 0)
		log_warning("cannot read the watchdog's time (WATCHDOG_USEC, WATCHDOG_PID): %s; it "
			    "is not fed",
			strerror(-result));
	if (result <= 0)
		return 0;
	int64_t limit_ms = (int64_t)(limit_us / 1000);
	return limit_ms > 0 ? limit_ms : 1;
}

void service_feed_watchdog(void)
{
	notify("WATCHDOG=1");
}

int service_take_sockets(struct passed_socket **sockets, size_t *count, struct error *err)
{
	char **names = NULL;
	int found = sd_listen_fds_with_names(1, &names);
	if (found < 0)
		return error_set_errno(err, -found, "cannot take the sockets that were passed");
	struct passed_socket *taken = calloc((size_t)found + 1, sizeof(*taken));
	for (int i = 0; i < found; i++) {
		if (taken != NULL)
			taken[i] = (struct passed_socket){
				.name = names[i],
				.fd = SD_LISTEN_FDS_START + i,
			};
		else
			free(names[i]);
	}
	free(names);
	if (taken == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot take the sockets: out of memory");
	*sockets = taken;
	*count = (size_t)found;
	return 0;
}

void service_sockets_free(struct passed_socket *sockets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (sockets[i].fd >= 0) {
			log_warning("the socket that was passed as '%s' belongs to no listener; "
				    "name it "
				    "with FileDescriptorName= after a [listener NAME]",
				sockets[i].name);
			close(sockets[i].fd);
		}
		free(sockets[i].name);
	}
	free(sockets);
}
