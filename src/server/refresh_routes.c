/*
 * POST …/refresh: asks for an exchange now, or joins the one that is under way; and waits for its
 * end where the request says `Prefer: wait=N`.
 */
#include "server/answer.h"
#include "server/routes.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

/* The least time between two that are begun for an account. */
#define REFRESH_PAUSE_MS INT64_C(10000)

static bool is_under_way(
	struct account *account, const struct account_report *report, int64_t now_ms)
{
	return report->next_ms <= now_ms ||
	       (atomic_load(&account->requests) & ACCOUNT_REQUEST_REFRESH) != 0;
}

static enum MHD_Result refuse(struct request *request, const struct account *account,
	const char *message, int64_t wait_ms)
{
	const struct answer_error error = {
		.status = MHD_HTTP_TOO_MANY_REQUESTS,
		.code = "too_soon",
		.message = message,
		.account = account->settings.name,
		.retry_after_s = (wait_ms + 999) / 1000,
	};
	return answer_send_error(request, &error);
}

/* Whether the upstream said, in its last answer, when it wants to be asked again. */
static bool is_held_off(const struct account_report *report, int64_t now_ms)
{
	return report->error.code != ERR_NONE && report->error.retry_after_s > 0 &&
	       report->next_ms > now_ms;
}

/* Begin or join. Returns whether one is under way now; or else *result is the refusal's. */
static bool begin(struct request *request, struct account *account,
	const struct account_report *report, enum MHD_Result *result)
{
	char message[256];
	int64_t pause_ms = account->refresh_wanted_ms + REFRESH_PAUSE_MS - request->now_ms;
	if (is_under_way(account, report, request->now_ms))
		return true;
	if (is_held_off(report, request->now_ms)) {
		int64_t wait_ms = report->next_ms - request->now_ms;
		snprintf(message, sizeof(message),
			"the upstream asked to be left alone for %" PRId64
			" s more; see last_error at /v1/accounts/%s",
			(wait_ms + 999) / 1000, account->settings.name);
		*result = refuse(request, account, message, wait_ms);
		return false;
	}
	if (pause_ms > 0) {
		snprintf(message, sizeof(message),
			"a refresh was asked for %" PRId64 " s ago; there is one in %" PRId64
			" s at most for an account",
			(REFRESH_PAUSE_MS - pause_ms) / 1000, REFRESH_PAUSE_MS / 1000);
		*result = refuse(request, account, message, pause_ms);
		return false;
	}
	account->refresh_wanted_ms = request->now_ms;
	account_request(request->registry, account, ACCOUNT_REQUEST_REFRESH);
	return true;
}

static enum MHD_Result tell_failure(
	struct request *request, const struct account *account, const struct account_report *report)
{
	_cleanup_text_ struct text message = {0};
	int64_t wait_ms = report->next_ms - request->now_ms;
	text_appendf(&message, "the refresh failed: %s", report->error.message);
	if (text_string(&message) == NULL)
		return MHD_NO;
	const struct answer_error error = {
		.status = MHD_HTTP_SERVICE_UNAVAILABLE,
		.code = "refresh_failed",
		.message = message.data,
		.account = account->settings.name,
		.retry_after_s = wait_ms <= 1000 ? 1 : (wait_ms + 999) / 1000,
	};
	return answer_send_error(request, &error);
}

enum MHD_Result route_refresh(struct request *request)
{
	static const char *const nothing[] = {NULL};
	enum MHD_Result result = MHD_NO;
	if (!route_query_is_clean(request, nothing, &result))
		return result;
	struct account *account = route_account_of(request, POLICY_ADMIN, &result);
	if (account == NULL)
		return result;
	const struct wait_terms terms = {
		.account = account,
		.snapshot = atomic_load(&account->snapshot),
		.report = atomic_load(&account->report),
		.bound_ms = route_wait_ms(request, 0),
	};
	bool is_first_call = *request->waiter == NULL;
	if (is_first_call && !begin(request, account, terms.report, &result))
		return result;
	unsigned exchanges = waiter_exchanges(*request->waiter, terms.report);
	if (terms.bound_ms > 0 && route_waits(request, &terms))
		return MHD_YES;
	if (terms.report->exchanges == exchanges)
		return route_send_account(request, MHD_HTTP_ACCEPTED, account);
	if (terms.report->error.code != ERR_NONE)
		return tell_failure(request, account, terms.report);
	return route_send_account(request, MHD_HTTP_OK, account);
}
