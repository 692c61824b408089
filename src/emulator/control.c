#include "emulator/control.h"

#include "emulator/emulator.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define WAIT_MAX_MS 60000
#define JSON_DEPTH_MAX 8

/* A request on its way through a route. `rest` is the path behind the route's, "" if it has none.
 */
struct call {
	struct emulator *emulator;
	const struct request *request;
	struct json_object *body; /* an object, for routes with has_body; else NULL */
	char rest[ACCOUNT_ID_LEN + 1];
	struct answer *answer;
};

/* Answer with the JSON, which is put. */
static void reply(struct answer *answer, int status, struct json_object *json)
{
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

static void reply_error(struct answer *answer, int status, const char *sentence)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "error", json_object_new_string(sentence));
	reply(answer, status, json);
}

static void reply_failure(struct answer *answer, const struct error *err)
{
	reply_error(answer, err->code == ERR_CONFIGURATION ? 400 : 500, err->message);
}

static void reply_number(struct answer *answer, const char *name, size_t number)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, name, json_object_new_int64((int64_t)number));
	reply(answer, 200, json);
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

static void get_requests(struct call *call)
{
	struct error err = ERROR_INIT;
	int64_t after = 0;
	int64_t wait_ms = 0;
	if (read_list_query(call->request->query, &after, &wait_ms, &err) != 0) {
		reply_failure(call->answer, &err);
		return;
	}
	struct json_object *json = json_object_new_object();
	json_object_object_add(
		json, "requests", record_list(call->emulator->record, (uint64_t)after, wait_ms));
	json_object_object_add(json, "connections",
		json_object_new_int64(
			(int64_t)server_connections(call->emulator->servers[SERVER_STS])));
	reply(call->answer, 200, json);
}

static void delete_requests(struct call *call)
{
	reply_number(call->answer, "deleted", record_clear(call->emulator->record));
}

static void get_faults(struct call *call)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "faults", faults_list(call->emulator->faults));
	reply(call->answer, 200, json);
}

static void post_faults(struct call *call)
{
	struct error err = ERROR_INIT;
	struct json_object *shown = faults_add(call->emulator->faults, call->body, &err);
	if (shown == NULL)
		reply_failure(call->answer, &err);
	else
		reply(call->answer, 201, shown);
}

static void delete_faults(struct call *call)
{
	reply_number(call->answer, "deleted", faults_clear(call->emulator->faults));
}

static struct json_object *account_json(const char *id, size_t key_count)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "id", json_object_new_string(id));
	json_object_object_add(json, "keys", json_object_new_int64((int64_t)key_count));
	return json;
}

static void add_account(void *context, const char *id, size_t key_count)
{
	json_object_array_add(context, account_json(id, key_count));
}

static void get_accounts(struct call *call)
{
	struct json_object *list = json_object_new_array();
	struct json_object *json = json_object_new_object();
	accounts_list(call->emulator->accounts, add_account, list);
	json_object_object_add(json, "accounts", list);
	reply(call->answer, 200, json);
}

/* Returns how many keys there are, or -1 with *err. */
static int read_keys(
	struct json_object *body, struct account_key keys[ACCOUNT_KEYS_MAX], struct error *err)
{
	struct json_object *list = NULL;
	json_object_object_foreach(body, name, value)
	{
		if (strcmp(name, "keys") != 0)
			return error_set(err, ERR_CONFIGURATION,
				"an account has no member \"%.60s\", only \"keys\"", name);
		list = value;
	}
	if (!json_object_is_type(list, json_type_array))
		return error_set(err, ERR_CONFIGURATION, "\"keys\" must be an array of strings");
	size_t count = json_object_array_length(list);
	if (count < 1 || count > ACCOUNT_KEYS_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"\"keys\" must have one or two entries, and has %zu", count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *key = json_object_array_get_idx(list, i);
		if (!json_object_is_type(key, json_type_string))
			return error_set(
				err, ERR_CONFIGURATION, "\"keys\" must be an array of strings");
		keys[i].bytes = json_object_get_string(key);
		keys[i].len = (size_t)json_object_get_string_len(key);
	}
	return (int)count;
}

static void put_account(struct call *call)
{
	struct error err = ERROR_INIT;
	struct account_key keys[ACCOUNT_KEYS_MAX];
	int count = read_keys(call->body, keys, &err);
	int added = count < 0 ? -1
			      : accounts_put(call->emulator->accounts, call->rest, keys,
					(size_t)count, &err);
	if (added < 0)
		reply_failure(call->answer, &err);
	else
		reply(call->answer, added == 1 ? 201 : 200,
			account_json(call->rest, (size_t)count));
}

static void delete_account(struct call *call)
{
	if (accounts_remove(call->emulator->accounts, call->rest) != 0)
		reply_error(call->answer, 404, "there is no such account");
	else
		reply_number(call->answer, "deleted", 1);
}

struct setting {
	const char *name;
	size_t offset; /* in struct settings */
	int64_t min;
	int64_t max;
};

