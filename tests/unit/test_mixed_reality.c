#include "base/clock.h"
#include "base/text.h"
#include "credential/shared_token.h"
#include "upstream/upstream.h"

#include "tls_server.h"
#include "unit.h"

#define ACCOUNT_ID "11111111-2222-3333-4444-55555555aAbB"
#define KEY_ONE "FirstKeyFirstKeyFirstKeyFirstKeyFirstKeyFi8="
#define KEY_TWO "SecondKeySecond/Second+SecondKeySecondKeySe="
#define EXPIRES_ON INT64_C(1709337600)

/* ---- a credential that does as it is told ------------------------------------------------------
 */

struct scripted {
	struct credential credential;
	struct secret *bearers[2];
	unsigned current;
	bool fails;
	bool is_late; /* answers when the test says so */
	bool fails_once_refused;
	bool is_late_once_refused;
	unsigned others; /* how many refusals lead to another bearer */
	unsigned asked;
	unsigned refused;
	unsigned accepted;
	bool is_entra; /* the bearers are access tokens, and so may be shared */
	struct loop *loop;
	struct loop_timer timer;
	struct credential_call call;
	bool is_asked; /* one is being waited for */
};

static void answer_bearer(struct scripted *self)
{
	self->is_asked = false;
	if (self->fails) {
		struct error err = ERROR_INIT;
		error_set(&err, ERR_SECRET_SOURCE, "no bearer today");
		self->call.done(self->call.context, NULL, &err);
		return;
	}
	/* It lives until the function returns, and no longer. */
	struct access_token token = {
		.token = secret_from(secret_bytes(self->bearers[self->current]),
			secret_len(self->bearers[self->current])),
		.dead_at_ms = self->is_entra ? loop_now_ms(self->loop) + 3600000 : INT64_MAX,
		.refresh_at_ms = -1,
		.is_account_key = !self->is_entra,
	};
	self->call.done(self->call.context, &token, NULL);
	secret_free(token.token);
}

static void on_bearer_timer(void *context)
{
	answer_bearer(context);
}

static struct credential_call *scripted_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct scripted *self = (struct scripted *)credential;
	ck_assert_ptr_nonnull(scope);
	ck_assert(!self->is_asked);
	(void)err;
	self->asked++;
	self->is_asked = true;
	self->loop = loop;
	self->call = (struct credential_call){credential, done, context};
	self->timer.fire = on_bearer_timer;
	self->timer.context = self;
	if (!self->is_late)
		ck_assert_int_eq(loop_timer_set(loop, &self->timer, 0), 0);
	return &self->call;
}

static void scripted_cancel(struct credential_call *call)
{
	struct scripted *self = (struct scripted *)call->credential;
	loop_timer_cancel(self->loop, &self->timer);
	self->is_asked = false;
}

static bool scripted_refused(
	struct credential *credential, const struct account_settings *account, unsigned refusals)
{
	struct scripted *self = (struct scripted *)credential;
	ck_assert_str_eq(account->name, "anchors");
	self->refused++;
	ck_assert_uint_eq(refusals, self->refused);
	if (self->refused > self->others)
		return false;
	self->current = 1 - self->current;
	self->fails = self->fails || self->fails_once_refused;
	self->is_late = self->is_late || self->is_late_once_refused;
	return true;
}

static void scripted_accepted(struct credential *credential)
{
	((struct scripted *)credential)->accepted++;
}

static const struct credential_kind scripted_kind = {
	.name = "scripted",
	.ask = scripted_ask,
	.cancel = scripted_cancel,
	.refused = scripted_refused,
	.accepted = scripted_accepted,
};

/* Without what is optional. */
static const struct credential_kind plain_kind = {
	.name = "plain",
	.ask = scripted_ask,
	.cancel = scripted_cancel,
};

/* ---- an exchange with all that it needs --------------------------------------------------------
 */

struct scene {
	struct secret_memory before;
	struct server server;
	struct loop *loop;
	struct account_settings account;
	struct scripted credential;
	struct upstream_exchange *exchange;
	int calls;
	bool has_token;
	char token[512];
	int64_t expires_on;
	int64_t server_date_s;
	struct error err;
};

