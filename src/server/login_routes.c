/*
 * Logging in to an account: POST begins a login, or joins the one that is under way; GET tells how
 * far it is. Neither waits. Both tell the refresh thread that somebody is waiting.
 */
#include "server/answer.h"
#include "base/json_out.h"
#include "server/routes.h"

#include <stdio.h>

/* The least time between two that are begun. */
#define LOGIN_PAUSE_MS 1000

static bool is_under_way(const struct account_login *login)
{
	return login != NULL &&
	       (login->state == ACCOUNT_LOGIN_STARTING || login->state == ACCOUNT_LOGIN_PENDING);
}

static void put_error(struct json_out *out, const struct account_login *login)
{
	if (login == NULL || login->state != ACCOUNT_LOGIN_FAILED) {
		json_out_string(out, "error", NULL);
		return;
	}
	json_out_begin(out, "error", '{');
	json_out_string(out, "code", error_code_name(login->error.code));
	json_out_string(out, "message", login->error.message);
	json_out_end(out, '}');
}

/* login  NULL: there was none */
static void put_login(struct json_out *out, const struct account *account,
	const struct account_login *login, int64_t now_ms)
{
	static const struct account_login none;
	bool is_pending = login != NULL && login->state == ACCOUNT_LOGIN_PENDING;
	const struct account_login *shown = is_pending ? login : &none;
	int64_t left_s = (shown->expires_ms - now_ms) / 1000;
	json_out_begin(out, NULL, '{');
	json_out_string(out, "account", account->settings.name);
	json_out_string(
		out, "state", login == NULL ? "none" : account_login_state_name(login->state));
	json_out_string(out, "user_code", is_pending ? shown->user_code : NULL);
	json_out_string(out, "verification_uri", is_pending ? shown->verification_uri : NULL);
	json_out_string(out, "message", is_pending ? shown->message : NULL);
	json_out_number(out, "expires_in", is_pending, left_s < 0 ? 0 : left_s);
	json_out_number(out, "interval", is_pending, shown->interval_s);
	put_error(out, login);
	json_out_end(out, '}');
}

/* Whoever asks again too soon has the last failure for an answer, and costs the others nothing. */
static bool may_begin(const struct request *request, const struct account *account)
{
	const struct account_login *login = atomic_load(&account->login);
	bool has_failed = login != NULL && login->state == ACCOUNT_LOGIN_FAILED;
	return !is_under_way(login) &&
	       !(has_failed && request->now_ms - account->login_wanted_ms < LOGIN_PAUSE_MS);
}

/* How far it is; a login that was just asked for counts before whatever there was before. */
static const struct account_login *login_of(struct account *account)
{
	static const struct account_login starting = {.state = ACCOUNT_LOGIN_STARTING};
	/* In this order: a request is over when what it began has been published. */
	bool is_asked_for = (atomic_load(&account->requests) & ACCOUNT_REQUEST_LOGIN) != 0;
	const struct account_login *login = atomic_load(&account->login);
	return is_asked_for && !is_under_way(login) ? &starting : login;
}

static enum MHD_Result refuse_without_login(struct request *request, const struct account *account)
{
	char message[256];
	snprintf(message, sizeof(message),
		"the credential of this account is %.100s, which nobody logs in to",
		account->settings.credential);
	const struct answer_error error = {
		.status = MHD_HTTP_CONFLICT,
		.code = "no_login",
		.message = message,
		.account = account->settings.name,
		.retry_after_s = -1,
	};
	return answer_send_error(request, &error);
}

enum MHD_Result route_login(struct request *request)
{
	static const char *const nothing[] = {NULL};
	enum MHD_Result result = MHD_NO;
	if (!route_query_is_clean(request, nothing, &result))
		return result;
	struct account *account = route_account_of(request, POLICY_ADMIN, &result);
	if (account == NULL)
		return result;
	if (!account->settings.has_login)
		return refuse_without_login(request, account);
	atomic_store(&account->login_asked_ms, request->now_ms);
	if (request->is_post && may_begin(request, account)) {
		account->login_wanted_ms = request->now_ms;
		account_request(request->registry, account, ACCOUNT_REQUEST_LOGIN);
	}
	struct json_out out = {0};
	put_login(&out, account, login_of(account), request->now_ms);
	return answer_send_json(request, request->is_post ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK, &out);
}
