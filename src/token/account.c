#include "token/account.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void account_settings_clear(struct account_settings *settings)
{
	free(settings->name);
	free(settings->kind);
	free(settings->account_id);
	free(settings->account_domain);
	free(settings->endpoint);
	free(settings->scope);
	free(settings->subject);
	free(settings->ca_file);
	free(settings->credential);
	access_rules_clear(&settings->rules);
	*settings = (struct account_settings){0};
}

/* Both or none, and the same. */
static bool is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool account_settings_name_same_token(
	const struct account_settings *a, const struct account_settings *b)
{
	if (!is_same(a->name, b->name) || !is_same(a->kind, b->kind) ||
		!is_same(a->endpoint, b->endpoint))
		return false;
	/* The STS's token is the account's, whoever asked for it. */
	if (a->account_id != NULL && b->account_id != NULL)
		return strcasecmp(a->account_id, b->account_id) == 0 &&
		       is_same(a->account_domain, b->account_domain);
	return a->account_id == b->account_id && is_same(a->scope, b->scope) &&
	       is_same(a->subject, b->subject);
}

bool account_settings_have_same_subject(
	const struct account_settings *a, const struct account_settings *b)
{
	return is_same(a->subject, b->subject);
}

struct account *account_new(struct account_settings *settings)
{
	struct account *account = calloc(1, sizeof(*account));
	struct account_report *report = calloc(1, sizeof(*report));
	if (account == NULL || report == NULL) {
		free(account);
		free(report);
		return NULL;
	}
	report->error = ERROR_INIT;
	atomic_init(&account->snapshot, NULL);
	atomic_init(&account->report, report);
	atomic_init(&account->login, NULL);
	atomic_init(&account->requests, 0);
	atomic_init(&account->login_asked_ms, 0);
	account->login_wanted_ms = INT64_MIN / 2;
	account->refresh_wanted_ms = INT64_MIN / 2;
	atomic_init(&account->has_waiters, false);
	atomic_init(&account->is_listed, false);
	account->settings = *settings;
	*settings = (struct account_settings){0};
	return account;
}

void account_inherit(
	struct account *account, struct snapshot *snapshot, const struct account_report *report)
{
	snapshot_free(atomic_exchange(&account->snapshot, snapshot));
	*atomic_load(&account->report) = *report;
}

void account_free(struct account *account)
{
	if (account == NULL)
		return;
	if (!account->has_given_snapshot_away)
		snapshot_free(atomic_load(&account->snapshot));
	free(atomic_load(&account->report));
	free(atomic_load(&account->login));
	account_settings_clear(&account->settings);
	free(account);
}

enum account_state account_state_of(
	const struct account_report *report, const struct snapshot *snapshot, int64_t now_ms)
{
	bool has_failed = report->error.code != ERR_NONE;
	if (snapshot_is_valid(snapshot, now_ms)) {
		if (!has_failed && report->is_static && report->notice[0] != '\0')
			return ACCOUNT_EXPIRING;
		return has_failed ? ACCOUNT_DEGRADED : ACCOUNT_VALID;
	}
	return has_failed || snapshot != NULL ? ACCOUNT_FAILED : ACCOUNT_STARTING;
}

const char *account_state_name(enum account_state state)
{
	static const char *const names[] = {
		[ACCOUNT_STARTING] = "starting",
		[ACCOUNT_VALID] = "valid",
		[ACCOUNT_EXPIRING] = "expiring",
		[ACCOUNT_DEGRADED] = "degraded",
		[ACCOUNT_FAILED] = "failed",
	};
	return names[state];
}

/* FNV-1a over the lower-case letters, so that one function serves both tables. */
static size_t hash(const char *word)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);
	for (; *word != '\0'; word++) {
		unsigned char c = (unsigned char)*word;
		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		value = (value ^ c) * UINT64_C(0x100000001b3);
	}
	return (size_t)(value ^ value >> 32);
}

struct account *account_table_find(const struct account_table *table, const char *name)
{
	size_t mask = table->slot_count - 1;
	for (size_t i = hash(name) & mask; table->by_name[i] != NULL; i = (i + 1) & mask)
		if (strcmp(table->by_name[i]->settings.name, name) == 0)
			return table->by_name[i];
	return NULL;
}

struct account *account_table_find_id(const struct account_table *table, const char *account_id)
{
	size_t mask = table->slot_count - 1;
	for (size_t i = hash(account_id) & mask; table->by_id[i] != NULL; i = (i + 1) & mask)
		if (strcasecmp(table->by_id[i]->settings.account_id, account_id) == 0)
			return table->by_id[i];
	return NULL;
}

static void slot_fill(
	struct account **slots, size_t slot_count, const char *key, struct account *account)
{
	size_t i = hash(key) & (slot_count - 1);
	while (slots[i] != NULL)
		i = (i + 1) & (slot_count - 1);
	slots[i] = account;
}

