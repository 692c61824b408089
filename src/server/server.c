#include "server/server.h"

#include "base/log.h"
#include "server/answer.h"
#include "server/door.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

/* At the end, how long who has just come in may take over a first request. Over a restart the
 * socket stays open, and clients who are ended here would see a failure and not a pause. */
#define FIRST_REQUEST_MS 500

/* What the main thread asks for. Guarded by server.lock. */
struct mail {
	bool is_waiting; /* to be read */
	bool wants_stop;
	int64_t grace_ms;
	struct door **doors;
	size_t door_count;
};

/* A round of the loop that takes longer than this, its wait left out, was held up. */
#define ROUND_MAX_MS 1000

struct server {
	pthread_t thread;
	int event_fd;
	pthread_mutex_t lock; /* guards mail; nothing is done while it is held */
	pthread_cond_t answered;
	struct mail mail;
	struct meanwhile meanwhile;
	struct heartbeat heartbeat;

	/* The main thread's: what it last asked for, and the door of each. */
	struct listener **listeners;
	struct door **listener_doors;
	size_t listener_count;

	/* The server thread's. */
	struct door **doors;
	size_t door_count;
	int64_t missed_ms; /* of CLOCK_BOOTTIME, in which the thread could not serve */
	struct pollfd *polls; /* the event descriptor's, then one for each door */
	struct hall hall;
};

static int64_t clock_now_ms(const struct server *server)
{
	return clock_boottime_ms(server->hall.clock);
}

/*
 * The time by which connections grow old. What passed while the machine slept or the process was
 * stopped is left out: a client that was not served could not know that it idled for too long.
 */
static int64_t serving_ms(const struct server *server)
{
	return clock_now_ms(server) - server->missed_ms;
}

/* ---- the thread ---- */

static int time_to_wait(const struct server *server, int64_t most_ms)
{
	int64_t wait_ms = connections_next_ms(&server->hall.connections);
	if (wait_ms != INT64_MAX)
		wait_ms -= serving_ms(server);
	int64_t waiters_ms = waiters_next_ms(&server->hall.waiters);
	if (waiters_ms != INT64_MAX && waiters_ms - clock_now_ms(server) < wait_ms)
		wait_ms = waiters_ms - clock_now_ms(server);
	if (server->hall.look_ms != INT64_MAX &&
		server->hall.look_ms - clock_now_ms(server) < wait_ms)
		wait_ms = server->hall.look_ms - clock_now_ms(server);
	int64_t audit_ms = audit_next_ms(server->hall.audit);
	if (audit_ms != INT64_MAX && audit_ms - clock_now_ms(server) < wait_ms)
		wait_ms = audit_ms - clock_now_ms(server);
	if (wait_ms > most_ms)
		wait_ms = most_ms;
	for (size_t i = 0; i < server->door_count; i++) {
		int64_t door_ms = door_timeout_ms(server->doors[i]);
		if (door_ms >= 0 && door_ms < wait_ms)
			wait_ms = door_ms;
	}
	return wait_ms < 0 ? 0 : (int)wait_ms;
}

/* Returns how many descriptors had something to say. */
static int wait_and_serve(struct server *server, int64_t most_ms)
{
	server->polls[0] = (struct pollfd){.fd = server->event_fd, .events = POLLIN};
	for (size_t i = 0; i < server->door_count; i++)
		server->polls[i + 1] =
			(struct pollfd){.fd = door_epoll_fd(server->doors[i]), .events = POLLIN};
	int wait_ms = time_to_wait(server, most_ms);
	int ready = poll(server->polls, (nfds_t)server->door_count + 1, wait_ms);
	if (server->polls[0].revents != 0) {
		uint64_t count;
		ssize_t got = read(server->event_fd, &count, sizeof(count));
		(void)got; /* it is only there to wake the poll */
	}
	int64_t passed_ms = serving_ms(server) - server->hall.now_ms;
	if (passed_ms > wait_ms + ROUND_MAX_MS)
		server->missed_ms += passed_ms;
	server->hall.now_ms = serving_ms(server);
	connections_expire(&server->hall.connections, server->hall.now_ms);
	hall_wake_waiters(&server->hall);
	audit_turn(server->hall.audit, clock_now_ms(server));
	if (server->hall.look_ms <= clock_now_ms(server))
		server->hall.look_ms = INT64_MAX;
	for (size_t i = 0; i < server->door_count; i++)
		door_run(server->doors[i]);
	for (size_t i = 0; server->hall.way == PEER_WAY_START_TIME && i < server->door_count; i++)
		door_note_quiet(server->doors[i]);
	return ready;
}