static void on_done(void *context, struct upstream_token *token, const struct error *err)
{
	struct scene *scene = context;
	scene->calls++;
	scene->exchange = NULL;
	scene->has_token = token != NULL;
	if (token == NULL) {
		scene->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	snprintf(scene->token, sizeof(scene->token), "%s", secret_bytes(token->token));
	scene->expires_on = token->expires_on;
	scene->server_date_s = token->server_date_s;
}

static void scene_open(struct scene *scene, const char *const *answers)
{
	struct error err = ERROR_INIT;
	memset(scene, 0, sizeof(*scene));
	secret_memory_usage(&scene->before);
	server_start(&scene->server, answers);
	scene->loop = loop_new(&clock_system, &err);
	ck_assert_ptr_nonnull(scene->loop);
	scene->account = (struct account_settings){
		.name = strdup("anchors"),
		.kind = strdup("mixed_reality"),
		.account_id = strdup(ACCOUNT_ID),
		.account_domain = strdup("eastus.example.com"),
		.endpoint = strdup(scene->server.origin),
		.ca_file = strdup(scene->server.ca_file),
	};
	scene->credential.credential.kind = &scripted_kind;
	scene->credential.bearers[0] =
		secret_from(ACCOUNT_ID ":" KEY_ONE, strlen(ACCOUNT_ID ":" KEY_ONE));
	scene->credential.bearers[1] =
		secret_from(ACCOUNT_ID ":" KEY_TWO, strlen(ACCOUNT_ID ":" KEY_TWO));
}

static void scene_start(struct scene *scene)
{
	scene->calls = 0;
	scene->exchange = upstream_mixed_reality.start(
		&scene->account, &scene->credential.credential, scene->loop, on_done, scene);
	/* Either it is there, or the end was told. */
	ck_assert((scene->exchange == NULL) == (scene->calls == 1));
}

static void scene_finish(struct scene *scene)
{
	while (scene->calls == 0)
		loop_run(scene->loop, 1000);
	ck_assert_int_eq(scene->calls, 1);
}

/* Nothing secret is left behind. */
static void scene_close(struct scene *scene)
{
	struct secret_memory after;
	for (int i = 0; i < 3; i++)
		loop_run(scene->loop, 0);
	shared_token_free_all(&scene->credential.credential);
	loop_free(scene->loop);
	secret_free(scene->credential.bearers[0]);
	secret_free(scene->credential.bearers[1]);
	account_settings_clear(&scene->account);
	server_stop(&scene->server);
	secret_memory_usage(&after);
	ck_assert_uint_eq(after.bytes_in_use, scene->before.bytes_in_use);
}

/* A token whose payload is `claims`. */
static const char *token_of(const char *claims)
{
	static char token[1024];
	strcpy(token, "eyJhbGciOiJSUzI1NiJ9.");
	base64url_encode((const unsigned char *)claims, strlen(claims), token + strlen(token));
	strcat(token, ".c2lnbmF0dXJl");
	return token;
}

static const char *good_token(void)
{
	return token_of("{\"exp\":1709337600}");
}

#define GOOD_HEAD                                                              \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n" \
	"MS-CV: AAAAAAAAAAAAAAAAAAAAAA.0\r\nDate: Fri, 01 Mar 2024 00:00:00 GMT\r\n"

static const char *good_answer(char *out, size_t size)
{
	char body[1024];
	snprintf(body, sizeof(body), "{\"AccessToken\":\"%s\"}", good_token());
	return text_of(out, size, GOOD_HEAD, body);
}

/* One exchange with one answer. The scene is closed again; what it found stays. */
static void exchange_once(struct scene *scene, const char *head, const char *body)
{
	char answer[8192];
	const char *const answers[] = {text_of(answer, sizeof(answer), head, body), NULL};
	scene_open(scene, answers);
	scene_start(scene);
	scene_finish(scene);
	scene_close(scene);
}

static void assert_says(const struct scene *scene, const char *words)
{
	ck_assert_msg(strstr(scene->err.message, words) != NULL, "no '%s' in: %s", words,
		scene->err.message);
}

static void assert_does_not_say(const struct scene *scene, const char *words)
{
	ck_assert_msg(strstr(scene->err.message, words) == NULL, "'%s' in: %s", words,
		scene->err.message);
}

static void assert_failed(const struct scene *scene, enum error_code code, int status)
{
	ck_assert(!scene->has_token);
	ck_assert_msg(scene->err.code == code, "%s, not %s: %s", error_code_name(scene->err.code),
		error_code_name(code), scene->err.message);
	ck_assert_int_eq(scene->err.http_status, status);
	assert_does_not_say(scene, KEY_ONE);
	for (const char *at = scene->err.message; *at != '\0'; at++)
		ck_assert_msg(*at >= 0x20 && *at < 0x7f, "not printable: %s", scene->err.message);
}

/* ---- the exchange ------------------------------------------------------------------------------
 */

START_TEST(gives_the_token_and_its_times)
{
	struct scene scene;
	char answer[2048];
	const char *const answers[] = {good_answer(answer, sizeof(answer)), NULL};
	scene_open(&scene, answers);
	scene_start(&scene);
	ck_assert_ptr_nonnull(scene.exchange);
	scene_finish(&scene);
	ck_assert_msg(scene.has_token, "%s", scene.err.message);
	ck_assert_str_eq(scene.token, good_token());
	ck_assert_int_eq(scene.expires_on, EXPIRES_ON);
	ck_assert_int_eq(scene.server_date_s, EXPIRES_ON - 86400);
	ck_assert_uint_eq(scene.credential.accepted, 1);
	ck_assert_uint_eq(scene.credential.refused, 0);
	scene_close(&scene);
}
END_TEST

static void take_token(void *context, struct upstream_token *token, const struct error *err)
{
	struct secret **taken = context;
	ck_assert_ptr_null(err);
	*taken = token->token;
	token->token = NULL;
}

START_TEST(lets_the_token_be_taken)
{
	struct scene scene;
	char answer[2048];
	const char *const answers[] = {good_answer(answer, sizeof(answer)), NULL};
	struct secret *taken = NULL;
	scene_open(&scene, answers);
	upstream_mixed_reality.start(
		&scene.account, &scene.credential.credential, scene.loop, take_token, &taken);
	while (taken == NULL)
		loop_run(scene.loop, 1000);
	ck_assert_str_eq(secret_bytes(taken), good_token());
	secret_free(taken);
	scene_close(&scene);
}
END_TEST

START_TEST(tells_that_the_answer_has_no_date)
{
	struct scene scene;
	char body[1024];
	snprintf(body, sizeof(body), "{\"AccessToken\":\"%s\"}", good_token());
	exchange_once(&scene, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", body);
	ck_assert(scene.has_token);
	ck_assert_int_eq(scene.server_date_s, -1);
}
END_TEST

START_TEST(does_without_what_a_credential_may_leave_out)
{
	struct scene scene;
	char answer[2048];
	const char *const answers[] = {
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
		good_answer(answer, sizeof(answer)),
		NULL,
	};
	scene_open(&scene, answers);
	scene.credential.credential.kind = &plain_kind;
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_DENIED, 401);
	scene_start(&scene);
	scene_finish(&scene);
	ck_assert(scene.has_token);
	scene_close(&scene);
}
END_TEST

START_TEST(sends_the_request_of_the_protocol)
{
	struct scene scene;
	char answer[2048];
	char value[256];
	char names[512] = "";
	const char *const answers[] = {good_answer(answer, sizeof(answer)), NULL};
	scene_open(&scene, answers);
	scene_start(&scene);
	scene_finish(&scene);
	scene_close(&scene);
	const char *request = scene.server.requests[0];
	static const char line[] =
		"GET /Accounts/" ACCOUNT_ID "/token?api-version=2019-02-28-preview HTTP/1.1\r\n";
	ck_assert_msg(strncmp(request, line, sizeof(line) - 1) == 0, "%s", request);
	ck_assert_str_eq(
		header_of(request, "Authorization", value), "Bearer " ACCOUNT_ID ":" KEY_ONE);
	ck_assert_str_eq(header_of(request, "Accept", value), "application/json");
	ck_assert_str_eq(header_of(request, "Host", value), scene.server.origin + 8);
	ck_assert_int_eq(strncmp(header_of(request, "User-Agent", value), "mrtokend/", 9), 0);
	ck_assert_int_eq(strlen(header_of(request, "X-MRC-CV", value)), 22);
	header_of(request, "x-ms-client-request-id", value);
	ck_assert_msg(is_uuid(value), "%s", value);
	/* And no other. */
	for (const char *at = strstr(request, "\r\n") + 2; *at != '\r'; at = strstr(at, "\r\n") + 2)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%.*s ",
			(int)strcspn(at, ":"), at);
	ck_assert_str_eq(
		names, "Host Authorization Accept User-Agent X-MRC-CV x-ms-client-request-id ");
}
END_TEST

