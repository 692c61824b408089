/*
 * Whether requests to an origin are worth sending: a circuit that opens after failures in a row, so
 * that those who share the origin do not all find out for themselves, and lets one request through
 * now and then to see whether it answers again. A function of state, event, time and roll: nothing
 * here reads a clock or touches the world.
 *
 * Closed: all pass. Open: all are refused until its time is over. Half open, from then on: the
 * first who asks is the probe, further ones wait for what becomes of it. Any answer closes it; a
 * probe that fails opens it for longer.
 *
 * Times in milliseconds are CLOCK_BOOTTIME; `roll` is a random number from 0 up to but not
 * including 1.
 */
#ifndef MRTOKEND_BASE_CIRCUIT_H
#define MRTOKEND_BASE_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

/* How many failures in a row open it. */
#define CIRCUIT_FAILURES 5
/* It is open for a random part of a span that doubles with each probe that fails; but not shorter
 * than the least. */
#define CIRCUIT_SPAN_FIRST_MS INT64_C(1000)
#define CIRCUIT_SPAN_MAX_MS (INT64_C(60) * 1000)
#define CIRCUIT_LEAST_MS INT64_C(250)
/* No Retry-After keeps it open for longer than this, and a tenth. */
#define CIRCUIT_RETRY_AFTER_MAX_S (INT64_C(60) * 60)

enum circuit_state { CIRCUIT_CLOSED, CIRCUIT_OPEN, CIRCUIT_HALF_OPEN };

/* Zeroed: closed, and nothing has failed yet. */
struct circuit {
	enum circuit_state state;
	unsigned failures; /* in a row */
	unsigned openings; /* in a row */
	int64_t since_ms; /* when the first of those failures came */
	int64_t until_ms; /* when an open one lets a probe through */
	int64_t spread_ms; /* those whom it refused come back within this, after until_ms */
	uint64_t probe; /* the number of the last probe; while half open, it is under way */
};

enum circuit_verdict {
	CIRCUIT_PASS, /* send it */
	CIRCUIT_PROBE, /* send it; what becomes of it is to be told with its number */
	CIRCUIT_WAIT, /* ask again once the probe has ended */
	CIRCUIT_REFUSE, /* do not send it */
};

/*
 * May a request be sent?
 * probe  set to the number of the probe, or to 0 where the verdict is another one
 */
enum circuit_verdict circuit_ask(struct circuit *circuit, int64_t now_ms, uint64_t *probe);

/* Whether circuit_ask() would refuse. Changes nothing. */
bool circuit_refuses(const struct circuit *circuit, int64_t now_ms);

/* Something was answered that is no fault of the origin. Returns whether this closed it. */
bool circuit_succeeded(struct circuit *circuit);

/*
 * A request failed by a fault of the origin or of the way there. One that was sent before the
 * circuit opened and fails behind that changes nothing: only the probe counts then.
 *
 * probe          the request's number, or 0
 * retry_after_s  for how long the origin wants no more at least, or -1
 *
 * Returns whether this opened it, for the first time or again: `openings` tells.
 */
bool circuit_failed(struct circuit *circuit, int64_t now_ms, uint64_t probe, int64_t retry_after_s,
	double roll);

/*
 * A request ended without telling anything of the origin: it was cancelled, or failed here. If it
 * was the probe, the next who asks is. Returns whether it was.
 */
bool circuit_abandoned(struct circuit *circuit, int64_t now_ms, uint64_t probe);

/* Closed, and nothing has failed yet; probes still under way are none any more. */
void circuit_reset(struct circuit *circuit);

#endif
