/* The instance metadata service of a virtual machine: azure-protocol.md C.2 to C.4. */
#include "emulator/managed_identity.h"

static int check_headers(struct identity_call *call)
{
	/* The request of a client that only asks whether the service is there comes without it. */
	if (!identity_has_header(call, "Metadata", "true"))
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "Required metadata header not specified");
	if (request_header(call->request, "X-Forwarded-For", NULL) != NULL)
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "The request came through a proxy.");
	return 0;
}

static void fill_token(struct json_object *json, const struct identity_token *token)
{
	identity_add_string(json, "access_token", token->access_token);
	identity_add_string(json, "client_id", token->identity->client_id);
	identity_add_digits(json, "expires_in", token->expires_in_s);
	identity_add_digits(json, "expires_on", token->expires_on);
	identity_add_digits(json, "ext_expires_in", token->expires_in_s);
	identity_add_digits(json, "not_before", token->not_before);
	if (token->refresh_in_s != 0)
		identity_add_digits(json, "refresh_in", token->refresh_in_s);
	identity_add_string(json, "resource", token->resource);
	identity_add_string(json, "token_type", "Bearer");
}

static void fill_error(
	struct json_object *json, const struct identity_refusal *refusal, const char *sentence)
{
	identity_add_string(json, "error", refusal->word);
	identity_add_string(json, "error_description", sentence);
}

static void fill_headers(struct identity_call *call, struct answer *answer)
{
	(void)call;
	answer_set_header(answer, "Server", "IMDS/emulated");
}

const struct identity_source imds_source = {
	.server = SERVER_IMDS,
	.method = "GET",
	.path = "/metadata/identity/oauth2/token",
	.versions = {"2018-02-01"},
	.selectors =
		{
			{"client_id", SELECT_CLIENT_ID},
			{"object_id", SELECT_OBJECT_ID},
			{"msi_res_id", SELECT_RESOURCE_ID},
			{"mi_res_id", SELECT_RESOURCE_ID},
		},
	.refusals =
		{
			[IDENTITY_BAD_PATH] = {404, "not_found"},
			[IDENTITY_BAD_METHOD] = {405, "invalid_request"},
			[IDENTITY_MALFORMED] = {400, "invalid_request"},
			[IDENTITY_BAD_HEADER] = {400, "invalid_request"},
			[IDENTITY_BAD_VERSION] = {400, "invalid_request"},
			[IDENTITY_BAD_RESOURCE] = {400, "invalid_resource"},
			[IDENTITY_NOT_FOUND] = {400, "invalid_request"},
		},
	.check_headers = check_headers,
	.fill_token = fill_token,
	.fill_error = fill_error,
	.fill_headers = fill_headers,
};

static void handle(void *context, const struct request *request, struct answer *answer)
{
	identity_handle(&imds_source, context, request, answer);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_IMDS);
}

const struct server_kind imds_kind = {
	.name = "imds",
	.body_max = IDENTITY_BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
