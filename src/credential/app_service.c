/* App Service, Functions and Container Apps. Source: azure-protocol.md C.2, C.3. */
#include "credential/identity_source.h"

static bool is_here(const struct identity_environment *environment)
{
	return identity_is_set(environment->identity_endpoint) && environment->has_identity_header;
}

static void put_endpoint(const struct identity_environment *environment, struct text *out)
{
	text_append(out, environment->identity_endpoint);
}

static const char *advise(const struct identity_complaint *complaint, enum error_code *code)
{
	if (*code == ERR_DENIED)
		return "check IDENTITY_HEADER, which the daemon read at its start";
	if (complaint->status != 400)
		return "";
	return complaint->selector == IDENTITY_SYSTEM_ASSIGNED
		       ? "check that the app has a system-assigned identity, or name another one "
			 "by client_id, object_id or resource_id"
		       : "check that the identity is assigned to the app, and client_id, "
			 "object_id or resource_id";
}

const struct identity_source identity_app_service = {
	.name = "App Service",
	.variable = "IDENTITY_ENDPOINT",
	.is_here = is_here,
	.put_endpoint = put_endpoint,
	.api_version = "2019-08-01",
	.selectors =
		{
			[IDENTITY_CLIENT_ID] = "client_id",
			[IDENTITY_OBJECT_ID] = "object_id",
			[IDENTITY_RESOURCE_ID] = "mi_res_id",
		},
	.secret_variable = "IDENTITY_HEADER",
	.secret_header = "X-IDENTITY-HEADER: ",
	.retry = &identity_retry_usual,
	.advise = advise,
};
