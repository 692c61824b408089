/*
 * Whom requests trust: authorities, one certificate, and where none is asked for. A part of
 * http_client.c.
 */
#ifndef MRTOKEND_BASE_HTTP_TRUST_H
#define MRTOKEND_BASE_HTTP_TRUST_H

#include "base/error.h"

#include <curl/curl.h>
#include <stdbool.h>

/*
 * Trust the one certificate of that thumbprint, or the authorities of ca_file, or the system's.
 * thumbprint  as in struct http_request, or ""; it is used for as long as the handle is
 * ca_file     or NULL
 * Returns false when that cannot be said, for want of memory.
 */
bool http_trust_configure(CURL *easy, const char *thumbprint, const char *ca_file);

/* Set *err to why a ca_file, or the system's (NULL), could not be used: `reason`, or the system's.
 */
void http_trust_describe_bad_file(const char *ca_file, const char *reason, struct error *err);

/*
 * What went wrong, where libcurl left no words of its own: of a certificate, what is not right with
 * it. Never NULL; static, or until the next call of the thread.
 */
const char *http_trust_reason(CURL *easy, CURLcode result);

#endif
