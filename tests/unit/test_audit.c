/* What the audit tells, line for line: log_event() is put in its place. */
#include "server/audit.h"

#include "base/log.h"

#include "unit.h"

#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

#define LINES_MAX 8192

struct told {
	char message[200];
	char account[64];
	char uid[32];
	char pid[32];
	char unit[64];
	char request[32];
	char tokens[32];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct told lines[LINES_MAX];
static unsigned count;
static bool is_stuck; /* whoever reads the log */

void __wrap_log_event(enum log_level level, const struct log_field *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
bool __wrap_log_is_wanted(enum log_level level);

static bool is_quiet;

bool __wrap_log_is_wanted(enum log_level level)
{
	ck_assert_int_eq(level, LOG_LEVEL_INFO);
	return !is_quiet;
}

void __wrap_log_event(enum log_level level, const struct log_field *fields, const char *format, ...)
{
	pthread_mutex_lock(&lock);
	while (is_stuck)
		pthread_cond_wait(&changed, &lock);
	struct told *told = &lines[count];
	va_list args;
	va_start(args, format);
	vsnprintf(told->message, sizeof(told->message), format, args);
	va_end(args);
	(void)level;
	const struct {
		const char *name;
		char *out;
		size_t size;
	} wanted[] = {
		{"ACCOUNT", told->account, sizeof(told->account)},
		{"PEER_UID", told->uid, sizeof(told->uid)},
		{"PEER_PID", told->pid, sizeof(told->pid)},
		{"PEER_UNIT", told->unit, sizeof(told->unit)},
		{"REQUEST_ID", told->request, sizeof(told->request)},
		{"TOKENS", told->tokens, sizeof(told->tokens)},
	};
	for (; fields->name != NULL; fields++)
		for (size_t i = 0; i < UNIT_COUNT(wanted); i++)
			if (strcmp(fields->name, wanted[i].name) == 0 && fields->value != NULL)
				snprintf(wanted[i].out, wanted[i].size, "%s", fields->value);
	count++;
	pthread_mutex_unlock(&lock);
}

static struct audit *audit;

static void open_audit(void)
{
	struct error err = ERROR_INIT;
	audit = audit_new(&err);
	ck_assert_ptr_nonnull(audit);
}

static void note(uid_t uid, pid_t pid, const char *account, uint64_t request, int64_t now_ms)
{
	struct peer peer = {
		.uid = uid,
		.pid = pid,
		.unit_state = PEER_UNIT_KNOWN,
		.unit = (char *)"renderer.service",
	};
	const struct caller caller = {&peer, -1, PEER_WAY_NONE};
	audit_note(audit, &caller, account, request, now_ms);
}

START_TEST(tells_the_first_token_of_a_process_at_once_and_with_all_that_is_known)
{
	open_audit();
	note(1000, 4711, "anchors", 0xabc, 5);
	ck_assert_int_eq(audit_next_ms(audit), 5 + AUDIT_INTERVAL_MS);
	audit_free(audit);
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(
		lines[0].message, "account anchors: gave a token to uid 1000, process 4711");
	ck_assert_str_eq(lines[0].account, "anchors");
	ck_assert_str_eq(lines[0].uid, "1000");
	ck_assert_str_eq(lines[0].pid, "4711");
	ck_assert_str_eq(lines[0].unit, "renderer.service");
	ck_assert_str_eq(lines[0].request, "0000000000000abc");
	ck_assert_str_eq(lines[0].tokens, "1");
}
END_TEST

START_TEST(tells_how_many_more_there_were_once_an_interval)
{
	open_audit();
	for (uint64_t i = 0; i < 1000; i++)
		note(1000, 4711, "anchors", i, 10);
	audit_turn(audit, 9 + AUDIT_INTERVAL_MS);
	ck_assert_int_eq(audit_next_ms(audit), 10 + AUDIT_INTERVAL_MS);
	audit_turn(audit, 10 + AUDIT_INTERVAL_MS);
	note(1000, 4711, "anchors", 1000, 11 + AUDIT_INTERVAL_MS);
	/* Its end of the next interval, with one; then one without any, and it is forgotten. */
	audit_turn(audit, 11 + 2 * AUDIT_INTERVAL_MS);
	audit_turn(audit, 12 + 3 * AUDIT_INTERVAL_MS);
	ck_assert_int_eq(audit_next_ms(audit), INT64_MAX);
	audit_free(audit);
	ck_assert_uint_eq(count, 3);
	ck_assert_str_eq(lines[1].message,
		"account anchors: gave 999 more tokens to uid 1000, process 4711 within "
		"60 s");
	ck_assert_str_eq(lines[1].tokens, "999");
	ck_assert_str_eq(lines[1].request, "00000000000003e7");
	ck_assert_str_eq(lines[2].tokens, "1");
	ck_assert_str_eq(lines[2].unit, "renderer.service");
}
END_TEST

START_TEST(tells_processes_users_and_accounts_apart)
{
	open_audit();
	for (int i = 0; i < 3; i++) {
		note(1, 10, "a", 1, 0);
		note(1, 11, "a", 1, 0);
		note(2, 10, "a", 1, 0);
		note(1, 10, "b", 1, 0);
	}
	audit_free(audit);
	ck_assert_uint_eq(count, 8);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_str_eq(lines[i].tokens, i < 4 ? "1" : "2");
}
END_TEST

/* No token is missing from the sum of what is told, whoever comes in whatever order. */
START_TEST(no_token_is_left_out_however_many_processes_there_are)
{
	uint64_t state = unit_seed("audit");
	uint64_t told = 0;
	const uint64_t tokens = 3500;
	open_audit();
	for (uint64_t i = 0; i < tokens; i++) {
		pid_t pid = 1 + (pid_t)unit_random(&state, 500);
		uid_t uid = (uid_t)unit_random(&state, 40);
		note(uid, pid, pid % 2 == 0 ? "a" : "b", i, (int64_t)i);
		audit_turn(audit, (int64_t)i);
		if (i % 10 == 0)
			usleep(100); /* let the writer keep up: what is lost is another test's */
	}
	audit_free(audit);
	for (unsigned i = 0; i < count; i++)
		if (strstr(lines[i].message, "too slow") == NULL)
			told += strtoull(lines[i].tokens, NULL, 10);
		else
			told += strtoull(strstr(lines[i].message, "got ") + 4, NULL, 10);
	ck_assert_uint_eq(told, tokens);
}
END_TEST

START_TEST(further_processes_of_a_user_are_counted_together)
{
	open_audit();
	for (pid_t pid = 1; pid <= 2000; pid++)
		note(1000, pid, "anchors", (uint64_t)pid, 0);
	note(1001, 5000, "anchors", 1, 0);
	audit_free(audit);
	ck_assert_uint_eq(count, AUDIT_ENTRIES_OF_USER + 2);
	const struct told *last = &lines[count - 1];
	ck_assert_str_eq(lines[count - 2].uid, "1001");
	ck_assert_str_eq(last->message,
		"account anchors: gave 1936 more tokens to further processes of uid 1000 "
		"within 60 s");
	ck_assert_str_eq(last->pid, "");
	ck_assert_str_eq(last->unit, "");
}
END_TEST

START_TEST(a_log_that_nobody_reads_holds_up_nobody)
{
	open_audit();
	is_stuck = true;
	for (uid_t uid = 0; uid < 1000; uid++)
		note(uid, 10, "anchors", 1, 0);
	pthread_mutex_lock(&lock);
	ck_assert_uint_eq(count, 0);
	is_stuck = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	audit_free(audit);
	const char *lost = lines[count - 1].message;
	ck_assert_ptr_nonnull(strstr(lost, "the log was too slow to tell who got "));
	ck_assert_uint_eq(
		count - 1 +
			strtoul(lost + strlen("the log was too slow to tell who got "), NULL, 10),
		1000);
}
END_TEST

START_TEST(nothing_is_kept_of_what_is_not_logged)
{
	open_audit();
	is_quiet = true;
	note(1, 2, "anchors", 1, 0);
	ck_assert_int_eq(audit_next_ms(audit), INT64_MAX);
	audit_free(audit);
	audit_free(NULL);
	ck_assert_uint_eq(count, 0);
}
END_TEST

UNIT_MAIN("audit", tells_the_first_token_of_a_process_at_once_and_with_all_that_is_known,
	tells_how_many_more_there_were_once_an_interval, tells_processes_users_and_accounts_apart,
	no_token_is_left_out_however_many_processes_there_are,
	further_processes_of_a_user_are_counted_together, a_log_that_nobody_reads_holds_up_nobody,
	nothing_is_kept_of_what_is_not_logged)
