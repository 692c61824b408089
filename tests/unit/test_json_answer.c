#include "base/json_answer.h"

#include "unit.h"

/* What must never stand in a message. */
#define TOKEN "eyJhbGciOiJub25lIn0"

static struct json_object *parse_bytes(const char *bytes, size_t len, struct error *err)
{
	_cleanup_secret_ struct secret *body = secret_from(bytes, len);
	*err = ERROR_INIT;
	return json_answer_parse(body, err);
}

static struct json_object *parse(const char *body, struct error *err)
{
	return parse_bytes(body, strlen(body), err);
}

static struct json_object *parse_good(const char *body)
{
	struct error err;
	struct json_object *object = parse(body, &err);
	ck_assert_msg(object != NULL, "%s: %s", body, err.message);
	return object;
}

static void assert_refused(const char *bytes, size_t len)
{
	struct error err;
	struct json_object *object = parse_bytes(bytes, len, &err);
	ck_assert_msg(object == NULL, "taken: %.60s", bytes);
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_str_eq(err.message, "the body is not a complete JSON object");
}

/* ---- statuses ----------------------------------------------------------------------------------
 */

START_TEST(knows_what_each_status_means)
{
	for (int status = 0; status < 1000; status++) {
		enum error_code expected = ERR_REFUSED;
		if (status == 401 || status == 403)
			expected = ERR_DENIED;
		else if (status == 408)
			expected = ERR_TIMEOUT;
		else if (status == 429 || status == 503)
			expected = ERR_THROTTLED;
		else if (status >= 500)
			expected = ERR_UPSTREAM_FAULT;
		ck_assert_msg(json_answer_code_of_status(status) == expected, "%d", status);
	}
}
END_TEST

/* ---- the whole ---------------------------------------------------------------------------------
 */

START_TEST(reads_an_object)
{
	static const char *const bodies[] = {
		"{}",
		" \r\n\t{ \"a\" : 1 } \n",
		"{\"access_token\":\"" TOKEN "\",\"expires_in\":3599}",
		"{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
		"{\"\xc3\xa4\":\"\xe2\x82\xac\"}",
	};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++)
		json_object_put(parse_good(bodies[i]));
}
END_TEST

START_TEST(refuses_what_is_no_object_or_is_not_complete)
{
	static const char *const bodies[] = {
		"",
		" ",
		"null",
		"true",
		"5",
		"\"" TOKEN "\"",
		"[{\"a\":1}]",
		"{",
		"{\"a\"",
		"{\"a\":",
		("{\"a\":\"" TOKEN),
		"{\"a\":1",
		"{\"a\":1,}",
		"{a:1}",
		"{\"a\":1}{\"a\":2}",
		"{\"a\":1} x",
		"{\"a\":1}]",
		"<html><body>sign in</body></html>",
		"\xef\xbb\xbf{\"a\":1}",
		"/* a comment */ {\"a\":1}",
	};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++)
		assert_refused(bodies[i], strlen(bodies[i]));
}
END_TEST

START_TEST(refuses_what_follows_a_zero_byte)
{
	static const char hidden[] = "{\"a\":1}\0{\"a\":2}";
	assert_refused(hidden, sizeof(hidden) - 1);
	static const char zero[] = "{\"a\":1}\0";
	assert_refused(zero, sizeof(zero) - 1);
	static const char within[] = "{\"a\":\"x\0y\"}";
	assert_refused(within, sizeof(within) - 1);
}
END_TEST

START_TEST(survives_nesting_as_deep_as_a_megabyte)
{
	static char deep[SECRET_MAX];
	memset(deep, '[', sizeof(deep));
	memcpy(deep, "{\"a\":", 5);
	assert_refused(deep, sizeof(deep));
	for (size_t i = 0; i + 5 <= sizeof(deep); i += 5)
		memcpy(deep + i, "{\"a\":", 5);
	assert_refused(deep, sizeof(deep));
}
END_TEST

