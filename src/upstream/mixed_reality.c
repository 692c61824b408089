/*
 * The exchange at the Mixed Reality STS: a bearer for an access token. Method, path, query and
 * headers are those of MixedRealityStsClient. Source: azure-protocol.md A.1 to A.7.
 */
#include "base/text.h"
#include "token/jwt.h"
#include "base/detail.h"
#include "upstream/upstream.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "config.h"

#define API_VERSION "2019-02-28-preview"
#define ANSWER_MAX ((size_t)256 * 1024)
#define CORRELATION_VECTOR_LEN 22
#define REQUEST_ID_LEN 36

static const char user_agent[] = "User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION;

struct upstream_exchange {
	const struct account_settings *account;
	struct credential *credential;
	struct http_client *client;
	struct http_flight *flight;
	struct secret *authorization; /* the whole header line */
	size_t secret_offset; /* in it: where the part begins that nobody may see */
	unsigned refusals; /* answers of 401 so far */
	bool is_starting;
	bool is_over;
	upstream_done_fn done;
	void *context;
};

static void exchange_begin(struct upstream_exchange *exchange);

static void exchange_free(struct upstream_exchange *exchange)
{
	secret_free(exchange->authorization);
	free(exchange);
}

/* Tell the end, once; while start() is still running, it frees. */
static void exchange_end(
	struct upstream_exchange *exchange, struct upstream_token *token, const struct error *err)
{
	exchange->is_over = true;
	exchange->done(exchange->context, token, err);
	if (!exchange->is_starting)
		exchange_free(exchange);
}

/* A new base for each exchange: 22 random letters of base64, without the ".0" of a service. */
static int make_correlation_vector(char out[CORRELATION_VECTOR_LEN + 1])
{
	unsigned char bytes[18];
	char encoded[25];
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -1;
	base64_encode(bytes, sizeof(bytes), encoded);
	memcpy(out, encoded, CORRELATION_VECTOR_LEN);
	out[CORRELATION_VECTOR_LEN] = '\0';
	return 0;
}

