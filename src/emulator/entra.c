#include "emulator/entra.h"

#include "emulator/entra_call.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX_BYTES ((size_t)64 * 1024)

static const struct entra_endpoint endpoints[] = {
	{"POST", "/oauth2/v2.0/token", true, false, token_check, token_fill},
	{"POST", "/oauth2/v2.0/devicecode", false, false, device_code_check, device_code_fill},
	{"GET", "/v2.0/.well-known/openid-configuration", false, false, discovery_check,
		openid_configuration_fill},
	{"GET", "/discovery/v2.0/keys", false, false, discovery_check, key_set_fill},
	{"GET", "/discovery/instance", false, true, instance_check, instance_fill},
};

int entra_refuse(struct entra_call *call, int aadsts, const char *sentence, const char *detail)
{
	call->aadsts = aadsts;
	call->sentence = sentence == NULL ? entra_error_sentence(aadsts) : sentence;
	call->detail = detail;
	return -1;
}

/* The endpoint of the path, whose tenant goes into the call; or NULL. */
static const struct entra_endpoint *find_endpoint(struct entra_call *call)
{
	const char *path = call->request->target;
	size_t len = call->request->path_len;
	size_t tenant_len = path[0] == '/' ? strcspn(path + 1, "/?") : 0;
	if (tenant_len == 0 || tenant_len > TENANT_DOMAIN_LEN_MAX)
		return NULL;
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		size_t tail = strlen(endpoints[i].path);
		if (len != 1 + tenant_len + tail ||
			strncmp(path + 1 + tenant_len, endpoints[i].path, tail) != 0)
			continue;
		memcpy(call->tenant_word, path + 1, tenant_len);
		return &endpoints[i];
	}
	return NULL;
}

static int check_tenant(struct entra_call *call)
{
	const char *word = call->tenant_word;
	if (tenants_find(call->emulator->tenants, word, call->tenant_id))
		return 0;
	if (strcasecmp(word, "common") == 0 || strcasecmp(word, "organizations") == 0)
		return entra_refuse(call, AADSTS_NO_TENANT, NULL, NULL);
	if (!tenant_is_well_formed(word))
		return entra_refuse(call, AADSTS_MALFORMED_TENANT, NULL, word);
	return entra_refuse(call, AADSTS_UNKNOWN_TENANT, NULL, word);
}

static int read_form(struct entra_call *call)
{
	static const char type[] = "application/x-www-form-urlencoded";
	const struct request *request = call->request;
	size_t count = 0;
	const char *given = request_header(request, "Content-Type", &count);
	if (request->query != NULL)
		return entra_refuse(call, AADSTS_MALFORMED, "There is a query.", NULL);
	if (count != 1 || strncasecmp(given, type, strlen(type)) != 0 ||
		(given[strlen(type)] != '\0' &&
			strcasecmp(given + strlen(type), ";charset=utf-8") != 0 &&
			strcasecmp(given + strlen(type), "; charset=utf-8") != 0))
		return entra_refuse(call, AADSTS_MALFORMED,
			"The Content-Type is not application/x-www-form-urlencoded.", NULL);
	if (request->body_is_cut)
		return entra_refuse(call, AADSTS_MALFORMED, "The body is too long.", NULL);
	const char *complaint = form_parse(&call->form, request->body.data, request->body.len);
	if (complaint != NULL)
		return entra_refuse(call, AADSTS_MALFORMED, complaint, NULL);
	const char *client_id = form_get(&call->form, "client_id");
	if (client_id != NULL && is_uuid(client_id))
		memcpy(call->client_id, client_id, UUID_SIZE);
	return 0;
}

static int read_query(struct entra_call *call)
{
	const struct request *request = call->request;
	const char *complaint = exchange_check_no_body(request);
	if (complaint == NULL)
		complaint = form_parse(&call->form, request->query,
			request->query == NULL ? 0 : strlen(request->query));
	return complaint == NULL ? 0 : entra_refuse(call, AADSTS_MALFORMED, complaint, NULL);
}

static void check(struct entra_call *call, const struct entra_endpoint *endpoint)
{
	const struct request *request = call->request;
	const char *host = request_header(request, "Host", NULL);
	const char *complaint = exchange_check_protocol(request);
	snprintf(call->base, sizeof(call->base), "https://%.255s", host == NULL ? "" : host);
	if (endpoint == NULL)
		entra_refuse(call, AADSTS_NOT_FOUND, NULL, NULL);
	else if (strcmp(request->method, endpoint->method) != 0)
		entra_refuse(call, AADSTS_METHOD, NULL, NULL);
	else if (complaint != NULL)
		entra_refuse(call, AADSTS_PROTOCOL, complaint, NULL);
	else if ((endpoint->method[0] == 'P' ? read_form(call) : read_query(call)) == 0 &&
		 (endpoint->takes_any_tenant || check_tenant(call) == 0))
		endpoint->check(call);
}

int entra_need_fields(struct entra_call *call, const char *const *names)
{
	for (; *names != NULL; names++) {
		const char *value = form_get(&call->form, *names);
		if (value == NULL || *value == '\0')
			return entra_refuse(call, AADSTS_MISSING_PARAMETER, NULL, *names);
	}
	return 0;
}

int entra_find_app(struct entra_call *call)
{
	const char *client_id = form_get(&call->form, "client_id");
	call->app = apps_find(call->emulator->apps, client_id);
	if (call->app == NULL || !app_is_in_tenant(call->app, call->tenant_id))
		return entra_refuse(call, AADSTS_UNKNOWN_APP, NULL, client_id);
	return 0;
}

