/*
 * Listening Unix sockets: made at their own path, or passed by the service manager. The main
 * thread.
 */
#ifndef MRTOKEND_SERVER_LISTENER_H
#define MRTOKEND_SERVER_LISTENER_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct listener {
	char *name;
	char *path;
	mode_t mode;
	gid_t gid; /* (gid_t)-1: as the file system gives it */
	int fd; /* -1 once it was given up */
	bool is_passed; /* by the service manager, which keeps the socket's file */
	dev_t device; /* of the socket's file, so that only our own is ever removed */
	ino_t inode;
};

/*
 * Listen at `path`. A stale socket there is replaced; a live one, or a file of another kind, is
 * refused. Nobody can connect before mode and group are as they should be, whatever the umask.
 *
 * Returns NULL with *err. Free with listener_close().
 */
struct listener *listener_open(
	const char *name, const char *path, mode_t mode, gid_t gid, struct error *err);

/*
 * Take a socket that was passed; `fd` is owned by the listener on success. `path` is what the
 * configuration says, for messages. Returns NULL with *err if it is no listening Unix stream
 * socket.
 */
struct listener *listener_take(const char *name, const char *path, int fd, struct error *err);

/*
 * Give the socket's file a new mode and group. What stands at the path and is not the socket that
 * was made there is not touched. Needs /proc. Returns 0, or -1 with *err.
 */
int listener_change(struct listener *listener, mode_t mode, gid_t gid, struct error *err);

/* Remove the socket's file if it is still ours, so that nobody new arrives. */
void listener_unlink(struct listener *listener);

/* Unlink, close and free. NULL is fine. */
void listener_close(struct listener *listener);

#endif
