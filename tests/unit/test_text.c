#include "base/text.h"

#include "unit.h"

#include <wchar.h>

/* ---- struct text -------------------------------------------------------------------------------
 */

START_TEST(is_the_empty_string_when_zeroed)
{
	struct text text = {0};
	ck_assert_str_eq(text_string(&text), "");
	text_free(&text);
	text_free(&text);
	ck_assert_str_eq(text_string(&text), "");
}
END_TEST

START_TEST(appends_in_order_and_stays_terminated)
{
	_cleanup_text_ struct text text = {0};
	text_append(&text, "a");
	text_append(&text, "");
	text_append_bytes(&text, "bcd", 2);
	text_appendf(&text, "%d-%s", 42, "x");
	ck_assert_str_eq(text_string(&text), "abc42-x");
	ck_assert_uint_eq(text.len, 7);
}
END_TEST

START_TEST(keeps_nul_bytes_that_are_appended)
{
	_cleanup_text_ struct text text = {0};
	text_append_bytes(&text, "a\0b", 4);
	text_append(&text, "c");
	ck_assert_uint_eq(text.len, 5);
	ck_assert_mem_eq(text_string(&text), "a\0b\0c", 6);
}
END_TEST

START_TEST(appends_no_bytes_from_nowhere)
{
	_cleanup_text_ struct text text = {0};
	text_append_bytes(&text, NULL, 0);
	ck_assert_str_eq(text_string(&text), "");
	text_append(&text, "a");
	text_append_bytes(&text, NULL, 0);
	ck_assert_str_eq(text_string(&text), "a");
}
END_TEST

START_TEST(grows_through_every_length)
{
	/* By one byte a time, and by one piece of each length, so that each boundary is met. */
	_cleanup_text_ struct text slowly = {0};
	char piece[1200];
	for (size_t len = 0; len < sizeof(piece) - 1; len++) {
		piece[len] = (char)('a' + len % 26);
		piece[len + 1] = '\0';
		text_append_bytes(&slowly, &piece[len], 1);
		_cleanup_text_ struct text at_once = {0};
		text_append(&at_once, piece);
		_cleanup_text_ struct text formatted = {0};
		text_appendf(&formatted, "%s", piece);
		if (strcmp(text_string(&slowly), piece) != 0 ||
			strcmp(text_string(&at_once), piece) != 0 ||
			strcmp(text_string(&formatted), piece) != 0 || slowly.len != len + 1 ||
			at_once.len != len + 1 || formatted.len != len + 1)
			ck_abort_msg("length %zu", len + 1);
	}
}
END_TEST

START_TEST(gives_the_string_away_and_starts_anew)
{
	struct text text = {0};
	char *empty = text_steal(&text);
	ck_assert_str_eq(empty, "");
	free(empty);
	text_append(&text, "abc");
	char *stolen = text_steal(&text);
	ck_assert_str_eq(text_string(&text), "");
	text_append(&text, "def");
	ck_assert_str_eq(stolen, "abc");
	ck_assert_str_eq(text_string(&text), "def");
	free(stolen);
	text_free(&text);
}
END_TEST

START_TEST(refuses_lengths_that_no_memory_holds)
{
	const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 5, SIZE_MAX - 6, SIZE_MAX / 2,
		SIZE_MAX / 2 + 1, SIZE_MAX / 4, SIZE_MAX / 4 - 1, SIZE_MAX / 8};
	for (size_t i = 0; i < UNIT_COUNT(absurd); i++) {
		for (size_t held = 0; held < 2; held++) {
			volatile size_t len = absurd[i];
			struct text text = {0};
			text_append(&text, held == 0 ? "" : "12345");
			text_append_bytes(&text, "x", len);
			ck_assert_msg(text_string(&text) == NULL, "%zu after %zu", len, held);
			text_free(&text);
			ck_assert_str_eq(text_string(&text), "");
		}
	}
}
END_TEST

START_TEST(stays_failed_until_freed)
{
	struct text text = {0};
	volatile size_t absurd = SIZE_MAX / 8;
	text_append(&text, "kept");
	text_append_bytes(&text, "x", absurd);
	ck_assert(text.has_failed);
	text_append(&text, "a");
	text_append_bytes(&text, "a", 1);
	text_appendf(&text, "%d", 1);
	text_append_percent_encoded(&text, "a/", 2);
	ck_assert(text.has_failed);
	ck_assert_ptr_null(text_string(&text));
	ck_assert_uint_eq(text.len, 4);
	ck_assert_ptr_null(text_steal(&text));
	ck_assert(!text.has_failed);
	text_append(&text, "anew");
	ck_assert_str_eq(text_string(&text), "anew");
	text_free(&text);
}
END_TEST

