#include "base/error.h"

#include "unit.h"

#include <errno.h>
#include <wchar.h>

/* An answer of an upstream, as http_client leaves it. */
static struct error upstream_error(void)
{
	struct error err = ERROR_INIT;
	error_set(&err, ERR_THROTTLED, "the service is busy");
	err.http_status = 429;
	err.retry_after_s = 30;
	strcpy(err.correlation_vector, "abc.0");
	return err;
}

START_TEST(starts_as_none)
{
	struct error err = ERROR_INIT;
	ck_assert_int_eq(err.code, ERR_NONE);
	ck_assert_str_eq(err.message, "");
	ck_assert_int_eq(err.http_status, 0);
	ck_assert_str_eq(err.correlation_vector, "");
	ck_assert_int_eq(err.retry_after_s, -1);
}
END_TEST

START_TEST(sets_code_and_sentence_and_returns_minus_one)
{
	struct error err = ERROR_INIT;
	ck_assert_int_eq(error_set(&err, ERR_TLS, "%s expired on day %d", "x.example", 7), -1);
	ck_assert_int_eq(err.code, ERR_TLS);
	ck_assert_str_eq(err.message, "x.example expired on day 7");
	ck_assert_int_eq(err.retry_after_s, -1);
}
END_TEST

START_TEST(forgets_the_upstream_when_set_anew)
{
	struct error err = upstream_error();
	error_set(&err, ERR_NETWORK, "no route");
	ck_assert_int_eq(err.http_status, 0);
	ck_assert_str_eq(err.correlation_vector, "");
	ck_assert_int_eq(err.retry_after_s, -1);
	err = upstream_error();
	error_set_errno(&err, EIO, "read");
	ck_assert_int_eq(err.http_status, 0);
	ck_assert_str_eq(err.correlation_vector, "");
	ck_assert_int_eq(err.retry_after_s, -1);
}
END_TEST

START_TEST(keeps_code_and_upstream_when_wrapped)
{
	struct error err = upstream_error();
	ck_assert_int_eq(error_wrap(&err, "account \"%s\"", "north"), -1);
	ck_assert_str_eq(err.message, "account \"north\": the service is busy");
	ck_assert_int_eq(err.code, ERR_THROTTLED);
	ck_assert_int_eq(err.http_status, 429);
	ck_assert_int_eq(err.retry_after_s, 30);
	ck_assert_str_eq(err.correlation_vector, "abc.0");
	error_wrap(&err, "second");
	ck_assert_str_eq(err.message, "second: account \"north\": the service is busy");
}
END_TEST

START_TEST(takes_no_error_to_fill_in)
{
	ck_assert_int_eq(error_set(NULL, ERR_TLS, "%d", 1), -1);
	ck_assert_int_eq(error_set_errno(NULL, ENOENT, "%d", 1), -1);
	ck_assert_int_eq(error_wrap(NULL, "%d", 1), -1);
}
END_TEST

START_TEST(adds_the_words_of_errno)
{
	struct error err = ERROR_INIT;
	char expected[sizeof(err.message)];
	const int numbers[] = {ENOENT, EACCES, EADDRINUSE, 0, 99999, -1};
	for (size_t i = 0; i < UNIT_COUNT(numbers); i++) {
		ck_assert_int_eq(error_set_errno(&err, numbers[i], "open %s", "/etc/x"), -1);
		snprintf(expected, sizeof(expected), "open /etc/x: %s", strerror(numbers[i]));
		ck_assert_str_eq(err.message, expected);
		ck_assert_int_eq(err.code, ERR_SYSTEM);
	}
}
END_TEST

START_TEST(tells_missing_memory_from_other_errno)
{
	struct error err = ERROR_INIT;
	error_set_errno(&err, ENOMEM, "snapshot");
	ck_assert_int_eq(err.code, ERR_NO_MEMORY);
}
END_TEST

START_TEST(cuts_what_is_too_long)
{
	struct error err = ERROR_INIT;
	char text[2 * sizeof(err.message)];
	for (size_t len = sizeof(err.message) - 12; len < sizeof(text); len++) {
		memset(text, 'x', len);
		text[len] = '\0';
		size_t most = sizeof(err.message) - 1;

		error_set(&err, ERR_SYSTEM, "%s", text);
		ck_assert_uint_eq(strlen(err.message), len < most ? len : most);
		error_wrap(&err, "context");
		ck_assert_uint_eq(strlen(err.message), len + 9 < most ? len + 9 : most);
		ck_assert_int_eq(strncmp(err.message, "context: xxx", 12), 0);

		error_set_errno(&err, ENOENT, "%s", text);
		size_t words = 2 + strlen(strerror(ENOENT));
		ck_assert_uint_eq(strlen(err.message), len + words < most ? len + words : most);
		error_set(&err, ERR_SYSTEM, "short");
		error_wrap(&err, "%s", text);
		ck_assert_uint_eq(strlen(err.message), len + 7 < most ? len + 7 : most);
	}
}
END_TEST

