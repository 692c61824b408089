#include "server/routes.h"

#include "base/text.h"
#include "server/answer.h"

#include <string.h>
#include <strings.h>

const struct route routes[] = {
	{"/v1/token", route_default_token},
	{"/v1/accounts/*/token", route_account_token},
	{"/Accounts/*/token", route_sts_token},
	{"/v1/accounts", route_accounts},
	{"/v1/accounts/*", route_account},
	{"/healthz", route_healthz},
	{"/readyz", route_readyz},
	{NULL, NULL},
};

/* Whether the path is the route's; what stands for '*' is given in *argument, still encoded. */
static bool path_matches(
	const char *pattern, const char *path, const char **argument, size_t *argument_len)
{
	while (*pattern != '\0' && *pattern != '*') {
		if (*pattern != *path)
			return false;
		pattern++;
		path++;
	}
	if (*pattern == '\0')
		return *path == '\0';
	size_t len = strcspn(path, "/");
	*argument = path;
	*argument_len = len;
	return len > 0 && strcmp(pattern + 1, path + len) == 0;
}

static enum MHD_Result refuse(struct request *request, unsigned status, const char *code,
	const char *message, const char *allow)
{
	const struct answer_error error = {
		.status = status,
		.code = code,
		.message = message,
		.retry_after_s = -1,
		.allow = allow,
	};
	return answer_send_error(request, &error);
}

/* Of a target in its absolute form, which any server has to take (RFC 9112, 3.2.2), the path. */
static const char *path_of_target(const char *target)
{
	static const char scheme[] = "http://";
	if (strncasecmp(target, scheme, sizeof(scheme) - 1) != 0)
		return target;
	const char *path = strchr(target + sizeof(scheme) - 1, '/');
	return path == NULL ? "/" : path;
}

static bool is_printable(const char *word)
{
	while (*word >= 0x20 && *word < 0x7f)
		word++;
	return *word == '\0';
}

enum MHD_Result routes_answer(struct request *request, const char *method, const char *target)
{
	const char *path = path_of_target(target);
	const char *argument = "";
	size_t argument_len = 0;
	const struct route *route = routes;
	while (route->path != NULL && !path_matches(route->path, path, &argument, &argument_len))
		route++;
	if (route->path == NULL)
		return refuse(request, MHD_HTTP_NOT_FOUND, "not_found",
			"there is nothing at this path; the paths are /v1/token, /v1/accounts, "
			"/v1/accounts/{name}, /v1/accounts/{name}/token, "
			"/Accounts/{accountId}/token, "
			"/healthz and /readyz",
			NULL);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
			"this path answers GET and HEAD only", "GET, HEAD");
	/* No account has such a name, and what is not ASCII is not always UTF-8: it is not
	 * repeated. */
	if (percent_decode(argument, argument_len, request->argument, sizeof(request->argument)) <
			0 ||
		!is_printable(request->argument))
		return refuse(request, MHD_HTTP_BAD_REQUEST, "bad_request",
			"the name in the path is too long, has a letter that no name has, or its "
			"percent-encoding is broken",
			NULL);
	return route->handle(request);
}

enum MHD_Result routes_refuse_body(struct request *request)
{
	return refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "body_not_allowed",
		"the request has a body; nothing here takes one", NULL);
}

struct query_check {
	const char *const *known;
	unsigned seen;
	const char *unknown;
	const char *doubled;
};

static enum MHD_Result check_parameter(
	void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct query_check *check = context;
	(void)kind;
	(void)value;
	for (size_t i = 0; check->known[i] != NULL; i++) {
		if (strcmp(check->known[i], name) != 0)
			continue;
		if (check->seen & 1U << i)
			check->doubled = check->known[i];
		check->seen |= 1U << i;
		return MHD_YES;
	}
	check->unknown = name;
	return MHD_NO;
}

bool route_query_is_clean(
	struct request *request, const char *const *known, enum MHD_Result *result)
{
	struct query_check check = {.known = known};
	MHD_get_connection_values(
		request->connection, MHD_GET_ARGUMENT_KIND, check_parameter, &check);
	if (check.unknown == NULL && check.doubled == NULL)
		return true;
	_cleanup_text_ struct text message = {0};
	if (check.unknown != NULL) {
		text_appendf(&message, "unknown query parameter '%.60s'; this path takes ",
			check.unknown);
		for (size_t i = 0; known[i] != NULL; i++)
			text_appendf(&message, "%s'%s'", i == 0 ? "" : ", ", known[i]);
		if (known[0] == NULL)
			text_append(&message, "none");
	} else {
		text_appendf(
			&message, "the query parameter '%s' stands there twice", check.doubled);
	}
	if (text_string(&message) == NULL)
		*result = MHD_NO;
	else
		*result = refuse(request, MHD_HTTP_BAD_REQUEST, "bad_request", message.data, NULL);
	return false;
}
