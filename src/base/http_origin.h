/*
 * A scheme, host and port that requests go to: who waits for a connection to it, and whether it is
 * worth asking at all. A part of http_client.c, on its thread.
 */
#ifndef MRTOKEND_BASE_HTTP_ORIGIN_H
#define MRTOKEND_BASE_HTTP_ORIGIN_H

#include "base/circuit.h"
#include "base/clock.h"
#include "base/http_client.h"

struct http_origin {
	struct http_origin *next;
	const struct clock *clock;
	char *name; /* https://host[:port], in small letters, without the usual port */
	bool has_circuit; /* none for what the host itself answers */
	struct circuit circuit;
	struct error last; /* failure, in its own words */
	unsigned active;
	struct http_flight *first_waiting;
	struct http_flight **last_waiting;
};

/*
 * The origin of the request in the list, made and put there when it is new.
 * Returns NULL when there is no memory. Free with http_origin_free().
 */
struct http_origin *http_origin_of(
	struct http_origin **list, const struct http_request *request, const struct clock *clock);

/* No flight waits for it. */
void http_origin_free(struct http_origin *origin);

/* As circuit_ask(). */
enum circuit_verdict http_origin_ask(struct http_origin *origin, uint64_t *probe);

/* Whether the circuit refuses; *err then says since when, until when and why. */
bool http_origin_refuses(const struct http_origin *origin, struct error *err);

/* What became of a request: tell the circuit, and the log if it opens or closes. */
void http_origin_answered(
	struct http_origin *origin, uint64_t probe, const struct http_response *response);
void http_origin_failed(struct http_origin *origin, uint64_t probe, const struct error *err);
/* Nothing. Returns whether others waited for that. */
bool http_origin_abandoned(struct http_origin *origin, uint64_t probe);

#endif
