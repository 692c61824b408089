#include "config/ini_file.h"

#include "base/text.h"

#include "files.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

/* ---- what is told, written down ----------------------------------------------------------------
 */

static void on_section(void *context, const char *name, unsigned line)
{
	text_appendf(context, "%u [%s]\n", line, name);
}

static void on_key(void *context, const char *name, const char *value, unsigned line)
{
	text_appendf(context, "%u <%s> = <%s>\n", line, name, value);
}

static void on_problem(void *context, unsigned line, const char *sentence)
{
	text_appendf(context, "%u: %s\n", line, sentence);
}

static const struct ini_events recording = {on_section, on_key, on_problem};

#define NO_HEADER_ABOVE "found a key before the first section, expected a [SECTION] above it\n"
#define NO_BRACKET "found '[' without its ']', expected [SECTION]\n"
#define MORE_BEHIND "found more behind [SECTION], expected the end of the line\n"
#define SECTION_TOO_LONG "the name of the section is too long, expected at most 49 bytes\n"
#define LINE_TOO_LONG "the line is too long, expected at most 198 bytes\n"
#define NUL "found a NUL byte, expected text\n"
#define CONTROL "found a control character, expected text\n"
#define CONTINUED                                                                      \
	"found a line that begins with a blank, which would continue the value above " \
	"it; begin each key at the start of its line\n"
#define NOTHING_KNOWN "found a line that is neither [SECTION], nor key = value, nor a comment\n"

static void assert_events_of_bytes(const char *bytes, size_t len, const char *expected)
{
	_cleanup_text_ struct text events = {0};
	struct error err = ERROR_INIT;
	int errnum = -1;
	int result = ini_file_read(
		write_bytes("a.conf", bytes, len), &recording, &events, &errnum, &err);
	ck_assert_msg(result == 0, "%s", err.message);
	ck_assert_int_eq(errnum, 0);
	ck_assert_str_eq(text_string(&events), expected);
}

static void assert_events(const char *content, const char *expected)
{
	assert_events_of_bytes(content, strlen(content), expected);
}

static void assert_unreadable(const char *path, int expected_errnum, const char *words)
{
	_cleanup_text_ struct text events = {0};
	struct error err = ERROR_INIT;
	int errnum = -1;
	int fd = dup(STDOUT_FILENO);
	close(fd);
	ck_assert_int_eq(ini_file_read(path, &recording, &events, &errnum, &err), -1);
	int fd_after = dup(STDOUT_FILENO);
	close(fd_after);
	ck_assert_int_eq(fd_after, fd);
	ck_assert_int_eq(errnum, expected_errnum);
	ck_assert_msg(
		strstr(err.message, words) != NULL, "'%s' is without '%s'", err.message, words);
	ck_assert_ptr_nonnull(strstr(err.message, path));
	ck_assert_str_eq(text_string(&events), "");
}

/* ---- what is read ------------------------------------------------------------------------------
 */

START_TEST(tells_sections_and_keys_with_their_lines)
{
	assert_events("[daemon]\n"
		      "log_level = debug\n"
		      "\n"
		      "[account anchors]\n"
		      "account_id=1\n"
		      "account_key  =\tfile:/a=b \n"
		      "colon : too\n",
		"1 [daemon]\n2 <log_level> = <debug>\n4 [account anchors]\n5 <account_id> = <1>\n"
		"6 <account_key> = <file:/a=b>\n7 <colon> = <too>\n");
}
END_TEST

START_TEST(tells_a_section_that_has_no_keys)
{
	assert_events("[one]\n[two]\n\n[three]", "1 [one]\n2 [two]\n4 [three]\n");
	assert_events("[]\n", "1 []\n");
	assert_events("[ one ]\n", "1 [ one ]\n");
}
END_TEST

START_TEST(tells_nothing_of_an_empty_file)
{
	assert_events("", "");
	assert_events("\n\n  \n\t\n", "");
	assert_events("; nothing\n# here\n", "");
}
END_TEST

START_TEST(passes_over_comments)
{
	assert_events("; first\n"
		      "# second\n"
		      "[daemon] ; third\n"
		      "  ; fourth\n"
		      "\t# fifth\n"
		      "a = 1 ; sixth\n"
		      "b = 2\t; seventh\n"
		      ";c = 3\n"
		      "#d = 4\n",
		"3 [daemon]\n6 <a> = <1>\n7 <b> = <2>\n");
	assert_events("[daemon] # also\na=1", "1 [daemon]\n2 <a> = <1>\n");
}
END_TEST

