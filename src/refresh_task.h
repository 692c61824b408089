/*
 * One account on the refresh thread: its exchange, what comes of it, and when the next one is due.
 * The refresh thread only.
 */
#ifndef MRTOKEND_REFRESH_TASK_H
#define MRTOKEND_REFRESH_TASK_H

#include "base/heap.h"
#include "base/loop.h"
#include "credential/credential.h"
#include "credential/secret_state.h"
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
	struct secret_state secrets; /* as they were last looked at for a change */
	int64_t rotation_ms; /* when the last exchange was due to try a rotated secret; or 0 */
	bool was_cut; /* one was cancelled for a secret that changed, and none has ended since */
	bool has_changed_since; /* and a secret changed once more */
	bool has_waited_for_secret; /* the last exchange failed on one that may be back in a moment
				     */
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

/* A rotated secret is tried at once, but not again before so much time has passed. */
#define REFRESH_TASK_ROTATION_LEAST_MS INT64_C(10000)

/*
 * A file that its credential reads a secret from may hold another one now. If it does, and that may
 * mend something (the last refresh failed on the credential, or worked with one of two keys alone),
 * or an exchange is under way with what was there before, it is tried at once. One that was rotated
 * is tried soon, so that a wrong one is found while the token lives. Else it is for the next
 * refresh, which reads it in any case.
 *
 * path      for people
 * delay_ms  not sooner, where nothing is to be mended: others begin as well
 */
void refresh_task_secret_changed(struct refresh_task *task, const char *path, int64_t delay_ms);

#endif
