/* Azure Machine Learning, which speaks as App Service did in 2017: azure-protocol.md C.2, C.3. */
#include "emulator/managed_identity.h"

static int check_headers(struct identity_call *call)
{
	size_t count = 0;
	const char *given = request_header(call->request, "secret", &count);
	if (count != 1)
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "There is not exactly one secret header.");
	if (!identity_secret_fits(call->emulator->identity_secrets.azure_ml, given))
		return identity_refuse(call, IDENTITY_BAD_HEADER, "The secret header is wrong.");
	return 0;
}

static void fill_token(struct json_object *json, const struct identity_token *token)
{
	identity_add_string(json, "access_token", token->access_token);
	json_object_object_add(json, "expires_on", json_object_new_int64(token->expires_on));
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

const struct identity_source azure_ml_source = {
	.server = SERVER_AZURE_ML,
	.method = "GET",
	.path = "/msi/token",
	.versions = {"2017-09-01"},
	.selectors = {{"clientid", SELECT_CLIENT_ID}},
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
	identity_handle(&azure_ml_source, context, request, answer);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_AZURE_ML);
}

const struct server_kind azure_ml_kind = {
	.name = "azure_ml",
	.body_max = IDENTITY_BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
