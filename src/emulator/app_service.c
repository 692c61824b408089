/* App Service, Functions and Container Apps: azure-protocol.md C.2, C.3. */
#include "emulator/managed_identity.h"

static int check_headers(struct identity_call *call)
{
	size_t count = 0;
	const char *given = request_header(call->request, "X-IDENTITY-HEADER", &count);
	if (count != 1)
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "There is not exactly one X-IDENTITY-HEADER.");
	if (!identity_secret_fits(call->emulator->identity_secrets.app_service, given))
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "The X-IDENTITY-HEADER is wrong.");
	return 0;
}

static void fill_token(struct json_object *json, const struct identity_token *token)
{
	identity_add_string(json, "access_token", token->access_token);
	identity_add_digits(json, "expires_on", token->expires_on);
	if (token->refresh_in_s != 0)
		identity_add_digits(json, "refresh_in", token->refresh_in_s);
	identity_add_string(json, "resource", token->resource);
	identity_add_string(json, "token_type", "Bearer");
	identity_add_string(json, "client_id", token->identity->client_id);
}

static void fill_error(
	struct json_object *json, const struct identity_refusal *refusal, const char *sentence)
{
	json_object_object_add(json, "statusCode", json_object_new_int(refusal->status));
	identity_add_string(json, "message", sentence);
}

const struct identity_source app_service_source = {
	.server = SERVER_APP_SERVICE,
	.method = "GET",
	.path = "/msi/token",
	.versions = {"2019-08-01"},
	.selectors =
		{
			{"client_id", SELECT_CLIENT_ID},
			{"object_id", SELECT_OBJECT_ID},
			{"mi_res_id", SELECT_RESOURCE_ID},
		},
	.refusals =
		{
			[IDENTITY_BAD_PATH] = {404, NULL},
			[IDENTITY_BAD_METHOD] = {405, NULL},
			[IDENTITY_MALFORMED] = {400, NULL},
			[IDENTITY_BAD_HEADER] = {401, NULL},
			[IDENTITY_BAD_VERSION] = {400, NULL},
			[IDENTITY_BAD_RESOURCE] = {400, NULL},
			[IDENTITY_NOT_FOUND] = {400, NULL},
		},
	.check_headers = check_headers,
	.fill_token = fill_token,
	.fill_error = fill_error,
};

static void handle(void *context, const struct request *request, struct answer *answer)
{
	identity_handle(&app_service_source, context, request, answer);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_APP_SERVICE);
}

const struct server_kind app_service_kind = {
	.name = "app_service",
	.body_max = IDENTITY_BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
