#include "emulator/server.h"

#include <errno.h>
#include <linux/sockios.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 10000
#define THREAD_STACK_BYTES ((size_t)1024 * 1024)
#define CONNECTION_MEMORY_BYTES ((size_t)64 * 1024)
#define FLUSH_MAX_MS 1000
#define STREAM_BLOCK_BYTES ((size_t)64 * 1024)

/* In the words of GnuTLS. Not const because libmicrohttpd's option is not; nobody writes to it. */
static char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct server {
	const struct server_kind *kind;
	void *context;
	struct stop *stop;
	struct MHD_Daemon *daemon;
	uint16_t port;
	atomic_uint_fast64_t connections;
};

/* One a TCP connection: libmicrohttpd keeps it as the socket's context. */
struct connection {
	uint64_t number;
};

/* A body that is not sent in one piece. */
struct stream {
	struct text body;
	enum delivery delivery;
	uint64_t total; /* the Content-Length that was promised */
	int64_t pause_ms;
	struct stop *stop;
	int fd;
};

const char *request_header(const struct request *request, const char *name, size_t *count)
{
	const char *value = NULL;
	size_t found = 0;
	for (size_t i = 0; i < request->header_count; i++)
		if (strcasecmp(request->headers[i].name, name) == 0 && found++ == 0)
			value = request->headers[i].value;
	if (count != NULL)
		*count = found;
	return value;
}

void answer_set_header(struct answer *answer, const char *name, const char *value)
{
	size_t i = 0;
	while (i < answer->header_count && strcasecmp(answer->headers[i].name, name) != 0)
		i++;
	if (i < answer->header_count) {
		free(answer->headers[i].name);
		free(answer->headers[i].value);
		answer->headers[i] = answer->headers[--answer->header_count];
	}
	if (value == NULL || answer->header_count == ANSWER_HEADERS_MAX)
		return;
	struct header header = {strdup(name), strdup(value)};
	if (header.name != NULL && header.value != NULL) {
		answer->headers[answer->header_count++] = header;
		return;
	}
	free(header.name);
	free(header.value);
}

void answer_free(struct answer *answer)
{
	for (size_t i = 0; i < answer->header_count; i++) {
		free(answer->headers[i].name);
		free(answer->headers[i].value);
	}
	text_free(&answer->body);
	*answer = (struct answer){0};
}

/*
 * Reset the connection now. To dissolve the association of a TCP socket makes the kernel send RST,
 * as closing with SO_LINGER 0 does, while the descriptor stays libmicrohttpd's to close.
 */
static void reset_connection(int fd)
{
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	if (connect(fd, &nobody, sizeof(nobody)) != 0)
		log_warning("cannot reset a connection: %s", strerror(errno));
}

/* Wait until what was written has left this end, because a reset throws away what has not. */
static void flush_connection(int fd, struct stop *stop)
{
	const int on = 1;
	const int off = 0;
	int unsent = 0;
	setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (int i = 0; i < FLUSH_MAX_MS; i++)
		if (ioctl(fd, SIOCOUTQNSD, &unsent) != 0 || unsent == 0 || stop_wait(stop, 1))
			return;
}

static int connection_fd(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info == NULL ? -1 : info->connect_fd;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
	enum MHD_ConnectionNotificationCode code)
{
	struct server *server = context;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		free(*socket_context);
		*socket_context = NULL;
		return;
	}
	struct connection *own = calloc(1, sizeof(*own));
	uint64_t number = atomic_fetch_add(&server->connections, 1) + 1;
	if (own != NULL)
		own->number = number;
	*socket_context = own;
	if (server->kind->accept != NULL && server->kind->accept(server->context))
		reset_connection(connection_fd(connection));
}

/* The first that is heard of a request: its target, before libmicrohttpd takes it apart. */
static void *on_target(void *context, const char *target, struct MHD_Connection *mhd)
{
	(void)context;
	struct request *request = calloc(1, sizeof(*request));
	if (request == NULL)
		return NULL;
	request->target = strdup(target);
	if (request->target == NULL) {
		free(request);
		return NULL;
	}
	request->path_len = strcspn(request->target, "?");
	if (request->target[request->path_len] == '?')
		request->query = request->target + request->path_len + 1;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	const struct connection *own = info == NULL ? NULL : info->socket_context;
	request->connection = own == NULL ? 0 : own->number;
	return request;
}

