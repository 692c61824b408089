/*
 * One request on its way: copies of what it says, and libcurl's handle with all its options. A part
 * of http_client.c, on its thread.
 */
#ifndef MRTOKEND_BASE_HTTP_FLIGHT_H
#define MRTOKEND_BASE_HTTP_FLIGHT_H

#include "base/http_client.h"

#include <curl/curl.h>

#define HTTP_FLIGHT_NO_MEMORY "cannot send a request: out of memory"
#define HTTP_THUMBPRINT_LEN 40 /* hexadecimal digits of a SHA-1 */

struct http_flight {
	struct http_client *client;
	struct http_origin *origin;
	uint64_t probe; /* of the origin's circuit, or 0 */
	struct http_flight *next; /* in the origin's queue, or among the active ones */
	CURL *easy; /* NULL while it waits for its turn */
	CURLM *multi; /* that the handle is in, or NULL */
	char *url;
	char *ca_file;
	struct curl_slist *headers;
	struct curl_slist secret_header; /* stands first and points into secret memory */
	const struct secret *form; /* the caller's, or NULL */
	const struct secret *secret_line; /* likewise */
	bool is_for_host;
	char thumbprint[HTTP_THUMBPRINT_LEN + 1]; /* "" for the usual check */
	long connect_timeout_ms;
	long total_timeout_ms;
	struct secret *body;
	size_t body_max;
	bool is_too_long;
	bool has_all_headers;
	http_done_fn done;
	void *context;
	char curl_error[CURL_ERROR_SIZE];
};

/*
 * Checks the request and copies it, but for the form and the secret line, which stay the caller's
 * and must outlive the flight. Free with http_flight_free(). Returns NULL with *err set.
 */
struct http_flight *http_flight_new(
	const struct http_request *request, http_done_fn done, void *context, struct error *err);

/* Take it from libcurl, if it is there, and free it and the body. */
void http_flight_free(struct http_flight *flight);

/*
 * Make the handle and the room for the body. Returns false when there is no memory; then it can
 * only be freed.
 */
bool http_flight_prepare(struct http_flight *flight, CURLSH *share);

#endif
