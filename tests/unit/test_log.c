#include "base/log.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* ---- what is in the journal's place ------------------------------------------------------------
 */

/* The journal's protocol is its own; that it gets the right fields is what is tested here. */
static struct {
	int calls;
	int result;
	int count;
	char fields[16][4096];
} journal;

int sd_journal_sendv(const struct iovec *iov, int n);

int sd_journal_sendv(const struct iovec *iov, int n)
{
	journal.calls++;
	journal.count = n;
	for (int i = 0; i < n && i < 16; i++)
		snprintf(journal.fields[i], sizeof(journal.fields[i]), "%.*s", (int)iov[i].iov_len,
			(const char *)iov[i].iov_base);
	return journal.result;
}

static bool journal_has(const char *field)
{
	for (int i = 0; i < journal.count; i++)
		if (strcmp(journal.fields[i], field) == 0)
			return true;
	return false;
}

static bool journal_has_any(const char *prefix)
{
	for (int i = 0; i < journal.count; i++)
		if (strncmp(journal.fields[i], prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

/* ---- capturing standard error ------------------------------------------------------------------
 */

struct capture {
	int saved;
	int ends[2];
	char text[65536];
};

static struct capture capture;

static void capture_begin(void)
{
	ck_assert_int_eq(pipe(capture.ends), 0);
	ck_assert_int_eq(fcntl(capture.ends[0], F_SETFL, O_NONBLOCK), 0);
	capture.saved = dup(STDERR_FILENO);
	ck_assert_int_ge(capture.saved, 0);
	ck_assert_int_eq(dup2(capture.ends[1], STDERR_FILENO), STDERR_FILENO);
}

/* What was written since capture_begin(), which a pipe has room for. */
static const char *capture_end(void)
{
	dup2(capture.saved, STDERR_FILENO);
	close(capture.saved);
	close(capture.ends[1]);
	size_t len = 0;
	ssize_t got = 0;
	do {
		got = read(capture.ends[0], capture.text + len, sizeof(capture.text) - 1 - len);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	close(capture.ends[0]);
	capture.text[len] = '\0';
	return capture.text;
}

static size_t count_lines(const char *text)
{
	size_t count = 0;
	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

/* What systemd would set for the present standard error. */
static void set_journal_stream(int device_off_by, int inode_off_by)
{
	struct stat st;
	char stream[64];
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu",
		(unsigned long long)st.st_dev + (unsigned long long)device_off_by,
		(unsigned long long)st.st_ino + (unsigned long long)inode_off_by);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
}

/* ---- standard error ----------------------------------------------------------------------------
 */

START_TEST(writes_one_line_with_program_and_level)
{
	unsetenv("JOURNAL_STREAM");
	capture_begin();
	log_open("mrtest");
	log_error("first %d", 1);
	log_warning("second");
	log_notice("third");
	log_info("%s", "fourth");
	ck_assert_str_eq(capture_end(), "mrtest: error: first 1\nmrtest: warning: second\n"
					"mrtest: notice: third\nmrtest: info: fourth\n");
	ck_assert_int_eq(journal.calls, 0);
}
END_TEST

START_TEST(writes_to_standard_error_before_it_is_opened)
{
	capture_begin();
	set_journal_stream(0, 0);
	log_info("early");
	ck_assert_str_eq(capture_end(), "mrtokend: info: early\n");
	ck_assert_int_eq(journal.calls, 0);
}
END_TEST

START_TEST(appends_fields_and_leaves_out_those_without_value)
{
	const struct log_field fields[] = {
		{"ACCOUNT", "north"}, {"UPSTREAM", NULL}, {"REQUEST_ID", "7"}, {"EMPTY", ""}, {0}};
	const struct log_field none[] = {{0}};
	const struct log_field all_null[] = {{"ACCOUNT", NULL}, {0}};
	capture_begin();
	log_event(LOG_LEVEL_INFO, fields, "refreshed");
	log_event(LOG_LEVEL_INFO, none, "none");
	log_event(LOG_LEVEL_INFO, all_null, "all null");
	ck_assert_str_eq(capture_end(),
		"mrtokend: info: refreshed ACCOUNT=north REQUEST_ID=7 EMPTY=\n"
		"mrtokend: info: none\nmrtokend: info: all null\n");
}
END_TEST

START_TEST(writes_no_more_fields_than_the_bound)
{
	struct log_field fields[LOG_FIELDS_MAX + 3] = {{0}};
	for (int i = 0; i < LOG_FIELDS_MAX + 2; i++)
		fields[i] = (struct log_field){"F", i < LOG_FIELDS_MAX ? "in" : "out"};
	capture_begin();
	log_event(LOG_LEVEL_INFO, fields, "many");
	ck_assert_str_eq(
		capture_end(), "mrtokend: info: many F=in F=in F=in F=in F=in F=in F=in F=in\n");
}
END_TEST

START_TEST(is_one_line_whatever_the_message_and_the_fields_hold)
{
	char every[256];
	for (int c = 1; c < 256; c++)
		every[c - 1] = (char)c;
	every[255] = '\0';
	const struct log_field fields[] = {
		{"ACCOUNT", "x\nmrtokend: error: forged"}, {"A", every}, {0}};
	capture_begin();
	log_event(LOG_LEVEL_INFO, fields, "a\nb\r\x1b[31m\t%s", every);
	const char *text = capture_end();
	ck_assert_uint_eq(count_lines(text), 1);
	size_t len = strlen(text);
	ck_assert_int_eq(text[len - 1], '\n');
	for (size_t i = 0; i < len - 1; i++)
		ck_assert_msg(
			text[i] >= 0x20 && text[i] <= 0x7e, "byte %#x", (unsigned char)text[i]);
	ck_assert_ptr_nonnull(strstr(text, "info: a?b??[31m???"));
	ck_assert_ptr_nonnull(strstr(text, " ACCOUNT=x?mrtokend: error: forged A=???"));
}
END_TEST

START_TEST(cuts_what_is_too_long_and_still_ends_the_line)
{
	static char long_text[5000];
	memset(long_text, 'x', sizeof(long_text) - 1);
	const struct log_field fields[] = {
		{"A", "y"}, {"B", long_text}, {"C", long_text}, {"D", "z"}, {0}};
	for (size_t len = 900; len < sizeof(long_text); len += 41) {
		capture_begin();
		log_event(
			LOG_LEVEL_INFO, len % 2 == 0 ? fields : NULL, "%.*s", (int)len, long_text);
		const char *text = capture_end();
		size_t written = strlen(text);
		ck_assert_uint_eq(count_lines(text), 1);
		ck_assert_int_eq(text[written - 1], '\n');
		ck_assert_uint_le(written, LOG_LINE_SIZE);
		size_t message = strspn(text + strlen("mrtokend: info: "), "x");
		ck_assert_uint_eq(message, len < LOG_MESSAGE_SIZE ? len : LOG_MESSAGE_SIZE - 1);
		if (len % 2 == 0)
			ck_assert_int_eq(strncmp(text + 16 + message, " A=y B=xxx", 10), 0);
	}
}
END_TEST

START_TEST(meets_the_end_of_the_line_at_every_length)
{
	/* Total lengths around the line's buffer, one by one. */
	static char value[1700];
	for (size_t len = 1500; len < sizeof(value); len++) {
		memset(value, 'v', len);
		value[len] = '\0';
		const struct log_field fields[] = {{"F", value}, {"G", "g"}, {0}};
		capture_begin();
		log_event(LOG_LEVEL_INFO, fields, "%2500s", "m");
		const char *text = capture_end();
		size_t whole = 16 + 2500 + 3 + len + 4 + 1;
		if (count_lines(text) != 1 || text[strlen(text) - 1] != '\n' ||
			strlen(text) != (whole < LOG_LINE_SIZE ? whole : LOG_LINE_SIZE - 1))
			ck_abort_msg("value of %zu: line of %zu", len, strlen(text));
	}
}
END_TEST

START_TEST(drops_lines_above_the_threshold)
{
	for (int threshold = LOG_LEVEL_ERROR; threshold <= LOG_LEVEL_DEBUG; threshold++) {
		capture_begin();
		log_set_level((enum log_level)threshold);
		for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
			log_event((enum log_level)level, NULL, "line");
		ck_assert_uint_eq(
			count_lines(capture_end()), (size_t)(threshold - LOG_LEVEL_ERROR + 1));
	}
}
END_TEST

START_TEST(drops_debug_lines_unless_told)
{
	capture_begin();
	log_event(LOG_LEVEL_DEBUG, NULL, "dropped");
	log_event(LOG_LEVEL_INFO, NULL, "kept");
	ck_assert_str_eq(capture_end(), "mrtokend: info: kept\n");
}
END_TEST

START_TEST(reads_its_own_level_names_only)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++) {
		enum log_level level = 0;
		ck_assert_int_eq(log_parse_level(names[i], &level), 0);
		ck_assert_uint_eq(level, LOG_LEVEL_ERROR + i);
	}
	static const char *const others[] = {"", "err", "Error", "ERROR", "warn", "3", "6", "infos",
		"info ", " info", "trace", "emerg"};
	for (size_t i = 0; i < UNIT_COUNT(others); i++) {
		enum log_level level = LOG_LEVEL_NOTICE;
		ck_assert_msg(log_parse_level(others[i], &level) == -1, "\"%s\"", others[i]);
		ck_assert_int_eq(level, LOG_LEVEL_NOTICE);
	}
}
END_TEST

START_TEST(keeps_errno)
{
	capture_begin();
	errno = ENOTTY;
	log_info("%s", "x");
	ck_assert_int_eq(errno, ENOTTY);
	/* Failing to write changes nothing for the caller either. */
	int saved = dup(STDERR_FILENO);
	close(STDERR_FILENO);
	errno = ENOTTY;
	log_info("nowhere to go");
	int after = errno;
	dup2(saved, STDERR_FILENO);
	close(saved);
	ck_assert_int_eq(after, ENOTTY);
	ck_assert_str_eq(capture_end(), "mrtokend: info: x\n");
}
END_TEST

START_TEST(survives_arguments_that_cannot_be_formatted)
{
	const wchar_t wide[] = {0x20ac, 0};
	capture_begin();
	errno = ENOTTY;
	log_info("%ls", wide);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_str_eq(capture_end(), "mrtokend: info: \n");
}
END_TEST

enum { LINES = 150 };

static void *write_lines(void *argument)
{
	const struct log_field fields[] = {{"THREAD", argument}, {0}};
	for (int i = 0; i < LINES; i++)
		log_event(LOG_LEVEL_INFO, fields, "a line of some length, number %03d", i);
	return NULL;
}

START_TEST(lines_of_several_threads_do_not_mix)
{
	static char names[4][2] = {"a", "b", "c", "d"};
	pthread_t threads[4];
	capture_begin();
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	const char *text = capture_end();
	ck_assert_uint_eq(count_lines(text), (size_t)4 * LINES);
	/* Each line is the next of its thread, and nothing else. */
	int next[4] = {0};
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		ck_assert_uint_gt(len, 0);
		int thread = text[len - 1] - 'a';
		ck_assert_int_ge(thread, 0);
		ck_assert_int_lt(thread, 4);
		char expected[128];
		snprintf(expected, sizeof(expected),
			"mrtokend: info: a line of some length, number %03d THREAD=%s\n",
			next[thread]++, names[thread]);
		ck_assert_int_eq(strncmp(text, expected, strlen(expected)), 0);
		text += len + 1;
	}
}
END_TEST

/* ---- the journal -------------------------------------------------------------------------------
 */

START_TEST(is_the_journals_when_the_stream_is_standard_error)
{
	const struct log_field fields[] = {{"ACCOUNT", "north"}, {"UPSTREAM", NULL}, {0}};
	capture_begin();
	set_journal_stream(0, 0);
	log_open("mrtest");
	log_event(LOG_LEVEL_WARNING, fields, "late by %d s\n", 7);
	ck_assert_str_eq(capture_end(), "");
	ck_assert_int_eq(journal.calls, 1);
	ck_assert_int_eq(journal.count, 4);
	ck_assert(journal_has("MESSAGE=late by 7 s?"));
	ck_assert(journal_has("PRIORITY=4"));
	ck_assert(journal_has("SYSLOG_IDENTIFIER=mrtest"));
	ck_assert(journal_has("ACCOUNT=north"));
	ck_assert(!journal_has_any("UPSTREAM"));
	ck_assert(!journal_has_any("CODE_"));
}
END_TEST

START_TEST(a_message_id_is_for_the_journal_alone)
{
	const struct log_field fields[] = {{"MESSAGE_ID", "0123"}, {"ACCOUNT", "north"}, {0}};
	capture_begin();
	log_open("mrtest");
	log_event(LOG_LEVEL_WARNING, fields, "late");
	ck_assert_str_eq(capture_end(), "mrtest: warning: late ACCOUNT=north\n");
	capture_begin();
	set_journal_stream(0, 0);
	log_open("mrtest");
	log_event(LOG_LEVEL_WARNING, fields, "late");
	ck_assert_str_eq(capture_end(), "");
	ck_assert(journal_has("MESSAGE_ID=0123"));
}
END_TEST

START_TEST(sends_all_fields_and_long_ones_to_the_journal)
{
	static char long_text[5000];
	memset(long_text, 'x', sizeof(long_text) - 1);
	struct log_field fields[LOG_FIELDS_MAX + 2] = {{0}};
	for (int i = 0; i < LOG_FIELDS_MAX + 1; i++)
		fields[i] = (struct log_field){i < LOG_FIELDS_MAX ? "IN" : "OUT", long_text};
	capture_begin();
	set_journal_stream(0, 0);
	log_open("mrtest");
	log_event(LOG_LEVEL_INFO, fields, "%s", long_text);
	ck_assert_str_eq(capture_end(), "");
	ck_assert_int_eq(journal.count, 3 + LOG_FIELDS_MAX);
	ck_assert(!journal_has_any("OUT"));
	ck_assert_uint_eq(strlen(journal.fields[0]), strlen("MESSAGE=") + LOG_MESSAGE_SIZE - 1);
}
END_TEST

START_TEST(is_not_the_journals_when_the_stream_is_another)
{
	static const int off_by[][2] = {{0, 1}, {1, 0}, {0, -1}, {1, 1}};
	for (size_t i = 0; i < UNIT_COUNT(off_by); i++) {
		capture_begin();
		set_journal_stream(off_by[i][0], off_by[i][1]);
		log_open("mrtest");
		log_info("here");
		ck_assert_str_eq(capture_end(), "mrtest: info: here\n");
	}
	ck_assert_int_eq(journal.calls, 0);
}
END_TEST

START_TEST(is_not_the_journals_when_the_stream_is_no_stream)
{
	static const char *const streams[] = {"", ":", "1", "1:", ":1", "a:b", "journal", "0:0"};
	for (size_t i = 0; i < UNIT_COUNT(streams); i++) {
		ck_assert_int_eq(setenv("JOURNAL_STREAM", streams[i], 1), 0);
		capture_begin();
		log_open("mrtest");
		log_info("here");
		ck_assert_str_eq(capture_end(), "mrtest: info: here\n");
	}
	ck_assert_int_eq(journal.calls, 0);
}
END_TEST

START_TEST(falls_back_to_standard_error_when_the_journal_refuses)
{
	capture_begin();
	set_journal_stream(0, 0);
	log_open("mrtest");
	journal.result = -ENOBUFS;
	errno = ENOTTY;
	log_info("not lost");
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_str_eq(capture_end(), "mrtest: info: not lost\n");
	ck_assert_int_eq(journal.calls, 1);
}
END_TEST

START_TEST(drops_lines_above_the_threshold_in_the_journal_too)
{
	capture_begin();
	set_journal_stream(0, 0);
	log_open("mrtest");
	log_set_level(LOG_LEVEL_WARNING);
	log_notice("dropped");
	log_warning("kept");
	ck_assert_str_eq(capture_end(), "");
	ck_assert_int_eq(journal.calls, 1);
}
END_TEST

UNIT_MAIN("log", writes_one_line_with_program_and_level,
	writes_to_standard_error_before_it_is_opened,
	appends_fields_and_leaves_out_those_without_value, writes_no_more_fields_than_the_bound,
	is_one_line_whatever_the_message_and_the_fields_hold,
	cuts_what_is_too_long_and_still_ends_the_line, meets_the_end_of_the_line_at_every_length,
	drops_lines_above_the_threshold, drops_debug_lines_unless_told,
	reads_its_own_level_names_only, keeps_errno, survives_arguments_that_cannot_be_formatted,
	lines_of_several_threads_do_not_mix, is_the_journals_when_the_stream_is_standard_error,
	a_message_id_is_for_the_journal_alone, sends_all_fields_and_long_ones_to_the_journal,
	is_not_the_journals_when_the_stream_is_another,
	is_not_the_journals_when_the_stream_is_no_stream,
	falls_back_to_standard_error_when_the_journal_refuses,
	drops_lines_above_the_threshold_in_the_journal_too)
