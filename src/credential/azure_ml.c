/*
 * Azure Machine Learning, which speaks as App Service did in 2017.
 * Source: azure-protocol.md C.2, C.3.
 */
#include "credential/identity_source.h"

static bool is_here(const struct identity_environment *environment)
{
	return !identity_is_set(environment->identity_endpoint) &&
	       identity_is_set(environment->msi_endpoint) && environment->has_msi_secret;
}

static void put_endpoint(const struct identity_environment *environment, struct text *out)
{
	text_append(out, environment->msi_endpoint);
}

static const char *advise(const struct identity_complaint *complaint, enum error_code *code)
{
	if (*code == ERR_DENIED)
		return "check MSI_SECRET, which the daemon read at its start";
	return complaint->status == 400
		       ? "check that the compute has the identity, and client_id (or "
			 "DEFAULT_IDENTITY_CLIENT_ID in the environment)"
		       : "";
}

const struct identity_source identity_azure_ml = {
	.name = "Azure Machine Learning",
	.variable = "MSI_ENDPOINT",
	.is_here = is_here,
	.put_endpoint = put_endpoint,
	.api_version = "2017-09-01",
	.selectors = {[IDENTITY_CLIENT_ID] = "clientid"},
	.refusal = "Azure Machine Learning knows identities by client_id only",
	.secret_variable = "MSI_SECRET",
	.secret_header = "secret: ",
	.takes_default_identity = true,
	.retry = &identity_retry_usual,
	.advise = advise,
};
