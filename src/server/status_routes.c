/*
 * What people and probes ask: accounts and their states, liveness, readiness. Never a secret, never
 * a token.
 */
#include "base/json_out.h"
#include "server/answer.h"
#include "server/routes.h"

#include <string.h>

static void put_error(struct json_out *out, const struct account_report *report)
{
	const struct error *err = &report->error;
	if (err->code == ERR_NONE) {
		json_out_string(out, "last_error", NULL);
		return;
	}
	json_out_begin(out, "last_error", '{');
	json_out_string(out, "code", error_code_name(err->code));
	json_out_string(out, "message", err->message);
	json_out_number(out, "status", err->http_status != 0, err->http_status);
	json_out_text(out, "correlation_vector", err->correlation_vector);
	json_out_text(out, "upstream_code", err->upstream_code);
	json_out_text(out, "correlation_id", err->correlation_id);
	json_out_number(out, "at", true, report->failed_on);
	json_out_end(out, '}');
}

static void put_account(struct json_out *out, const struct account *account, int64_t now_ms)
{
	static const struct snapshot none;
	const struct account_settings *settings = &account->settings;
	const struct snapshot *snapshot = atomic_load(&account->snapshot);
	const struct account_report *report = atomic_load(&account->report);
	bool is_valid = snapshot_is_valid(snapshot, now_ms);
	const struct snapshot *shown = is_valid ? snapshot : &none;
	int64_t wait_s = report->next_ms > now_ms ? (report->next_ms - now_ms) / 1000 : 0;
	json_out_begin(out, NULL, '{');
	json_out_string(out, "name", settings->name);
	json_out_string(out, "kind", settings->kind);
	json_out_text(out, "account_id", settings->account_id);
	json_out_text(out, "account_domain", settings->account_domain);
	json_out_text(out, "scope", settings->scope);
	json_out_text(out, "endpoint", settings->endpoint);
	json_out_string(out, "credential", settings->credential);
	json_out_text(out, "credential_in_use", report->given_by);
	json_out_text(out, "key_in_use", report->key);
	json_out_boolean(out, "required", settings->is_required);
	json_out_string(
		out, "state", account_state_name(account_state_of(report, snapshot, now_ms)));
	json_out_number(out, "expires_on", is_valid, shown->expires_on);
	json_out_number(out, "refresh_on", is_valid, shown->refresh_on);
	json_out_number(out, "expires_in", is_valid, (shown->dead_at_ms - now_ms) / 1000);
	json_out_number(out, "refresh_in", true, wait_s);
	json_out_number(out, "refreshed_on", report->refreshed_on != 0, report->refreshed_on);
	json_out_number(out, "failures", true, report->failures);
	put_error(out, report);
	json_out_text(out, "notice", report->notice);
	json_out_end(out, '}');
}

enum MHD_Result route_send_account(
	struct request *request, unsigned status, const struct account *account)
{
	struct json_out out = {0};
	put_account(&out, account, request->now_ms);
	return answer_send_json(request, status, &out);
}

static const char *const no_parameters[] = {NULL};

static const struct peer nobody;

/* Show a page, made by `make` if there is none that is fresh. */
static enum MHD_Result show_page(struct request *request, enum page_kind kind,
	struct answer *(*make)(const struct request *request))
{
	enum MHD_Result result = MHD_NO;
	if (!route_query_is_clean(request, no_parameters, &result))
		return result;
	struct page *page = &request->pages[kind];
	const struct peer *viewer = request->table->has_rules ? request->caller.peer : &nobody;
	if (!page_is_fresh(page, request->table, request->table->count, request->now_ms) ||
		page->adoptions != request->adoptions || !peer_is_alike(&page->viewer, viewer)) {
		struct answer *answer = make(request);
		/* After that: making it may have shown the viewer's unit. */
		struct peer own = {0};
		if (answer == NULL || peer_copy(&own, viewer) != 0) {
			answer_free(answer);
			return answer_send_no_memory(request);
		}
		answer_free(page->answer);
		peer_clear(&page->viewer);
		*page = (struct page){
			.answer = answer,
			.table = request->table,
			.adoptions = request->adoptions,
			.made_ms = request->now_ms,
			.viewer = own,
		};
	}
	return answer_send_ready(request, page->answer);
}

static struct answer *make_accounts(const struct request *request)
{
	const struct account_table *table = request->table;
	struct json_out out = {0};
	json_out_begin(&out, NULL, '{');
	json_out_string(&out, "default_account",
		table->default_account == NULL || !route_shows(request, table->default_account)
			? NULL
			: table->default_account->settings.name);
	json_out_begin(&out, "accounts", '[');
	for (size_t i = 0; i < table->count; i++)
		if (route_shows(request, table->accounts[i]))
			put_account(&out, table->accounts[i], request->now_ms);
	json_out_end(&out, ']');
	json_out_end(&out, '}');
	return answer_new_json(MHD_HTTP_OK, &out);
}

enum MHD_Result route_accounts(struct request *request)
{
	return show_page(request, PAGE_ACCOUNTS, make_accounts);
}

enum MHD_Result route_account(struct request *request)
{
	enum MHD_Result result = MHD_NO;
	if (!route_query_is_clean(request, no_parameters, &result))
		return result;
	const struct account *account = route_account_to_see(request, &result);
	if (account == NULL)
		return result;
	return route_send_account(request, MHD_HTTP_OK, account);
}

/* Alive: this thread answers. */
enum MHD_Result route_healthz(struct request *request)
{
	struct json_out out = {0};
	json_out_begin(&out, NULL, '{');
	json_out_string(&out, "status", "ok");
	json_out_end(&out, '}');
	return answer_send_json(request, MHD_HTTP_OK, &out);
}

/*
 * Ready: every required account has a valid token. That the last refresh worked is told besides.
 * Whether all is ready is for everybody who may connect; which accounts there are is not.
 */
static struct answer *make_readiness(const struct request *request)
{
	const struct account_table *table = request->table;
	struct json_out list = {0};
	struct json_out out = {0};
	bool is_ready = true;
	json_out_begin(&list, NULL, '[');
	for (size_t i = 0; i < table->count; i++) {
		const struct account *account = table->accounts[i];
		const struct account_report *report = atomic_load(&account->report);
		bool is_valid = snapshot_is_valid(atomic_load(&account->snapshot), request->now_ms);
		bool has_worked = report->error.code == ERR_NONE && report->refreshed_on != 0;
		if (!is_valid && account->settings.is_required)
			is_ready = false;
		if (!route_shows(request, account))
			continue;
		json_out_begin(&list, NULL, '{');
		json_out_string(&list, "name", account->settings.name);
		json_out_boolean(&list, "required", account->settings.is_required);
		json_out_boolean(&list, "has_valid_token", is_valid);
		json_out_boolean(&list, "last_refresh_worked", has_worked);
		json_out_end(&list, '}');
	}
	json_out_end(&list, ']');
	json_out_begin(&out, NULL, '{');
	json_out_boolean(&out, "ready", is_ready);
	json_out_take(&out, "accounts", &list);
	json_out_end(&out, '}');
	return answer_new_json(is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, &out);
}

enum MHD_Result route_readyz(struct request *request)
{
	return show_page(request, PAGE_READINESS, make_readiness);
}
