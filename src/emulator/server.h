/*
 * A loopback HTTP server of the emulator, over libmicrohttpd: one thread for each connection, so
 * that a handler may wait. What a kind of server (STS, control) is, is in struct server_kind.
 *
 * A handler gets the request as it was on the wire, and fills an answer. Nothing is tidied up in
 * between: no path is decoded, no header merged, no method implied.
 */
#ifndef MRTOKEND_EMULATOR_SERVER_H
#define MRTOKEND_EMULATOR_SERVER_H

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "emulator/ca.h"
#include "emulator/stop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_HEADERS_MAX 48

struct header {
	char *name;
	char *value;
};

struct request {
	uint64_t connection; /* which TCP connection of this server: 1, 2, ... */
	const char *method;
	char *target; /* path and query as received */
	size_t path_len; /* up to the '?' */
	const char *query; /* behind the '?', or NULL when there is no '?' */
	const char *version; /* such as "HTTP/1.1" */
	struct header *headers; /* in order of arrival */
	size_t header_count;
	struct text body; /* what of it is kept: see body_is_cut */
	bool body_is_cut; /* it was longer than the kind of server keeps */
	bool has_failed; /* there was no memory to hold all of it */
};

/* The value of the header, whose name is in any case; *count says how often it is there (may be
 * NULL). */
const char *request_header(const struct request *request, const char *name, size_t *count);

enum delivery {
	DELIVERY_WHOLE,
	DELIVERY_NONE, /* close the connection without an answer */
	DELIVERY_RESET, /* reset it without an answer */
	DELIVERY_RESET_MID, /* reset it after half of the body */
	DELIVERY_TRUNCATED, /* close it after half of the body */
	DELIVERY_SLOW, /* a byte, a pause, a byte... */
	DELIVERY_PADDED, /* spaces behind the body, up to padded_len bytes in all */
};

/* Zeroed is empty, whole, and without a status, which must be set. See answer_free(). */
struct answer {
	int status;
	struct text body;
	struct header headers[ANSWER_HEADERS_MAX];
	size_t header_count;
	enum delivery delivery;
	uint64_t padded_len; /* bytes; for DELIVERY_PADDED */
	int64_t pause_ms; /* for DELIVERY_SLOW */
	enum log_level log_level;
	const char *log_note; /* static; behind the line of the log, or NULL */
	const char *log_fault; /* static; the fault that was met, or NULL */
};

/* Set the header in place of one of that name; `value` NULL takes it away. Both are copied. */
void answer_set_header(struct answer *answer, const char *name, const char *value);
void answer_free(struct answer *answer);

struct server_kind {
	const char *name; /* for the log and the record */
	bool has_tls;
	size_t body_max; /* bytes of a request's body that are kept */
	/* A connection was accepted. Returns whether to reset it at once. May be NULL. */
	bool (*accept)(void *context);
	/* Answer. On the connection's thread; may wait on the program's stop. */
	void (*handle)(void *context, const struct request *request, struct answer *answer);
};

struct server;

/*
 * Listen on 127.0.0.1, on a port of the kernel's choice, and serve until server_stop().
 *
 * kind, context, stop  stay the caller's, and alive until server_stop() returned
 * identity             for TLS (1.2 or newer); NULL without it
 *
 * Returns NULL with *err: ERR_SYSTEM.
 */
struct server *server_start(const struct server_kind *kind, void *context, struct stop *stop,
	const struct ca_identity *identity, struct error *err);

/* Any thread. */
uint16_t server_port(const struct server *server);

/* TCP connections accepted so far. Any thread. */
uint64_t server_connections(const struct server *server);

/* Cut what is open and wait for the threads: call stop_now() before. NULL is fine. */
void server_stop(struct server *server);

#endif
