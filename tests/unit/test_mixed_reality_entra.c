/*
 * The exchange at the STS with a token of Microsoft Entra ID in the place of an account key; and
 * what needs no exchange. With account keys: test_mixed_reality.c.
 */
#include "base/text.h"
#include "credential/shared_token.h"
#include "upstream/upstream.h"

#include "asking.h"
#include "scripted.h"
#include "tls_server.h"
#include "unit.h"

#define ID "11111111-2222-3333-4444-55555555aabb"
#define STS_SCOPE "https://sts.mixedreality.azure.com//.default"
#define ENTRA_TOKEN "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJzdHMifQ.RW50cmFTaWduYXR1cmU"
#define DENIED "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"

static const struct credential_kind kind = {.name = "scripted", SCRIPTED_FUNCTIONS};

static struct server server;
static struct loop *loop;
static struct scripted giver;
static struct account_settings account;
static size_t bytes_before;

static struct {
	int calls;
	bool has_token;
	char token[256];
	struct upstream_token parts; /* without the secret */
	char notice[256];
	struct error err;
} told;

static void on_done(void *context, struct upstream_token *token, const struct error *err)
{
	ck_assert_ptr_eq(context, &told);
	told.calls++;
	told.has_token = token != NULL;
	told.err = ERROR_INIT;
	if (token == NULL) {
		told.err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	snprintf(told.token, sizeof(told.token), "%s", secret_bytes(token->token));
	told.parts = *token;
	told.parts.token = NULL;
	snprintf(
		told.notice, sizeof(told.notice), "%s", token->notice == NULL ? "" : token->notice);
}

/* An STS token that lives for a day from today. */
static const char *sts_token(void)
{
	static char token[256];
	static const char claims[] = "{\"exp\":1709337600}";
	strcpy(token, "eyJhbGciOiJSUzI1NiJ9.");
	base64url_encode((const unsigned char *)claims, strlen(claims), token + strlen(token));
	strcat(token, ".c2lnbmF0dXJl");
	return token;
}

static const char *good_answer(void)
{
	static char answer[1024];
	char body[512];
	snprintf(body, sizeof(body), "{\"AccessToken\":\"%s\"}", sts_token());
	return text_of(answer, sizeof(answer),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Fri, 01 Mar 2024 "
		"00:00:00 GMT\r\n",
		body);
}

static void scene_open(const char *const *answers)
{
	test_boottime_ms = START_MS;
	bytes_before = bytes_in_use();
	server_start(&server, answers);
	loop = make_loop();
	scripted_init(&giver, &kind);
	giver.token = ENTRA_TOKEN;
	account = (struct account_settings){
		.name = (char *)"anchors",
		.kind = (char *)"mixed_reality",
		.account_id = (char *)ID,
		.account_domain = (char *)"eastus.example.com",
		.endpoint = server.origin,
		.scope = (char *)STS_SCOPE,
		.ca_file = server.ca_file,
	};
}

static struct upstream_exchange *start(void)
{
	told.calls = 0;
	return upstream_mixed_reality.start(&account, &giver.credential, loop, on_done, &told);
}

static void exchange(void)
{
	ck_assert_ptr_nonnull(start());
	ck_assert_int_eq(told.calls, 0);
	while (told.calls == 0)
		loop_run(loop, 1000);
	loop_run(loop, 0);
	ck_assert_int_eq(told.calls, 1);
}

static void scene_close(void)
{
	ck_assert_ptr_null(giver.call);
	credential_close(&giver.credential);
	loop_free(loop);
	server_stop(&server);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

static void assert_good(void)
{
	ck_assert_msg(told.has_token, "%s", told.err.message);
	ck_assert_str_eq(told.token, sts_token());
}

static void assert_failed(enum error_code code, const char *words)
{
	ck_assert(!told.has_token);
	ck_assert_msg(told.err.code == code && strstr(told.err.message, words) != NULL,
		"%s, not %s with '%s': %s", error_code_name(told.err.code), error_code_name(code),
		words, told.err.message);
	ck_assert_ptr_null(strstr(told.err.message, "eyJ0eXAi"));
	ck_assert_ptr_null(strstr(told.err.message, "RW50cmFT"));
}

/* ---- the exchange ------------------------------------------------------------------------------
 */

START_TEST(shows_an_entra_token_for_the_sts)
{
	char value[256];
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	giver.given_by = "managed_identity";
	exchange();
	assert_good();
	ck_assert_int_eq(told.parts.expires_on, TODAY_S + 86400);
	ck_assert_int_eq(told.parts.server_date_s, TODAY_S);
	ck_assert_str_eq(told.parts.given_by, "managed_identity");
	ck_assert(!told.parts.is_static);
	ck_assert_str_eq(giver.last_scope, STS_SCOPE);
	ck_assert_uint_eq(giver.accepted, 1);
	scene_close();
	ck_assert_str_eq(
		header_of(request_of(&server, 0), "Authorization", value), "Bearer " ENTRA_TOKEN);
}
END_TEST

START_TEST(shows_one_entra_token_in_several_exchanges)
{
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	for (int i = 0; i < 3; i++) {
		exchange();
		assert_good();
	}
	ck_assert_uint_eq(giver.asked, 1);
	scene_close();
	ck_assert_uint_eq(server.count, 3);
}
END_TEST

START_TEST(asks_for_another_entra_token_when_the_sts_refuses_an_older_one)
{
	char value[256];
	const char *const answers[] = {good_answer(), DENIED, good_answer(), NULL};
	scene_open(answers);
	exchange();
	giver.token = "eyJ.another.one";
	exchange();
	assert_good();
	ck_assert_uint_eq(giver.asked, 2);
	ck_assert_uint_eq(giver.refused, 1);
	ck_assert_ptr_eq(giver.last_account, &account);
	scene_close();
	ck_assert_str_eq(header_of(request_of(&server, 2), "Authorization", value),
		"Bearer eyJ.another.one");
}
END_TEST

START_TEST(asks_for_no_other_when_the_sts_refuses_one_that_is_new)
{
	const char *const answers[] = {DENIED, NULL};
	scene_open(answers);
	exchange();
	assert_failed(ERR_DENIED, "answered 401");
	assert_failed(ERR_DENIED, "check that the credential is of the account's tenant");
	ck_assert_uint_eq(giver.asked, 1);
	ck_assert_uint_eq(server.count, 1);
	/* But the next exchange begins with a new one. */
	exchange();
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(ends_when_the_second_entra_token_is_refused_too)
{
	const char *const answers[] = {good_answer(), DENIED, NULL};
	scene_open(answers);
	exchange();
	exchange();
	assert_failed(ERR_DENIED, "answered 401");
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
	ck_assert_uint_eq(server.count, 3);
}
END_TEST

START_TEST(says_what_to_do_where_the_principal_has_no_role)
{
	char answer[256];
	const char *const answers[] = {
		text_of(answer, sizeof(answer), "HTTP/1.1 403 No\r\n", "no role"), NULL};
	scene_open(answers);
	exchange();
	assert_failed(ERR_DENIED, "answered 403 with no role; give the credential's principal a "
				  "role on the account");
	ck_assert_uint_eq(giver.refused, 0);
	scene_close();
}
END_TEST

START_TEST(withholds_every_part_of_the_entra_token)
{
	static const char *const bodies[] = {"the token " ENTRA_TOKEN " is wrong",
		"found RW50cmFTaWduYXR1cmU", "eyJ0eXAiOiJKV1Qi"};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++) {
		char answer[512];
		const char *const answers[] = {
			text_of(answer, sizeof(answer), "HTTP/1.1 400 No\r\n", bodies[i]), NULL};
		scene_open(answers);
		exchange();
		assert_failed(ERR_REFUSED, "withheld");
		scene_close();
	}
}
END_TEST

/* ---- the credential ----------------------------------------------------------------------------
 */

START_TEST(passes_on_why_there_is_no_entra_token)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	giver.token = NULL;
	giver.failure = ERR_THROTTLED;
	giver.reason = "too often";
	giver.retry_after_s = 17;
	exchange();
	ck_assert_str_eq(told.err.message, "too often");
	ck_assert_int_eq(told.err.code, ERR_THROTTLED);
	ck_assert_int_eq(told.err.retry_after_s, 17);
	scene_close();
	ck_assert_uint_eq(server.count, 0);
}
END_TEST

START_TEST(tells_from_start_that_the_credential_cannot_be_asked)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	giver.cannot_be_asked = true;
	giver.failure = ERR_SECRET_SOURCE;
	giver.reason = "no such file";
	ck_assert_ptr_null(start());
	ck_assert_int_eq(told.calls, 1);
	assert_failed(ERR_SECRET_SOURCE, "no such file");
	scene_close();
}
END_TEST

