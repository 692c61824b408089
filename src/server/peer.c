#include "server/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <systemd/sd-login.h>
#include <unistd.h>

/* As the kernel has it; not in the headers of every system that this is built on. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* So many groups need no second call. */
#define GROUPS_COMMON 64

/* More than the kernel lets a process have. */
#define GROUPS_MAX 65536

static int peer_pidfd(int fd)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);
	return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0 ? pidfd : -1;
}

static int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0U);
}

enum peer_way peer_find_way(void)
{
	int ends[2];
	enum peer_way way = PEER_WAY_NONE;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return PEER_WAY_NONE;
	int pidfd = peer_pidfd(ends[0]);
	if (pidfd >= 0) {
		way = PEER_WAY_PIDFD;
	} else {
		pidfd = open_pidfd(getpid());
		if (pidfd >= 0)
			way = PEER_WAY_START_TIME;
	}
	if (pidfd >= 0)
		close(pidfd);
	close(ends[0]);
	close(ends[1]);
	return way;
}

const char *peer_way_text(enum peer_way way)
{
	static const char *const texts[] = {
		[PEER_WAY_PIDFD] = "by SO_PEERPIDFD, the process that has connected itself",
		[PEER_WAY_START_TIME] =
			"by pidfd_open and start time, as this kernel has no SO_PEERPIDFD: "
			"a process that has just started may have to connect twice",
		[PEER_WAY_NONE] = "not at all, as this kernel has neither SO_PEERPIDFD nor "
				  "pidfd_open: no rule that allows a unit holds, "
				  "and each that denies one denies everybody",
	};
	return texts[way];
}

static int compare_groups(const void *a, const void *b)
{
	gid_t one = *(const gid_t *)a;
	gid_t two = *(const gid_t *)b;
	return one < two ? -1 : one > two;
}

static int read_groups(int fd, struct peer *peer)
{
	gid_t few[GROUPS_COMMON];
	gid_t *found = few;
	gid_t *many = NULL;
	socklen_t len = sizeof(few);
	int result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &len);
	if (result != 0 && errno == ERANGE && len <= GROUPS_MAX * sizeof(gid_t)) {
		many = malloc(len);
		if (many == NULL)
			return -1;
		found = many;
		result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &len);
	}
	if (result == 0 && len > 0) {
		peer->groups = malloc(len);
		if (peer->groups == NULL)
			result = -1;
		else
			memcpy(peer->groups, found, len);
	}
	free(many);
	if (result != 0)
		return -1;
	peer->group_count = len / sizeof(gid_t);
	if (peer->group_count > 1)
		qsort(peer->groups, peer->group_count, sizeof(gid_t), compare_groups);
	return 0;
}

int peer_read(int fd, int64_t connected_after_ms, struct peer *peer)
{
	struct ucred credentials;
	socklen_t len = sizeof(credentials);
	*peer = (struct peer){.connected_after_ms = connected_after_ms};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0 ||
		len != sizeof(credentials) || read_groups(fd, peer) != 0) {
		*peer = (struct peer){0};
		return -1;
	}
	peer->uid = credentials.uid;
	peer->gid = credentials.gid;
	peer->pid = credentials.pid;
	return 0;
}

/* A pidfd of a process that has ended is readable. */
static bool has_ended(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	return poll(&ended, 1, 0) != 0;
}

/*
 * When the process started, rounded up; CLOCK_BOOTTIME. proc(5): the 22nd value, in clock ticks.
 * The second is a name in parentheses that may hold anything.
 */
static bool read_start_ms(pid_t pid, int64_t *start_ms)
{
	char path[40];
	char line[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t len = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (len <= 0)
		return false;
	line[len] = '\0';
	char *rest = strrchr(line, ')');
	for (int i = 2; rest != NULL && i < 22; i++)
		rest = strchr(rest + 1, ' ');
	char *end = NULL;
	uint64_t ticks = rest == NULL ? 0 : strtoull(rest, &end, 10);
	if (rest == NULL || end == rest || *end != ' ')
		return false;
	*start_ms = (int64_t)((ticks + 1) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
	return true;
}

/*
 * Whether the process `pidfd` is the one that connected: it ran before that can have happened, and
 * has had the number ever since. One that started later may have got the number of another that is
 * gone.
 */
static enum peer_unit_state prove(const struct peer *peer)
{
	int64_t start_ms;
	if (!read_start_ms(peer->pid, &start_ms))
		return PEER_UNIT_UNKNOWN;
	return start_ms < peer->connected_after_ms ? PEER_UNIT_KNOWN : PEER_UNIT_YOUNG;
}

/* *unit is set when it is KNOWN. */
static enum peer_unit_state read_unit(pid_t pid, char **unit)
{
	char *found = NULL;
	int result = sd_pid_get_unit(pid, &found);
	if (result >= 0 && found != NULL) {
		*unit = found;
		return PEER_UNIT_KNOWN;
	}
	return result == -ENODATA ? PEER_UNIT_NONE : PEER_UNIT_UNKNOWN;
}

void peer_read_unit(struct peer *peer, int fd, enum peer_way way)
{
	if (peer->unit_state != PEER_UNIT_UNREAD)
		return;
	peer->unit_state = PEER_UNIT_UNKNOWN;
	if (peer->pid <= 0 || way == PEER_WAY_NONE)
		return;
	int pidfd = way == PEER_WAY_PIDFD ? peer_pidfd(fd) : open_pidfd(peer->pid);
	if (pidfd < 0)
		return;
	char *unit = NULL;
	enum peer_unit_state state = way == PEER_WAY_PIDFD ? PEER_UNIT_KNOWN : prove(peer);
	if (state == PEER_UNIT_KNOWN)
		state = read_unit(peer->pid, &unit);
	/* Had it ended before, its number might be another's by now. */
	if (has_ended(pidfd)) {
		state = PEER_UNIT_UNKNOWN;
		free(unit);
		unit = NULL;
	}
	close(pidfd);
	peer->unit_state = state;
	peer->unit = unit;
}

int peer_copy(struct peer *to, const struct peer *from)
{
	struct peer copy = *from;
	size_t size = from->group_count * sizeof(gid_t);
	copy.groups = size == 0 ? NULL : malloc(size);
	copy.unit = from->unit == NULL ? NULL : strdup(from->unit);
	if ((size > 0 && copy.groups == NULL) || (from->unit != NULL && copy.unit == NULL)) {
		peer_clear(&copy);
		return -1;
	}
	if (size > 0)
		memcpy(copy.groups, from->groups, size);
	*to = copy;
	return 0;
}

bool peer_is_alike(const struct peer *a, const struct peer *b)
{
	return a->uid == b->uid && a->gid == b->gid && a->group_count == b->group_count &&
	       (a->group_count == 0 ||
		       memcmp(a->groups, b->groups, a->group_count * sizeof(gid_t)) == 0) &&
	       a->unit_state == b->unit_state &&
	       (a->unit == NULL || b->unit == NULL ? a->unit == b->unit
						   : strcmp(a->unit, b->unit) == 0);
}

void peer_clear(struct peer *peer)
{
	free(peer->groups);
	free(peer->unit);
	*peer = (struct peer){0};
}
