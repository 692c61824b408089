#include "credential/device_flow.h"

#include "unit.h"

#define NOW_MS INT64_C(7000000)
#define URI "https://login.example/device"
#define CODE "ABCD-1234"
#define SECRET_CODE "device-code-that-nobody-may-see"

/* ---- beginning ---------------------------------------------------------------------------------
 */

static struct account_login shown;
static struct secret *device_code;
static struct device_flow flow;

/* Begin with the members of an answer; they are given as the inside of a JSON object. */
static int begin_with(const char *members, struct error *err)
{
	char text[4096];
	snprintf(text, sizeof(text), "{%s}", members);
	struct json_object *answer = json_tokener_parse(text);
	ck_assert_msg(answer != NULL, "%s", text);
	secret_free(device_code);
	device_code = NULL;
	shown = (struct account_login){.state = ACCOUNT_LOGIN_FAILED};
	flow = (struct device_flow){.interval_ms = -1};
	int result = device_flow_begin(&flow, answer, NOW_MS, &shown, &device_code, err);
	json_object_put(answer);
	return result;
}

#define CODES                                                       \
	"\"user_code\":\"" CODE "\",\"device_code\":\"" SECRET_CODE \
	"\",\"verification_uri\":\"" URI "\""

static void begin(const char *more)
{
	char members[2048];
	struct error err = ERROR_INIT;
	snprintf(members, sizeof(members), CODES "%s", more);
	ck_assert_msg(begin_with(members, &err) == 0, "%s", err.message);
}

static void end(void)
{
	struct secret_memory usage;
	secret_free(device_code);
	device_code = NULL;
	secret_memory_usage(&usage);
	ck_assert_uint_eq(usage.bytes_in_use, 0);
}

START_TEST(shows_what_the_service_says)
{
	begin(",\"expires_in\":900,\"interval\":7,\"message\":\"go to " URI " with " CODE "\"");
	ck_assert_int_eq(shown.state, ACCOUNT_LOGIN_PENDING);
	ck_assert_str_eq(shown.user_code, CODE);
	ck_assert_str_eq(shown.verification_uri, URI);
	ck_assert_str_eq(shown.message, "go to " URI " with " CODE);
	ck_assert_int_eq(shown.interval_s, 7);
	ck_assert_int_eq(shown.expires_ms, NOW_MS + 900000);
	ck_assert_int_eq(shown.error.code, ERR_NONE);
	ck_assert_str_eq(secret_bytes(device_code), SECRET_CODE);
	ck_assert_int_eq(flow.interval_ms, 7000);
	ck_assert_int_eq(flow.expires_ms, NOW_MS + 900000);
	end();
}
END_TEST

START_TEST(takes_numbers_as_strings_too)
{
	begin(",\"expires_in\":\"600\",\"interval\":\"9\"");
	ck_assert_int_eq(flow.interval_ms, 9000);
	ck_assert_int_eq(flow.expires_ms, NOW_MS + 600000);
	end();
}
END_TEST

START_TEST(has_five_seconds_and_half_an_hour_where_nothing_is_said)
{
	begin("");
	ck_assert_int_eq(flow.interval_ms, 5000);
	ck_assert_int_eq(flow.expires_ms, NOW_MS + 1800000);
	end();
}
END_TEST

START_TEST(keeps_what_is_said_within_bounds)
{
	static const struct {
		const char *more;
		int64_t interval_ms;
		int64_t lifetime_ms;
	} cases[] = {
		{",\"interval\":0,\"expires_in\":0", 1000, 0},
		{",\"interval\":1,\"expires_in\":1", 1000, 1000},
		{",\"interval\":300,\"expires_in\":86400", 300000, 86400000},
		{",\"interval\":301,\"expires_in\":86401", 300000, 86400000},
		{",\"interval\":9007199254740992,\"expires_in\":9007199254740992", 300000,
			86400000},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		begin(cases[i].more);
		ck_assert_int_eq(flow.interval_ms, cases[i].interval_ms);
		ck_assert_int_eq(flow.expires_ms, NOW_MS + cases[i].lifetime_ms);
	}
	end();
}
END_TEST

