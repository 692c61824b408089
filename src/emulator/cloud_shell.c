/* Cloud Shell, which is asked by POST: azure-protocol.md C.2, C.3. */
#include "emulator/managed_identity.h"

static int check_headers(struct identity_call *call)
{
	if (!identity_has_header(call, "Metadata", "true"))
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "Required metadata header not specified");
	return 0;
}

static void fill_token(struct json_object *json, const struct identity_token *token)
{
	identity_add_string(json, "access_token", token->access_token);
	identity_add_string(json, "refresh_token", "");
	identity_add_digits(json, "expires_in", token->expires_in_s);
	identity_add_digits(json, "expires_on", token->expires_on);
	identity_add_digits(json, "not_before", token->not_before);
	identity_add_string(json, "resource", token->resource);
	identity_add_string(json, "token_type", "Bearer");
}

static void fill_error(
	struct json_object *json, const struct identity_refusal *refusal, const char *sentence)
{
	struct json_object *inner = json_object_new_object();
	identity_add_string(inner, "code", refusal->word);
	identity_add_string(inner, "message", sentence);
	json_object_object_add(json, "error", inner);
}

const struct identity_source cloud_shell_source = {
	.server = SERVER_CLOUD_SHELL,
	.method = "POST",
	.path = "/oauth2/token",
	.refusals =
		{
			[IDENTITY_BAD_PATH] = {404, "NotFound"},
			[IDENTITY_BAD_METHOD] = {405, "MethodNotAllowed"},
			[IDENTITY_MALFORMED] = {400, "BadRequest"},
			[IDENTITY_BAD_HEADER] = {400, "MetadataHeaderMissing"},
			[IDENTITY_BAD_RESOURCE] = {400, "AudienceNotSupported"},
			[IDENTITY_NOT_FOUND] = {400, "BadRequest"},
		},
	.check_headers = check_headers,
	.fill_token = fill_token,
	.fill_error = fill_error,
};

static void handle(void *context, const struct request *request, struct answer *answer)
{
	identity_handle(&cloud_shell_source, context, request, answer);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_CLOUD_SHELL);
}

const struct server_kind cloud_shell_kind = {
	.name = "cloud_shell",
	.body_max = IDENTITY_BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
