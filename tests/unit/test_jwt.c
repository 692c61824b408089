#include "token/jwt.h"

#include "base/text.h"

#include "unit.h"

#define UNTOUCHED INT64_C(-77)

enum encoding {
	URL_BARE, /* as RFC 7519 wants it */
	URL_PADDED,
	STANDARD_BARE,
	STANDARD_PADDED,
	ENCODING_COUNT,
};

/* Letters that no message has, before and behind the payload. */
#define HEADER "eyJhbGciOiJSUzI1NiJ9"
#define SIGNATURE "c2lnbmF0dXJlLW9mLXRva2Vu"

static struct secret *token_of(const char *payload, size_t len, enum encoding encoding)
{
	char *part = malloc(4 * ((len + 2) / 3) + 1);
	ck_assert_ptr_nonnull(part);
	if (encoding == URL_BARE || encoding == URL_PADDED)
		base64url_encode((const unsigned char *)payload, len, part);
	else
		base64_encode((const unsigned char *)payload, len, part);
	if (encoding == STANDARD_BARE)
		part[strcspn(part, "=")] = '\0';
	if (encoding == URL_PADDED)
		while (strlen(part) % 4 != 0)
			strcat(part, "=");
	_cleanup_text_ struct text token = {0};
	text_appendf(&token, HEADER ".%s." SIGNATURE, part);
	free(part);
	ck_assert_ptr_nonnull(text_string(&token));
	struct secret *secret = secret_from(token.data, token.len);
	ck_assert_ptr_nonnull(secret);
	return secret;
}

/* No six bytes in a row of `text` may stand in a message. */
static void assert_silent(const char *message, const char *text, size_t len)
{
	for (size_t i = 0; i + 6 <= len; i++)
		if (memmem(message, strlen(message), text + i, 6) != NULL)
			ck_abort_msg("the message shows the token: %s", message);
}

static void assert_expiry(const struct secret *token, int64_t expected, const char *what)
{
	int64_t expires_on = UNTOUCHED;
	struct error err = ERROR_INIT;
	int result = jwt_expiry(token, &expires_on, &err);
	ck_assert_msg(result == 0, "%s: refused: %s", what, err.message);
	ck_assert_msg(expires_on == expected, "%s: found %" PRId64 ", expected %" PRId64, what,
		expires_on, expected);
	ck_assert_int_eq(err.code, ERR_NONE);
}

static void assert_refused(const struct secret *token, const char *words, const char *what)
{
	struct secret_memory before;
	struct secret_memory after;
	secret_memory_usage(&before);
	int64_t expires_on = UNTOUCHED;
	struct error err = ERROR_INIT;
	int result = jwt_expiry(token, &expires_on, &err);
	secret_memory_usage(&after);
	ck_assert_msg(result == -1, "%s: accepted, with %" PRId64 ", expected %s", what, expires_on,
		words);
	ck_assert_msg(expires_on == UNTOUCHED, "%s: *expires_on was touched", what);
	ck_assert_msg(err.code == ERR_UPSTREAM_FORMAT, "%s: %s", what, error_code_name(err.code));
	ck_assert_msg(strstr(err.message, words) != NULL, "%s: '%s' is without '%s'", what,
		err.message, words);
	ck_assert_uint_eq(after.bytes_in_use, before.bytes_in_use);
	assert_silent(err.message, secret_bytes(token), secret_len(token));
}

static void assert_payload_refused(const char *payload, size_t len, const char *words)
{
	_cleanup_secret_ struct secret *token = token_of(payload, len, URL_BARE);
	assert_refused(token, words, payload);
	struct error err = ERROR_INIT;
	int64_t expires_on = 0;
	jwt_expiry(token, &expires_on, &err);
	assert_silent(err.message, payload, len);
}

/* ---- the parts and their encoding --------------------------------------------------------------
 */

START_TEST(reads_either_alphabet_with_and_without_padding)
{
	/* Ends in 0 to 2 bytes beyond a group of three, and begins at each offset in one. */
	for (int spaces = 0; spaces < 3; spaces++) {
		_cleanup_text_ struct text payload = {0};
		text_appendf(&payload,
			"{\"n\":\"%.*s\xc3\xbf\xc3\xbe?>~?>~?>~\",\"exp\":1700000000}", spaces,
			"   ");
		for (int encoding = 0; encoding < ENCODING_COUNT; encoding++) {
			_cleanup_secret_ struct secret *token =
				token_of(payload.data, payload.len, (enum encoding)encoding);
			const char *letters = encoding <= URL_PADDED ? "-_" : "+/";
			ck_assert_ptr_nonnull(strpbrk(secret_bytes(token), letters));
			assert_expiry(token, 1700000000, payload.data);
		}
	}
}
END_TEST

