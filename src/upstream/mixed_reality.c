/*
 * The exchange at the Mixed Reality STS: a bearer for an access token. Method, path, query and
 * headers are those of MixedRealityStsClient. Source: azure-protocol.md A.1 to A.7.
 */
#include "base/detail.h"
#include "base/http_client.h"
#include "base/json_answer.h"
#include "base/random.h"
#include "base/text.h"
#include "credential/shared_token.h"
#include "token/jwt.h"
#include "upstream/upstream.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"

#define API_VERSION "2019-02-28-preview"
#define ANSWER_MAX ((size_t)256 * 1024)
#define CORRELATION_VECTOR_LEN 22

static const char user_agent[] = "User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION;

struct upstream_exchange {
	const struct account_settings *account;
	struct credential *credential;
	struct loop *loop;
	struct token_wait *wait;
	struct http_flight *flight;
	struct secret *authorization; /* the whole header line */
	size_t secret_offset; /* in it: where the part begins that nobody may see */
	unsigned refusals; /* answers of 401 so far */
	bool is_cached; /* what was shown may be replaced by a newer one */
	bool is_account_key;
	const char *given_by;
	const char *key;
	char notice[sizeof(((struct access_token *)NULL)->notice)];
	const char *notice_id;
	bool is_notice_told;
	upstream_done_fn done;
	void *context;
};

/* An account that has nothing but keys asks for none. */
static const char *scope_of(const struct upstream_exchange *exchange)
{
	return exchange->account->scope == NULL ? "" : exchange->account->scope;
}

static int exchange_begin(struct upstream_exchange *exchange, struct error *err);

static void exchange_free(struct upstream_exchange *exchange)
{
	secret_free(exchange->authorization);
	free(exchange);
}

/* Tell the end, once. */
static void exchange_end(
	struct upstream_exchange *exchange, struct upstream_token *token, const struct error *err)
{
	exchange->done(exchange->context, token, err);
	exchange_free(exchange);
}

/* A new base for each exchange: 22 random letters of base64, without the ".0" of a service. */
static int make_correlation_vector(char out[CORRELATION_VECTOR_LEN + 1], struct error *err)
{
	unsigned char bytes[18];
	char encoded[25];
	if (random_bytes(bytes, sizeof(bytes), err) != 0)
		return -1;
	base64_encode(bytes, sizeof(bytes), encoded);
	memcpy(out, encoded, CORRELATION_VECTOR_LEN);
	out[CORRELATION_VECTOR_LEN] = '\0';
	return 0;
}

static const char *advice_of(
	const struct upstream_exchange *exchange, int status, enum error_code code)
{
	if (status == 407)
		return "; check the proxy, and what https_proxy says of it";
	if (code == ERR_DENIED && exchange->is_account_key)
		return "; check the account's id and key, and that they belong together";
	if (status == 403)
		return "; give the credential's principal a role on the account, such as Spatial "
		       "Anchors Account Reader or Remote Rendering Client";
	if (code == ERR_DENIED)
		return "; check that the credential is of the account's tenant, and scope";
	if (code == ERR_REFUSED)
		return "; check account_id, account_domain and endpoint";
	return "";
}

/* Which of the account's keys were refused, and what is wrong with one that was not. */
static void say_which_key(const struct upstream_exchange *exchange, int status, struct text *out)
{
	if (status != 401 || exchange->key == NULL)
		return;
	if (exchange->refusals > 1)
		text_append(out, "; it took neither account_key nor secondary_account_key");
	else
		text_appendf(out, "; it did not take %s%s%s", exchange->key,
			exchange->notice[0] == '\0' ? "" : "; ", exchange->notice);
}

