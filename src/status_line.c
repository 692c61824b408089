#include "status_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)

static void append(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char *out, size_t size, const char *format, ...)
{
	size_t used = strlen(out);
	va_list args;
	va_start(args, format);
	vsnprintf(out + used, size - used, format, args);
	va_end(args);
}

/* What the accounts come to. */
struct summary {
	size_t valid;
	size_t failing;
	const struct account *first_failing;
	enum error_code first_error;
	size_t spare; /* accounts of two keys that run on the second */
	const struct account *first_spare;
	size_t refreshing; /* under way */
	const struct account *first_refreshing;
	const struct account *next; /* the first that is due; NULL: none */
	int64_t next_ms;
};

static void count(struct summary *summary, const struct account *account, int64_t now_ms)
{
	const struct snapshot *snapshot = atomic_load(&account->snapshot);
	const struct account_report *report = atomic_load(&account->report);
	summary->valid += snapshot_is_valid(snapshot, now_ms);
	if (report->error.code != ERR_NONE && summary->failing++ == 0) {
		summary->first_failing = account;
		summary->first_error = report->error.code;
	}
	if (report->key != NULL && strcmp(report->key, "secondary_account_key") == 0 &&
		summary->spare++ == 0)
		summary->first_spare = account;
	if (report->is_static)
		return; /* it is looked at every few seconds, and not refreshed */
	if (report->next_ms <= now_ms) {
		if (summary->refreshing++ == 0)
			summary->first_refreshing = account;
	} else if (summary->next == NULL || report->next_ms < summary->next_ms) {
		summary->next = account;
		summary->next_ms = report->next_ms;
	}
}

/* Without seconds: the line is not told anew for each of them. */
static void describe_next(const struct summary *summary, int64_t now_ms, char *out, size_t size)
{
	int64_t in_ms = summary->next_ms - now_ms;
	out[0] = '\0';
	if (summary->refreshing > 1)
		append(out, size, "; refreshing %zu accounts now", summary->refreshing);
	else if (summary->refreshing == 1)
		append(out, size, "; refreshing now (%.64s)",
			summary->first_refreshing->settings.name);
	else if (summary->next == NULL)
		return;
	else if (in_ms >= 2 * HOUR_MS)
		append(out, size, "; next refresh in %" PRId64 " h (%.64s)", in_ms / HOUR_MS,
			summary->next->settings.name);
	else if (in_ms >= 2 * MINUTE_MS)
		append(out, size, "; next refresh in %" PRId64 " min (%.64s)", in_ms / MINUTE_MS,
			summary->next->settings.name);
	else
		append(out, size, "; next refresh in less than 2 min (%.64s)",
			summary->next->settings.name);
}

void status_line_describe(struct registry *registry, unsigned reader, int64_t now_ms,
	const char *reload_error, struct status_line *line)
{
	const size_t size = sizeof(line->state);
	struct summary summary = {0};
	line->state[0] = '\0';
	epoch_enter(&registry->epoch, reader);
	const struct account_table *table = atomic_load(&registry->table);
	for (size_t i = 0; i < table->count; i++)
		count(&summary, table->accounts[i], now_ms);
	append(line->state, size, "%zu of %zu accounts have a valid token", summary.valid,
		table->count);
	if (summary.failing > 0)
		append(line->state, size, "; refresh fails for %zu: %.64s (%s)%s", summary.failing,
			summary.first_failing->settings.name, error_code_name(summary.first_error),
			summary.failing > 1 ? ", ..." : "");
	if (summary.spare > 0)
		append(line->state, size, "; secondary_account_key in use for %zu: %.64s%s",
			summary.spare, summary.first_spare->settings.name,
			summary.spare > 1 ? ", ..." : "");
	describe_next(&summary, now_ms, line->next, sizeof(line->next));
	epoch_leave(&registry->epoch, reader);
	if (reload_error[0] != '\0')
		append(line->state, size, "; reload failed, the old configuration is in force: %s",
			reload_error);
}

void status_line_join(const struct status_line *line, char *out)
{
	snprintf(out, STATUS_LINE_SIZE, "%s%s", line->state, line->next);
}
