#include "credential/entra_grant.h"

#include "base/form.h"
#include "base/http_client.h"
#include "base/json_answer.h"
#include "base/random.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"

#define ANSWER_MAX ((size_t)256 * 1024)

static const char user_agent[] = "User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION;
static const char accept_json[] = "Accept: application/json";
static const char assertion_type[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct entra_grant {
	struct loop *loop;
	struct http_flight *flight;
	struct secret *form;
	struct secret *shown; /* what of the form nobody may see: whichever secret it has */
	char *authority;
	int64_t sent_ms;
	entra_done_fn done;
	void *context;
};

static void grant_free(struct entra_grant *grant)
{
	secret_free(grant->form);
	secret_free(grant->shown);
	free(grant->authority);
	free(grant);
}

static void end_with_error(
	struct entra_grant *grant, const struct error *err, const struct entra_error *error)
{
	const struct entra_error none = {0};
	grant->done(grant->context, NULL, err, error == NULL ? &none : error);
	grant_free(grant);
}

/* The members of a success. Returns 0, or -1 with *err. Source: azure-protocol.md B.6. */
static int read_members(const struct entra_grant *grant, const struct http_response *response,
	struct json_object *root, struct entra_answer *answer, struct error *err)
{
	struct credential_lifetime told = {
		.expires_in_s = -1,
		.expires_on_s = -1,
		.refresh_in_s = -1,
		.server_date_s = response->server_date_s,
		.sent_ms = grant->sent_ms,
	};
	const char *type = json_answer_string(root, "token_type");
	if (type != NULL && strcasecmp(type, "Bearer") != 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the body's token_type is not Bearer, and no other is of use here");
	if (json_answer_number(root, "expires_in", &told.expires_in_s, err) < 0 ||
		json_answer_number(root, "expires_on", &told.expires_on_s, err) < 0 ||
		json_answer_number(root, "refresh_in", &told.refresh_in_s, err) < 0 ||
		credential_set_lifetime(&answer->token, grant->loop, &told, err) != 0)
		return -1;
	if (json_answer_string(root, "refresh_token") != NULL) {
		answer->refresh_token = json_answer_secret(root, "refresh_token", err);
		if (answer->refresh_token == NULL)
			return -1;
	}
	answer->token.token = json_answer_secret(root, "access_token", err);
	return answer->token.token == NULL ? -1 : access_token_check(answer->token.token, err);
}

static void end_with_success(struct entra_grant *grant, const struct http_response *response)
{
	struct error err = ERROR_INIT;
	struct entra_answer answer = {0};
	const struct entra_error none = {0};
	struct json_object *root = json_answer_of_response(response, grant->shown, &err);
	int result = root == NULL ? -1 : read_members(grant, response, root, &answer, &err);
	json_object_put(root);
	if (result == 0) {
		grant->done(grant->context, &answer, NULL, &none);
	} else {
		error_wrap(&err, "%s answered 200, but not with a token of use", grant->authority);
		err.http_status = 200;
		grant->done(grant->context, NULL, &err, &none);
	}
	secret_free(answer.token.token);
	secret_free(answer.refresh_token);
	grant_free(grant);
}

static void on_answer(void *context, struct http_response *response, const struct error *err)
{
	struct entra_grant *grant = context;
	grant->flight = NULL;
	if (response == NULL) {
		end_with_error(grant, err, NULL);
	} else if (response->status == 200) {
		end_with_success(grant, response);
	} else {
		struct error read = ERROR_INIT;
		struct entra_error error = {0};
		entra_read_error(grant->authority, response, grant->shown, &read, &error);
		end_with_error(grant, &read, &error);
	}
}

/* Fill in the form, and what of it is secret. Returns 0, or -1: no memory. */
static int fill_form(struct entra_grant *grant, const struct entra_form *form)
{
	const struct secret *const secrets[] = {
		form->client_secret,
		form->client_assertion,
		form->refresh_token,
		form->device_code,
		form->password,
	};
	int result = 0;
	grant->form = secret_new(2048);
	grant->shown = secret_new(256);
	if (grant->form == NULL || grant->shown == NULL)
		return -1;
	result |= form_add(grant->form, "client_id", form->client_id);
	result |= form_add(grant->form, "grant_type", form->grant_type);
	result |= form_add(grant->form, "scope", form->scope);
	result |= form_add_secret(grant->form, "client_secret", form->client_secret);
	if (form->client_assertion != NULL)
		result |= form_add(grant->form, "client_assertion_type", assertion_type);
	result |= form_add_secret(grant->form, "client_assertion", form->client_assertion);
	result |= form_add_secret(grant->form, "refresh_token", form->refresh_token);
	result |= form_add_secret(grant->form, "device_code", form->device_code);
	result |= form_add(grant->form, "username", form->user_name);
	result |= form_add_secret(grant->form, "password", form->password);
	if (form->wants_client_info)
		result |= form_add(grant->form, "client_info", "1");
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (secrets[i] != NULL)
			result |= secret_append_secret(grant->shown, secrets[i]);
	return result;
}

struct http_flight *entra_post(const struct entra_tenant *tenant, const char *endpoint,
	const struct secret *form, struct loop *loop, http_done_fn done, void *context,
	struct error *err)
{
	char request_id[RANDOM_UUID_SIZE];
	_cleanup_text_ struct text url = {0};
	_cleanup_text_ struct text id_line = {0};
	if (random_uuid(request_id, err) != 0)
		return NULL;
	text_appendf(&url, "%s/", tenant->authority);
	text_append_percent_encoded(&url, tenant->tenant_id, strlen(tenant->tenant_id));
	text_appendf(&url, "/oauth2/v2.0/%s", endpoint);
	/* Its operator finds the request by this. */
	text_appendf(&id_line, "client-request-id: %s", request_id);
	if (text_string(&url) == NULL || text_string(&id_line) == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask %s: out of memory", tenant->authority);
		return NULL;
	}
	const char *const headers[] = {accept_json, user_agent, id_line.data, NULL};
	const struct http_request request = {
		.url = url.data,
		.headers = headers,
		.form = form,
		.ca_file = tenant->ca_file,
		.body_max = ANSWER_MAX,
	};
	return http_client_send(loop_http(loop), &request, done, context, err);
}

struct entra_grant *entra_grant_start(const struct entra_tenant *tenant,
	const struct entra_form *form, struct loop *loop, entra_done_fn done, void *context,
	struct error *err)
{
	struct entra_grant *grant = calloc(1, sizeof(*grant));
	if (grant == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask %s: out of memory", tenant->authority);
		return NULL;
	}
	grant->loop = loop;
	grant->done = done;
	grant->context = context;
	grant->authority = strdup(tenant->authority);
	if (grant->authority == NULL || fill_form(grant, form) != 0)
		error_set(err, ERR_NO_MEMORY, "cannot ask %s: out of memory", tenant->authority);
	else {
		grant->sent_ms = loop_now_ms(loop);
		grant->flight =
			entra_post(tenant, "token", grant->form, loop, on_answer, grant, err);
	}
	if (grant->flight != NULL)
		return grant;
	grant_free(grant);
	return NULL;
}

void entra_grant_cancel(struct entra_grant *grant)
{
	http_client_cancel(loop_http(grant->loop), grant->flight);
	grant_free(grant);
}
