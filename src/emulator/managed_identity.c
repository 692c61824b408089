#include "emulator/managed_identity.h"

#include "emulator/entra_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BACKDATED_S 300
#define WORDS_MAX 16

int identity_refuse(struct identity_call *call, enum identity_problem problem, const char *sentence)
{
	call->problem = problem;
	call->sentence = sentence;
	return -1;
}

bool identity_has_header(const struct identity_call *call, const char *name, const char *value)
{
	size_t count = 0;
	const char *given = request_header(call->request, name, &count);
	return count == 1 && strcmp(given, value) == 0;
}

static int check_path(const struct identity_source *source, struct identity_call *call)
{
	const struct request *request = call->request;
	size_t len = strlen(source->path);
	bool is_slashed = request->path_len == len + 1 && request->target[len] == '/';
	if (strncmp(request->target, source->path, len) != 0 ||
		(request->path_len != len && !is_slashed))
		return identity_refuse(call, IDENTITY_BAD_PATH, "There is no such path.");
	if (strcmp(request->method, source->method) != 0)
		return identity_refuse(
			call, IDENTITY_BAD_METHOD, "The path does not take this method.");
	const char *complaint = exchange_check_protocol(request);
	return complaint == NULL ? 0 : identity_refuse(call, IDENTITY_MALFORMED, complaint);
}

static int read_form(const struct identity_source *source, struct identity_call *call)
{
	static const char type[] = "application/x-www-form-urlencoded";
	const struct request *request = call->request;
	const char *complaint = NULL;
	if (source->method[0] == 'P') {
		const char *given = request_header(request, "Content-Type", NULL);
		if (request->query != NULL)
			complaint = "There is a query.";
		else if (given == NULL || strncasecmp(given, type, strlen(type)) != 0)
			complaint = "The Content-Type is not application/x-www-form-urlencoded.";
		else
			complaint = form_parse(&call->form, request->body.data, request->body.len);
	} else {
		complaint = exchange_check_no_body(request);
		if (complaint == NULL)
			complaint = form_parse(&call->form, request->query,
				request->query == NULL ? 0 : strlen(request->query));
	}
	return complaint == NULL ? 0 : identity_refuse(call, IDENTITY_MALFORMED, complaint);
}

static int check_parameters(const struct identity_source *source, struct identity_call *call)
{
	/* The last three are optional features of some clients. */
	const char *known[WORDS_MAX] = {
		"resource", "xms_cc", "token_sha256_to_refresh", "bypass_cache"};
	size_t count = 4;
	const char *version = form_get(&call->form, "api-version");
	if (source->versions[0] != NULL)
		known[count++] = "api-version";
	for (size_t i = 0; source->selectors[i].name != NULL; i++)
		known[count++] = source->selectors[i].name;
	if (form_unknown(&call->form, known) != NULL)
		return identity_refuse(call, IDENTITY_MALFORMED,
			"There is a parameter that this endpoint does not take.");
	bool is_known = source->versions[0] == NULL;
	for (size_t i = 0; source->versions[i] != NULL && version != NULL; i++)
		is_known = is_known || strcmp(version, source->versions[i]) == 0;
	if (!is_known)
		return identity_refuse(call, IDENTITY_BAD_VERSION,
			version == NULL ? "The api-version is missing."
					: "The api-version is none that this endpoint has.");
	return 0;
}

static int check_resource(struct identity_call *call)
{
	const char *resource = form_get(&call->form, "resource");
	if (resource == NULL || *resource == '\0')
		return identity_refuse(
			call, IDENTITY_BAD_RESOURCE, "The parameter resource is missing.");
	size_t len = strlen(resource);
	bool is_scope = len >= 9 && strcmp(resource + len - 9, "/.default") == 0;
	if (len > IDENTITY_RESOURCE_MAX || strchr(resource, ' ') != NULL || is_scope ||
		(strstr(resource, "://") == NULL && !is_uuid(resource)))
		return identity_refuse(call, IDENTITY_BAD_RESOURCE,
			is_scope ? "The resource is a scope: it ends in /.default."
				 : "The resource is neither a URI nor an identifier.");
	return 0;
}

static int check_identity(const struct identity_source *source, struct identity_call *call)
{
	enum identity_selector selector = SELECT_SYSTEM_ASSIGNED;
	const char *word = NULL;
	for (size_t i = 0; source->selectors[i].name != NULL; i++) {
		const char *given = form_get(&call->form, source->selectors[i].name);
		if (given == NULL)
			continue;
		if (word != NULL)
			return identity_refuse(call, IDENTITY_MALFORMED,
				"There is more than one parameter that selects an identity.");
		word = given;
		selector = source->selectors[i].selector;
	}
	if (!identities_find(call->emulator->identities, selector, word, &call->identity))
		return identity_refuse(call, IDENTITY_NOT_FOUND, "Identity not found");
	if (!tenants_find(call->emulator->tenants,
		    call->identity.tenant_id[0] == '\0' ? "organizations"
							: call->identity.tenant_id,
		    call->identity.tenant_id))
		return identity_refuse(
			call, IDENTITY_NOT_FOUND, "The tenant of the identity is gone.");
	return 0;
}

