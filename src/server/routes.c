#include "server/routes.h"

#include "base/text.h"
#include "server/answer.h"
#include "server/prefer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const struct route routes[] = {
	{"/v1/token", ROUTE_GET, route_default_token},
	{"/v1/accounts/*/token", ROUTE_GET, route_account_token},
	{"/Accounts/*/token", ROUTE_GET, route_sts_token},
	{"/v1/accounts", ROUTE_GET, route_accounts},
	{"/v1/accounts/*", ROUTE_GET, route_account},
	{"/v1/accounts/*/login", ROUTE_GET | ROUTE_POST, route_login},
	{"/v1/accounts/*/refresh", ROUTE_POST, route_refresh},
	{"/healthz", ROUTE_GET, route_healthz},
	{"/readyz", ROUTE_GET, route_readyz},
	{NULL, 0, NULL},
};

/* What each set of methods is called, in a message and in the header Allow. */
static const struct {
	const char *words;
	const char *allow;
} methods_of[] = {
	[ROUTE_GET] = {"GET and HEAD", "GET, HEAD"},
	[ROUTE_POST] = {"POST", "POST"},
	[ROUTE_GET | ROUTE_POST] = {"GET, HEAD and POST", "GET, HEAD, POST"},
};

/* The bit of the method, or 0 for one that no route answers. */
static unsigned method_bit(const char *method)
{
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return ROUTE_GET;
	return strcmp(method, "POST") == 0 ? ROUTE_POST : 0;
}

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

static enum MHD_Result refuse_method(struct request *request, const struct route *route)
{
	char message[64];
	snprintf(message, sizeof(message), "this path answers %s only",
		methods_of[route->methods].words);
	return refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed", message,
		methods_of[route->methods].allow);
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
			"/v1/accounts/{name}/login, /v1/accounts/{name}/refresh, "
			"/Accounts/{accountId}/token, "
			"/healthz and /readyz",
			NULL);
	unsigned method_asked = method_bit(method);
	if ((route->methods & method_asked) == 0)
		return refuse_method(request, route);
	request->is_post = method_asked == ROUTE_POST;
	request->is_head = method[0] == 'H';
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

/* Made once: whoever asks too often is to cost less than those who do not. */
enum MHD_Result routes_refuse_excess(struct request *request)
{
	static const struct answer_error error = {
		.status = MHD_HTTP_TOO_MANY_REQUESTS,
		.code = "too_many_requests",
		.message = "your user asks too often while others ask too; a token lives for long: "
			   "keep it until its refresh_on",
		.retry_after_s = 1,
	};
	struct page *page = &request->pages[PAGE_EXCESS];
	if (page->answer == NULL)
		page->answer = answer_new_error(&error);
	return page->answer == NULL ? answer_send_no_memory(request)
				    : answer_send_ready(request, page->answer);
}

enum MHD_Result routes_refuse_body(struct request *request)
{
	return refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "body_not_allowed",
		"the request has a body; nothing here takes one", NULL);
}

/* Tell that the caller may not do that, and what kind of rule it was; not who may. */
static enum MHD_Result refuse_caller(
	struct request *request, const struct account *account, enum policy_verdict verdict)
{
	char message[256];
	bool is_for_now = verdict == POLICY_UNIT_YOUNG;
	snprintf(message, sizeof(message), "account '%s' is not for you: %s",
		account->settings.name, policy_verdict_text(verdict));
	const struct answer_error error = {
		.status = is_for_now ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_FORBIDDEN,
		.code = is_for_now ? "unit_not_known_yet" : "not_allowed",
		.message = message,
		.account = account->settings.name,
		.retry_after_s = is_for_now ? 1 : -1,
		/* Another connection is what it takes. */
		.is_last = is_for_now,
	};
	return answer_send_error(request, &error);
}

bool route_permits(struct request *request, const struct account *account,
	enum policy_action action, enum MHD_Result *result)
{
	enum policy_verdict verdict =
		permission_of(&request->caller, request->table, account, action);
	if (verdict != POLICY_ALLOWED)
		*result = refuse_caller(request, account, verdict);
	return verdict == POLICY_ALLOWED;
}

bool route_shows(const struct request *request, const struct account *account)
{
	return permission_to_see(&request->caller, request->table, account);
}

static struct account *find_account(struct request *request, enum MHD_Result *result)
{
	struct account *account = account_table_find(request->table, request->argument);
	if (account != NULL)
		return account;
	const struct answer_error error = {
		.status = MHD_HTTP_NOT_FOUND,
		.code = "not_found",
		.message = "there is no account of this name; /v1/accounts lists them",
		.account = request->argument,
		.retry_after_s = -1,
	};
	*result = answer_send_error(request, &error);
	return NULL;
}

struct account *route_account_of(
	struct request *request, enum policy_action action, enum MHD_Result *result)
{
	struct account *account = find_account(request, result);
	return account != NULL && route_permits(request, account, action, result) ? account : NULL;
}

struct account *route_account_to_see(struct request *request, enum MHD_Result *result)
{
	struct account *account = find_account(request, result);
	if (account == NULL || route_shows(request, account))
		return account;
	return route_permits(request, account, POLICY_TOKEN, result) ? account : NULL;
}

static enum MHD_Result look_for_wait(
	void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	int64_t *wait_s = context;
	(void)kind;
	if (strcasecmp(name, "Prefer") == 0 && value != NULL)
		*wait_s = prefer_wait_s(value);
	return *wait_s < 0 ? MHD_YES : MHD_NO;
}

int64_t route_wait_ms(const struct request *request, int64_t default_ms)
{
	int64_t wait_s = -1;
	MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look_for_wait, &wait_s);
	if (wait_s < 0)
		return default_ms;
	return wait_s < ROUTE_WAIT_MAX_MS / 1000 ? wait_s * 1000 : ROUTE_WAIT_MAX_MS;
}

bool route_waits(struct request *request, const struct wait_terms *terms)
{
	struct wait_terms whole = *terms;
	whole.table = request->table;
	whole.adoptions = request->adoptions;
	bool is_new = *request->waiter == NULL;
	if (is_new && request->user->waiting >= request->user_wait_limit)
		return false;
	bool waits = waiters_wait(
		request->waiters, request->waiter, request->connection, &whole, request->now_ms);
	if (is_new && *request->waiter != NULL)
		request->user->waiting++;
	return waits;
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
