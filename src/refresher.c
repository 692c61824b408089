#include "refresher.h"

#include "base/heap.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/random.h"
#include "credential/shared_token.h"
#include "login_desk.h"
#include "token/schedule.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long to sleep while nothing is due, and while a reader still looks at something retired. */
#define IDLE_MS 60000
#define RECLAIM_MS 20

/* No token is believed to live longer: those of the STS live for a day (azure-protocol.md A.5). */
#define LIFETIME_MAX_S (INT64_C(48) * 3600)

/* What the refresh thread knows of an account beyond what it publishes. */
struct task {
	struct heap_node timer;
	struct refresher *refresher;
	struct account *account;
	struct credential *credential;
	const struct upstream *upstream;
	struct upstream_exchange *exchange; /* under way, or NULL */
	int64_t started_ms;
	struct schedule schedule;
	struct login_desk *desk; /* NULL before somebody asks for a login */
};

/* What one thread may ask of the refresher: the mailbox. Guarded by refresher.lock. */
struct mail {
	bool wants_stop;
	bool has_tasks;
	struct account_table *table;
	struct task *tasks;
	int result;
};

struct refresher {
	struct refresher_options options;
	pthread_t thread;
	struct loop *loop;
	struct heap heap;
	struct task *tasks;
	size_t task_count;
	pthread_mutex_t lock; /* guards mail; nothing is done while it is held */
	pthread_cond_t answered;
	struct mail mail;
};

static int64_t now_ms(const struct refresher *refresher)
{
	return clock_boottime_ms(refresher->options.clock);
}

/* Why an exchange failed, or what it gave. */
static void publish_report(
	struct task *task, const struct error *err, const struct upstream_token *token)
{
	struct refresher *refresher = task->refresher;
	const struct account_report *before = atomic_load(&task->account->report);
	struct account_report *report = malloc(sizeof(*report));
	if (report == NULL)
		return; /* people see the last report for longer; tokens do not depend on it */
	*report = *before;
	report->failures = task->schedule.failures;
	report->next_ms = task->schedule.next_ms;
	if (err == NULL) {
		report->refreshed_on = clock_realtime_s(refresher->options.clock);
		report->error = ERROR_INIT;
		report->given_by = token->given_by;
		report->is_static = token->is_static;
		snprintf(report->notice, sizeof(report->notice), "%s",
			token->notice == NULL ? "" : token->notice);
	} else {
		report->failed_on = clock_realtime_s(refresher->options.clock);
		report->error = *err;
	}
	account_publish_report(refresher->options.registry, task->account, report);
	refresher->options.on_change(refresher->options.context);
}

/* The account's identifier or its scope, for people. */
static const char *what_it_is(const struct account_settings *settings)
{
	return settings->account_id != NULL ? settings->account_id : settings->scope;
}

/* Where the token comes from, for people. */
static const char *who_answers(const struct account_settings *settings)
{
	return settings->endpoint != NULL ? settings->endpoint : settings->credential;
}

static void task_failed(struct task *task, const struct error *err)
{
	struct refresher *refresher = task->refresher;
	const struct account_settings *settings = &task->account->settings;
	const struct snapshot *snapshot = atomic_load(&task->account->snapshot);
	int64_t now = now_ms(refresher);
	schedule_failed(&task->schedule, now, err, random_part());
	heap_put(&refresher->heap, &task->timer, task->schedule.next_ms);
	char left[64] = "there is no valid token";
	if (snapshot_is_valid(snapshot, now))
		snprintf(left, sizeof(left), "the present token lives %" PRId64 " s more",
			(snapshot->dead_at_ms - now) / 1000);
	const struct log_field fields[] = {
		{"ACCOUNT", settings->name},
		{"UPSTREAM", settings->endpoint},
		{"ERROR_CODE", error_code_name(err->code)},
		{"MS_CV", err->correlation_vector[0] == '\0' ? NULL : err->correlation_vector},
		{"UPSTREAM_CODE", err->upstream_code[0] == '\0' ? NULL : err->upstream_code},
		{"CORRELATION_ID", err->correlation_id[0] == '\0' ? NULL : err->correlation_id},
		{0},
	};
	/* Someone must act where time does not mend it, or where clients are without a token. */
	bool is_urgent =
		error_class_of(err->code) != ERROR_CLASS_RETRY || !snapshot_is_valid(snapshot, now);
	publish_report(task, err, NULL);
	log_event(is_urgent ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, fields,
		"account %s (%s): refresh failed (failure %u in a row): %s; %s; trying again in "
		"%.1f s",
		settings->name, what_it_is(settings), task->schedule.failures, err->message, left,
		(double)(task->schedule.next_ms - now) / 1000);
}

