/*
 * Answers: the ready ones of the snapshots, and those that are made for one request. The server
 * thread, but for server_answer_maker, whose functions the refresh thread calls.
 */
#ifndef MRTOKEND_SERVER_ANSWER_H
#define MRTOKEND_SERVER_ANSWER_H

#include "base/json_out.h"
#include "server/routes.h"

#include <microhttpd.h>

struct answer;

/*
 * Send a ready answer. Allocates nothing: libmicrohttpd takes a reference of its own, and this
 * request's identifier is written into the place that the answer keeps for it.
 */
enum MHD_Result answer_send_ready(struct request *request, struct answer *answer);

/*
 * A ready answer of JSON, to be sent to any number of requests. `body` is released, and may be
 * NULL. Returns NULL when there is no memory. Free with answer_free().
 */
struct answer *answer_new_json(unsigned status, struct json_out *body);

/*
 * The ready answer to requests that there is no memory to answer otherwise. Returns NULL when there
 * is none for it either. Free with answer_free().
 */
struct answer *answer_new_no_memory(void);

/* Send it, and log that. */
enum MHD_Result answer_send_no_memory(struct request *request);

struct answer_error;

/* Likewise, of the interface's error object. */
struct answer *answer_new_error(const struct answer_error *error);

/* The caller's own hold ends; what is being sent lives until it is. NULL is fine. */
void answer_free(struct answer *answer);

/* Send JSON. `body` is taken, and empty then; that there was no memory for it is told. */
enum MHD_Result answer_send_json(struct request *request, unsigned status, struct json_out *body);

struct answer_error {
	unsigned status;
	const char *code; /* stable: "not_found", "no_valid_token", ... */
	const char *message; /* for people */
	const char *account; /* or NULL */
	int64_t retry_after_s; /* or -1 */
	const char *allow; /* the Allow header of a 405, or NULL */
	bool is_last; /* the connection ends with it */
};

/* Send the interface's error object. */
enum MHD_Result answer_send_error(struct request *request, const struct answer_error *error);

#endif
