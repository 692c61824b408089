/*
 * Requests to upstream services, many at a time on one thread: libcurl's multi interface, with the
 * limits and the TLS policy that every request obeys. TLS 1.2 or newer, certificates always
 * checked, https only but for the addresses of the host itself, no redirect followed, proxies by
 * the usual variables, answers bounded in time and size.
 *
 * An origin is a scheme, host and port. After failures in a row, be it of the transport or by a
 * status of 5xx, its circuit opens, and its requests fail at once until one of them is answered:
 * base/circuit.h. 429 is somebody's own affair. What is for the host itself has no circuit.
 *
 * All functions belong to one thread, but for http_client_wake().
 */
#ifndef MRTOKEND_BASE_HTTP_CLIENT_H
#define MRTOKEND_BASE_HTTP_CLIENT_H

#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

/* Connections to one origin at most; further requests to it wait for a free one. */
#define HTTP_CONNECTIONS_PER_ORIGIN 8

#define HTTP_CONNECT_TIMEOUT_MS 10000
#define HTTP_TOTAL_TIMEOUT_MS 30000

struct http_client;
struct http_flight; /* a request on its way */

struct http_request {
	const char *url; /* https, or http where `is_for_host` is set */
	const char *const *headers; /* whole lines, no secret, ended by NULL */
	const struct secret *secret_line; /* one more whole header line, or NULL */
	const struct secret *form; /* POST this, application/x-www-form-urlencoded; NULL: GET */
	const char *ca_file; /* PEM bundle to trust, or NULL for the system's */
	/*
	 * It is for the host itself or for what the host's platform answers at a link-local
	 * address: plain http is permitted to loopback and link-local addresses, and to no others;
	 * and no proxy is asked.
	 */
	bool is_for_host;
	/*
	 * SHA-1 of the server's certificate in DER form, as 40 hexadecimal digits: it is trusted,
	 * whatever its name and issuer, and no other is; and only https will do. NULL: the usual
	 * check.
	 */
	const char *server_thumbprint;
	int64_t connect_timeout_ms; /* 0: HTTP_CONNECT_TIMEOUT_MS */
	int64_t total_timeout_ms; /* 0: HTTP_TOTAL_TIMEOUT_MS */
	size_t body_max; /* a longer answer is an error */
};

/*
 * Whether `url` is http or https to a loopback or link-local address, given as a number, or to
 * "localhost": what `is_for_host` permits. Pure.
 */
bool http_url_is_of_host(const char *url);

struct http_response {
	int status;
	struct secret *body; /* may be taken: set it to NULL then */
	char content_type[64]; /* "" where it is missing, likewise below */
	char correlation_vector[64]; /* MS-CV */
	char challenge[256]; /* WWW-Authenticate */
	int64_t server_date_s; /* Date as Unix seconds, or -1 */
	int64_t retry_after_s; /* Retry-After, seconds or date, or its ms forms; or -1 */
	/* "" at first. Whoever reads the upstream's own code in the body may put it here: others
	 * who are refused for this failure are told it. */
	char upstream_code[40];
};

/*
 * Called once for each request, on the client's thread, from within http_client_run().
 * response  NULL on failure, and then *err says why; it lives until the function returns
 */
typedef void (*http_done_fn)(
	void *context, struct http_response *response, const struct error *err);

/*
 * clock  lives as long as the client
 * Returns NULL with *err when there is no memory or libcurl does not start.
 */
struct http_client *http_client_new(const struct clock *clock, struct error *err);

/* Ends every flight without calling back. NULL is fine. */
void http_client_free(struct http_client *client);

/*
 * Send a request. Everything in *request is copied, or no longer used when this returns, but for
 * `secret_line` and `form`, which must stay as they are until `done` was called or the flight was
 * cancelled.
 *
 * Returns the flight, valid until `done` is called, or NULL with *err (then `done` is not called).
 * When the origin's circuit is open, *err has the code and the words of the failure behind that,
 * when to come back in retry_after_s, and a spread_ms.
 */
struct http_flight *http_client_send(struct http_client *client, const struct http_request *request,
	http_done_fn done, void *context, struct error *err);

/* End a flight; `done` is not called. */
void http_client_cancel(struct http_client *client, struct http_flight *flight);

/* Close all circuits: after a reload, what failed may work. */
void http_client_forgive(struct http_client *client);

/* Wait for at most `timeout_ms` for something to happen or a wake-up, and deal with it. */
void http_client_run(struct http_client *client, int timeout_ms);

/* As http_client_run(), and look at these descriptors too; their `revents` are set. */
struct pollfd;
void http_client_run_with(
	struct http_client *client, struct pollfd *polls, size_t count, int timeout_ms);

/* Make a http_client_run() in another thread return early; it may be the next one. Any thread. */
void http_client_wake(struct http_client *client);

/*
 * Seconds to wait that a Retry-After header asks for: a number, or a date seen from `now_s`.
 * Returns -1 when it is neither. A date in the past is 0. Pure.
 */
int64_t http_retry_after_s(const char *value, int64_t now_s);

#endif