/* How long the token lives, seen from now. */
static int64_t lifetime_ms_of(const struct task *task, const struct upstream_token *token)
{
	if (token->dead_at_ms != 0)
		return token->dead_at_ms - now_ms(task->refresher);
	int64_t local_s = clock_realtime_s(task->refresher->options.clock);
	/* The upstream's clock made the expiry, so the upstream's clock tells how far off it is. */
	int64_t from_s = token->server_date_s >= 0 ? token->server_date_s : local_s;
	int64_t lifetime_s = token->expires_on - from_s;
	if (lifetime_s <= LIFETIME_MAX_S)
		return lifetime_s * 1000;
	const struct log_field fields[] = {{"ACCOUNT", task->account->settings.name}, {0}};
	log_event(LOG_LEVEL_WARNING, fields,
		"account %s: the token would live for %" PRId64
		" s by the upstream's clock, which is "
		"not believed; it is used for %" PRId64 " s at most",
		task->account->settings.name, lifetime_s, LIFETIME_MAX_S);
	/* A Date that is far off is worth less than this host's clock. */
	lifetime_s = token->expires_on - local_s;
	return (lifetime_s < LIFETIME_MAX_S ? lifetime_s : LIFETIME_MAX_S) * 1000;
}

/* Tell, once, what someone should look at although the exchange worked. */
static void log_notice_of(const struct task *task, const struct upstream_token *token)
{
	const struct account_report *report = atomic_load(&task->account->report);
	const char *name = task->account->settings.name;
	const struct log_field fields[] = {{"ACCOUNT", name}, {0}};
	if (token->notice != NULL && token->notice[0] != '\0' &&
		strcmp(token->notice, report->notice) != 0)
		log_event(LOG_LEVEL_WARNING, fields, "account %s: %s", name, token->notice);
}

/* The token that is there came again: it stays as it is, its answers and ETags too. */
static void task_got_same(
	struct task *task, const struct upstream_token *token, const struct snapshot *snapshot)
{
	struct refresher *refresher = task->refresher;
	int64_t now = now_ms(refresher);
	schedule_same(&task->schedule, now, snapshot->dead_at_ms - now,
		token->is_static && token->refresh_at_ms != 0 ? token->refresh_at_ms - now : 0);
	heap_put(&refresher->heap, &task->timer, task->schedule.next_ms);
	log_notice_of(task, token);
	publish_report(task, NULL, token);
	if (token->is_static)
		return; /* as it should be, every few seconds */
	const struct log_field fields[] = {{"ACCOUNT", task->account->settings.name}, {0}};
	log_event(LOG_LEVEL_INFO, fields,
		"account %s (%s): the same token again, valid for %" PRId64
		" s, next refresh in %" PRId64 " s",
		task->account->settings.name, what_it_is(&task->account->settings),
		(snapshot->dead_at_ms - now) / 1000, (task->schedule.next_ms - now) / 1000);
}

