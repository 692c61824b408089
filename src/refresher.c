#include "refresher.h"

#include "base/clock_watch.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/random.h"
#include "config/watch.h"
#include "credential/live_secret.h"
#include "credential/shared_token.h"
#include "refresh_task.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

/* How long to sleep while nothing is due, and while a reader still looks at something retired. */
#define IDLE_MS 60000
#define RECLAIM_MS 20

/* Accounts whose common secret was rotated try it one after the other. */
#define ROTATION_PACE_MS 20

/* What the clock is moved by without a word: a time service does so all the time. */
#define CLOCK_SLACK_MS 1000
/* An exchange that was under way in a sleep longer than this is begun anew: nobody answers it. */
#define SLEEP_SLACK_MS 5000
/* Within what time those that failed because of the clock try again. */
#define CLOCK_RETRY_MS 1000

/* What one thread may ask of the refresher: the mailbox. Guarded by refresher.lock. */
struct mail {
	bool wants_stop;
	bool has_tasks;
	struct account_table *table;
	struct refresh_task *tasks;
	int result;
};

struct refresher {
	struct refresh_thread thread; /* first, so that a task finds the refresher */
	pthread_t pthread;
	struct refresh_task *tasks;
	size_t task_count;
	struct watch *watch; /* of the secrets' files; its owners are tasks */
	pthread_mutex_t lock; /* guards mail; nothing is done while it is held */
	pthread_cond_t answered;
	struct mail mail;
	struct heartbeat heartbeat;
	struct clock_watch clock_watch;
};

static struct refresher *refresher_of(const struct refresh_task *task)
{
	return (struct refresher *)task->thread;
}

static int64_t now_ms(const struct refresher *refresher)
{
	return clock_boottime_ms(refresher->thread.options.clock);
}

static void tasks_free(struct refresh_task *tasks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		refresh_task_cancel(&tasks[i]);
		login_desk_free(tasks[i].desk);
		credential_close(tasks[i].credential);
	}
	free(tasks);
}

/* ---- logins ---- */

/* Somebody has logged in: whoever has the same credential tries again now, with what it has. */
static void on_login_done(void *context)
{
	struct refresh_task *task = context;
	struct refresher *refresher = refresher_of(task);
	const struct credential *credential = login_desk_credential(task->desk);
	for (size_t i = 0; i < refresher->task_count; i++) {
		struct refresh_task *other = &refresher->tasks[i];
		if (credential_with_login(other->credential) != credential)
			continue;
		refresh_task_cancel(other);
		shared_token_forget(other->credential);
		if (other->credential->kind->reconsider != NULL)
			other->credential->kind->reconsider(other->credential);
		refresh_task_hasten(other);
	}
}

/* Somebody wants a new token. */
static void begin_refresh(struct refresh_task *task)
{
	if (task->exchange != NULL)
		return;
	shared_token_renew(task->credential);
	refresh_task_hasten(task);
}

static void begin_login(struct refresh_task *task)
{
	struct refresher *refresher = refresher_of(task);
	const struct login_desk_options options = {
		.registry = refresher->thread.options.registry,
		.loop = refresher->thread.loop,
		.done = on_login_done,
	};
	struct credential *credential = credential_with_login(task->credential);
	if (task->desk == NULL && credential != NULL)
		task->desk = login_desk_new(&options, task->account, credential, task);
	if (task->desk != NULL)
		login_desk_begin(task->desk);
}

/* ---- the clock ---- */

/* A wrong clock makes certificates and assertions invalid, and a sleep breaks connections. What the
 * upstream said of its own state holds on; what a circuit said does not, for it is forgiven. */
static bool may_be_of_clock(const struct error *err)
{
	return (err->code == ERR_TLS || err->code == ERR_DENIED || err->code == ERR_NETWORK ||
		       err->code == ERR_TIMEOUT) &&
	       (err->retry_after_s <= 0 || err->spread_ms > 0);
}

static int64_t seconds_of(int64_t ms)
{
	return ((ms < 0 ? -ms : ms) + 500) / 1000;
}

static void log_clock_change(const struct clock_change *change)
{
	if (change->slept_ms > CLOCK_SLACK_MS)
		log_notice("the machine has slept for %" PRId64
			   " s; what was due meanwhile is refreshed now",
			seconds_of(change->slept_ms));
	if (change->set_by_ms > CLOCK_SLACK_MS || change->set_by_ms < -CLOCK_SLACK_MS)
		log_notice("the clock was set %s by %" PRId64
			   " s; tokens and their schedule stay as they are, and what failed tries "
			   "again now",
			change->set_by_ms > 0 ? "forward" : "back", seconds_of(change->set_by_ms));
}

