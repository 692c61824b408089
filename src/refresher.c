#include "refresher.h"

#include "base/http_client.h"
#include "credential/shared_token.h"
#include "refresh_task.h"

#include <pthread.h>
#include <stdlib.h>

/* How long to sleep while nothing is due, and while a reader still looks at something retired. */
#define IDLE_MS 60000
#define RECLAIM_MS 20

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
	pthread_mutex_t lock; /* guards mail; nothing is done while it is held */
	pthread_cond_t answered;
	struct mail mail;
	struct heartbeat heartbeat;
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

/*
 * Carry over from `before` what it has for the same token. Readers of the old table still find the
 * snapshot there, but the new account owns it.
 */
static void task_inherit(struct refresh_task *task, struct refresh_task *before)
{
	const struct account_report *report = atomic_load(&before->account->report);
	task->schedule = before->schedule;
	task->told_held_back_ms = before->told_held_back_ms;
	/* A configuration that was changed is a reason to try again now; and who asks now may have
	 * fewer rights than who asked before. */
	if (before->schedule.failures > 0 ||
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

static int adopt(
	struct refresher *refresher, struct account_table *table, struct refresh_task *tasks)
{
	struct registry *registry = refresher->thread.options.registry;
	struct account_table *old = atomic_load(&registry->table);
	if (heap_reserve(&refresher->thread.heap, refresher->task_count + table->count) != 0)
		return -1;
	for (size_t i = 0; i < table->count; i++) {
		const struct account_settings *settings = &tasks[i].account->settings;
		struct refresh_task *before = find_task(refresher, old, settings->name);
		if (before != NULL &&
			account_settings_name_same_token(&before->account->settings, settings))
			task_inherit(&tasks[i], before);
		if (before != NULL)
			inherit_login(&tasks[i], before);
	}
	registry_publish_table(registry, table);
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
	if (refresher->thread.loop == NULL) {
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
		tasks[i] = (struct refresh_task){
			.thread = &refresher->thread,
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
