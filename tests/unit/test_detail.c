#include "base/detail.h"

#include "unit.h"

#define SECRET "Sup3r+S3cret/Value=="
#define LINE "Authorization: Bearer " SECRET
#define OFFSET (sizeof(LINE) - sizeof(SECRET))

static struct secret *line_of(const char *words)
{
	struct secret *line = secret_from(words, strlen(words));
	ck_assert_ptr_nonnull(line);
	return line;
}

static bool repeats(const char *words)
{
	_cleanup_secret_ struct secret *line = line_of(LINE);
	return detail_repeats(line, OFFSET, words, strlen(words));
}

static const char *copied(const char *words)
{
	static char out[DETAIL_MAX];
	_cleanup_secret_ struct secret *line = line_of(LINE);
	detail_copy(line, OFFSET, words, strlen(words), out, sizeof(out));
	return out;
}

static const char *told_of(const char *body_words)
{
	static char out[DETAIL_MAX];
	_cleanup_secret_ struct secret *line = line_of(LINE);
	_cleanup_secret_ struct secret *body = line_of(body_words);
	detail_of_body(line, OFFSET, body, out, sizeof(out));
	return out;
}

/* ---- what repeats ------------------------------------------------------------------------------
 */

START_TEST(finds_eight_bytes_of_the_secret_in_a_row)
{
	char words[64];
	for (size_t at = 0; at + 8 <= sizeof(SECRET) - 1; at++) {
		snprintf(words, sizeof(words), "it is %.8s!", &SECRET[at]);
		ck_assert_msg(repeats(words), "%s", words);
		snprintf(words, sizeof(words), "it is %.7s!", &SECRET[at]);
		ck_assert_msg(!repeats(words), "%s", words);
	}
	ck_assert(repeats(SECRET));
	ck_assert(repeats("before" SECRET "behind"));
}
END_TEST

START_TEST(does_not_mind_what_is_not_secret)
{
	ck_assert(!repeats(""));
	ck_assert(!repeats("Authorization: Bearer expected"));
	ck_assert(!repeats("the request has no credential of use"));
	ck_assert(!detail_repeats(NULL, 0, SECRET, strlen(SECRET)));
}
END_TEST

START_TEST(finds_the_secret_in_other_spellings)
{
	static const char *const spellings[] = {
		"Sup3r+S3cret\\/Value==",
		"Sup3r%2BS3cret%2FValue%3D%3D",
		"Sup3r%2bS3cret%2fValue%3d%3d",
		"S%75p3r%2BS3cret",
		"\\S\\u\\p\\3\\r\\+\\S\\3\\c",
		"100% of Sup3r+S3cret",
	};
	for (size_t i = 0; i < UNIT_COUNT(spellings); i++)
		ck_assert_msg(repeats(spellings[i]), "%s", spellings[i]);
}
END_TEST

START_TEST(finds_a_short_secret_as_a_whole)
{
	_cleanup_secret_ struct secret *line = line_of("pin");
	ck_assert(detail_repeats(line, 0, "a pin it is", 11));
	ck_assert(!detail_repeats(line, 0, "a pi it is", 10));
	_cleanup_secret_ struct secret *empty = line_of("");
	ck_assert(!detail_repeats(empty, 0, "anything", 8));
}
END_TEST

START_TEST(survives_escapes_that_are_cut_off)
{
	static const char *const words[] = {"%", "%2", "%%%", "\\", "%zz", "%00", "a%2", "%2\\5"};
	for (size_t i = 0; i < UNIT_COUNT(words); i++)
		ck_assert(!repeats(words[i]));
}
END_TEST

/* ---- what is shown -----------------------------------------------------------------------------
 */

START_TEST(copies_what_is_harmless)
{
	ck_assert_str_eq(copied("no such key"), "no such key");
	ck_assert_str_eq(copied(""), "");
	ck_assert_str_eq(copied("Bearer error=\"bad\""), "Bearer error=\"bad\"");
}
END_TEST

START_TEST(withholds_all_of_what_repeats_the_secret)
{
	ck_assert_str_eq(
		copied("the key " SECRET " is wrong"), "(withheld: it repeats the credential)");
	ck_assert_str_eq(copied(SECRET), "(withheld: it repeats the credential)");
}
END_TEST

