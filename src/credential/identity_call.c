/*
 * One question to a managed identity endpoint: perhaps whether it is there, the request, perhaps
 * the answer to a challenge, the request again after a while. Source: azure-protocol.md C.2 to C.5.
 */
#include "base/form.h"
#include "base/log.h"
#include "credential/identity_answer.h"
#include "credential/managed_identity.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"

#define ANSWER_MAX ((size_t)256 * 1024)
#define PROBE_TIMEOUT_MS 1000

static const char user_agent[] = "User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION;
static const char metadata[] = "Metadata: true";

struct identity_call {
	struct credential_call call;
	struct managed_identity *identity;
	struct loop *loop;
	char *resource;
	struct http_flight *flight; /* or NULL */
	struct loop_timer timer; /* set: waiting for it, to ask or to tell the trouble */
	struct secret *form; /* or NULL */
	struct secret *key_line; /* that answers the challenge, or NULL */
	int64_t sent_ms;
	int64_t waited_ms;
	unsigned retries;
	bool is_probe;
};

static void call_free(struct identity_call *call)
{
	secret_free(call->form);
	secret_free(call->key_line);
	free(call->resource);
	free(call);
}

static void call_end(
	struct identity_call *call, struct access_token *token, const struct error *err)
{
	call->call.done(call->call.context, token, err);
	call_free(call);
}

/* What the last request showed that nobody may see. */
static struct identity_shown shown_of(const struct identity_call *call)
{
	static const char basic[] = "Authorization: Basic ";
	if (call->key_line != NULL)
		return (struct identity_shown){call->key_line, sizeof(basic) - 1};
	return (struct identity_shown){call->identity->secret_line, call->identity->secret_offset};
}

static void on_answer(void *context, struct http_response *response, const struct error *err);