START_TEST(reads_a_token_of_more_than_three_parts)
{
	/* {"exp":5} */
	static const char *const words[] = {"h.eyJleHAiOjV9.s", "h.eyJleHAiOjV9.s.t.u",
		"h.eyJleHAiOjV9.", ".eyJleHAiOjV9.", ".eyJleHAiOjV9.......",
		"\xff\x01.eyJleHAiOjV9.\n"};
	for (size_t i = 0; i < UNIT_COUNT(words); i++) {
		_cleanup_secret_ struct secret *token = secret_from(words[i], strlen(words[i]));
		assert_expiry(token, 5, words[i]);
	}
}
END_TEST

START_TEST(refuses_what_has_not_three_parts_or_no_payload)
{
	static const struct {
		const char *token;
		const char *words;
	} cases[] = {
		{"", "found 1 part(s), expected 3"},
		{"eyJleHAiOjV9", "found 1 part(s), expected 3"},
		{".", "found 2 part(s), expected 3"},
		{"eyJhbGci.eyJleHAiOjV9", "found 2 part(s), expected 3"},
		{"..", "its payload is empty"},
		{"eyJhbGci..c2lnbmF0", "its payload is empty"},
		{"a.=.c", "its payload is not base64url"},
		{"a.==.c", "its payload is not base64url"},
		{"a.====.c", "its payload is not base64url"},
		{"a.e.c", "its payload is not base64url"},
		{"a.eyJleHAiOjV9=.c", "its payload is not base64url"},
		{"a.eyJleHAiOjV9====.c", "its payload is not base64url"},
		{"a.e30==.c", "its payload is not base64url"},
		{"a.eyJl HAiOjV9.c", "its payload is not base64url"},
		{"a.eyJl\nHAiOjV9.c", "its payload is not base64url"},
		{"a.eyJl%HAiOjV9.c", "its payload is not base64url"},
		{"a.eyJl\xc3\xa4iOjV9.c", "its payload is not base64url"},
		{"a.e30.c", "the token has no exp claim"},
		{"a.e30=.c", "the token has no exp claim"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		_cleanup_secret_ struct secret *token =
			secret_from(cases[i].token, strlen(cases[i].token));
		assert_refused(token, cases[i].words, cases[i].token);
	}
}
END_TEST

START_TEST(refuses_a_payload_with_a_nul_in_its_base64)
{
	_cleanup_secret_ struct secret *token = secret_from("a.eyJl\0HAiOjV9.c", 16);
	assert_refused(token, "its payload is not base64url", "a NUL");
}
END_TEST

/* ---- the claim ---------------------------------------------------------------------------------
 */

START_TEST(reads_exp_as_integer_fraction_or_decimal_string)
{
	static const struct {
		const char *payload;
		int64_t expected;
	} cases[] = {
		{"{\"exp\":1700000000}", 1700000000},
		{"{\"exp\":1}", 1},
		{"{\"exp\":4102444800}", 4102444800},
		{"{\"exp\":9007199254740992}", INT64_C(9007199254740992)},
		{"{\"exp\":1700000000.0}", 1700000000},
		{"{\"exp\":1700000000.999}", 1700000000},
		{"{\"exp\":1.7e9}", 1700000000},
		{"{\"exp\":1.0}", 1},
		{"{\"exp\":1.999}", 1},
		{"{\"exp\":9007199254740992.0}", INT64_C(9007199254740992)},
		{"{\"exp\":\"1700000000\"}", 1700000000},
		{"{\"exp\":\"1\"}", 1},
		{"{\"exp\":\"9007199254740992\"}", INT64_C(9007199254740992)},
		{"\r\n\t {\"exp\" : 5}\r\n\t ", 5},
		{"{\"a\":{\"exp\":1},\"exp\":7,\"b\":{\"exp\":2}}", 7},
		{"{\"\\u0065xp\":8}", 8},
		{"{\"iat\":1,\"nbf\":2,\"exp\":3,\"aao\":-1}", 3},
		/* Of two, the last: like every other client. */
		{"{\"exp\":5,\"exp\":6}", 6},
		{"{\"exp\":\"x\",\"exp\":6}", 6},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		_cleanup_secret_ struct secret *token =
			token_of(cases[i].payload, strlen(cases[i].payload), URL_BARE);
		assert_expiry(token, cases[i].expected, cases[i].payload);
	}
}
END_TEST

START_TEST(refuses_exp_that_is_no_time)
{
	static const char *const values[] = {"0", "-1", "-1700000000", "-0", "0.0", "-0.0", "0.5",
		"0.999999", "-1.5", "1e-9", "9007199254740993", "9007199254740994.0", "1e16",
		"1e300", "-1e300", "1e999", "-1e999", "9223372036854775807", "9223372036854775808",
		"18446744073709551615", "18446744073709551616", "-9223372036854775808",
		"-9223372036854775809", "99999999999999999999999999999999", "true", "false", "null",
		"[]", "[1700000000]", "{}", "{\"exp\":1700000000}", "\"\"", "\" \"", "\"0\"",
		"\"-5\"", "\"abc\"", "\"1.5\"", "\" 5\"", "\"5 \"", "\"0x10\"", "\"1e9\"", "\"+5\"",
		"\"5s\"", "\"NaN\"", "\"9007199254740993\"", "\"99999999999999999999\"",
		"\"-99999999999999999999\"", "\"2033-05-18T03:33:20Z\"", "\"\\u0661\""};
	for (size_t i = 0; i < UNIT_COUNT(values); i++) {
		_cleanup_text_ struct text payload = {0};
		text_appendf(&payload, "{\"jti\":\"Zm9vYmFyLWp0aQ\",\"exp\":%s}", values[i]);
		assert_payload_refused(
			payload.data, payload.len, "the token's exp claim is not a time");
	}
}
END_TEST

START_TEST(refuses_exp_that_is_not_a_number_in_any_spelling)
{
	/* As a value of the claim or as no JSON at all: both are refusals. */
	static const char *const values[] = {"NaN", "nan", "-NaN", "Infinity", "-Infinity", "inf",
		"0x10", "010", "+5", ".5", "1_000", "--5", "'5'", "1e", "five"};
	for (size_t i = 0; i < UNIT_COUNT(values); i++) {
		_cleanup_text_ struct text payload = {0};
		text_appendf(&payload, "{\"exp\":%s}", values[i]);
		assert_payload_refused(payload.data, payload.len, "the token");
	}
}
END_TEST

START_TEST(refuses_a_payload_without_exp)
{
	static const char *const payloads[] = {"{}", "{\"Exp\":5}", "{\"EXP\":5}",
		"{\"expires\":5}", "{\"ex\":5}", "{\"exp \":5}", "{\"a\":{\"exp\":5}}",
		"{\"iat\":5,\"nbf\":6}"};
	for (size_t i = 0; i < UNIT_COUNT(payloads); i++)
		assert_payload_refused(
			payloads[i], strlen(payloads[i]), "the token has no exp claim");
}
END_TEST

START_TEST(refuses_a_payload_that_is_no_object_or_more_than_one)
{
	static const char *const payloads[] = {" ", "[]", "[{\"exp\":5}]", "5", "\"exp\"", "null",
		"true", "{", "}", "{\"exp\":5", "{\"exp\"", "{\"exp\":", "{\"exp\":5,",
		"{\"exp\":5]", "{exp:5}", "{\"exp\" 5}", "{\"exp\":5}x", "{\"exp\":5}{\"exp\":6}",
		"{\"exp\":5},", "\xef\xbb\xbf{\"exp\":5}", "exp=5", "<exp>5</exp>"};
	for (size_t i = 0; i < UNIT_COUNT(payloads); i++)
		assert_payload_refused(
			payloads[i], strlen(payloads[i]), "its payload is not a JSON object");
}
END_TEST

START_TEST(refuses_a_payload_with_nul_bytes)
{
	assert_payload_refused("\0", 1, "its payload is not a JSON object");
	assert_payload_refused("{\"exp\":5\0}", 10, "its payload is not a JSON object");
	assert_payload_refused("{\0\"exp\":5}", 10, "its payload is not a JSON object");
	assert_payload_refused("\0{\"exp\":5}", 10, "its payload is not a JSON object");
}
END_TEST

START_TEST(does_not_care_for_bytes_that_are_no_utf8_in_other_claims)
{
	static const char payload[] = "{\"name\":\"\xff\xfe\xc0\x80\xed\xa0\x80\",\"exp\":5}";
	_cleanup_secret_ struct secret *token = token_of(payload, sizeof(payload) - 1, URL_BARE);
	assert_expiry(token, 5, "no UTF-8");
}
END_TEST

START_TEST(refuses_nesting_without_end_and_reads_what_a_token_may_have)
{
	static const struct {
		int depth;
		bool is_read;
	} cases[] = {{0, true}, {1, true}, {16, true}, {24, true}, {40, false}, {1000, false},
		{100000, false}};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		_cleanup_text_ struct text payload = {0};
		text_append(&payload, "{\"exp\":5,\"deep\":");
		for (int depth = 0; depth < cases[i].depth; depth++)
			text_append(&payload, "[");
		text_append(&payload, cases[i].depth == 0 ? "1" : "");
		for (int depth = 0; depth < cases[i].depth; depth++)
			text_append(&payload, "]");
		text_append(&payload, "}");
		_cleanup_secret_ struct secret *token =
			token_of(payload.data, payload.len, URL_BARE);
		if (cases[i].is_read)
			assert_expiry(token, 5, "nested");
		else
			assert_refused(token, "its payload is not a JSON object", "nested");
	}
}
END_TEST

