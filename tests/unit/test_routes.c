/*
 * The routes as a client finds them: through the real server, over real sockets, with a registry
 * that is filled by hand.
 */
#include "server/routes.h"

#include "base/log.h"
#include "server/server.h"

#include "unit.h"

#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#define ID_START "11111111-2222-3333-4444-5555555500"
#define DAY_S INT64_C(86400)

/* ---- the scene ---------------------------------------------------------------------------------
 */

static char directory[64];
static char paths[3][80];
static struct registry registry;
static struct server *server;
static int64_t now_s;

static int64_t monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Accounts have the identifiers ID_START "00", "01" and so on. */
static struct account *make_account(const char *name, unsigned number)
{
	char id[64];
	snprintf(id, sizeof(id), "%s%02x", ID_START, number & 0xff);
	struct account_settings settings = {
		.name = strdup(name),
		.kind = strdup("mixed_reality"),
		.account_id = strdup(id),
		.account_domain = strdup("eastus.example.com"),
		.endpoint = strdup("https://sts.eastus.example.com"),
		.credential = strdup("account_key"),
		.is_required = true,
	};
	struct account *account = account_new(&settings);
	ck_assert_ptr_nonnull(account);
	return account;
}

/* A token that lives for so long from now on; it names its account. */
static void give_token(struct account *account, int64_t life_s)
{
	char words[96];
	struct error err = ERROR_INIT;
	int64_t now_ms = clock_boottime_ms(&clock_system);
	snprintf(words, sizeof(words), "eyJ.token-of-%s.sig", account->settings.name);
	const struct snapshot_parts parts = {
		.account = account->settings.name,
		.account_id = account->settings.account_id,
		.account_domain = account->settings.account_domain,
		.expires_on = now_s + life_s,
		.refresh_on = now_s + life_s / 2,
		.dead_at_ms = now_ms + life_s * 1000,
		.received_ms = now_ms,
	};
	struct snapshot *snapshot = snapshot_build(
		secret_from(words, strlen(words)), &parts, &server_answer_maker, &err);
	ck_assert_msg(snapshot != NULL, "%s", err.message);
	atomic_store(&account->snapshot, snapshot);
	atomic_load(&account->report)->refreshed_on = now_s;
}

static void give_error(struct account *account, enum error_code code, int64_t again_in_ms)
{
	struct account_report *report = atomic_load(&account->report);
	error_set(&report->error, code, "the upstream said no");
	report->error.http_status = 401;
	strcpy(report->error.correlation_vector, "CvCv.0");
	report->failures = 3;
	report->failed_on = now_s;
	report->next_ms = clock_boottime_ms(&clock_system) + again_in_ms;
}

/* The accounts that most tests ask for, the first of them the default. */
static struct account_table *make_table(void)
{
	struct account **accounts = calloc(6, sizeof(struct account *));
	accounts[0] = make_account("anchors", 0);
	give_token(accounts[0], DAY_S);
	accounts[1] = make_account("starting", 1);
	accounts[2] = make_account("failed", 2);
	give_error(accounts[2], ERR_DENIED, 42000);
	accounts[3] = make_account("dead", 3);
	give_token(accounts[3], -5);
	accounts[4] = make_account("degraded", 4);
	give_token(accounts[4], DAY_S);
	give_error(accounts[4], ERR_NETWORK, 5000);
	accounts[5] = make_account("a.b_C-9", 5);
	give_token(accounts[5], DAY_S);
	struct account_table *table = account_table_new(accounts, 6, accounts[0]);
	ck_assert_ptr_nonnull(table);
	return table;
}

static struct account_table *make_table_of_one(bool has_token, bool is_default)
{
	struct account **accounts = calloc(1, sizeof(struct account *));
	accounts[0] = make_account("only", 9);
	if (has_token)
		give_token(accounts[0], DAY_S);
	return account_table_new(accounts, 1, is_default ? accounts[0] : NULL);
}

static struct listener *open_listener(size_t which)
{
	struct error err = ERROR_INIT;
	struct listener *listener =
		listener_open(strrchr(paths[which], '/') + 1, paths[which], 0600, (gid_t)-1, &err);
	ck_assert_msg(listener != NULL, "%s", err.message);
	return listener;
}

static void scene_open_with(struct account_table *table, unsigned limit, size_t listener_count)
{
	struct error err = ERROR_INIT;
	signal(SIGPIPE, SIG_IGN);
	strcpy(directory, "/tmp/test_routes.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	for (size_t i = 0; i < UNIT_COUNT(paths); i++)
		snprintf(paths[i], sizeof(paths[i]), "%s/socket%zu", directory, i);
	registry_init(&registry);
	atomic_store(&registry.table, table);
	struct listener **listeners = calloc(listener_count, sizeof(struct listener *));
	for (size_t i = 0; i < listener_count; i++)
		listeners[i] = open_listener(i);
	const struct server_options options = {
		.registry = &registry, .clock = &clock_system, .connection_limit = limit};
	server = server_start(&options, listeners, listener_count, &err);
	ck_assert_msg(server != NULL, "%s", err.message);
}

static void scene_open(void)
{
	now_s = clock_realtime_s(&clock_system);
	scene_open_with(make_table(), 100, 1);
}

/* Nothing is left: neither a socket nor secret memory. */
static void scene_close(void)
{
	struct secret_memory usage;
	server_stop(server, 5000);
	registry_destroy(&registry);
	ck_assert_int_eq(rmdir(directory), 0);
	secret_memory_usage(&usage);
	ck_assert_uint_eq(usage.bytes_in_use, 0);
}

/* ---- a client ----------------------------------------------------------------------------------
 */

struct reply {
	int status;
	char head[4096];
	char *body; /* NUL-terminated */
	size_t body_len;
};

static int connect_to(size_t which)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = 30};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", paths[which]);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void send_all(int fd, const char *text)
{
	size_t len = strlen(text);
	while (len > 0) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
		ck_assert_int_gt(sent, 0);
		text += sent;
		len -= (size_t)sent;
	}
}

/* The header's value, copied; "" when it is not there, or there more than once. */
static const char *header_of(const struct reply *reply, const char *name)
{
	static char values[4][512];
	static unsigned turn;
	char *value = values[turn++ % 4];
	size_t len = strlen(name);
	unsigned count = 0;
	value[0] = '\0';
	for (const char *at = strstr(reply->head, "\r\n"); at != NULL; at = strstr(at, "\r\n")) {
		at += 2;
		if (strncasecmp(at, name, len) != 0 || at[len] != ':')
			continue;
		snprintf(value, sizeof(values[0]), "%.*s", (int)strcspn(at + len + 2, "\r"),
			at + len + 2);
		count++;
	}
	if (count != 1)
		value[0] = '\0';
	return value;
}