START_TEST(fails_when_the_format_cannot_be_met)
{
	/* No character beyond ASCII can be converted in the C locale. */
	const wchar_t wide[] = {0x20ac, 0};
	struct text text = {0};
	text_append(&text, "a");
	text_appendf(&text, "%ls", wide);
	ck_assert_ptr_null(text_string(&text));
	ck_assert_ptr_null(text_steal(&text));
}
END_TEST

#if !UNIT_HAS_SANITIZER
static void append_without_memory(void *argument)
{
	(void)argument;
	struct text text = {0};
	struct text held = {0};
	text_append(&held, "some");
	unit_exhaust_memory();
	text_append(&text, "a");
	if (text_string(&text) != NULL || text_steal(&text) != NULL)
		_exit(1);
	while (held.len + 1 < held.capacity)
		text_append_bytes(&held, "x", 1);
	if (text_string(&held) == NULL) /* what fits needs no memory */
		_exit(2);
	text_append_bytes(&held, "x", 1);
	if (text_string(&held) != NULL)
		_exit(3);
	text_free(&held);
}

START_TEST(fails_without_memory_and_not_before)
{
	unit_assert_exited(unit_in_child(append_without_memory, NULL), 0);
}
END_TEST
#else
#define fails_without_memory_and_not_before NULL
#endif

START_TEST(percent_encodes_all_but_unreserved_characters)
{
	for (int c = 0; c < 256; c++) {
		const char byte = (char)c;
		bool is_unreserved = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
						      "abcdefghijklmnopqrstuvwxyz"
						      "0123456789-._~",
						       c) != NULL;
		char expected[4] = {byte};
		if (!is_unreserved)
			snprintf(expected, sizeof(expected), "%%%02X", (unsigned)c);
		_cleanup_text_ struct text text = {0};
		text_append_percent_encoded(&text, &byte, 1);
		ck_assert_str_eq(text_string(&text), expected);
	}
	_cleanup_text_ struct text text = {0};
	text_append_percent_encoded(&text, "", 0);
	text_append_percent_encoded(&text, "https://sts.example/.default scope&=\xc3\xa9", 38);
	ck_assert_str_eq(
		text_string(&text), "https%3A%2F%2Fsts.example%2F.default%20scope%26%3D%C3%A9");
}
END_TEST

/* ---- base64 ------------------------------------------------------------------------------------
 */

/* Decode into exactly the room that is asked for, so that a sanitizer sees a byte too many. */
static ssize_t decode(const char *in, size_t len, unsigned char *out, size_t out_size)
{
	size_t room = 3 * len / 4 + 1;
	unsigned char *exact = malloc(room + 1);
	ck_assert_ptr_nonnull(exact);
	exact[room] = 0xa5;
	ssize_t decoded = base64_decode(in, len, exact);
	bool is_within =
		exact[room] == 0xa5 && decoded < (ssize_t)room && decoded <= (ssize_t)out_size;
	if (is_within && decoded > 0)
		memcpy(out, exact, (size_t)decoded);
	free(exact);
	ck_assert_msg(is_within, "%zd bytes of %zu characters", decoded, len);
	return decoded;
}

START_TEST(encodes_and_decodes_the_vectors_of_rfc_4648)
{
	static const struct {
		const char *plain;
		const char *standard;
		const char *url;
	} table[] = {
		{"", "", ""},
		{"f", "Zg==", "Zg"},
		{"fo", "Zm8=", "Zm8"},
		{"foo", "Zm9v", "Zm9v"},
		{"foob", "Zm9vYg==", "Zm9vYg"},
		{"fooba", "Zm9vYmE=", "Zm9vYmE"},
		{"foobar", "Zm9vYmFy", "Zm9vYmFy"},
		{"\xfb\xff\xfe", "+//+", "-__-"},
		{"\xff\xef", "/+8=", "_-8"},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		const unsigned char *plain = (const unsigned char *)table[i].plain;
		size_t len = strlen(table[i].plain);
		char encoded[16];
		unsigned char decoded[16];
		base64_encode(plain, len, encoded);
		ck_assert_str_eq(encoded, table[i].standard);
		base64url_encode(plain, len, encoded);
		ck_assert_str_eq(encoded, table[i].url);
		const char *forms[] = {table[i].standard, table[i].url};
		for (size_t form = 0; form < 2; form++) {
			ssize_t got =
				decode(forms[form], strlen(forms[form]), decoded, sizeof(decoded));
			ck_assert_int_eq(got, (ssize_t)len);
			ck_assert_mem_eq(decoded, plain, len);
		}
	}
}
END_TEST