START_TEST(encodes_the_account_id_as_one_segment)
{
	struct scene scene;
	char answer[2048];
	const char *const answers[] = {good_answer(answer, sizeof(answer)), NULL};
	scene_open(&scene, answers);
	free(scene.account.account_id);
	scene.account.account_id = strdup("a/b?c#d e%f\"\xc3\xa4");
	scene_start(&scene);
	scene_finish(&scene);
	scene_close(&scene);
	static const char line[] =
		"GET /Accounts/a%2Fb%3Fc%23d%20e%25f%22%C3%A4/token?api-version=";
	ck_assert_msg(strncmp(scene.server.requests[0], line, sizeof(line) - 1) == 0, "%s",
		scene.server.requests[0]);
}
END_TEST

START_TEST(sends_a_fresh_correlation_vector_each_time)
{
	struct scene scene;
	char answer[2048];
	char vectors[50][256];
	unsigned seen[256] = {0};
	const char *const answers[] = {good_answer(answer, sizeof(answer)), NULL};
	scene_open(&scene, answers);
	for (size_t i = 0; i < UNIT_COUNT(vectors); i++) {
		scene_start(&scene);
		scene_finish(&scene);
		header_of(scene.server.requests[i], "X-MRC-CV", vectors[i]);
		ck_assert_uint_eq(strlen(vectors[i]), 22);
		ck_assert_uint_eq(
			strspn(vectors[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
					   "uvwxyz0123456789+/"),
			22);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(vectors[i], vectors[j]);
		for (size_t j = 0; j < 22; j++)
			seen[(unsigned char)vectors[i][j]]++;
	}
	scene_close(&scene);
	/* 1,100 letters: each of the 64 is missing in one of about 500,000 runs. */
	unsigned different = 0;
	for (size_t i = 0; i < UNIT_COUNT(seen); i++)
		different += seen[i] > 0;
	ck_assert_uint_ge(different, 60);
}
END_TEST

/* ---- statuses ----------------------------------------------------------------------------------
 */

START_TEST(tells_every_status_for_what_it_is)
{
	static const struct {
		int status;
		enum error_code code;
		const char *advice;
	} cases[] = {
		{201, ERR_REFUSED, "endpoint"},
		{204, ERR_REFUSED, "endpoint"},
		{302, ERR_REFUSED, "endpoint"},
		{304, ERR_REFUSED, "endpoint"},
		{400, ERR_REFUSED, "endpoint"},
		{401, ERR_DENIED, "key"},
		{403, ERR_DENIED, "key"},
		{404, ERR_REFUSED, "account_id"},
		{408, ERR_TIMEOUT, ""},
		{429, ERR_THROTTLED, ""},
		{499, ERR_REFUSED, "account_domain"},
		{500, ERR_UPSTREAM_FAULT, ""},
		{501, ERR_UPSTREAM_FAULT, ""},
		{502, ERR_UPSTREAM_FAULT, ""},
		{503, ERR_THROTTLED, ""},
		{504, ERR_UPSTREAM_FAULT, ""},
		{599, ERR_UPSTREAM_FAULT, ""},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct scene scene;
		char head[256];
		char status[8];
		bool has_body = cases[i].status != 204 && cases[i].status != 304;
		snprintf(head, sizeof(head),
			"HTTP/1.1 %d Words\r\nMS-CV: CvCvCvCvCvCvCvCvCvCvCv.0\r\nRetry-After: "
			"7\r\n",
			cases[i].status);
		exchange_once(&scene, head, has_body ? "the reason" : "");
		assert_failed(&scene, cases[i].code, cases[i].status);
		snprintf(status, sizeof(status), "%d", cases[i].status);
		assert_says(&scene, scene.server.origin);
		assert_says(&scene, status);
		assert_says(&scene, "MS-CV CvCvCvCvCvCvCvCvCvCvCv.0");
		assert_says(&scene, has_body ? "the reason" : "an empty body");
		assert_says(&scene, cases[i].advice);
		if (cases[i].advice[0] == '\0')
			assert_does_not_say(&scene, "check");
		ck_assert_str_eq(scene.err.correlation_vector, "CvCvCvCvCvCvCvCvCvCvCv.0");
		ck_assert_int_eq(scene.err.retry_after_s, 7);
		ck_assert_uint_eq(scene.credential.accepted, 0);
		/* Only a 401 says something of the bearer. */
		ck_assert_uint_eq(scene.credential.refused, cases[i].status == 401);
	}
}
END_TEST

START_TEST(says_what_the_upstream_says_of_the_error)
{
	static const struct {
		const char *headers;
		const char *body;
		const char *words;
	} cases[] = {
		{"", "", "an empty body"},
		{"", "plain words", "with plain words"},
		{"", "{\"error\":{\"code\":\"Denied\",\"message\":\"No such key\"}}",
			"with Denied: No such key"},
		{"", "{\"code\":\"Denied\",\"message\":\"No such key\"}",
			"with Denied: No such key"},
		{"", "{\"error\":{\"message\":\"No such key\"}}", "with No such key"},
		{"", "{\"error\":{\"code\":\"Denied\"}}", "with Denied"},
		{"", "{\"error\":{\"code\":\"Denied\",\"message\":null}}", "with Denied"},
		{"", "{\"error\":{\"code\":5,\"message\":[]}}", "with {\"error\""},
		{"", "{\"error\":\"invalid_client\"}", "with {\"error\":\"invalid_client\"}"},
		{"", "[1,2]", "with [1,2]"},
		{"", "{\"error\":{\"co", "with {\"error\":{\"co"},
		{"", "null", "with null"},
		{"WWW-Authenticate: Bearer error=\"bad\"\r\n", "words",
			"500, Bearer error=\"bad\" with words"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct scene scene;
		char head[256];
		snprintf(head, sizeof(head), "HTTP/1.1 500 Words\r\n%s", cases[i].headers);
		exchange_once(&scene, head, cases[i].body);
		assert_failed(&scene, ERR_UPSTREAM_FAULT, 500);
		assert_says(&scene, cases[i].words);
		assert_does_not_say(&scene, "MS-CV");
		ck_assert_str_eq(scene.err.correlation_vector, "");
		ck_assert_int_eq(scene.err.retry_after_s, -1);
	}
}
END_TEST

START_TEST(cuts_what_is_long)
{
	struct scene scene;
	char body[4001];
	char head[1024];
	for (size_t i = 0; i < sizeof(body) - 1; i++)
		body[i] = i % 5 == 4 ? ' ' : 'w';
	body[sizeof(body) - 1] = '\0';
	snprintf(head, sizeof(head), "HTTP/1.1 401 Words\r\nWWW-Authenticate: %.600s\r\n", body);
	exchange_once(&scene, head, body);
	assert_failed(&scene, ERR_DENIED, 401);
	/* Neither pushes the other or the advice out. */
	size_t letters = 0;
	for (const char *at = scene.err.message; *at != '\0'; at++)
		letters += *at == 'w';
	ck_assert_uint_gt(letters, 200);
	ck_assert_uint_lt(letters, 320);
	assert_says(&scene, " with wwww");
	assert_says(&scene, "; check the account's id and key");
}
END_TEST

START_TEST(shows_no_control_characters)
{
	struct scene scene;
	exchange_once(&scene, "HTTP/1.1 500 Words\r\nWWW-Authenticate: a\033[31mb\r\n",
		"one\ntwo\r\033]0;x\007 \x7f \xc3\xa4");
	assert_failed(&scene, ERR_UPSTREAM_FAULT, 500);
	assert_says(&scene, "a?[31mb");
	assert_says(&scene, "one?two??]0;x? ? ??");
	exchange_once(&scene, "HTTP/1.1 500 Words\r\n",
		"{\"message\":\"one\\ntwo\\u001b[2J\\u0000three\"}");
	assert_failed(&scene, ERR_UPSTREAM_FAULT, 500);
	assert_says(&scene, "one?two?[2J");
}
END_TEST

START_TEST(withholds_what_repeats_the_credential)
{
	static const struct {
		const char *headers;
		const char *body;
	} cases[] = {
		{"", "the key " KEY_ONE " is wrong"},
		{"", "the key FirstKey... is wrong"},
		{"", "{\"message\":\"the key " KEY_ONE " is wrong\"}"},
		{"", "{\"code\":\"FirstKeyF\"}"},
		{"", "{\"error\":{\"message\":\"FirstKeyFirst\"}}"},
		{"", "Bearer " ACCOUNT_ID ":" KEY_ONE},
		{"", "{\"other\":\"\\u0046irstKey\",\"message\":\"FirstKey\"}"},
		{"WWW-Authenticate: Bearer key=\"" KEY_ONE "\"\r\n", "words"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct scene scene;
		char head[256];
		snprintf(head, sizeof(head), "HTTP/1.1 401 Words\r\n%s", cases[i].headers);
		exchange_once(&scene, head, cases[i].body);
		assert_failed(&scene, ERR_DENIED, 401);
		assert_does_not_say(&scene, "FirstKey");
		assert_says(&scene, "withheld");
	}
}
END_TEST

/* A key in JSON may have its '/' escaped, and one in a URL its '+'. */
START_TEST(withholds_the_credential_in_other_spellings)
{
	static const char *const bodies[] = {
		"{\"detail\":\"SecondK\\/ySecond\\/Second+SecondKeySecondKeySe=\"}",
		"key=Se%63ondKeySecond%2FSecond%2BSecondKeySecondKeySe%3D",
	};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++) {
		struct scene scene;
		exchange_once(&scene, "HTTP/1.1 500 Words\r\n", bodies[i]);
		assert_failed(&scene, ERR_UPSTREAM_FAULT, 500);
		assert_does_not_say(&scene, "ondKeySe");
	}
}
END_TEST

START_TEST(withholds_words_as_long_as_a_token)
{
	static const struct {
		const char *body;
		const char *shown;
	} cases[] = {
		{"see aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde for it", "with see * for it"},
		{"see aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd for it",
			"see aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd for it"},
		{"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2ln", "with *"},
		{"\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+/-_==\"!", "with \"*\"!"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct scene scene;
		exchange_once(&scene, "HTTP/1.1 400 Words\r\n", cases[i].body);
		assert_failed(&scene, ERR_REFUSED, 400);
		assert_says(&scene, cases[i].shown);
		char json[256];
		snprintf(json, sizeof(json), "{\"message\":\"%s\"}",
			cases[i].body[0] == '"' ? "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+/"
						: cases[i].body);
		exchange_once(&scene, "HTTP/1.1 400 Words\r\n", json);
		assert_says(&scene, cases[i].body[0] == '"' ? "with *" : cases[i].shown);
	}
}
END_TEST

/* ---- 200, but not with a token of use ----------------------------------------------------------
 */

START_TEST(refuses_an_answer_without_a_token)
{
	static const struct {
		const char *body;
		const char *words;
	} cases[] = {
		{"", "complete JSON object"},
		{"{}", "AccessToken"},
		{"[]", "complete JSON object"},
		{"null", "complete JSON object"},
		{"\"eyJ.eyJ.x\"", "complete JSON object"},
		{"{\"AccessToken\":\"eyJ", "complete JSON object"},
		{"{\"AccessToken\":\"a.b.c\"", "complete JSON object"},
		{"not JSON", "complete JSON object"},
		{"<html>sign in</html>", "complete JSON object"},
		{"{\"accesstoken\":\"a.b.c\"}", "AccessToken"},
		{"{\"accessToken\":\"a.b.c\"}", "AccessToken"},
		{"{\"AccessToken\":null}", "AccessToken"},
		{"{\"AccessToken\":5}", "AccessToken"},
		{"{\"AccessToken\":{}}", "AccessToken"},
		{"{\"AccessToken\":[\"a.b.c\"]}", "AccessToken"},
		{"{\"AccessToken\":\"\"}", "AccessToken"},
		{"{\"AccessToken\":\"opaque\"}", "JWT"},
		{"{\"AccessToken\":\"a.!.c\"}", "JWT"},
		{"{\"AccessToken\":\"a..c\"}", "JWT"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct scene scene;
		exchange_once(&scene, GOOD_HEAD, cases[i].body);
		assert_failed(&scene, ERR_UPSTREAM_FORMAT, 200);
		assert_says(&scene, cases[i].words);
		assert_says(&scene, scene.server.origin);
		assert_says(&scene, "answered 200, MS-CV AAAAAAAAAAAAAAAAAAAAAA.0");
		ck_assert_str_eq(scene.err.correlation_vector, "AAAAAAAAAAAAAAAAAAAAAA.0");
		ck_assert_uint_eq(scene.credential.accepted, 0);
	}
}
END_TEST

START_TEST(refuses_a_token_without_an_expiry)
{
	static const char *const claims[] = {
		"{}",
		"{\"exp\":0}",
		"{\"exp\":-5}",
		"{\"exp\":null}",
		"{\"exp\":\"soon\"}",
		"{\"iat\":1709337600}",
		"[]",
	};
	for (size_t i = 0; i < UNIT_COUNT(claims); i++) {
		struct scene scene;
		char body[1024];
		snprintf(body, sizeof(body), "{\"AccessToken\":\"%s\"}", token_of(claims[i]));
		exchange_once(&scene, GOOD_HEAD, body);
		assert_failed(&scene, ERR_UPSTREAM_FORMAT, 200);
		/* The token itself is not told. */
		assert_does_not_say(&scene, "eyJ");
		ck_assert_uint_eq(scene.credential.accepted, 0);
	}
}
END_TEST

START_TEST(takes_json_only)
{
	static const struct {
		const char *type;
		bool is_taken;
	} cases[] = {
		{"Content-Type: application/json\r\n", true},
		{"Content-Type: Application/JSON;charset=utf-8\r\n", true},
		{"Content-Type: application/json ; charset=utf-8\r\n", true},
		{"Content-Type: text/html\r\n", false},
		{"Content-Type: text/plain\r\n", false},
		{"Content-Type: application/jsonp\r\n", false},
		{"Content-Type: application/json-seq\r\n", false},
		{"Content-Type: x-application/json\r\n", false},
		{"Content-Type: \r\n", false},
		{"", false},
	};
	char body[1024];
	snprintf(body, sizeof(body), "{\"AccessToken\":\"%s\"}", good_token());
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct scene scene;
		char head[256];
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%s", cases[i].type);
		exchange_once(&scene, head, body);
		ck_assert_msg(scene.has_token == cases[i].is_taken, "%s", cases[i].type);
		if (cases[i].is_taken)
			continue;
		assert_failed(&scene, ERR_UPSTREAM_FORMAT, 200);
		assert_says(&scene, "Content-Type");
		assert_says(&scene, "application/json");
		if (cases[i].type[0] == '\0')
			assert_says(&scene, "(none)");
	}
}
END_TEST

START_TEST(refuses_an_answer_that_is_too_long)
{
	struct scene scene;
	size_t size = 300000;
	char *body = malloc(size);
	char *answer = malloc(size + 1024);
	memset(body, ' ', size);
	snprintf(body + size - 1024, 1024, "{\"AccessToken\":\"%s\"}", good_token());
	const char *const answers[] = {text_of(answer, size + 1024, GOOD_HEAD, body), NULL};
	scene_open(&scene, answers);
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_UPSTREAM_FORMAT, 0);
	assert_says(&scene, "more than");
	scene_close(&scene);
	free(body);
	free(answer);
}
END_TEST

START_TEST(passes_on_why_there_was_no_answer)
{
	struct scene scene;
	const char *const answers[] = {NULL};
	scene_open(&scene, answers);
	unlink(scene.account.ca_file);
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_CONFIGURATION, 0);
	assert_says(&scene, scene.account.ca_file);
	scene_close(&scene);
}
END_TEST

/* ---- the credential ----------------------------------------------------------------------------
 */

START_TEST(fails_when_the_credential_does)
{
	struct scene scene;
	const char *const answers[] = {NULL};
	scene_open(&scene, answers);
	scene.credential.fails = true;
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_SECRET_SOURCE, 0);
	ck_assert_str_eq(scene.err.message, "no bearer today");
	scene_close(&scene);
	ck_assert_uint_eq(scene.server.count, 0);
}
END_TEST

