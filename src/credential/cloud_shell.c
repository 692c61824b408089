/* Cloud Shell, which gives its user's tokens and is asked by POST. Source: azure-protocol.md C.2.
 */
#include "credential/identity_source.h"

static bool is_here(const struct identity_environment *environment)
{
	return !identity_is_set(environment->identity_endpoint) &&
	       identity_is_set(environment->msi_endpoint);
}

static void put_endpoint(const struct identity_environment *environment, struct text *out)
{
	text_append(out, environment->msi_endpoint);
}

const struct identity_source identity_cloud_shell = {
	.name = "Cloud Shell",
	.variable = "MSI_ENDPOINT",
	.is_here = is_here,
	.put_endpoint = put_endpoint,
	.refusal = "Cloud Shell has no identity but that of the user who opened it",
	.is_posted = true,
	.sends_metadata = true,
	.retry = &identity_retry_usual,
};