/* What is due by CLOCK_BOOTTIME is found by the loop, which goes round because of this. */
static void on_clock_change(void *context, const struct clock_change *change)
{
	struct refresher *refresher = context;
	bool is_set = change->set_by_ms > CLOCK_SLACK_MS || change->set_by_ms < -CLOCK_SLACK_MS;
	bool has_slept = change->slept_ms > SLEEP_SLACK_MS;
	log_clock_change(change);
	if (is_set || has_slept)
		http_client_forgive(loop_http(refresher->thread.loop));
	for (size_t i = 0; (is_set || has_slept) && i < refresher->task_count; i++) {
		struct refresh_task *task = &refresher->tasks[i];
		const struct account_report *report = atomic_load(&task->account->report);
		bool is_cut = task->exchange != NULL && has_slept;
		bool has_failed = task->exchange == NULL && task->schedule.failures > 0 &&
				  may_be_of_clock(&report->error);
		if (!is_cut && !has_failed)
			continue;
		refresh_task_cancel(task);
		int64_t due_ms =
			now_ms(refresher) + (int64_t)((double)CLOCK_RETRY_MS * random_part());
		if (!is_cut && due_ms >= task->schedule.next_ms)
			continue;
		task->schedule.next_ms = due_ms;
		heap_put(&refresher->thread.heap, &task->timer, due_ms);
	}
	refresher->thread.options.on_change(refresher->thread.options.context);
}

static void watch_clock(struct refresher *refresher)
{
	struct error err = ERROR_INIT;
	refresher->clock_watch.changed = on_clock_change;
	refresher->clock_watch.context = refresher;
	if (clock_watch_start(&refresher->clock_watch, refresher->thread.loop, &err) != 0)
		log_warning("%s; after a sleep, refreshes may be up to %d s late", err.message,
			IDLE_MS / 1000);
}

/* Do what others asked for. */
static void serve_requests(struct refresher *refresher)
{
	if (!atomic_exchange(&refresher->thread.options.registry->has_requests, false))
		return;
	for (size_t i = 0; i < refresher->task_count; i++) {
		struct refresh_task *task = &refresher->tasks[i];
		unsigned requests = atomic_load(&task->account->requests);
		if (requests & ACCOUNT_REQUEST_LOGIN)
			begin_login(task);
		if (requests & ACCOUNT_REQUEST_REFRESH)
			begin_refresh(task);
		/* Not before there is something to see, so that whoever asked sees the one or
		 * the other. */
		if (requests != 0)
			atomic_fetch_and(&task->account->requests, ~requests);
	}
}

/* ---- secrets that change ---- */

static void on_secret_changed(void *context, const char *path, void *const *owners, size_t count)
{
	(void)context;
	for (size_t i = 0; i < count; i++)
		refresh_task_secret_changed(owners[i], path, (int64_t)i * ROTATION_PACE_MS);
}

struct watching {
	struct refresher *refresher;
	struct refresh_task *task;
};

static void watch_secret(void *context, struct live_secret *secret, enum secret_change change)
{
	const struct watching *watching = context;
	const char *path = live_secret_path(secret);
	(void)change;
	if (path != NULL)
		watch_add(watching->refresher->watch, path, watching->task);
}

/* What was not told yet of files watched before is found by looking at them after this. */
static void watch_secrets(struct refresher *refresher, struct refresh_task *tasks, size_t count)
{
	watch_clear(refresher->watch);
	for (size_t i = 0; i < count; i++) {
		struct watching watching = {refresher, &tasks[i]};
		credential_visit_secrets(tasks[i].credential, watch_secret, &watching);
	}
}

static void wake(void *context)
{
	loop_wake(((struct refresher *)context)->thread.loop);
}

/* What is asked for, and how far a login is, is the new account's from now on. */
static void inherit_login(struct refresh_task *task, struct refresh_task *before)
{
	atomic_store(&task->account->requests, atomic_load(&before->account->requests));
	if (before->desk == NULL ||
		login_desk_credential(before->desk) != credential_with_login(task->credential))
		return;
	task->desk = before->desk;
	before->desk = NULL;
	login_desk_move(task->desk, task->account, task);
}

/* Look at the secrets, and whether `before` had others. */
static bool has_other_secrets(struct refresh_task *task, const struct refresh_task *before)
{
	if (task->credential != before->credential)
		return secret_state_differs(before->credential, task->credential, &task->secrets);
	task->secrets = secret_state_now(task->credential);
	return task->secrets.versions != before->secrets.versions;
}