START_TEST(keeps_what_only_looks_like_a_comment)
{
	/* A ';' begins one behind a blank only, a '#' at the start of a line only. */
	assert_events("[s]\na = x;y\nb = x # y\nc = x#y\nd =;x\n",
		"1 [s]\n2 <a> = <x;y>\n3 <b> = <x # y>\n4 <c> = <x#y>\n5 <d> = <;x>\n");
}
END_TEST

START_TEST(tells_a_key_without_a_value)
{
	assert_events("[s]\na =\nb = ; x\nc=", "1 [s]\n2 <a> = <>\n3 <b> = <>\n4 <c> = <>\n");
}
END_TEST

START_TEST(tells_a_key_without_a_name)
{
	assert_events("[s]\n= x\n", "1 [s]\n2 <> = <x>\n");
}
END_TEST

START_TEST(tells_the_same_key_each_time)
{
	assert_events("[s]\na=1\na=2\n[s]\na=3\n",
		"1 [s]\n2 <a> = <1>\n3 <a> = <2>\n4 [s]\n5 <a> = <3>\n");
}
END_TEST

START_TEST(reads_line_ends_of_windows)
{
	assert_events("[daemon]\r\na = 1\r\n\r\n; x\r\nb = 2\r\n",
		"1 [daemon]\n2 <a> = <1>\n5 <b> = <2>\n");
}
END_TEST

START_TEST(reads_a_file_without_a_final_line_end)
{
	assert_events("[daemon]\na = 1", "1 [daemon]\n2 <a> = <1>\n");
	assert_events("[daemon]\na = 1\r", "1 [daemon]\n2 <a> = <1>\n");
}
END_TEST

START_TEST(reads_a_file_with_a_byte_order_mark)
{
	assert_events("\xef\xbb\xbf[daemon]\na = 1\n", "1 [daemon]\n2 <a> = <1>\n");
	assert_events("\xef\xbb\xbf; a comment\n[daemon]\n", "2 [daemon]\n");
	assert_events("\xef\xbb\xbf", "");
}
END_TEST

START_TEST(reads_letters_beyond_ascii_as_they_are)
{
	assert_events(
		"[\xc3\xa4]\nk = \xe2\x82\xac\xff\n", "1 [\xc3\xa4]\n2 <k> = <\xe2\x82\xac\xff>\n");
}
END_TEST

START_TEST(reads_a_name_of_any_length_that_fits_its_line)
{
	char name[151];
	char content[256];
	char expected[256];
	memset(name, 'n', 150);
	name[150] = '\0';
	snprintf(content, sizeof(content), "[s]\n%s = v\n", name);
	snprintf(expected, sizeof(expected), "1 [s]\n2 <%s> = <v>\n", name);
	assert_events(content, expected);
}
END_TEST

/* ---- what is told as a problem -----------------------------------------------------------------
 */

START_TEST(refuses_a_key_before_the_first_section)
{
	assert_events("a = 1\n[s]\nb = 2\n", "1: " NO_HEADER_ABOVE "2 [s]\n3 <b> = <2>\n");
	assert_events("\n\n  a = 1\n", "3: " NO_HEADER_ABOVE);
}
END_TEST

START_TEST(refuses_a_line_that_continues_another)
{
	assert_events("[s]\na = 1\n  b = 2\n\tcontinued\nc = 3\n",
		"1 [s]\n2 <a> = <1>\n3: " CONTINUED "4: " CONTINUED "5 <c> = <3>\n");
	assert_events("[s]\n a = 1\n", "1 [s]\n2: " CONTINUED);
	assert_events("[s]\na = 1\n\n\n b\n", "1 [s]\n2 <a> = <1>\n5: " CONTINUED);
}
END_TEST

START_TEST(refuses_a_header_without_its_bracket)
{
	assert_events("[daemon\na = 1\n[s]\nb = 2\n", "1: " NO_BRACKET "3 [s]\n4 <b> = <2>\n");
	assert_events("[s]\na = 1\n[\nb = 2", "1 [s]\n2 <a> = <1>\n3: " NO_BRACKET);
}
END_TEST

START_TEST(refuses_more_behind_a_header)
{
	assert_events("[s] a = 1\nb = 2\n", "1: " MORE_BEHIND);
	assert_events("[s]]\n", "1: " MORE_BEHIND);
	assert_events("[s][t]\n", "1: " MORE_BEHIND);
}
END_TEST

