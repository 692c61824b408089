#include "base/http_flight.h"

#include "base/http_trust.h"

#include <stdlib.h>
#include <string.h>

/* What an answer of the STS fits into; a longer one grows. */
#define BODY_ROOM ((size_t)2000)

static bool is_thumbprint(const char *text)
{
	size_t len = strlen(text);
	return len == HTTP_THUMBPRINT_LEN && strspn(text, "0123456789abcdefABCDEF") == len;
}

static bool copy_request(struct http_flight *flight, const struct http_request *request)
{
	flight->body_max = request->body_max;
	flight->form = request->form;
	flight->secret_line = request->secret_line;
	flight->is_for_host = request->is_for_host;
	flight->connect_timeout_ms = request->connect_timeout_ms > 0
					     ? (long)request->connect_timeout_ms
					     : HTTP_CONNECT_TIMEOUT_MS;
	flight->total_timeout_ms = request->total_timeout_ms > 0 ? (long)request->total_timeout_ms
								 : HTTP_TOTAL_TIMEOUT_MS;
	if (request->server_thumbprint != NULL)
		memcpy(flight->thumbprint, request->server_thumbprint, HTTP_THUMBPRINT_LEN);
	flight->url = strdup(request->url);
	if (flight->url == NULL)
		return false;
	if (request->ca_file != NULL) {
		flight->ca_file = strdup(request->ca_file);
		if (flight->ca_file == NULL)
			return false;
	}
	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
		struct curl_slist *longer = curl_slist_append(flight->headers, request->headers[i]);
		if (longer == NULL)
			return false;
		flight->headers = longer;
	}
	/* The list is made by hand here, because curl_slist_append() would copy the secret. */
	if (request->secret_line != NULL)
		flight->secret_header.data = (char *)secret_bytes(request->secret_line);
	return true;
}

struct http_flight *http_flight_new(
	const struct http_request *request, http_done_fn done, void *context, struct error *err)
{
	if (request->is_for_host && !http_url_is_of_host(request->url)) {
		error_set(err, ERR_CONFIGURATION,
			"found the address %s, expected one of this host itself: loopback or "
			"link-local, as a number",
			request->url);
		return NULL;
	}
	const char *thumbprint = request->server_thumbprint;
	if (thumbprint != NULL && !is_thumbprint(thumbprint)) {
		error_set(err, ERR_CONFIGURATION,
			"found a thumbprint of %zu characters, expected SHA-1 as 40 hexadecimal "
			"digits",
			strlen(thumbprint));
		return NULL;
	}
	struct http_flight *flight = calloc(1, sizeof(*flight));
	if (flight == NULL || !copy_request(flight, request)) {
		if (flight != NULL)
			http_flight_free(flight);
		error_set(err, ERR_NO_MEMORY, HTTP_FLIGHT_NO_MEMORY);
		return NULL;
	}
	flight->done = done;
	flight->context = context;
	return flight;
}

void http_flight_free(struct http_flight *flight)
{
	if (flight->multi != NULL)
		curl_multi_remove_handle(flight->multi, flight->easy);
	if (flight->easy != NULL)
		curl_easy_cleanup(flight->easy);
	curl_slist_free_all(flight->headers);
	secret_free(flight->body);
	free(flight->url);
	free(flight->ca_file);
	free(flight);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct http_flight *flight = context;
	size_t len = size * count;
	if (secret_len(flight->body) + len > flight->body_max) {
		flight->is_too_long = true;
		return 0;
	}
	return secret_append(flight->body, bytes, len) == 0 ? len : 0;
}

/* An answer that breaks off in its headers is one to libcurl; the empty line tells that it did not.
 */
static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
	struct http_flight *flight = context;
	size_t len = size * count;
	if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
		flight->has_all_headers = false; /* after a 100 Continue, say */
	else if (len <= 2)
		flight->has_all_headers = true;
	return len;
}

/*
 * Another connection is about to be made, perhaps because the one that was kept had died. What
 * libcurl said of that one would stand there as the reason of whatever goes wrong now.
 */
static int forget_error(struct http_flight *flight)
{
	flight->curl_error[0] = '\0';
	return 0;
}

static int on_resolve(void *state, void *reserved, void *context)
{
	(void)state;
	(void)reserved;
	return forget_error(context);
}

static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose)
{
	(void)fd;
	(void)purpose;
	return forget_error(context);
}

static bool configure(struct http_flight *flight, CURLSH *share)
{
	CURL *easy = flight->easy;
	struct curl_slist *headers = flight->headers;
	/* A certificate to be trusted is one to be shown. */
	bool may_be_plain = flight->is_for_host && flight->thumbprint[0] == '\0';
	if (flight->secret_header.data != NULL) {
		flight->secret_header.next = headers;
		headers = &flight->secret_header;
	}
	/* Options that only point or count cannot fail; those that copy or may be unknown are
	 * checked. */
	curl_easy_setopt(easy, CURLOPT_PRIVATE, flight);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (flight->form != NULL) {
		/* Not copied: libcurl sends it from where it is. */
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, secret_bytes(flight->form));
		curl_easy_setopt(
			easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)secret_len(flight->form));
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* A name that is still being resolved when its time is over is left to its thread; without
	 * this, libcurl waits for that thread, and all other accounts with it. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, flight->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, flight->total_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, flight);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, flight);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, flight->curl_error);
	curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
	curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, flight);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, flight);
	curl_easy_setopt(easy, CURLOPT_SHARE, share);
	if (curl_easy_setopt(easy, CURLOPT_URL, flight->url) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
			may_be_plain ? "http,https" : "https") != CURLE_OK ||
		(flight->is_for_host && curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") != CURLE_OK) ||
		curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) !=
			CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK)
		return false;
	return http_trust_configure(easy, flight->thumbprint, flight->ca_file);
}

bool http_flight_prepare(struct http_flight *flight, CURLSH *share)
{
	flight->easy = curl_easy_init();
	flight->body = secret_new(BODY_ROOM);
	return flight->easy != NULL && flight->body != NULL && configure(flight, share);
}
