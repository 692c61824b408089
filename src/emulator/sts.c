#include "emulator/sts.h"

#include "emulator/bearer.h"
#include "emulator/exchange.h"
#include "emulator/random.h"
#include "emulator/token.h"

#include <ctype.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PATH_HEAD "/Accounts/"
#define PATH_TAIL "/token"
#define API_VERSION "2019-02-28-preview"
#define CORRELATION_VECTOR_LEN 22
#define BODY_KEPT_BYTES ((size_t)64 * 1024)

/* What the checks found. status is 0 when the request is as it should be. */
struct verdict {
	int status;
	const char *complaint; /* static; no '"' in it, because it goes into a quoted string */
	char account[ACCOUNT_ID_LEN + 1]; /* as in the path; "" when the path has none */
	char tenant[UUID_SIZE]; /* of the token that was shown, or TENANT_NONE */
};

static int refuse(struct verdict *verdict, int status, const char *complaint)
{
	verdict->status = status;
	verdict->complaint = complaint;
	return -1;
}

static int check_path(const struct request *request, struct verdict *verdict)
{
	const size_t head = strlen(PATH_HEAD);
	const size_t tail = strlen(PATH_TAIL);
	const char *path = request->target;
	size_t len = request->path_len;
	if (len <= head + tail || strncmp(path, PATH_HEAD, head) != 0 ||
		strncmp(path + len - tail, PATH_TAIL, tail) != 0 ||
		memchr(path + head, '/', len - head - tail) != NULL)
		return refuse(verdict, 404, "The path is not /Accounts/{accountId}/token.");
	char id[ACCOUNT_ID_LEN + 1] = "";
	if (len - head - tail == ACCOUNT_ID_LEN)
		memcpy(id, path + head, ACCOUNT_ID_LEN);
	if (!is_uuid(id))
		return refuse(verdict, 400, "The account identifier in the path is not a UUID.");
	memcpy(verdict->account, id, sizeof(id));
	return 0;
}

static int check_query(const struct request *request, struct verdict *verdict)
{
	static const char name[] = "api-version=";
	if (request->query == NULL || strcmp(request->query, "api-version=" API_VERSION) == 0)
		return 0;
	if (strncmp(request->query, name, strlen(name)) == 0 && strchr(request->query, '&') == NULL)
		return refuse(verdict, 400, "The api-version is not " API_VERSION ".");
	return refuse(verdict, 400,
		"The query has something other than one api-version=" API_VERSION ".");
}

static int check_accept(const struct request *request, struct verdict *verdict)
{
	size_t count = 0;
	const char *accept = request_header(request, "Accept", &count);
	if (count != 1)
		return refuse(verdict, 400, "There is not exactly one Accept header.");
	if (strcasecmp(accept, "application/json") != 0)
		return refuse(verdict, 406, "Accept is not application/json.");
	return 0;
}

static int check_correlation_vector(const struct request *request, struct verdict *verdict)
{
	size_t count = 0;
	const char *vector = request_header(request, "X-MRC-CV", &count);
	if (count == 0)
		return 0;
	if (count > 1)
		return refuse(verdict, 400, "There is more than one X-MRC-CV header.");
	size_t len = 0;
	while (vector[len] != '\0' && (unsigned char)vector[len] < 0x80 &&
		(isalnum((unsigned char)vector[len]) || vector[len] == '+' || vector[len] == '/'))
		len++;
	if (len != CORRELATION_VECTOR_LEN || vector[len] != '\0')
		return refuse(verdict, 400,
			"X-MRC-CV is not a correlation vector base of 22 base64 characters.");
	return 0;
}

static int check_bearer(struct emulator *emulator, const struct request *request, const char *token,
	struct verdict *verdict)
{
	struct bearer bearer;
	const char *complaint =
		bearer_check(emulator, request_header(request, "Host", NULL), token, &bearer);
	if (complaint != NULL)
		return refuse(verdict, 401, complaint);
	switch (accounts_check_principal(emulator->accounts, verdict->account, bearer.tenant_id,
		bearer.client_id, bearer.object_id)) {
	case ACCOUNT_UNKNOWN:
		return refuse(verdict, 401, "The account is unknown.");
	case ACCOUNT_TENANT_WRONG:
		return refuse(verdict, 401, "The token is of another tenant than the account.");
	case ACCOUNT_FORBIDS:
		return refuse(verdict, 403, "The account does not permit this app.");
	default:
		memcpy(verdict->tenant, bearer.tenant_id, sizeof(verdict->tenant));
		return 0;
	}
}

static int check_authorization(
	struct emulator *emulator, const struct request *request, struct verdict *verdict)
{
	static const char scheme[] = "Bearer ";
	size_t count = 0;
	const char *value = request_header(request, "Authorization", &count);
	if (count == 0)
		return refuse(verdict, 401, "There is no Authorization header.");
	if (count > 1)
		return refuse(verdict, 400, "There is more than one Authorization header.");
	if (strncmp(value, scheme, strlen(scheme)) != 0)
		return refuse(
			verdict, 401, "Authorization does not begin with Bearer and a space.");
	const char *id = value + strlen(scheme);
	const char *colon = strchr(id, ':');
	if (colon == NULL && bearer_is_jwt(id))
		return check_bearer(emulator, request, id, verdict);
	if (colon == NULL)
		return refuse(verdict, 401,
			"The bearer token is not {accountId}:{accountKey}, nor a JWT.");
	if (colon - id != ACCOUNT_ID_LEN || strncasecmp(id, verdict->account, ACCOUNT_ID_LEN) != 0)
		return refuse(verdict, 401,
			"The account identifier of the bearer token is not that of the path.");
	switch (accounts_check(
		emulator->accounts, verdict->account, colon + 1, strlen(colon + 1))) {
	case ACCOUNT_UNKNOWN:
		return refuse(verdict, 401, "The account is unknown.");
	case ACCOUNT_KEY_WRONG:
		return refuse(verdict, 401, "The account key is wrong.");
	case ACCOUNT_KEY_FITS:
	default:
		return 0;
	}
}