START_TEST(waits_for_a_credential_that_answers_later)
{
	struct scene scene;
	char answer[2048];
	const char *const answers[] = {good_answer(answer, sizeof(answer)), NULL};
	scene_open(&scene, answers);
	scene.credential.is_late = true;
	scene_start(&scene);
	ck_assert_ptr_nonnull(scene.exchange);
	for (int i = 0; i < 3; i++)
		loop_run(scene.loop, 0);
	ck_assert_uint_eq(count_of(&scene.server), 0);
	answer_bearer(&scene.credential);
	scene_finish(&scene);
	ck_assert(scene.has_token);
	/* And one that fails later. */
	scene_start(&scene);
	scene.credential.fails = true;
	answer_bearer(&scene.credential);
	ck_assert_int_eq(scene.calls, 1);
	assert_failed(&scene, ERR_SECRET_SOURCE, 0);
	scene_close(&scene);
}
END_TEST

START_TEST(tries_another_bearer_when_one_was_refused)
{
	struct scene scene;
	char answer[2048];
	char value[256];
	const char *const answers[] = {
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
		good_answer(answer, sizeof(answer)),
		NULL,
	};
	scene_open(&scene, answers);
	scene.credential.others = 1;
	scene_start(&scene);
	scene_finish(&scene);
	ck_assert(scene.has_token);
	ck_assert_uint_eq(scene.credential.asked, 2);
	ck_assert_uint_eq(scene.credential.refused, 1);
	ck_assert_uint_eq(scene.credential.accepted, 1);
	scene_close(&scene);
	ck_assert_uint_eq(scene.server.count, 2);
	ck_assert_str_eq(header_of(scene.server.requests[0], "Authorization", value),
		"Bearer " ACCOUNT_ID ":" KEY_ONE);
	ck_assert_str_eq(header_of(scene.server.requests[1], "Authorization", value),
		"Bearer " ACCOUNT_ID ":" KEY_TWO);
	char first[256];
	ck_assert_str_ne(header_of(scene.server.requests[0], "X-MRC-CV", first),
		header_of(scene.server.requests[1], "X-MRC-CV", value));
}
END_TEST

