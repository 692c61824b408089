#include "emulator/control.h"

#include "emulator/control_call.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define WAIT_MAX_MS 60000
#define JSON_DEPTH_MAX 8

void control_reply(struct control_call *call, int status, struct json_object *json)
{
	struct answer *answer = call->answer;
	size_t len = 0;
	const char *string =
		json == NULL
			? NULL
			: json_object_to_json_string_length(json,
				  JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	answer->status = string == NULL ? 500 : status;
	if (string != NULL)
		text_append_bytes(&answer->body, string, len);
	json_object_put(json);
	answer_set_header(answer, "Content-Type", "application/json; charset=utf-8");
	answer_set_header(answer, "Cache-Control", "no-store");
	answer_set_header(answer, "X-Content-Type-Options", "nosniff");
}

void control_reply_error(struct control_call *call, int status, const char *sentence)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "error", json_object_new_string(sentence));
	control_reply(call, status, json);
}

void control_reply_failure(struct control_call *call, const struct error *err)
{
	control_reply_error(call, err->code == ERR_CONFIGURATION ? 400 : 500, err->message);
}

void control_reply_list(struct control_call *call, const char *name, struct json_object *list)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, name, list);
	control_reply(call, 200, json);
}

void control_reply_number(struct control_call *call, const char *name, size_t number)
{
	control_reply_list(call, name, json_object_new_int64((int64_t)number));
}

void control_reply_deleted(struct control_call *call, int result, const char *sentence)
{
	if (result == 0)
		control_reply_number(call, "deleted", 1);
	else
		control_reply_error(call, 404, sentence);
}

/* Read "after" and "wait_ms"; there may be no other. */
static int read_list_query(const char *query, int64_t *after, int64_t *wait_ms, struct error *err)
{
	struct {
		const char *name;
		int64_t max;
		int64_t *value;
	} known[] = {{"after=", INT64_MAX, after}, {"wait_ms=", WAIT_MAX_MS, wait_ms}};
	while (query != NULL && *query != '\0') {
		char word[48];
		size_t len = strcspn(query, "&");
		size_t i = 0;
		snprintf(word, sizeof(word), "%.*s", len < 47 ? (int)len : 47, query);
		while (i < 2 && strncmp(word, known[i].name, strlen(known[i].name)) != 0)
			i++;
		if (i == 2)
			return error_set(err, ERR_CONFIGURATION,
				"the query has \"%s\", and takes after and wait_ms", word);
		const char *number = word + strlen(known[i].name);
		if (parse_integer(number, 0, known[i].max, known[i].value) != 0)
			return error_set(err, ERR_CONFIGURATION,
				"%s\"%s\" must be a whole number from 0 to %lld", known[i].name,
				number, (long long)known[i].max);
		query += len;
		query += *query == '&';
	}
	return 0;
}

static void get_requests(struct control_call *call)
{
	struct error err = ERROR_INIT;
	int64_t after = 0;
	int64_t wait_ms = 0;
	if (read_list_query(call->request->query, &after, &wait_ms, &err) != 0) {
		control_reply_failure(call, &err);
		return;
	}
	struct json_object *json = json_object_new_object();
	json_object_object_add(
		json, "requests", record_list(call->emulator->record, (uint64_t)after, wait_ms));
	json_object_object_add(json, "connections",
		json_object_new_int64(
			(int64_t)server_connections(call->emulator->servers[SERVER_STS])));
	control_reply(call, 200, json);
}

static void delete_requests(struct control_call *call)
{
	control_reply_number(call, "deleted", record_clear(call->emulator->record));
}

static void get_faults(struct control_call *call)
{
	control_reply_list(call, "faults", faults_list(call->emulator->faults));
}

static void post_faults(struct control_call *call)
{
	struct error err = ERROR_INIT;
	struct json_object *shown = faults_add(call->emulator->faults, call->body, &err);
	if (shown == NULL)
		control_reply_failure(call, &err);
	else
		control_reply(call, 201, shown);
}

static void delete_faults(struct control_call *call)
{
	control_reply_number(call, "deleted", faults_clear(call->emulator->faults));
}

static void delete_fault(struct control_call *call)
{
	int64_t number = 0;
	if (parse_integer(call->rest, 1, INT64_MAX, &number) != 0)
		control_reply_error(call, 400, "the number in the path is none");
	else
		control_reply_deleted(call, faults_remove(call->emulator->faults, (uint64_t)number),
			"there is no such fault, or it is used up");
}

