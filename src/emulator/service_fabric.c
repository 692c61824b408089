/* A cluster of Service Fabric, whose certificate clients know by its thumbprint: C.2, C.3. */
#include "emulator/managed_identity.h"

static int check_headers(struct identity_call *call)
{
	size_t count = 0;
	const char *given = request_header(call->request, "Secret", &count);
	if (count != 1)
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "There is not exactly one Secret header.");
	if (!identity_secret_fits(call->emulator->identity_secrets.service_fabric, given))
		return identity_refuse(call, IDENTITY_BAD_HEADER, "The Secret header is wrong.");
	return 0;
}

static void fill_token(struct json_object *json, const struct identity_token *token)
{
	identity_add_string(json, "token_type", "Bearer");
	identity_add_string(json, "access_token", token->access_token);
	identity_add_digits(json, "expires_on", token->expires_on);
	identity_add_string(json, "resource", token->resource);
}

static void fill_error(
	struct json_object *json, const struct identity_refusal *refusal, const char *sentence)
{
	char correlation_id[UUID_SIZE] = "";
	struct json_object *inner = json_object_new_object();
	random_uuid(correlation_id);
	identity_add_string(inner, "correlationId", correlation_id);
	identity_add_string(inner, "code", refusal->word);
	identity_add_string(inner, "message", sentence);
	json_object_object_add(json, "error", inner);
}

const struct identity_source service_fabric_source = {
	.server = SERVER_SERVICE_FABRIC,
	.method = "GET",
	.path = "/metadata/identity/oauth2/token",
	.versions = {"2019-07-01-preview"},
	.refusals =
		{
			[IDENTITY_BAD_PATH] = {404, "NotFound"},
			[IDENTITY_BAD_METHOD] = {405, "MethodNotAllowed"},
			[IDENTITY_MALFORMED] = {400, "BadRequest"},
			[IDENTITY_BAD_HEADER] = {400, "SecretHeaderNotFound"},
			[IDENTITY_BAD_VERSION] = {400, "InvalidApiVersion"},
			[IDENTITY_BAD_RESOURCE] = {400, "ArgumentNullOrEmpty"},
			[IDENTITY_NOT_FOUND] = {404, "ManagedIdentityNotFound"},
		},
	.check_headers = check_headers,
	.fill_token = fill_token,
	.fill_error = fill_error,
};

static void handle(void *context, const struct request *request, struct answer *answer)
{
	identity_handle(&service_fabric_source, context, request, answer);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_SERVICE_FABRIC);
}

const struct server_kind service_fabric_kind = {
	.name = "service_fabric",
	.has_tls = true,
	.body_max = IDENTITY_BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