static void end_with_status(
	struct upstream_exchange *exchange, const struct http_response *response)
{
	struct error err = ERROR_INIT;
	enum error_code code = json_answer_code_of_status(response->status);
	char challenge[DETAIL_MAX] = "";
	char body[DETAIL_MAX] = "";
	_cleanup_text_ struct text keys_words = {0};
	detail_copy(exchange->authorization, exchange->secret_offset, response->challenge,
		strlen(response->challenge), challenge, sizeof(challenge));
	detail_of_body(exchange->authorization, exchange->secret_offset, response->body, body,
		sizeof(body));
	say_which_key(exchange, response->status, &keys_words);
	const char *which = text_string(&keys_words);
	error_set(&err, code, "%s answered %d%s%s with %s%s%s%s%s", exchange->account->endpoint,
		response->status, challenge[0] == '\0' ? "" : ", ", challenge, body,
		response->correlation_vector[0] == '\0' ? "" : ", MS-CV ",
		response->correlation_vector, which == NULL ? "" : which,
		advice_of(exchange, response->status, code));
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
	_cleanup_secret_ struct secret *shown =
		secret_from(secret_bytes(exchange->authorization) + exchange->secret_offset,
			secret_len(exchange->authorization) - exchange->secret_offset);
	if (shown == NULL) {
		error_set(err, ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	struct json_object *root = json_answer_of_response(response, shown, err);
	struct secret *token = root == NULL ? NULL : json_answer_secret(root, "AccessToken", err);
	json_object_put(root);
	return token;
}

static void end_with_token(struct upstream_exchange *exchange, const struct http_response *response)
{
	struct error err = ERROR_INIT;
	struct upstream_token token = {.server_date_s = response->server_date_s};
	token.token = read_token(exchange, response, &err);
	if (token.token != NULL && jwt_expiry(token.token, &token.expires_on, &err) == 0) {
		shared_token_accepted(exchange->credential);
		token.given_by = exchange->given_by;
		token.key = exchange->key;
		token.notice = exchange->notice;
		token.notice_id = exchange->notice_id;
		token.is_notice_told = exchange->is_notice_told;
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

static void begin_again(struct upstream_exchange *exchange)
{
	struct error err = ERROR_INIT;
	if (exchange_begin(exchange, &err) != 0)
		exchange_end(exchange, NULL, &err);
}

static void on_answer(void *context, struct http_response *response, const struct error *err)
{
	struct upstream_exchange *exchange = context;
	exchange->flight = NULL;
	if (response == NULL)
		exchange_end(exchange, NULL, err);
	else if (response->status == 200)
		end_with_token(exchange, response);
	else if (response->status == 401 &&
		 shared_token_refused(exchange->credential, scope_of(exchange), exchange->account,
			 exchange->is_cached, ++exchange->refusals))
		begin_again(exchange);
	else
		end_with_status(exchange, response);
}

/* The header line. Remembers where in it the part begins that is secret. Returns 0, or -1 with
 * *err.
 */
static int set_authorization(
	struct upstream_exchange *exchange, const struct access_token *token, struct error *err)
{
	static const char start[] = "Authorization: Bearer ";
	const struct secret *bearer = token->token;
	const char *colon = token->is_account_key
				    ? memchr(secret_bytes(bearer), ':', secret_len(bearer))
				    : NULL;
	/* Whoever gave it has looked already; but here is where it would do harm. */
	if (access_token_check(bearer, err) != 0)
		return -1;
	struct secret *line = secret_new(sizeof(start) + secret_len(bearer));
	if (line == NULL || secret_append_string(line, start) != 0 ||
		secret_append_secret(line, bearer) != 0) {
		secret_free(line);
		return error_set(err, ERR_NO_MEMORY, "cannot ask the STS: out of memory");
	}
	secret_free(exchange->authorization);
	exchange->authorization = line;
	exchange->secret_offset = sizeof(start) - 1;
	if (colon != NULL)
		exchange->secret_offset += (size_t)(colon + 1 - secret_bytes(bearer));
	return 0;
}

static int send_request(struct upstream_exchange *exchange, struct error *err)
{
	char vector[CORRELATION_VECTOR_LEN + 1];
	char request_id[RANDOM_UUID_SIZE];
	_cleanup_text_ struct text url = {0};
	_cleanup_text_ struct text vector_line = {0};
	_cleanup_text_ struct text request_id_line = {0};
	text_appendf(&url, "%s/Accounts/", exchange->account->endpoint);
	text_append_percent_encoded(
		&url, exchange->account->account_id, strlen(exchange->account->account_id));
	text_append(&url, "/token?api-version=" API_VERSION);
	if (make_correlation_vector(vector, err) != 0 || random_uuid(request_id, err) != 0)
		return -1;
	text_appendf(&vector_line, "X-MRC-CV: %s", vector);
	text_appendf(&request_id_line, "x-ms-client-request-id: %s", request_id);
	if (text_string(&url) == NULL || text_string(&vector_line) == NULL ||
		text_string(&request_id_line) == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot ask the STS: out of memory");
	const char *const headers[] = {
		"Accept: application/json",
		user_agent,
		vector_line.data,
		request_id_line.data,
		NULL,
	};
	const struct http_request request = {
		.url = url.data,
		.headers = headers,
		.secret_line = exchange->authorization,
		.ca_file = exchange->account->ca_file,
		.body_max = ANSWER_MAX,
	};
	exchange->flight =
		http_client_send(loop_http(exchange->loop), &request, on_answer, exchange, err);
	return exchange->flight == NULL ? -1 : 0;
}

/* A static token is the STS's own: there is nothing to exchange. Source: azure-protocol.md A.11. */
static void end_with_static_token(
	struct upstream_exchange *exchange, const struct access_token *from)
{
	struct error err = ERROR_INIT;
	struct upstream_token token = {0};
	if (upstream_token_copy(&token, from, &err) == 0)
		exchange_end(exchange, &token, NULL);
	else
		exchange_end(exchange, NULL, &err);
	secret_free(token.token);
}

static void on_bearer(void *context, struct access_token *token, const struct error *bearer_err)
{
	struct upstream_exchange *exchange = context;
	struct error err = ERROR_INIT;
	exchange->wait = NULL;
	if (token == NULL) {
		exchange_end(exchange, NULL, bearer_err);
		return;
	}
	if (token->is_static) {
		end_with_static_token(exchange, token);
		return;
	}
	exchange->is_cached = token->is_cached;
	exchange->is_account_key = token->is_account_key;
	exchange->given_by = token->given_by;
	exchange->key = token->key;
	memcpy(exchange->notice, token->notice, sizeof(exchange->notice));
	exchange->notice_id = token->notice_id;
	exchange->is_notice_told = token->is_notice_told;
	if (set_authorization(exchange, token, &err) == 0 && send_request(exchange, &err) == 0)
		return;
	exchange_end(exchange, NULL, &err);
}

static int exchange_begin(struct upstream_exchange *exchange, struct error *err)
{
	exchange->wait = shared_token_ask(exchange->credential, scope_of(exchange), true,
		exchange->loop, on_bearer, exchange, err);
	return exchange->wait == NULL ? -1 : 0;
}

static struct upstream_exchange *mixed_reality_start(const struct account_settings *account,
	struct credential *credential, struct loop *loop, upstream_done_fn done, void *context)
{
	struct error err = ERROR_INIT;
	struct upstream_exchange *exchange = calloc(1, sizeof(*exchange));
	if (exchange == NULL) {
		error_set(&err, ERR_NO_MEMORY, "cannot ask the STS: out of memory");
		done(context, NULL, &err);
		return NULL;
	}
	*exchange = (struct upstream_exchange){
		.account = account,
		.credential = credential,
		.loop = loop,
		.done = done,
		.context = context,
	};
	if (exchange_begin(exchange, &err) == 0)
		return exchange;
	done(context, NULL, &err);
	exchange_free(exchange);
	return NULL;
}

static void mixed_reality_cancel(struct upstream_exchange *exchange)
{
	if (exchange->wait != NULL)
		shared_token_cancel(exchange->wait);
	if (exchange->flight != NULL)
		http_client_cancel(loop_http(exchange->loop), exchange->flight);
	exchange_free(exchange);
}

static int mixed_reality_check(const struct credential_settings *credential, struct error *err)
{
	(void)credential; /* the STS takes what any of them gives */
	(void)err;
	return 0;
}

static const char *const keys[] = {"!account_id", "!account_domain", "endpoint", "scope", NULL};

const struct upstream upstream_mixed_reality = {
	.kind = "mixed_reality",
	.keys = keys,
	.check = mixed_reality_check,
	.start = mixed_reality_start,
	.cancel = mixed_reality_cancel,
};