START_TEST(replaces_each_byte_that_is_not_printable)
{
	for (int c = 1; c < 256; c++) {
		const char text[] = {'a', (char)c, 'b', '\0'};
		char expected[] = {'a', '?', 'b', '\0'};
		if (c >= 0x20 && c <= 0x7e)
			expected[1] = (char)c;
		char direct[4];
		memcpy(direct, text, sizeof(direct));
		error_make_printable(direct);
		ck_assert_str_eq(direct, expected);

		struct error err = ERROR_INIT;
		error_set(&err, ERR_SYSTEM, "%s", text);
		ck_assert_str_eq(err.message, expected);
		error_set(&err, ERR_SYSTEM, "%s", "c");
		error_wrap(&err, "%s", text);
		ck_assert_int_eq(strncmp(err.message, expected, 3), 0);
		ck_assert_str_eq(err.message + 3, ": c");
	}
	char nothing[] = "";
	error_make_printable(nothing);
	ck_assert_str_eq(nothing, "");
}
END_TEST

START_TEST(takes_its_own_sentence_as_argument)
{
	struct error err = upstream_error();
	error_set(&err, ERR_TIMEOUT, "<%s> %s", err.message, err.correlation_vector);
	ck_assert_str_eq(err.message, "<the service is busy> abc.0");
	error_wrap(&err, "(%s)", err.message);
	ck_assert_str_eq(err.message, "(<the service is busy> abc.0): <the service is busy> abc.0");
}
END_TEST

START_TEST(survives_arguments_that_cannot_be_formatted)
{
	/* No character beyond ASCII can be converted in the C locale. */
	const wchar_t wide[] = {0x20ac, 0};
	struct error err = upstream_error();
	ck_assert_int_eq(error_wrap(&err, "%ls", wide), -1);
	ck_assert_str_eq(err.message, "the service is busy");
	ck_assert_int_eq(error_set(&err, ERR_TLS, "%ls", wide), -1);
	ck_assert_int_eq(err.code, ERR_TLS);
	ck_assert_str_eq(err.message, "");
	ck_assert_int_eq(error_set_errno(&err, EIO, "%ls", wide), -1);
	ck_assert_int_eq(err.code, ERR_SYSTEM);
}
END_TEST

START_TEST(names_and_classes_each_code)
{
	static const struct {
		const char *name;
		enum error_code code;
		enum error_class class;
	} table[] = {
		{"none", ERR_NONE, ERROR_CLASS_RETRY},
		{"system", ERR_SYSTEM, ERROR_CLASS_SYSTEM},
		{"no_memory", ERR_NO_MEMORY, ERROR_CLASS_SYSTEM},
		{"configuration", ERR_CONFIGURATION, ERROR_CLASS_CONFIGURATION},
		{"secret_source", ERR_SECRET_SOURCE, ERROR_CLASS_CREDENTIAL},
		{"network", ERR_NETWORK, ERROR_CLASS_RETRY},
		{"tls", ERR_TLS, ERROR_CLASS_UPSTREAM},
		{"timeout", ERR_TIMEOUT, ERROR_CLASS_RETRY},
		{"throttled", ERR_THROTTLED, ERROR_CLASS_RETRY},
		{"upstream_fault", ERR_UPSTREAM_FAULT, ERROR_CLASS_RETRY},
		{"unavailable", ERR_UNAVAILABLE, ERROR_CLASS_RETRY},
		{"denied", ERR_DENIED, ERROR_CLASS_CREDENTIAL},
		{"refused", ERR_REFUSED, ERROR_CLASS_CONFIGURATION},
		{"upstream_format", ERR_UPSTREAM_FORMAT, ERROR_CLASS_UPSTREAM},
	};
	ck_assert_uint_eq(UNIT_COUNT(table), ERR_CODE_COUNT);
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		ck_assert_uint_eq(table[i].code, i);
		ck_assert_str_eq(error_code_name(table[i].code), table[i].name);
		ck_assert_msg(error_class_of(table[i].code) == table[i].class, "%s", table[i].name);
	}
}
END_TEST

START_TEST(names_a_code_that_is_none)
{
	/* Not a constant, so that the compiler does not warn of what is tested. */
	volatile int beyond[] = {ERR_CODE_COUNT, ERR_CODE_COUNT + 1, -1};
	for (size_t i = 0; i < UNIT_COUNT(beyond); i++) {
		enum error_code code = (enum error_code)beyond[i];
		ck_assert_str_eq(error_code_name(code), "unknown");
		ck_assert_int_eq(error_class_of(code), ERROR_CLASS_SYSTEM);
	}
}
END_TEST

UNIT_MAIN("error", starts_as_none, sets_code_and_sentence_and_returns_minus_one,
	forgets_the_upstream_when_set_anew, keeps_code_and_upstream_when_wrapped,
	takes_no_error_to_fill_in, adds_the_words_of_errno, tells_missing_memory_from_other_errno,
	cuts_what_is_too_long, replaces_each_byte_that_is_not_printable,
	takes_its_own_sentence_as_argument, survives_arguments_that_cannot_be_formatted,
	names_and_classes_each_code, names_a_code_that_is_none)
