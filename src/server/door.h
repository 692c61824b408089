/*
 * Doors: each listener with the libmicrohttpd daemon that serves it, and what all of them share.
 * Opened by the main thread, used by the server thread alone.
 */
#ifndef MRTOKEND_SERVER_DOOR_H
#define MRTOKEND_SERVER_DOOR_H

#include "base/clock.h"
#include "base/error.h"
#include "server/audit.h"
#include "server/connection.h"
#include "server/crowd.h"
#include "server/listener.h"
#include "server/page.h"
#include "server/waiters.h"
#include "server/peer.h"
#include "token/account.h"

#include <stdbool.h>
#include <stdint.h>

struct hall {
	struct registry *registry;
	const struct clock *clock;
	unsigned connection_budget; /* for all doors together */
	struct connections connections;
	struct crowd crowd;
	struct waiters waiters;
	struct page pages[PAGE_COUNT];
	struct audit *audit;
	enum peer_way way; /* how peers' units are told */
	int64_t look_ms; /* CLOCK_BOOTTIME when the doors' queues are to be looked at; INT64_MAX */
	struct answer *no_memory; /* the answer to requests for which there is none */
	uint64_t next_number; /* of a request; unlike any other of this process */
	int64_t now_ms; /* as the loop woke up; CLOCK_BOOTTIME without what it missed */
};

/* Go on with the requests that have waited for long enough, or for what is there now. */
void hall_wake_waiters(struct hall *hall);

/* Have nobody wait any more: the daemon stops. */
void hall_close_waiters(struct hall *hall);

struct door;

/*
 * Returns a door that nobody has come through yet, or NULL with *err. The listener stays the
 * caller's until door_begin_closing(). Free with door_free().
 */
struct door *door_open(struct hall *hall, struct listener *listener, struct error *err);

/* What to poll for input; and how long to wait for it at most, -1 when for ever. */
int door_epoll_fd(const struct door *door);
int64_t door_timeout_ms(const struct door *door);

/*
 * Where a peer's process is told by its start time: note that nobody waits outside now, if so. Who
 * comes in later has connected later.
 */
void door_note_quiet(struct door *door);

/* Serve whatever is there. The only place where requests are answered, and so inside the epoch. */
void door_run(struct door *door);

/*
 * Let nobody new through; those who wait outside already come in first, and what is inside is
 * finished. The listener's file goes; the listener is the door's from here on. Twice is fine.
 */
void door_begin_closing(struct door *door);
bool door_is_closing(const struct door *door);

/* Whether nobody is inside. */
bool door_is_empty(const struct door *door);

/* End whatever is inside, and close the listener if the door was closing. NULL is fine. */
void door_free(struct door *door);

#endif