static void get_settings(struct control_call *call)
{
	struct json_object *json = json_object_new_object();
	for (size_t i = 0; i < settings_count; i++)
		json_object_object_add(json, settings_known[i].name,
			json_object_new_int64(atomic_load(
				settings_place(&call->emulator->settings, &settings_known[i]))));
	control_reply(call, 200, json);
}

static const struct setting *find_setting(const char *name, struct error *err)
{
	_cleanup_text_ struct text known = {0};
	for (size_t i = 0; i < settings_count; i++) {
		if (strcmp(name, settings_known[i].name) == 0)
			return &settings_known[i];
		text_appendf(&known, "%s%s", i == 0 ? "" : ", ", settings_known[i].name);
	}
	const char *names = text_string(&known);
	error_set(err, ERR_CONFIGURATION, "there is no setting \"%.60s\": there are %s", name,
		names == NULL ? "others" : names);
	return NULL;
}

/* All or nothing; a setting that is not named stays. */
static void put_settings(struct control_call *call)
{
	struct error err = ERROR_INIT;
	json_object_object_foreach(call->body, name, value)
	{
		const struct setting *setting = find_setting(name, &err);
		int64_t number = json_object_get_int64(value);
		if (setting != NULL && (!json_object_is_type(value, json_type_int) ||
					       number < setting->min || number > setting->max))
			error_set(&err, ERR_CONFIGURATION,
				"\"%s\" must be an integer from %lld to %lld", name,
				(long long)setting->min, (long long)setting->max);
		if (err.code != ERR_NONE) {
			control_reply_failure(call, &err);
			return;
		}
	}
	json_object_object_foreach(call->body, known, number)
	{
		const struct setting *setting = find_setting(known, &err);
		if (setting != NULL)
			atomic_store(settings_place(&call->emulator->settings, setting),
				json_object_get_int64(number));
	}
	get_settings(call);
}

static void get_signing_key(struct control_call *call)
{
	const struct signing_key *key = call->emulator->sts_key;
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "kid", json_object_new_string(key->kid));
	json_object_object_add(json, "x5t", json_object_new_string(key->x5t));
	json_object_object_add(json, "public_key", json_object_new_string(key->public_key_pem));
	control_reply(call, 200, json);
}

static void get_health(struct control_call *call)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "ok", json_object_new_boolean(true));
	control_reply(call, 200, json);
}

static const struct route {
	const char *method;
	const char *path; /* one that ends in '/' goes on with an identifier */
	bool has_body;
	bool has_query;
	void (*handle)(struct control_call *call);
	const char *identifier; /* whose UUID goes on; NULL for any word */
} routes[] = {
	{"GET", "/v1/requests", false, true, get_requests, NULL},
	{"DELETE", "/v1/requests", false, false, delete_requests, NULL},
	{"GET", "/v1/faults", false, false, get_faults, NULL},
	{"POST", "/v1/faults", true, false, post_faults, NULL},
	{"DELETE", "/v1/faults", false, false, delete_faults, NULL},
	{"DELETE", "/v1/faults/", false, false, delete_fault, NULL},
	{"GET", "/v1/accounts", false, false, control_get_accounts, NULL},
	{"PUT", "/v1/accounts/", true, false, control_put_account, "account"},
	{"DELETE", "/v1/accounts/", false, false, control_delete_account, "account"},
	{"GET", "/v1/tenants", false, false, control_get_tenants, NULL},
	{"PUT", "/v1/tenants/", true, false, control_put_tenant, "tenant"},
	{"DELETE", "/v1/tenants/", false, false, control_delete_tenant, "tenant"},
	{"GET", "/v1/apps", false, false, control_get_apps, NULL},
	{"PUT", "/v1/apps/", true, false, control_put_app, "app"},
	{"DELETE", "/v1/apps/", false, false, control_delete_app, "app"},
	{"GET", "/v1/device-codes", false, false, control_get_device_codes, NULL},
	{"PUT", "/v1/device-codes/", true, false, control_put_device_code, NULL},
	{"DELETE", "/v1/refresh-tokens", false, false, control_delete_refresh_tokens, NULL},
	{"GET", "/v1/identities", false, false, control_get_identities, NULL},
	{"PUT", "/v1/identities/", true, false, control_put_identity, "identity"},
	{"DELETE", "/v1/identities/", false, false, control_delete_identity, "identity"},
	{"GET", "/v1/environment", false, false, control_get_environment, NULL},
	{"GET", "/v1/settings", false, false, get_settings, NULL},
	{"PUT", "/v1/settings", true, false, put_settings, NULL},
	{"GET", "/v1/signing-key", false, false, get_signing_key, NULL},
	{"GET", "/v1/health", false, false, get_health, NULL},
};
#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