static void task_succeeded(struct task *task, struct upstream_token *token)
{
	struct refresher *refresher = task->refresher;
	const struct account_settings *settings = &task->account->settings;
	const struct snapshot *present = atomic_load(&task->account->snapshot);
	struct error err = ERROR_INIT;
	int64_t now = now_ms(refresher);
	if (snapshot_is_valid(present, now) && secret_equal(present->token, token->token)) {
		task_got_same(task, token, present);
		return;
	}
	/* The Date has whole seconds and may be as old as the request: count both against the
	 * token. */
	int64_t lifetime_ms = lifetime_ms_of(task, token);
	if (token->dead_at_ms == 0)
		lifetime_ms -= 1000 + (now - task->started_ms);
	if (lifetime_ms <= 0) {
		error_set(&err, ERR_UPSTREAM_FORMAT,
			"%s answered with a token that expires at %" PRId64
			", which is not after the answer's own time; expected one with a life "
			"ahead",
			who_answers(settings), token->expires_on);
		task_failed(task, &err);
		return;
	}
	/* It counts once the token is there to be handed out; else this is one more failure. */
	struct schedule schedule = task->schedule;
	schedule_succeeded(&schedule, now, lifetime_ms,
		token->refresh_at_ms == 0 ? 0 : token->refresh_at_ms - now, random_part());
	if (token->is_static)
		schedule_same(&schedule, now, lifetime_ms, token->refresh_at_ms - now);
	const struct snapshot_parts parts = {
		.account = settings->name,
		.account_id = settings->account_id,
		.account_domain = settings->account_domain,
		.scope = settings->account_id == NULL ? settings->scope : NULL,
		.expires_on = token->expires_on,
		.refresh_on = token->expires_on - (now + lifetime_ms - schedule.next_ms) / 1000,
		.dead_at_ms = now + lifetime_ms,
		.received_ms = now,
	};
	struct snapshot *snapshot =
		snapshot_build(token->token, &parts, refresher->options.answer_maker, &err);
	if (snapshot == NULL) {
		error_wrap(&err, "%s", who_answers(settings));
		task_failed(task, &err);
		return;
	}
	token->token = NULL;
	task->schedule = schedule;
	account_publish_snapshot(refresher->options.registry, task->account, snapshot);
	heap_put(&refresher->heap, &task->timer, task->schedule.next_ms);
	log_notice_of(task, token);
	publish_report(task, NULL, token);
	const struct log_field fields[] = {
		{"ACCOUNT", settings->name},
		{"UPSTREAM", settings->endpoint},
		{"CREDENTIAL", token->given_by},
		{0},
	};
	log_event(LOG_LEVEL_INFO, fields,
		"account %s (%s): new token, valid for %" PRId64 " s, next refresh in %" PRId64
		" s",
		settings->name, what_it_is(settings), lifetime_ms / 1000,
		(task->schedule.next_ms - now) / 1000);
}

static void on_exchange_done(void *context, struct upstream_token *token, const struct error *err)
{
	struct task *task = context;
	task->exchange = NULL;
	if (token != NULL)
		task_succeeded(task, token);
	else
		task_failed(task, err);
}

static void start_exchange(struct task *task)
{
	heap_remove(&task->refresher->heap, &task->timer);
	task->started_ms = now_ms(task->refresher);
	struct upstream_exchange *exchange = task->upstream->start(&task->account->settings,
		task->credential, task->refresher->loop, on_exchange_done, task);
	/* When it is NULL, on_exchange_done() was called already and has set the next date. */
	if (exchange != NULL)
		task->exchange = exchange;
}

static void tasks_free(struct task *tasks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (tasks[i].exchange != NULL)
			tasks[i].upstream->cancel(tasks[i].exchange);
		login_desk_free(tasks[i].desk);
		credential_close(tasks[i].credential);
	}
	free(tasks);
}

/* ---- logins ---- */

/* Somebody has logged in: whoever has the same credential tries again now, with what it has. */
static void on_login_done(void *context)
{
	struct task *task = context;
	struct refresher *refresher = task->refresher;
	const struct credential *credential = login_desk_credential(task->desk);
	for (size_t i = 0; i < refresher->task_count; i++) {
		struct task *other = &refresher->tasks[i];
		if (credential_with_login(other->credential) != credential)
			continue;
		if (other->exchange != NULL)
			other->upstream->cancel(other->exchange);
		other->exchange = NULL;
		shared_token_forget(other->credential);
		if (other->credential->kind->reconsider != NULL)
			other->credential->kind->reconsider(other->credential);
		heap_put(&refresher->heap, &other->timer, 0);
	}
}

