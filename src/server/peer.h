/*
 * Who is at the other end of a Unix connection: user, groups and process as the kernel noted them
 * when the other end called connect(2), and the systemd unit of that process. Whoever gets the
 * connected descriptor from it later speaks with its rights.
 */
#ifndef MRTOKEND_SERVER_PEER_H
#define MRTOKEND_SERVER_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How the process behind a connection can be held fast while its unit is read. */
enum peer_way {
	PEER_WAY_PIDFD, /* SO_PEERPIDFD: the kernel gives the very process. Linux 6.5 */
	PEER_WAY_START_TIME, /* by its number, and it must have run before it can have connected */
	PEER_WAY_NONE, /* not at all */
};

enum peer_unit_state {
	PEER_UNIT_UNREAD, /* nobody wanted to know */
	PEER_UNIT_KNOWN,
	PEER_UNIT_NONE, /* the process is in none: there is no systemd, or it is elsewhere */
	PEER_UNIT_YOUNG, /* PEER_WAY_START_TIME: it may be another process with the same number; the
			    next connection of the same process tells */
	PEER_UNIT_UNKNOWN, /* the process is gone, or the kernel does not tell */
};

/* Zeroed: nobody. The strings and lists are its own. */
struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* 0: not seen from this PID namespace */
	gid_t *groups; /* supplementary ones, sorted; NULL where there are none */
	size_t group_count;
	int64_t connected_after_ms; /* CLOCK_BOOTTIME: it had not connected yet; 0: not known */
	enum peer_unit_state unit_state;
	char *unit; /* the system manager's, such as "renderer.service"; only when KNOWN */
};

/* Which way this kernel has. Opens some descriptors and closes them. Any thread. */
enum peer_way peer_find_way(void);

/* For people: what the way means, in half a sentence. */
const char *peer_way_text(enum peer_way way);

/*
 * Learn who is at the other end of `fd`; all but the unit. Two system calls.
 *
 * connected_after_ms  see struct peer; it is only for PEER_WAY_START_TIME
 *
 * Returns 0, or -1 and then *peer is zeroed and nobody may be served. Any thread.
 */
int peer_read(int fd, int64_t connected_after_ms, struct peer *peer);

/*
 * Learn the unit, unless it is known already: by /proc/PID/cgroup, which is read while the process
 * is held fast. It is the unit of the system's manager: that of somebody's own manager is
 * user@UID.service, however that manager calls what runs below it. Any thread; some 50 us.
 */
void peer_read_unit(struct peer *peer, int fd, enum peer_way way);

/* Make *to, which is zeroed, a copy. Returns 0, or -1: no memory, and *to is zeroed. */
int peer_copy(struct peer *to, const struct peer *from);

/* Whether both are the same to any rule: user, groups and unit, not the process. */
bool peer_is_alike(const struct peer *a, const struct peer *b);

/* Free what it holds. */
void peer_clear(struct peer *peer);

#endif