START_TEST(ends_when_every_bearer_was_refused)
{
	struct scene scene;
	const char *const answers[] = {
		"HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nfirst",
		"HTTP/1.1 401 No\r\nContent-Length: 39\r\n\r\nsecond "
		"SecondKeySecond/Second+SecondKey",
		NULL,
	};
	scene_open(&scene, answers);
	scene.credential.others = 1;
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_DENIED, 401);
	/* What is withheld is the key that was sent last. */
	assert_says(&scene, "withheld");
	assert_does_not_say(&scene, "SecondKey");
	ck_assert_uint_eq(scene.credential.refused, 2);
	scene_close(&scene);
	ck_assert_uint_eq(scene.server.count, 2);
}
END_TEST

START_TEST(ends_when_the_other_bearer_cannot_be_had)
{
	struct scene scene;
	const char *const answers[] = {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", NULL};
	scene_open(&scene, answers);
	scene.credential.others = 1;
	scene.credential.fails_once_refused = true;
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_SECRET_SOURCE, 0);
	scene_close(&scene);
	ck_assert_uint_eq(scene.server.count, 1);
}
END_TEST

/* A bearer without a colon is secret from its first letter. */
START_TEST(withholds_a_bearer_of_another_form)
{
	struct scene scene;
	const char *const answers[] = {
		"HTTP/1.1 400 No\r\nContent-Length: 17\r\n\r\nfound OpaqueBeare", NULL};
	scene_open(&scene, answers);
	secret_free(scene.credential.bearers[0]);
	scene.credential.bearers[0] = secret_from("OpaqueBearerOpaqueBearer", 24);
	scene_start(&scene);
	scene_finish(&scene);
	assert_failed(&scene, ERR_REFUSED, 400);
	assert_does_not_say(&scene, "Opaque");
	assert_says(&scene, "withheld");
	scene_close(&scene);
}
END_TEST