START_TEST(reads_a_megabyte)
{
	static char body[SECRET_MAX];
	struct error err;
	memset(body, ' ', sizeof(body));
	memcpy(body, "{\"a\":\"", 6);
	memset(body + 6, 'x', 1000000);
	memcpy(body + 1000006, "\"}", 2);
	struct json_object *object = parse_bytes(body, sizeof(body), &err);
	ck_assert_ptr_nonnull(object);
	ck_assert_uint_eq(strlen(json_answer_string(object, "a")), 1000000);
	json_object_put(object);
}
END_TEST

/* ---- answers -----------------------------------------------------------------------------------
 */

START_TEST(takes_answers_that_say_that_they_are_json)
{
	static const struct {
		const char *type;
		bool is_taken;
	} cases[] = {
		{"application/json", true},
		{"application/json; charset=utf-8", true},
		{"Application/JSON;charset=utf-8", true},
		{"application/json ;charset=utf-8", true},
		{"application/json\tx", true},
		{"", false},
		{"text/html", false},
		{"text/html; charset=utf-8", false},
		{"application/jsonp", false},
		{"application/json-seq", false},
		{"application/jso", false},
		{" application/json", false},
		{"text/json", false},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = ERROR_INIT;
		struct http_response response = {.body = secret_from("{\"a\":1}", 7)};
		strcpy(response.content_type, cases[i].type);
		struct json_object *object = json_answer_of_response(&response, NULL, &err);
		ck_assert_msg((object != NULL) == cases[i].is_taken, "'%s'", cases[i].type);
		if (object == NULL) {
			char expected[128];
			ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
			snprintf(expected, sizeof(expected),
				"found Content-Type %s, expected application/json (",
				cases[i].type[0] == '\0' ? "(none)" : cases[i].type);
			ck_assert_msg(strncmp(err.message, expected, strlen(expected)) == 0, "%s",
				err.message);
		}
		json_object_put(object);
		secret_free(response.body);
	}
}
END_TEST

START_TEST(does_not_repeat_in_a_message_what_was_shown)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *shown = secret_from("TheSecretOfTheApp", 17);
	_cleanup_secret_ struct secret *body = secret_from("{}", 2);
	struct http_response response = {.body = body};
	strcpy(response.content_type, "text/TheSecretOfTheApp");
	ck_assert_ptr_null(json_answer_of_response(&response, shown, &err));
	ck_assert_ptr_null(strstr(err.message, "TheSecret"));
	ck_assert_ptr_nonnull(strstr(err.message, "withheld"));
}
END_TEST

/* ---- members -----------------------------------------------------------------------------------
 */

START_TEST(copies_a_member_into_secret_memory)
{
	struct error err = ERROR_INIT;
	struct json_object *object =
		parse_good("{\"t\":\"" TOKEN "\",\"e\":\"a\\u0041\\n\\/\\u0000z\"}");
	struct secret *secret = json_answer_secret(object, "t", &err);
	ck_assert_str_eq(secret_bytes(secret), TOKEN);
	secret_free(secret);
	/* As long as it is, zero bytes included: whoever uses it refuses them. */
	secret = json_answer_secret(object, "e", &err);
	ck_assert_uint_eq(secret_len(secret), 6);
	ck_assert_mem_eq(secret_bytes(secret), "aA\n/\0z", 6);
	json_object_put(object);
	ck_assert_mem_eq(secret_bytes(secret), "aA\n/\0z", 6); /* it is a copy */
	secret_free(secret);
}
END_TEST

START_TEST(wants_a_member_that_is_a_string_and_not_empty)
{
	struct error err;
	struct json_object *object =
		parse_good("{\"null\":null,\"number\":5,\"list\":[\"" TOKEN
			   "\"],\"object\":{\"t\":\"" TOKEN "\"},\"empty\":\"\",\"bool\":true}");
	static const char *const members[] = {
		"null", "number", "list", "object", "empty", "bool", "missing", "NULL"};
	for (size_t i = 0; i < UNIT_COUNT(members); i++) {
		char expected[64];
		err = ERROR_INIT;
		ck_assert_ptr_null(json_answer_secret(object, members[i], &err));
		ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
		snprintf(expected, sizeof(expected), "the body has no member %s with a string",
			members[i]);
		ck_assert_str_eq(err.message, expected);
	}
	json_object_put(object);
}
END_TEST

