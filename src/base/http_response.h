/*
 * What is read of an answer's status and headers. A part of http_client.c.
 */
#ifndef MRTOKEND_BASE_HTTP_RESPONSE_H
#define MRTOKEND_BASE_HTTP_RESPONSE_H

#include "base/http_client.h"

#include <curl/curl.h>

/* Fill in all of *response but the body, which is set to NULL. */
void http_response_read(CURL *easy, struct http_response *response);

/*
 * Empty the correlation vector if it is none by its form, or repeats a part of what was sent: it is
 * logged and shown to clients wherever it goes. `line` and `form` may be NULL.
 */
void http_response_vet(
	struct http_response *response, const struct secret *line, const struct secret *form);

#endif