/* ---- cancelling --------------------------------------------------------------------------------
 */

static void cancel(struct scene *scene)
{
	ck_assert_ptr_nonnull(scene->exchange);
	upstream_mixed_reality.cancel(scene->exchange);
	/* Whatever the server does now is no business of the exchange any more. */
	server_hang_up(&scene->server);
	for (int i = 0; i < 5; i++)
		loop_run(scene->loop, 5);
	ck_assert_int_eq(scene->calls, 0);
	scene_close(scene);
}

START_TEST(is_cancelled_while_it_waits_for_the_bearer)
{
	struct scene scene;
	const char *const answers[] = {NULL};
	scene_open(&scene, answers);
	scene.credential.is_late = true;
	scene_start(&scene);
	cancel(&scene);
}
END_TEST

START_TEST(is_cancelled_before_the_request_is_sent)
{
	struct scene scene;
	const char *const answers[] = {NULL};
	scene_open(&scene, answers);
	scene_start(&scene);
	cancel(&scene);
}
END_TEST

START_TEST(is_cancelled_while_it_waits_for_the_answer)
{
	struct scene scene;
	const char *const answers[] = {NULL};
	scene_open(&scene, answers);
	scene_start(&scene);
	while (count_of(&scene.server) == 0)
		loop_run(scene.loop, 5);
	cancel(&scene);
}
END_TEST

