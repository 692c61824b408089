#include "credential/shared_token.h"
#include "upstream/upstream.h"

#include "asking.h"
#include "scripted.h"
#include "unit.h"

static const struct credential_kind kind = {.name = "scripted", SCRIPTED_FUNCTIONS};

/* Two accounts with one credential. */
static const struct account_settings accounts[] = {
	{.name = (char *)"one", .kind = (char *)"entra", .scope = (char *)SCOPE},
	{.name = (char *)"two", .kind = (char *)"entra", .scope = (char *)SCOPE},
};

static struct loop *loop;
static struct scripted giver;
static size_t bytes_before;

struct told {
	int calls;
	bool has_token;
	char token[64];
	struct upstream_token parts; /* without the secret */
	struct error err;
	struct secret **takes_into; /* NULL: it is not taken */
};

static void on_done(void *context, struct upstream_token *token, const struct error *err)
{
	struct told *told = context;
	told->calls++;
	told->has_token = token != NULL;
	if (token == NULL) {
		told->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	snprintf(told->token, sizeof(told->token), "%s", secret_bytes(token->token));
	told->parts = *token;
	told->parts.token = NULL;
	if (told->takes_into != NULL) {
		*told->takes_into = token->token;
		token->token = NULL;
	}
}

static void scene_open(void)
{
	test_boottime_ms = START_MS;
	bytes_before = bytes_in_use();
	loop = make_loop();
	scripted_init(&giver, &kind);
}

static void scene_close(void)
{
	credential_close(&giver.credential);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

static struct upstream_exchange *start(size_t i, struct told *told)
{
	return upstream_entra.start(&accounts[i], &giver.credential, loop, on_done, told);
}

static void finish(const struct told *told)
{
	for (int round = 0; round < 100 && told->calls == 0; round++)
		loop_run(loop, 0);
	loop_run(loop, 0);
	ck_assert_int_eq(told->calls, 1);
}

START_TEST(serves_the_entra_token_itself)
{
	struct told told = {0};
	scene_open();
	giver.refresh_in_ms = 1800000;
	giver.given_by = "managed_identity";
	ck_assert_ptr_nonnull(start(0, &told));
	ck_assert_int_eq(told.calls, 0);
	finish(&told);
	ck_assert_str_eq(told.token, "the-token");
	ck_assert_str_eq(giver.last_scope, SCOPE);
	ck_assert_int_eq(told.parts.expires_on, TODAY_S + 3600);
	ck_assert_int_eq(told.parts.dead_at_ms, START_MS + 3600000);
	ck_assert_int_eq(told.parts.refresh_at_ms, START_MS + 1800000);
	ck_assert_int_eq(told.parts.server_date_s, -1);
	ck_assert_str_eq(told.parts.given_by, "managed_identity");
	ck_assert(!told.parts.is_static);
	scene_close();
}
END_TEST

START_TEST(gives_accounts_with_one_credential_the_same_token_in_one_exchange)
{
	struct told told[2] = {0};
	scene_open();
	giver.is_late = true;
	ck_assert_ptr_nonnull(start(0, &told[0]));
	ck_assert_ptr_nonnull(start(1, &told[1]));
	scripted_answer(&giver);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(told[i].calls, 1);
		ck_assert_str_eq(told[i].token, "the-token");
		ck_assert_int_eq(told[i].parts.refresh_at_ms, 0); /* not told */
	}
	ck_assert_uint_eq(giver.asked, 1);
	scene_close();
}
END_TEST

START_TEST(lets_each_account_take_a_copy_of_its_own)
{
	struct secret *taken[2] = {0};
	struct told told[2] = {{.takes_into = &taken[0]}, {.takes_into = &taken[1]}};
	scene_open();
	for (size_t i = 0; i < 2; i++) {
		start(i, &told[i]);
		finish(&told[i]);
	}
	ck_assert_ptr_ne(taken[0], taken[1]);
	for (int i = 0; i < 2; i++) {
		ck_assert_str_eq(secret_bytes(taken[i]), "the-token");
		secret_free(taken[i]);
	}
	ck_assert_uint_eq(giver.asked, 1);
	scene_close();
}
END_TEST

START_TEST(does_not_take_an_older_token_for_a_refresh)
{
	struct told told = {0};
	scene_open();
	start(0, &told);
	finish(&told);
	test_boottime_ms += 40 * 60000;
	giver.token = NULL;
	giver.failure = ERR_NETWORK;
	told = (struct told){0};
	start(0, &told);
	finish(&told);
	ck_assert(!told.has_token);
	ck_assert_int_eq(told.err.code, ERR_NETWORK);
	scene_close();
}
END_TEST

START_TEST(serves_a_static_token)
{
	struct told told = {0};
	scene_open();
	giver.is_static = true;
	giver.refresh_in_ms = 10000;
	start(0, &told);
	finish(&told);
	ck_assert(told.parts.is_static);
	ck_assert_int_eq(told.parts.refresh_at_ms, START_MS + 10000);
	scene_close();
}
END_TEST

START_TEST(passes_on_why_there_is_none)
{
	struct told told = {0};
	scene_open();
	giver.token = NULL;
	giver.failure = ERR_THROTTLED;
	giver.reason = "too often";
	giver.retry_after_s = 17;
	start(0, &told);
	finish(&told);
	ck_assert(!told.has_token);
	ck_assert_int_eq(told.err.code, ERR_THROTTLED);
	ck_assert_str_eq(told.err.message, "too often");
	ck_assert_int_eq(told.err.retry_after_s, 17);
	scene_close();
}
END_TEST

START_TEST(tells_from_start_that_the_credential_cannot_be_asked)
{
	struct told told = {0};
	scene_open();
	giver.cannot_be_asked = true;
	giver.failure = ERR_SECRET_SOURCE;
	ck_assert_ptr_null(start(0, &told));
	ck_assert_int_eq(told.calls, 1);
	ck_assert_int_eq(told.err.code, ERR_SECRET_SOURCE);
	scene_close();
}
END_TEST

START_TEST(is_cancelled_without_disturbing_another_account)
{
	struct told told[2] = {0};
	scene_open();
	giver.is_late = true;
	struct upstream_exchange *first = start(0, &told[0]);
	struct upstream_exchange *second = start(1, &told[1]);
	upstream_entra.cancel(first);
	ck_assert_uint_eq(giver.cancelled, 0);
	upstream_entra.cancel(second);
	ck_assert_uint_eq(giver.cancelled, 1);
	loop_run(loop, 0);
	ck_assert_int_eq(told[0].calls + told[1].calls, 0);
	scene_close();
}
END_TEST

START_TEST(takes_any_credential_but_an_account_key)
{
	for (size_t i = 0; credential_kinds[i] != NULL; i++) {
		const struct credential_settings settings = {
			.kinds = {&kind, credential_kinds[i]}, .kind_count = 2};
		struct error err = ERROR_INIT;
		bool is_key = credential_kinds[i] == &credential_account_key;
		ck_assert_int_eq(upstream_entra.check(&settings, &err), is_key ? -1 : 0);
		if (is_key) {
			ck_assert_int_eq(err.code, ERR_CONFIGURATION);
			ck_assert_ptr_nonnull(strstr(err.message, "takes no account_key"));
		}
	}
}
END_TEST

START_TEST(is_found_by_its_kind_and_wants_a_scope)
{
	ck_assert_ptr_eq(upstream_find("entra"), &upstream_entra);
	ck_assert_ptr_null(upstream_find("Entra"));
	ck_assert_str_eq(upstream_entra.keys[0], "!scope");
	ck_assert_ptr_null(upstream_entra.keys[1]);
}
END_TEST

UNIT_MAIN("entra", serves_the_entra_token_itself,
	gives_accounts_with_one_credential_the_same_token_in_one_exchange,
	lets_each_account_take_a_copy_of_its_own, does_not_take_an_older_token_for_a_refresh,
	serves_a_static_token, passes_on_why_there_is_none,
	tells_from_start_that_the_credential_cannot_be_asked,
	is_cancelled_without_disturbing_another_account, takes_any_credential_but_an_account_key,
	is_found_by_its_kind_and_wants_a_scope)