START_TEST(refuses_the_name_of_a_section_that_is_too_long)
{
	for (int len = 47; len <= 60; len++) {
		char content[128];
		char expected[256];
		char name[61];
		memset(name, 'n', 60);
		name[len] = '\0';
		snprintf(content, sizeof(content), "[%s]\na = 1\n", name);
		if (len <= 49)
			snprintf(expected, sizeof(expected), "1 [%s]\n2 <a> = <1>\n", name);
		else
			strcpy(expected, "1: " SECTION_TOO_LONG);
		assert_events(content, expected);
	}
}
END_TEST

START_TEST(refuses_a_line_that_is_too_long_and_counts_on)
{
	for (size_t len = 190; len <= 1000; len++) {
		_cleanup_text_ struct text content = {0};
		_cleanup_text_ struct text expected = {0};
		text_append(&content, "[s]\na=");
		text_append(
			&expected, len <= 198 ? "1 [s]\n2 <a> = <" : "1 [s]\n2: " LINE_TOO_LONG);
		for (size_t i = 2; i < len; i++) {
			text_append(&content, "x");
			text_append(&expected, len <= 198 ? "x" : "");
		}
		text_append(&content, "\nb = 1\n");
		text_append(&expected, len <= 198 ? ">\n" : "");
		text_append(&expected, "3 <b> = <1>\n");
		assert_events(content.data, expected.data);
	}
}
END_TEST

START_TEST(refuses_a_long_comment_and_a_long_last_line)
{
	char content[400];
	snprintf(content, sizeof(content), "; %0300d\n[s]\n", 0);
	assert_events(content, "1: " LINE_TOO_LONG "2 [s]\n");
	snprintf(content, sizeof(content), "[s]\na = %0300d", 0);
	assert_events(content, "1 [s]\n2: " LINE_TOO_LONG);
}
END_TEST

START_TEST(refuses_nul_bytes_wherever_they_stand)
{
	assert_events_of_bytes("[s]\na = 1\0\nb = 2\n", 16, "1 [s]\n2: " NUL "3 <b> = <2>\n");
	assert_events_of_bytes("[s]\n\0a = 1\nb = 2\n", 17, "1 [s]\n2: " NUL "3 <b> = <2>\n");
	assert_events_of_bytes("[s]\na = 1\0junk", 14, "1 [s]\n2: " NUL);
	assert_events_of_bytes("[s]\na = 1\0", 10, "1 [s]\n2: " NUL);
	assert_events_of_bytes("\0", 1, "1: " NUL);
	assert_events_of_bytes("\0\n[s]\n", 6, "1: " NUL "2 [s]\n");
	assert_events_of_bytes("[s\0]\n", 5, "1: " NUL);
}
END_TEST

START_TEST(refuses_a_nul_byte_in_a_line_that_is_too_long)
{
	/* The rest of the line is no line of its own. */
	char content[512] = "[s]\na = 1";
	memset(content + 10, 'x', 400);
	memcpy(content + 200, "b=2", 3);
	memcpy(content + 410, "\nc = 3\n", 7);
	assert_events_of_bytes(content, 417, "1 [s]\n2: " NUL "3 <c> = <3>\n");
}
END_TEST

START_TEST(refuses_control_characters)
{
	for (int c = 1; c <= 0x7f; c++) {
		char content[] = "[s]\na = x?y\nb = 2\n";
		content[9] = (char)c;
		if (c == '\t' || c == '\n' || (c >= 0x20 && c < 0x7f))
			continue;
		assert_events(content, "1 [s]\n2: " CONTROL "3 <b> = <2>\n");
	}
	assert_events("[s]\na = x\ty\n", "1 [s]\n2 <a> = <x\ty>\n");
}
END_TEST

START_TEST(refuses_a_line_of_neither_kind)
{
	assert_events("[s]\nSECRET\nb = 2\n", "1 [s]\n3 <b> = <2>\n2: " NOTHING_KNOWN);
	assert_events("SECRET", "1: " NOTHING_KNOWN);
}
END_TEST

START_TEST(shows_nothing_of_a_line_that_it_refuses)
{
	static const char *const contents[] = {"SECRET = x\n", "[s]\na = 1\n  SECRET\n",
		"[s]\na = SECRET\x01\n", "[SECRET\n", "[s] SECRET\n", "[s]\nSECRET\n",
		"[SECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRET]\n"};
	for (size_t i = 0; i < UNIT_COUNT(contents); i++) {
		_cleanup_text_ struct text events = {0};
		struct error err = ERROR_INIT;
		int errnum = 0;
		ck_assert_int_eq(ini_file_read(write_file("a.conf", contents[i]), &recording,
					 &events, &errnum, &err),
			0);
		ck_assert_ptr_nonnull(strstr(text_string(&events), ": "));
		ck_assert_ptr_null(strstr(text_string(&events), "SECRET"));
	}
}
END_TEST

