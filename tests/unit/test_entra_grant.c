#include "credential/entra_grant.h"

#include "base/text.h"

#include "asking.h"
#include "tls_server.h"
#include "unit.h"

#define TENANT "e2a1c0de-0000-4000-8000-000000000001"
#define CLIENT "a1a1c0de-0000-4000-8000-000000000002"
#define SECRET "Sup3r~S3cret/Of+TheApp="
#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
#define GOOD_HEAD JSON_HEAD "Date: Fri, 01 Mar 2024 00:00:00 GMT\r\n"
#define GOOD_BODY                                                                 \
	"{\"token_type\":\"Bearer\",\"expires_in\":3599,\"ext_expires_in\":3599," \
	"\"access_token\":\"eyJ.the-token\"}"

/* ---- a grant with all that it needs ------------------------------------------------------------
 */

static struct server server;
static struct loop *loop;
static size_t bytes_before;
static struct entra_grant *grant;
static struct secret *secret;

/* What `done` was told. */
static struct {
	int calls;
	bool has_answer;
	bool takes_all;
	char token[128];
	char refresh_token[128];
	struct access_token parts;
	struct error err;
	struct entra_error error;
	struct secret *taken[2];
} told;

static void on_done(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error)
{
	ck_assert_ptr_eq(context, &told);
	told.calls++;
	grant = NULL;
	told.has_answer = answer != NULL;
	ck_assert_ptr_nonnull(error);
	told.error = *error;
	if (answer == NULL) {
		told.err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	snprintf(told.token, sizeof(told.token), "%s", secret_bytes(answer->token.token));
	if (answer->refresh_token != NULL)
		snprintf(told.refresh_token, sizeof(told.refresh_token), "%s",
			secret_bytes(answer->refresh_token));
	told.parts = answer->token;
	if (told.takes_all) {
		told.taken[0] = answer->token.token;
		told.taken[1] = answer->refresh_token;
		answer->token.token = answer->refresh_token = NULL;
	}
}

static void scene_open(const char *const *answers)
{
	memset(&told, 0, sizeof(told));
	test_boottime_ms = START_MS;
	bytes_before = bytes_in_use();
	server_start(&server, answers);
	loop = make_loop();
	secret = secret_from(SECRET, strlen(SECRET));
}

static void start(const struct entra_form *form)
{
	struct error err = ERROR_INIT;
	const struct entra_tenant tenant = {server.origin, TENANT, server.ca_file};
	grant = entra_grant_start(&tenant, form, loop, on_done, &told, &err);
	ck_assert_msg(grant != NULL, "%s", err.message);
	ck_assert_int_eq(told.calls, 0);
}

static void start_with_secret(void)
{
	const struct entra_form form = {
		.grant_type = "client_credentials",
		.client_id = CLIENT,
		.scope = SCOPE,
		.client_secret = secret,
	};
	start(&form);
}

static void finish(void)
{
	while (told.calls == 0)
		loop_run(loop, 1000);
	ck_assert_int_eq(told.calls, 1);
}

/* Nothing secret is left behind. */
static void scene_close(void)
{
	for (int i = 0; i < 3; i++)
		loop_run(loop, 0);
	ck_assert_int_le(told.calls, 1);
	loop_free(loop);
	secret_free(secret);
	server_stop(&server);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

/* One grant with one answer. */
static void grant_once(const char *head, const char *body)
{
	static char answer[REQUEST_SIZE];
	const char *const answers[] = {text_of(answer, sizeof(answer), head, body), NULL};
	scene_open(answers);
	start_with_secret();
	finish();
	scene_close();
}

static void assert_failed(enum error_code code, const char *words)
{
	ck_assert(!told.has_answer);
	ck_assert_msg(told.err.code == code, "%s, not %s: %s", error_code_name(told.err.code),
		error_code_name(code), told.err.message);
	ck_assert_msg(
		strstr(told.err.message, words) != NULL, "no '%s' in: %s", words, told.err.message);
	ck_assert_ptr_null(strstr(told.err.message, "Sup3r"));
	ck_assert_ptr_null(strstr(told.err.message, "eyJ"));
}

/* ---- what is sent ------------------------------------------------------------------------------
 */

START_TEST(sends_the_form_of_each_grant)
{
	_cleanup_secret_ struct secret *other = secret_from("0.A&B=", 6);
	const struct {
		struct entra_form form;
		const char *body;
	} cases[] = {
		{{.grant_type = "client_credentials",
			 .client_id = CLIENT,
			 .scope = SCOPE,
			 .client_secret = other},
			"client_id=" CLIENT "&grant_type=client_credentials&scope=https%3A%2F%2F"
			"example.com%2F.default&client_secret=0.A%26B%3D"},
		{{.grant_type = "client_credentials",
			 .client_id = CLIENT,
			 .scope = SCOPE,
			 .client_assertion = other},
			"client_id=" CLIENT "&grant_type=client_credentials&scope=https%3A%2F%2F"
			"example.com%2F.default&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%"
			"3Aclient-assertion-type%3Ajwt-bearer&client_assertion=0.A%26B%3D"},
		{{.grant_type = "refresh_token",
			 .client_id = CLIENT,
			 .scope = "a b",
			 .refresh_token = other,
			 .wants_client_info = true},
			"client_id=" CLIENT "&grant_type=refresh_token&scope=a%20b&refresh_token="
			"0.A%26B%3D&client_info=1"},
		{{.grant_type = "urn:ietf:params:oauth:grant-type:device_code",
			 .client_id = CLIENT,
			 .device_code = other},
			"client_id=" CLIENT "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%"
			"3Adevice_code&device_code=0.A%26B%3D"},
		{{.grant_type = "password",
			 .client_id = CLIENT,
			 .scope = SCOPE,
			 .user_name = "user@example.com",
			 .password = other},
			"client_id=" CLIENT "&grant_type=password&scope=https%3A%2F%2Fexample.com%"
			"2F.default&username=user%40example.com&password=0.A%26B%3D"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char answer[1024];
		const char *const answers[] = {
			text_of(answer, sizeof(answer), GOOD_HEAD, GOOD_BODY), NULL};
		scene_open(answers);
		start(&cases[i].form);
		finish();
		scene_close();
		ck_assert_str_eq(body_of(request_of(&server, 0)), cases[i].body);
	}
}
END_TEST

START_TEST(sends_it_to_the_tenants_token_endpoint)
{
	char value[256];
	char names[512] = "";
	grant_once(GOOD_HEAD, GOOD_BODY);
	const char *request = request_of(&server, 0);
	static const char line[] = "POST /" TENANT "/oauth2/v2.0/token HTTP/1.1\r\n";
	ck_assert_msg(strncmp(request, line, sizeof(line) - 1) == 0, "%s", request);
	ck_assert_str_eq(header_of(request, "Host", value), server.origin + 8);
	ck_assert_str_eq(header_of(request, "Accept", value), "application/json");
	ck_assert_str_eq(
		header_of(request, "Content-Type", value), "application/x-www-form-urlencoded");
	ck_assert_int_eq(strncmp(header_of(request, "User-Agent", value), "mrtokend/", 9), 0);
	ck_assert(is_uuid(header_of(request, "client-request-id", value)));
	/* And no other. */
	for (const char *at = strstr(request, "\r\n") + 2; *at != '\r'; at = strstr(at, "\r\n") + 2)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%.*s ",
			(int)strcspn(at, ":"), at);
	ck_assert_str_eq(
		names, "Host Accept User-Agent client-request-id Content-Length Content-Type ");
}
END_TEST

START_TEST(sends_a_fresh_request_id_each_time)
{
	char answer[1024];
	char ids[2][256];
	const char *const answers[] = {text_of(answer, sizeof(answer), GOOD_HEAD, GOOD_BODY), NULL};
	scene_open(answers);
	for (int i = 0; i < 2; i++) {
		told.calls = 0;
		start_with_secret();
		finish();
	}
	scene_close();
	for (unsigned i = 0; i < 2; i++)
		header_of(request_of(&server, i), "client-request-id", ids[i]);
	ck_assert_str_ne(ids[0], ids[1]);
}
END_TEST

START_TEST(copies_what_it_is_given)
{
	char answer[1024];
	const char *const answers[] = {text_of(answer, sizeof(answer), GOOD_HEAD, GOOD_BODY), NULL};
	struct error err = ERROR_INIT;
	scene_open(answers);
	char authority[64];
	char tenant_id[] = "a/b c";
	char client_id[] = CLIENT;
	char grant_type[] = "client_credentials";
	char scope[] = "the-scope";
	char ca_file[64];
	strcpy(authority, server.origin);
	strcpy(ca_file, server.ca_file);
	const struct entra_tenant tenant = {authority, tenant_id, ca_file};
	const struct entra_form form = {
		.grant_type = grant_type,
		.client_id = client_id,
		.scope = scope,
		.client_secret = secret,
	};
	grant = entra_grant_start(&tenant, &form, loop, on_done, &told, &err);
	ck_assert_ptr_nonnull(grant);
	memset(authority, '!', sizeof(authority) - 1);
	memset(tenant_id, '!', sizeof(tenant_id) - 1);
	memset(client_id, '!', sizeof(client_id) - 1);
	memset(grant_type, '!', sizeof(grant_type) - 1);
	memset(scope, '!', sizeof(scope) - 1);
	memset(ca_file, '!', sizeof(ca_file) - 1);
	secret_truncate(secret, 0);
	finish();
	scene_close();
	ck_assert_int_eq(strncmp(request_of(&server, 0), "POST /a%2Fb%20c/oauth2/", 23), 0);
	ck_assert_str_eq(body_of(request_of(&server, 0)),
		"client_id=" CLIENT "&grant_type=client_credentials&scope=the-scope&client_secret="
		"Sup3r~S3cret%2FOf%2BTheApp%3D");
}
END_TEST

/* ---- what comes back ---------------------------------------------------------------------------
 */

START_TEST(gives_the_token_and_its_times)
{
	static const struct {
		const char *members;
		int64_t life_s;
		int64_t refresh_in_s; /* -1: not told */
	} cases[] = {
		{"\"token_type\":\"Bearer\",\"expires_in\":3599", 3599, -1},
		{"\"token_type\":\"bearer\",\"expires_in\":\"3599\"", 3599, -1},
		{"\"expires_in\":86399,\"refresh_in\":43199", 86399, 43199},
		{"\"expires_in\":86399,\"refresh_in\":null", 86399, -1},
		{"\"expires_on\":\"1709254800\",\"expires_in\":\"60\"", 3600, -1},
		{"\"expires_on\":1709254800", 3600, -1},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char body[512];
		snprintf(body, sizeof(body), "{%s,\"access_token\":\"eyJ.the-token\"}",
			cases[i].members);
		test_realtime_s = TODAY_S + 7777; /* this host's own clock does not count */
		grant_once(GOOD_HEAD, body);
		ck_assert_msg(told.has_answer, "%s: %s", cases[i].members, told.err.message);
		ck_assert_str_eq(told.token, "eyJ.the-token");
		ck_assert_str_eq(told.refresh_token, "");
		ck_assert_int_eq(told.parts.expires_on, TODAY_S + cases[i].life_s);
		ck_assert_int_eq(told.parts.dead_at_ms, START_MS + cases[i].life_s * 1000);
		ck_assert_int_eq(told.parts.refresh_at_ms,
			cases[i].refresh_in_s < 0 ? -1 : START_MS + cases[i].refresh_in_s * 1000);
		ck_assert(!told.parts.is_account_key && !told.parts.is_static);
	}
}
END_TEST

START_TEST(counts_the_life_from_the_sending)
{
	char answer[1024];
	const char *const answers[] = {text_of(answer, sizeof(answer), GOOD_HEAD, GOOD_BODY), NULL};
	scene_open(answers);
	start_with_secret();
	test_boottime_ms += 12000;
	finish();
	scene_close();
	ck_assert_int_eq(told.parts.dead_at_ms, START_MS + 3599000);
}
END_TEST

START_TEST(gives_a_refresh_token_where_there_is_one)
{
	grant_once(GOOD_HEAD, "{\"expires_in\":3599,\"access_token\":\"eyJ.the-token\","
			      "\"refresh_token\":\"0.ARefreshToken\"}");
	ck_assert_str_eq(told.refresh_token, "0.ARefreshToken");
	grant_once(GOOD_HEAD, "{\"expires_in\":3599,\"access_token\":\"eyJ.the-token\","
			      "\"refresh_token\":null}");
	ck_assert(told.has_answer);
	ck_assert_str_eq(told.refresh_token, "");
	grant_once(GOOD_HEAD, "{\"expires_in\":3599,\"access_token\":\"eyJ.the-token\","
			      "\"refresh_token\":\"\"}");
	assert_failed(ERR_UPSTREAM_FORMAT, "refresh_token");
}
END_TEST

START_TEST(lets_the_tokens_be_taken)
{
	char answer[1024];
	const char *const answers[] = {
		text_of(answer, sizeof(answer), GOOD_HEAD,
			"{\"expires_in\":3599,\"access_token\":\"eyJ.the-token\","
			"\"refresh_token\":\"0.ARefreshToken\"}"),
		NULL};
	scene_open(answers);
	told.takes_all = true;
	start_with_secret();
	finish();
	loop_run(loop, 0);
	ck_assert_str_eq(secret_bytes(told.taken[0]), "eyJ.the-token");
	ck_assert_str_eq(secret_bytes(told.taken[1]), "0.ARefreshToken");
	secret_free(told.taken[0]);
	secret_free(told.taken[1]);
	scene_close();
}
END_TEST

START_TEST(refuses_an_answer_that_is_of_no_use)
{
	static const struct {
		const char *head;
		const char *body;
		const char *words;
	} cases[] = {
		{JSON_HEAD, "", "complete JSON object"},
		{JSON_HEAD, "[]", "complete JSON object"},
		{JSON_HEAD, "{\"access_token\":\"eyJ.the", "complete JSON object"},
		{JSON_HEAD, "{}", "neither expires_on nor expires_in"},
		{JSON_HEAD, "{\"access_token\":\"eyJ.t\"}", "neither expires_on nor expires_in"},
		{JSON_HEAD, "{\"expires_in\":3599}", "no member access_token"},
		{JSON_HEAD, "{\"expires_in\":3599,\"access_token\":null}",
			"no member access_token"},
		{JSON_HEAD, "{\"expires_in\":3599,\"access_token\":\"\"}",
			"no member access_token"},
		{JSON_HEAD, "{\"expires_in\":3599,\"access_token\":{\"t\":\"eyJ.t\"}}",
			"no member access_token"},
		{JSON_HEAD, "{\"expires_in\":\"soon\",\"access_token\":\"eyJ.t\"}",
			"expires_in is no number"},
		{JSON_HEAD, "{\"expires_in\":-5,\"access_token\":\"eyJ.t\"}",
			"expires_in is no number"},
		{JSON_HEAD, "{\"expires_in\":0,\"access_token\":\"eyJ.t\"}", "a life ahead"},
		{JSON_HEAD, "{\"expires_on\":1,\"access_token\":\"eyJ.t\"}", "a life ahead"},
		{JSON_HEAD, "{\"expires_in\":5,\"expires_on\":[],\"access_token\":\"eyJ.t\"}",
			"expires_on is no number"},
		{JSON_HEAD, "{\"expires_in\":5,\"refresh_in\":\"x\",\"access_token\":\"eyJ.t\"}",
			"refresh_in is no number"},
		/* What could break out of the header that shows it. */
		{JSON_HEAD, "{\"expires_in\":5,\"access_token\":\"eyJ\\r\\nX-Injected: yes\"}",
			"the byte at offset 3 of access_token has no place in a token"},
		{JSON_HEAD, "{\"token_type\":\"pop\",\"expires_in\":5,\"access_token\":\"eyJ.t\"}",
			"token_type is not Bearer"},
		{"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", "<html>Sign in</html>",
			"captive portal"},
		{"HTTP/1.1 200 OK\r\n", GOOD_BODY, "Content-Type (none)"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char start_of[128];
		test_realtime_s = TODAY_S;
		grant_once(cases[i].head, cases[i].body);
		assert_failed(ERR_UPSTREAM_FORMAT, cases[i].words);
		snprintf(start_of, sizeof(start_of),
			"%s answered 200, but not with a token of use: ", server.origin);
		ck_assert_msg(strncmp(told.err.message, start_of, strlen(start_of)) == 0, "%s",
			told.err.message);
		ck_assert_int_eq(told.err.http_status, 200);
		ck_assert_str_eq(told.error.error, "");
	}
}
END_TEST

START_TEST(passes_on_an_error_of_entra_whole)
{
	grant_once("HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nRetry-After: "
		   "9\r\n",
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid "
		"client secret Sup3r~S3cret.\",\"trace_id\":\"t\",\"correlation_id\":\"c\"}");
	assert_failed(ERR_DENIED, "answered 401 invalid_client: AADSTS7000215: (withheld");
	assert_failed(ERR_DENIED, ", trace id t, correlation id c; client_secret is wrong");
	ck_assert_int_eq(told.err.http_status, 401);
	ck_assert_int_eq(told.err.retry_after_s, 9);
	ck_assert_str_eq(told.err.upstream_code, "AADSTS7000215");
	ck_assert_str_eq(told.err.correlation_id, "c");
	ck_assert_str_eq(told.error.error, "invalid_client");
	ck_assert_int_eq(told.error.code, 7000215);
}
END_TEST

START_TEST(repeats_none_of_what_was_shown)
{
	static const char words[] = "you sent PassWordOfTheUser and no other";
	static const char *const kinds[] = {
		"client_secret", "client_assertion", "refresh_token", "device_code", "password"};
	for (size_t i = 0; i < UNIT_COUNT(kinds); i++) {
		char answer[1024];
		const char *const answers[] = {
			text_of(answer, sizeof(answer), "HTTP/1.1 400 No\r\n", words), NULL};
		scene_open(answers);
		secret_free(secret);
		secret = secret_from("PassWordOfTheUser", 17);
		struct entra_form form = {.grant_type = "x", .client_id = CLIENT};
		const struct secret **const members[] = {&form.client_secret,
			&form.client_assertion, &form.refresh_token, &form.device_code,
			&form.password};
		*members[i] = secret;
		start(&form);
		finish();
		scene_close();
		assert_failed(ERR_REFUSED, "withheld");
		ck_assert_msg(strstr(told.err.message, "PassWord") == NULL, "%s", kinds[i]);
	}
}
END_TEST

START_TEST(follows_no_redirect)
{
	grant_once("HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\n", "");
	assert_failed(ERR_REFUSED, "answered 302");
	ck_assert_uint_eq(server.count, 1);
}
END_TEST

START_TEST(refuses_an_answer_that_is_too_long)
{
	size_t size = 300000;
	char *body = malloc(size);
	char *answer = malloc(size + 1024);
	memset(body, ' ', size);
	snprintf(body + size - 200, 200, "%s", GOOD_BODY);
	const char *const answers[] = {text_of(answer, size + 1024, GOOD_HEAD, body), NULL};
	scene_open(answers);
	start_with_secret();
	finish();
	scene_close();
	assert_failed(ERR_UPSTREAM_FORMAT, "more than");
	free(body);
	free(answer);
}
END_TEST

START_TEST(passes_on_why_there_was_no_answer)
{
	static const char *const silence[] = {NULL};
	struct error err = ERROR_INIT;
	scene_open(silence);
	/* Whose certificate is known to nobody. */
	const struct entra_tenant tenant = {server.origin, TENANT, NULL};
	const struct entra_form form = {
		.grant_type = "x", .client_id = CLIENT, .client_secret = secret};
	grant = entra_grant_start(&tenant, &form, loop, on_done, &told, &err);
	ck_assert_ptr_nonnull(grant);
	finish();
	assert_failed(ERR_TLS, server.origin);
	ck_assert_str_eq(told.error.error, "");
	ck_assert_int_eq(told.error.code, 0);
	scene_close();
	ck_assert_uint_eq(server.count, 0);
}
END_TEST

START_TEST(tells_that_the_connection_broke)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	start_with_secret();
	while (count_of(&server) == 0)
		loop_run(loop, 5);
	server_hang_up(&server);
	finish();
	assert_failed(ERR_NETWORK, server.origin);
	scene_close();
}
END_TEST

/* ---- cancelling --------------------------------------------------------------------------------
 */

static void cancel(void)
{
	ck_assert_int_eq(told.calls, 0);
	entra_grant_cancel(grant);
	server_hang_up(&server);
	for (int i = 0; i < 5; i++)
		loop_run(loop, 5);
	ck_assert_int_eq(told.calls, 0);
	scene_close();
}

START_TEST(is_cancelled_before_anything_was_sent)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	start_with_secret();
	cancel();
}
END_TEST

START_TEST(is_cancelled_while_it_waits_for_the_answer)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	start_with_secret();
	while (count_of(&server) == 0)
		loop_run(loop, 5);
	cancel();
}
END_TEST

START_TEST(is_cancelled_in_the_middle_of_the_answer)
{
	static const char *const half[] = {
		GOOD_HEAD "Content-Length: 5000\r\n\r\n{\"access_token\":\"eyJ", NULL};
	scene_open(half);
	start_with_secret();
	while (count_of(&server) == 0)
		loop_run(loop, 5);
	for (int i = 0; i < 5; i++)
		loop_run(loop, 5);
	cancel();
}
END_TEST

UNIT_MAIN("entra_grant", sends_the_form_of_each_grant, sends_it_to_the_tenants_token_endpoint,
	sends_a_fresh_request_id_each_time, copies_what_it_is_given, gives_the_token_and_its_times,
	counts_the_life_from_the_sending, gives_a_refresh_token_where_there_is_one,
	lets_the_tokens_be_taken, refuses_an_answer_that_is_of_no_use,
	passes_on_an_error_of_entra_whole, repeats_none_of_what_was_shown, follows_no_redirect,
	refuses_an_answer_that_is_too_long, passes_on_why_there_was_no_answer,
	tells_that_the_connection_broke, is_cancelled_before_anything_was_sent,
	is_cancelled_while_it_waits_for_the_answer, is_cancelled_in_the_middle_of_the_answer)