START_TEST(returns_from_base64_unchanged_at_every_length)
{
	uint64_t state = unit_seed(__func__);
	unsigned char plain[300];
	unsigned char decoded[sizeof(plain)];
	for (size_t len = 0; len <= sizeof(plain); len++) {
		for (size_t i = 0; i < len; i++)
			plain[i] = (unsigned char)unit_random(&state, 256);
		/* Exactly the room that the header asks for. */
		size_t room = 4 * ((len + 2) / 3) + 1;
		char *encoded = malloc(room);
		ck_assert_ptr_nonnull(encoded);
		base64_encode(plain, len, encoded);
		ck_assert_uint_eq(strlen(encoded), room - 1);
		ck_assert_int_eq(decode(encoded, room - 1, decoded, sizeof(decoded)), (ssize_t)len);
		ck_assert_mem_eq(decoded, plain, len);
		base64url_encode(plain, len, encoded);
		ck_assert_uint_eq(strlen(encoded), (4 * len + 2) / 3);
		ck_assert_uint_eq(
			strspn(encoded, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					"0123456789-_"),
			strlen(encoded));
		ck_assert_int_eq(
			decode(encoded, strlen(encoded), decoded, sizeof(decoded)), (ssize_t)len);
		ck_assert_mem_eq(decoded, plain, len);
		free(encoded);
	}
}
END_TEST

START_TEST(knows_each_character_of_both_alphabets_and_no_other)
{
	const char *alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	for (int c = 0; c < 256; c++) {
		int value = -1;
		if (c != 0 && strchr(alphabet, c) != NULL)
			value = (int)(strchr(alphabet, c) - alphabet);
		else if (c == '+' || c == '-')
			value = 62;
		else if (c == '/' || c == '_')
			value = 63;
		for (int place = 0; place < 4; place++) {
			char in[4] = {'A', 'A', 'A', 'A'};
			unsigned char out[4];
			in[place] = (char)c;
			ssize_t got = decode(in, 4, out, sizeof(out));
			if (c == '=' && place == 3)
				ck_assert_int_eq(got, 2);
			else if (value < 0)
				ck_assert_msg(got == -1, "byte %#x at %d", (unsigned)c, place);
			else {
				uint32_t bits = (uint32_t)value << (18 - 6 * place);
				ck_assert_int_eq(got, 3);
				ck_assert_uint_eq(out[0] << 16 | out[1] << 8 | out[2], bits);
			}
		}
	}
}
END_TEST

START_TEST(refuses_what_is_not_base64)
{
	static const char *const table[] = {
		"A",
		"AAAAA",
		"=",
		"==",
		"===",
		"====",
		"A=",
		"A==",
		"A===",
		"AA=",
		"AA===",
		"AA====",
		"AAA==",
		"AAA===",
		"AAAA=",
		"AAAA==",
		"AAAA====",
		"=AAA",
		"A=AA",
		"AA=A",
		"AA==AAAA",
		"AAA=AAAA",
		"AA A",
		"AAAA\n",
		"\nAAAA",
		"AA\r\nAA==",
		"AA.A",
		"AA,A",
		"AA%3D",
		"\xff\xff\xff\xff",
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		unsigned char out[16];
		ck_assert_msg(decode(table[i], strlen(table[i]), out, sizeof(out)) == -1, "\"%s\"",
			table[i]);
	}
	unsigned char out[4];
	ck_assert_int_eq(decode("AA\0A", 4, out, sizeof(out)), -1);
}
END_TEST