static bool is_closed(int fd)
{
	char byte;
	return recv(fd, &byte, 1, 0) <= 0;
}

/* Reads one answer and nothing beyond it. Returns false when the connection ends before. */
static bool read_reply(int fd, bool has_body, struct reply *reply)
{
	size_t len = 0;
	*reply = (struct reply){0};
	while (len < 4 || memcmp(reply->head + len - 4, "\r\n\r\n", 4) != 0) {
		ck_assert_uint_lt(len, sizeof(reply->head) - 1);
		if (recv(fd, reply->head + len, 1, 0) <= 0)
			return false;
		len++;
	}
	reply->head[len] = '\0';
	ck_assert_int_eq(sscanf(reply->head, "HTTP/1.%*c %d ", &reply->status), 1);
	size_t body_len = has_body ? (size_t)atoll(header_of(reply, "Content-Length")) : 0;
	reply->body = calloc(1, body_len + 1);
	while (reply->body_len < body_len) {
		ssize_t got =
			recv(fd, reply->body + reply->body_len, body_len - reply->body_len, 0);
		if (got <= 0)
			return false;
		reply->body_len += (size_t)got;
	}
	return true;
}

static struct reply ask_raw(size_t which, const char *text, bool has_body)
{
	struct reply reply;
	int fd = connect_to(which);
	ck_assert_int_ge(fd, 0);
	send_all(fd, text);
	ck_assert_msg(read_reply(fd, has_body, &reply), "no answer to %s", text);
	close(fd);
	return reply;
}

static struct reply ask(const char *method, const char *target, const char *headers)
{
	char text[8192];
	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, target,
		headers);
	return ask_raw(0, text, strcmp(method, "HEAD") != 0);
}

static struct reply get(const char *target)
{
	return ask("GET", target, "");
}

static struct reply get_on(int fd, const char *target)
{
	char text[1024];
	struct reply reply;
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
	send_all(fd, text);
	ck_assert_msg(read_reply(fd, true, &reply), "no answer to %s", target);
	return reply;
}

static void assert_status(struct reply reply, int status, const char *target)
{
	ck_assert_msg(reply.status == status, "%s: %d, not %d: %s", target, reply.status, status,
		reply.body);
	free(reply.body);
}

/* The interface's error object, and the headers that go with it. */
static void assert_error(struct reply reply, int status, const char *code, const char *words)
{
	ck_assert_msg(reply.status == status, "%d, not %d: %s", reply.status, status, reply.body);
	ck_assert_str_eq(header_of(&reply, "Content-Type"), "application/json; charset=utf-8");
	ck_assert_str_eq(header_of(&reply, "Cache-Control"), "no-store");
	ck_assert_str_eq(header_of(&reply, "ETag"), "");
	ck_assert_uint_eq(strlen(header_of(&reply, "X-Request-Id")), 16);
	struct json_object *root = json_tokener_parse(reply.body);
	struct json_object *error = json_object_object_get(root, "error");
	ck_assert_msg(error != NULL, "%s", reply.body);
	ck_assert_str_eq(json_object_get_string(json_object_object_get(error, "code")), code);
	const char *message = json_object_get_string(json_object_object_get(error, "message"));
	ck_assert_msg(strstr(message, words) != NULL, "no '%s' in: %s", words, message);
	ck_assert(json_object_object_get_ex(error, "account", NULL));
	ck_assert(json_object_object_get_ex(error, "retry_after", NULL));
	ck_assert_ptr_null(strstr(reply.body, "eyJ"));
	json_object_put(root);
	free(reply.body);
}

static const char *const all_targets[] = {
	"/v1/token",
	"/v1/accounts/anchors/token",
	"/Accounts/" ID_START "00/token",
	"/v1/accounts",
	"/v1/accounts/anchors",
	"/healthz",
};

/* ---- tokens ------------------------------------------------------------------------------------
 */

START_TEST(gives_the_token_as_json)
{
	static const char *const targets[] = {
		"/v1/token", "/v1/accounts/anchors/token", "/v1/token?format=json"};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(targets); i++) {
		struct reply reply = get(targets[i]);
		ck_assert_int_eq(reply.status, 200);
		ck_assert_str_eq(
			header_of(&reply, "Content-Type"), "application/json; charset=utf-8");
		ck_assert_str_eq(header_of(&reply, "Cache-Control"), "no-store");
		ck_assert_str_eq(header_of(&reply, "X-Content-Type-Options"), "nosniff");
		ck_assert_str_eq(header_of(&reply, "Vary"), "Accept");
		ck_assert_int_eq(header_of(&reply, "ETag")[0], '"');
		char expected[512];
		snprintf(expected, sizeof(expected),
			"{\"token\":\"eyJ.token-of-anchors.sig\",\"token_type\":\"Bearer\","
			"\"expires_on\":%" PRId64 ",\"refresh_on\":%" PRId64
			",\"account\":\"anchors\",\"account_id\":\"" ID_START
			"00\",\"account_domain\":\"eastus.example.com\"}\n",
			now_s + DAY_S, now_s + DAY_S / 2);
		ck_assert_str_eq(reply.body, expected);
		free(reply.body);
	}
	scene_close();
}
END_TEST

START_TEST(gives_the_token_in_other_forms)
{
	static const struct {
		const char *target;
		const char *headers;
		const char *type;
		const char *body;
	} cases[] = {
		{"/v1/token?format=text", "", "text/plain; charset=utf-8",
			"eyJ.token-of-anchors.sig"},
		{"/v1/token?format=header", "", "text/plain; charset=utf-8",
			"Authorization: Bearer eyJ.token-of-anchors.sig\n"},
		{"/v1/token", "Accept: text/plain\r\n", "text/plain; charset=utf-8",
			"eyJ.token-of-anchors.sig"},
		{"/v1/token?format=header", "Accept: application/json\r\n",
			"text/plain; charset=utf-8",
			"Authorization: Bearer eyJ.token-of-anchors.sig\n"},
		{"/v1/accounts/a.b_C-9/token?format=text", "", "text/plain; charset=utf-8",
			"eyJ.token-of-a.b_C-9.sig"},
		{"/Accounts/" ID_START "00/token", "", "application/json; charset=utf-8",
			"{\"AccessToken\":\"eyJ.token-of-anchors.sig\"}"},
		{"/Accounts/" ID_START "05/token?api-version=2019-02-28-preview",
			"Accept: text/plain\r\n", "application/json; charset=utf-8",
			"{\"AccessToken\":\"eyJ.token-of-a.b_C-9.sig\"}"},
	};
	char etags[UNIT_COUNT(cases)][64];
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct reply reply = ask("GET", cases[i].target, cases[i].headers);
		ck_assert_int_eq(reply.status, 200);
		ck_assert_str_eq(header_of(&reply, "Content-Type"), cases[i].type);
		ck_assert_str_eq(reply.body, cases[i].body);
		snprintf(etags[i], sizeof(etags[i]), "%s", header_of(&reply, "ETag"));
		ck_assert_uint_gt(strlen(etags[i]), 4);
		/* The same body and nothing else has the same one. */
		for (size_t j = 0; j < i; j++)
			ck_assert((strcmp(etags[i], etags[j]) == 0) ==
				  (strcmp(cases[i].body, cases[j].body) == 0));
		free(reply.body);
	}
	scene_close();
}
END_TEST

