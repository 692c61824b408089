#include "refresh_task.h"

#include "base/log.h"
#include "base/message_id.h"
#include "base/random.h"
#include "credential/shared_token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No token is believed to live longer: those of the STS live for a day (azure-protocol.md A.5). */
#define LIFETIME_MAX_S (INT64_C(48) * 3600)

static int64_t now_ms(const struct refresh_task *task)
{
	return clock_boottime_ms(task->thread->options.clock);
}

/* Have an exchange begin then, and tell people so. */
static void set_due(struct refresh_task *task, int64_t due_ms)
{
	struct refresh_thread *thread = task->thread;
	struct account_report *report = malloc(sizeof(*report));
	task->schedule.next_ms = due_ms;
	heap_put(&thread->heap, &task->timer, due_ms);
	if (report == NULL)
		return; /* people see the old date until the exchange has ended */
	*report = *atomic_load(&task->account->report);
	report->next_ms = due_ms;
	account_publish_report(thread->options.registry, task->account, report);
}

static double roll(const struct refresh_task *task)
{
	double (*own)(void) = task->thread->options.roll;
	return own == NULL ? random_part() : own();
}

/* Why an exchange failed, or what it gave. */
static void publish_report(
	struct refresh_task *task, const struct error *err, const struct upstream_token *token)
{
	struct refresh_thread *thread = task->thread;
	const struct account_report *before = atomic_load(&task->account->report);
	struct account_report *report = malloc(sizeof(*report));
	if (report == NULL)
		return; /* people see the last report for longer; tokens do not depend on it */
	*report = *before;
	report->exchanges++;
	report->failures = task->schedule.failures;
	report->next_ms = task->schedule.next_ms;
	if (err == NULL) {
		report->refreshed_on = clock_realtime_s(thread->options.clock);
		report->error = ERROR_INIT;
		report->given_by = token->given_by;
		report->key = token->key;
		report->is_static = token->is_static;
		snprintf(report->notice, sizeof(report->notice), "%s",
			token->notice == NULL ? "" : token->notice);
	} else {
		report->failed_on = clock_realtime_s(thread->options.clock);
		report->error = *err;
	}
	account_publish_report(thread->options.registry, task->account, report);
	thread->options.on_change(thread->options.context);
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

/* Which event a failure is, for alerts. */
static const char *message_id_of(const struct error *err, bool has_valid_token)
{
	if (err->needs_login)
		return MESSAGE_LOGIN_NEEDED;
	if (error_class_of(err->code) == ERROR_CLASS_CREDENTIAL)
		return MESSAGE_CREDENTIAL_REFUSED;
	return has_valid_token ? MESSAGE_REFRESH_FAILED_WITH_TOKEN
			       : MESSAGE_REFRESH_FAILED_WITHOUT_TOKEN;
}

/*
 * A secret's file may be gone, or empty, for a moment while another one takes its place: one that
 * was there is waited for, once. Returns whether it is.
 */
static bool waits_for_secret(struct refresh_task *task, const struct error *err)
{
	const struct account_report *report = atomic_load(&task->account->report);
	bool has_waited = task->has_waited_for_secret;
	task->has_waited_for_secret = false;
	if (err->code != ERR_SECRET_SOURCE || has_waited || report->refreshed_on == 0 ||
		task->schedule.failures > 0)
		return false;
	const struct log_field fields[] = {{"ACCOUNT", task->account->settings.name}, {0}};
	log_event(LOG_LEVEL_INFO, fields, "account %s: %s; looking again in %.1f s",
		task->account->settings.name, err->message, (double)SCHEDULE_LEAST_MS / 1000);
	task->has_waited_for_secret = true;
	set_due(task, now_ms(task) + SCHEDULE_LEAST_MS);
	return true;
}

/*
 * Whether it was told before that the account is held back like all others of its upstream, which
 * the log tells by itself; and it has not lost its token since.
 */
static bool is_known(struct refresh_task *task, const struct error *err,
	const struct snapshot *snapshot, int64_t now)
{
	int64_t told_ms = task->told_held_back_ms;
	if (err->spread_ms == 0)
		return false;
	task->told_held_back_ms = now;
	return told_ms != 0 &&
	       snapshot_is_valid(snapshot, told_ms) == snapshot_is_valid(snapshot, now);
}

static void task_failed(struct refresh_task *task, const struct error *err)
{
	if (waits_for_secret(task, err))
		return;
	struct refresh_thread *thread = task->thread;
	const struct account_settings *settings = &task->account->settings;
	const struct snapshot *snapshot = atomic_load(&task->account->snapshot);
	int64_t now = now_ms(task);
	schedule_failed(&task->schedule, now, err, roll(task));
	heap_put(&thread->heap, &task->timer, task->schedule.next_ms);
	char left[64] = "there is no valid token";
	if (snapshot_is_valid(snapshot, now))
		snprintf(left, sizeof(left), "the present token lives %" PRId64 " s more",
			(snapshot->dead_at_ms - now) / 1000);
	const struct log_field fields[] = {
		{"MESSAGE_ID", message_id_of(err, snapshot_is_valid(snapshot, now))},
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
	enum log_level level = is_known(task, err, snapshot, now) ? LOG_LEVEL_DEBUG
			       : is_urgent                        ? LOG_LEVEL_ERROR
								  : LOG_LEVEL_WARNING;
	publish_report(task, err, NULL);
	log_event(level, fields,
		"account %s (%s): refresh failed (failure %u in a row): %s; %s; trying again in "
		"%.1f s",
		settings->name, what_it_is(settings), task->schedule.failures, err->message, left,
		(double)(task->schedule.next_ms - now) / 1000);
}

/* How long the token lives, seen from now. */
static int64_t lifetime_ms_of(const struct refresh_task *task, const struct upstream_token *token)
{
	if (token->dead_at_ms != 0)
		return token->dead_at_ms - now_ms(task);
	int64_t local_s = clock_realtime_s(task->thread->options.clock);
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
static void log_notice_of(const struct refresh_task *task, const struct upstream_token *token)
{
	const struct account_report *report = atomic_load(&task->account->report);
	const char *name = task->account->settings.name;
	const struct log_field fields[] = {
		{"MESSAGE_ID", token->notice_id},
		{"ACCOUNT", name},
		{0},
	};
	if (token->notice != NULL && token->notice[0] != '\0' && !token->is_notice_told &&
		strcmp(token->notice, report->notice) != 0)
		log_event(LOG_LEVEL_WARNING, fields, "account %s: %s", name, token->notice);
	/* Once more, which of two keys the account runs on. */
	if (token->key == NULL || report->key == NULL || strcmp(token->key, report->key) == 0)
		return;
	const struct log_field key_fields[] = {
		{"MESSAGE_ID", MESSAGE_KEY_IN_USE},
		{"ACCOUNT", name},
		{"KEY", token->key},
		{0},
	};
	log_event(LOG_LEVEL_NOTICE, key_fields, "account %s: the key in use is %s now, after %s",
		name, token->key, report->key);
}

/* The token that is there came again: it stays as it is, its answers and ETags too. */
static void task_got_same(struct refresh_task *task, const struct upstream_token *token,
	const struct snapshot *snapshot)
{
	struct refresh_thread *thread = task->thread;
	int64_t now = now_ms(task);
	schedule_same(&task->schedule, now, snapshot->dead_at_ms - now,
		token->is_static && token->refresh_at_ms != 0 ? token->refresh_at_ms - now : 0);
	task->told_held_back_ms = 0;
	heap_put(&thread->heap, &task->timer, task->schedule.next_ms);
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

static void task_succeeded(struct refresh_task *task, struct upstream_token *token)
{
	struct refresh_thread *thread = task->thread;
	const struct account_settings *settings = &task->account->settings;
	const struct snapshot *present = atomic_load(&task->account->snapshot);
	struct error err = ERROR_INIT;
	int64_t now = now_ms(task);
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
		token->refresh_at_ms == 0 ? 0 : token->refresh_at_ms - now, roll(task));
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
		snapshot_build(token->token, &parts, thread->options.answer_maker, &err);
	if (snapshot == NULL) {
		error_wrap(&err, "%s", who_answers(settings));
		task_failed(task, &err);
		return;
	}
	token->token = NULL;
	task->schedule = schedule;
	task->told_held_back_ms = 0;
	account_publish_snapshot(thread->options.registry, task->account, snapshot);
	heap_put(&thread->heap, &task->timer, task->schedule.next_ms);
	log_notice_of(task, token);
	publish_report(task, NULL, token);
	const struct log_field fields[] = {
		{"ACCOUNT", settings->name},
		{"UPSTREAM", settings->endpoint},
		{"CREDENTIAL", token->given_by},
		{"KEY", token->key},
		{0},
	};
	log_event(LOG_LEVEL_INFO, fields,
		"account %s (%s): new token, valid for %" PRId64 " s, next refresh in %" PRId64
		" s",
		settings->name, what_it_is(settings), lifetime_ms / 1000,
		(task->schedule.next_ms - now) / 1000);
}

static void try_changed_again(struct refresh_task *task);

static void on_exchange_done(void *context, struct upstream_token *token, const struct error *err)
{
	struct refresh_task *task = context;
	bool has_changed = task->has_changed_since;
	task->exchange = NULL;
	task->was_cut = false;
	task->has_changed_since = false;
	if (token != NULL)
		task->has_waited_for_secret = false;
	if (token != NULL)
		task_succeeded(task, token);
	else
		task_failed(task, err);
	if (has_changed)
		try_changed_again(task);
}

void refresh_task_start(struct refresh_task *task)
{
	heap_remove(&task->thread->heap, &task->timer);
	task->started_ms = now_ms(task);
	/* What it finds missing is tried as soon as it is back: refresh_task_secret_changed(). */
	task->secrets.is_readable = secret_state_now(task->credential).is_readable;
	struct upstream_exchange *exchange = task->upstream->start(&task->account->settings,
		task->credential, task->thread->loop, on_exchange_done, task);
	/* When it is NULL, on_exchange_done() was called already and has set the next date. */
	if (exchange != NULL)
		task->exchange = exchange;
}

void refresh_task_hasten(struct refresh_task *task)
{
	set_due(task, now_ms(task));
}

void refresh_task_cancel(struct refresh_task *task)
{
	if (task->exchange != NULL)
		task->upstream->cancel(task->exchange);
	task->exchange = NULL;
}

/* ---- secrets that change ---- */

static void forget_secrets(struct refresh_task *task)
{
	shared_token_forget(task->credential);
	if (task->credential->kind->reconsider != NULL)
		task->credential->kind->reconsider(task->credential);
}

/* An exchange has ended in which a secret changed, and had changed before: try what there is now.
 */
static void try_changed_again(struct refresh_task *task)
{
	const struct account_report *report = atomic_load(&task->account->report);
	int64_t due_ms = task->started_ms + REFRESH_TASK_ROTATION_LEAST_MS;
	forget_secrets(task);
	if (report->error.code != ERR_NONE && report->error.retry_after_s > 0)
		return; /* the upstream said when */
	if (due_ms < task->schedule.next_ms)
		set_due(task, due_ms);
}

enum haste {
	HASTE_NONE, /* the next refresh does it */
	HASTE_SOON,
	HASTE_NOW,
};

/* How soon to try secrets that are other ones than before. */
static enum haste haste_of(const struct refresh_task *task, bool is_rotated)
{
	const struct account_report *report = atomic_load(&task->account->report);
	if (task->exchange != NULL)
		return HASTE_NOW;
	if (task->schedule.failures > 0) {
		enum error_class class = error_class_of(report->error.code);
		bool is_about_secrets = class == ERROR_CLASS_CREDENTIAL ||
					class == ERROR_CLASS_CONFIGURATION ||
					report->error.code == ERR_UNAVAILABLE;
		/* And not where the upstream said when. */
		return is_about_secrets && report->error.retry_after_s <= 0 ? HASTE_NOW
									    : HASTE_NONE;
	}
	if (report->is_static || (report->key != NULL && report->notice[0] != '\0'))
		return HASTE_NOW;
	return is_rotated ? HASTE_SOON : HASTE_NONE;
}

/* At once, and not when the next refresh fails on it, hours later. */
static void tell_unreadable(const struct refresh_task *task)
{
	const char *name = task->account->settings.name;
	const struct log_field fields[] = {{"ACCOUNT", name}, {0}};
	log_event(LOG_LEVEL_WARNING, fields,
		"account %s: a file of its credential is gone, empty or cannot be read; put it "
		"back: the next refresh, in %.1f s, needs it",
		name, (double)(task->schedule.next_ms - now_ms(task)) / 1000);
}

/* Look at the secrets anew. Returns whether they may do what those of before did not. */
static bool has_other_secrets(struct refresh_task *task, bool *is_rotated)
{
	const struct account_report *report = atomic_load(&task->account->report);
	const struct secret_state before = task->secrets;
	const struct secret_state now = secret_state_now(task->credential);
	task->secrets = now;
	if (before.is_readable && !now.is_readable)
		tell_unreadable(task);
	*is_rotated = now.rotations != before.rotations;
	if (now.versions != before.versions)
		return true;
	/* The same is back that could not be read. */
	bool was_missed = !before.is_readable ||
			  (task->schedule.failures > 0 && report->error.code == ERR_SECRET_SOURCE);
	return now.is_readable && was_missed;
}

void refresh_task_secret_changed(struct refresh_task *task, const char *path, int64_t delay_ms)
{
	const char *name = task->account->settings.name;
	const struct log_field fields[] = {{"ACCOUNT", name}, {0}};
	int64_t now = now_ms(task);
	int64_t due_ms = now;
	bool is_rotated = false;
	if (!has_other_secrets(task, &is_rotated))
		return;
	enum haste haste = haste_of(task, is_rotated);
	if (haste == HASTE_NONE) {
		log_event(LOG_LEVEL_INFO, fields,
			"account %s: %s has changed; the next refresh uses it, in %.1f s", name,
			path, (double)(task->schedule.next_ms - now) / 1000);
		return;
	}
	/* Once: where a file changes all the time, none would ever end. */
	if (task->exchange != NULL && task->was_cut) {
		task->has_changed_since = true;
		return;
	}
	task->was_cut = task->was_cut || task->exchange != NULL;
	refresh_task_cancel(task);
	forget_secrets(task);
	/* A file that changes all the time is no reason to ask the upstream all the time. */
	if (task->started_ms > 0 && task->started_ms + SCHEDULE_LEAST_MS > due_ms)
		due_ms = task->started_ms + SCHEDULE_LEAST_MS;
	if (haste == HASTE_SOON) {
		if (now + delay_ms > due_ms)
			due_ms = now + delay_ms;
		if (task->rotation_ms > 0 &&
			task->rotation_ms + REFRESH_TASK_ROTATION_LEAST_MS > due_ms)
			due_ms = task->rotation_ms + REFRESH_TASK_ROTATION_LEAST_MS;
		if (task->schedule.next_ms < due_ms)
			due_ms = task->schedule.next_ms; /* it was due before that anyway */
		task->rotation_ms = due_ms;
	}
	set_due(task, due_ms);
	log_event(LOG_LEVEL_INFO, fields, "account %s: %s has changed; trying it in %.1f s", name,
		path, (double)(due_ms - now) / 1000);
}
