/*
 * The tokens. Nothing here allocates, locks or builds anything while there is a valid token.
 */
#include "base/text.h"
#include "server/answer.h"
#include "server/routes.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/*
 * For how long a request waits that does not say: well below the SDKs' own time-outs, and enough
 * for an exchange that has to connect first.
 */
#define TOKEN_WAIT_MS INT64_C(5000)

static enum MHD_Result refuse_account(
	struct request *request, const char *message, const char *account)
{
	const struct answer_error error = {
		.status = MHD_HTTP_NOT_FOUND,
		.code = "not_found",
		.message = message,
		.account = account,
		.retry_after_s = -1,
	};
	return answer_send_error(request, &error);
}

/* Say why there is no token, in the words of the exchange that failed. */
static enum MHD_Result refuse_without_token(struct request *request, const struct wait_terms *terms)
{
	const struct account *account = terms->account;
	const struct account_report *report = terms->report;
	_cleanup_text_ struct text message = {0};
	text_appendf(&message, "no valid token for account '%s': ", account->settings.name);
	if (report->error.code != ERR_NONE)
		text_append(&message, report->error.message);
	else if (terms->snapshot != NULL)
		text_append(&message, "the last one has expired, and its refresh is under way");
	else
		text_append(&message, "the first exchange is under way");
	if (text_string(&message) == NULL)
		return MHD_NO;
	int64_t wait_ms = report->next_ms - request->now_ms;
	const struct answer_error error = {
		.status = MHD_HTTP_SERVICE_UNAVAILABLE,
		.code = "no_valid_token",
		.message = message.data,
		.account = account->settings.name,
		.retry_after_s = wait_ms <= 1000 ? 1 : (wait_ms + 999) / 1000,
	};
	return answer_send_error(request, &error);
}

/*
 * Whether the request waits: for the exchange that is under way, or, where it says for how long,
 * for the next one too.
 */
static bool waits(struct request *request, const struct wait_terms *terms)
{
	int64_t asked_ms = route_wait_ms(request, -1);
	struct wait_terms own = *terms;
	own.bound_ms = asked_ms < 0 ? TOKEN_WAIT_MS : asked_ms;
	int64_t until_ms = asked_ms < 0
				   ? request->now_ms
				   : waiter_end_ms(*request->waiter, asked_ms, request->now_ms);
	return own.bound_ms > 0 && terms->report->next_ms <= until_ms && route_waits(request, &own);
}

static enum MHD_Result send_token(
	struct request *request, struct account *account, enum representation representation)
{
	const struct snapshot *snapshot = atomic_load(&account->snapshot);
	if (snapshot_is_valid(snapshot, request->now_ms)) {
		if (!request->is_head)
			audit_note(request->audit, &request->caller, account->settings.name,
				request->number, request->now_ms);
		return answer_send_ready(request, snapshot->answers[representation]);
	}
	const struct wait_terms terms = {
		.account = account,
		.snapshot = snapshot,
		.report = atomic_load(&account->report),
	};
	return waits(request, &terms) ? MHD_YES : refuse_without_token(request, &terms);
}

/* Where in an Accept header the media type stands, or NULL. */
static const char *find_media_type(const char *accept, const char *type)
{
	size_t len = strlen(type);
	for (const char *at = strcasestr(accept, type); at != NULL; at = strcasestr(at + len, type))
		if ((at == accept || strchr(" \t,", at[-1]) != NULL) &&
			strchr(" \t,;", at[len]) != NULL)
			return at;
	return NULL;
}

/* Plain text is for those who ask for it before JSON; everyone else gets JSON. */
static bool wants_text(struct request *request)
{
	const char *accept = MHD_lookup_connection_value(
		request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	if (accept == NULL || strcmp(accept, "*/*") == 0)
		return false;
	const char *text = find_media_type(accept, "text/plain");
	const char *json = find_media_type(accept, "application/json");
	return text != NULL && (json == NULL || text < json);
}

/* The form that the request asks for. Returns 0, or -1 when the answer says what is wrong with it.
 */
static int choose(
	struct request *request, enum representation *representation, enum MHD_Result *result)
{
	static const char *const known[] = {"format", NULL};
	static const struct {
		const char *word;
		enum representation representation;
	} formats[] = {
		{"json", REPRESENTATION_JSON},
		{"text", REPRESENTATION_TEXT},
		{"header", REPRESENTATION_HEADER},
	};
	if (!route_query_is_clean(request, known, result))
		return -1;
	const char *format = NULL;
	/* Without '=' it is there, and has no value. */
	if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, "format", 6,
		    &format, NULL) == MHD_NO) {
		*representation = wants_text(request) ? REPRESENTATION_TEXT : REPRESENTATION_JSON;
		return 0;
	}
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (format != NULL && strcmp(format, formats[i].word) == 0) {
			*representation = formats[i].representation;
			return 0;
		}
	}
	const struct answer_error error = {
		.status = MHD_HTTP_BAD_REQUEST,
		.code = "bad_request",
		.message = "unknown format; expected format=json, format=text or format=header",
		.retry_after_s = -1,
	};
	*result = answer_send_error(request, &error);
	return -1;
}

static enum MHD_Result send_chosen(struct request *request, struct account *account)
{
	enum representation representation = REPRESENTATION_JSON;
	enum MHD_Result result = MHD_NO;
	if (choose(request, &representation, &result) != 0)
		return result;
	return send_token(request, account, representation);
}

enum MHD_Result route_default_token(struct request *request)
{
	if (request->table->default_account == NULL)
		return refuse_account(request,
			"there is no default account; ask for /v1/accounts/{name}/token, or set "
			"default_account in the configuration",
			NULL);
	enum MHD_Result result = MHD_NO;
	if (!route_permits(request, request->table->default_account, POLICY_TOKEN, &result))
		return result;
	return send_chosen(request, request->table->default_account);
}

enum MHD_Result route_account_token(struct request *request)
{
	enum MHD_Result result = MHD_NO;
	struct account *account = route_account_of(request, POLICY_TOKEN, &result);
	return account == NULL ? result : send_chosen(request, account);
}

/* The STS's own path and shape, for clients whose endpoint is overridden: azure-protocol.md A.1. */
enum MHD_Result route_sts_token(struct request *request)
{
	static const char *const known[] = {"api-version", NULL};
	enum MHD_Result result = MHD_NO;
	if (!route_query_is_clean(request, known, &result))
		return result;
	struct account *account = account_table_find_id(request->table, request->argument);
	if (account == NULL)
		return refuse_account(request,
			"there is no account of this identifier; /v1/accounts lists them",
			request->argument);
	if (!route_permits(request, account, POLICY_TOKEN, &result))
		return result;
	return send_token(request, account, REPRESENTATION_STS);
}
