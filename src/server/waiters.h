/*
 * Requests that wait for an exchange of an account to end. Their connections are suspended, so that
 * thousands cost nothing while nothing happens; whatever is published of an account wakes those who
 * wait for it, and no others. The server thread.
 */
#ifndef MRTOKEND_SERVER_WAITERS_H
#define MRTOKEND_SERVER_WAITERS_H

#include "base/heap.h"
#include "token/account.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

/* One request; it lives until that is answered. */
struct waiter;

/* Zeroed: nobody waits. */
struct waiters {
	struct registry *registry;
	unsigned limit; /* of how many wait at once */
	/* The table that the lists are for, and the registry's adoptions then or before. */
	const struct account_table *table;
	unsigned adoptions;
	struct waiter **lists; /* one for each account, by account->index */
	struct heap ends; /* when each has waited for long enough */
	bool is_disbanded; /* those who wait are in no list, and go on in the next round */
	bool is_closed;
};

/* What a request found, and so may wait for a change of. */
struct wait_terms {
	const struct account_table *table; /* the account's */
	unsigned adoptions; /* of the registry, as the table was looked up or before */
	struct account *account;
	const struct snapshot *snapshot; /* as it was loaded, or NULL */
	const struct account_report *report; /* likewise */
	int64_t bound_ms; /* for how long at most, from the first call for this request */
};

/*
 * Have a request wait. Returns true: its connection is suspended, and its handler, which returns
 * MHD_YES now, is called again when something has changed or the time is over. Returns false: it is
 * to be answered now, because an exchange has ended since it began to wait, the time is over, too
 * many wait already, the daemon stops, or there is no memory.
 *
 * waiter  the request's place for it: NULL at first; free with waiter_free()
 */
bool waiters_wait(struct waiters *waiters, struct waiter **waiter,
	struct MHD_Connection *connection, const struct wait_terms *terms, int64_t now_ms);

/* When the waiting of this request ends, if it waits from now on at the latest. CLOCK_BOOTTIME. */
int64_t waiter_end_ms(const struct waiter *waiter, int64_t bound_ms, int64_t now_ms);

/* How many exchanges had ended when it began to wait; or what `report` says, if it did not. */
unsigned waiter_exchanges(const struct waiter *waiter, const struct account_report *report);

/* The request is answered, or its connection gone. NULL is fine. */
void waiter_free(struct waiters *waiters, struct waiter *waiter);

/*
 * Resume those for whom something has changed, and those whose time is over. Within the epoch, and
 * not from within a run of libmicrohttpd.
 */
void waiters_wake(struct waiters *waiters, int64_t now_ms);

/* When waiters_wake() is due again, or INT64_MAX. */
int64_t waiters_next_ms(const struct waiters *waiters);

/* Resume all; from now on nobody waits. Within the epoch. */
void waiters_close(struct waiters *waiters);

/* Nobody waits. */
void waiters_destroy(struct waiters *waiters);

#endif