/* ---- what cannot be read -----------------------------------------------------------------------
 */

START_TEST(tells_of_a_file_that_is_not_there)
{
	assert_unreadable(path_of("missing"), ENOENT, "cannot open ");
	assert_unreadable(path_of("missing"), ENOENT, "/missing: No such file or directory");
	write_file("file", "");
	assert_unreadable(path_of("file/a.conf"), ENOTDIR, ": Not a directory");
}
END_TEST

START_TEST(refuses_what_is_no_regular_file_and_never_waits_for_it)
{
	alarm(20); /* a hang is a failure of its own */
	ck_assert_int_eq(mkdir(path_of("directory"), 0700), 0);
	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	assert_unreadable(path_of("directory"), 0, "expected a regular file");
	assert_unreadable(path_of("fifo"), 0, "expected a regular file");
	assert_unreadable("/dev/null", 0, "expected a regular file");
	alarm(0);
}
END_TEST

START_TEST(refuses_a_file_that_no_configuration_is_as_long_as)
{
	const char *path = write_file("huge", "[s]\n");
	ck_assert_int_eq(truncate(path, (off_t)16 * 1024 * 1024 + 1), 0);
	assert_unreadable(path, 0, "expected a file of at most 16 MiB");
	_cleanup_text_ struct text events = {0};
	struct error err = ERROR_INIT;
	int errnum = 0;
	ck_assert_int_eq(truncate(path, (off_t)16 * 1024 * 1024), 0);
	ck_assert_int_eq(ini_file_read(path, &recording, &events, &errnum, &err), 0);
	ck_assert_str_eq(text_string(&events), "1 [s]\n2: " NUL);
}
END_TEST

static void read_unreadable(void *path)
{
	_cleanup_text_ struct text events = {0};
	struct error err = ERROR_INIT;
	int errnum = 0;
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
		_exit(99);
	if (ini_file_read(path, &recording, &events, &errnum, &err) == 0 || errnum != EACCES)
		_exit(1);
	if (strstr(err.message, ": Permission denied") == NULL)
		_exit(2);
}

START_TEST(tells_of_a_file_that_may_not_be_read)
{
	const char *path = write_file("a.conf", "[s]\n");
	ck_assert_int_eq(chmod(path, geteuid() == 0 ? 0600 : 0), 0);
	unit_assert_exited(unit_in_child(read_unreadable, (void *)path), 0);
}
END_TEST

START_TEST(survives_any_bytes)
{
	static const char letters[] = "[]=:;# \t\r\nab\0\x01\x7f\xef\xbb\xbf\xff";
	uint64_t state = unit_seed("survives_any_bytes");
	for (int round = 0; round < 3000; round++) {
		char bytes[600];
		size_t len = unit_random(&state, sizeof(bytes));
		for (size_t i = 0; i < len; i++)
			bytes[i] = letters[unit_random(&state, sizeof(letters) - 1)];
		_cleanup_text_ struct text events = {0};
		struct error err = ERROR_INIT;
		int errnum = 0;
		ck_assert_int_eq(ini_file_read(write_bytes("a.conf", bytes, len), &recording,
					 &events, &errnum, &err),
			0);
	}
}
END_TEST

UNIT_MAIN("ini_file", tells_sections_and_keys_with_their_lines, tells_a_section_that_has_no_keys,
	tells_nothing_of_an_empty_file, passes_over_comments, keeps_what_only_looks_like_a_comment,
	tells_a_key_without_a_value, tells_a_key_without_a_name, tells_the_same_key_each_time,
	reads_line_ends_of_windows, reads_a_file_without_a_final_line_end,
	reads_a_file_with_a_byte_order_mark, reads_letters_beyond_ascii_as_they_are,
	reads_a_name_of_any_length_that_fits_its_line, refuses_a_key_before_the_first_section,
	refuses_a_line_that_continues_another, refuses_a_header_without_its_bracket,
	refuses_more_behind_a_header, refuses_the_name_of_a_section_that_is_too_long,
	refuses_a_line_that_is_too_long_and_counts_on, refuses_a_long_comment_and_a_long_last_line,
	refuses_nul_bytes_wherever_they_stand, refuses_a_nul_byte_in_a_line_that_is_too_long,
	refuses_control_characters, refuses_a_line_of_neither_kind,
	shows_nothing_of_a_line_that_it_refuses, tells_of_a_file_that_is_not_there,
	refuses_what_is_no_regular_file_and_never_waits_for_it,
	refuses_a_file_that_no_configuration_is_as_long_as, tells_of_a_file_that_may_not_be_read,
	survives_any_bytes)
