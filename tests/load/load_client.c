/*
 * A client that never lets go: many keep-alive connections to a Unix socket, each asking again as
 * soon as it has its answer, each answer checked whole. For tests and benchmarks.
 *
 *   load_client --socket PATH --connections N --requests TOTAL [--target PATH] [--close]
 *
 * Prints one line of JSON with what it counted; exits with 0 when no request failed, no token was
 * expired as it came, and nothing stalled.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX 16384
#define STALL_MS 30000
#define EVENTS 256

struct client {
	int fd;
	size_t len;
	char answer[ANSWER_MAX];
};

struct load {
	struct sockaddr_un address;
	const char *target;
	bool closes;
	int64_t wanted;
	int64_t sent;
	int64_t answered;
	int64_t failed;
	int64_t expired;
	int64_t changes; /* how often the token was another one than in the answer before */
	unsigned failures_told;
	char etag[64];
	char request[512];
	size_t request_len;
	int epoll_fd;
};

static void fail(struct load *load, const char *what)
{
	load->failed++;
	if (load->failures_told++ < 5)
		fprintf(stderr, "load_client: %s\n", what);
}

static bool client_open(struct load *load, struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	client->len = 0;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 ||
		connect(client->fd, (struct sockaddr *)&load->address, sizeof(load->address)) !=
			0 ||
		epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) != 0) {
		fprintf(stderr, "load_client: cannot connect: %m\n");
		return false;
	}
	return true;
}

/* Send the next request, if one is still wanted. Returns whether all is well. */
static bool client_ask(struct load *load, struct client *client)
{
	if (load->sent >= load->wanted)
		return true;
	load->sent++;
	/* The request fits into any socket buffer. */
	if (send(client->fd, load->request, load->request_len, MSG_NOSIGNAL) !=
		(ssize_t)load->request_len) {
		fail(load, "the connection does not take a request");
		return false;
	}
	return true;
}

static const char *find_header(const char *answer, const char *name)
{
	const char *found = strcasestr(answer, name);
	return found == NULL ? NULL : found + strlen(name);
}

/* Check a whole answer: headers in answer[0..], its body at `body`. */
static void check_answer(struct load *load, const char *answer, const char *body)
{
	struct timespec now;
	if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0) {
		char line[64];
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(answer, "\r\n"), answer);
		fail(load, line);
		return;
	}
	const char *etag = find_header(answer, "\r\nETag: ");
	const char *expires = strstr(body, "\"expires_on\":");
	if (etag == NULL || expires == NULL || strncmp(body, "{\"token\":\"eyJ", 13) != 0) {
		fail(load, "the answer has no token");
		return;
	}
	char this_etag[sizeof(load->etag)];
	snprintf(this_etag, sizeof(this_etag), "%.*s", (int)strcspn(etag, "\r\n"), etag);
	if (strcmp(this_etag, load->etag) != 0) {
		memcpy(load->etag, this_etag, sizeof(this_etag));
		load->changes++;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	if (strtoll(expires + strlen("\"expires_on\":"), NULL, 10) <= now.tv_sec)
		load->expired++;
}

/* Read what is there. Returns false when the connection is at its end. */
static bool client_read(struct load *load, struct client *client)
{
	ssize_t got = recv(client->fd, client->answer + client->len,
		sizeof(client->answer) - 1 - client->len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0) {
		fail(load, "the connection ended before its answer");
		load->answered++;
		return false;
	}
	client->len += (size_t)got;
	client->answer[client->len] = '\0';
	const char *body = strstr(client->answer, "\r\n\r\n");
	if (body == NULL)
		return true;
	body += 4;
	const char *length = find_header(client->answer, "\r\nContent-Length: ");
	size_t body_len = length == NULL ? 0 : (size_t)strtoul(length, NULL, 10);
	size_t have = client->len - (size_t)(body - client->answer);
	if (have < body_len)
		return true;
	if (have > body_len)
		fail(load, "more bytes than one answer");
	check_answer(load, client->answer, body);
	load->answered++;
	client->len = 0;
	if (!load->closes)
		return client_ask(load, client);
	close(client->fd);
	if (load->sent >= load->wanted) {
		client->fd = -1;
		return true;
	}
	return client_open(load, client) && client_ask(load, client);
}

static bool run(struct load *load, struct client *clients, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!client_open(load, &clients[i]))
			return false;
	for (size_t i = 0; i < count; i++)
		if (!client_ask(load, &clients[i]))
			return false;
	while (load->answered < load->wanted) {
		struct epoll_event events[EVENTS];
		int ready = epoll_wait(load->epoll_fd, events, EVENTS, STALL_MS);
		if (ready == 0) {
			fprintf(stderr,
				"load_client: stalled, %" PRId64 " of %" PRId64 " answered\n",
				load->answered, load->wanted);
			return false;
		}
		for (int i = 0; i < ready; i++)
			if (!client_read(load, events[i].data.ptr))
				return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"connections", required_argument, NULL, 'c'},
		{"requests", required_argument, NULL, 'r'},
		{"target", required_argument, NULL, 't'},
		{"close", no_argument, NULL, 'x'},
		{0},
	};
	struct load load = {.target = "/v1/token", .wanted = 1};
	size_t count = 1;
	int option;
	load.address.sun_family = AF_UNIX;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			snprintf(
				load.address.sun_path, sizeof(load.address.sun_path), "%s", optarg);
		else if (option == 'c')
			count = strtoul(optarg, NULL, 10);
		else if (option == 'r')
			load.wanted = strtoll(optarg, NULL, 10);
		else if (option == 't')
			load.target = optarg;
		else if (option == 'x')
			load.closes = true;
		else
			return 2;
	}
	struct rlimit files = {.rlim_cur = count + 64, .rlim_max = 0};
	struct rlimit present;
	if (getrlimit(RLIMIT_NOFILE, &present) == 0 && present.rlim_cur < files.rlim_cur) {
		files.rlim_max = present.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	load.request_len = (size_t)snprintf(load.request, sizeof(load.request),
		"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", load.target,
		load.closes ? "Connection: close\r\n" : "");
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct client *clients = calloc(count, sizeof(*clients));
	if (clients == NULL || load.epoll_fd < 0)
		return 1;
	struct timespec start;
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	bool is_well = run(&load, clients, count);
	clock_gettime(CLOCK_MONOTONIC, &end);
	double seconds =
		(double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	printf("{\"connections\":%zu,\"requests\":%" PRId64 ",\"failed\":%" PRId64
	       ",\"expired\":%" PRId64 ",\"token_changes\":%" PRId64
	       ",\"seconds\":%.3f,\"per_second\":%.0f}\n",
		count, load.answered, load.failed, load.expired, load.changes, seconds,
		(double)load.answered / seconds);
	free(clients);
	return is_well && load.failed == 0 && load.expired == 0 ? 0 : 1;
}