static void check(const struct identity_source *source, struct identity_call *call)
{
	if (check_path(source, call) == 0 && source->check_headers(call) == 0 &&
		read_form(source, call) == 0 && check_parameters(source, call) == 0 &&
		check_resource(call) == 0)
		check_identity(source, call);
}

void identity_add_digits(struct json_object *json, const char *name, int64_t number)
{
	char digits[24];
	snprintf(digits, sizeof(digits), "%lld", (long long)number);
	json_object_object_add(json, name, json_object_new_string(digits));
}

void identity_add_string(struct json_object *json, const char *name, const char *string)
{
	json_object_object_add(json, name, json_object_new_string(string));
}

static void reply(struct answer *answer, int status, struct json_object *json)
{
	const char *string = json_object_to_json_string_ext(
		json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	answer->status = string == NULL ? 500 : status;
	if (string != NULL)
		text_append(&answer->body, string);
	answer_set_header(answer, "Content-Type", "application/json; charset=utf-8");
	json_object_put(json);
}

static void fill_error(const struct identity_source *source, const struct exchange *exchange,
	const struct identity_refusal *refusal, const char *sentence)
{
	struct json_object *json = json_object_new_object();
	source->fill_error(json, refusal, sentence);
	reply(exchange->answer, refusal->status, json);
	if (refusal->status == 405)
		answer_set_header(exchange->answer, "Allow", source->method);
}

/* The token in the answer's own words; a fault may want the last one again. */
static char *make_token(struct identity_call *call, const struct exchange *exchange,
	struct identity_token *told, struct error *err)
{
	struct emulator *emulator = call->emulator;
	const struct entra_grant grant = {
		.base = "",
		.tenant_id = call->identity.tenant_id,
		.client_id = call->identity.client_id,
		.object_id = call->identity.object_id,
		.resource_id = call->identity.resource_id,
		.audience = told->resource,
		.version = 1,
		.authentication = '2',
	};
	char purpose[IDENTITY_RESOURCE_MAX + 64];
	int64_t now = emulator_now_s(emulator);
	char *token = NULL;
	snprintf(purpose, sizeof(purpose), "%d %s %s", (int)exchange->server, grant.client_id,
		told->resource);
	told->expires_in_s = exchange_lifetime_s(
		exchange, atomic_load(&emulator->settings.identity_expires_in_s));
	told->expires_on = now + told->expires_in_s;
	if (exchange_repeats_token(exchange)) {
		token = kept_tokens_get(emulator->kept_tokens, purpose, &told->expires_on);
		told->expires_in_s = told->expires_on - now;
	}
	if (token == NULL)
		token = entra_access_token(emulator, &grant, told->expires_in_s, err);
	if (token != NULL)
		kept_tokens_put(emulator->kept_tokens, purpose, token, told->expires_on);
	told->not_before = now - BACKDATED_S;
	told->refresh_in_s = atomic_load(&emulator->settings.identity_refresh_in_s);
	return token;
}

static void fill_token(const struct identity_source *source, struct identity_call *call,
	const struct exchange *exchange)
{
	struct error err = ERROR_INIT;
	struct identity_token told = {
		.resource = form_get(&call->form, "resource"),
		.identity = &call->identity,
	};
	char *token = make_token(call, exchange, &told, &err);
	if (token == NULL) {
		log_error("%s", err.message);
		exchange->answer->status = 500;
		return;
	}
	struct json_object *json = json_object_new_object();
	told.access_token = token;
	source->fill_token(json, &told);
	reply(exchange->answer, 200, json);
	free(token);
}

static void fill(const struct identity_source *source, struct identity_call *call,
	const struct exchange *exchange)
{
	if (exchange_is_scripted(exchange)) {
		const struct identity_refusal told = {
			(int)exchange->fault->status, source->refusals[IDENTITY_MALFORMED].word};
		fill_error(source, exchange, &told, EXCHANGE_TOLD);
		return;
	}
	if (call->problem == IDENTITY_GOOD)
		fill_token(source, call, exchange);
	else
		fill_error(source, exchange, &source->refusals[call->problem], call->sentence);
	if (source->fill_headers != NULL)
		source->fill_headers(call, exchange->answer);
}

void identity_handle(const struct identity_source *source, struct emulator *emulator,
	const struct request *request, struct answer *answer)
{
	struct identity_call call = {.emulator = emulator, .request = request};
	struct exchange exchange = {
		.emulator = emulator,
		.server = source->server,
		.request = request,
		.answer = answer,
	};
	check(source, &call);
	/* A challenge is what a client has to expect, so it is no complaint. */
	const char *complaint = call.problem == IDENTITY_CHALLENGED ? NULL : call.sentence;
	if (exchange_begin(
		    &exchange, call.identity.client_id, call.problem == IDENTITY_GOOD, complaint))
		fill(source, &call, &exchange);
	exchange_end(&exchange);
	form_free(&call.form);
}
