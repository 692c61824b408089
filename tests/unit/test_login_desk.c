/*
 * The desk with a credential that does what the test says, and a clock that the test moves.
 */
#include "login_desk.h"

#include "base/log.h"

#include "unit.h"

#define START_MS INT64_C(5000000)
#define CODE "ABCD-1234"

/* ---- the scene ---------------------------------------------------------------------------------
 */

static struct {
	int64_t now_ms;
	struct registry registry;
	struct loop *loop;
	struct account *account;
	struct login_desk *desk;
	unsigned begun;
	unsigned left;
	unsigned done;
	void *done_context;
	enum error_code refuses; /* login() fails with it; ERR_NONE: it does not */
	struct credential_login login; /* the one that waits */
	struct account_login now;
	char scope[64];
} stage;

static int64_t stage_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return stage.now_ms;
}

static int64_t stage_realtime_s(const struct clock *clock)
{
	(void)clock;
	return 1709251200;
}

static const struct clock stage_clock = {stage_boottime_ms, stage_realtime_s};

static struct credential_login *fake_login(struct credential *credential, const char *scope,
	struct loop *loop, credential_login_fn changed, void *context, struct error *err)
{
	ck_assert_ptr_eq(loop, stage.loop);
	stage.begun++;
	snprintf(stage.scope, sizeof(stage.scope), "%s", scope);
	if (stage.refuses != ERR_NONE) {
		error_set(err, stage.refuses, "the file cannot be read");
		return NULL;
	}
	stage.login = (struct credential_login){credential, &stage.now, changed, context};
	return &stage.login;
}

static void fake_leave(struct credential_login *login)
{
	ck_assert_ptr_eq(login, &stage.login);
	stage.left++;
	stage.login = (struct credential_login){0};
}

static const struct credential_kind fake_kind = {
	.name = "fake",
	.login = fake_login,
	.leave_login = fake_leave,
};

static struct credential credential = {.kind = &fake_kind};

/* What the credential tells of the login from now on. */
static void tell(enum account_login_state state, enum error_code code)
{
	struct credential_login login = stage.login;
	stage.now = (struct account_login){.state = state, .error = ERROR_INIT};
	if (state == ACCOUNT_LOGIN_PENDING) {
		strcpy(stage.now.user_code, CODE);
		strcpy(stage.now.verification_uri, "https://login.example/device");
		snprintf(stage.now.message, sizeof(stage.now.message), "enter " CODE);
	}
	if (code != ERR_NONE)
		error_set(&stage.now.error, code, "it was declined");
	if (state == ACCOUNT_LOGIN_DONE || state == ACCOUNT_LOGIN_FAILED)
		stage.login = (struct credential_login){0};
	login.changed(login.context, &stage.now);
}

static void on_done(void *context)
{
	stage.done++;
	stage.done_context = context;
}

static struct account *make_account(void)
{
	struct account_settings settings = {
		.name = strdup("anchors"),
		.kind = strdup("entra"),
		.scope = strdup("https://storage.azure.com/.default"),
		.credential = strdup("fake"),
		.has_login = true,
	};
	struct account *account = account_new(&settings);
	ck_assert_ptr_nonnull(account);
	return account;
}

static void open_stage(void)
{
	struct error err = ERROR_INIT;
	stage.now_ms = START_MS;
	stage.now = (struct account_login){.state = ACCOUNT_LOGIN_STARTING, .error = ERROR_INIT};
	registry_init(&stage.registry);
	stage.loop = loop_new(&stage_clock, &err);
	ck_assert_msg(stage.loop != NULL, "%s", err.message);
	stage.account = make_account();
	const struct login_desk_options options = {&stage.registry, stage.loop, on_done};
	stage.desk = login_desk_new(&options, stage.account, &credential, &stage);
	ck_assert_ptr_nonnull(stage.desk);
	ck_assert_ptr_eq(login_desk_credential(stage.desk), &credential);
	log_set_level(LOG_LEVEL_ERROR);
}