struct account_table *account_table_new(
	struct account **accounts, size_t count, struct account *default_account)
{
	size_t slot_count = 4;
	while (slot_count < 2 * count)
		slot_count *= 2;
	struct account_table *table = calloc(1, sizeof(*table));
	struct account **by_name = calloc(slot_count, sizeof(struct account *));
	struct account **by_id = calloc(slot_count, sizeof(struct account *));
	if (table == NULL || by_name == NULL || by_id == NULL) {
		free(table);
		free(by_name);
		free(by_id);
		return NULL;
	}
	*table = (struct account_table){
		.count = count,
		.accounts = accounts,
		.default_account = default_account,
		.slot_count = slot_count,
		.by_name = by_name,
		.by_id = by_id,
	};
	for (size_t i = 0; i < count; i++) {
		accounts[i]->index = i;
		table->has_rules =
			table->has_rules || access_rules_exist(&accounts[i]->settings.rules);
		table->has_unit_rules = table->has_unit_rules ||
					access_rules_name_units(&accounts[i]->settings.rules);
		slot_fill(by_name, slot_count, accounts[i]->settings.name, accounts[i]);
		if (accounts[i]->settings.account_id != NULL &&
			account_table_find_id(table, accounts[i]->settings.account_id) == NULL)
			slot_fill(by_id, slot_count, accounts[i]->settings.account_id, accounts[i]);
	}
	return table;
}

void account_table_free(void *object)
{
	struct account_table *table = object;
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->count; i++)
		account_free(table->accounts[i]);
	free(table->accounts);
	free(table->by_name);
	free(table->by_id);
	free(table);
}

void registry_init(struct registry *registry)
{
	epoch_init(&registry->epoch);
	atomic_init(&registry->table, NULL);
	atomic_init(&registry->has_requests, false);
	registry->wake = NULL;
	registry->wake_context = NULL;
	atomic_init(&registry->adoptions, 0);
	atomic_init(&registry->changed, NULL);
	pthread_mutex_init(&registry->notify_lock, NULL);
	registry->notify = NULL;
	registry->notify_context = NULL;
}

void registry_destroy(struct registry *registry)
{
	account_table_free(atomic_load(&registry->table));
	epoch_destroy(&registry->epoch);
	pthread_mutex_destroy(&registry->notify_lock);
}

void registry_set_notify(
	struct registry *registry, void (*notify)(void *context), void *notify_context)
{
	pthread_mutex_lock(&registry->notify_lock);
	registry->notify = notify;
	registry->notify_context = notify_context;
	pthread_mutex_unlock(&registry->notify_lock);
}

static void notify(struct registry *registry)
{
	pthread_mutex_lock(&registry->notify_lock);
	if (registry->notify != NULL)
		registry->notify(registry->notify_context);
	pthread_mutex_unlock(&registry->notify_lock);
}

struct account_table *registry_publish_table(struct registry *registry, struct account_table *table)
{
	/* Before the new one: who sees that finds no old account here. */
	atomic_store(&registry->changed, NULL);
	struct account_table *old = atomic_exchange(&registry->table, table);
	atomic_fetch_add(&registry->adoptions, 1);
	notify(registry);
	return old;
}

struct account *registry_take_changed(struct registry *registry)
{
	return atomic_exchange(&registry->changed, NULL);
}

struct account *account_take_changed(struct account *account)
{
	struct account *rest = account->next_changed;
	/* After that the refresh thread may put it into another list. */
	atomic_store(&account->is_listed, false);
	return rest;
}

/*
 * Something new was published. Whoever waits says so before it looks for the last time, and here it
 * is looked for after the publishing, so that one of the two sees the other.
 */
static void tell_waiters(struct registry *registry, struct account *account)
{
	if (!atomic_load(&account->has_waiters) || atomic_exchange(&account->is_listed, true))
		return;
	account->next_changed = atomic_load(&registry->changed);
	while (!atomic_compare_exchange_weak(&registry->changed, &account->next_changed, account))
		;
	notify(registry);
}

void account_publish_snapshot(
	struct registry *registry, struct account *account, struct snapshot *snapshot)
{
	epoch_retire(
		&registry->epoch, atomic_exchange(&account->snapshot, snapshot), snapshot_free);
	tell_waiters(registry, account);
}

void account_publish_report(
	struct registry *registry, struct account *account, struct account_report *report)
{
	epoch_retire(&registry->epoch, atomic_exchange(&account->report, report), free);
	tell_waiters(registry, account);
}

void account_publish_login(
	struct registry *registry, struct account *account, struct account_login *login)
{
	epoch_retire(&registry->epoch, atomic_exchange(&account->login, login), free);
}

void account_request(struct registry *registry, struct account *account, unsigned requests)
{
	unsigned before = atomic_fetch_or(&account->requests, requests);
	if ((before & requests) == requests)
		return; /* whoever asked first has woken it */
	atomic_store(&registry->has_requests, true);
	if (registry->wake != NULL)
		registry->wake(registry->wake_context);
}

const char *account_login_state_name(enum account_login_state state)
{
	static const char *const names[] = {
		[ACCOUNT_LOGIN_STARTING] = "starting",
		[ACCOUNT_LOGIN_PENDING] = "pending",
		[ACCOUNT_LOGIN_DONE] = "done",
		[ACCOUNT_LOGIN_FAILED] = "failed",
	};
	return names[state];
}