START_TEST(reads_the_accept_header)
{
	static const struct {
		const char *headers;
		bool is_text;
	} cases[] = {
		{"", false},
		{"Accept: */*\r\n", false},
		{"Accept: application/json\r\n", false},
		{"Accept: text/plain\r\n", true},
		{"Accept: TEXT/Plain;charset=utf-8\r\n", true},
		{"Accept: text/plain, application/json\r\n", true},
		{"Accept: application/json, text/plain\r\n", false},
		{"Accept: text/plainer\r\n", false},
		{"Accept: text/html\r\n", false},
		{"Accept: \r\n", false},
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct reply reply = ask("GET", "/v1/token", cases[i].headers);
		ck_assert_int_eq(reply.status, 200);
		ck_assert_msg((reply.body[0] != '{') == cases[i].is_text, "%s", cases[i].headers);
		free(reply.body);
	}
	scene_close();
}
END_TEST

START_TEST(answers_head_as_get_without_the_body)
{
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(all_targets); i++) {
		struct reply reply = get(all_targets[i]);
		int fd = connect_to(0);
		char text[256];
		struct reply head;
		snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
			all_targets[i]);
		send_all(fd, text);
		ck_assert(read_reply(fd, false, &head));
		ck_assert_int_eq(head.status, reply.status);
		ck_assert_str_eq(
			header_of(&head, "Content-Length"), header_of(&reply, "Content-Length"));
		ck_assert_str_eq(
			header_of(&head, "Content-Type"), header_of(&reply, "Content-Type"));
		ck_assert_str_eq(header_of(&head, "ETag"), header_of(&reply, "ETag"));
		/* The next answer begins where the head ended. */
		free(head.body);
		head = get_on(fd, "/healthz");
		assert_status(head, 200, all_targets[i]);
		close(fd);
		free(reply.body);
	}
	assert_status(ask("HEAD", "/v1/accounts/nobody", ""), 404, "HEAD");
	scene_close();
}
END_TEST

START_TEST(tells_why_there_is_no_token)
{
	static const struct {
		const char *account;
		const char *words;
		int retry_after_s;
	} cases[] = {
		{"starting", "first exchange is under way", 1},
		{"failed", "the upstream said no", 42},
		{"dead", "expired", 1},
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char target[64];
		for (unsigned form = 0; form < 3; form++) {
			if (form == 2)
				snprintf(target, sizeof(target), "/Accounts/" ID_START "0%zu/token",
					i + 1);
			else
				snprintf(target, sizeof(target), "/v1/accounts/%s/token%s",
					cases[i].account, form == 1 ? "?format=text" : "");
			struct reply reply = ask("GET", target, "Prefer: wait=0\r\n");
			int wait_s = atoi(header_of(&reply, "Retry-After"));
			ck_assert_int_le(wait_s, cases[i].retry_after_s);
			ck_assert_int_ge(wait_s, cases[i].retry_after_s - 2);
			ck_assert_int_ge(wait_s, 1);
			ck_assert_ptr_nonnull(strstr(reply.body, cases[i].account));
			assert_error(reply, 503, "no_valid_token", cases[i].words);
		}
	}
	/* A failure is no reason to hold back a token that is valid. */
	assert_status(get("/v1/accounts/degraded/token"), 200, "degraded");
	scene_close();
}
END_TEST

START_TEST(tells_that_there_is_no_default_account)
{
	scene_open_with(make_table_of_one(true, false), 100, 1);
	assert_error(get("/v1/token"), 404, "not_found", "default_account");
	assert_status(get("/v1/accounts/only/token"), 200, "only");
	scene_close();
}
END_TEST

/* ---- paths, methods, queries -------------------------------------------------------------------
 */

START_TEST(finds_each_path_and_no_other)
{
	static const struct {
		const char *target;
		int status;
	} cases[] = {
		{"/", 404},
		{"/v1", 404},
		{"/v1/", 404},
		{"/v1/token/", 404},
		{"/v1/tokens", 404},
		{"/v1/toke", 404},
		{"//v1/token", 404},
		{"/V1/token", 404},
		{"/v1/Token", 404},
		{"/v1/%74oken", 404}, /* only a name is decoded */
		{"/v1/./token", 404},
		{"/v1/accounts/", 404},
		{"/v1/accounts//token", 404},
		{"/v1/accounts/anchors/", 404},
		{"/v1/accounts/anchors/token/", 404},
		{"/v1/accounts/anchors/token/x", 404},
		{"/v1/accounts/anchors/tokens", 404},
		{"/v1/accounts/anchors", 200},
		{"/v1/accounts/%61nchor%73", 200},
		{"/v1/accounts/%61nchors/token", 200},
		{"/v1/accounts/Anchors", 404},
		{"/v1/accounts/nobody", 404},
		{"/v1/accounts/nobody/token", 404},
		{"/v1/accounts/anchors%2Ftoken", 404},
		{"/v1/accounts/..%2Fanchors", 404},
		{"/v1/accounts/*", 404},
		{"/v1/accounts/%", 400},
		{"/v1/accounts/%6", 400},
		{"/v1/accounts/%zz", 400},
		{"/v1/accounts/anchors%00", 400},
		{"/v1/accounts/anchors%00/token", 400},
		{"/v1/accounts/%C3%A4", 400},
		{"/Accounts/" ID_START "00/token", 200},
		{"/Accounts/" ID_START "0A/token", 404},
		{"/Accounts/%31"
		 "1111111-2222-3333-4444-555555550000/token",
			200},
		{"/accounts/" ID_START "00/token", 404},
		{"/Accounts/anchors/token", 404},
		{"/Accounts//token", 404},
		{"/Accounts/%zz/token", 400},
		{"/Accounts/" ID_START "00", 404},
		{"/v1/accounts/%1B%5B2J", 400},
		{"http://localhost/v1/token", 200},
		{"http://any.host:1/healthz", 200},
		{"http://localhost/v1/tokens", 404},
		{"/healthz/", 404},
		{"/healthz", 200},
		{"/metadata", 404},
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct reply reply = get(cases[i].target);
		ck_assert_msg(
			reply.status == cases[i].status, "%s: %d", cases[i].target, reply.status);
		if (reply.status == 200)
			free(reply.body);
		else
			assert_error(reply, cases[i].status,
				cases[i].status == 404 ? "not_found" : "bad_request", "");
	}
	scene_close();
}
END_TEST