START_TEST(reads_no_further_than_told_in_base64)
{
	/* The byte behind is outside of the allocation. */
	const char whole[4] = {'Z', 'm', '8', '='};
	char *in = malloc(sizeof(whole));
	ck_assert_ptr_nonnull(in);
	memcpy(in, whole, sizeof(whole));
	unsigned char out[8];
	ck_assert_int_eq(decode(in, 4, out, sizeof(out)), 2);
	ck_assert_int_eq(decode(in, 3, out, sizeof(out)), 2);
	ck_assert_int_eq(decode(in, 2, out, sizeof(out)), 1);
	ck_assert_int_eq(decode(in, 1, out, sizeof(out)), -1);
	ck_assert_int_eq(decode(in, 0, out, sizeof(out)), 0);
	free(in);
}
END_TEST

/* ---- percent decoding --------------------------------------------------------------------------
 */

START_TEST(decodes_percent_escapes_and_refuses_bad_ones)
{
	static const struct {
		const char *in;
		const char *out; /* NULL: refused */
	} table[] = {
		{"", ""},
		{"abc", "abc"},
		{"a+b", "a+b"}, /* a path, not a form */
		{"%41", "A"},
		{"%2f%2F", "//"},
		{"%25", "%"},
		{"%2541", "%41"}, /* once only */
		{"%FF%01", "\xff\x01"},
		{"%c3%A9", "\xc3\xa9"},
		{"\xc3\xa9", "\xc3\xa9"},
		{"a%20b%20", "a b "},
		{"%", NULL},
		{"a%", NULL},
		{"%4", NULL},
		{"a%4", NULL},
		{"%%41", NULL},
		{"%4%31", NULL},
		{"%G1", NULL},
		{"%1g", NULL},
		{"%-1", NULL},
		{"%+1", NULL},
		{"% 1", NULL},
		{"%0x", NULL},
		{"%00", NULL},
		{"a%00b", NULL},
		{"%:0", NULL},
		{"%@0", NULL},
		{"%`0", NULL},
		{"%/0", NULL},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		char out[32];
		ssize_t len = percent_decode(table[i].in, strlen(table[i].in), out, sizeof(out));
		if (table[i].out == NULL) {
			ck_assert_msg(len == -1, "\"%s\"", table[i].in);
			continue;
		}
		ck_assert_msg(
			len == (ssize_t)strlen(table[i].out), "\"%s\": %zd", table[i].in, len);
		ck_assert_str_eq(out, table[i].out);
	}
}
END_TEST

START_TEST(decodes_every_byte_but_nul)
{
	for (unsigned c = 1; c < 256; c++) {
		char in[4];
		char out[2];
		for (int is_upper = 0; is_upper < 2; is_upper++) {
			snprintf(in, sizeof(in), is_upper ? "%%%02X" : "%%%02x", c);
			ck_assert_int_eq(percent_decode(in, 3, out, sizeof(out)), 1);
			ck_assert_uint_eq((unsigned char)out[0], c);
		}
	}
	char out[4];
	ck_assert_int_eq(percent_decode("a\0b", 3, out, sizeof(out)), -1);
}
END_TEST

START_TEST(fits_the_buffer_exactly_or_refuses)
{
	static const char *const table[] = {"abcd", "%61bcd", "abc%64", "%61%62%63%64"};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		for (size_t room = 0; room <= 6; room++) {
			char *out = malloc(room + 1);
			ck_assert_ptr_nonnull(out);
			out[room] = '#';
			ssize_t len = percent_decode(table[i], strlen(table[i]), out, room);
			ck_assert_msg(
				len == (room >= 5 ? 4 : -1), "%s in %zu: %zd", table[i], room, len);
			ck_assert_int_eq(out[room], '#');
			if (len == 4)
				ck_assert_str_eq(out, "abcd");
			free(out);
		}
	}
	char none[1] = {'#'};
	ck_assert_int_eq(percent_decode("", 0, none, 0), -1);
	ck_assert_int_eq(none[0], '#');
	ck_assert_int_eq(percent_decode("", 0, none, 1), 0);
	ck_assert_int_eq(none[0], '\0');
}
END_TEST

START_TEST(reads_no_escape_past_the_end)
{
	/* What follows would complete the escape. */
	char out[8];
	ck_assert_int_eq(percent_decode("a%41", 4, out, sizeof(out)), 2);
	ck_assert_int_eq(percent_decode("a%41", 3, out, sizeof(out)), -1);
	ck_assert_int_eq(percent_decode("a%41", 2, out, sizeof(out)), -1);
	ck_assert_int_eq(percent_decode("a%41", 1, out, sizeof(out)), 1);
	ck_assert_str_eq(out, "a");
}
END_TEST