/* "https://host", "api://x", a UUID: what comes before the last slash of a scope. */
static bool is_resource(const char *resource, size_t len)
{
	const char *scheme = memmem(resource, len, "://", 3);
	if (scheme != NULL)
		return scheme > resource && (size_t)(scheme + 3 - resource) < len;
	char word[UUID_SIZE];
	if (len != UUID_SIZE - 1)
		return false;
	memcpy(word, resource, len);
	word[len] = '\0';
	return is_uuid(word);
}

static bool is_of_openid(const char *scope, size_t len)
{
	static const char *const known[] = {"openid", "profile", "email", "offline_access"};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i]) == len && strncmp(scope, known[i], len) == 0)
			return true;
	return false;
}

/*
 * One scope of the resource: its part before the last slash is the audience, which for the scope
 * with two slashes keeps one of them (A.3).
 */
static bool read_resource_scope(
	struct entra_call *call, const char *scope, size_t len, bool is_for_user)
{
	const char *slash = memrchr(scope, '/', len);
	const char *permission = slash == NULL ? scope : slash + 1;
	size_t permission_len = len - (size_t)(permission - scope);
	bool is_default = permission_len == 8 && strncmp(permission, ".default", 8) == 0;
	char audience[ENTRA_SCOPES_MAX + 1] = "https://graph.microsoft.com";
	if (permission_len == 0 || (slash == NULL && !is_for_user) || (!is_default && !is_for_user))
		return false;
	if (slash != NULL) {
		size_t audience_len = (size_t)(slash - scope);
		if (!is_resource(scope, audience_len))
			return false;
		memcpy(audience, scope, audience_len);
		audience[audience_len] = '\0';
	}
	/* A token is for one resource. */
	if (call->audience[0] != '\0' && strcmp(call->audience, audience) != 0)
		return false;
	memcpy(call->audience, audience, sizeof(audience));
	size_t used = strlen(call->scopes);
	snprintf(call->scopes + used, sizeof(call->scopes) - used, "%s%.*s", used == 0 ? "" : " ",
		is_default ? (int)strlen("user_impersonation") : (int)permission_len,
		is_default ? "user_impersonation" : permission);
	return true;
}

int entra_read_scopes(struct entra_call *call, const char *scope, bool is_for_user)
{
	size_t count = 0;
	if (strlen(scope) > ENTRA_SCOPES_MAX)
		return entra_refuse(call, AADSTS_INVALID_SCOPE, NULL, NULL);
	for (const char *word = scope; *word != '\0'; count++) {
		size_t len = strcspn(word, " ");
		bool is_good = len > 0;
		if (is_for_user && is_of_openid(word, len)) {
			call->wants_refresh_token |= strncmp(word, "offline_access", len) == 0;
			call->wants_id_token |= strncmp(word, "openid", len) == 0;
		} else {
			is_good = is_good && read_resource_scope(call, word, len, is_for_user);
		}
		if (!is_good || (count > 0 && !is_for_user))
			return entra_refuse(
				call, AADSTS_INVALID_SCOPE, NULL, form_get(&call->form, "scope"));
		word += len;
		word += *word == ' ';
	}
	if (call->audience[0] == '\0')
		memcpy(call->audience, "https://graph.microsoft.com", 28);
	if (!app_may_use(call->app, call->audience))
		return entra_refuse(call, AADSTS_NO_CONSENT, NULL, call->audience);
	return 0;
}

void entra_reply(const struct exchange *exchange, struct json_object *json)
{
	const char *string = json_object_to_json_string_ext(
		json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	exchange->answer->status = string == NULL ? 500 : 200;
	if (string != NULL)
		text_append(&exchange->answer->body, string);
	answer_set_header(exchange->answer, "Content-Type", "application/json; charset=utf-8");
	json_object_put(json);
}

static void fill_common(struct answer *answer)
{
	char request_id[UUID_SIZE] = "";
	random_uuid(request_id);
	answer_set_header(answer, "Cache-Control", "no-store, no-cache");
	answer_set_header(answer, "Pragma", "no-cache");
	answer_set_header(answer, "Expires", "-1");
	answer_set_header(
		answer, "Strict-Transport-Security", "max-age=31536000; includeSubDomains");
	answer_set_header(answer, "X-Content-Type-Options", "nosniff");
	answer_set_header(answer, "x-ms-request-id", request_id);
}

static void fill(struct entra_call *call, const struct entra_endpoint *endpoint,
	const struct exchange *exchange)
{
	fill_common(exchange->answer);
	if (exchange_is_scripted(exchange)) {
		entra_error_fill_scripted(exchange);
		return;
	}
	if (call->aadsts == 0)
		endpoint->fill(call, exchange);
	else
		entra_error_fill(exchange, call->aadsts, call->sentence, call->detail);
	if (call->aadsts == AADSTS_METHOD)
		answer_set_header(exchange->answer, "Allow", endpoint->method);
	if (call->aadsts == AADSTS_PROTOCOL && strcmp(call->request->version, "HTTP/1.1") != 0)
		exchange->answer->status = 505;
}

static void handle(void *context, const struct request *request, struct answer *answer)
{
	struct entra_call call = {
		.emulator = context,
		.request = request,
		.authentication = '0',
	};
	struct exchange exchange = {
		.emulator = context,
		.server = SERVER_ENTRA,
		.request = request,
		.answer = answer,
	};
	const struct entra_endpoint *endpoint = find_endpoint(&call);
	check(&call, endpoint);
	bool gives_token = call.aadsts == 0 && endpoint->gives_token;
	if (exchange_begin(&exchange, call.client_id, gives_token, call.sentence))
		fill(&call, endpoint, &exchange);
	exchange_end(&exchange);
	app_unref(call.app);
	form_free(&call.form);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_ENTRA);
}

const struct server_kind entra_kind = {
	.name = "entra",
	.has_tls = true,
	.body_max = BODY_MAX_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