START_TEST(fits_the_smallest_place_that_is_allowed)
{
	char out[DETAIL_LEAST + 1];
	_cleanup_secret_ struct secret *line = line_of(SECRET);
	memset(out, '~', sizeof(out));
	detail_copy(line, 0, SECRET, strlen(SECRET), out, DETAIL_LEAST);
	ck_assert_str_eq(out, "(withheld: it repeats the credential)");
	for (size_t len = 0; len < 3 * (size_t)DETAIL_LEAST; len++) {
		char words[3 * DETAIL_LEAST + 1];
		for (size_t i = 0; i < len; i++)
			words[i] = i % 5 == 4 ? ' ' : 'w';
		words[len] = '\0';
		detail_copy(line, 0, words, len, out, DETAIL_LEAST);
		size_t expected = len < DETAIL_LEAST ? len : DETAIL_LEAST - 1;
		ck_assert_uint_eq(strlen(out), expected);
		ck_assert_mem_eq(out, words, expected);
	}
	ck_assert_int_eq(out[DETAIL_LEAST], '~');
}
END_TEST

START_TEST(replaces_words_that_are_long_enough_to_be_a_token)
{
	static const char forty[] = "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd";
	char words[128];
	char expected[128];
	snprintf(words, sizeof(words), "see %s for it", forty);
	ck_assert_str_eq(copied(words), words);
	snprintf(words, sizeof(words), "see %se for it", forty);
	ck_assert_str_eq(copied(words), "see * for it");
	/* At the very end too, and when several follow each other. */
	snprintf(words, sizeof(words), "%sx, %sy", forty, forty);
	ck_assert_str_eq(copied(words), "*, *");
	snprintf(words, sizeof(words), "%s, %s", forty, forty);
	snprintf(expected, sizeof(expected), "%s, %s", forty, forty);
	ck_assert_str_eq(copied(words), expected);
}
END_TEST

START_TEST(shows_printable_ascii_only)
{
	char words[256];
	char out[300];
	_cleanup_secret_ struct secret *line = line_of(LINE);
	for (int i = 0; i < 255; i++)
		words[i] = (char)(i + 1);
	/* Letters in between, so that none of it is one long word. */
	detail_copy(line, OFFSET, words, 255, out, sizeof(out));
	for (const char *at = out; *at != '\0'; at++)
		ck_assert_msg(*at >= 0x20 && *at < 0x7f, "%#x", (unsigned)(unsigned char)*at);
}
END_TEST

START_TEST(does_without_a_secret)
{
	char out[DETAIL_MAX];
	detail_copy(NULL, 0, SECRET, strlen(SECRET), out, sizeof(out));
	ck_assert_str_eq(out, SECRET);
}
END_TEST

/* ---- bodies ------------------------------------------------------------------------------------
 */

START_TEST(tells_code_and_message_of_a_json_body)
{
	static const struct {
		const char *body;
		const char *told;
	} cases[] = {
		{"", "an empty body"},
		{"plain words", "plain words"},
		{"{\"error\":{\"code\":\"Denied\",\"message\":\"No such key\"}}",
			"Denied: No such key"},
		{"{\"code\":\"Denied\",\"message\":\"No such key\"}", "Denied: No such key"},
		{"{\"message\":\"No such key\"}", "No such key"},
		{"{\"code\":\"Denied\"}", "Denied"},
		{"{\"code\":7,\"message\":null}", "{\"code\":7,\"message\":null}"},
		{"{\"error\":\"invalid_client\"}", "{\"error\":\"invalid_client\"}"},
		{"[1]", "[1]"},
		{"{\"message\":\"x", "{\"message\":\"x"},
		{"{\"message\":\"the key is " SECRET "\"}",
			"(withheld: it repeats the credential)"},
		{"<html>" SECRET "</html>", "(withheld: it repeats the credential)"},
		{"{\"other\":\"Sup3r\\u002bS3cret\",\"message\":\"harmless\"}", "harmless"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		ck_assert_str_eq(told_of(cases[i].body), cases[i].told);
}
END_TEST

START_TEST(cuts_a_body_of_a_megabyte)
{
	static char words[SECRET_MAX + 1];
	memset(words, '-', SECRET_MAX);
	for (size_t i = 0; i < SECRET_MAX; i += 4)
		words[i] = ' ';
	ck_assert_uint_eq(strlen(told_of(words)), DETAIL_MAX - 1);
}
END_TEST

UNIT_MAIN("detail", finds_eight_bytes_of_the_secret_in_a_row, does_not_mind_what_is_not_secret,
	finds_the_secret_in_other_spellings, finds_a_short_secret_as_a_whole,
	survives_escapes_that_are_cut_off, copies_what_is_harmless,
	withholds_all_of_what_repeats_the_secret, fits_the_smallest_place_that_is_allowed,
	replaces_words_that_are_long_enough_to_be_a_token, shows_printable_ascii_only,
	does_without_a_secret, tells_code_and_message_of_a_json_body, cuts_a_body_of_a_megabyte)
