/*
 * What people and probes ask: accounts and their states, liveness, readiness. Never a secret, never
 * a token.
 */
#include "server/answer.h"
#include "server/routes.h"

#include <string.h>

static struct json_object *string_or_null(const char *string)
{
	return string == NULL || string[0] == '\0' ? NULL : json_object_new_string(string);
}

static struct json_object *error_object(const struct account_report *report)
{
	const struct error *err = &report->error;
	if (err->code == ERR_NONE)
		return NULL;
	struct json_object *object = json_object_new_object();
	json_object_object_add(object, "code", json_object_new_string(error_code_name(err->code)));
	json_object_object_add(object, "message", json_object_new_string(err->message));
	json_object_object_add(object, "status",
		err->http_status == 0 ? NULL : json_object_new_int(err->http_status));
	json_object_object_add(
		object, "correlation_vector", string_or_null(err->correlation_vector));
	json_object_object_add(object, "upstream_code", string_or_null(err->upstream_code));
	json_object_object_add(object, "correlation_id", string_or_null(err->correlation_id));
	json_object_object_add(object, "at", json_object_new_int64(report->failed_on));
	return object;
}

struct json_object *route_account_object(const struct account *account, int64_t now_ms)
{
	const struct account_settings *settings = &account->settings;
	const struct snapshot *snapshot = atomic_load(&account->snapshot);
	const struct account_report *report = atomic_load(&account->report);
	bool is_valid = snapshot_is_valid(snapshot, now_ms);
	int64_t wait_s = report->next_ms > now_ms ? (report->next_ms - now_ms) / 1000 : 0;
	struct json_object *object = json_object_new_object();
	json_object_object_add(object, "name", json_object_new_string(settings->name));
	json_object_object_add(object, "kind", json_object_new_string(settings->kind));
	json_object_object_add(object, "account_id", string_or_null(settings->account_id));
	json_object_object_add(object, "account_domain", string_or_null(settings->account_domain));
	json_object_object_add(object, "scope", string_or_null(settings->scope));
	json_object_object_add(object, "endpoint", string_or_null(settings->endpoint));
	json_object_object_add(object, "credential", json_object_new_string(settings->credential));
	json_object_object_add(object, "credential_in_use", string_or_null(report->given_by));
	json_object_object_add(object, "key_in_use", string_or_null(report->key));
	json_object_object_add(object, "required", json_object_new_boolean(settings->is_required));
	json_object_object_add(object, "state",
		json_object_new_string(
			account_state_name(account_state_of(report, snapshot, now_ms))));
	json_object_object_add(object, "expires_on",
		is_valid ? json_object_new_int64(snapshot->expires_on) : NULL);
	json_object_object_add(object, "refresh_on",
		is_valid ? json_object_new_int64(snapshot->refresh_on) : NULL);
	json_object_object_add(object, "expires_in",
		is_valid ? json_object_new_int64((snapshot->dead_at_ms - now_ms) / 1000) : NULL);
	json_object_object_add(object, "refresh_in", json_object_new_int64(wait_s));
	json_object_object_add(object, "refreshed_on",
		report->refreshed_on == 0 ? NULL : json_object_new_int64(report->refreshed_on));
	json_object_object_add(object, "failures", json_object_new_int64(report->failures));
	json_object_object_add(object, "last_error", error_object(report));
	json_object_object_add(object, "notice", string_or_null(report->notice));
	return object;
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
		!peer_is_alike(&page->viewer, viewer)) {
		struct answer *answer = make(request);
		/* After that: making it may have shown the viewer's unit. */
		struct peer own = {0};
		if (answer == NULL || peer_copy(&own, viewer) != 0) {
			answer_free(answer);
			return MHD_NO;
		}
		answer_free(page->answer);
		peer_clear(&page->viewer);
		*page = (struct page){
			.answer = answer,
			.table = request->table,
			.made_ms = request->now_ms,
			.viewer = own,
		};
	}
	return answer_send_ready(request, page->answer);
}

static struct answer *make_accounts(const struct request *request)
{
	const struct account_table *table = request->table;
	struct json_object *root = json_object_new_object();
	struct json_object *list = json_object_new_array();
	json_object_object_add(root, "default_account",
		table->default_account == NULL || !route_shows(request, table->default_account)
			? NULL
			: json_object_new_string(table->default_account->settings.name));
	for (size_t i = 0; i < table->count; i++)
		if (route_shows(request, table->accounts[i]))
			json_object_array_add(
				list, route_account_object(table->accounts[i], request->now_ms));
	json_object_object_add(root, "accounts", list);
	return answer_new_json(MHD_HTTP_OK, root);
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
	return answer_send_json(
		request, MHD_HTTP_OK, route_account_object(account, request->now_ms));
}

/* Alive: this thread answers. */
enum MHD_Result route_healthz(struct request *request)
{
	struct json_object *root = json_object_new_object();
	json_object_object_add(root, "status", json_object_new_string("ok"));
	return answer_send_json(request, MHD_HTTP_OK, root);
}

/*
 * Ready: every required account has a valid token. That the last refresh worked is told besides.
 * Whether all is ready is for everybody who may connect; which accounts there are is not.
 */
static struct answer *make_readiness(const struct request *request)
{
	const struct account_table *table = request->table;
	struct json_object *root = json_object_new_object();
	struct json_object *list = json_object_new_array();
	bool is_ready = true;
	for (size_t i = 0; i < table->count; i++) {
		const struct account *account = table->accounts[i];
		const struct snapshot *snapshot = atomic_load(&account->snapshot);
		const struct account_report *report = atomic_load(&account->report);
		bool is_valid = snapshot_is_valid(snapshot, request->now_ms);
		bool has_worked = report->error.code == ERR_NONE && report->refreshed_on != 0;
		if (!is_valid && account->settings.is_required)
			is_ready = false;
		if (!route_shows(request, account))
			continue;
		struct json_object *object = json_object_new_object();
		json_object_object_add(
			object, "name", json_object_new_string(account->settings.name));
		json_object_object_add(
			object, "required", json_object_new_boolean(account->settings.is_required));
		json_object_object_add(
			object, "has_valid_token", json_object_new_boolean(is_valid));
		json_object_object_add(
			object, "last_refresh_worked", json_object_new_boolean(has_worked));
		json_object_array_add(list, object);
	}
	json_object_object_add(root, "ready", json_object_new_boolean(is_ready));
	json_object_object_add(root, "accounts", list);
	return answer_new_json(is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, root);
}

enum MHD_Result route_readyz(struct request *request)
{
	return show_page(request, PAGE_READINESS, make_readiness);
}
