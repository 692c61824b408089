/*
 * A cluster of Service Fabric, whose endpoint has a certificate of its own making, known by its
 * thumbprint. Source: azure-protocol.md C.2, C.3.
 */
#include "credential/identity_source.h"

static bool is_here(const struct identity_environment *environment)
{
	return identity_is_set(environment->identity_endpoint) &&
	       environment->has_identity_header &&
	       identity_is_set(environment->identity_server_thumbprint);
}

static void put_endpoint(const struct identity_environment *environment, struct text *out)
{
	text_append(out, environment->identity_endpoint);
}

static const char *advise(const struct identity_complaint *complaint, enum error_code *code)
{
	if (*code == ERR_DENIED)
		return "check IDENTITY_HEADER, which the daemon read at its start";
	if (complaint->status == 400 || complaint->status == 404)
		return "check the identity that the application's manifest gives to the service";
	return "";
}

const struct identity_source identity_service_fabric = {
	.name = "Service Fabric",
	.variable = "IDENTITY_ENDPOINT",
	.is_here = is_here,
	.put_endpoint = put_endpoint,
	.api_version = "2019-07-01-preview",
	.refusal = "Service Fabric gives a service the identity that the application's manifest "
		   "says, and no other",
	.secret_variable = "IDENTITY_HEADER",
	.secret_header = "Secret: ",
	.has_thumbprint = true,
	.retry = &identity_retry_usual,
	.advise = advise,
};
