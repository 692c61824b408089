/* A machine of Azure Arc, which first challenges its caller to read a file: azure-protocol.md C.5.
 */
#include "emulator/managed_identity.h"

#include <stdio.h>
#include <string.h>

#define PATH_SIZE 4200

static int check_headers(struct identity_call *call)
{
	static const char scheme[] = "Basic ";
	size_t count = 0;
	if (!identity_has_header(call, "Metadata", "true"))
		return identity_refuse(
			call, IDENTITY_BAD_HEADER, "Required metadata header not specified");
	const char *given = request_header(call->request, "Authorization", &count);
	if (count == 0)
		return identity_refuse(
			call, IDENTITY_CHALLENGED, "The key of the file is to be shown.");
	if (count > 1 || strncmp(given, scheme, strlen(scheme)) != 0)
		return identity_refuse(call, IDENTITY_MALFORMED,
			"Authorization is not Basic and the content of the key file.");
	if (!arc_keys_take(call->emulator->arc_keys, given + strlen(scheme)))
		return identity_refuse(call, IDENTITY_BAD_HEADER,
			"The key is none of a challenge, or was shown before.");
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
	struct error err = ERROR_INIT;
	char path[PATH_SIZE];
	char challenge[PATH_SIZE + 16];
	if (call->problem != IDENTITY_CHALLENGED)
		return;
	if (arc_keys_challenge(call->emulator->arc_keys, path, sizeof(path), &err) != 0) {
		log_error("%s", err.message);
		answer->status = 500;
		return;
	}
	snprintf(challenge, sizeof(challenge), "Basic realm=%s", path);
	answer_set_header(answer, "WWW-Authenticate", challenge);
}

const struct identity_source azure_arc_source = {
	.server = SERVER_AZURE_ARC,
	.method = "GET",
	.path = "/metadata/identity/oauth2/token",
	/* The older is what one client still asks for. */
	.versions = {"2020-06-01", "2019-11-01"},
	.refusals =
		{
			[IDENTITY_BAD_PATH] = {404, "not_found"},
			[IDENTITY_BAD_METHOD] = {405, "invalid_request"},
			[IDENTITY_MALFORMED] = {400, "invalid_request"},
			[IDENTITY_BAD_HEADER] = {400, "invalid_request"},
			[IDENTITY_BAD_VERSION] = {400, "invalid_request"},
			[IDENTITY_BAD_RESOURCE] = {400, "invalid_resource"},
			[IDENTITY_NOT_FOUND] = {400, "invalid_request"},
			[IDENTITY_CHALLENGED] = {401, "unauthorized"},
		},
	.check_headers = check_headers,
	.fill_token = fill_token,
	.fill_error = fill_error,
	.fill_headers = fill_headers,
};

static void handle(void *context, const struct request *request, struct answer *answer)
{
	identity_handle(&azure_arc_source, context, request, answer);
}

static bool reset_at_accept(void *context)
{
	return exchange_resets(context, SERVER_AZURE_ARC);
}

const struct server_kind azure_arc_kind = {
	.name = "azure_arc",
	.body_max = IDENTITY_BODY_KEPT_BYTES,
	.accept = reset_at_accept,
	.handle = handle,
};
