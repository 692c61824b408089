#include "credential/chain.h"

#include "asking.h"
#include "scripted.h"
#include "unit.h"

static const struct credential_kind first_kind = {.name = "first", SCRIPTED_FUNCTIONS};
static const struct credential_kind second_kind = {.name = "second", SCRIPTED_FUNCTIONS};
static const struct credential_kind third_kind = {.name = "third", SCRIPTED_FUNCTIONS};
static const struct credential_kind tool_kind = {
	.name = "tool", SCRIPTED_FUNCTIONS, .is_developer_tool = true};
static const struct credential_kind plain_kind = {
	.name = "plain",
	.ask = scripted_ask,
	.cancel = scripted_cancel,
	.close = scripted_close,
};

static struct loop *loop;
static struct scripted members[3];
static struct credential *chain;
static size_t bytes_before;

static void make_chain(size_t count, bool forgives_developer_tools)
{
	struct credential *pointers[3];
	for (size_t i = 0; i < count; i++)
		pointers[i] = &members[i].credential;
	chain = chain_new(pointers, count, forgives_developer_tools);
	ck_assert_ptr_nonnull(chain);
	chain->kind = &credential_chain; /* as credential_open() does */
	chain->references = 1;
}

static void scene_open_kinds(const struct credential_kind *const kinds[3], bool forgives)
{
	bytes_before = bytes_in_use();
	loop = make_loop();
	for (int i = 0; i < 3; i++) {
		scripted_init(&members[i], kinds[i]);
		members[i].token = NULL;
		members[i].failure = ERR_UNAVAILABLE;
	}
	make_chain(3, forgives);
}

static void scene_open(void)
{
	static const struct credential_kind *const kinds[] = {
		&first_kind, &second_kind, &third_kind};
	scene_open_kinds(kinds, false);
}

