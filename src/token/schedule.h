/*
 * When to do what next, as functions of state, event and time. Nothing here reads a clock, draws a
 * random number or touches the world.
 *
 * Times in milliseconds are CLOCK_BOOTTIME; `roll` is a random number from 0 up to but not
 * including 1, rolled by the caller once for each event.
 */
#ifndef MRTOKEND_TOKEN_SCHEDULE_H
#define MRTOKEND_TOKEN_SCHEDULE_H

#include "base/error.h"

#include <stdint.h>

/* The schedule of one account. Zeroed: nothing has happened yet, and an exchange is due at once. */
struct schedule {
	unsigned failures; /* in a row, since the last success */
	int64_t next_ms; /* when to try next */
};

/*
 * The least time from a token to the next exchange, however short the token lives; from a failure
 * to the next exchange it is a quarter of that.
 */
#define SCHEDULE_LEAST_MS INT64_C(1000)
/* The first delay after a failure, and the longest of the backoff. */
#define SCHEDULE_BACKOFF_FIRST_MS INT64_C(1000)
#define SCHEDULE_BACKOFF_MAX_MS (INT64_C(5) * 60 * 1000)
/* No upstream can silence an account for longer than this. */
#define SCHEDULE_RETRY_AFTER_MAX_S (INT64_C(60) * 60)

/*
 * A token of `lifetime_ms` arrived: refresh at half of its life plus a random tenth of it, which is
 * rolled here, once.
 *
 * refresh_in_ms  after what time the upstream wants it refreshed, and then half life is of no
 *                matter: at that time, and a random tenth of what is left behind it; 0 when it did
 *                not say
 */
void schedule_succeeded(struct schedule *schedule, int64_t now_ms, int64_t lifetime_ms,
	int64_t refresh_in_ms, double roll);

/*
 * The upstream answered with the token that is there already, as some do until shortly before its
 * end: ask again when half of what is left has passed, so that it is asked ever more often, but
 * never in a loop.
 *
 * look_in_ms  when to look again at one that nobody refreshes; 0: the rule above
 */
void schedule_same(struct schedule *schedule, int64_t now_ms, int64_t left_ms, int64_t look_in_ms);

/*
 * An exchange failed. What time may mend is tried again after an exponential backoff with full
 * jitter; what someone must mend is tried every five minutes; a Retry-After is obeyed, up to its
 * bound, and with a tenth of jitter on top so that those who were told the same do not come
 * together; but who must be mended is not tried sooner for being asked to. A Retry-After of 0 names
 * no time: obeyed, it would take the backoff away.
 *
 * What was not even sent (spread_ms) counts as no further failure, and is tried again somewhere
 * within the spread after its Retry-After: so all who were held back come one after the other.
 */
void schedule_failed(
	struct schedule *schedule, int64_t now_ms, const struct error *err, double roll);

#endif
