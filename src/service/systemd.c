#include "service/systemd.h"

#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-id128.h>
#include <time.h>
#include <unistd.h>

static void notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void notify(const char *format, ...)
{
	char message[4096]; /* a status line, with what else is told */
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

/* What a socket unit makes is a socket, a FIFO or a device; what is stored is a memfd. */
static bool is_stored(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int service_take_sockets(struct passed_socket **sockets, size_t *count,
	struct passed_socket **stored, size_t *stored_count, struct error *err)
{
	char **names = NULL;
	int found = sd_listen_fds_with_names(1, &names);
	if (found < 0)
		return error_set_errno(err, -found, "cannot take the sockets that were passed");
	struct passed_socket *taken[2]; /* sockets, and what was stored */
	size_t counts[2] = {0, 0};
	for (int i = 0; i < 2; i++)
		taken[i] = calloc((size_t)found + 1, sizeof(struct passed_socket));
	bool has_memory = taken[0] != NULL && taken[1] != NULL;
	for (int i = 0; i < found; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		int which = is_stored(fd);
		if (has_memory)
			taken[which][counts[which]++] =
				(struct passed_socket){.name = names[i], .fd = fd};
		else
			free(names[i]);
	}
	free(names);
	if (!has_memory) {
		free(taken[0]);
		free(taken[1]);
		return error_set(err, ERR_NO_MEMORY, "cannot take the sockets: out of memory");
	}
	*sockets = taken[0];
	*count = counts[0];
	*stored = taken[1];
	*stored_count = counts[1];
	return 0;
}

void service_stored_free(struct passed_socket *stored, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		close(stored[i].fd);
		free(stored[i].name);
	}
	free(stored);
}

int64_t service_store_room(void)
{
	int64_t room = 0;
	const char *word = getenv("FDSTORE");
	if (word == NULL || getenv("NOTIFY_SOCKET") == NULL)
		return 0;
	return parse_integer(word, 0, INT32_MAX, &room) == 0 ? room : 0;
}

int service_store(const char *name, int fd, struct error *err)
{
	char message[512];
	/* No polling: a file is never hung up. */
	snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	int result = sd_pid_notify_with_fds(0, 0, message, &fd, 1);
	if (result < 0)
		return error_set_errno(
			err, -result, "cannot pass a descriptor to the service manager");
	return 0;
}

void service_store_remove(const char *name)
{
	notify("FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int service_boot_id(unsigned char out[SERVICE_BOOT_ID_SIZE], struct error *err)
{
	sd_id128_t id;
	const char *word = getenv("MRTOKEND_BOOT_ID");
	int result = sd_id128_get_boot(&id);
	if (result < 0 && word != NULL)
		result = sd_id128_from_string(word, &id);
	if (result < 0)
		return error_set_errno(err, -result,
			"cannot tell which boot this is: /proc/sys/kernel/random/boot_id is not to "
			"be seen, and $MRTOKEND_BOOT_ID is not set to it (%%b in the unit)");
	memcpy(out, id.bytes, SERVICE_BOOT_ID_SIZE);
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