START_TEST(goes_on_with_the_entra_token_that_cannot_be_renewed)
{
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	exchange();
	test_boottime_ms += 40 * 60000; /* of its hour */
	giver.token = NULL;
	giver.failure = ERR_NETWORK;
	exchange();
	assert_good();
	ck_assert_uint_eq(giver.asked, 2);
	scene_close();
}
END_TEST

START_TEST(asks_a_key_for_no_scope)
{
	const char *const answers[] = {good_answer(), NULL};
	scene_open(answers);
	account.scope = NULL;
	giver.is_account_key = true;
	exchange();
	assert_good();
	ck_assert_str_eq(giver.last_scope, "");
	scene_close();
}
END_TEST

/* ---- what needs no exchange --------------------------------------------------------------------
 */

START_TEST(hands_out_a_static_token_as_it_is)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	giver.token = "eyJ.of.somebody";
	giver.is_static = true;
	giver.refresh_in_ms = 10000;
	exchange();
	ck_assert_msg(told.has_token, "%s", told.err.message);
	ck_assert_str_eq(told.token, "eyJ.of.somebody");
	ck_assert(told.parts.is_static);
	ck_assert_int_eq(told.parts.dead_at_ms, START_MS + 3600000);
	ck_assert_int_eq(told.parts.refresh_at_ms, START_MS + 10000);
	ck_assert_int_eq(told.parts.expires_on, TODAY_S + 3600);
	ck_assert_int_eq(told.parts.server_date_s, -1);
	scene_close();
	ck_assert_uint_eq(server.count, 0);
	ck_assert_uint_eq(server.connections, 0);
}
END_TEST