START_TEST(refuses_a_name_that_is_too_long)
{
	char target[512];
	scene_open();
	for (int len = 100; len <= 140; len++) {
		snprintf(target, sizeof(target), "/v1/accounts/%0*d", len, 1);
		assert_status(get(target), len < ROUTE_ARGUMENT_MAX ? 404 : 400, target);
	}
	scene_close();
}
END_TEST

START_TEST(answers_get_and_head_only)
{
	static const char *const methods[] = {
		"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "SOMETHING"};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(methods); i++) {
		for (size_t j = 0; j < UNIT_COUNT(all_targets); j++) {
			struct reply reply = ask(methods[i], all_targets[j], "");
			ck_assert_str_eq(header_of(&reply, "Allow"), "GET, HEAD");
			assert_error(reply, 405, "method_not_allowed", "GET and HEAD");
		}
		/* What is not there takes no method. */
		struct reply reply = ask(methods[i], "/nowhere", "");
		ck_assert_str_eq(header_of(&reply, "Allow"), "");
		assert_error(reply, 404, "not_found", "/v1/token");
	}
	scene_close();
}
END_TEST

START_TEST(refuses_parameters_that_it_does_not_know)
{
	static const struct {
		const char *target;
		const char *words;
	} cases[] = {
		{"/v1/token?x", "'x'"},
		{"/v1/token?x=1", "'x'; this path takes 'format'"},
		{"/v1/token?Format=json", "'Format'"},
		{"/v1/token?format=json&x=1", "'x'"},
		{"/v1/token?format=json&format=json", "twice"},
		{"/v1/token?format=xml", "unknown format"},
		{"/v1/token?format=JSON", "unknown format"},
		{"/v1/token?format=", "unknown format"},
		{"/v1/token?format", "unknown format"},
		{"/v1/accounts/anchors/token?api-version=1", "'api-version'"},
		{"/Accounts/" ID_START "00/token?format=text", "takes 'api-version'"},
		{"/v1/accounts?x=1", "takes none"},
		{"/v1/accounts/anchors?x=1", "takes none"},
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		assert_error(get(cases[i].target), 400, "bad_request", cases[i].words);
	/* What stands in it is shown, but never at length or with control characters. */
	char target[1024];
	snprintf(target, sizeof(target), "/v1/token?%0600d=1", 7);
	struct reply reply = get(target);
	ck_assert_uint_lt(reply.body_len, 300);
	assert_error(reply, 400, "bad_request", "unknown query parameter");
	scene_close();
}
END_TEST

START_TEST(refuses_a_request_with_a_body)
{
	static const struct {
		const char *headers;
		bool is_refused;
	} cases[] = {
		{"Content-Length: 0\r\n", false},
		{"Content-Length: 5\r\n", true},
		{"Content-Length: 1000000000\r\n", true},
		{"Transfer-Encoding: chunked\r\n", true},
		{"Content-Length: 0\r\nContent-Length: 5\r\n", true},
		{"Content-Length: 5\r\nContent-Length: 0\r\n", true},
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char text[256];
		struct reply reply;
		int fd = connect_to(0);
		snprintf(text, sizeof(text), "GET /v1/token HTTP/1.1\r\nHost: x\r\n%s\r\n",
			cases[i].headers);
		send_all(fd, text);
		ck_assert(read_reply(fd, true, &reply));
		if (cases[i].is_refused) {
			assert_error(reply, 413, "body_not_allowed", "body");
			ck_assert(is_closed(fd)); /* what follows is nobody's request */
		} else {
			assert_status(reply, 200, cases[i].headers);
			assert_status(get_on(fd, "/healthz"), 200, "after it");
		}
		close(fd);
	}
	scene_close();
}
END_TEST

START_TEST(refuses_requests_beyond_its_limits)
{
	static const struct {
		int target_len;
		int header_len;
		int least;
		int most;
	} cases[] = {
		{500, 500, 404, 404},
		{20000, 0, 414, 414},
		{0, 20000, 431, 431},
	};
	char *text = malloc(100000);
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		snprintf(text, 100000, "GET /%0*d HTTP/1.1\r\nHost: x\r\nX: %0*d\r\n\r\n",
			cases[i].target_len, 0, cases[i].header_len, 0);
		int fd = connect_to(0);
		struct reply reply;
		/* It may be told to go away before it has said all. */
		ck_assert_int_gt(send(fd, text, strlen(text), MSG_NOSIGNAL), 0);
		ck_assert(read_reply(fd, true, &reply));
		ck_assert_int_ge(reply.status, cases[i].least);
		ck_assert_int_le(reply.status, cases[i].most);
		free(reply.body);
		close(fd);
		assert_status(get("/healthz"), 200, "others");
	}
	free(text);
	scene_close();
}
END_TEST

START_TEST(survives_what_is_no_request)
{
	static const char *const texts[] = {
		"\r\n\r\n\r\n",
		"hello\r\n\r\n",
		"GET\r\n\r\n",
		"GET /v1/token\r\n\r\n",
		"GET /v1/token HTTP/9.9\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET /v1/token HTTP/1.1\r\n: x\r\n\r\n",
		"GET  HTTP/1.1\r\n\r\n",
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(texts); i++) {
		int fd = connect_to(0);
		struct reply reply;
		send_all(fd, texts[i]);
		shutdown(fd, SHUT_WR);
		if (read_reply(fd, true, &reply))
			ck_assert_msg(reply.status >= 200 && reply.status < 600, "%zu", i);
		free(reply.body);
		close(fd);
		assert_status(get("/v1/token"), 200, "others");
	}
	scene_close();
}
END_TEST

START_TEST(takes_a_request_letter_by_letter)
{
	static const char text[] = "GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n";
	scene_open();
	int fd = connect_to(0);
	struct reply reply;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		ck_assert_int_eq(send(fd, &text[i], 1, MSG_NOSIGNAL), 1);
		if (i % 7 == 0)
			assert_status(get("/healthz"), 200, "others meanwhile");
	}
	ck_assert(read_reply(fd, true, &reply));
	assert_status(reply, 200, text);
	close(fd);
	scene_close();
}
END_TEST