static void close_stage(void)
{
	login_desk_free(stage.desk);
	loop_free(stage.loop);
	account_free(stage.account);
	registry_destroy(&stage.registry);
}

/* Somebody asks how far it is, now. */
static void look(void)
{
	atomic_store(&stage.account->login_asked_ms, stage.now_ms);
}

static void pass(int64_t ms)
{
	stage.now_ms += ms;
	loop_run(stage.loop, 0);
}

/* What is published. */
static const struct account_login *seen(void)
{
	const struct account_login *login = atomic_load(&stage.account->login);
	ck_assert_ptr_nonnull(login);
	return login;
}

static void assert_failed(enum error_code code, const char *words)
{
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_FAILED);
	ck_assert_int_eq(seen()->error.code, code);
	ck_assert_msg(strstr(seen()->error.message, words) != NULL, "%s", seen()->error.message);
	ck_assert_str_eq(seen()->user_code, "");
}

/* ---- tests -------------------------------------------------------------------------------------
 */

START_TEST(publishes_nothing_before_somebody_asks)
{
	open_stage();
	ck_assert_ptr_null(atomic_load(&stage.account->login));
	ck_assert_uint_eq(stage.begun, 0);
	close_stage();
	ck_assert_uint_eq(stage.left, 0);
}
END_TEST

START_TEST(publishes_each_state_of_a_login)
{
	open_stage();
	look();
	login_desk_begin(stage.desk);
	ck_assert_str_eq(stage.scope, "https://storage.azure.com/.default");
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_STARTING);
	tell(ACCOUNT_LOGIN_PENDING, ERR_NONE);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	ck_assert_str_eq(seen()->user_code, CODE);
	ck_assert_uint_eq(stage.done, 0);
	tell(ACCOUNT_LOGIN_DONE, ERR_NONE);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_DONE);
	ck_assert_str_eq(seen()->user_code, "");
	ck_assert_uint_eq(stage.done, 1);
	ck_assert_ptr_eq(stage.done_context, &stage);
	close_stage();
	ck_assert_uint_eq(stage.left, 0);
}
END_TEST

/* Of another account that has the same credential. */
START_TEST(publishes_the_code_of_a_login_that_it_joins)
{
	open_stage();
	stage.now.state = ACCOUNT_LOGIN_PENDING;
	strcpy(stage.now.user_code, CODE);
	login_desk_begin(stage.desk);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	ck_assert_str_eq(seen()->user_code, CODE);
	close_stage();
}
END_TEST

START_TEST(begins_no_second_login_while_one_is_under_way)
{
	open_stage();
	look();
	login_desk_begin(stage.desk);
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_PENDING, ERR_NONE);
	login_desk_begin(stage.desk);
	ck_assert_uint_eq(stage.begun, 1);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	close_stage();
}
END_TEST

START_TEST(begins_another_login_after_one_that_is_done)
{
	open_stage();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_DONE, ERR_NONE);
	stage.now.state = ACCOUNT_LOGIN_STARTING;
	login_desk_begin(stage.desk);
	ck_assert_uint_eq(stage.begun, 2);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_STARTING);
	close_stage();
}
END_TEST

START_TEST(says_why_a_login_failed)
{
	open_stage();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_FAILED, ERR_DENIED);
	assert_failed(ERR_DENIED, "it was declined");
	ck_assert_uint_eq(stage.done, 0);
	close_stage();
	ck_assert_uint_eq(stage.left, 0);
}
END_TEST

START_TEST(says_why_a_login_did_not_begin)
{
	open_stage();
	stage.refuses = ERR_SECRET_SOURCE;
	login_desk_begin(stage.desk);
	assert_failed(ERR_SECRET_SOURCE, "the file cannot be read");
	close_stage();
	ck_assert_uint_eq(stage.left, 0);
}
END_TEST

