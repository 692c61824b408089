/*
 * Who is inside, by user: what each takes of connections, requests and places to wait, so that a
 * greedy user takes nothing from another. The server thread.
 */
#ifndef MRTOKEND_SERVER_CROWD_H
#define MRTOKEND_SERVER_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * So many requests a user may make in a second while another user asks too. Whoever is alone may
 * ask as often as the daemon can answer.
 */
#define CROWD_REQUESTS_S 2000

#define CROWD_SLOTS 256

struct crowd_user {
	struct crowd_user *next;
	uid_t uid;
	unsigned connections; /* that hold this, until they are freed */
	unsigned open; /* of them, not closing */
	unsigned waiting; /* requests that wait for an exchange; counted by whoever has them wait */
	int64_t second; /* of its last request */
	unsigned requests; /* in that second */
};

/* Zeroed: nobody is there. */
struct crowd {
	struct crowd_user *slots[CROWD_SLOTS];
	unsigned count; /* of users */
	unsigned sweep_at; /* so many are not kept without a look at who is gone */
	int64_t second; /* of the last request of anybody */
	unsigned active; /* users who asked in it */
	unsigned active_before; /* users who asked in the second before */
};

/* A connection of that user comes in. Returns NULL: no memory. Balance with crowd_leave(). */
struct crowd_user *crowd_enter(struct crowd *crowd, uid_t uid, int64_t now_ms);
void crowd_leave(struct crowd_user *user);

/* Who has most connections open; NULL where nobody is. */
struct crowd_user *crowd_greediest(const struct crowd *crowd);

/* Count a request. Returns whether it is to be answered, or is one too many. */
bool crowd_takes_request(struct crowd *crowd, struct crowd_user *user, int64_t now_ms);

/* No connection holds a user any more. */
void crowd_free(struct crowd *crowd);

#endif