START_TEST(shows_a_member_that_is_a_string)
{
	struct json_object *object = parse_good("{\"a\":\"words\",\"n\":5,\"z\":null,\"e\":\"\"}");
	ck_assert_str_eq(json_answer_string(object, "a"), "words");
	ck_assert_str_eq(json_answer_string(object, "e"), "");
	ck_assert_ptr_null(json_answer_string(object, "n"));
	ck_assert_ptr_null(json_answer_string(object, "z"));
	ck_assert_ptr_null(json_answer_string(object, "missing"));
	json_object_put(object);
}
END_TEST

START_TEST(reads_numbers_as_services_spell_them)
{
	static const struct {
		const char *value;
		int64_t number; /* -1: no number */
	} cases[] = {
		{"3599", 3599},
		{"0", 0},
		{"\"3599\"", 3599},
		{"\"0\"", 0},
		{"3599.0", 3599},
		{"3599.99", 3599},
		{"1.7e9", 1700000000},
		{"9007199254740992", INT64_C(1) << 53},
		{"\"9007199254740992\"", INT64_C(1) << 53},
		{"9007199254740993", -1},
		{"9223372036854775807", -1},
		{"18446744073709551615", -1},
		{"99999999999999999999999999", -1},
		{"1e300", -1},
		{"NaN", -1},
		{"Infinity", -1},
		{"-1", -1},
		{"-0.5", -1},
		{"\"-1\"", -1},
		{"\"\"", -1},
		{"\" 5\"", -1},
		{"\"5 \"", -1},
		{"\"5.5\"", -1},
		{"\"0x10\"", -1},
		{"\"soon\"", -1},
		{"true", -1},
		{"[]", -1},
		{"{}", -1},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char body[128];
		struct error err = ERROR_INIT;
		int64_t number = -77;
		snprintf(body, sizeof(body), "{\"expires_in\":%s}", cases[i].value);
		struct json_object *object = parse_good(body);
		int result = json_answer_number(object, "expires_in", &number, &err);
		json_object_put(object);
		if (cases[i].number >= 0) {
			ck_assert_msg(result == 0 && number == cases[i].number, "%s: %d, %" PRId64,
				cases[i].value, result, number);
			continue;
		}
		ck_assert_msg(result == -1, "%s: %d, %" PRId64, cases[i].value, result, number);
		ck_assert_int_eq(number, -77);
		ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
		ck_assert_str_eq(
			err.message, "the body's member expires_in is no number of seconds");
	}
}
END_TEST

START_TEST(tells_a_number_that_is_not_there_from_one_that_is_wrong)
{
	struct error err = ERROR_INIT;
	int64_t number = -77;
	struct json_object *object = parse_good("{\"null\":null}");
	ck_assert_int_eq(json_answer_number(object, "missing", &number, &err), 1);
	ck_assert_int_eq(json_answer_number(object, "null", &number, &err), 1);
	ck_assert_int_eq(number, -77);
	ck_assert_int_eq(err.code, ERR_NONE);
	json_object_put(object);
}
END_TEST

UNIT_MAIN("json_answer", knows_what_each_status_means, reads_an_object,
	refuses_what_is_no_object_or_is_not_complete, refuses_what_follows_a_zero_byte,
	survives_nesting_as_deep_as_a_megabyte, reads_a_megabyte,
	takes_answers_that_say_that_they_are_json, does_not_repeat_in_a_message_what_was_shown,
	copies_a_member_into_secret_memory, wants_a_member_that_is_a_string_and_not_empty,
	shows_a_member_that_is_a_string, reads_numbers_as_services_spell_them,
	tells_a_number_that_is_not_there_from_one_that_is_wrong)