/* With words of its own where the service's are not fit to be shown, or lack something. */
START_TEST(always_has_a_message_with_address_and_code)
{
	static const char *const messages[] = {
		"",
		",\"message\":\"\"",
		",\"message\":null",
		",\"message\":7",
		",\"message\":\"go to " URI "\"",
		",\"message\":\"enter " CODE "\"",
		",\"message\":\"" URI " " CODE " \\u001b[2J\"",
		",\"message\":\"" URI " " CODE " \\n\"",
		",\"message\":\"" URI " " CODE " \\u00fc\"",
		",\"message\":\"" URI " " CODE " " SECRET_CODE "\"",
		",\"message\":\"" URI " " CODE " device-c\"",
	};
	for (size_t i = 0; i < UNIT_COUNT(messages); i++) {
		begin(messages[i]);
		ck_assert_str_eq(shown.message,
			"To log in, open " URI " in a web browser and enter the code " CODE);
	}
	end();
}
END_TEST

START_TEST(shows_a_message_up_to_its_longest)
{
	for (size_t len = ACCOUNT_LOGIN_MESSAGE_MAX - 1; len <= ACCOUNT_LOGIN_MESSAGE_MAX + 1;
		len++) {
		char more[1024];
		static const char start[] = URI " " CODE " ";
		size_t rest = len - (sizeof(start) - 1);
		snprintf(more, sizeof(more), ",\"message\":\"%s%0*d\"", start, (int)rest, 0);
		begin(more);
		ck_assert_uint_eq(strlen(shown.message) == len, len <= ACCOUNT_LOGIN_MESSAGE_MAX);
	}
	end();
}
END_TEST