static bool route_fits(const struct route *route, const struct request *request)
{
	size_t len = strlen(route->path);
	bool has_rest = route->path[len - 1] == '/';
	return strncmp(request->target, route->path, len) == 0 &&
	       (has_rest ? request->path_len > len : request->path_len == len);
}

/*
 * The body as a JSON object, to be put. NULL with *err when it is none, is not JSON or is too long.
 */
static struct json_object *read_body(const struct request *request, struct error *err)
{
	if (request->body_is_cut) {
		error_set(err, ERR_CONFIGURATION, "the body is longer than %zu bytes",
			BODY_MAX_BYTES);
		return NULL;
	}
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	if (tokener == NULL) {
		error_set(err, ERR_NO_MEMORY, "no memory to read the body");
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *json = json_tokener_parse_ex(tokener,
		request->body.data == NULL ? "" : request->body.data, (int)request->body.len);
	enum json_tokener_error problem = json_tokener_get_error(tokener);
	json_tokener_free(tokener);
	if (problem == json_tokener_success && json_object_is_type(json, json_type_object))
		return json;
	json_object_put(json);
	error_set(err, ERR_CONFIGURATION, "the body must be a JSON object%s%s",
		problem == json_tokener_success ? "" : ": ",
		problem == json_tokener_success    ? ""
		: problem == json_tokener_continue ? "it is empty or ends too soon"
						   : json_tokener_error_desc(problem));
	return NULL;
}

static void call_route(const struct route *route, struct control_call *call)
{
	struct error err = ERROR_INIT;
	size_t len = strlen(route->path);
	size_t rest_len = call->request->path_len - len;
	if (rest_len <= CONTROL_REST_MAX)
		memcpy(call->rest, call->request->target + len, rest_len);
	if (route->identifier != NULL && !is_uuid(call->rest)) {
		char sentence[80];
		snprintf(sentence, sizeof(sentence), "the %s identifier in the path is not a UUID",
			route->identifier);
		control_reply_error(call, 400, sentence);
		return;
	}
	if (!route->has_query && call->request->query != NULL) {
		control_reply_error(call, 400, "there is a query, and this path takes none");
		return;
	}
	if (!route->has_body && (call->request->body.len > 0 || call->request->body_is_cut)) {
		control_reply_error(call, 400, "there is a body, and this method takes none");
		return;
	}
	if (route->has_body && (call->body = read_body(call->request, &err)) == NULL) {
		control_reply_failure(call, &err);
		return;
	}
	route->handle(call);
	json_object_put(call->body);
}

/*
 * Whether the request means this host by name. A page in a browser, whose own name leads here by a
 * DNS answer of its author's choice, does not.
 */
static bool is_for_loopback(const struct request *request)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
	size_t count = 0;
	const char *host = request_header(request, "Host", &count);
	for (size_t i = 0; count == 1 && i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);
		if (strncasecmp(host, names[i], len) == 0 &&
			(host[len] == ':' || host[len] == '\0'))
			return true;
	}
	return false;
}

static void handle(void *context, const struct request *request, struct answer *answer)
{
	struct control_call call = {.emulator = context, .request = request, .answer = answer};
	char allowed[64] = "";
	if (strcmp(request->method, "GET") == 0)
		answer->log_level = LOG_LEVEL_DEBUG; /* those who wait ask often */
	if (!is_for_loopback(request)) {
		control_reply_error(&call, 403, "the Host header is not a loopback name");
		return;
	}
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		if (!route_fits(&routes[i], request))
			continue;
		if (strcmp(routes[i].method, request->method) == 0) {
			call_route(&routes[i], &call);
			return;
		}
		size_t len = strlen(allowed);
		snprintf(allowed + len, sizeof(allowed) - len, "%s%s", len == 0 ? "" : ", ",
			routes[i].method);
	}
	if (allowed[0] == '\0') {
		control_reply_error(&call, 404, "there is no such path");
		return;
	}
	control_reply_error(&call, 405, "this path does not take this method");
	answer_set_header(answer, "Allow", allowed);
}

const struct server_kind control_kind = {
	.name = "control",
	.has_tls = false,
	.body_max = BODY_MAX_BYTES,
	.handle = handle,
};
