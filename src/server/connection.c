#include "server/connection.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

static const int64_t time_of_phase_ms[CONNECTION_PHASE_COUNT] = {
	[CONNECTION_FRESH] = CONNECTION_REQUEST_MS,
	[CONNECTION_BUSY] = CONNECTION_ANSWER_MS,
	[CONNECTION_KEPT] = CONNECTION_IDLE_MS,
	[CONNECTION_CLOSING] = INT64_MAX / 2, /* it is libmicrohttpd's turn */
};

static void list_append(struct connections *connections, struct connection *connection)
{
	enum connection_phase phase = connection->phase;
	connection->next = NULL;
	connection->previous = connections->last[phase];
	if (connection->previous != NULL)
		connection->previous->next = connection;
	else
		connections->first[phase] = connection;
	connections->last[phase] = connection;
	connections->count[phase]++;
}

static void list_remove(struct connections *connections, struct connection *connection)
{
	enum connection_phase phase = connection->phase;
	if (connection->previous != NULL)
		connection->previous->next = connection->next;
	else
		connections->first[phase] = connection->next;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	else
		connections->last[phase] = connection->previous;
	connections->count[phase]--;
}

struct connection *connection_new(
	struct connections *connections, int fd, const void *owner, int64_t now_ms)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection == NULL)
		return NULL;
	connection->fd = fd;
	connection->owner = owner;
	connection->phase = CONNECTION_FRESH;
	connection->deadline_ms = now_ms + CONNECTION_REQUEST_MS;
	list_append(connections, connection);
	return connection;
}

void connection_enter(struct connections *connections, struct connection *connection,
	enum connection_phase phase, int64_t now_ms)
{
	list_remove(connections, connection);
	connection->phase = phase;
	connection->deadline_ms = now_ms + time_of_phase_ms[phase];
	list_append(connections, connection);
}

void connection_free(struct connections *connections, struct connection *connection)
{
	list_remove(connections, connection);
	peer_clear(&connection->peer);
	if (connection->user != NULL) {
		connection->user->open -= connection->phase != CONNECTION_CLOSING;
		crowd_leave(connection->user);
	}
	free(connection);
}

unsigned connections_open(const struct connections *connections)
{
	return connections->count[CONNECTION_FRESH] + connections->count[CONNECTION_BUSY] +
	       connections->count[CONNECTION_KEPT];
}

/* The first of that user in the phase, or NULL. */
static struct connection *first_of(const struct connections *connections,
	enum connection_phase phase, const struct crowd_user *user)
{
	struct connection *connection = connections->first[phase];
	while (connection != NULL && connection->user != user)
		connection = connection->next;
	return connection;
}

void connections_make_room(struct connections *connections, struct connection *newcomer,
	const struct crowd_user *greediest)
{
	struct connection *victim = first_of(connections, CONNECTION_KEPT, greediest);
	if (victim == NULL)
		victim = first_of(connections, CONNECTION_FRESH, greediest);
	if (victim == NULL && greediest != newcomer->user)
		victim = first_of(connections, CONNECTION_BUSY, greediest);
	connection_shut_down(connections, victim == NULL ? newcomer : victim);
}

void connections_expire(struct connections *connections, int64_t now_ms)
{
	for (int phase = 0; phase < CONNECTION_CLOSING; phase++)
		while (connections->first[phase] != NULL &&
			connections->first[phase]->deadline_ms <= now_ms)
			connection_shut_down(connections, connections->first[phase]);
}

void connection_shut_down(struct connections *connections, struct connection *connection)
{
	shutdown(connection->fd, SHUT_RDWR);
	if (connection->user != NULL && connection->phase != CONNECTION_CLOSING)
		connection->user->open--;
	connection_enter(connections, connection, CONNECTION_CLOSING, 0);
}

void connections_shut_down(
	struct connections *connections, enum connection_phase phase, const void *owner)
{
	struct connection *next = NULL;
	for (struct connection *c = connections->first[phase]; c != NULL; c = next) {
		next = c->next;
		if (c->owner == owner)
			connection_shut_down(connections, c);
	}
}

int64_t connections_next_ms(const struct connections *connections)
{
	int64_t next_ms = INT64_MAX;
	for (int phase = 0; phase < CONNECTION_CLOSING; phase++)
		if (connections->first[phase] != NULL &&
			connections->first[phase]->deadline_ms < next_ms)
			next_ms = connections->first[phase]->deadline_ms;
	return next_ms;
}
