/*
 * The instance metadata service of virtual machines and of what runs on them, at an address that
 * each of them has for itself. Source: azure-protocol.md C.2 to C.4.
 */
#include "credential/identity_source.h"

#include <string.h>

#define AUTHORITY "http://169.254.169.254"
#define PATH "/metadata/identity/oauth2/token"

/* It is there unless something else is, which only asking tells. */
static bool is_here(const struct identity_environment *environment)
{
	return !identity_is_set(environment->identity_endpoint);
}

static void put_endpoint(const struct identity_environment *environment, struct text *out)
{
	const char *authority = environment->pod_identity_authority_host;
	if (!identity_is_set(authority))
		authority = AUTHORITY;
	authority += strspn(authority, "/");
	size_t len = strlen(authority);
	while (len > 0 && authority[len - 1] == '/')
		len--;
	text_append_bytes(out, authority, len);
	text_append(out, PATH);
}

static bool takes(int status)
{
	return status == 404 || status == 410 || status == 429 || (status >= 500 && status <= 599);
}

/* The SDK's, but for the first one, which it does not wait at all and the service's own rule makes
 * a second; together with the least delay after a 410 they last longer than the 70 seconds that an
 * upgrade of the service may take. */
static const int64_t delays_ms[] = {1000, 4000, 8000, 16000, 32000};

static const struct identity_retry retry = {
	.delays_ms = delays_ms,
	.count = sizeof(delays_ms) / sizeof(delays_ms[0]),
	.gone_ms = 10000,
	.takes = takes,
};

static const char *advise(const struct identity_complaint *complaint, enum error_code *code)
{
	if (complaint->status == 403 && complaint->is_unreachable) {
		*code = ERR_UNAVAILABLE;
		return "there is no metadata service to be reached from in here";
	}
	if (complaint->status != 400)
		return "";
	*code = ERR_UNAVAILABLE;
	if (strcmp(complaint->code, "invalid_resource") == 0)
		return "check the scope";
	if (complaint->selector == IDENTITY_SYSTEM_ASSIGNED)
		return "no identity assigned to this host: switch on its system-assigned one, or "
		       "assign one and name it by client_id, object_id or resource_id";
	return "the requested identity is not assigned to this host: assign it, or check "
	       "client_id, object_id or resource_id";
}

const struct identity_source identity_imds = {
	.name = "IMDS",
	.variable = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
	.is_here = is_here,
	.put_endpoint = put_endpoint,
	.api_version = "2018-02-01",
	.selectors =
		{
			[IDENTITY_CLIENT_ID] = "client_id",
			[IDENTITY_OBJECT_ID] = "object_id",
			[IDENTITY_RESOURCE_ID] = "msi_res_id",
		},
	.sends_metadata = true,
	.is_probed = true,
	.connect_timeout_ms = 2000,
	.retry = &retry,
	.advise = advise,
};
