/*
 * One account on the refresh thread: its exchange, what comes of it, and when the next one is due.
 * The refresh thread only.
 */
#ifndef MRTOKEND_REFRESH_TASK_H
#define MRTOKEND_REFRESH_TASK_H

#include "base/heap.h"
#include "base/loop.h"
#include "credential/credential.h"
#include "login_desk.h"
#include "refresher.h"
#include "token/account.h"
#include "token/schedule.h"
#include "upstream/upstream.h"

#include <stdint.h>

/* What all tasks have in common; owned by the refresher. */
struct refresh_thread {
	struct refresher_options options;
	struct loop *loop;
	struct heap heap; /* of the tasks' timers */
};

/* What the refresh thread knows of an account beyond what it publishes. */
struct refresh_task {
	struct heap_node timer;
	struct refresh_thread *thread;
	struct account *account;
	struct credential *credential;
	const struct upstream *upstream;
	struct upstream_exchange *exchange; /* under way, or NULL */
	int64_t started_ms;
	struct schedule schedule;
	int64_t told_held_back_ms; /* when the last failure of this kind since a success was */
	struct login_desk *desk; /* NULL before somebody asks for a login */
};

/*
 * Begin an exchange; none is under way. What it gives, or why it failed, is published and logged,
 * and its end sets the timer again. It may end before this returns.
 */
void refresh_task_start(struct refresh_task *task);

/* Have an exchange begin as soon as the thread comes round; none is under way. */
void refresh_task_hasten(struct refresh_task *task);

/* End an exchange that may be under way; the timer is left as it is. */
void refresh_task_cancel(struct refresh_task *task);

#endif