START_TEST(reads_a_huge_payload)
{
	_cleanup_text_ struct text payload = {0};
	text_append(&payload, "{");
	for (int i = 0; payload.len < (size_t)700 * 1024; i++)
		text_appendf(&payload, "\"claim%d\":\"%0100d\",", i, i);
	text_append(&payload, "\"exp\":1700000000}");
	_cleanup_secret_ struct secret *token = token_of(payload.data, payload.len, URL_BARE);
	assert_expiry(token, 1700000000, "huge");
}
END_TEST

START_TEST(refuses_every_beginning_of_a_token)
{
	static const char payload[] = "{\"aid\":\"e2a1\",\"exp\":1700000000}";
	_cleanup_secret_ struct secret *whole = token_of(payload, sizeof(payload) - 1, URL_BARE);
	size_t needed = secret_len(whole) - strlen(SIGNATURE);
	for (size_t len = 0; len < needed; len++) {
		_cleanup_secret_ struct secret *token = secret_from(secret_bytes(whole), len);
		assert_refused(token, "the token", "a beginning");
	}
	_cleanup_secret_ struct secret *unsigned_token = secret_from(secret_bytes(whole), needed);
	assert_expiry(unsigned_token, 1700000000, "without a signature");
}
END_TEST

START_TEST(survives_any_byte_in_any_place)
{
	static const char payload[] = "{\"aid\":\"e2a1\",\"exp\":1700000000}";
	uint64_t state = unit_seed("survives_any_byte_in_any_place");
	_cleanup_secret_ struct secret *whole = token_of(payload, sizeof(payload) - 1, URL_BARE);
	for (int round = 0; round < 20000; round++) {
		char bytes[256];
		size_t len = secret_len(whole);
		ck_assert_uint_lt(len, sizeof(bytes));
		memcpy(bytes, secret_bytes(whole), len);
		for (uint64_t changes = 1 + unit_random(&state, 3); changes > 0; changes--)
			bytes[unit_random(&state, len)] = (char)unit_random(&state, 256);
		_cleanup_secret_ struct secret *token = secret_from(bytes, len);
		int64_t expires_on = UNTOUCHED;
		struct error err = ERROR_INIT;
		if (jwt_expiry(token, &expires_on, &err) == 0)
			ck_assert(expires_on > 0 && expires_on <= INT64_C(1) << 53);
		else
			ck_assert(expires_on == UNTOUCHED && err.code == ERR_UPSTREAM_FORMAT);
	}
}
END_TEST

UNIT_MAIN("jwt", reads_either_alphabet_with_and_without_padding,
	reads_a_token_of_more_than_three_parts, refuses_what_has_not_three_parts_or_no_payload,
	refuses_a_payload_with_a_nul_in_its_base64, reads_exp_as_integer_fraction_or_decimal_string,
	refuses_exp_that_is_no_time, refuses_exp_that_is_not_a_number_in_any_spelling,
	refuses_a_payload_without_exp, refuses_a_payload_that_is_no_object_or_more_than_one,
	refuses_a_payload_with_nul_bytes, does_not_care_for_bytes_that_are_no_utf8_in_other_claims,
	refuses_nesting_without_end_and_reads_what_a_token_may_have, reads_a_huge_payload,
	refuses_every_beginning_of_a_token, survives_any_byte_in_any_place)