/* ---- connections and requests ------------------------------------------------------------------
 */

START_TEST(keeps_a_connection_for_many_requests)
{
	scene_open();
	int fd = connect_to(0);
	for (int i = 0; i < 200; i++)
		assert_status(get_on(fd, all_targets[i % 6]), 200, all_targets[i % 6]);
	assert_status(get_on(fd, "/nowhere"), 404, "nowhere");
	assert_status(get_on(fd, "/v1/token"), 200, "after an error");
	close(fd);
	fd = connect_to(0);
	struct reply reply;
	send_all(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	ck_assert(read_reply(fd, true, &reply));
	assert_status(reply, 200, "close");
	ck_assert(is_closed(fd));
	close(fd);
	scene_close();
}
END_TEST

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

START_TEST(every_answer_has_its_own_request_id)
{
	enum { CONNECTIONS = 8, REQUESTS = 50 };
	static char ids[CONNECTIONS * REQUESTS][17];
	int fds[CONNECTIONS];
	size_t count = 0;
	scene_open();
	/* All requests are sent before any answer is read, for the same token and the same pages.
	 */
	for (int i = 0; i < CONNECTIONS; i++) {
		fds[i] = connect_to(0);
		for (int j = 0; j < REQUESTS; j++) {
			char text[128];
			snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
				j % 5 == 0 ? "/v1/accounts"
					   : (j % 5 == 1 ? "/nowhere" : "/v1/token"));
			send_all(fds[i], text);
		}
	}
	for (int j = 0; j < REQUESTS; j++) {
		for (int i = 0; i < CONNECTIONS; i++) {
			struct reply reply;
			ck_assert(read_reply(fds[i], true, &reply));
			const char *id = header_of(&reply, "X-Request-Id");
			ck_assert_uint_eq(strlen(id), 16);
			ck_assert_uint_eq(strspn(id, "0123456789abcdef"), 16);
			strcpy(ids[count++], id);
			free(reply.body);
		}
	}
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	qsort(ids, count, sizeof(ids[0]), compare_ids);
	for (size_t i = 1; i < count; i++)
		ck_assert_str_ne(ids[i - 1], ids[i]);
	scene_close();
}
END_TEST

START_TEST(makes_room_at_its_limit)
{
	now_s = clock_realtime_s(&clock_system);
	scene_open_with(make_table(), 3, 1);
	int fds[3];
	for (int i = 0; i < 3; i++) {
		fds[i] = connect_to(0);
		assert_status(get_on(fds[i], "/v1/token"), 200, "the first three");
	}
	assert_status(get_on(fds[0], "/v1/token"), 200, "again"); /* now the second is the oldest */
	int fd = connect_to(0);
	assert_status(get_on(fd, "/v1/token"), 200, "the fourth");
	ck_assert(is_closed(fds[1]));
	assert_status(get_on(fds[0], "/v1/token"), 200, "the first");
	assert_status(get_on(fds[2], "/v1/token"), 200, "the third");
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(fd);
	scene_close();
}
END_TEST

START_TEST(sees_a_new_table_at_once)
{
	scene_open();
	int fd = connect_to(0);
	assert_status(get_on(fd, "/v1/accounts/anchors"), 200, "old");
	struct account_table *old = atomic_exchange(&registry.table, make_table_of_one(true, true));
	epoch_retire(&registry.epoch, old, account_table_free);
	assert_status(get_on(fd, "/v1/accounts/anchors"), 404, "old");
	struct reply reply = get_on(fd, "/v1/token?format=text");
	ck_assert_str_eq(reply.body, "eyJ.token-of-only.sig");
	free(reply.body);
	/* No reader is inside between two requests. */
	while (epoch_reclaim(&registry.epoch))
		sched_yield();
	close(fd);
	scene_close();
}
END_TEST

/* ---- accounts, liveness, readiness -------------------------------------------------------------
 */

static const char *word_of(struct json_object *object, const char *name)
{
	const char *word = json_object_get_string(json_object_object_get(object, name));
	return word == NULL ? "null" : word;
}

START_TEST(lists_the_accounts_without_a_secret)
{
	static const struct {
		const char *name;
		const char *state;
	} expected[] = {
		{"anchors", "valid"},
		{"starting", "starting"},
		{"failed", "failed"},
		{"dead", "failed"},
		{"degraded", "degraded"},
		{"a.b_C-9", "valid"},
	};
	scene_open();
	struct reply reply = get("/v1/accounts");
	ck_assert_int_eq(reply.status, 200);
	ck_assert_ptr_null(strstr(reply.body, "eyJ"));
	struct json_object *root = json_tokener_parse(reply.body);
	ck_assert_str_eq(word_of(root, "default_account"), "anchors");
	struct json_object *list = json_object_object_get(root, "accounts");
	ck_assert_uint_eq(json_object_array_length(list), UNIT_COUNT(expected));
	for (size_t i = 0; i < UNIT_COUNT(expected); i++) {
		struct json_object *account = json_object_array_get_idx(list, i);
		bool is_valid = expected[i].state[0] == 'v' || expected[i].state[1] == 'e';
		ck_assert_str_eq(word_of(account, "name"), expected[i].name);
		ck_assert_str_eq(word_of(account, "state"), expected[i].state);
		ck_assert_str_eq(word_of(account, "kind"), "mixed_reality");
		ck_assert_str_eq(word_of(account, "account_domain"), "eastus.example.com");
		ck_assert((strcmp(word_of(account, "expires_on"), "null") != 0) == is_valid);
		/* The same object under its own path. */
		char target[64];
		snprintf(target, sizeof(target), "/v1/accounts/%s", expected[i].name);
		struct reply single = get(target);
		struct json_object *object = json_tokener_parse(single.body);
		ck_assert_str_eq(word_of(object, "state"), expected[i].state);
		ck_assert_ptr_null(strstr(single.body, "eyJ"));
		json_object_put(object);
		free(single.body);
	}
	struct json_object *error =
		json_object_object_get(json_object_array_get_idx(list, 2), "last_error");
	ck_assert_str_eq(word_of(error, "code"), "denied");
	ck_assert_str_eq(word_of(error, "message"), "the upstream said no");
	ck_assert_str_eq(word_of(error, "status"), "401");
	ck_assert_str_eq(word_of(error, "correlation_vector"), "CvCv.0");
	ck_assert_str_eq(word_of(json_object_array_get_idx(list, 2), "failures"), "3");
	ck_assert_str_eq(word_of(json_object_array_get_idx(list, 0), "last_error"), "null");
	json_object_put(root);
	free(reply.body);
	scene_close();
}
END_TEST

