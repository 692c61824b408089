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
 * The descriptors that were passed (sd_listen_fds(3)); the variables are unset. Files are what the
 * process before had the manager store, and all else is what the socket units made. Free both with
 * service_sockets_free() and service_stored_free(), which close those that nobody took; the former
 * warns of each.
 * Returns 0 with both arrays and how many each has, or -1 with *err.
 */
int service_take_sockets(struct passed_socket **sockets, size_t *count,
	struct passed_socket **stored, size_t *stored_count, struct error *err);
void service_sockets_free(struct passed_socket *sockets, size_t count);
void service_stored_free(struct passed_socket *stored, size_t count);

/*
 * How many descriptors the manager stores for this service: $FDSTORE, which systemd sets from 254
 * on and the unit before that; 0 where it is not set, so that nothing is stored with a manager
 * whom nobody asked to.
 */
int64_t service_store_room(void);

/*
 * Have the manager store a descriptor, to be passed to the next process under that name. The
 * descriptor stays the caller's. Whether there was room is not told.
 * Returns 0, or -1 with *err. Source: sd_notify(3), FDSTORE=1.
 */
int service_store(const char *name, int fd, struct error *err);

/* Have it close those that it stores under that name. */
void service_store_remove(const char *name);

/*
 * The identifier of the present boot: the kernel's, or $MRTOKEND_BOOT_ID where the unit hides it.
 * Returns 0, or -1 with *err: ERR_SYSTEM.
 */
#define SERVICE_BOOT_ID_SIZE 16
int service_boot_id(unsigned char out[SERVICE_BOOT_ID_SIZE], struct error *err);

#endif
