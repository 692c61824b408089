/*
 * What is read of an answer's status and headers. A part of http_client.c.
 */
#ifndef MRTOKEND_BASE_HTTP_RESPONSE_H
#define MRTOKEND_BASE_HTTP_RESPONSE_H

#include "base/http_client.h"

#include <curl/curl.h>

/* Fill in all of *response but the body, which is set to NULL. */
void http_response_read(CURL *easy, struct http_response *response);

#endif