START_TEST(is_alive_whatever_the_tokens_are)
{
	scene_open_with(make_table_of_one(false, true), 100, 1);
	struct reply reply = get("/healthz");
	ck_assert_int_eq(reply.status, 200);
	ck_assert_str_eq(reply.body, "{\"status\":\"ok\"}\n");
	free(reply.body);
	scene_close();
}
END_TEST

START_TEST(is_ready_when_every_required_account_has_a_token)
{
	for (int kind = 0; kind < 4; kind++) {
		now_s = clock_realtime_s(&clock_system);
		struct account **accounts = calloc(2, sizeof(struct account *));
		accounts[0] = make_account("one", 0);
		accounts[1] = make_account("two", 1);
		give_token(accounts[0], DAY_S);
		if (kind != 1)
			give_token(accounts[1], kind == 2 ? -5 : DAY_S);
		if (kind == 3)
			give_error(accounts[1], ERR_NETWORK, 1000);
		for (int is_required = 0; is_required < 2; is_required++) {
			accounts[1]->settings.is_required = is_required;
			bool is_ready = kind == 0 || kind == 3 || !is_required;
			if (is_required == 0)
				scene_open_with(account_table_new(accounts, 2, NULL), 100, 1);
			struct reply reply = get("/readyz");
			ck_assert_int_eq(reply.status, is_ready ? 200 : 503);
			struct json_object *root = json_tokener_parse(reply.body);
			ck_assert_str_eq(word_of(root, "ready"), is_ready ? "true" : "false");
			struct json_object *two = json_object_array_get_idx(
				json_object_object_get(root, "accounts"), 1);
			ck_assert_str_eq(word_of(two, "name"), "two");
			ck_assert_str_eq(word_of(two, "required"), is_required ? "true" : "false");
			ck_assert_str_eq(word_of(two, "has_valid_token"),
				kind == 0 || kind == 3 ? "true" : "false");
			ck_assert_str_eq(word_of(two, "last_refresh_worked"),
				kind == 0 || kind == 2 ? "true" : "false");
			json_object_put(root);
			free(reply.body);
			server_stop(server, 0);
			struct error err = ERROR_INIT;
			struct listener **listeners = calloc(1, sizeof(struct listener *));
			listeners[0] = open_listener(0);
			const struct server_options options = {.registry = &registry,
				.clock = &clock_system,
				.connection_limit = 100};
			server = server_start(&options, listeners, 1, &err);
			ck_assert_ptr_nonnull(server);
		}
		scene_close();
	}
}
END_TEST

/* ---- listeners ---------------------------------------------------------------------------------
 */

static void set_listeners(const size_t *which, size_t count)
{
	struct error err = ERROR_INIT;
	size_t present_count = 0;
	struct listener *const *present = server_listeners(server, &present_count);
	struct listener **listeners = calloc(count + 1, sizeof(struct listener *));
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < present_count; j++)
			if (strcmp(present[j]->path, paths[which[i]]) == 0)
				listeners[i] = present[j];
		if (listeners[i] == NULL)
			listeners[i] = open_listener(which[i]);
	}
	ck_assert_int_eq(server_set_listeners(server, listeners, count, &err), 0);
	ck_assert_ptr_eq(server_listeners(server, &present_count), listeners);
	ck_assert_uint_eq(present_count, count);
}

START_TEST(serves_on_several_listeners)
{
	now_s = clock_realtime_s(&clock_system);
	scene_open_with(make_table(), 100, 3);
	int fds[3];
	for (size_t i = 0; i < 3; i++)
		fds[i] = connect_to(i);
	for (int round = 0; round < 10; round++)
		for (size_t i = 0; i < 3; i++)
			assert_status(get_on(fds[i], "/v1/token"), 200, paths[i]);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	scene_close();
}
END_TEST

START_TEST(changes_its_listeners_while_it_serves)
{
	now_s = clock_realtime_s(&clock_system);
	scene_open_with(make_table(), 100, 2);
	int stays = connect_to(0);
	int goes = connect_to(1);
	assert_status(get_on(stays, "/healthz"), 200, "before");
	assert_status(get_on(goes, "/healthz"), 200, "before");
	set_listeners((const size_t[]){2, 0}, 2);
	int comes = connect_to(2);
	ck_assert_int_ge(comes, 0); /* at once */
	assert_status(get_on(comes, "/v1/token"), 200, "the new one");
	assert_status(get_on(stays, "/v1/token"), 200, "the old one");
	ck_assert_int_eq(connect_to(1), -1);
	ck_assert_int_ne(access(paths[1], F_OK), 0);
	ck_assert(is_closed(goes)); /* it was idle */
	close(goes);
	/* Back again, and then the other two go. */
	set_listeners((const size_t[]){0, 1, 2}, 3);
	set_listeners((const size_t[]){1}, 1);
	ck_assert(is_closed(stays));
	ck_assert(is_closed(comes));
	close(stays);
	close(comes);
	int fd = connect_to(1);
	assert_status(get_on(fd, "/v1/token"), 200, "the last one");
	close(fd);
	for (int i = 0; i < 50; i++) {
		set_listeners((const size_t[]){(size_t)i % 3}, 1);
		fd = connect_to((size_t)i % 3);
		assert_status(get_on(fd, "/v1/token"), 200, "again and again");
		close(fd);
	}
	scene_close();
}
END_TEST

/* So many accounts that their list fits into no socket's buffer. */
static struct account_table *make_long_table(void)
{
	enum { COUNT = 5000 };
	struct account **accounts = calloc(COUNT, sizeof(struct account *));
	for (unsigned i = 0; i < COUNT; i++) {
		char name[16];
		snprintf(name, sizeof(name), "account-%u", i);
		accounts[i] = make_account(name, i);
	}
	return account_table_new(accounts, COUNT, NULL);
}

/* Ask for the long list, and read its first letter, so that it is on its way. */
static int ask_for_long_list(size_t which)
{
	char letter;
	int fd = connect_to(which);
	send_all(fd, "GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n");
	ck_assert_int_eq(recv(fd, &letter, 1, MSG_PEEK), 1);
	return fd;
}

static void assert_list_is_whole(int fd)
{
	struct reply reply;
	ck_assert(read_reply(fd, true, &reply));
	ck_assert_uint_gt(reply.body_len, 1000000);
	struct json_object *root = json_tokener_parse(reply.body);
	ck_assert_uint_eq(json_object_array_length(json_object_object_get(root, "accounts")), 5000);
	json_object_put(root);
	free(reply.body);
	ck_assert(is_closed(fd)); /* and no other request is waited for */
	close(fd);
}

