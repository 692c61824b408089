#include "base/http_client.h"

#include "base/http_flight.h"
#include "base/http_origin.h"
#include "base/http_response.h"
#include "base/http_trust.h"

#include <curl/curl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http_client {
	const struct clock *clock;
	CURLM *multi;
	CURLSH *share; /* TLS sessions and addresses, kept over requests */
	struct http_origin *origins;
	struct http_flight *active;
	bool has_room; /* a place became free that nobody has been given yet */
	struct curl_waitfd *waits; /* the caller's descriptors, in libcurl's form */
	size_t wait_capacity;
};

static pthread_once_t curl_started = PTHREAD_ONCE_INIT;
static bool has_curl;

static void curl_start(void)
{
	/* libcurl would write the secrets of every TLS session to the file that it names. */
	unsetenv("SSLKEYLOGFILE");
	has_curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

struct http_client *http_client_new(const struct clock *clock, struct error *err)
{
	pthread_once(&curl_started, curl_start);
	struct http_client *client = has_curl ? calloc(1, sizeof(*client)) : NULL;
	if (client != NULL) {
		client->clock = clock;
		client->multi = curl_multi_init();
		client->share = curl_share_init();
	}
	if (client == NULL || client->multi == NULL || client->share == NULL) {
		http_client_free(client);
		error_set(err, ERR_NO_MEMORY, "cannot start libcurl: out of memory");
		return NULL;
	}
	curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 64L);
	return client;
}

void http_client_free(struct http_client *client)
{
	if (client == NULL)
		return;
	while (client->active != NULL) {
		struct http_flight *flight = client->active;
		client->active = flight->next;
		http_flight_free(flight);
	}
	while (client->origins != NULL) {
		struct http_origin *origin = client->origins;
		client->origins = origin->next;
		while (origin->first_waiting != NULL) {
			struct http_flight *flight = origin->first_waiting;
			origin->first_waiting = flight->next;
			http_flight_free(flight);
		}
		http_origin_free(origin);
	}
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	if (client->share != NULL)
		curl_share_cleanup(client->share);
	free(client->waits);
	free(client);
}

/* Give the flight its handle and send it off. Those that wait have neither handle nor buffer. */
static bool flight_launch(struct http_flight *flight)
{
	struct http_client *client = flight->client;
	if (!http_flight_prepare(flight, client->share) ||
		curl_multi_add_handle(client->multi, flight->easy) != CURLM_OK) {
		http_origin_abandoned(flight->origin, flight->probe);
		return false;
	}
	flight->multi = client->multi;
	flight->next = client->active;
	client->active = flight;
	flight->origin->active++;
	return true;
}

struct http_flight *http_client_send(struct http_client *client, const struct http_request *request,
	http_done_fn done, void *context, struct error *err)
{
	struct http_flight *flight = http_flight_new(request, done, context, err);
	if (flight == NULL)
		return NULL;
	flight->client = client;
	flight->origin = http_origin_of(&client->origins, request, client->clock);
	if (flight->origin == NULL) {
		error_set(err, ERR_NO_MEMORY, HTTP_FLIGHT_NO_MEMORY);
		http_flight_free(flight);
		return NULL;
	}
	if (http_origin_refuses(flight->origin, err)) {
		http_flight_free(flight);
		return NULL;
	}
	if (flight->origin->active >= HTTP_CONNECTIONS_PER_ORIGIN ||
		http_origin_ask(flight->origin, &flight->probe) == CIRCUIT_WAIT) {
		*flight->origin->last_waiting = flight;
		flight->origin->last_waiting = &flight->next;
		return flight;
	}
	if (flight_launch(flight))
		return flight;
	error_set(err, ERR_NO_MEMORY, HTTP_FLIGHT_NO_MEMORY);
	http_flight_free(flight);
	return NULL;
}

/* Take an active flight out of the list, and off its origin. */
static void flight_land(struct http_flight *flight)
{
	struct http_flight **link = &flight->client->active;
	while (*link != flight)
		link = &(*link)->next;
	*link = flight->next;
	flight->origin->active--;
}

static void call_failed(struct http_flight *flight, const struct error *err)
{
	flight->done(flight->context, NULL, err);
	http_flight_free(flight);
}

/* Launch what waits for the origin, as far as its limit and its circuit allow. */
static void origin_advance(struct http_origin *origin)
{
	while (origin->first_waiting != NULL && origin->active < HTTP_CONNECTIONS_PER_ORIGIN) {
		struct http_flight *flight = origin->first_waiting;
		struct error err = ERROR_INIT;
		bool is_refused = http_origin_refuses(origin, &err);
		if (!is_refused && http_origin_ask(origin, &flight->probe) == CIRCUIT_WAIT)
			return;
		origin->first_waiting = flight->next;
		if (origin->first_waiting == NULL)
			origin->last_waiting = &origin->first_waiting;
		flight->next = NULL;
		if (!is_refused && flight_launch(flight))
			continue;
		if (!is_refused)
			error_set(&err, ERR_NO_MEMORY, HTTP_FLIGHT_NO_MEMORY);
		call_failed(flight, &err);
	}
}

void http_client_cancel(struct http_client *client, struct http_flight *flight)
{
	struct http_origin *origin = flight->origin;
	if (flight->easy != NULL) {
		/* Who waits for its place gets it in the next http_client_run(): not now, when the
		 * caller may be about to cancel that one too. */
		flight_land(flight);
		http_origin_abandoned(origin, flight->probe);
		http_flight_free(flight);
		client->has_room = true;
		return;
	}
	struct http_flight **link = &origin->first_waiting;
	while (*link != flight)
		link = &(*link)->next;
	*link = flight->next;
	if (*link == NULL)
		origin->last_waiting = link;
	http_flight_free(flight);
}

