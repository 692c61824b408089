#include "credential/identity_source.h"

#include <string.h>
#include <strings.h>

/* In the order of azure-protocol.md C.1; the agent of Azure Arc is also found by its program. */
static const struct identity_source *const sources[] = {
	&identity_service_fabric,
	&identity_app_service,
	&identity_azure_ml,
	&identity_cloud_shell,
	&identity_token_exchange,
	&identity_azure_arc,
	&identity_imds,
};

#define SOURCE_COUNT (sizeof(sources) / sizeof(sources[0]))

const struct identity_source *identity_source_select(
	const struct identity_environment *environment, struct error *err)
{
	for (size_t i = 0; i < SOURCE_COUNT; i++)
		if (sources[i]->is_here(environment))
			return sources[i];
	error_set(err, ERR_UNAVAILABLE,
		"no managed identity endpoint is known here: found IDENTITY_ENDPOINT in the "
		"environment, expected IDENTITY_HEADER (App Service) or IMDS_ENDPOINT (Azure Arc) "
		"with it");
	return NULL;
}

int identity_source_check_endpoint(
	const struct identity_source *source, const char *endpoint, struct error *err)
{
	bool is_http = strncasecmp(endpoint, "http://", 7) == 0;
	bool is_https = strncasecmp(endpoint, "https://", 8) == 0;
	for (const char *c = endpoint; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || *c == '#' || *c == '@')
			return error_set(err, ERR_CONFIGURATION,
				"%s: the character at offset %zu has no place in the address of "
				"%s's managed identity endpoint",
				source->variable, (size_t)(c - endpoint), source->name);
	if (source->has_thumbprint && !is_https)
		return error_set(err, ERR_CONFIGURATION,
			"%s: found %.200s, expected an https address: its certificate is what "
			"IDENTITY_SERVER_THUMBPRINT tells of",
			source->variable, endpoint);
	/* Tokens, and the secret that is shown for them, cross no network in the clear. */
	if (is_https || (is_http && http_url_is_of_host(endpoint)))
		return 0;
	return error_set(err, ERR_CONFIGURATION,
		"%s: found %.200s, expected an address of this host itself (http to loopback or "
		"link-local, as a number), or one with https",
		source->variable, endpoint);
}

size_t identity_resource_len(const char *scope)
{
	static const char end[] = "/.default";
	size_t len = strlen(scope);
	size_t end_len = sizeof(end) - 1;
	return len >= end_len && strcmp(scope + len - end_len, end) == 0 ? len - end_len : len;
}

/* Whether the query, which may be empty, has such a parameter. */
static bool has_parameter(const char *query, const char *name)
{
	size_t len = strlen(name);
	while (*query != '\0') {
		if (strncmp(query, name, len) == 0 && strchr("=&", query[len]) != NULL)
			return true; /* the end of the string counts as one of them */
		query += strcspn(query, "&");
		query += *query == '&';
	}
	return false;
}

static void put_parameter(
	const char *query, const char *name, const char *value, char *separator, struct text *out)
{
	if (name == NULL || value == NULL || has_parameter(query, name))
		return;
	text_appendf(out, "%c%s=", *separator, name);
	text_append_percent_encoded(out, value, strlen(value));
	*separator = '&';
}

void identity_source_put_url(const struct identity_source *source, const char *endpoint,
	const char *resource, enum identity_selector selector, const char *id, struct text *out)
{
	const char *query = strchr(endpoint, '?');
	char separator = query == NULL ? '?' : '&';
	text_append(out, endpoint);
	if (source->is_posted)
		return;
	query = query == NULL ? "" : query + 1;
	put_parameter(query, "api-version", source->api_version, &separator, out);
	put_parameter(query, "resource", resource, &separator, out);
	put_parameter(query, source->selectors[selector], id, &separator, out);
}

int64_t identity_retry_ms(const struct identity_retry *retry, int status, int64_t retry_after_s,
	unsigned retries, int64_t waited_ms)
{
	if (retries >= retry->count || !retry->takes(status))
		return -1;
	int64_t delay_ms = retry->delays_ms[retries];
	if (status == 410 && delay_ms < retry->gone_ms)
		delay_ms = retry->gone_ms;
	/* A Retry-After of 0 names no time: obeyed, it would take the backoff away. */
	if (retry_after_s > IDENTITY_DELAY_MAX_MS / 1000)
		return -1;
	if (retry_after_s > 0)
		delay_ms = retry_after_s * 1000;
	return waited_ms + delay_ms > IDENTITY_WAIT_MAX_MS ? -1 : delay_ms;
}

/* What azure-core takes as passing. Source: azure-protocol.md G. */
static bool takes_usual(int status)
{
	return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
	       status == 504 || (status >= 506 && status <= 998);
}

static const int64_t usual_delays_ms[] = {800, 1600, 3200};

const struct identity_retry identity_retry_usual = {
	.delays_ms = usual_delays_ms,
	.count = sizeof(usual_delays_ms) / sizeof(usual_delays_ms[0]),
	.takes = takes_usual,
};