START_TEST(finishes_an_open_answer_of_a_listener_that_goes)
{
	scene_open_with(make_long_table(), 100, 2);
	int fd = ask_for_long_list(1);
	set_listeners((const size_t[]){0}, 1);
	ck_assert_int_eq(connect_to(1), -1);
	assert_status(get("/healthz"), 200, "others meanwhile");
	assert_list_is_whole(fd);
	scene_close();
}
END_TEST

static void *stop_patiently(void *context)
{
	(void)context;
	server_stop(server, 60000);
	return NULL;
}

START_TEST(finishes_an_open_answer_when_it_stops)
{
	pthread_t thread;
	scene_open_with(make_long_table(), 100, 1);
	int fd = ask_for_long_list(0);
	int idle = connect_to(0);
	assert_status(get_on(idle, "/healthz"), 200, "idle");
	ck_assert_int_eq(pthread_create(&thread, NULL, stop_patiently, NULL), 0);
	ck_assert(is_closed(idle)); /* it is stopping */
	close(idle);
	ck_assert_int_eq(connect_to(0), -1);
	int64_t start_ms = monotonic_ms();
	assert_list_is_whole(fd);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_lt(monotonic_ms() - start_ms, 30000); /* it does not wait for nothing */
	server = NULL;
	scene_close();
}
END_TEST

START_TEST(waits_no_longer_than_its_grace_when_it_stops)
{
	scene_open_with(make_long_table(), 100, 1);
	int fd = ask_for_long_list(0);
	int64_t start_ms = monotonic_ms();
	server_stop(server, 300);
	int64_t took_ms = monotonic_ms() - start_ms;
	ck_assert_int_ge(took_ms, 299);
	ck_assert_int_lt(took_ms, 20000);
	struct reply reply;
	ck_assert(!read_reply(fd, true, &reply)); /* cut */
	free(reply.body);
	close(fd);
	server = NULL;
	scene_close();
}
END_TEST

START_TEST(answers_what_arrived_before_it_stopped)
{
	for (int round = 0; round < 20; round++) {
		struct reply reply;
		scene_open();
		int fd = connect_to(0);
		send_all(fd, "GET /v1/token HTTP/1.1\r\nHost: x\r\n\r\n");
		server_stop(server, 5000);
		ck_assert(read_reply(fd, true, &reply));
		assert_status(reply, 200, "the last one");
		ck_assert(is_closed(fd));
		close(fd);
		server = NULL;
		scene_close();
	}
}
END_TEST

START_TEST(stops_when_nobody_is_there)
{
	server_stop(NULL, 1000);
	int64_t start_ms = monotonic_ms();
	scene_open();
	int fresh = connect_to(0); /* who says nothing holds up nobody */
	scene_close();
	ck_assert_int_lt(monotonic_ms() - start_ms, 4000);
	close(fresh);
}
END_TEST

/* ---- logins ------------------------------------------------------------------------------------
 */

static unsigned wakes;

static void on_wake(void *context)
{
	++*(unsigned *)context;
}

/* The account "anchors", to which somebody can log in. */
static struct account *open_login_scene(void)
{
	struct account_table *table = make_table();
	table->accounts[0]->settings.has_login = true;
	scene_open_with(table, 100, 1);
	wakes = 0;
	registry.wake = on_wake;
	registry.wake_context = &wakes;
	return table->accounts[0];
}

static void give_login(struct account *account, enum account_login_state state)
{
	struct account_login *login = calloc(1, sizeof(*login));
	ck_assert_ptr_nonnull(login);
	login->state = state;
	login->error = ERROR_INIT;
	if (state == ACCOUNT_LOGIN_PENDING) {
		strcpy(login->user_code, "ABCD-1234");
		strcpy(login->verification_uri, "https://login.example/device");
		strcpy(login->message, "enter ABCD-1234");
		login->expires_ms = clock_boottime_ms(&clock_system) + 900500;
		login->interval_s = 5;
	}
	if (state == ACCOUNT_LOGIN_FAILED)
		error_set(&login->error, ERR_DENIED, "the sign-in was declined");
	account_publish_login(&registry, account, login);
}

/* Ask for the login; the answer's object, to be put. */
static struct json_object *ask_login(const char *method, int status)
{
	struct reply reply = ask(method, "/v1/accounts/anchors/login", "");
	ck_assert_msg(reply.status == status, "%d: %s", reply.status, reply.body);
	ck_assert_str_eq(header_of(&reply, "Cache-Control"), "no-store");
	struct json_object *root = json_tokener_parse(reply.body);
	ck_assert_msg(root != NULL, "%s", reply.body);
	ck_assert_int_eq(json_object_object_length(root), 8);
	free(reply.body);
	return root;
}

static void assert_login_state(const char *method, int status, const char *state)
{
	struct json_object *root = ask_login(method, status);
	ck_assert_str_eq(json_object_get_string(json_object_object_get(root, "state")), state);
	ck_assert_str_eq(
		json_object_get_string(json_object_object_get(root, "account")), "anchors");
	bool is_pending = strcmp(state, "pending") == 0;
	static const char *const members[] = {
		"user_code", "verification_uri", "message", "expires_in", "interval"};
	for (size_t i = 0; i < UNIT_COUNT(members); i++) {
		struct json_object *member = NULL;
		ck_assert(json_object_object_get_ex(root, members[i], &member));
		ck_assert_msg((member != NULL) == is_pending, "%s while %s", members[i], state);
	}
	struct json_object *error = NULL;
	ck_assert(json_object_object_get_ex(root, "error", &error));
	ck_assert_msg((error != NULL) == (strcmp(state, "failed") == 0), "%s", state);
	json_object_put(root);
}

START_TEST(tells_how_far_a_login_is)
{
	struct account *account = open_login_scene();
	assert_login_state("GET", 200, "none");
	give_login(account, ACCOUNT_LOGIN_STARTING);
	assert_login_state("GET", 200, "starting");
	give_login(account, ACCOUNT_LOGIN_PENDING);
	assert_login_state("GET", 200, "pending");
	give_login(account, ACCOUNT_LOGIN_DONE);
	assert_login_state("GET", 200, "done");
	give_login(account, ACCOUNT_LOGIN_FAILED);
	assert_login_state("GET", 200, "failed");
	/* To look is not to ask. */
	ck_assert_uint_eq(atomic_load(&account->requests), 0);
	ck_assert_uint_eq(wakes, 0);
	scene_close();
}
END_TEST

