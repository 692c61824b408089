#include "emulator/sts.h"

#include "base/clock.h"
#include "emulator/emulator.h"

#include <ctype.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

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

static int check_no_body(const struct request *request, struct verdict *verdict)
{
	size_t count = 0;
	const char *length = request_header(request, "Content-Length", &count);
	if (count > 1 || (count == 1 && strcmp(length, "0") != 0) || request->body.len > 0 ||
		request->body_is_cut || request_header(request, "Transfer-Encoding", NULL) != NULL)
		return refuse(verdict, 400, "The request has a body.");
	if (request_header(request, "Content-Type", NULL) != NULL)
		return refuse(verdict, 400, "The request has a Content-Type and no body.");
	return 0;
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
	if (colon == NULL)
		return refuse(verdict, 401, "The bearer token is not {accountId}:{accountKey}.");
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

static void check(struct emulator *emulator, const struct request *request, struct verdict *verdict)
{
	size_t hosts = 0;
	const char *host = request_header(request, "Host", &hosts);
	if (check_path(request, verdict) != 0)
		return;
	if (strcmp(request->method, "GET") != 0)
		refuse(verdict, 405, "The method is not GET.");
	else if (strcmp(request->version, "HTTP/1.1") != 0)
		refuse(verdict, 505, "The protocol is not HTTP/1.1.");
	else if (hosts != 1 || *host == '\0')
		refuse(verdict, 400, "There is not exactly one Host header.");
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

static int64_t now_s(struct emulator *emulator)
{
	return clock_realtime_s(&clock_system) + atomic_load(&emulator->settings.date_offset_s);
}

/* What every answer has: A.5, A.7. */
static void fill_common(struct emulator *emulator, struct answer *answer)
{
	unsigned char random[16];
	char encoded[25];
	char vector[CORRELATION_VECTOR_LEN + 3];
	char date[40];
	struct tm utc;
	time_t now = (time_t)now_s(emulator);
	if (RAND_bytes(random, sizeof(random)) != 1)
		memset(random, 0, sizeof(random));
	base64_encode(random, sizeof(random), encoded);
	snprintf(vector, sizeof(vector), "%.*s.0", CORRELATION_VECTOR_LEN, encoded);
	answer_set_header(answer, "MS-CV", vector);
	answer_set_header(answer, "X-Content-Type-Options", "nosniff");
	answer_set_header(answer, "Cache-Control", "no-store, no-cache");
	answer_set_header(answer, "Pragma", "no-cache");
	if (gmtime_r(&now, &utc) != NULL &&
		strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc) > 0)
		answer_set_header(answer, "Date", date);
}

static void fill_token(struct emulator *emulator, const char *account, const struct fault *fault,
	struct answer *answer)
{
	struct error err = ERROR_INIT;
	char *token = NULL;
	int64_t lifetime_s = atomic_load(&emulator->settings.token_lifetime_s);
	if (fault != NULL && fault->action == FAULT_TOKEN)
		lifetime_s = fault->lifetime_s;
	if (fault != NULL && fault->action == FAULT_SAME_TOKEN)
		token = accounts_last_token(emulator->accounts, account);
	if (token == NULL)
		token = token_issue(emulator->issuer, account, now_s(emulator), lifetime_s, &err);
	if (token == NULL) {
		log_error("%s", err.message);
		fill_error(answer, 500, "");
		return;
	}
	accounts_keep_token(emulator->accounts, account, token);
	answer->status = 200;
	answer_set_header(answer, "Content-Type", "application/json; charset=utf-8");
	text_appendf(&answer->body, "{\"AccessToken\":\"%s\"}", token);
	free(token);
}

/* The answer that a fault puts in the place of the service's. */
static void fill_scripted(const struct fault *fault, struct answer *answer)
{
	fill_error(answer, (int)fault->status, "The emulator was told to answer so.");
	if ((fault->members & FAULT_HAS_BODY) == 0)
		return;
	text_free(&answer->body);
	text_append_bytes(&answer->body, fault->body.data, fault->body.len);
	answer_set_header(answer, "Content-Type", "application/json; charset=utf-8");
}

static void apply_fault(const struct fault *fault, struct answer *answer)
{
	static const enum delivery deliveries[] = {
		[FAULT_RESET] = DELIVERY_RESET_MID,
		[FAULT_TRUNCATE] = DELIVERY_TRUNCATED,
		[FAULT_SLOW_BODY] = DELIVERY_SLOW,
		[FAULT_OVERSIZE] = DELIVERY_PADDED,
		[FAULT_TOKEN] = DELIVERY_WHOLE, /* the last: gives the table its size */
	};
	answer->delivery = deliveries[fault->action];
	answer->padded_len = (uint64_t)fault->size;
	answer->pause_ms = fault->pause_ms;
	if (fault->content_type != NULL)
		answer_set_header(answer, "Content-Type", fault->content_type);
	else if (fault->action == FAULT_WRONG_TYPE)
		answer_set_header(answer, "Content-Type", "text/html; charset=utf-8");
	for (size_t i = 0; i < fault->header_count; i++)
		answer_set_header(answer, fault->headers[i].name, fault->headers[i].value);
}

static void fill_answer(struct emulator *emulator, const struct verdict *verdict,
	const struct fault *fault, struct answer *answer)
{
	if (fault != NULL && fault->delay_ms > 0 && stop_wait(&emulator->stop, fault->delay_ms)) {
		answer->delivery = DELIVERY_NONE;
		return;
	}
	if (fault != NULL && fault->action == FAULT_RESET && fault->at == FAULT_AT_HEADERS) {
		answer->delivery = DELIVERY_RESET;
		return;
	}
	fill_common(emulator, answer);
	if (fault != NULL && fault_replaces_answer(fault))
		fill_scripted(fault, answer);
	else if (verdict->status != 0)
		fill_error(answer, verdict->status, verdict->complaint);
	else
		fill_token(emulator, verdict->account, fault, answer);
	if (fault != NULL)
		apply_fault(fault, answer);
}

static void handle(void *context, const struct request *request, struct answer *answer)
{
	struct emulator *emulator = context;
	struct verdict verdict = {0};
	check(emulator, request, &verdict);
	struct fault *fault = faults_take(emulator->faults, verdict.account, verdict.status == 0);
	const char *fault_name = fault == NULL ? NULL : fault->name;
	uint64_t number =
		record_add(emulator->record, sts_kind.name, request, fault_name, verdict.complaint);
	fill_answer(emulator, &verdict, fault, answer);
	if (answer->delivery != DELIVERY_NONE && answer->delivery != DELIVERY_RESET)
		record_answered(emulator->record, number, answer->status);
	answer->log_note = verdict.complaint;
	answer->log_fault = fault_name;
	fault_unref(fault);
}

static bool reset_at_accept(void *context)
{
	struct emulator *emulator = context;
	return faults_take_connection(emulator->faults);
}

const struct server_kind sts_kind = {
	.name = "sts",
	.has_tls = true,
	.body_max = BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
