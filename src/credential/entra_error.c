/*
 * Errors of Microsoft Entra ID, for the person who has to act. Source: azure-protocol.md B.7.
 */
#include "base/detail.h"
#include "base/http_client.h"
#include "base/json_answer.h"
#include "credential/entra_grant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The description's first line is this long at most; those of the service are shorter. */
#define DESCRIPTION_MAX 480

static const struct {
	int code;
	enum error_code means; /* ERR_NONE: what the status says */
	const char *advice;
} advices[] = {
	{7000215, ERR_DENIED,
		"client_secret is wrong: take the secret's value and not its identifier, or make a "
		"new one under 'Certificates & secrets' of the app registration"},
	{7000222, ERR_DENIED,
		"the client secret has expired: make a new one under 'Certificates & secrets' of "
		"the "
		"app registration, and put it in the place of the old one"},
	{700016, ERR_REFUSED,
		"check client_id and tenant_id: the tenant has no such app, or nobody has "
		"consented "
		"to it there"},
	{90002, ERR_REFUSED, "check tenant_id and authority: there is no such tenant"},
	{900023, ERR_REFUSED, "check tenant_id: it is neither an identifier nor a domain"},
	{65001, ERR_DENIED,
		"an administrator of the tenant must consent to the app's permission for this "
		"scope"},
	{500011, ERR_REFUSED,
		"check scope: the tenant has no such resource, or nobody has consented to it "
		"there"},
	{70011, ERR_REFUSED, "check scope: it must be RESOURCE/.default"},
	{700027, ERR_DENIED,
		"the certificate is not registered with the app: upload it under 'Certificates & "
		"secrets', or use the one that is there"},
	{1000502, ERR_DENIED,
		"the certificate is outside its validity: put a new one in its place"},
	{700024, ERR_DENIED,
		"the assertion is outside its validity: check this host's clock, and that the "
		"platform renews the token file"},
	{70021, ERR_DENIED,
		"add a federated credential to the app whose issuer, subject and audience are "
		"those "
		"of the assertion"},
	{700211, ERR_DENIED,
		"no federated credential of the app has the assertion's issuer: correct it there"},
	{700212, ERR_DENIED,
		"no federated credential of the app has the assertion's audience: correct it "
		"there"},
	{700213, ERR_DENIED,
		"no federated credential of the app has the assertion's subject: correct it there"},
	{7000218, ERR_DENIED, "the app is a confidential one and wants a secret or an assertion"},
	{700025, ERR_DENIED,
		"the app is a public client, which has neither secret nor certificate"},
	{50126, ERR_DENIED, "user name or password is wrong"},
	{50076, ERR_DENIED, "someone must sign in, which a daemon cannot: use another credential"},
	{50079, ERR_DENIED, "someone must sign in, which a daemon cannot: use another credential"},
	{50158, ERR_DENIED, "someone must sign in, which a daemon cannot: use another credential"},
	{700082, ERR_DENIED, "the login has expired: mrtoken login"},
	{50173, ERR_DENIED, "the login was revoked: mrtoken login"},
	{70043, ERR_DENIED, "the login has expired: mrtoken login"},
	{90055, ERR_THROTTLED, "the tenant or the app asks too often: it is asked again later"},
	{50196, ERR_THROTTLED, "the app asks for the same in a loop: it is asked again later"},
	{90033, ERR_UPSTREAM_FAULT, ""},
};

const char *entra_advice(int code)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (advices[i].code == code)
			return advices[i].advice;
	return "";
}