START_TEST(shows_the_code_of_a_login)
{
	struct account *account = open_login_scene();
	give_login(account, ACCOUNT_LOGIN_PENDING);
	struct json_object *root = ask_login("GET", 200);
	static const char *const members[][2] = {
		{"user_code", "ABCD-1234"},
		{"verification_uri", "https://login.example/device"},
		{"message", "enter ABCD-1234"},
	};
	for (size_t i = 0; i < UNIT_COUNT(members); i++)
		ck_assert_str_eq(
			json_object_get_string(json_object_object_get(root, members[i][0])),
			members[i][1]);
	ck_assert_int_eq(json_object_get_int64(json_object_object_get(root, "interval")), 5);
	int64_t left_s = json_object_get_int64(json_object_object_get(root, "expires_in"));
	ck_assert_int_ge(left_s, 800);
	ck_assert_int_le(left_s, 900);
	json_object_put(root);
	scene_close();
}
END_TEST

START_TEST(says_why_a_login_failed)
{
	struct account *account = open_login_scene();
	give_login(account, ACCOUNT_LOGIN_FAILED);
	struct json_object *root = ask_login("GET", 200);
	struct json_object *error = json_object_object_get(root, "error");
	ck_assert_str_eq(json_object_get_string(json_object_object_get(error, "code")), "denied");
	ck_assert_str_eq(json_object_get_string(json_object_object_get(error, "message")),
		"the sign-in was declined");
	json_object_put(root);
	scene_close();
}
END_TEST

START_TEST(asks_for_a_login_by_post_and_wakes_who_does_it)
{
	struct account *account = open_login_scene();
	assert_login_state("POST", 202, "starting");
	ck_assert_uint_eq(atomic_load(&account->requests), ACCOUNT_REQUEST_LOGIN);
	ck_assert(atomic_load(&registry.has_requests));
	ck_assert_uint_eq(wakes, 1);
	/* Until it is done, whatever there was before does not count. */
	assert_login_state("GET", 200, "starting");
	give_login(account, ACCOUNT_LOGIN_FAILED);
	assert_login_state("GET", 200, "starting");
	atomic_store(&account->requests, 0);
	assert_login_state("GET", 200, "failed");
	scene_close();
}
END_TEST

START_TEST(joins_a_login_that_is_under_way)
{
	struct account *account = open_login_scene();
	give_login(account, ACCOUNT_LOGIN_STARTING);
	assert_login_state("POST", 202, "starting");
	give_login(account, ACCOUNT_LOGIN_PENDING);
	assert_login_state("POST", 202, "pending");
	ck_assert_uint_eq(atomic_load(&account->requests), 0);
	ck_assert_uint_eq(wakes, 0);
	scene_close();
}
END_TEST

START_TEST(begins_another_login_after_the_last)
{
	struct account *account = open_login_scene();
	give_login(account, ACCOUNT_LOGIN_DONE);
	assert_login_state("POST", 202, "starting");
	ck_assert_uint_eq(atomic_load(&account->requests), ACCOUNT_REQUEST_LOGIN);
	scene_close();
}
END_TEST

START_TEST(remembers_when_somebody_asked_about_a_login)
{
	static const char *const methods[] = {"GET", "POST"};
	struct account *account = open_login_scene();
	for (size_t i = 0; i < UNIT_COUNT(methods); i++) {
		atomic_store(&account->login_asked_ms, 0);
		int64_t before_ms = clock_boottime_ms(&clock_system);
		json_object_put(ask_login(methods[i], i == 0 ? 200 : 202));
		ck_assert_int_ge(atomic_load(&account->login_asked_ms), before_ms);
	}
	scene_close();
}
END_TEST

START_TEST(refuses_a_login_that_there_cannot_be)
{
	static const char *const methods[] = {"GET", "POST"};
	struct account *account = open_login_scene();
	account->settings.has_login = false;
	for (size_t i = 0; i < UNIT_COUNT(methods); i++) {
		assert_error(ask(methods[i], "/v1/accounts/anchors/login", ""), 409, "no_login",
			"account_key, which nobody logs in to");
		assert_error(ask(methods[i], "/v1/accounts/nobody/login", ""), 404, "not_found",
			"no account of this name");
		assert_error(ask(methods[i], "/v1/accounts/anchors/login?x=1", ""), 400,
			"bad_request", "'x'");
	}
	ck_assert_uint_eq(atomic_load(&account->requests), 0);
	scene_close();
}
END_TEST

START_TEST(answers_get_head_and_post_for_a_login_and_no_more)
{
	static const char *const methods[] = {"PUT", "DELETE", "PATCH", "OPTIONS", "post"};
	open_login_scene();
	for (size_t i = 0; i < UNIT_COUNT(methods); i++) {
		struct reply reply = ask(methods[i], "/v1/accounts/anchors/login", "");
		ck_assert_str_eq(header_of(&reply, "Allow"), "GET, HEAD, POST");
		assert_error(reply, 405, "method_not_allowed", "GET, HEAD and POST only");
	}
	assert_status(ask("HEAD", "/v1/accounts/anchors/login", ""), 200, "HEAD");
	assert_status(
		ask("POST", "/v1/accounts/anchors/login", "Content-Length: 0\r\n"), 202, "POST");
	assert_error(ask("POST", "/v1/accounts/anchors/login", "Content-Length: 2\r\n\r\n{}"), 413,
		"body_not_allowed", "nothing here takes one");
	scene_close();
}
END_TEST

UNIT_MAIN("routes", gives_the_token_as_json, gives_the_token_in_other_forms,
	reads_the_accept_header, answers_head_as_get_without_the_body, tells_why_there_is_no_token,
	tells_that_there_is_no_default_account, finds_each_path_and_no_other,
	refuses_a_name_that_is_too_long, answers_get_and_head_only,
	refuses_parameters_that_it_does_not_know, refuses_a_request_with_a_body,
	refuses_requests_beyond_its_limits, survives_what_is_no_request,
	takes_a_request_letter_by_letter, keeps_a_connection_for_many_requests,
	every_answer_has_its_own_request_id, makes_room_at_its_limit, sees_a_new_table_at_once,
	lists_the_accounts_without_a_secret, is_alive_whatever_the_tokens_are,
	is_ready_when_every_required_account_has_a_token, serves_on_several_listeners,
	changes_its_listeners_while_it_serves, finishes_an_open_answer_of_a_listener_that_goes,
	finishes_an_open_answer_when_it_stops, waits_no_longer_than_its_grace_when_it_stops,
	tells_how_far_a_login_is, shows_the_code_of_a_login, says_why_a_login_failed,
	asks_for_a_login_by_post_and_wakes_who_does_it, joins_a_login_that_is_under_way,
	begins_another_login_after_the_last, remembers_when_somebody_asked_about_a_login,
	refuses_a_login_that_there_cannot_be, answers_get_head_and_post_for_a_login_and_no_more,
	answers_what_arrived_before_it_stopped, stops_when_nobody_is_there)
