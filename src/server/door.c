#include "server/door.h"

#include "base/log.h"
#include "server/routes.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The server thread's place among the epoch's readers. */
#define EPOCH_READER 0

/*
 * libmicrohttpd's memory for one connection: request line, headers and the answer's headers. What
 * is longer gets a 414 or 431 from it.
 */
#define CONNECTION_MEMORY ((size_t)6 * 1024)

/*
 * How often a closing door lets in who waits outside: libmicrohttpd takes ten each time, so this is
 * enough for a full queue.
 */
#define CLOSING_ROUNDS 500

/*
 * Not libmicrohttpd's to keep: at its limit it stops listening, and begins again only when
 * something else happens.
 */
#define NO_CONNECTION_LIMIT 1000000U

struct door {
	struct hall *hall;
	struct listener *listener;
	struct MHD_Daemon *daemon;
	int epoll_fd;
	int64_t quiet_ms; /* CLOCK_BOOTTIME when nobody waited outside; 0: not known */
	bool is_closing;
};

/*
 * How soon the queue is looked at after a process came that might be too young, so that its next
 * connection finds it old enough. Longer than the kernel's clock tick, by which start times go.
 */
#define LOOK_AGAIN_MS 20

/* ---- called by libmicrohttpd ---- */

/* Its request waits no more. */
static void end_wait(struct hall *hall, struct connection *connection)
{
	if (connection->waiter == NULL)
		return;
	waiter_free(&hall->waiters, connection->waiter);
	connection->waiter = NULL;
	connection->user->waiting--;
}

/* Returns whether it may be served. */
static bool meet_peer(struct door *door, struct connection *connection)
{
	struct hall *hall = door->hall;
	const struct account_table *table = atomic_load(&hall->registry->table);
	if (peer_read(connection->fd, door->quiet_ms, &connection->peer) != 0)
		return false;
	connection->user = crowd_enter(&hall->crowd, connection->peer.uid, hall->now_ms);
	if (connection->user == NULL)
		return false;
	if (table != NULL && table->has_unit_rules)
		peer_read_unit(&connection->peer, connection->fd, hall->way);
	if (connection->peer.unit_state == PEER_UNIT_YOUNG)
		hall->look_ms = clock_boottime_ms(hall->clock) + LOOK_AGAIN_MS;
	return true;
}

static void on_connection(void *context, struct MHD_Connection *mhd_connection,
	void **socket_context, enum MHD_ConnectionNotificationCode code)
{
	struct hall *hall = ((struct door *)context)->hall;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(mhd_connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		struct connection *connection =
			connection_new(&hall->connections, info->connect_fd, context, hall->now_ms);
		*socket_context = connection;
		if (connection != NULL && !meet_peer(context, connection))
			connection_shut_down(&hall->connections, connection);
		else if (connection != NULL &&
			 connections_open(&hall->connections) > hall->connection_budget)
			connections_make_room(
				&hall->connections, connection, crowd_greediest(&hall->crowd));
	} else if (*socket_context != NULL) {
		struct connection *connection = *socket_context;
		end_wait(hall, connection);
		connection_free(&hall->connections, connection);
		*socket_context = NULL;
	}
}

static struct connection *connection_of(struct MHD_Connection *mhd_connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd_connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info == NULL ? NULL : info->socket_context;
}

static enum MHD_Result look_for_body(
	void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	bool *has_body = context;
	(void)kind;
	if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0 ||
		(strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 && value != NULL &&
			strcmp(value, "0") != 0))
		*has_body = true;
	return *has_body ? MHD_NO : MHD_YES;
}

/* Every header is looked at, because a second Content-Length may contradict the first. */
static bool has_body(struct MHD_Connection *connection)
{
	bool has_body = false;
	MHD_get_connection_values(connection, MHD_HEADER_KIND, look_for_body, &has_body);
	return has_body;
}

/*
 * Called twice for each request: when its headers are complete, and when it is. The answer is
 * queued in the second call, because libmicrohttpd ends the connection after an answer in the
 * first; which is right for a request with a body, of which nothing more will be read.
 */
static enum MHD_Result on_request(void *context, struct MHD_Connection *mhd_connection,
	const char *path, const char *method, const char *version, const char *upload,
	size_t *upload_size, void **request_context)
{
	struct hall *hall = ((struct door *)context)->hall;
	struct connection *connection = connection_of(mhd_connection);
	bool is_first_call = *request_context == NULL;
	(void)version;
	(void)upload;
	(void)upload_size;
	if (connection == NULL || connection->user == NULL)
		return MHD_NO; /* there was no memory for it, or nobody knows whose it is */
	/* What was sent before it was shut down is still read. To answer it would be to keep a
	 * descriptor that nobody counts. */
	if (connection->phase == CONNECTION_CLOSING)
		return MHD_NO;
	unsigned adoptions = atomic_load(&hall->registry->adoptions); /* before the table */
	struct request request = {
		.connection = mhd_connection,
		.registry = hall->registry,
		.adoptions = adoptions,
		.table = atomic_load(&hall->registry->table),
		.pages = hall->pages,
		.no_memory = hall->no_memory,
		.waiters = &hall->waiters,
		.waiter = &connection->waiter,
		.user = connection->user,
		.user_wait_limit = hall->connection_budget / 2,
		.audit = hall->audit,
		.caller = {&connection->peer, connection->fd, hall->way},
		.number = hall->next_number,
		.now_ms = clock_boottime_ms(hall->clock),
	};
	if (is_first_call) {
		*request_context = connection;
		connection_enter(&hall->connections, connection, CONNECTION_BUSY, hall->now_ms);
		if (!has_body(mhd_connection))
			return MHD_YES;
		hall->next_number++;
		return routes_refuse_body(&request);
	}
	hall->next_number++;
	bool is_new = connection->waiter == NULL;
	if (is_new && !crowd_takes_request(&hall->crowd, connection->user, hall->now_ms))
		return routes_refuse_excess(&request);
	/* It has waited: from now on its client has as long as ever to take the answer. */
	if (connection->waiter != NULL && connection->phase == CONNECTION_BUSY)
		connection_enter(&hall->connections, connection, CONNECTION_BUSY, hall->now_ms);
	return routes_answer(&request, method, path);
}

