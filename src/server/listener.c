#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096

/* How long to wait for another start at the same path to finish: two seconds. */
#define LOCK_PAUSE_MS 20
#define LOCK_ATTEMPTS 100

static struct listener *listener_new(const char *name, const char *path)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	if (listener == NULL)
		return NULL;
	listener->fd = -1;
	listener->gid = (gid_t)-1;
	listener->name = strdup(name);
	listener->path = strdup(path);
	if (listener->name != NULL && listener->path != NULL)
		return listener;
	listener_close(listener);
	return NULL;
}

/*
 * Take the lock of the path, so that of two daemons that start at once the second finds the first
 * one's live socket. The lock is a file beside it, which only this user can open, and which is gone
 * when the lock is. Returns its descriptor, or -1 with *err.
 */
static int lock_path(const char *path, char *lock_file, size_t lock_file_size, struct error *err)
{
	static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
	snprintf(lock_file, lock_file_size, "%s.lock", path);
	for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
		struct stat opened;
		struct stat named;
		int fd = open(lock_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 || fstat(fd, &opened) != 0) {
			error_set_errno(err, errno, "cannot listen at %s: cannot make %s beside it",
				path, lock_file);
			if (fd >= 0)
				close(fd);
			return -1;
		}
		if (opened.st_uid != geteuid()) {
			close(fd);
			return error_set(err, ERR_SYSTEM,
				"cannot listen at %s: %s belongs to another user; remove it", path,
				lock_file);
		}
		bool is_locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
		/* Whoever held it before may have removed the file since it was opened here. */
		if (is_locked && lstat(lock_file, &named) == 0 && opened.st_dev == named.st_dev &&
			opened.st_ino == named.st_ino)
			return fd;
		close(fd);
		if (!is_locked)
			nanosleep(&pause, NULL);
	}
	return error_set(err, ERR_SYSTEM,
		"cannot listen at %s: %s is locked by another process for longer than any start "
		"takes",
		path, lock_file);
}

/* Make way at the path. Returns 0, or -1 with *err when something stands there that must stay. */
static int remove_stale(const struct sockaddr_un *address, struct error *err)
{
	struct stat st;
	if (lstat(address->sun_path, &st) != 0) {
		if (errno == ENOENT)
			return 0;
		return error_set_errno(err, errno, "cannot listen at %s", address->sun_path);
	}
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, ERR_SYSTEM,
			"cannot listen at %s: something that is no socket stands there; move it "
			"away, or "
			"choose another path",
			address->sun_path);
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return error_set_errno(err, errno, "cannot listen at %s", address->sun_path);
	int failed =
		connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
	close(probe);
	/* Only a refusal says that nobody listens; a full backlog is a daemon that is busy. One
	 * without any mode is of a start that was killed before it gave the socket its own. */
	bool is_unborn = failed == EACCES && (st.st_mode & 0777) == 0 && st.st_uid == geteuid();
	if (failed != ECONNREFUSED && !is_unborn)
		return error_set(err, ERR_SYSTEM,
			"cannot listen at %s: another process listens there (is a mrtokend running "
			"already?)",
			address->sun_path);
	if (unlink(address->sun_path) != 0 && errno != ENOENT)
		return error_set_errno(
			err, errno, "cannot remove the stale socket %s", address->sun_path);
	return 0;
}

static int bind_socket(struct listener *listener, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat st;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", listener->path);
	if (remove_stale(&address, err) != 0)
		return -1;
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return error_set_errno(err, errno, "cannot make a socket");
	/* Born without any permission: it gets its group first, and only then its mode. */
	mode_t before = umask(0777);
	int bound = bind(listener->fd, (const struct sockaddr *)&address, sizeof(address));
	int failed = errno;
	umask(before);
	if (bound != 0)
		return error_set_errno(err, failed, "cannot listen at %s", listener->path);
	if (lstat(listener->path, &st) != 0)
		return error_set_errno(err, errno, "cannot listen at %s", listener->path);
	listener->device = st.st_dev;
	listener->inode = st.st_ino;
	if (listen(listener->fd, BACKLOG) != 0)
		return error_set_errno(err, errno, "cannot listen at %s", listener->path);
	return listener_change(listener, listener->mode, listener->gid, err);
}

struct listener *listener_open(
	const char *name, const char *path, mode_t mode, gid_t gid, struct error *err)
{
	struct listener *listener = listener_new(name, path);
	if (listener == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot listen at %s: out of memory", path);
		return NULL;
	}
	listener->mode = mode;
	listener->gid = gid;
	char lock_file[sizeof(((struct sockaddr_un *)NULL)->sun_path) + sizeof(".lock")];
	int lock = lock_path(path, lock_file, sizeof(lock_file), err);
	int result = lock < 0 ? -1 : bind_socket(listener, err);
	if (lock >= 0) {
		unlink(lock_file);
		close(lock);
	}
	if (result == 0)
		return listener;
	listener_close(listener);
	return NULL;
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

struct listener *listener_take(const char *name, const char *path, int fd, struct error *err)
{
	int flags = fcntl(fd, F_GETFL);
	if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM ||
		socket_option(fd, SO_ACCEPTCONN) != 1 || flags < 0) {
		error_set(err, ERR_CONFIGURATION,
			"the descriptor that was passed for [listener %s] is not a listening Unix "
			"stream "
			"socket; use ListenStream=/PATH in the socket unit",
			name);
		return NULL;
	}
	struct listener *listener = listener_new(name, path);
	if (listener == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot take a socket: out of memory");
		return NULL;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
		error_set_errno(err, errno, "cannot take the socket of [listener %s]", name);
		listener_close(listener);
		return NULL;
	}
	listener->fd = fd;
	listener->is_passed = true;
	return listener;
}

/* Open the socket's file if it is still ours, following no link. Returns a path to it that stays.
 */
static int open_file(const struct listener *listener, char *path, size_t path_size)
{
	struct stat st;
	int fd = open(listener->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || st.st_dev != listener->device || st.st_ino != listener->inode) {
		close(fd);
		errno = ESTALE;
		return -1;
	}
	snprintf(path, path_size, "/proc/self/fd/%d", fd);
	return fd;
}

int listener_change(struct listener *listener, mode_t mode, gid_t gid, struct error *err)
{
	char path[32];
	int fd = open_file(listener, path, sizeof(path));
	if (fd < 0)
		return error_set_errno(err, errno, "cannot change %s", listener->path);
	int result = 0;
	if (gid != (gid_t)-1 && fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) != 0)
		result = error_set_errno(err, errno,
			"cannot give %s its group; the daemon's user must be a member of it, or "
			"root",
			listener->path);
	else if (chmod(path, mode) != 0)
		result = error_set_errno(err, errno, "cannot give %s its mode", listener->path);
	close(fd);
	if (result != 0)
		return -1;
	listener->mode = mode;
	listener->gid = gid;
	return 0;
}

void listener_unlink(struct listener *listener)
{
	struct stat st;
	if (listener->is_passed || listener->inode == 0)
		return;
	if (lstat(listener->path, &st) == 0 && st.st_dev == listener->device &&
		st.st_ino == listener->inode)
		unlink(listener->path);
	listener->inode = 0;
}

void listener_close(struct listener *listener)
{
	if (listener == NULL)
		return;
	listener_unlink(listener);
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener->name);
	free(listener->path);
	free(listener);
}