static void call_answered(struct http_flight *flight)
{
	struct http_response response;
	http_response_read(flight->easy, &response);
	http_response_vet(&response, flight->secret_line, flight->form);
	response.body = flight->body;
	flight->body = NULL;
	flight->done(flight->context, &response, NULL);
	http_origin_answered(flight->origin, flight->probe, &response);
	secret_free(response.body);
}

static enum error_code code_of(CURLcode result)
{
	switch (result) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return ERR_TLS;
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return ERR_CONFIGURATION;
	case CURLE_OUT_OF_MEMORY:
		return ERR_NO_MEMORY;
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_WEIRD_SERVER_REPLY:
		return ERR_UPSTREAM_FORMAT;
	default:
		return ERR_NETWORK;
	}
}

/* What an answer that was not read to its end says of the origin. */
static void origin_broke(const struct http_flight *flight, const struct error *err)
{
	struct http_response response = {.retry_after_s = -1};
	if (flight->is_too_long) {
		long status = 0;
		curl_easy_getinfo(flight->easy, CURLINFO_RESPONSE_CODE, &status);
		response.status = (int)status;
		http_origin_answered(flight->origin, flight->probe, &response);
	} else if (err->code == ERR_CONFIGURATION || err->code == ERR_NO_MEMORY) {
		http_origin_abandoned(flight->origin, flight->probe); /* by a fault of this host */
	} else {
		http_origin_failed(flight->origin, flight->probe, err);
	}
}

static void call_broken(struct http_flight *flight, CURLcode result)
{
	struct error err = ERROR_INIT;
	const char *origin = flight->origin->name;
	const char *reason = flight->curl_error;
	if (reason[0] == '\0')
		reason = http_trust_reason(flight->easy, result);
	if (flight->is_too_long)
		error_set(&err, ERR_UPSTREAM_FORMAT,
			"%s answered with more than the %zu bytes that an answer may have", origin,
			flight->body_max);
	else if (result == CURLE_SSL_CACERT_BADFILE)
		http_trust_describe_bad_file(flight->ca_file, reason, &err);
	else if (result == CURLE_UNSUPPORTED_PROTOCOL && strncmp(flight->url, "https:", 6) == 0)
		error_set(&err, ERR_UPSTREAM_FORMAT,
			"%s answered with something that is not HTTP: %s", origin, reason);
	else
		error_set(&err, code_of(result), "no answer from %s: %s", origin, reason);
	flight->done(flight->context, NULL, &err);
	origin_broke(flight, &err);
}

/* Call back for all that is done. Returns how many there were. */
static unsigned land_flights(struct http_client *client)
{
	unsigned landed = 0;
	int left = 0;
	CURLMsg *message;
	while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
		struct http_flight *flight = NULL;
		CURLcode result = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &flight);
		struct http_origin *origin = flight->origin;
		flight_land(flight);
		if (result == CURLE_OK && !flight->has_all_headers)
			result = CURLE_RECV_ERROR;
		if (result == CURLE_OK)
			call_answered(flight);
		else
			call_broken(flight, result);
		http_flight_free(flight);
		origin_advance(origin);
		landed++;
	}
	return landed;
}

void http_client_run(struct http_client *client, int timeout_ms)
{
	http_client_run_with(client, NULL, 0, timeout_ms);
}

/* A copy for libcurl in the client, or NULL: none, or no memory for it. */
static struct curl_waitfd *copy_polls(
	struct http_client *client, const struct pollfd *polls, size_t count)
{
	if (count > client->wait_capacity) {
		struct curl_waitfd *waits = reallocarray(client->waits, count, sizeof(*waits));
		if (waits == NULL)
			return NULL;
		client->waits = waits;
		client->wait_capacity = count;
	}
	for (size_t i = 0; i < count; i++)
		client->waits[i] = (struct curl_waitfd){
			.fd = polls[i].fd,
			.events = (short)((polls[i].events & POLLIN ? CURL_WAIT_POLLIN : 0) |
					  (polls[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0)),
		};
	return count == 0 ? NULL : client->waits;
}

void http_client_run_with(
	struct http_client *client, struct pollfd *polls, size_t count, int timeout_ms)
{
	int running = 0;
	bool has_room = client->has_room;
	client->has_room = false; /* before those that fail now are told, and cancel others */
	for (struct http_origin *o = client->origins; o != NULL && has_room; o = o->next)
		origin_advance(o);
	curl_multi_perform(client->multi, &running);
	/* What was done by now must not wait for the next event. */
	if (land_flights(client) > 0)
		timeout_ms = 0;
	struct curl_waitfd *waits = copy_polls(client, polls, count);
	curl_multi_poll(
		client->multi, waits, waits == NULL ? 0 : (unsigned)count, timeout_ms, NULL);
	/* libcurl does not tell of a hang-up. */
	if (count > 0 && poll(polls, (nfds_t)count, 0) <= 0)
		for (size_t i = 0; i < count; i++)
			polls[i].revents = 0;
	curl_multi_perform(client->multi, &running);
	land_flights(client);
}

void http_client_forgive(struct http_client *client)
{
	for (struct http_origin *o = client->origins; o != NULL; o = o->next)
		circuit_reset(&o->circuit);
	client->has_room = true; /* of those who wait for a probe */
}

void http_client_wake(struct http_client *client)
{
	curl_multi_wakeup(client->multi);
}