static void on_completed(void *context, struct MHD_Connection *mhd, void **request_context,
	enum MHD_RequestTerminationCode code)
{
	(void)context;
	(void)mhd;
	(void)code;
	struct request *request = *request_context;
	*request_context = NULL;
	if (request == NULL)
		return;
	for (size_t i = 0; i < request->header_count; i++) {
		free(request->headers[i].name);
		free(request->headers[i].value);
	}
	free(request->headers);
	free(request->target);
	text_free(&request->body);
	free(request);
}

static char *copy_bytes(const char *bytes, size_t len)
{
	return bytes == NULL ? strdup("") : strndup(bytes, len);
}

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	(void)kind;
	struct request *request = context;
	struct header *grown = reallocarray(
		request->headers, request->header_count + 1, sizeof(*request->headers));
	if (grown == NULL) {
		request->has_failed = true;
		return MHD_NO;
	}
	request->headers = grown;
	struct header *header = &grown[request->header_count];
	header->name = copy_bytes(name, name_len);
	header->value = copy_bytes(value, value_len);
	if (header->name == NULL || header->value == NULL) {
		free(header->name);
		free(header->value);
		request->has_failed = true;
		return MHD_NO;
	}
	request->header_count++;
	return MHD_YES;
}

static void on_stream_end(void *context)
{
	struct stream *stream = context;
	text_free(&stream->body);
	free(stream);
}