/* The request line of a request has come: its rest may take as long as that of a first request. */
static void *on_request_line(void *context, const char *path, struct MHD_Connection *mhd_connection)
{
	struct hall *hall = ((struct door *)context)->hall;
	struct connection *connection = connection_of(mhd_connection);
	(void)path;
	if (connection != NULL && connection->phase == CONNECTION_KEPT)
		connection_enter(&hall->connections, connection, CONNECTION_FRESH, hall->now_ms);
	return NULL;
}

static void on_completed(void *context, struct MHD_Connection *mhd_connection,
	void **request_context, enum MHD_RequestTerminationCode code)
{
	struct door *door = context;
	struct connection *connection = *request_context;
	(void)mhd_connection;
	(void)code;
	*request_context = NULL;
	if (connection == NULL)
		return;
	end_wait(door->hall, connection);
	if (door->is_closing)
		connection_shut_down(&door->hall->connections, connection);
	else if (connection->phase != CONNECTION_CLOSING)
		connection_enter(
			&door->hall->connections, connection, CONNECTION_KEPT, door->hall->now_ms);
}

/* Paths and parameters are left as they are: routes_answer() decodes, and refuses what is broken.
 */
static size_t leave_encoded(void *context, struct MHD_Connection *connection, char *string)
{
	(void)context;
	(void)connection;
	return strlen(string);
}

static void on_log(void *context, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static void on_log(void *context, const char *format, va_list args)
{
	char line[256];
	(void)context;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	log_event(LOG_LEVEL_DEBUG, NULL, "HTTP: %s", line);
}

/* ---- the hall ---- */

void hall_wake_waiters(struct hall *hall)
{
	epoch_enter(&hall->registry->epoch, EPOCH_READER);
	waiters_wake(&hall->waiters, clock_boottime_ms(hall->clock));
	epoch_leave(&hall->registry->epoch, EPOCH_READER);
}

void hall_close_waiters(struct hall *hall)
{
	epoch_enter(&hall->registry->epoch, EPOCH_READER);
	waiters_close(&hall->waiters);
	epoch_leave(&hall->registry->epoch, EPOCH_READER);
}

/* ---- the door ---- */

struct door *door_open(struct hall *hall, struct listener *listener, struct error *err)
{
	struct door *door = calloc(1, sizeof(*door));
	if (door == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot serve at %s: out of memory", listener->path);
		return NULL;
	}
	door->hall = hall;
	door->listener = listener;
	/* Without a thread of its own: the internal one stalls when an epoll batch is exactly full,
	 * at 128, 256 and 512 busy connections. */
	door->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0,
		NULL, NULL, on_request, door, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, listener->fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		door, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, door,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, door, MHD_OPTION_UNESCAPE_CALLBACK,
		leave_encoded, NULL, MHD_OPTION_CONNECTION_LIMIT, NO_CONNECTION_LIMIT,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
		1, MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		door->daemon == NULL ? NULL
				     : MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || info->epoll_fd < 0) {
		error_set_errno(err, errno, "cannot serve at %s", listener->path);
		door_free(door);
		return NULL;
	}
	door->epoll_fd = info->epoll_fd;
	return door;
}

int door_epoll_fd(const struct door *door)
{
	return door->epoll_fd;
}

int64_t door_timeout_ms(const struct door *door)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
	return MHD_get_timeout(door->daemon, &timeout_ms) == MHD_YES ? (int64_t)timeout_ms : -1;
}

void door_note_quiet(struct door *door)
{
	struct pollfd outside = {.fd = door->listener->fd, .events = POLLIN};
	int64_t now_ms = clock_boottime_ms(door->hall->clock);
	if (!door->is_closing && poll(&outside, 1, 0) == 0)
		door->quiet_ms = now_ms;
}

void door_run(struct door *door)
{
	epoch_enter(&door->hall->registry->epoch, EPOCH_READER);
	MHD_run(door->daemon);
	epoch_leave(&door->hall->registry->epoch, EPOCH_READER);
}

void door_begin_closing(struct door *door)
{
	if (door->is_closing)
		return;
	listener_unlink(door->listener);
	struct pollfd outside = {.fd = door->listener->fd, .events = POLLIN};
	int rounds = 0;
	do
		door_run(door);
	while (poll(&outside, 1, 0) > 0 && rounds++ < CLOSING_ROUNDS);
	MHD_quiesce_daemon(door->daemon);
	door->is_closing = true;
	connections_shut_down(&door->hall->connections, CONNECTION_KEPT, door);
}

bool door_is_closing(const struct door *door)
{
	return door->is_closing;
}

bool door_is_empty(const struct door *door)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	return info == NULL || info->num_connections == 0;
}

void door_free(struct door *door)
{
	if (door == NULL)
		return;
	if (door->daemon != NULL) {
		MHD_quiesce_daemon(door->daemon); /* else it closes the listener's descriptor */
		MHD_stop_daemon(door->daemon);
	}
	if (door->is_closing)
		listener_close(door->listener);
	free(door);
}
