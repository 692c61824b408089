#include "server/server.h"

#include "base/log.h"
#include "server/connection.h"
#include "server/routes.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

/* The server thread's place among the epoch's readers. */
#define EPOCH_READER 0

/*
 * libmicrohttpd's memory for one connection: request line, headers and the answer's headers. What
 * is longer gets a 414 or 431 from it.
 */
#define CONNECTION_MEMORY ((size_t)6 * 1024)

/* A listener with the libmicrohttpd daemon that serves it. */
struct door {
	struct server *server;
	struct listener *listener;
	struct MHD_Daemon *daemon;
	int epoll_fd;
	bool is_closing;
};

/* What the main thread asks for. Guarded by server.lock. */
struct mail {
	bool is_waiting; /* to be read */
	bool wants_stop;
	int64_t grace_ms;
	struct door **doors;
	size_t door_count;
};

struct server {
	struct server_options options;
	pthread_t thread;
	int event_fd;
	pthread_mutex_t lock; /* guards mail; nothing is done while it is held */
	pthread_cond_t answered;
	struct mail mail;

	/* The main thread's: what it last asked for, and the door of each. */
	struct listener **listeners;
	struct door **listener_doors;
	size_t listener_count;

	/* The server thread's. */
	struct door **doors;
	size_t door_count;
	struct pollfd *polls; /* the event descriptor's, then one for each door */
	struct connections connections;
	uint64_t next_number;
	int64_t now_ms; /* as the loop woke up */
};

static int64_t clock_now_ms(const struct server *server)
{
	return clock_boottime_ms(server->options.clock);
}

/* ---- called by libmicrohttpd ---- */