static ssize_t on_stream(void *context, uint64_t position, char *buffer, size_t size)
{
	struct stream *stream = context;
	bool is_halved =
		stream->delivery == DELIVERY_TRUNCATED || stream->delivery == DELIVERY_RESET_MID;
	if (is_halved && position >= stream->total / 2) {
		if (stream->delivery == DELIVERY_RESET_MID) {
			flush_connection(stream->fd, stream->stop);
			reset_connection(stream->fd);
		}
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	if (stream->delivery == DELIVERY_SLOW) {
		size = 1;
		if (stop_wait(stream->stop, stream->pause_ms))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	uint64_t end = is_halved ? stream->total / 2 : stream->total;
	if (position >= end)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (size > end - position)
		size = (size_t)(end - position);
	if (position < stream->body.len) {
		if (size > stream->body.len - position)
			size = stream->body.len - (size_t)position;
		memcpy(buffer, stream->body.data + position, size);
	} else {
		memset(buffer, ' ', size);
	}
	return (ssize_t)size;
}

/* Takes the answer's body. */
static struct MHD_Response *make_response(
	struct server *server, struct MHD_Connection *mhd, struct answer *answer)
{
	if (answer->delivery == DELIVERY_WHOLE) {
		size_t len = answer->body.len;
		char *body = text_steal(&answer->body);
		struct MHD_Response *response = body == NULL ? NULL
							     : MHD_create_response_from_buffer(len,
								       body, MHD_RESPMEM_MUST_FREE);
		if (response == NULL)
			free(body);
		return response;
	}
	struct stream *stream = calloc(1, sizeof(*stream));
	if (stream == NULL)
		return NULL;
	*stream = (struct stream){
		.body = answer->body,
		.delivery = answer->delivery,
		.total = answer->body.len,
		.pause_ms = answer->pause_ms,
		.stop = server->stop,
		.fd = connection_fd(mhd),
	};
	if (answer->delivery == DELIVERY_PADDED && answer->padded_len > stream->total)
		stream->total = answer->padded_len;
	answer->body = (struct text){0};
	struct MHD_Response *response = MHD_create_response_from_callback(
		stream->total, STREAM_BLOCK_BYTES, on_stream, stream, on_stream_end);
	if (response == NULL)
		on_stream_end(stream);
	return response;
}

static enum MHD_Result send_answer(
	struct server *server, struct MHD_Connection *mhd, struct answer *answer)
{
	if (answer->delivery == DELIVERY_RESET)
		reset_connection(connection_fd(mhd));
	if (answer->delivery == DELIVERY_RESET || answer->delivery == DELIVERY_NONE)
		return MHD_NO;
	struct MHD_Response *response = make_response(server, mhd, answer);
	if (response == NULL)
		return MHD_NO;
	for (size_t i = 0; i < answer->header_count; i++)
		if (MHD_add_response_header(
			    response, answer->headers[i].name, answer->headers[i].value) != MHD_YES)
			log_warning("libmicrohttpd does not send the header %s",
				answer->headers[i].name);
	enum MHD_Result result = MHD_queue_response(mhd, (unsigned)answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static void log_answer(
	const struct server *server, const struct request *request, const struct answer *answer)
{
	char outcome[32];
	if (answer->delivery == DELIVERY_RESET || answer->delivery == DELIVERY_NONE)
		snprintf(outcome, sizeof(outcome), "no answer");
	else
		snprintf(outcome, sizeof(outcome), "%d", answer->status);
	/* Without the query, where a caller may have put anything. */
	int len = request->path_len < 200 ? (int)request->path_len : 200;
	log_event(answer->log_level, NULL, "%s: %.20s %.*s: %s%s%s%s%s", server->kind->name,
		request->method, len, request->target, outcome,
		answer->log_fault == NULL ? "" : ", fault ",
		answer->log_fault == NULL ? "" : answer->log_fault,
		answer->log_note == NULL ? "" : ": ",
		answer->log_note == NULL ? "" : answer->log_note);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **request_context)
{
	(void)url;
	struct server *server = context;
	struct request *request = *request_context;
	if (request == NULL)
		return MHD_NO;
	if (request->method == NULL) {
		/* The first call. An answer given here would close the connection. */
		request->method = method;
		request->version = version;
		MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, on_header, request);
		return request->has_failed ? MHD_NO : MHD_YES;
	}
	if (*upload_len > 0) {
		size_t room = server->kind->body_max - request->body.len;
		request->body_is_cut = request->body_is_cut || *upload_len > room;
		text_append_bytes(&request->body, upload, *upload_len < room ? *upload_len : room);
		*upload_len = 0;
		return MHD_YES;
	}
	if (request->body.has_failed)
		return MHD_NO;
	struct answer answer = {.log_level = LOG_LEVEL_INFO};
	server->kind->handle(server->context, request, &answer);
	log_answer(server, request, &answer);
	enum MHD_Result result = send_answer(server, mhd, &answer);
	answer_free(&answer);
	return result;
}

/* libmicrohttpd's own words: broken handshakes and cut connections, most of them wanted. */
__attribute__((format(printf, 2, 0))) static void on_log(
	void *context, const char *format, va_list args)
{
	const struct server *server = context;
	char line[256];
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\r\n")] = '\0';
	log_event(LOG_LEVEL_DEBUG, NULL, "%s: %s", server->kind->name, line);
}

struct server *server_start(const struct server_kind *kind, void *context, struct stop *stop,
	const struct ca_identity *identity, struct error *err)
{
	struct server *server = calloc(1, sizeof(*server));
	if (server == NULL) {
		error_set(err, ERR_NO_MEMORY, "no memory for the %s server", kind->name);
		return NULL;
	}
	server->kind = kind;
	server->context = context;
	server->stop = stop;
	atomic_init(&server->connections, 0);
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct MHD_OptionItem tls_options[] = {
		{MHD_OPTION_HTTPS_MEM_KEY, 0, kind->has_tls ? identity->key_pem : NULL},
		{MHD_OPTION_HTTPS_MEM_CERT, 0, kind->has_tls ? identity->certificate_pem : NULL},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, tls_priorities},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD |
			 MHD_USE_ITC | MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK |
			 (kind->has_tls ? MHD_USE_TLS : 0);
	/* The logger comes first, so that it has the errors of what follows. */
	server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, server,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, server, MHD_OPTION_SOCK_ADDR, &address,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)SOMAXCONN, MHD_OPTION_THREAD_STACK_SIZE,
		THREAD_STACK_BYTES, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES,
		MHD_OPTION_ARRAY, kind->has_tls ? tls_options : no_options, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		server->daemon == NULL
			? NULL
			: MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
	if (info == NULL) {
		error_set_errno(err, errno, "cannot start the %s server", kind->name);
		server_stop(server);
		return NULL;
	}
	server->port = info->port;
	return server;
}

uint16_t server_port(const struct server *server)
{
	return server->port;
}

uint64_t server_connections(const struct server *server)
{
	return atomic_load(&server->connections);
}

void server_stop(struct server *server)
{
	if (server == NULL)
		return;
	if (server->daemon != NULL)
		MHD_stop_daemon(server->daemon);
	free(server);
}