/* ---- words of a configuration ------------------------------------------------------------------
 */

START_TEST(reads_every_octal_mode)
{
	for (mode_t expected = 0; expected <= 0777; expected++) {
		char word[8];
		mode_t mode = 07777;
		snprintf(word, sizeof(word), "0%03o", expected);
		ck_assert_int_eq(parse_mode(word, &mode), 0);
		ck_assert_uint_eq(mode, expected);
	}
}
END_TEST

START_TEST(refuses_mode_given_in_decimal)
{
	static const char *const table[] = {"660", "640", "432", "600", "777", "0", "7"};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		mode_t mode = 01234;
		ck_assert_msg(parse_mode(table[i], &mode) == -1, "%s", table[i]);
		ck_assert_uint_eq(mode, 01234);
	}
}
END_TEST

START_TEST(refuses_what_is_no_mode)
{
	static const char *const table[] = {"", "00", "066", "06600", "0o660", "0x1b0", "0680",
		"0668", "0866", "06 0", " 0660", "0660 ", "-066", "+066", "0-66", "066a", "u=rw",
		"rw-r", "02770", "04755", "00000660", "0\xb1\xb2\xb3"};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		mode_t mode = 01234;
		ck_assert_msg(parse_mode(table[i], &mode) == -1, "\"%s\"", table[i]);
		ck_assert_uint_eq(mode, 01234);
	}
}
END_TEST

START_TEST(reads_booleans_and_nothing_like_them)
{
	static const struct {
		const char *word;
		int expected; /* -1: refused */
	} table[] = {
		{"yes", 1},
		{"true", 1},
		{"on", 1},
		{"1", 1},
		{"YES", 1},
		{"True", 1},
		{"oN", 1},
		{"no", 0},
		{"false", 0},
		{"off", 0},
		{"0", 0},
		{"No", 0},
		{"FALSE", 0},
		{"Off", 0},
		{"", -1},
		{"y", -1},
		{"n", -1},
		{"t", -1},
		{"2", -1},
		{"-1", -1},
		{"01", -1},
		{"00", -1},
		{"yes ", -1},
		{" yes", -1},
		{"yess", -1},
		{"ye", -1},
		{"enabled", -1},
		{"yes\n", -1},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		for (int before = 0; before < 2; before++) {
			bool value = before != 0;
			int result = parse_boolean(table[i].word, &value);
			ck_assert_msg(result == (table[i].expected < 0 ? -1 : 0), "\"%s\"",
				table[i].word);
			ck_assert_msg(value == (table[i].expected < 0 ? before : table[i].expected),
				"\"%s\"", table[i].word);
		}
	}
}
END_TEST

