/*
 * What the service manager is told and what it passes. Without a service manager nothing happens;
 * a notification that fails is a warning and no more. The main thread.
 */
#ifndef MRTOKEND_SERVICE_SYSTEMD_H
#define MRTOKEND_SERVICE_SYSTEMD_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Tell the state. `status` is one line for `systemctl status`. Source: sd_notify(3). */
void service_ready(const char *status);
void service_status(const char *status);
void service_reloading(void);
void service_stopping(void);

/*
 * After how many milliseconds without service_feed_watchdog() the service manager ends the process
 * (WatchdogSec=); 0: never. The variables are unset. Source: sd_watchdog_enabled(3).
 */
int64_t service_watchdog_ms(void);
void service_feed_watchdog(void);

struct passed_socket {
	char *name; /* FileDescriptorName= of the socket unit */
	int fd; /* -1 once somebody took it */
};

/*
 * The descriptors that were passed (sd_listen_fds(3)); the variables are unset. Free with
 * service_sockets_free(), which closes those that nobody took.
 * Returns 0 with *sockets and *count, or -1 with *err.
 */
int service_take_sockets(struct passed_socket **sockets, size_t *count, struct error *err);
void service_sockets_free(struct passed_socket *sockets, size_t count);

#endif
