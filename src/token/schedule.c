#include "token/schedule.h"

#include <stdbool.h>

static int64_t part_of(int64_t span, double roll)
{
	return (int64_t)((double)span * roll);
}

void schedule_succeeded(struct schedule *schedule, int64_t now_ms, int64_t lifetime_ms,
	int64_t refresh_in_ms, double roll)
{
	int64_t wait_ms = lifetime_ms / 2 + part_of(lifetime_ms / 10, roll);
	/* One behind its own end would leave a gap: it is no wish that can be obeyed. */
	if (refresh_in_ms > 0 && refresh_in_ms < lifetime_ms)
		wait_ms = refresh_in_ms + part_of((lifetime_ms - refresh_in_ms) / 10, roll);
	if (wait_ms < SCHEDULE_LEAST_MS)
		wait_ms = SCHEDULE_LEAST_MS;
	schedule->failures = 0;
	schedule->next_ms = now_ms + wait_ms;
}

void schedule_same(struct schedule *schedule, int64_t now_ms, int64_t left_ms, int64_t look_in_ms)
{
	int64_t wait_ms = look_in_ms > 0 ? look_in_ms : left_ms / 2;
	if (wait_ms < SCHEDULE_LEAST_MS)
		wait_ms = SCHEDULE_LEAST_MS;
	schedule->failures = 0;
	schedule->next_ms = now_ms + wait_ms;
}

static int64_t backoff_ms(unsigned failures, double roll)
{
	int64_t span_ms = SCHEDULE_BACKOFF_MAX_MS;
	unsigned doublings = failures - 1;
	if (doublings < 16 && SCHEDULE_BACKOFF_FIRST_MS << doublings < span_ms)
		span_ms = SCHEDULE_BACKOFF_FIRST_MS << doublings;
	return part_of(span_ms, roll);
}

/* Nothing was sent: nobody is any wiser, and how long it will be is known. */
static void held_back(
	struct schedule *schedule, int64_t now_ms, const struct error *err, double roll)
{
	int64_t wait_ms = err->retry_after_s > 0 ? err->retry_after_s * 1000 : 0;
	if (schedule->failures == 0)
		schedule->failures = 1;
	wait_ms += part_of(err->spread_ms, roll);
	if (wait_ms < SCHEDULE_LEAST_MS / 4)
		wait_ms = SCHEDULE_LEAST_MS / 4;
	schedule->next_ms = now_ms + wait_ms;
}

void schedule_failed(
	struct schedule *schedule, int64_t now_ms, const struct error *err, double roll)
{
	enum error_class class = error_class_of(err->code);
	bool is_slow = class == ERROR_CLASS_CREDENTIAL || class == ERROR_CLASS_CONFIGURATION;
	int64_t wait_ms;
	if (err->spread_ms > 0) {
		held_back(schedule, now_ms, err, roll);
		return;
	}
	schedule->failures++;
	if (is_slow)
		wait_ms = SCHEDULE_BACKOFF_MAX_MS - part_of(SCHEDULE_BACKOFF_MAX_MS / 10, roll);
	else
		wait_ms = backoff_ms(schedule->failures, roll);
	if (err->retry_after_s > 0) {
		int64_t asked_s = err->retry_after_s < SCHEDULE_RETRY_AFTER_MAX_S
					  ? err->retry_after_s
					  : SCHEDULE_RETRY_AFTER_MAX_S;
		int64_t asked_ms = asked_s * 1000 + part_of(asked_s * 100, roll);
		if (!is_slow || asked_ms > wait_ms)
			wait_ms = asked_ms;
	}
	if (wait_ms < SCHEDULE_LEAST_MS / 4)
		wait_ms = SCHEDULE_LEAST_MS / 4;
	schedule->next_ms = now_ms + wait_ms;
}
