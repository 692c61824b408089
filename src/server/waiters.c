#include "server/waiters.h"

#include <stdlib.h>

struct waiter {
	struct heap_node end;
	struct waiter *next; /* of the same account */
	struct waiter **link; /* what points here; NULL: it is in no list */
	struct MHD_Connection *connection;
	int64_t end_ms;
	unsigned exchanges;
	bool has_exchanges; /* it is known how many there were */
};

static void leave_list(struct waiter *waiter)
{
	if (waiter->link == NULL)
		return;
	*waiter->link = waiter->next;
	if (waiter->next != NULL)
		waiter->next->link = waiter->link;
	waiter->link = NULL;
}

/* As it was before it waited. */
static void leave(struct waiters *waiters, struct waiter *waiter)
{
	leave_list(waiter);
	heap_remove(&waiters->ends, &waiter->end);
}

static void resume(struct waiters *waiters, struct waiter *waiter)
{
	leave(waiters, waiter);
	MHD_resume_connection(waiter->connection);
}

/* Take all out of the lists, for what these are for is gone. They go on in the next round. */
static void disband(struct waiters *waiters)
{
	for (size_t i = 0; i < waiters->ends.count; i++) {
		struct waiter *waiter = waiters->ends.nodes[i]->owner;
		/* The next account of that name may be another one, with other exchanges. */
		waiter->has_exchanges = false;
		leave_list(waiter);
	}
	waiters->is_disbanded = waiters->ends.count > 0;
}

static void resume_all(struct waiters *waiters)
{
	const struct heap_node *node;
	while ((node = heap_first(&waiters->ends)) != NULL)
		resume(waiters, node->owner);
	waiters->is_disbanded = false;
}

/* Lists for the accounts of the table. Returns whether they are there. */
static bool have_lists(struct waiters *waiters, const struct wait_terms *terms)
{
	/* A table may stand where one stood that was freed: then the adoptions tell them apart. */
	if (waiters->lists != NULL && waiters->table == terms->table &&
		waiters->adoptions == terms->adoptions)
		return true;
	disband(waiters);
	free(waiters->lists);
	waiters->lists = calloc(terms->table->count + 1, sizeof(struct waiter *));
	waiters->table = terms->table;
	waiters->adoptions = terms->adoptions;
	return waiters->lists != NULL;
}

static bool has_changed(const struct wait_terms *terms)
{
	return atomic_load(&terms->account->report) != terms->report ||
	       atomic_load(&terms->account->snapshot) != terms->snapshot;
}

static void suspend(struct waiters *waiters, struct waiter *waiter, const struct wait_terms *terms,
	int64_t now_ms)
{
	struct waiter **list = &waiters->lists[terms->account->index];
	waiter->next = *list;
	waiter->link = list;
	if (waiter->next != NULL)
		waiter->next->link = &waiter->next;
	*list = waiter;
	heap_put(&waiters->ends, &waiter->end, waiter->end_ms);
	MHD_suspend_connection(waiter->connection);
	/* Before the last look: what is published after it wakes this request. What was before lets
	 * it go on in the next round, not here: libmicrohttpd loses sight of a connection that is
	 * resumed within its own run. */
	atomic_store(&terms->account->has_waiters, true);
	/* It goes on in the next round: libmicrohttpd loses sight of a connection that is resumed
	 * by the handler that suspended it. */
	if (has_changed(terms))
		heap_put(&waiters->ends, &waiter->end, now_ms);
}

bool waiters_wait(struct waiters *waiters, struct waiter **place, struct MHD_Connection *connection,
	const struct wait_terms *terms, int64_t now_ms)
{
	struct waiter *waiter = *place;
	if (waiters->is_closed || !have_lists(waiters, terms) ||
		waiters->ends.count >= waiters->limit ||
		heap_reserve(&waiters->ends, waiters->ends.count + 1) != 0)
		return false;
	if (waiter == NULL) {
		waiter = calloc(1, sizeof(*waiter));
		if (waiter == NULL)
			return false;
		waiter->end.owner = waiter;
		waiter->end_ms = now_ms + terms->bound_ms;
		waiter->connection = connection;
		*place = waiter;
	}
	if (!waiter->has_exchanges)
		waiter->exchanges = terms->report->exchanges;
	waiter->has_exchanges = true;
	if (now_ms >= waiter->end_ms || terms->report->exchanges != waiter->exchanges)
		return false;
	suspend(waiters, waiter, terms, now_ms);
	return true;
}

int64_t waiter_end_ms(const struct waiter *waiter, int64_t bound_ms, int64_t now_ms)
{
	return waiter == NULL ? now_ms + bound_ms : waiter->end_ms;
}

unsigned waiter_exchanges(const struct waiter *waiter, const struct account_report *report)
{
	return waiter == NULL || !waiter->has_exchanges ? report->exchanges : waiter->exchanges;
}

void waiter_free(struct waiters *waiters, struct waiter *waiter)
{
	if (waiter == NULL)
		return;
	leave(waiters, waiter);
	free(waiter);
}

static void wake_account(struct waiters *waiters, struct account *account)
{
	/* Those who wait on say so again. */
	atomic_store(&account->has_waiters, false);
	while (waiters->lists[account->index] != NULL)
		resume(waiters, waiters->lists[account->index]);
}

void waiters_wake(struct waiters *waiters, int64_t now_ms)
{
	const struct heap_node *node;
	if (waiters->adoptions != atomic_load(&waiters->registry->adoptions))
		disband(waiters);
	if (waiters->is_disbanded) {
		resume_all(waiters);
		return;
	}
	struct account *account = registry_take_changed(waiters->registry);
	while (account != NULL) {
		struct account *changed = account;
		account = account_take_changed(account);
		if (waiters->ends.count > 0)
			wake_account(waiters, changed);
	}
	while ((node = heap_first(&waiters->ends)) != NULL && node->due_ms <= now_ms)
		resume(waiters, node->owner);
}

int64_t waiters_next_ms(const struct waiters *waiters)
{
	const struct heap_node *node = heap_first(&waiters->ends);
	if (waiters->is_disbanded)
		return 0;
	return node == NULL ? INT64_MAX : node->due_ms;
}

void waiters_close(struct waiters *waiters)
{
	waiters->is_closed = true;
	resume_all(waiters);
}

void waiters_destroy(struct waiters *waiters)
{
	free(waiters->lists);
	waiters->lists = NULL;
	heap_free(&waiters->ends);
}