static void begin_login(struct task *task)
{
	struct refresher *refresher = task->refresher;
	const struct login_desk_options options = {
		.registry = refresher->options.registry,
		.loop = refresher->loop,
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
	if (!atomic_exchange(&refresher->options.registry->has_requests, false))
		return;
	for (size_t i = 0; i < refresher->task_count; i++) {
		struct task *task = &refresher->tasks[i];
		unsigned requests = atomic_load(&task->account->requests);
		if (requests & ACCOUNT_REQUEST_LOGIN)
			begin_login(task);
		/* Not before there is something to see, so that whoever asked sees the one or
		 * the other. */
		if (requests != 0)
			atomic_fetch_and(&task->account->requests, ~requests);
	}
}

static void wake(void *context)
{
	loop_wake(((struct refresher *)context)->loop);
}

/* What is asked for, and how far a login is, is the new account's from now on. */
static void inherit_login(struct task *task, struct task *before)
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
static void task_inherit(struct task *task, struct task *before)
{
	const struct account_report *report = atomic_load(&before->account->report);
	task->schedule = before->schedule;
	/* A configuration that was changed is a reason to try again now. */
	if (before->schedule.failures > 0)
		task->schedule.next_ms = 0;
	*atomic_load(&task->account->report) = *report;
	atomic_store(&task->account->snapshot, atomic_load(&before->account->snapshot));
	before->account->has_given_snapshot_away = true;
}

/* The task of the account that had that name in `table`, or NULL. */
static struct task *find_task(
	const struct refresher *refresher, const struct account_table *table, const char *name)
{
	const struct account *account = table == NULL ? NULL : account_table_find(table, name);
	return account == NULL ? NULL : &refresher->tasks[account->index];
}

static int adopt(struct refresher *refresher, struct account_table *table, struct task *tasks)
{
	struct registry *registry = refresher->options.registry;
	struct account_table *old = atomic_load(&registry->table);
	if (heap_reserve(&refresher->heap, refresher->task_count + table->count) != 0)
		return -1;
	for (size_t i = 0; i < table->count; i++) {
		const struct account_settings *settings = &tasks[i].account->settings;
		struct task *before = find_task(refresher, old, settings->name);
		if (before != NULL &&
			account_settings_name_same_token(&before->account->settings, settings))
			task_inherit(&tasks[i], before);
		if (before != NULL)
			inherit_login(&tasks[i], before);
	}
	atomic_store(&registry->table, table);
	for (size_t i = 0; i < refresher->task_count; i++)
		heap_remove(&refresher->heap, &refresher->tasks[i].timer);
	tasks_free(refresher->tasks, refresher->task_count);
	epoch_retire(&registry->epoch, old, account_table_free);
	refresher->tasks = tasks;
	refresher->task_count = table->count;
	for (size_t i = 0; i < table->count; i++) {
		heap_put(&refresher->heap, &tasks[i].timer, tasks[i].schedule.next_ms);
		shared_token_forgive(tasks[i].credential);
	}
	atomic_store(&registry->has_requests, true); /* of before, perhaps */
	refresher->options.on_change(refresher->options.context);
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
	const struct heap_node *first = heap_first(&refresher->heap);
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
		serve_requests(refresher);
		while ((node = heap_first(&refresher->heap)) != NULL &&
			node->due_ms <= now_ms(refresher))
			start_exchange(node->owner);
		bool has_retired = epoch_reclaim(&refresher->options.registry->epoch);
		loop_run(refresher->loop, time_to_wait(refresher, has_retired));
	}
	heap_free(&refresher->heap); /* before the nodes in the tasks */
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
	refresher->options = *options;
	pthread_mutex_init(&refresher->lock, NULL);
	pthread_cond_init(&refresher->answered, NULL);
	refresher->loop = loop_new(options->clock, err);
	if (refresher->loop == NULL) {
		free(refresher);
		return NULL;
	}
	options->registry->wake_context = refresher;
	options->registry->wake = wake;
	int failed = pthread_create(&refresher->thread, NULL, refresher_main, refresher);
	if (failed != 0) {
		options->registry->wake = NULL;
		error_set_errno(err, failed, "cannot start the refresh thread");
		loop_free(refresher->loop);
		free(refresher);
		return NULL;
	}
	pthread_setname_np(refresher->thread, "refresh");
	return refresher;
}

int refresher_adopt(struct refresher *refresher, struct account_table *table,
	struct refresher_account *accounts, struct error *err)
{
	struct task *tasks = calloc(table->count + 1, sizeof(*tasks));
	if (tasks == NULL)
		return error_set(
			err, ERR_NO_MEMORY, "cannot adopt the configuration: out of memory");
	for (size_t i = 0; i < table->count; i++) {
		tasks[i] = (struct task){
			.refresher = refresher,
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
	loop_wake(refresher->loop);
	while (refresher->mail.has_tasks)
		pthread_cond_wait(&refresher->answered, &refresher->lock);
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

void refresher_stop(struct refresher *refresher)
{
	if (refresher == NULL)
		return;
	pthread_mutex_lock(&refresher->lock);
	refresher->mail.wants_stop = true;
	pthread_mutex_unlock(&refresher->lock);
	loop_wake(refresher->loop);
	pthread_join(refresher->thread, NULL);
	refresher->options.registry->wake = NULL;
	loop_free(refresher->loop);
	pthread_cond_destroy(&refresher->answered);
	pthread_mutex_destroy(&refresher->lock);
	free(refresher);
}