static void scene_close(void)
{
	credential_close(chain);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(members[i].closed, 1);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

static struct asked ask_chain(void)
{
	struct asked asked;
	ask(loop, chain, &asked);
	return asked;
}

static void assert_asked(unsigned first, unsigned second, unsigned third)
{
	ck_assert_msg(members[0].asked == first && members[1].asked == second &&
			      members[2].asked == third,
		"asked %u, %u and %u times", members[0].asked, members[1].asked, members[2].asked);
}

/* ---- order -------------------------------------------------------------------------------------
 */

START_TEST(takes_the_first_that_is_available)
{
	for (int which = 0; which < 3; which++) {
		static const char *const names[] = {"first", "second", "third"};
		scene_open();
		for (int i = which; i < 3; i++)
			members[i].token = names[i];
		struct asked asked = ask_chain();
		assert_token(&asked, names[which]);
		ck_assert_str_eq(asked.parts.given_by, names[which]);
		assert_asked(1, which >= 1, which >= 2);
		ck_assert_str_eq(members[which].last_scope, SCOPE);
		scene_close();
	}
}
END_TEST

START_TEST(ends_at_one_that_was_used_and_failed)
{
	for (int i = ERR_NONE + 1; i < ERR_CODE_COUNT; i++) {
		enum error_code code = (enum error_code)i;
		if (code == ERR_UNAVAILABLE)
			continue;
		scene_open();
		members[0].reason = "nothing here";
		members[1].failure = code;
		members[1].reason = "it went wrong";
		members[2].token = "third";
		struct asked asked = ask_chain();
		assert_failure(&asked, code, "it went wrong");
		assert_asked(1, 1, 0);
		scene_close();
	}
}
END_TEST

START_TEST(asks_the_first_again_as_long_as_none_has_worked)
{
	scene_open();
	ask_chain();
	assert_asked(1, 1, 1);
	members[0].token = "first";
	struct asked asked = ask_chain();
	assert_token(&asked, "first");
	assert_asked(2, 1, 1);
	scene_close();
}
END_TEST

/* ---- the one that worked -----------------------------------------------------------------------
 */

START_TEST(asks_the_one_that_worked_alone_from_then_on)
{
	scene_open();
	members[1].token = "second";
	ask_chain();
	assert_asked(1, 1, 0);
	members[0].token = "first"; /* too late */
	struct asked asked = ask_chain();
	assert_token(&asked, "second");
	assert_asked(1, 2, 0);
	/* And whatever becomes of it, no other is asked. */
	members[1].token = NULL;
	members[1].reason = "it has gone";
	members[2].token = "third";
	asked = ask_chain();
	assert_failure(&asked, ERR_UNAVAILABLE, "it has gone");
	ck_assert_str_eq(asked.err.message, "it has gone");
	assert_asked(1, 3, 0);
	members[1].token = "second";
	asked = ask_chain();
	assert_token(&asked, "second");
	scene_close();
}
END_TEST

START_TEST(passes_on_to_the_one_that_worked_what_the_upstream_said)
{
	static const struct account_settings account = {.name = (char *)"anchors"};
	scene_open();
	members[1].token = "second";
	members[1].has_another = true;
	ask_chain();
	ck_assert(chain->kind->refused(chain, &account, 1));
	ck_assert_uint_eq(members[1].refused, 1);
	ck_assert_uint_eq(members[1].last_refusals, 1);
	ck_assert_ptr_eq(members[1].last_account, &account);
	chain->kind->accepted(chain);
	ck_assert_uint_eq(members[1].accepted, 1);
	ck_assert_uint_eq(members[0].refused + members[0].accepted, 0);
	ck_assert_uint_eq(members[2].refused + members[2].accepted, 0);
	scene_close();
}
END_TEST

START_TEST(does_without_what_a_member_may_leave_out)
{
	static const struct credential_kind *const kinds[] = {
		&plain_kind, &plain_kind, &plain_kind};
	static const struct account_settings account = {.name = (char *)"anchors"};
	scene_open_kinds(kinds, false);
	ck_assert(!chain->kind->refused(chain, &account, 1)); /* before any was asked, too */
	members[2].token = "third";
	ask_chain();
	ck_assert(!chain->kind->refused(chain, &account, 1));
	chain->kind->accepted(chain);
	scene_close();
}
END_TEST

START_TEST(tells_the_member_of_a_member_that_gave_it)
{
	scene_open();
	members[0].token = "first";
	members[0].given_by = "one of its own members";
	struct asked asked = ask_chain();
	ck_assert_str_eq(asked.parts.given_by, "one of its own members");
	scene_close();
}
END_TEST

START_TEST(passes_on_the_token_with_all_that_is_known_of_it)
{
	scene_open();
	members[0].token = "first";
	members[0].is_static = true;
	members[0].life_ms = 1234567;
	members[0].refresh_in_ms = 54321;
	struct asked asked = ask_chain();
	ck_assert(asked.parts.is_static);
	ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 1234567);
	ck_assert_int_eq(asked.parts.refresh_at_ms, START_MS + 54321);
	scene_close();
}
END_TEST

/* ---- developer tools ---------------------------------------------------------------------------
 */

START_TEST(forgives_developer_tools_where_it_shall)
{
	static const struct credential_kind *const kinds[] = {&tool_kind, &tool_kind, &third_kind};
	for (int forgives = 0; forgives < 2; forgives++) {
		scene_open_kinds(kinds, forgives);
		members[0].failure = ERR_DENIED;
		members[1].failure = ERR_TIMEOUT;
		members[2].token = "third";
		struct asked asked = ask_chain();
		if (forgives)
			assert_token(&asked, "third");
		else
			assert_failure(&asked, ERR_DENIED, "no luck");
		assert_asked(1, forgives, forgives);
		scene_close();
	}
}
END_TEST

START_TEST(does_not_forgive_what_is_no_developer_tool)
{
	static const struct credential_kind *const kinds[] = {&first_kind, &tool_kind, &third_kind};
	scene_open_kinds(kinds, true);
	members[0].failure = ERR_DENIED;
	members[1].token = "tool";
	struct asked asked = ask_chain();
	assert_failure(&asked, ERR_DENIED, "no luck");
	assert_asked(1, 0, 0);
	scene_close();
}
END_TEST

/* ---- errors ------------------------------------------------------------------------------------
 */

