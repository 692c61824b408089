/*
 * What managed identity endpoints answer: a token in several spellings of its times, or a complaint
 * in several shapes. The refresh thread. Source: azure-protocol.md C.3.
 */
#ifndef MRTOKEND_CREDENTIAL_IDENTITY_ANSWER_H
#define MRTOKEND_CREDENTIAL_IDENTITY_ANSWER_H

#include "base/error.h"
#include "base/http_client.h"
#include "base/loop.h"
#include "base/secret.h"
#include "credential/credential.h"
#include "credential/identity_source.h"

/* What of the request must not be repeated in a message: a header line, from an offset on. */
struct identity_shown {
	const struct secret *line; /* or NULL */
	size_t offset;
};

/*
 * The token of an answer with status 200.
 *
 * sent_ms  CLOCK_BOOTTIME when the request was sent
 * token    set on success only; its secret is the caller's, to be freed
 *
 * Returns 0, or -1 with *err: ERR_UPSTREAM_FORMAT, ERR_NO_MEMORY.
 */
int identity_answer_token(const struct http_response *response, const struct identity_shown *shown,
	int64_t sent_ms, const struct loop *loop, struct access_token *token, struct error *err);

/* What an answer of any other status says; `selector` is what was asked for. */
void identity_answer_complaint(const struct http_response *response,
	const struct identity_shown *shown, enum identity_selector selector,
	struct identity_complaint *complaint);

/*
 * The complaint as one sentence, with what to do about it.
 * origin  scheme, host and port of who answered
 */
void identity_answer_error(const struct identity_source *source, const char *origin,
	const struct identity_complaint *complaint, int64_t retry_after_s, struct error *err);

#endif