static void on_connection(void *context, struct MHD_Connection *mhd_connection,
	void **socket_context, enum MHD_ConnectionNotificationCode code)
{
	struct server *server = ((struct door *)context)->server;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(mhd_connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		*socket_context = connection_new(
			&server->connections, info->connect_fd, context, server->now_ms);
	} else if (*socket_context != NULL) {
		connection_free(&server->connections, *socket_context);
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
	struct server *server = ((struct door *)context)->server;
	struct connection *connection = connection_of(mhd_connection);
	bool is_first_call = *request_context == NULL;
	(void)version;
	(void)upload;
	(void)upload_size;
	if (connection == NULL)
		return MHD_NO; /* there was no memory for it */
	struct request request = {
		.connection = mhd_connection,
		.table = atomic_load(&server->options.registry->table),
		.number = server->next_number,
		.now_ms = clock_now_ms(server),
	};
	if (is_first_call) {
		*request_context = connection;
		connection_enter(&server->connections, connection, CONNECTION_BUSY, request.now_ms);
		if (!has_body(mhd_connection))
			return MHD_YES;
		server->next_number++;
		return routes_refuse_body(&request);
	}
	server->next_number++;
	return routes_answer(&request, method, path);
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
	connection_enter(
		&door->server->connections, connection, CONNECTION_KEPT, door->server->now_ms);
	if (door->is_closing)
		connection_shut_down(connection);
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

/* ---- doors ---- */

static void door_free(struct door *door)
{
	if (door->daemon != NULL) {
		MHD_quiesce_daemon(door->daemon); /* else it closes the listener's descriptor */
		MHD_stop_daemon(door->daemon);
	}
	free(door);
}

static struct door *door_open(struct server *server, struct listener *listener, struct error *err)
{
	struct door *door = calloc(1, sizeof(*door));
	if (door == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot serve at %s: out of memory", listener->path);
		return NULL;
	}
	door->server = server;
	door->listener = listener;
	/* Without a thread of its own: the internal one stalls when an epoll batch is exactly full,
	 * at 128, 256 and 512 busy connections. */
	door->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG, 0, NULL,
		NULL, on_request, door, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, listener->fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		door, MHD_OPTION_NOTIFY_COMPLETED, on_completed, door, MHD_OPTION_UNESCAPE_CALLBACK,
		leave_encoded, NULL, MHD_OPTION_CONNECTION_LIMIT, server->options.connection_limit,
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

/* Let nobody new through; what is inside is finished. Those who wait outside already come in first.
 */
static void door_begin_closing(struct door *door)
{
	if (door->is_closing)
		return;
	listener_unlink(door->listener);
	MHD_run(door->daemon);
	MHD_quiesce_daemon(door->daemon);
	connections_shut_down(&door->server->connections, CONNECTION_KEPT, door);
	door->is_closing = true;
}

static bool door_is_empty(const struct door *door)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	return info == NULL || info->num_connections == 0;
}

/* ---- the thread ---- */

/* Run libmicrohttpd wherever something happened or is due. */
static void serve(struct server *server)
{
	epoch_enter(&server->options.registry->epoch, EPOCH_READER);
	for (size_t i = 0; i < server->door_count; i++)
		MHD_run(server->doors[i]->daemon);
	epoch_leave(&server->options.registry->epoch, EPOCH_READER);
}

static int time_to_wait(const struct server *server, int64_t most_ms)
{
	int64_t wait_ms = connections_next_ms(&server->connections);
	wait_ms = wait_ms == INT64_MAX ? most_ms : wait_ms - clock_now_ms(server);
	if (wait_ms > most_ms)
		wait_ms = most_ms;
	for (size_t i = 0; i < server->door_count; i++) {
		MHD_UNSIGNED_LONG_LONG mhd_ms = 0;
		if (MHD_get_timeout(server->doors[i]->daemon, &mhd_ms) == MHD_YES &&
			(int64_t)mhd_ms < wait_ms)
			wait_ms = (int64_t)mhd_ms;
	}
	return wait_ms < 0 ? 0 : (int)wait_ms;
}

/* Returns how many descriptors had something to say. */
static int wait_and_serve(struct server *server, int64_t most_ms)
{
	server->polls[0] = (struct pollfd){.fd = server->event_fd, .events = POLLIN};
	for (size_t i = 0; i < server->door_count; i++)
		server->polls[i + 1] =
			(struct pollfd){.fd = server->doors[i]->epoll_fd, .events = POLLIN};
	int ready =
		poll(server->polls, (nfds_t)server->door_count + 1, time_to_wait(server, most_ms));
	server->now_ms = clock_now_ms(server);
	connections_expire(&server->connections, server->now_ms);
	serve(server);
	return ready;
}

/* Finish what is inside the closing doors, for `grace_ms` at most. */
static void drain(struct server *server, int64_t grace_ms)
{
	int64_t end_ms = clock_now_ms(server) + grace_ms;
	/* A pass without an event means that every request that had arrived was answered, or is
	 * being written to a client that does not read fast enough. */
	while (wait_and_serve(server, 0) > 0 && clock_now_ms(server) < end_ms)
		;
	while (server->connections.count[CONNECTION_BUSY] > 0 && clock_now_ms(server) < end_ms)
		wait_and_serve(server, end_ms - clock_now_ms(server));
}

/* Put new doors in place of the present ones, and close those that are gone. */
static void change_doors(struct server *server, struct door **doors, size_t count)
{
	for (size_t i = 0; i < server->door_count; i++) {
		struct door *door = server->doors[i];
		bool stays = false;
		for (size_t j = 0; j < count; j++)
			stays = stays || doors[j] == door;
		if (!stays)
			door_begin_closing(door);
	}
	struct pollfd *polls =
		reallocarray(server->polls, count + server->door_count + 1, sizeof(*polls));
	struct door **all =
		reallocarray(NULL, count + server->door_count + 1, sizeof(struct door *));
	if (polls != NULL)
		server->polls = polls;
	if (all != NULL && polls != NULL) {
		/* The old ones stay at the end until they are empty. */
		size_t total = count;
		memcpy(all, doors, count * sizeof(struct door *));
		for (size_t i = 0; i < server->door_count; i++)
			if (server->doors[i]->is_closing)
				all[total++] = server->doors[i];
		free(server->doors);
		server->doors = all;
		server->door_count = total;
	} else {
		free(all);
		log_error("cannot change the listeners: out of memory");
	}
	free(doors);
}

/* Free the closing doors that nobody is behind any more. */
static void sweep_doors(struct server *server)
{
	for (size_t i = 0; i < server->door_count;) {
		struct door *door = server->doors[i];
		if (door->is_closing && door_is_empty(door)) {
			struct listener *listener = door->listener;
			door_free(door);
			listener_close(listener);
			server->doors[i] = server->doors[--server->door_count];
		} else {
			i++;
		}
	}
}

/* Returns whether to go on. */
static bool read_mail(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	struct mail mail = server->mail;
	pthread_mutex_unlock(&server->lock);
	if (!mail.is_waiting)
		return true;
	uint64_t count;
	ssize_t got = read(server->event_fd, &count, sizeof(count));
	(void)got; /* it is only there to wake the poll */
	if (!mail.wants_stop)
		change_doors(server, mail.doors, mail.door_count);
	pthread_mutex_lock(&server->lock);
	server->mail.is_waiting = false;
	pthread_cond_signal(&server->answered);
	pthread_mutex_unlock(&server->lock);
	return !mail.wants_stop;
}

static void *server_main(void *context)
{
	struct server *server = context;
	while (read_mail(server)) {
		wait_and_serve(server, 60000);
		sweep_doors(server);
	}
	for (size_t i = 0; i < server->door_count; i++)
		door_begin_closing(server->doors[i]);
	drain(server, server->mail.grace_ms);
	for (size_t i = 0; i < server->door_count; i++) {
		struct listener *listener = server->doors[i]->listener;
		door_free(server->doors[i]);
		listener_close(listener);
	}
	return NULL;
}

/* ---- the main thread ---- */

static void send_mail(struct server *server, const struct mail *mail)
{
	const uint64_t one = 1;
	pthread_mutex_lock(&server->lock);
	server->mail = *mail;
	server->mail.is_waiting = true;
	while (write(server->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	while (server->mail.is_waiting)
		pthread_cond_wait(&server->answered, &server->lock);
	pthread_mutex_unlock(&server->lock);
}

/* The door of a listener that is served already, or NULL. */
static struct door *door_of(const struct server *server, const struct listener *listener)
{
	for (size_t i = 0; i < server->listener_count; i++)
		if (server->listeners[i] == listener)
			return server->listener_doors[i];
	return NULL;
}

static struct door **doors_open(
	struct server *server, struct listener **listeners, size_t count, struct error *err)
{
	struct door **doors = calloc(count + 1, sizeof(struct door *));
	if (doors == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot serve: out of memory");
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		doors[i] = door_of(server, listeners[i]);
		if (doors[i] == NULL)
			doors[i] = door_open(server, listeners[i], err);
		if (doors[i] != NULL)
			continue;
		while (i-- > 0)
			if (door_of(server, listeners[i]) == NULL)
				door_free(doors[i]);
		free(doors);
		return NULL;
	}
	return doors;
}

/* Remember what is served now. */
static void keep_listeners(
	struct server *server, struct listener **listeners, struct door **doors, size_t count)
{
	free(server->listeners);
	free(server->listener_doors);
	server->listeners = listeners;
	server->listener_doors = doors;
	server->listener_count = count;
}

static struct door **doors_copy(struct door *const *doors, size_t count, struct error *err)
{
	struct door **copy = calloc(count + 1, sizeof(struct door *));
	if (copy == NULL)
		error_set(err, ERR_NO_MEMORY, "cannot serve: out of memory");
	else
		memcpy(copy, doors, count * sizeof(struct door *));
	return copy;
}

static void server_free(struct server *server)
{
	if (server->event_fd >= 0)
		close(server->event_fd);
	pthread_cond_destroy(&server->answered);
	pthread_mutex_destroy(&server->lock);
	free(server->polls);
	free(server->doors);
	free(server->listeners);
	free(server->listener_doors);
	free(server);
}

struct server *server_start(const struct server_options *options, struct listener **listeners,
	size_t count, struct error *err)
{
	struct server *server = calloc(1, sizeof(*server));
	if (server == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot serve: out of memory");
		return NULL;
	}
	server->options = *options;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->answered, NULL);
	server->now_ms = clock_now_ms(server);
	server->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->polls = calloc(count + 1, sizeof(*server->polls));
	if (server->event_fd < 0 || server->polls == NULL ||
		getrandom(&server->next_number, sizeof(server->next_number), 0) !=
			(ssize_t)sizeof(server->next_number)) {
		error_set_errno(err, errno, "cannot serve");
		server_free(server);
		return NULL;
	}
	server->doors = doors_open(server, listeners, count, err);
	struct door **copy = server->doors == NULL ? NULL : doors_copy(server->doors, count, err);
	int failed = ENOMEM;
	if (copy != NULL) {
		server->door_count = count;
		failed = pthread_create(&server->thread, NULL, server_main, server);
		if (failed != 0)
			error_set_errno(err, failed, "cannot start the server thread");
	}
	if (failed != 0) {
		for (size_t i = 0; server->doors != NULL && i < count; i++)
			door_free(server->doors[i]);
		free(copy);
		server_free(server);
		return NULL;
	}
	pthread_setname_np(server->thread, "serve");
	keep_listeners(server, listeners, copy, count);
	return server;
}

struct listener *const *server_listeners(const struct server *server, size_t *count)
{
	*count = server->listener_count;
	return server->listeners;
}

int server_set_listeners(
	struct server *server, struct listener **listeners, size_t count, struct error *err)
{
	struct door **doors = doors_open(server, listeners, count, err);
	struct door **copy = doors == NULL ? NULL : doors_copy(doors, count, err);
	if (copy == NULL) {
		for (size_t i = 0; doors != NULL && i < count; i++)
			if (door_of(server, listeners[i]) == NULL)
				door_free(doors[i]);
		free(doors);
		return -1;
	}
	const struct mail mail = {.doors = doors, .door_count = count};
	send_mail(server, &mail);
	keep_listeners(server, listeners, copy, count);
	return 0;
}

void server_stop(struct server *server, int64_t grace_ms)
{
	if (server == NULL)
		return;
	const struct mail mail = {.wants_stop = true, .grace_ms = grace_ms};
	send_mail(server, &mail);
	pthread_join(server->thread, NULL);
	server_free(server);
}