/* ---- cancelling --------------------------------------------------------------------------------
 */

START_TEST(is_cancelled_while_it_waits_for_the_entra_token)
{
	static const char *const silence[] = {NULL};
	scene_open(silence);
	giver.is_late = true;
	upstream_mixed_reality.cancel(start());
	ck_assert_uint_eq(giver.cancelled, 1);
	loop_run(loop, 0);
	ck_assert_int_eq(told.calls, 0);
	scene_close();
}
END_TEST

START_TEST(does_not_disturb_another_account_that_waits_for_the_same)
{
	const char *const answers[] = {good_answer(), NULL};
	struct upstream_exchange *other;
	scene_open(answers);
	giver.is_late = true;
	other = start();
	ck_assert_ptr_nonnull(start());
	upstream_mixed_reality.cancel(other);
	ck_assert_uint_eq(giver.cancelled, 0);
	scripted_answer(&giver);
	while (told.calls == 0)
		loop_run(loop, 1000);
	assert_good();
	ck_assert_uint_eq(giver.asked, 1);
	scene_close();
}
END_TEST

START_TEST(takes_the_sts_to_take_any_credential)
{
	const struct credential_settings settings = {
		.kinds = {&credential_account_key}, .kind_count = 1};
	ck_assert_int_eq(upstream_mixed_reality.check(&settings, NULL), 0);
	ck_assert_str_eq(upstream_mixed_reality.keys[0], "!account_id");
	ck_assert_str_eq(upstream_mixed_reality.keys[1], "!account_domain");
}
END_TEST

UNIT_MAIN("mixed_reality_entra", shows_an_entra_token_for_the_sts,
	shows_one_entra_token_in_several_exchanges,
	asks_for_another_entra_token_when_the_sts_refuses_an_older_one,
	asks_for_no_other_when_the_sts_refuses_one_that_is_new,
	ends_when_the_second_entra_token_is_refused_too,
	says_what_to_do_where_the_principal_has_no_role, withholds_every_part_of_the_entra_token,
	passes_on_why_there_is_no_entra_token, tells_from_start_that_the_credential_cannot_be_asked,
	goes_on_with_the_entra_token_that_cannot_be_renewed, asks_a_key_for_no_scope,
	hands_out_a_static_token_as_it_is, is_cancelled_while_it_waits_for_the_entra_token,
	does_not_disturb_another_account_that_waits_for_the_same,
	takes_the_sts_to_take_any_credential)
