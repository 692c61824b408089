/*
 * What the server knows of a connection beyond libmicrohttpd, and how long each may take over what.
 * The server thread.
 */
#ifndef MRTOKEND_SERVER_CONNECTION_H
#define MRTOKEND_SERVER_CONNECTION_H

#include "server/crowd.h"
#include "server/peer.h"

#include <stdint.h>

struct waiter;

/* From connecting to a complete request. */
#define CONNECTION_REQUEST_MS 10000
/* From one answer to the next complete request. */
#define CONNECTION_IDLE_MS 120000
/* From a complete request to an answer that the client has taken. */
#define CONNECTION_ANSWER_MS 30000

enum connection_phase {
	CONNECTION_FRESH, /* no request yet */
	CONNECTION_BUSY, /* a request is being answered */
	CONNECTION_KEPT, /* between two requests */
	CONNECTION_CLOSING, /* shut down; libmicrohttpd closes it when it sees that */
	CONNECTION_PHASE_COUNT,
};

struct connection {
	struct connection *next;
	struct connection *previous;
	enum connection_phase phase;
	int64_t deadline_ms; /* CLOCK_BOOTTIME */
	int fd; /* libmicrohttpd's */
	struct waiter *waiter; /* of its request, or NULL; the door's to free */
	const void *owner; /* whose connection it is: the door it came in by */
	struct peer peer; /* who is at the other end; freed with the connection */
	struct crowd_user *user; /* whose connection it is; held by it. NULL: not known yet */
};

/* One list for each phase. All in a list have the same time, so the first is due first. */
struct connections {
	struct connection *first[CONNECTION_PHASE_COUNT];
	struct connection *last[CONNECTION_PHASE_COUNT];
	unsigned count[CONNECTION_PHASE_COUNT];
};

/* A new connection in phase FRESH. NULL: no memory. */
struct connection *connection_new(
	struct connections *connections, int fd, const void *owner, int64_t now_ms);

/* It is in this phase from now on. */
void connection_enter(struct connections *connections, struct connection *connection,
	enum connection_phase phase, int64_t now_ms);

void connection_free(struct connections *connections, struct connection *connection);

/* How many are open and not closing. */
unsigned connections_open(const struct connections *connections);

/*
 * One too many has come in: of the greediest user's connections, shut down the one that has been
 * idle for longest, else the one that has waited for longest with its first request. Where all of
 * them are being answered, it is `newcomer` itself, if it is that user's too; else the one that has
 * been answered for longest.
 *
 * greediest  who has most connections open; NULL: nobody is known
 */
void connections_make_room(struct connections *connections, struct connection *newcomer,
	const struct crowd_user *greediest);

/* Shut down those whose time is over. */
void connections_expire(struct connections *connections, int64_t now_ms);

/* Shut it down: it is CLOSING from now on. */
void connection_shut_down(struct connections *connections, struct connection *connection);

/* Shut down all of that owner that are in the phase. */
void connections_shut_down(
	struct connections *connections, enum connection_phase phase, const void *owner);

/* When the next one is due, or INT64_MAX. */
int64_t connections_next_ms(const struct connections *connections);

#endif
