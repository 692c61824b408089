/*
 * The serving path: HTTP on Unix sockets, one thread with libmicrohttpd, reading the registry
 * without locks.
 */
#ifndef MRTOKEND_SERVER_SERVER_H
#define MRTOKEND_SERVER_SERVER_H

#include "base/answer_wait.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heartbeat.h"
#include "server/listener.h"
#include "token/account.h"

#include <stddef.h>

struct server;

struct server_options {
	struct registry *registry;
	const struct clock *clock;
	unsigned connection_limit; /* on each listener */
	/* What whoever waits in server_set_listeners() or server_stop() does meanwhile. */
	struct meanwhile meanwhile;
};

/* Makes the snapshots' answers; give it to the refresher. */
extern const struct answer_maker server_answer_maker;

/*
 * Serve on the listeners. *options is copied, what it points to is not.
 * listeners  the array and the listeners are taken over on success
 * Returns, when clients can connect, the server; or NULL with *err.
 */
struct server *server_start(const struct server_options *options, struct listener **listeners,
	size_t count, struct error *err);

/* The listeners being served, for the main thread to compare a new configuration with. */
struct listener *const *server_listeners(const struct server *server, size_t *count);

/*
 * Serve on these listeners instead. Those that were served already (the same pointers) go on
 * without a break; the others are closed when their open answers are finished. listeners  the array
 * and the new listeners are taken over on success Returns when the new ones are being served, 0; or
 * -1 with *err, and nothing has changed.
 */
int server_set_listeners(
	struct server *server, struct listener **listeners, size_t count, struct error *err);

/* Whether the thread still goes round. Any thread, until server_stop(). */
struct heartbeat *server_heartbeat(struct server *server);

/* Let nobody new in, finish the open answers for at most `grace_ms`, end the thread. NULL is fine.
 */
void server_stop(struct server *server, int64_t grace_ms);

#endif