static const struct setting settings[] = {
	{"token_lifetime_s", offsetof(struct settings, token_lifetime_s), TOKEN_LIFETIME_MIN_S,
		SPAN_MAX_S},
	{"date_offset_s", offsetof(struct settings, date_offset_s), -SPAN_MAX_S, SPAN_MAX_S},
};
#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

static _Atomic int64_t *place_of(struct emulator *emulator, const struct setting *setting)
{
	return (_Atomic int64_t *)((char *)&emulator->settings + setting->offset);
}

static void get_settings(struct call *call)
{
	struct json_object *json = json_object_new_object();
	for (size_t i = 0; i < SETTING_COUNT; i++)
		json_object_object_add(json, settings[i].name,
			json_object_new_int64(atomic_load(place_of(call->emulator, &settings[i]))));
	reply(call->answer, 200, json);
}

static int read_setting(const char *name, struct json_object *value, int64_t values[SETTING_COUNT],
	bool is_given[SETTING_COUNT], struct error *err)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		if (strcmp(name, settings[i].name) != 0)
			continue;
		values[i] = json_object_get_int64(value);
		is_given[i] = true;
		if (!json_object_is_type(value, json_type_int) || values[i] < settings[i].min ||
			values[i] > settings[i].max)
			return error_set(err, ERR_CONFIGURATION,
				"\"%s\" must be an integer from %lld to %lld", name,
				(long long)settings[i].min, (long long)settings[i].max);
		return 0;
	}
	return error_set(err, ERR_CONFIGURATION,
		"there is no setting \"%.60s\": there are token_lifetime_s and date_offset_s",
		name);
}

/* All or nothing; a setting that is not named stays. */
static void put_settings(struct call *call)
{
	struct error err = ERROR_INIT;
	int64_t values[SETTING_COUNT] = {0};
	bool is_given[SETTING_COUNT] = {false};
	json_object_object_foreach(call->body, name, value)
	{
		if (read_setting(name, value, values, is_given, &err) != 0) {
			reply_failure(call->answer, &err);
			return;
		}
	}
	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (is_given[i])
			atomic_store(place_of(call->emulator, &settings[i]), values[i]);
	get_settings(call);
}

static void get_signing_key(struct call *call)
{
	struct token_verification key = token_issuer_verification(call->emulator->issuer);
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "kid", json_object_new_string(key.kid));
	json_object_object_add(json, "x5t", json_object_new_string(key.x5t));
	json_object_object_add(json, "public_key", json_object_new_string(key.public_key_pem));
	reply(call->answer, 200, json);
}

static void get_health(struct call *call)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "ok", json_object_new_boolean(true));
	reply(call->answer, 200, json);
}

static const struct route {
	const char *method;
	const char *path; /* one that ends in '/' goes on with an account's identifier */
	bool has_body;
	bool has_query;
	void (*handle)(struct call *call);
} routes[] = {
	{"GET", "/v1/requests", false, true, get_requests},
	{"DELETE", "/v1/requests", false, false, delete_requests},
	{"GET", "/v1/faults", false, false, get_faults},
	{"POST", "/v1/faults", true, false, post_faults},
	{"DELETE", "/v1/faults", false, false, delete_faults},
	{"GET", "/v1/accounts", false, false, get_accounts},
	{"PUT", "/v1/accounts/", true, false, put_account},
	{"DELETE", "/v1/accounts/", false, false, delete_account},
	{"GET", "/v1/settings", false, false, get_settings},
	{"PUT", "/v1/settings", true, false, put_settings},
	{"GET", "/v1/signing-key", false, false, get_signing_key},
	{"GET", "/v1/health", false, false, get_health},
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

static void call_route(const struct route *route, struct call *call)
{
	struct error err = ERROR_INIT;
	size_t len = strlen(route->path);
	size_t rest_len = call->request->path_len - len;
	if (rest_len == ACCOUNT_ID_LEN)
		memcpy(call->rest, call->request->target + len, ACCOUNT_ID_LEN);
	if (rest_len > 0 && !is_uuid(call->rest)) {
		reply_error(call->answer, 400, "the account identifier in the path is not a UUID");
		return;
	}
	if (!route->has_query && call->request->query != NULL) {
		reply_error(call->answer, 400, "there is a query, and this path takes none");
		return;
	}
	if (!route->has_body && (call->request->body.len > 0 || call->request->body_is_cut)) {
		reply_error(call->answer, 400, "there is a body, and this method takes none");
		return;
	}
	if (route->has_body && (call->body = read_body(call->request, &err)) == NULL) {
		reply_failure(call->answer, &err);
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
	struct call call = {.emulator = context, .request = request, .answer = answer};
	char allowed[64] = "";
	if (strcmp(request->method, "GET") == 0)
		answer->log_level = LOG_LEVEL_DEBUG; /* those who wait ask often */
	if (!is_for_loopback(request)) {
		reply_error(answer, 403, "the Host header is not a loopback name");
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
		reply_error(answer, 404, "there is no such path");
		return;
	}
	reply_error(answer, 405, "this path does not take this method");
	answer_set_header(answer, "Allow", allowed);
}

const struct server_kind control_kind = {
	.name = "control",
	.has_tls = false,
	.body_max = BODY_MAX_BYTES,
	.handle = handle,
};