START_TEST(is_cancelled_in_the_middle_of_the_answer)
{
	struct scene scene;
	const char *const answers[] = {GOOD_HEAD "Content-Length: 5000\r\n\r\n{\"Acc", NULL};
	scene_open(&scene, answers);
	scene_start(&scene);
	while (count_of(&scene.server) == 0)
		loop_run(scene.loop, 5);
	for (int i = 0; i < 5; i++)
		loop_run(scene.loop, 5);
	cancel(&scene);
}
END_TEST

START_TEST(is_cancelled_while_it_waits_for_the_other_bearer)
{
	struct scene scene;
	const char *const answers[] = {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", NULL};
	scene_open(&scene, answers);
	scene.credential.others = 1;
	scene.credential.is_late_once_refused = true;
	scene_start(&scene);
	while (scene.credential.asked < 2)
		loop_run(scene.loop, 5);
	cancel(&scene);
}
END_TEST

START_TEST(is_found_by_its_kind)
{
	ck_assert_ptr_eq(upstream_find("mixed_reality"), &upstream_mixed_reality);
	ck_assert_ptr_null(upstream_find("mixed_realit"));
	ck_assert_ptr_null(upstream_find("Mixed_Reality"));
	ck_assert_ptr_null(upstream_find(""));
	for (size_t i = 0; upstreams[i] != NULL; i++)
		ck_assert_ptr_eq(upstream_find(upstreams[i]->kind), upstreams[i]);
}
END_TEST

UNIT_MAIN("mixed_reality", gives_the_token_and_its_times, lets_the_token_be_taken,
	tells_that_the_answer_has_no_date, does_without_what_a_credential_may_leave_out,
	sends_the_request_of_the_protocol, encodes_the_account_id_as_one_segment,
	sends_a_fresh_correlation_vector_each_time, tells_every_status_for_what_it_is,
	says_what_the_upstream_says_of_the_error, cuts_what_is_long, shows_no_control_characters,
	withholds_what_repeats_the_credential, withholds_the_credential_in_other_spellings,
	withholds_words_as_long_as_a_token, refuses_an_answer_without_a_token,
	refuses_a_token_without_an_expiry, takes_json_only, refuses_an_answer_that_is_too_long,
	passes_on_why_there_was_no_answer, fails_when_the_credential_does,
	waits_for_a_credential_that_answers_later, tries_another_bearer_when_one_was_refused,
	ends_when_every_bearer_was_refused, ends_when_the_other_bearer_cannot_be_had,
	withholds_a_bearer_of_another_form, is_cancelled_while_it_waits_for_the_bearer,
	is_cancelled_before_the_request_is_sent, is_cancelled_while_it_waits_for_the_answer,
	is_cancelled_in_the_middle_of_the_answer, is_cancelled_while_it_waits_for_the_other_bearer,
	is_found_by_its_kind)