/*
 * Carry over from `before` what it has for the same token. Readers of the old table still find the
 * snapshot there, but the new account owns it.
 */
static void task_inherit(struct refresh_task *task, struct refresh_task *before)
{
	const struct account_report *report = atomic_load(&before->account->report);
	task->schedule = before->schedule;
	task->told_held_back_ms = before->told_held_back_ms;
	bool is_rotated = has_other_secrets(task, before);
	if (is_rotated)
		shared_token_forget(task->credential);
	/* A configuration that was changed is a reason to try again now, and so are a secret that
	 * was, and a key that was ruled out; and who asks now may have fewer rights than who asked
	 * before. */
	if (is_rotated || before->schedule.failures > 0 ||
		(report->key != NULL && report->notice[0] != '\0') ||
		!account_settings_have_same_subject(
			&task->account->settings, &before->account->settings))
		task->schedule.next_ms = 0;
	struct account_report *inherited = atomic_load(&task->account->report);
	*inherited = *report;
	if (task->schedule.next_ms == 0)
		inherited->next_ms = 0;
	atomic_store(&task->account->snapshot, atomic_load(&before->account->snapshot));
	before->account->has_given_snapshot_away = true;
}

/* The task of the account that had that name in `table`, or NULL. */
static struct refresh_task *find_task(
	const struct refresher *refresher, const struct account_table *table, const char *name)
{
	const struct account *account = table == NULL ? NULL : account_table_find(table, name);
	return account == NULL ? NULL : &refresher->tasks[account->index];
}

/* What readers of the old table asked for while the new one was made. */
static void inherit_late_requests(
	const struct account_table *before, const struct account_table *table)
{
	for (size_t i = 0; before != NULL && i < before->count; i++) {
		struct account *asked = before->accounts[i];
		struct account *now = account_table_find(table, asked->settings.name);
		if (now != NULL)
			atomic_fetch_or(&now->requests, atomic_load(&asked->requests));
	}
}

static int adopt(
	struct refresher *refresher, struct account_table *table, struct refresh_task *tasks)
{
	struct registry *registry = refresher->thread.options.registry;
	struct account_table *old = atomic_load(&registry->table);
	if (heap_reserve(&refresher->thread.heap, refresher->task_count + table->count) != 0)
		return -1;
	watch_secrets(refresher, tasks, table->count);
	for (size_t i = 0; i < table->count; i++) {
		const struct account_settings *settings = &tasks[i].account->settings;
		struct refresh_task *before = find_task(refresher, old, settings->name);
		if (before != NULL &&
			account_settings_name_same_token(&before->account->settings, settings))
			task_inherit(&tasks[i], before);
		else
			tasks[i].secrets = secret_state_now(tasks[i].credential);
		if (before != NULL)
			inherit_login(&tasks[i], before);
	}
	registry_publish_table(registry, table);
	inherit_late_requests(old, table);
	for (size_t i = 0; i < refresher->task_count; i++)
		heap_remove(&refresher->thread.heap, &refresher->tasks[i].timer);
	tasks_free(refresher->tasks, refresher->task_count);
	epoch_retire(&registry->epoch, old, account_table_free);
	refresher->tasks = tasks;
	refresher->task_count = table->count;
	for (size_t i = 0; i < table->count; i++) {
		heap_put(&refresher->thread.heap, &tasks[i].timer, tasks[i].schedule.next_ms);
		shared_token_forgive(tasks[i].credential);
	}
	http_client_forgive(loop_http(refresher->thread.loop));
	atomic_store(&registry->has_requests, true); /* of before, perhaps */
	refresher->thread.options.on_change(refresher->thread.options.context);
	return 0;
}

/* Do what the mailbox asks. Returns whether to go on. */
static bool read_mail(struct refresher *refresher)
{
	pthread_mutex_lock(&refresher->lock);
	struct mail mail = refresher->mail;
	pthread_mutex_unlock(&refresher->lock);
	if (mail.has_tasks) {
		int result = adopt(refresher, mail.table, mail.tasks);
		pthread_mutex_lock(&refresher->lock);
		refresher->mail.has_tasks = false;
		refresher->mail.result = result;
		pthread_cond_signal(&refresher->answered);
		pthread_mutex_unlock(&refresher->lock);
	}
	return !mail.wants_stop;
}

static int64_t time_to_wait(struct refresher *refresher, bool has_retired)
{
	const struct heap_node *first = heap_first(&refresher->thread.heap);
	int64_t wait_ms = has_retired ? RECLAIM_MS : IDLE_MS;
	if (first != NULL) {
		int64_t until_due = first->due_ms - now_ms(refresher);
		if (until_due < wait_ms)
			wait_ms = until_due < 0 ? 0 : until_due;
	}
	return wait_ms;
}