/* Serve on while there are connections in that phase, until `end_ms`. */
static void serve_phase(struct server *server, enum connection_phase phase, int64_t end_ms)
{
	while (server->hall.connections.count[phase] > 0 && clock_now_ms(server) < end_ms)
		wait_and_serve(server, end_ms - clock_now_ms(server));
}

/* Finish what is inside the closing doors, for `grace_ms` at most. */
static void drain(struct server *server, int64_t grace_ms)
{
	int64_t now_ms = clock_now_ms(server);
	int64_t end_ms = now_ms + grace_ms;
	/* A pass without an event means that every request that had arrived was answered, or is
	 * being written to a client that does not read fast enough. */
	while (wait_and_serve(server, 0) > 0 && clock_now_ms(server) < end_ms)
		;
	serve_phase(server, CONNECTION_FRESH,
		grace_ms < FIRST_REQUEST_MS ? end_ms : now_ms + FIRST_REQUEST_MS);
	serve_phase(server, CONNECTION_BUSY, end_ms);
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
			if (door_is_closing(server->doors[i]))
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
		if (door_is_closing(door) && door_is_empty(door)) {
			door_free(door);
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
		heartbeat_answer(&server->heartbeat);
		/* Before the wait: one that was empty as it closed gives no sign of its own. */
		sweep_doors(server);
		wait_and_serve(server, 60000);
	}
	hall_close_waiters(&server->hall);
	for (size_t i = 0; i < server->door_count; i++)
		door_begin_closing(server->doors[i]);
	drain(server, server->mail.grace_ms);
	for (size_t i = 0; i < server->door_count; i++)
		door_free(server->doors[i]);
	waiters_destroy(&server->hall.waiters);
	return NULL;
}

/* ---- the main thread ---- */

static void wake(void *context)
{
	const struct server *server = context;
	const uint64_t one = 1;
	/* A counter that is full has been written to, which is all that matters. */
	while (write(server->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void send_mail(struct server *server, const struct mail *mail)
{
	pthread_mutex_lock(&server->lock);
	server->mail = *mail;
	server->mail.is_waiting = true;
	wake(server);
	while (server->mail.is_waiting)
		answer_wait(&server->answered, &server->lock, &server->meanwhile);
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
			doors[i] = door_open(&server->hall, listeners[i], err);
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
	audit_free(server->hall.audit);
	crowd_free(&server->hall.crowd);
	for (size_t i = 0; i < PAGE_COUNT; i++) {
		answer_free(server->hall.pages[i].answer);
		peer_clear(&server->hall.pages[i].viewer);
	}
	answer_free(server->hall.no_memory);
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
	server->hall = (struct hall){
		.registry = options->registry,
		.clock = options->clock,
		.connection_budget = options->connection_limit,
		.waiters = {.registry = options->registry,
			.limit = options->connection_limit - options->connection_limit / 4},
		.way = peer_find_way(),
		.look_ms = INT64_MAX,
		.now_ms = clock_boottime_ms(options->clock),
	};
	server->meanwhile = options->meanwhile;
	heartbeat_init(&server->heartbeat, "serve", wake, server);
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->answered, NULL);
	server->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->polls = calloc(count + 1, sizeof(*server->polls));
	server->hall.no_memory = answer_new_no_memory();
	if (server->polls == NULL || server->hall.no_memory == NULL)
		errno = ENOMEM;
	if (server->event_fd < 0 || server->polls == NULL || server->hall.no_memory == NULL ||
		getrandom(&server->hall.next_number, sizeof(server->hall.next_number), 0) !=
			(ssize_t)sizeof(server->hall.next_number)) {
		error_set_errno(err, errno, "cannot serve");
		server_free(server);
		return NULL;
	}
	server->hall.audit = audit_new(err);
	if (server->hall.audit == NULL) {
		server_free(server);
		return NULL;
	}
	server->doors = doors_open(server, listeners, count, err);
	struct door **copy = server->doors == NULL ? NULL : doors_copy(server->doors, count, err);
	int failed = ENOMEM;
	if (copy != NULL) {
		server->door_count = count;
		/* Before there is anybody to be woken up. */
		registry_set_notify(options->registry, wake, server);
		failed = pthread_create(&server->thread, NULL, server_main, server);
		if (failed != 0)
			error_set_errno(err, failed, "cannot start the server thread");
	}
	if (failed != 0) {
		registry_set_notify(options->registry, NULL, NULL);
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

struct heartbeat *server_heartbeat(struct server *server)
{
	return &server->heartbeat;
}

void server_stop(struct server *server, int64_t grace_ms)
{
	if (server == NULL)
		return;
	const struct mail mail = {.wants_stop = true, .grace_ms = grace_ms};
	send_mail(server, &mail);
	registry_set_notify(server->hall.registry, NULL, NULL);
	pthread_join(server->thread, NULL);
	server_free(server);
}