START_TEST(reads_whole_numbers_between_their_bounds)
{
	static const struct {
		const char *word;
		int64_t min;
		int64_t max;
		bool is_good;
		int64_t expected;
	} table[] = {
		{"0", 0, 0, true, 0},
		{"-0", 0, 0, true, 0},
		{"7", 0, 10, true, 7},
		{"10", 0, 10, true, 10},
		{"11", 0, 10, false, 0},
		{"-1", 0, 10, false, 0},
		{"-5", -5, 5, true, -5},
		{"-6", -5, 5, false, 0},
		{"007", 0, 10, true, 7}, /* decimal all the same */
		{"010", 0, 100, true, 10},
		{"9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX},
		{"9223372036854775808", INT64_MIN, INT64_MAX, false, 0},
		{"-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN},
		{"-9223372036854775809", INT64_MIN, INT64_MAX, false, 0},
		{"99999999999999999999999999", INT64_MIN, INT64_MAX, false, 0},
		{"", INT64_MIN, INT64_MAX, false, 0},
		{"-", INT64_MIN, INT64_MAX, false, 0},
		{"--1", INT64_MIN, INT64_MAX, false, 0},
		{"- 1", INT64_MIN, INT64_MAX, false, 0},
		{"-+1", INT64_MIN, INT64_MAX, false, 0},
		{"+1", INT64_MIN, INT64_MAX, false, 0},
		{" 1", INT64_MIN, INT64_MAX, false, 0},
		{"\t1", INT64_MIN, INT64_MAX, false, 0},
		{"1 ", INT64_MIN, INT64_MAX, false, 0},
		{"1\n", INT64_MIN, INT64_MAX, false, 0},
		{"1s", INT64_MIN, INT64_MAX, false, 0},
		{"1.0", INT64_MIN, INT64_MAX, false, 0},
		{"1e3", INT64_MIN, INT64_MAX, false, 0},
		{"0x10", INT64_MIN, INT64_MAX, false, 0},
		{"1,000", INT64_MIN, INT64_MAX, false, 0},
		{"ten", INT64_MIN, INT64_MAX, false, 0},
		{"\xb2", INT64_MIN, INT64_MAX, false, 0},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		int64_t value = 4711;
		int result = parse_integer(table[i].word, table[i].min, table[i].max, &value);
		ck_assert_msg(result == (table[i].is_good ? 0 : -1), "\"%s\"", table[i].word);
		ck_assert_int_eq(value, table[i].is_good ? table[i].expected : 4711);
	}
}
END_TEST

START_TEST(finds_the_word_that_was_meant)
{
	static const char *const words[] = {"account_id", "account_domain", "key_file", "mode",
		"uid", "scope", "on", "authority"};
	static const struct {
		const char *word;
		const char *meant;
	} table[] = {
		{"account_id", "account_id"}, /* itself */
		{"acount_id", "account_id"},
		{"accountid", "account_id"},
		{"acconut_id", "account_id"}, /* swapped */
		{"acconut_di", "account_id"}, /* swapped twice */
		{"account_idxx", "account_id"},
		{"account_idxxx", NULL},
		{"accouxx_ix", NULL},
		{"acount_domains", "account_domain"},
		{"Account_Domain", "account_domain"},
		{"key-file", "key_file"},
		{"keyfiles", "key_file"},
		{"ekyfile", "key_file"},
		{"mod", "mode"},
		{"modes", "mode"},
		{"moed", "mode"},
		{"made", "mode"},
		{"modify", NULL}, /* two of four letters */
		{"gid", "uid"},
		{"iud", "uid"},
		{"git", NULL},
		{"no", NULL}, /* one of two letters */
		{"in", NULL},
		{"on", "on"},
		{"", NULL},
		{"x", NULL},
		{"entirely_different", NULL},
		{"uhtortiy", NULL},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		const char *nearest = nearest_word(table[i].word, words, UNIT_COUNT(words));
		if (table[i].meant == NULL) {
			ck_assert_msg(nearest == NULL, "\"%s\": \"%s\"", table[i].word, nearest);
		} else {
			ck_assert_msg(nearest != NULL, "\"%s\"", table[i].word);
			ck_assert_str_eq(nearest, table[i].meant);
		}
	}
}
END_TEST

START_TEST(prefers_the_nearer_word_wherever_it_stands)
{
	static const char *const first[] = {"refresh_on", "refresh_off"};
	static const char *const last[] = {"refresh_off", "refresh_on"};
	ck_assert_str_eq(nearest_word("refresh_onn", first, 2), "refresh_on");
	ck_assert_str_eq(nearest_word("refresh_onn", last, 2), "refresh_on");
	ck_assert_str_eq(nearest_word("refresh_of", first, 2), "refresh_on");
	ck_assert_str_eq(nearest_word("refresh_of", last, 2), "refresh_off");
}
END_TEST

START_TEST(finds_no_word_where_there_is_none)
{
	static const char *const empty[] = {""};
	ck_assert_ptr_null(nearest_word("a", NULL, 0));
	ck_assert_ptr_null(nearest_word("a", empty, 1));
	ck_assert_ptr_eq(nearest_word("", empty, 1), empty[0]);
}
END_TEST

START_TEST(compares_words_of_every_length)
{
	/* 48 is the longest that is compared; beyond, nothing is near. */
	char word[70];
	char near[70];
	for (size_t len = 6; len < 60; len++) {
		for (size_t i = 0; i < len; i++)
			word[i] = (char)('a' + i % 26);
		word[len] = '\0';
		memcpy(near, word, len + 1);
		near[len / 2] = '#';
		const char *words[] = {near};
		const char *nearest = nearest_word(word, words, 1);
		ck_assert_msg(nearest == (len <= 48 ? near : NULL), "length %zu", len);
		near[len - 1] = '\0'; /* one shorter, one changed */
		nearest = nearest_word(word, words, 1);
		ck_assert_msg(
			(nearest != NULL) == (len <= 48 && len > 6), "length %zu, short", len);
	}
}
END_TEST

START_TEST(knows_a_uuid)
{
	static const struct {
		const char *word;
		bool is_uuid;
	} table[] = {
		{"01234567-89ab-cdef-0123-456789abcdef", true},
		{"01234567-89AB-CDEF-0123-456789abCDEF", true},
		{"00000000-0000-0000-0000-000000000000", true},
		{"", false},
		{"01234567-89ab-cdef-0123-456789abcde", false},
		{"01234567-89ab-cdef-0123-456789abcdef0", false},
		{"0123456789abcdef0123456789abcdef", false},
		{"{01234567-89ab-cdef-0123-456789abcde}", false},
		{"01234567-89ab-cdef-0123-456789abcdeg", false},
		{"0123456-789ab-cdef-0123-456789abcdef", false},
		{"01234567_89ab_cdef_0123_456789abcdef", false},
		{"01234567-89ab-cdef-0123-456789abcde ", false},
		{" 1234567-89ab-cdef-0123-456789abcdef", false},
		{"------------------------------------", false},
		{"01234567089ab0cdef001230456789abcdef", false},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++)
		ck_assert_msg(is_uuid(table[i].word) == table[i].is_uuid, "\"%s\"", table[i].word);
	/* Each place, with what must not be there. */
	for (size_t place = 0; place < 36; place++) {
		char word[] = "01234567-89ab-cdef-0123-456789abcdef";
		word[place] = word[place] == '-' ? '0' : '-';
		ck_assert_msg(!is_uuid(word), "%s", word);
	}
}
END_TEST

START_TEST(hides_words_that_are_long_enough_to_be_a_key)
{
	static const struct {
		const char *words;
		const char *shown;
	} cases[] = {
		{"", ""},
		{"found 'x', expected y", "found 'x', expected y"},
		{"id 00000000-0000-0000-0000-000000000000.",
			"id 00000000-0000-0000-0000-000000000000."},
		{"0123456789012345678901234567890123456789",
			"0123456789012345678901234567890123456789"},
		{"01234567890123456789012345678901234567890",
			"*****************************************"},
		{"key 'Zm9vYmFyRmlyc3RLZXkrLz0rLz0rLz0rLz0rLz0rLz0=' end",
			"key '********************************************' end"},
		{"/a/path/that/is/longer/than/a/key/would/be/of/the/account",
			"/a/path/that/is/longer/than/a/key/would/be/of/the/account"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char words[128];
		snprintf(words, sizeof(words), "%s", cases[i].words);
		text_hide_long_words(words);
		ck_assert_str_eq(words, cases[i].shown);
	}
}
END_TEST

UNIT_MAIN("text", hides_words_that_are_long_enough_to_be_a_key, is_the_empty_string_when_zeroed,
	appends_in_order_and_stays_terminated, keeps_nul_bytes_that_are_appended,
	appends_no_bytes_from_nowhere, grows_through_every_length,
	gives_the_string_away_and_starts_anew, refuses_lengths_that_no_memory_holds,
	stays_failed_until_freed, fails_when_the_format_cannot_be_met,
	fails_without_memory_and_not_before, percent_encodes_all_but_unreserved_characters,
	encodes_and_decodes_the_vectors_of_rfc_4648, returns_from_base64_unchanged_at_every_length,
	knows_each_character_of_both_alphabets_and_no_other, refuses_what_is_not_base64,
	reads_no_further_than_told_in_base64, decodes_percent_escapes_and_refuses_bad_ones,
	decodes_every_byte_but_nul, fits_the_buffer_exactly_or_refuses,
	reads_no_escape_past_the_end, reads_every_octal_mode, refuses_mode_given_in_decimal,
	refuses_what_is_no_mode, reads_booleans_and_nothing_like_them,
	reads_whole_numbers_between_their_bounds, finds_the_word_that_was_meant,
	prefers_the_nearer_word_wherever_it_stands, finds_no_word_where_there_is_none,
	compares_words_of_every_length, knows_a_uuid)