START_TEST(refuses_what_cannot_be_shown)
{
	static const struct {
		const char *members;
		const char *words;
	} cases[] = {
		{"", "user_code"},
		{"\"user_code\":\"\",\"device_code\":\"d\",\"verification_uri\":\"" URI "\"",
			"user_code"},
		{"\"user_code\":7,\"device_code\":\"d\",\"verification_uri\":\"" URI "\"",
			"user_code"},
		{"\"user_code\":\"A B\",\"device_code\":\"d\",\"verification_uri\":\"" URI "\"",
			"user_code"},
		{"\"user_code\":\"A\\u001b\",\"device_code\":\"d\",\"verification_uri\":\"" URI
		 "\"",
			"user_code"},
		{"\"user_code\":\"123456789012345678901234567890123\",\"device_code\":\"d\","
		 "\"verification_uri\":\"" URI "\"",
			"user_code"},
		{"\"user_code\":\"A\",\"device_code\":\"d\"", "verification_uri"},
		{"\"user_code\":\"A\",\"device_code\":\"d\",\"verification_uri\":\"\"",
			"verification_uri"},
		{"\"user_code\":\"A\",\"device_code\":\"d\",\"verification_uri\":"
		 "\"http://login.example\"",
			"verification_uri"},
		{"\"user_code\":\"A\",\"device_code\":\"d\",\"verification_uri\":"
		 "\"javascript:alert(1)\"",
			"verification_uri"},
		{"\"user_code\":\"A\",\"device_code\":\"d\",\"verification_uri\":"
		 "\"https://a b\"",
			"verification_uri"},
		{"\"user_code\":\"A\",\"verification_uri\":\"" URI "\"", "device_code"},
		{"\"user_code\":\"A\",\"device_code\":\"\",\"verification_uri\":\"" URI "\"",
			"device_code"},
		{CODES ",\"interval\":\"soon\"", "interval"},
		{CODES ",\"interval\":-1", "interval"},
		{CODES ",\"expires_in\":\"\"", "expires_in"},
		{CODES ",\"expires_in\":true", "expires_in"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = ERROR_INIT;
		ck_assert_int_eq(begin_with(cases[i].members, &err), -1);
		ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
		ck_assert_msg(strstr(err.message, cases[i].words) != NULL, "%s: %s",
			cases[i].members, err.message);
		/* Nothing was changed. */
		ck_assert_int_eq(shown.state, ACCOUNT_LOGIN_FAILED);
		ck_assert_int_eq(flow.interval_ms, -1);
		ck_assert_ptr_null(device_code);
	}
	end();
}
END_TEST

START_TEST(takes_the_longest_address_and_no_longer)
{
	for (size_t len = ACCOUNT_LOGIN_URI_MAX; len <= ACCOUNT_LOGIN_URI_MAX + 1; len++) {
		char members[1024];
		snprintf(members, sizeof(members),
			"\"user_code\":\"A\",\"device_code\":\"d\",\"verification_uri\":"
			"\"https://%0*d\"",
			(int)len - 8, 0);
		ck_assert_int_eq(begin_with(members, NULL), len <= ACCOUNT_LOGIN_URI_MAX ? 0 : -1);
	}
	end();
}
END_TEST

/* ---- polling -----------------------------------------------------------------------------------
 */

static struct error failed(enum error_code code, int64_t retry_after_s)
{
	struct error err = ERROR_INIT;
	error_set(&err, code, "https://login.example answered so");
	err.retry_after_s = retry_after_s;
	return err;
}

/* An answer of Entra's to a poll; returns in how long the next one is, or -1. */
static int64_t answer(const char *word, enum error_code code, struct error *failure)
{
	struct entra_error error = {0};
	const struct error err = failed(code, -1);
	snprintf(error.error, sizeof(error.error), "%s", word);
	int64_t next_ms = device_flow_next_ms(&flow, NOW_MS, &err, &error, failure);
	return next_ms < 0 ? next_ms : next_ms - NOW_MS;
}

static void start_flow(int64_t interval_s, int64_t lifetime_s)
{
	flow = (struct device_flow){
		.interval_ms = interval_s * 1000,
		.expires_ms = NOW_MS + lifetime_s * 1000,
	};
}

START_TEST(polls_at_the_interval_while_nobody_has_decided)
{
	start_flow(5, 900);
	ck_assert_int_eq(device_flow_first_ms(&flow, NOW_MS), NOW_MS + 5000);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(answer("authorization_pending", ERR_DENIED, NULL), 5000);
}
END_TEST

START_TEST(slows_down_by_five_seconds_for_good_when_told)
{
	start_flow(1, 900);
	ck_assert_int_eq(answer("slow_down", ERR_DENIED, NULL), 6000);
	ck_assert_int_eq(answer("authorization_pending", ERR_DENIED, NULL), 6000);
	ck_assert_int_eq(answer("slow_down", ERR_DENIED, NULL), 11000);
	ck_assert_int_eq(answer("authorization_pending", ERR_DENIED, NULL), 11000);
}
END_TEST

START_TEST(ends_when_it_cannot_succeed_any_more)
{
	static const struct {
		const char *word;
		const char *words;
	} cases[] = {
		{"authorization_declined", "the sign-in was declined: https://login.example"},
		{"access_denied", "the sign-in was declined: "},
		{"expired_token", "expired before anybody had signed in with it; begin again: "},
		{"bad_verification_code", "does not know the code any more"},
		{"invalid_client", "the sign-in failed: https://login.example"},
		{"invalid_grant", "the sign-in failed: "},
		{"authorization_pendin", "the sign-in failed: "},
		{"", "the sign-in failed: "},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error failure = ERROR_INIT;
		start_flow(5, 900);
		ck_assert_int_eq(answer(cases[i].word, ERR_DENIED, &failure), -1);
		ck_assert_int_eq(failure.code, ERR_DENIED);
		ck_assert_msg(strstr(failure.message, cases[i].words) != NULL, "%s: %s",
			cases[i].word, failure.message);
	}
}
END_TEST

START_TEST(ends_with_an_answer_that_is_not_understood)
{
	struct error failure = ERROR_INIT;
	start_flow(5, 900);
	ck_assert_int_eq(answer("", ERR_UPSTREAM_FORMAT, &failure), -1);
	ck_assert_int_eq(failure.code, ERR_UPSTREAM_FORMAT);
	ck_assert_int_eq(answer("", ERR_TLS, &failure), -1);
	ck_assert_int_eq(failure.code, ERR_TLS);
}
END_TEST

START_TEST(goes_on_after_a_passing_fault_less_and_less_often)
{
	static const enum error_code codes[] = {
		ERR_NETWORK, ERR_TIMEOUT, ERR_THROTTLED, ERR_UPSTREAM_FAULT};
	for (size_t i = 0; i < UNIT_COUNT(codes); i++) {
		static const int64_t waits_ms[] = {10000, 20000, 40000, 60000, 60000};
		start_flow(5, 900);
		for (size_t j = 0; j < UNIT_COUNT(waits_ms); j++)
			ck_assert_int_eq(answer("", codes[i], NULL), waits_ms[j]);
		/* And as before, once it is over. */
		ck_assert_int_eq(answer("authorization_pending", ERR_DENIED, NULL), 5000);
		ck_assert_int_eq(answer("", codes[i], NULL), 10000);
	}
}
END_TEST

START_TEST(never_polls_faster_than_the_interval_after_a_fault)
{
	start_flow(90, 900);
	ck_assert_int_eq(answer("", ERR_NETWORK, NULL), 90000);
	start_flow(60, 900);
	ck_assert_int_eq(answer("", ERR_NETWORK, NULL), 60000);
}
END_TEST

START_TEST(obeys_a_retry_after_that_is_longer)
{
	const struct entra_error error = {0};
	struct error err = failed(ERR_THROTTLED, 30);
	start_flow(5, 900);
	ck_assert_int_eq(device_flow_next_ms(&flow, NOW_MS, &err, &error, NULL), NOW_MS + 30000);
	err.retry_after_s = 1;
	ck_assert_int_eq(device_flow_next_ms(&flow, NOW_MS, &err, &error, NULL), NOW_MS + 20000);
	err.retry_after_s = INT64_MAX;
	ck_assert_int_eq(device_flow_next_ms(&flow, NOW_MS, &err, &error, NULL), flow.expires_ms);
}
END_TEST

START_TEST(looks_again_at_the_end_of_the_code_at_the_latest)
{
	start_flow(5, 3);
	ck_assert_int_eq(device_flow_first_ms(&flow, NOW_MS), NOW_MS + 3000);
	ck_assert_int_eq(answer("authorization_pending", ERR_DENIED, NULL), 3000);
	ck_assert_int_eq(answer("slow_down", ERR_DENIED, NULL), 3000);
	ck_assert_int_eq(answer("", ERR_NETWORK, NULL), 3000);
}
END_TEST

START_TEST(has_expired_from_the_end_of_the_code_on)
{
	struct error failure = ERROR_INIT;
	start_flow(5, 900);
	ck_assert(!device_flow_has_expired(&flow, flow.expires_ms - 1, &failure));
	ck_assert_int_eq(failure.code, ERR_NONE);
	ck_assert(device_flow_has_expired(&flow, flow.expires_ms, &failure));
	ck_assert_int_eq(failure.code, ERR_TIMEOUT);
	ck_assert_msg(strstr(failure.message, "expired") != NULL, "%s", failure.message);
}
END_TEST

UNIT_MAIN("device_flow", shows_what_the_service_says, takes_numbers_as_strings_too,
	has_five_seconds_and_half_an_hour_where_nothing_is_said, keeps_what_is_said_within_bounds,
	always_has_a_message_with_address_and_code, shows_a_message_up_to_its_longest,
	refuses_what_cannot_be_shown, takes_the_longest_address_and_no_longer,
	polls_at_the_interval_while_nobody_has_decided,
	slows_down_by_five_seconds_for_good_when_told, ends_when_it_cannot_succeed_any_more,
	ends_with_an_answer_that_is_not_understood,
	goes_on_after_a_passing_fault_less_and_less_often,
	never_polls_faster_than_the_interval_after_a_fault, obeys_a_retry_after_that_is_longer,
	looks_again_at_the_end_of_the_code_at_the_latest, has_expired_from_the_end_of_the_code_on)