/* The number in "AADSTS7000215: ...", else 0. */
static int code_of(const char *description)
{
	static const char prefix[] = "AADSTS";
	char *end = NULL;
	if (description == NULL || strncmp(description, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	long code = strtol(description + sizeof(prefix) - 1, &end, 10);
	return code > 0 && code < 100000000 ? (int)code : 0;
}

static enum error_code meaning_of(int code, int status)
{
	if (status >= 500 || status == 429 || status == 408)
		return json_answer_code_of_status(status);
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (advices[i].code == code)
			return advices[i].means;
	/* A credential that is refused has status 400 or 401, as it happens. */
	return status == 400 || status == 401 || status == 403 ? ERR_DENIED
							       : json_answer_code_of_status(status);
}

/* The first line of the description, which goes on with identifiers that are told apart. */
static void first_line(const char *description, const struct secret *shown, char *out, size_t size)
{
	/* The code stands before it already, where words that repeat a secret do not. */
	description += code_of(description) == 0 ? 0 : strcspn(description, ":");
	description += strspn(description, ": ");
	size_t len = strcspn(description, "\r\n");
	const char *trace = strstr(description, " Trace ID:");
	if (trace != NULL && (size_t)(trace - description) < len)
		len = (size_t)(trace - description);
	detail_copy(shown, 0, description, len, out, size);
}

static void copy_member(struct json_object *root, const char *member, const struct secret *shown,
	char *out, size_t size)
{
	char words[DETAIL_LEAST] = "";
	const char *string = json_answer_string(root, member);
	if (string != NULL)
		detail_copy(shown, 0, string, strlen(string), words, sizeof(words));
	snprintf(out, size, "%.*s", (int)size - 1, words);
}

/* ", WHAT VALUE" or nothing. */
static void append(struct text *text, const char *what, const char *value)
{
	if (value[0] != '\0')
		text_appendf(text, ", %s%s", what, value);
}

void entra_read_error(const char *host, struct http_response *response, const struct secret *shown,
	struct error *err, struct entra_error *error)
{
	struct error ignored = ERROR_INIT;
	struct entra_error found = {.server_date_s = response->server_date_s};
	struct error made = ERROR_INIT;
	char line[DESCRIPTION_MAX] = "";
	char trace_id[40] = "";
	char correlation_id[40] = "";
	char timestamp[40] = "";
	struct json_object *root = json_answer_parse(response->body, &ignored);
	if (root != NULL) {
		const char *description = json_answer_string(root, "error_description");
		copy_member(root, "error", shown, found.error, sizeof(found.error));
		copy_member(root, "trace_id", shown, trace_id, sizeof(trace_id));
		copy_member(root, "correlation_id", shown, correlation_id, sizeof(correlation_id));
		copy_member(root, "timestamp", shown, timestamp, sizeof(timestamp));
		found.code = code_of(description);
		if (description != NULL)
			first_line(description, shown, line, sizeof(line));
	}
	if (found.error[0] == '\0') {
		char body[DETAIL_MAX] = "";
		detail_of_body(shown, 0, response->body, body, sizeof(body));
		error_set(&made, json_answer_code_of_status(response->status),
			"%s answered %d with %s%s", host, response->status, body,
			response->status == 407
				? "; check the proxy, and what https_proxy says of it"
				: "");
	} else {
		const char *advice = entra_advice(found.code);
		char code[24] = "";
		if (found.code != 0)
			snprintf(code, sizeof(code), "AADSTS%d", found.code);
		_cleanup_text_ struct text facts = {0};
		append(&facts, "trace id ", trace_id);
		append(&facts, "correlation id ", correlation_id);
		append(&facts, "", timestamp);
		error_set(&made, meaning_of(found.code, response->status),
			"%s answered %d %s: %s%s%s%s%s%s", host, response->status, found.error,
			code, code[0] == '\0' ? "" : ": ",
			line[0] == '\0' ? "(no description)" : line,
			text_string(&facts) == NULL ? "" : text_string(&facts),
			advice[0] == '\0' ? "" : "; ", advice);
	}
	json_object_put(root);
	made.http_status = response->status;
	made.retry_after_s = response->retry_after_s;
	if (found.code != 0)
		snprintf(made.upstream_code, sizeof(made.upstream_code), "AADSTS%d", found.code);
	else
		snprintf(made.upstream_code, sizeof(made.upstream_code), "%.39s", found.error);
	memcpy(made.correlation_id, correlation_id, sizeof(made.correlation_id));
	memcpy(response->upstream_code, made.upstream_code, sizeof(response->upstream_code));
	*err = made;
	if (error != NULL)
		*error = found;
}