START_TEST(tells_each_reason_in_one_message)
{
	scene_open();
	members[0].reason = "no variables";
	members[1].reason = "no endpoint";
	members[2].failure = ERR_THROTTLED;
	members[2].reason = "too often";
	members[2].retry_after_s = 17;
	struct asked asked = ask_chain();
	ck_assert_str_eq(asked.err.message,
		"no credential gave a token: first: no variables; second: no endpoint; third: "
		"too often");
	ck_assert_int_eq(asked.err.code, ERR_THROTTLED);
	ck_assert_int_eq(asked.err.retry_after_s, 17);
	scene_close();
}
END_TEST

START_TEST(is_unavailable_when_all_of_them_are)
{
	scene_open();
	members[0].reason = members[1].reason = members[2].reason = "nothing here";
	struct asked asked = ask_chain();
	assert_failure(&asked, ERR_UNAVAILABLE,
		"first: nothing here; second: nothing here; third: nothing here");
	ck_assert_int_eq(asked.err.retry_after_s, -1);
	scene_close();
}
END_TEST

START_TEST(leaves_room_for_every_reason)
{
	static char long_reason[1400];
	memset(long_reason, 'x', sizeof(long_reason) - 1);
	memcpy(long_reason, "it begins", 9);
	scene_open();
	members[0].reason = members[1].reason = members[2].reason = long_reason;
	struct asked asked = ask_chain();
	assert_failure(&asked, ERR_UNAVAILABLE, "first: it begins");
	assert_failure(&asked, ERR_UNAVAILABLE, "; second: it begins");
	assert_failure(&asked, ERR_UNAVAILABLE, "; third: it begins");
	assert_failure(&asked, ERR_UNAVAILABLE, "xxx...; second: ");
	ck_assert_uint_gt(strlen(asked.err.message), 1000);
	scene_close();
}
END_TEST

START_TEST(passes_on_the_error_of_an_only_member_as_it_is)
{
	loop = make_loop();
	scripted_init(&members[0], &first_kind);
	members[0].token = NULL;
	members[0].reason = "it went wrong";
	make_chain(1, true);
	struct asked asked = ask_chain();
	ck_assert_str_eq(asked.err.message, "it went wrong");
	ck_assert_int_eq(asked.err.code, ERR_DENIED);
	credential_close(chain);
	loop_free(loop);
}
END_TEST

/* ---- members that cannot even be asked ---------------------------------------------------------
 */

START_TEST(goes_on_or_ends_likewise_at_one_that_cannot_be_asked)
{
	for (int which = 0; which < 3; which++) {
		for (int ends = 0; ends < 2; ends++) {
			scene_open();
			members[which].cannot_be_asked = true;
			members[which].failure = ends ? ERR_SECRET_SOURCE : ERR_UNAVAILABLE;
			members[which].reason = "no file";
			if (which < 2)
				members[2].token = "third";
			struct asked asked = ask_chain(); /* answered from within the loop */
			if (which < 2 && !ends)
				assert_token(&asked, "third");
			else
				assert_failure(&asked, members[which].failure, "no file");
			scene_close();
		}
	}
}
END_TEST

START_TEST(tells_within_the_loop_that_none_can_be_asked)
{
	scene_open();
	for (int i = 0; i < 3; i++)
		members[i].cannot_be_asked = true;
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	ck_assert_ptr_nonnull(chain->kind->ask(chain, SCOPE, loop, on_asked, &asked, &err));
	ck_assert_int_eq(asked.calls, 0);
	wait_until_answered(loop, &asked);
	assert_failure(&asked, ERR_UNAVAILABLE, "first: no luck; second: no luck; third: no luck");
	assert_asked(1, 1, 1);
	scene_close();
}
END_TEST

/* ---- cancelling --------------------------------------------------------------------------------
 */

START_TEST(is_cancelled_at_each_member)
{
	for (unsigned at = 0; at < 3; at++) {
		struct asked asked = {0};
		struct error err = ERROR_INIT;
		scene_open();
		members[at].is_late = true;
		struct credential_call *call =
			chain->kind->ask(chain, SCOPE, loop, on_asked, &asked, &err);
		ck_assert_ptr_nonnull(call);
		ck_assert_ptr_eq(call->credential, chain);
		while (members[at].call == NULL)
			loop_run(loop, 0);
		chain->kind->cancel(call);
		for (unsigned i = 0; i < 3; i++)
			ck_assert_uint_eq(members[i].cancelled, i == at);
		loop_run(loop, 0);
		ck_assert_int_eq(asked.calls, 0);
		scene_close();
	}
}
END_TEST

