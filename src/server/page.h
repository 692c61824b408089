/*
 * Pages about all accounts: made once and shared by all who ask for them, so that many who ask for
 * a long list take neither the server's time nor its memory from those who ask for tokens. The
 * server thread.
 *
 * Where there are rules, a page shows the accounts that its viewer may know of, and is for whoever
 * is the same to every rule.
 */
#ifndef MRTOKEND_SERVER_PAGE_H
#define MRTOKEND_SERVER_PAGE_H

#include "server/peer.h"

#include <stdint.h>

struct account_table;
struct answer;

enum page_kind {
	PAGE_ACCOUNTS,
	PAGE_READINESS,
	PAGE_EXCESS, /* what those get who ask too often: about no account, and never made anew */
	PAGE_COUNT,
};

/* A page of so many accounts is made anew for each request; a longer one once a second at most. */
#define PAGE_SHORT 64
#define PAGE_LIFE_MS 1000

/* Zeroed: not made yet. */
struct page {
	struct answer *answer;
	const struct account_table *table; /* that it tells of */
	unsigned adoptions; /* of the registry; a table may stand where one was freed */
	int64_t made_ms; /* CLOCK_BOOTTIME */
	struct peer viewer; /* who it was made for, where there are rules; else zeroed */
};

/* Whether it may be shown for `table` with `count` accounts at `now_ms`. */
static inline int page_is_fresh(
	const struct page *page, const struct account_table *table, uint64_t count, int64_t now_ms)
{
	return page->answer != 0 && page->table == table && count > PAGE_SHORT &&
	       now_ms - page->made_ms < PAGE_LIFE_MS;
}

#endif