/* What azure-core sends with each request of its clients: a UUID, here a random one. */
static int make_request_id(char out[REQUEST_ID_LEN + 1])
{
	unsigned char b[16];
	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return -1;
	b[6] = (b[6] & 0x0f) | 0x40; /* version 4 */
	b[8] = (b[8] & 0x3f) | 0x80; /* RFC 4122's variant */
	snprintf(out, REQUEST_ID_LEN + 1,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
	return 0;
}

static enum error_code code_of_status(int status)
{
	if (status == 401 || status == 403)
		return ERR_DENIED;
	if (status == 408)
		return ERR_TIMEOUT;
	if (status == 429 || status == 503)
		return ERR_THROTTLED;
	if (status >= 500)
		return ERR_UPSTREAM_FAULT;
	return ERR_REFUSED;
}

static const char *advice_of(int status, enum error_code code)
{
	if (status == 407)
		return "; check the proxy, and what https_proxy says of it";
	if (code == ERR_DENIED)
		return "; check the account's id and key, and that they belong together";
	if (code == ERR_REFUSED)
		return "; check account_id, account_domain and endpoint";
	return "";
}

static void end_with_status(
	struct upstream_exchange *exchange, const struct http_response *response)
{
	struct error err = ERROR_INIT;
	enum error_code code = code_of_status(response->status);
	char challenge[DETAIL_MAX] = "";
	char body[DETAIL_MAX] = "";
	detail_copy(exchange->authorization, exchange->secret_offset, response->challenge,
		strlen(response->challenge), challenge, sizeof(challenge));
	detail_of_body(exchange->authorization, exchange->secret_offset, response->body, body,
		sizeof(body));
	error_set(&err, code, "%s answered %d%s%s with %s%s%s%s", exchange->account->endpoint,
		response->status, challenge[0] == '\0' ? "" : ", ", challenge, body,
		response->correlation_vector[0] == '\0' ? "" : ", MS-CV ",
		response->correlation_vector, advice_of(response->status, code));
	err.http_status = response->status;
	err.retry_after_s = response->retry_after_s;
	memcpy(err.correlation_vector, response->correlation_vector,
		sizeof(err.correlation_vector));
	exchange_end(exchange, NULL, &err);
}

/* The member AccessToken of the answer. NULL with *err. Source: azure-protocol.md A.5. */
static struct secret *read_token(const struct upstream_exchange *exchange,
	const struct http_response *response, struct error *err)
{
	if (strncasecmp(response->content_type, "application/json", 16) != 0 ||
		strchr("; \t", response->content_type[16]) == NULL) {
		char type[DETAIL_MAX];
		detail_copy(exchange->authorization, exchange->secret_offset,
			response->content_type, strlen(response->content_type), type,
			sizeof(type));
		error_set(err, ERR_UPSTREAM_FORMAT,
			"found Content-Type %s, expected application/json (is a proxy or a captive "
			"portal in between?)",
			type[0] == '\0' ? "(none)" : type);
		return NULL;
	}
	struct json_tokener *tokener = json_tokener_new();
	if (tokener == NULL) {
		error_set(err, ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT); /* nothing may follow the object */
	struct json_object *root = json_tokener_parse_ex(
		tokener, secret_bytes(response->body), (int)secret_len(response->body));
	struct json_object *member = NULL;
	struct secret *token = NULL;
	if (!json_object_is_type(root, json_type_object))
		error_set(err, ERR_UPSTREAM_FORMAT, "the body is not a complete JSON object");
	else if (!json_object_object_get_ex(root, "AccessToken", &member) ||
		 !json_object_is_type(member, json_type_string))
		error_set(err, ERR_UPSTREAM_FORMAT,
			"the body has no member AccessToken with a string");
	else
		token = secret_from(
			json_object_get_string(member), (size_t)json_object_get_string_len(member));
	if (token == NULL && err->code == ERR_NONE)
		error_set(err, ERR_NO_MEMORY, "out of memory");
	json_object_put(root);
	json_tokener_free(tokener);
	return token;
}

static void end_with_token(struct upstream_exchange *exchange, const struct http_response *response)
{
	struct error err = ERROR_INIT;
	struct upstream_token token = {.server_date_s = response->server_date_s};
	token.token = read_token(exchange, response, &err);
	if (token.token != NULL && jwt_expiry(token.token, &token.expires_on, &err) == 0) {
		if (exchange->credential->kind->accepted != NULL)
			exchange->credential->kind->accepted(exchange->credential);
		exchange_end(exchange, &token, NULL);
	} else {
		error_wrap(&err, "%s answered 200%s%s, but not with a token of use",
			exchange->account->endpoint,
			response->correlation_vector[0] == '\0' ? "" : ", MS-CV ",
			response->correlation_vector);
		err.http_status = 200;
		memcpy(err.correlation_vector, response->correlation_vector,
			sizeof(err.correlation_vector));
		exchange_end(exchange, NULL, &err);
	}
	secret_free(token.token);
}

static void on_answer(void *context, struct http_response *response, const struct error *err)
{
	struct upstream_exchange *exchange = context;
	exchange->flight = NULL;
	if (response != NULL &&
		detail_repeats(exchange->authorization, exchange->secret_offset,
			response->correlation_vector, strlen(response->correlation_vector)))
		response->correlation_vector[0] = '\0';
	if (response == NULL)
		exchange_end(exchange, NULL, err);
	else if (response->status == 200)
		end_with_token(exchange, response);
	else if (response->status == 401 && exchange->credential->kind->refused != NULL &&
		 exchange->credential->kind->refused(
			 exchange->credential, exchange->account, ++exchange->refusals))
		exchange_begin(exchange);
	else
		end_with_status(exchange, response);
}

/* The header line. Remembers where in it the part begins that is secret. Returns 0 or -1. */
static int set_authorization(struct upstream_exchange *exchange, const struct secret *bearer)
{
	static const char start[] = "Authorization: Bearer ";
	const char *colon = memchr(secret_bytes(bearer), ':', secret_len(bearer));
	struct secret *line = secret_new(sizeof(start) + secret_len(bearer));
	if (line == NULL)
		return -1;
	if (secret_append_string(line, start) != 0 || secret_append_secret(line, bearer) != 0) {
		secret_free(line);
		return -1;
	}
	secret_free(exchange->authorization);
	exchange->authorization = line;
	exchange->secret_offset = sizeof(start) - 1;
	if (colon != NULL)
		exchange->secret_offset += (size_t)(colon + 1 - secret_bytes(bearer));
	return 0;
}

static void on_bearer(void *context, const struct secret *bearer, const struct error *bearer_err)
{
	struct upstream_exchange *exchange = context;
	struct error err = ERROR_INIT;
	if (bearer == NULL) {
		exchange_end(exchange, NULL, bearer_err);
		return;
	}
	char vector[CORRELATION_VECTOR_LEN + 1];
	char request_id[REQUEST_ID_LEN + 1];
	_cleanup_text_ struct text url = {0};
	_cleanup_text_ struct text vector_line = {0};
	_cleanup_text_ struct text request_id_line = {0};
	text_appendf(&url, "%s/Accounts/", exchange->account->endpoint);
	text_append_percent_encoded(
		&url, exchange->account->account_id, strlen(exchange->account->account_id));
	text_append(&url, "/token?api-version=" API_VERSION);
	if (make_correlation_vector(vector) != 0 || make_request_id(request_id) != 0) {
		error_set(&err, ERR_SYSTEM, "the kernel gives no random bytes");
		exchange_end(exchange, NULL, &err);
		return;
	}
	text_appendf(&vector_line, "X-MRC-CV: %s", vector);
	text_appendf(&request_id_line, "x-ms-client-request-id: %s", request_id);
	if (text_string(&url) == NULL || text_string(&vector_line) == NULL ||
		text_string(&request_id_line) == NULL || set_authorization(exchange, bearer) != 0) {
		error_set(&err, ERR_NO_MEMORY, "cannot ask the STS: out of memory");
		exchange_end(exchange, NULL, &err);
		return;
	}
	const char *const headers[] = {
		"Accept: application/json",
		user_agent,
		text_string(&vector_line),
		text_string(&request_id_line),
		NULL,
	};
	const struct http_request request = {
		.url = text_string(&url),
		.headers = headers,
		.secret_line = exchange->authorization,
		.ca_file = exchange->account->ca_file,
		.body_max = ANSWER_MAX,
	};
	exchange->flight = http_client_send(exchange->client, &request, on_answer, exchange, &err);
	if (exchange->flight == NULL)
		exchange_end(exchange, NULL, &err);
}

static void exchange_begin(struct upstream_exchange *exchange)
{
	exchange->credential->kind->get_bearer(
		exchange->credential, exchange->client, on_bearer, exchange);
}

static struct upstream_exchange *mixed_reality_start(const struct account_settings *account,
	struct credential *credential, struct http_client *client, upstream_done_fn done,
	void *context)
{
	struct upstream_exchange *exchange = calloc(1, sizeof(*exchange));
	if (exchange == NULL) {
		struct error err = ERROR_INIT;
		error_set(&err, ERR_NO_MEMORY, "cannot ask the STS: out of memory");
		done(context, NULL, &err);
		return NULL;
	}
	*exchange = (struct upstream_exchange){
		.account = account,
		.credential = credential,
		.client = client,
		.is_starting = true,
		.done = done,
		.context = context,
	};
	exchange_begin(exchange);
	exchange->is_starting = false;
	if (!exchange->is_over)
		return exchange;
	exchange_free(exchange);
	return NULL;
}

static void mixed_reality_cancel(struct upstream_exchange *exchange)
{
	if (exchange->flight != NULL)
		http_client_cancel(exchange->client, exchange->flight);
	exchange_free(exchange);
}

const struct upstream upstream_mixed_reality = {
	.kind = "mixed_reality",
	.start = mixed_reality_start,
	.cancel = mixed_reality_cancel,
};