static int check_no_body(const struct request *request, struct verdict *verdict)
{
	const char *complaint = exchange_check_no_body(request);
	if (complaint != NULL)
		return refuse(verdict, 400, complaint);
	if (request_header(request, "Content-Type", NULL) != NULL)
		return refuse(verdict, 400, "The request has a Content-Type and no body.");
	return 0;
}

static void check(struct emulator *emulator, const struct request *request, struct verdict *verdict)
{
	const char *complaint = exchange_check_protocol(request);
	if (check_path(request, verdict) != 0)
		return;
	if (strcmp(request->method, "GET") != 0)
		refuse(verdict, 405, "The method is not GET.");
	else if (complaint != NULL)
		refuse(verdict, strcmp(request->version, "HTTP/1.1") != 0 ? 505 : 400, complaint);
	else if (check_query(request, verdict) == 0 && check_no_body(request, verdict) == 0 &&
		 check_accept(request, verdict) == 0 &&
		 check_correlation_vector(request, verdict) == 0)
		check_authorization(emulator, request, verdict);
}

/* The word for a status in an error's body. Those that are not here are answered without a body. */
static const struct {
	int status;
	const char *code;
	const char *challenge; /* of WWW-Authenticate, or NULL: azure-protocol.md A.7 */
} errors[] = {
	{400, "BadRequest", "invalid_request"},
	{401, "Unauthorized", "invalid_token"},
	{403, "Forbidden", NULL},
	{404, "NotFound", NULL},
	{405, "MethodNotAllowed", NULL},
	{406, "NotAcceptable", NULL},
	{429, NULL, "too_many_requests"},
};

static void fill_error(struct answer *answer, int status, const char *sentence)
{
	answer->status = status;
	if (status == 405)
		answer_set_header(answer, "Allow", "GET");
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].status != status)
			continue;
		if (errors[i].challenge != NULL) {
			char challenge[256];
			snprintf(challenge, sizeof(challenge),
				"Bearer error=\"%s\", error_description=\"%s\"",
				errors[i].challenge, sentence);
			answer_set_header(answer, "WWW-Authenticate", challenge);
		}
		if (errors[i].code != NULL) {
			answer_set_header(
				answer, "Content-Type", "application/json; charset=utf-8");
			text_appendf(&answer->body,
				"{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", errors[i].code,
				sentence);
		}
	}
}

/* What every answer has beside its Date: A.5, A.7. */
static void fill_common(struct answer *answer)
{
	unsigned char random[16];
	char encoded[25];
	char vector[CORRELATION_VECTOR_LEN + 3];
	if (RAND_bytes(random, sizeof(random)) != 1)
		memset(random, 0, sizeof(random));
	base64_encode(random, sizeof(random), encoded);
	snprintf(vector, sizeof(vector), "%.*s.0", CORRELATION_VECTOR_LEN, encoded);
	answer_set_header(answer, "MS-CV", vector);
	answer_set_header(answer, "X-Content-Type-Options", "nosniff");
	answer_set_header(answer, "Cache-Control", "no-store, no-cache");
	answer_set_header(answer, "Pragma", "no-cache");
}

static void fill_token(const struct exchange *exchange, const struct verdict *verdict)
{
	struct error err = ERROR_INIT;
	struct emulator *emulator = exchange->emulator;
	struct answer *answer = exchange->answer;
	char *token = NULL;
	int64_t lifetime_s =
		exchange_lifetime_s(exchange, atomic_load(&emulator->settings.token_lifetime_s));
	if (exchange_repeats_token(exchange))
		token = accounts_last_token(emulator->accounts, verdict->account);
	if (token == NULL)
		token = token_issue(emulator->sts_key, verdict->account, verdict->tenant,
			emulator_now_s(emulator), lifetime_s, &err);
	if (token == NULL) {
		log_error("%s", err.message);
		fill_error(answer, 500, "");
		return;
	}
	accounts_keep_token(emulator->accounts, verdict->account, token);
	answer->status = 200;
	answer_set_header(answer, "Content-Type", "application/json; charset=utf-8");
	text_appendf(&answer->body, "{\"AccessToken\":\"%s\"}", token);
	free(token);
}

static void fill_answer(const struct exchange *exchange, const struct verdict *verdict)
{
	struct answer *answer = exchange->answer;
	fill_common(answer);
	if (exchange_is_scripted(exchange))
		fill_error(answer, (int)exchange->fault->status, EXCHANGE_TOLD);
	else if (verdict->status != 0)
		fill_error(answer, verdict->status, verdict->complaint);
	else
		fill_token(exchange, verdict);
}

static void handle(void *context, const struct request *request, struct answer *answer)
{
	struct emulator *emulator = context;
	struct verdict verdict = {.tenant = TENANT_NONE};
	struct exchange exchange = {
		.emulator = emulator,
		.server = SERVER_STS,
		.request = request,
		.answer = answer,
	};
	check(emulator, request, &verdict);
	if (exchange_begin(&exchange, verdict.account, verdict.status == 0, verdict.complaint))
		fill_answer(&exchange, &verdict);
	exchange_end(&exchange);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_STS);
}

const struct server_kind sts_kind = {
	.name = "sts",
	.has_tls = true,
	.body_max = BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