START_TEST(is_cancelled_when_a_member_could_not_be_asked)
{
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	scene_open();
	members[0].cannot_be_asked = true;
	struct credential_call *call = chain->kind->ask(chain, SCOPE, loop, on_asked, &asked, &err);
	chain->kind->cancel(call);
	for (int i = 0; i < 3; i++)
		loop_run(loop, 0);
	ck_assert_int_eq(asked.calls, 0);
	assert_asked(1, 0, 0);
	scene_close();
}
END_TEST

/* ---- opening -----------------------------------------------------------------------------------
 */

static struct scripted openable[2];
static bool second_fails;

static struct credential *open_first(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	(void)account;
	(void)err;
	ck_assert(settings->is_in_chain);
	ck_assert_str_eq(settings->client_id, "the client");
	return &openable[0].credential;
}

static struct credential *open_second(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	(void)account;
	ck_assert(settings->is_in_chain);
	if (!second_fails)
		return &openable[1].credential;
	error_set(err, ERR_CONFIGURATION, "no second");
	return NULL;
}

static const struct credential_kind opened_first_kind = {
	.name = "opened_first", SCRIPTED_FUNCTIONS, .open = open_first};
static const struct credential_kind opened_second_kind = {
	.name = "opened_second", SCRIPTED_FUNCTIONS, .open = open_second};

START_TEST(opens_each_kind_of_a_list_in_its_order)
{
	static const struct account_settings account = {.name = (char *)"anchors"};
	const struct credential_settings settings = {
		.kinds = {&opened_first_kind, &opened_second_kind},
		.kind_count = 2,
		.client_id = (char *)"the client",
	};
	struct error err = ERROR_INIT;
	size_t count = 0;
	scripted_init(&openable[0], &opened_first_kind);
	scripted_init(&openable[1], &opened_second_kind);
	struct credential *opened = credential_open(&settings, &account, &err);
	ck_assert_ptr_nonnull(opened);
	ck_assert_ptr_eq(opened->kind, &credential_chain);
	struct credential *const *list = opened->kind->members(opened, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_ptr_eq(list[0], &openable[0].credential);
	ck_assert_ptr_eq(list[1], &openable[1].credential);
	credential_close(opened);
	ck_assert_uint_eq(openable[0].closed, 1);
	ck_assert_uint_eq(openable[1].closed, 1);
	/* And when one of them cannot be opened, nothing is left open. */
	second_fails = true;
	ck_assert_ptr_null(credential_open(&settings, &account, &err));
	ck_assert_str_eq(err.message, "no second");
	ck_assert_uint_eq(openable[0].closed, 2);
	ck_assert_uint_eq(openable[1].closed, 1);
	ck_assert(!settings.is_in_chain);
}
END_TEST

UNIT_MAIN("chain", takes_the_first_that_is_available, ends_at_one_that_was_used_and_failed,
	asks_the_first_again_as_long_as_none_has_worked,
	asks_the_one_that_worked_alone_from_then_on,
	passes_on_to_the_one_that_worked_what_the_upstream_said,
	does_without_what_a_member_may_leave_out, tells_the_member_of_a_member_that_gave_it,
	passes_on_the_token_with_all_that_is_known_of_it, forgives_developer_tools_where_it_shall,
	does_not_forgive_what_is_no_developer_tool, tells_each_reason_in_one_message,
	is_unavailable_when_all_of_them_are, leaves_room_for_every_reason,
	passes_on_the_error_of_an_only_member_as_it_is,
	goes_on_or_ends_likewise_at_one_that_cannot_be_asked,
	tells_within_the_loop_that_none_can_be_asked, is_cancelled_at_each_member,
	is_cancelled_when_a_member_could_not_be_asked, opens_each_kind_of_a_list_in_its_order)
