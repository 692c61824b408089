#include "base/form.h"

#include "base/text.h"
#include "unit.h"

static void assert_form(const struct secret *form, const char *expected)
{
	ck_assert_str_eq(secret_bytes(form), expected);
	ck_assert_uint_eq(secret_len(form), strlen(expected));
}

START_TEST(joins_names_and_values)
{
	_cleanup_secret_ struct secret *form = secret_new(0);
	_cleanup_secret_ struct secret *value = secret_from("s&c=r+t/", 8);
	ck_assert_int_eq(form_add(form, "grant_type", "client_credentials"), 0);
	assert_form(form, "grant_type=client_credentials");
	ck_assert_int_eq(form_add(form, "scope", "https://x.y/.default openid"), 0);
	ck_assert_int_eq(form_add_secret(form, "client_secret", value), 0);
	ck_assert_int_eq(form_add(form, "empty", ""), 0);
	assert_form(form, "grant_type=client_credentials&scope=https%3A%2F%2Fx.y%2F.default%20"
			  "openid&client_secret=s%26c%3Dr%2Bt%2F&empty=");
}
END_TEST

START_TEST(leaves_out_what_is_not_there)
{
	_cleanup_secret_ struct secret *form = secret_new(0);
	ck_assert_int_eq(form_add(form, "a", NULL), 0);
	ck_assert_int_eq(form_add_secret(form, "b", NULL), 0);
	assert_form(form, "");
	ck_assert_int_eq(form_add(form, "c", "1"), 0);
	ck_assert_int_eq(form_add(form, "d", NULL), 0);
	assert_form(form, "c=1");
}
END_TEST

START_TEST(encodes_every_byte_so_that_it_comes_back)
{
	for (int byte = 0; byte < 256; byte++) {
		char c = (char)byte;
		char decoded[4];
		_cleanup_secret_ struct secret *form = secret_new(0);
		_cleanup_secret_ struct secret *value = secret_from(&c, 1);
		ck_assert_int_eq(form_add_secret(form, "a", value), 0);
		const char *encoded = secret_bytes(form) + 2;
		bool is_plain = byte != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
						    "uvwxyz0123456789-._~",
						     byte) != NULL;
		ck_assert_msg(strlen(encoded) == (is_plain ? 1 : 3), "byte %#x: %s", (unsigned)byte,
			encoded);
		if (byte == 0) {
			ck_assert_str_eq(encoded, "%00");
			continue;
		}
		ck_assert_int_eq(
			percent_decode(encoded, strlen(encoded), decoded, sizeof(decoded)), 1);
		ck_assert_int_eq(decoded[0], c);
	}
}
END_TEST

START_TEST(tells_that_there_is_no_room)
{
	static char long_value[SECRET_MAX / 2];
	_cleanup_secret_ struct secret *form = secret_new(0);
	memset(long_value, '%', sizeof(long_value) - 1); /* three times as long when encoded */
	ck_assert_int_ne(form_add(form, "a", long_value), 0);
	_cleanup_secret_ struct secret *value = secret_from(long_value, sizeof(long_value) - 1);
	_cleanup_secret_ struct secret *other = secret_new(0);
	ck_assert_int_ne(form_add_secret(other, "a", value), 0);
}
END_TEST

UNIT_MAIN("form", joins_names_and_values, leaves_out_what_is_not_there,
	encodes_every_byte_so_that_it_comes_back, tells_that_there_is_no_room)