static void *refresher_main(void *context)
{
	struct refresher *refresher = context;
	watch_clock(refresher);
	while (read_mail(refresher)) {
		struct heap_node *node;
		heartbeat_answer(&refresher->heartbeat);
		serve_requests(refresher);
		while ((node = heap_first(&refresher->thread.heap)) != NULL &&
			node->due_ms <= now_ms(refresher))
			refresh_task_start(node->owner);
		bool has_retired = epoch_reclaim(&refresher->thread.options.registry->epoch);
		loop_run(refresher->thread.loop, time_to_wait(refresher, has_retired));
	}
	watch_free(refresher->watch);
	clock_watch_stop(&refresher->clock_watch);
	heap_free(&refresher->thread.heap); /* before the nodes in the tasks */
	tasks_free(refresher->tasks, refresher->task_count);
	refresher->tasks = NULL;
	return NULL;
}

struct refresher *refresher_start(const struct refresher_options *options, struct error *err)
{
	struct refresher *refresher = calloc(1, sizeof(*refresher));
	if (refresher == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot start the refresh thread: out of memory");
		return NULL;
	}
	refresher->thread.options = *options;
	pthread_mutex_init(&refresher->lock, NULL);
	pthread_cond_init(&refresher->answered, NULL);
	refresher->thread.loop = loop_new(options->clock, err);
	refresher->watch =
		refresher->thread.loop == NULL
			? NULL
			: watch_new(refresher->thread.loop, on_secret_changed, refresher, err);
	if (refresher->watch == NULL) {
		loop_free(refresher->thread.loop);
		free(refresher);
		return NULL;
	}
	heartbeat_init(&refresher->heartbeat, "refresh", wake, refresher);
	options->registry->wake_context = refresher;
	options->registry->wake = wake;
	int failed = pthread_create(&refresher->pthread, NULL, refresher_main, refresher);
	if (failed != 0) {
		options->registry->wake = NULL;
		error_set_errno(err, failed, "cannot start the refresh thread");
		watch_free(refresher->watch);
		loop_free(refresher->thread.loop);
		free(refresher);
		return NULL;
	}
	pthread_setname_np(refresher->pthread, "refresh");
	return refresher;
}

int refresher_adopt(struct refresher *refresher, struct account_table *table,
	struct refresher_account *accounts, struct error *err)
{
	struct refresh_task *tasks = calloc(table->count + 1, sizeof(*tasks));
	if (tasks == NULL)
		return error_set(
			err, ERR_NO_MEMORY, "cannot adopt the configuration: out of memory");
	for (size_t i = 0; i < table->count; i++) {
		/* Not the thread's yet, but of another process perhaps: account_inherit(). */
		const struct account_report *report = atomic_load(&table->accounts[i]->report);
		tasks[i] = (struct refresh_task){
			.thread = &refresher->thread,
			.schedule = {.failures = report->failures, .next_ms = report->next_ms},
			.account = table->accounts[i],
			.credential = accounts[i].credential,
			.upstream = accounts[i].upstream,
		};
		tasks[i].timer.owner = &tasks[i];
	}
	pthread_mutex_lock(&refresher->lock);
	refresher->mail.table = table;
	refresher->mail.tasks = tasks;
	refresher->mail.has_tasks = true;
	loop_wake(refresher->thread.loop);
	while (refresher->mail.has_tasks)
		answer_wait(&refresher->answered, &refresher->lock,
			&refresher->thread.options.meanwhile);
	int result = refresher->mail.result;
	pthread_mutex_unlock(&refresher->lock);
	if (result != 0) {
		free(tasks);
		return error_set(
			err, ERR_NO_MEMORY, "cannot adopt the configuration: out of memory");
	}
	free(accounts);
	return 0;
}

struct heartbeat *refresher_heartbeat(struct refresher *refresher)
{
	return &refresher->heartbeat;
}

void refresher_stop(struct refresher *refresher)
{
	if (refresher == NULL)
		return;
	pthread_mutex_lock(&refresher->lock);
	refresher->mail.wants_stop = true;
	pthread_mutex_unlock(&refresher->lock);
	loop_wake(refresher->thread.loop);
	pthread_join(refresher->pthread, NULL);
	refresher->thread.options.registry->wake = NULL;
	loop_free(refresher->thread.loop);
	pthread_cond_destroy(&refresher->answered);
	pthread_mutex_destroy(&refresher->lock);
	free(refresher);
}