/* Send the request, or the one that only finds out whether anybody answers. Returns 0 or -1. */
static int send_request(struct identity_call *call, struct error *err)
{
	const struct managed_identity *identity = call->identity;
	const struct identity_source *source = identity->source;
	const char *headers[3] = {user_agent};
	_cleanup_text_ struct text url = {0};
	identity_source_put_url(
		source, identity->endpoint, call->resource, identity->selector, identity->id, &url);
	if (text_string(&url) == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot ask %s: out of memory", source->name);
	/* Without it the service refuses at once, and tells by this that it is there. */
	if (source->sends_metadata && !call->is_probe)
		headers[1] = metadata;
	const struct http_request request = {
		.url = text_string(&url),
		.headers = headers,
		.secret_line = call->key_line != NULL ? call->key_line : identity->secret_line,
		.form = call->form,
		.ca_file = identity->ca_file,
		.is_for_host = http_url_is_of_host(identity->endpoint),
		.server_thumbprint = identity->thumbprint,
		.connect_timeout_ms =
			call->is_probe ? PROBE_TIMEOUT_MS : source->connect_timeout_ms,
		.total_timeout_ms = call->is_probe ? PROBE_TIMEOUT_MS : 0,
		.body_max = ANSWER_MAX,
	};
	call->sent_ms = loop_now_ms(call->loop);
	call->flight = http_client_send(loop_http(call->loop), &request, on_answer, call, err);
	return call->flight == NULL ? -1 : 0;
}

static void send_or_end(struct identity_call *call)
{
	struct error err = ERROR_INIT;
	if (send_request(call, &err) != 0)
		call_end(call, NULL, &err);
}

/* Nobody answered. A chain goes on then, if it was the first look. */
static void end_unanswered(struct identity_call *call, const struct error *cause)
{
	const struct identity_source *source = call->identity->source;
	struct error err = *cause;
	if (call->is_probe)
		err.code = ERR_UNAVAILABLE;
	if (source->is_probed &&
		(call->is_probe || err.code == ERR_NETWORK || err.code == ERR_TIMEOUT))
		error_wrap(&err, "no managed identity endpoint here (%s)", source->name);
	else if (err.code == ERR_TLS && source->has_thumbprint)
		error_wrap(&err,
			"the managed identity endpoint of %s shows another certificate than that "
			"of IDENTITY_SERVER_THUMBPRINT, or none",
			source->name);
	else
		error_wrap(&err, "the managed identity endpoint of %s", source->name);
	call_end(call, NULL, &err);
}

static void end_with_token(struct identity_call *call, const struct http_response *response)
{
	struct access_token token;
	struct error err = ERROR_INIT;
	const struct identity_shown shown = shown_of(call);
	if (identity_answer_token(response, &shown, call->sent_ms, call->loop, &token, &err) == 0) {
		call->call.done(call->call.context, &token, NULL);
		secret_free(token.token);
		call_free(call);
		return;
	}
	error_wrap(&err, "%s at %s answered 200, but not with a token of use",
		call->identity->source->name, call->identity->origin);
	err.http_status = 200;
	call_end(call, NULL, &err);
}

/* Show what the challenge asks for. */
static void answer_challenge(struct identity_call *call, const struct http_response *response)
{
	const struct managed_identity *identity = call->identity;
	struct error err = ERROR_INIT;
	call->key_line = identity->source->answer_challenge(response->challenge, &err);
	if (call->key_line != NULL) {
		send_or_end(call);
		return;
	}
	error_wrap(&err, "cannot answer the challenge of %s at %s", identity->source->name,
		identity->origin);
	err.http_status = response->status;
	call_end(call, NULL, &err);
}

static void on_timer(void *context)
{
	struct identity_call *call = context;
	if (call->identity->trouble.code != ERR_NONE)
		call_end(call, NULL, &call->identity->trouble);
	else
		send_or_end(call);
}

/* Ask again in a while, or end. */
static void retry_or_end(struct identity_call *call, const struct http_response *response)
{
	const struct managed_identity *identity = call->identity;
	const struct identity_shown shown = shown_of(call);
	struct identity_complaint complaint;
	struct error err = ERROR_INIT;
	identity_answer_complaint(response, &shown, identity->selector, &complaint);
	identity_answer_error(
		identity->source, identity->origin, &complaint, response->retry_after_s, &err);
	int64_t delay_ms = identity_retry_ms(identity->source->retry, response->status,
		response->retry_after_s, call->retries, call->waited_ms);
	if (delay_ms < 0 ||
		loop_timer_set(call->loop, &call->timer, loop_now_ms(call->loop) + delay_ms) != 0) {
		call_end(call, NULL, &err);
		return;
	}
	log_info("managed identity: %s; asking again in %lld ms", err.message, (long long)delay_ms);
	call->retries++;
	call->waited_ms += delay_ms;
	/* A key is good once: the next request is challenged anew. */
	secret_free(call->key_line);
	call->key_line = NULL;
}

static void on_answer(void *context, struct http_response *response, const struct error *err)
{
	struct identity_call *call = context;
	struct managed_identity *identity = call->identity;
	call->flight = NULL;
	if (response == NULL) {
		end_unanswered(call, err);
	} else if (call->is_probe) {
		call->is_probe = false;
		identity->is_probed = false; /* once seen, it is there */
		send_or_end(call);
	} else if (response->status == 200) {
		end_with_token(call, response);
	} else if (response->status == 401 && identity->source->answer_challenge != NULL &&
		   call->key_line == NULL) {
		answer_challenge(call, response);
	} else {
		retry_or_end(call, response);
	}
}

struct credential_call *identity_call_start(struct managed_identity *identity, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct identity_call *call = calloc(1, sizeof(*call));
	if (call == NULL)
		goto no_memory;
	call->call = (struct credential_call){&identity->credential, done, context};
	call->identity = identity;
	call->loop = loop;
	call->is_probe = identity->is_probed;
	call->timer.fire = on_timer;
	call->timer.context = call;
	if (identity->trouble.code != ERR_NONE) {
		if (loop_timer_set(loop, &call->timer, 0) != 0)
			goto no_memory;
		return &call->call;
	}
	call->resource = strndup(scope, identity_resource_len(scope));
	if (call->resource == NULL)
		goto no_memory;
	if (identity->source->is_posted) {
		call->form = secret_new(64 + 3 * strlen(call->resource));
		if (call->form == NULL || form_add(call->form, "resource", call->resource) != 0)
			goto no_memory;
	}
	if (send_request(call, err) == 0)
		return &call->call;
	call_free(call);
	return NULL;
no_memory:
	error_set(err, ERR_NO_MEMORY, "cannot ask for a managed identity's token: out of memory");
	if (call != NULL)
		call_free(call);
	return NULL;
}

void identity_call_cancel(struct credential_call *credential_call)
{
	struct identity_call *call = (struct identity_call *)credential_call;
	if (call->flight != NULL)
		http_client_cancel(loop_http(call->loop), call->flight);
	loop_timer_cancel(call->loop, &call->timer);
	call_free(call);
}