START_TEST(answers_with_the_failure_for_a_moment_before_it_begins_again)
{
	open_stage();
	stage.refuses = ERR_NETWORK;
	login_desk_begin(stage.desk);
	stage.refuses = ERR_NONE;
	pass(LOGIN_DESK_PAUSE_MS - 1);
	login_desk_begin(stage.desk);
	ck_assert_uint_eq(stage.begun, 1);
	assert_failed(ERR_NETWORK, "the file");
	pass(1);
	login_desk_begin(stage.desk);
	ck_assert_uint_eq(stage.begun, 2);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_STARTING);
	close_stage();
}
END_TEST

START_TEST(ends_a_login_that_nobody_asks_about_any_more)
{
	open_stage();
	look();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_PENDING, ERR_NONE);
	pass(LOGIN_DESK_LEFT_MS - 1);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	ck_assert_uint_eq(stage.left, 0);
	pass(1);
	ck_assert_uint_eq(stage.left, 1);
	assert_failed(ERR_TIMEOUT, "nobody has asked for 60 s");
	/* And only once. */
	pass(LOGIN_DESK_LEFT_MS);
	close_stage();
	ck_assert_uint_eq(stage.left, 1);
}
END_TEST

START_TEST(keeps_a_login_for_as_long_as_somebody_asks)
{
	open_stage();
	look();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_PENDING, ERR_NONE);
	for (int i = 0; i < 20; i++) {
		pass(LOGIN_DESK_LEFT_MS - 1000);
		look();
	}
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	/* From the last time on, not from when the desk looked. */
	pass(LOGIN_DESK_LEFT_MS - 1);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	pass(1);
	assert_failed(ERR_TIMEOUT, "nobody has asked");
	close_stage();
}
END_TEST

START_TEST(does_not_end_what_is_over_already)
{
	open_stage();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_DONE, ERR_NONE);
	pass(10 * LOGIN_DESK_LEFT_MS);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_DONE);
	ck_assert_uint_eq(stage.left, 0);
	close_stage();
}
END_TEST

START_TEST(goes_on_for_the_account_of_a_new_configuration)
{
	open_stage();
	look();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_PENDING, ERR_NONE);
	struct account *before = stage.account;
	pass(30000);
	stage.account = make_account();
	int other_context = 0;
	login_desk_move(stage.desk, stage.account, &other_context);
	account_free(before);
	ck_assert_str_eq(seen()->user_code, CODE);
	/* That somebody asked is not forgotten, and neither is when. */
	pass(LOGIN_DESK_LEFT_MS - 30001);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_PENDING);
	tell(ACCOUNT_LOGIN_DONE, ERR_NONE);
	ck_assert_int_eq(seen()->state, ACCOUNT_LOGIN_DONE);
	ck_assert_ptr_eq(stage.done_context, &other_context);
	close_stage();
}
END_TEST

START_TEST(leaves_the_login_when_it_is_freed)
{
	open_stage();
	login_desk_begin(stage.desk);
	tell(ACCOUNT_LOGIN_PENDING, ERR_NONE);
	login_desk_free(stage.desk);
	ck_assert_uint_eq(stage.left, 1);
	stage.desk = NULL;
	pass(2 * LOGIN_DESK_LEFT_MS);
	close_stage();
	ck_assert_uint_eq(stage.left, 1);
}
END_TEST

UNIT_MAIN("login_desk", publishes_nothing_before_somebody_asks, publishes_each_state_of_a_login,
	publishes_the_code_of_a_login_that_it_joins, begins_no_second_login_while_one_is_under_way,
	begins_another_login_after_one_that_is_done, says_why_a_login_failed,
	says_why_a_login_did_not_begin,
	answers_with_the_failure_for_a_moment_before_it_begins_again,
	ends_a_login_that_nobody_asks_about_any_more, keeps_a_login_for_as_long_as_somebody_asks,
	does_not_end_what_is_over_already, goes_on_for_the_account_of_a_new_configuration,
	leaves_the_login_when_it_is_freed)
