#include "token/account.h"

#include "unit.h"

/* ---- what is shared ----------------------------------------------------------------------------
 */

#define ID "0a1b2c3d-0000-4000-8000-00000000abcd"

static int answers_alive;

static void *make_answer(enum representation representation, struct secret *body, const char *etag)
{
	(void)representation;
	(void)etag;
	answers_alive++;
	return body;
}

static void release_answer(void *answer)
{
	answers_alive--;
	secret_free(answer);
}

static const struct answer_maker counting_maker = {
	.make = make_answer,
	.release = release_answer,
};

static struct snapshot *make_snapshot(const char *token)
{
	const struct snapshot_parts parts = {
		.account = "anchors",
		.account_id = ID,
		.account_domain = "eastus2.mixedreality.azure.com",
		.expires_on = 1700086400,
		.dead_at_ms = 1000,
	};
	struct snapshot *snapshot =
		snapshot_build(secret_from(token, strlen(token)), &parts, &counting_maker, NULL);
	ck_assert_ptr_nonnull(snapshot);
	return snapshot;
}

/* How many snapshots there are, by the answers that they hold. */
static int snapshots_alive(void)
{
	ck_assert_int_eq(answers_alive % REPRESENTATION_COUNT, 0);
	return answers_alive / REPRESENTATION_COUNT;
}

static char *copy(const char *string)
{
	char *copied = strdup(string);
	ck_assert_ptr_nonnull(copied);
	return copied;
}

static struct account_settings make_settings(const char *name, const char *account_id)
{
	return (struct account_settings){
		.name = copy(name),
		.kind = copy("mixed_reality"),
		.account_id = copy(account_id),
		.account_domain = copy("eastus2.mixedreality.azure.com"),
		.endpoint = copy("https://sts.eastus2.mixedreality.azure.com"),
		.ca_file = copy("/etc/ssl/certs/ca-certificates.crt"),
		.credential = copy("account_key"),
		.is_required = true,
	};
}

static struct account *make_account(const char *name, const char *account_id)
{
	struct account_settings settings = make_settings(name, account_id);
	struct account *account = account_new(&settings);
	ck_assert_ptr_nonnull(account);
	return account;
}

static struct account_report *make_report(unsigned failures)
{
	struct account_report *report = calloc(1, sizeof(*report));
	ck_assert_ptr_nonnull(report);
	report->failures = failures;
	report->error = ERROR_INIT;
	return report;
}

static struct account_table *make_table(const char *const names[][2], size_t count)
{
	struct account **accounts = calloc(count + 1, sizeof(struct account *));
	ck_assert_ptr_nonnull(accounts);
	for (size_t i = 0; i < count; i++)
		accounts[i] = make_account(names[i][0], names[i][1]);
	struct account_table *table =
		account_table_new(accounts, count, count > 0 ? accounts[0] : NULL);
	ck_assert_ptr_nonnull(table);
	return table;
}

/* ---- one account -------------------------------------------------------------------------------
 */

START_TEST(starts_without_token_and_without_failure)
{
	struct account_settings settings = make_settings("anchors", ID);
	const char *name = settings.name;
	struct account *account = account_new(&settings);
	ck_assert_ptr_nonnull(account);
	ck_assert_ptr_eq(account->settings.name, name);
	ck_assert(account->settings.is_required);
	/* Taken over: nothing is left of it for the caller. */
	ck_assert_ptr_null(settings.name);
	ck_assert_ptr_null(settings.endpoint);
	ck_assert_ptr_null(atomic_load(&account->snapshot));
	const struct account_report *report = atomic_load(&account->report);
	ck_assert_ptr_nonnull(report);
	ck_assert_int_eq(report->error.code, ERR_NONE);
	ck_assert_int_eq(report->error.retry_after_s, -1);
	ck_assert_uint_eq(report->failures, 0);
	ck_assert_int_eq(report->refreshed_on, 0);
	ck_assert_int_eq(account_state_of(report, NULL, 0), ACCOUNT_STARTING);
	account_free(account);
	account_free(NULL);
}
END_TEST

START_TEST(clears_settings_once_and_again)
{
	struct account_settings settings = make_settings("anchors", ID);
	account_settings_clear(&settings);
	ck_assert_ptr_null(settings.name);
	ck_assert_ptr_null(settings.credential);
	ck_assert(!settings.is_required);
	account_settings_clear(&settings);
}
END_TEST

START_TEST(frees_the_token_that_it_publishes)
{
	struct account *account = make_account("anchors", ID);
	atomic_store(&account->snapshot, make_snapshot("token"));
	ck_assert_int_eq(snapshots_alive(), 1);
	account_free(account);
	ck_assert_int_eq(snapshots_alive(), 0);
}
END_TEST

START_TEST(leaves_the_token_that_it_has_given_away)
{
	struct account *before = make_account("anchors", ID);
	struct account *after = make_account("anchors", ID);
	struct snapshot *snapshot = make_snapshot("token");
	atomic_store(&before->snapshot, snapshot);
	atomic_store(&after->snapshot, snapshot);
	before->has_given_snapshot_away = true;
	account_free(before);
	ck_assert_int_eq(snapshots_alive(), 1);
	ck_assert_str_eq(secret_bytes(snapshot->token), "token");
	account_free(after);
	ck_assert_int_eq(snapshots_alive(), 0);
}
END_TEST

START_TEST(tells_its_state_from_token_time_and_last_failure)
{
	/* The snapshot dies at 1000 ms. */
	static const struct {
		bool has_snapshot;
		int64_t now_ms;
		enum error_code code;
		enum account_state expected;
	} cases[] = {
		{false, 0, ERR_NONE, ACCOUNT_STARTING},
		{false, 5000, ERR_NONE, ACCOUNT_STARTING},
		{false, 0, ERR_NETWORK, ACCOUNT_FAILED},
		{false, 5000, ERR_DENIED, ACCOUNT_FAILED},
		{true, 0, ERR_NONE, ACCOUNT_VALID},
		{true, 999, ERR_NONE, ACCOUNT_VALID},
		{true, 0, ERR_NETWORK, ACCOUNT_DEGRADED},
		{true, 999, ERR_SYSTEM, ACCOUNT_DEGRADED},
		{true, 1000, ERR_NONE, ACCOUNT_FAILED},
		{true, 1000, ERR_NETWORK, ACCOUNT_FAILED},
		{true, INT64_MAX, ERR_NONE, ACCOUNT_FAILED},
		{true, INT64_MAX, ERR_UPSTREAM_FORMAT, ACCOUNT_FAILED},
		{true, INT64_MIN, ERR_NONE, ACCOUNT_VALID},
	};
	struct snapshot *snapshot = make_snapshot("token");
	struct account_report *report = make_report(0);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		report->error.code = cases[i].code;
		enum account_state state = account_state_of(
			report, cases[i].has_snapshot ? snapshot : NULL, cases[i].now_ms);
		ck_assert_msg(
			state == cases[i].expected, "case %zu: %s", i, account_state_name(state));
	}
	for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++) {
		report->error.code = (enum error_code)code;
		ck_assert_int_eq(account_state_of(report, snapshot, 0), ACCOUNT_DEGRADED);
		ck_assert_int_eq(account_state_of(report, NULL, 0), ACCOUNT_FAILED);
	}
	free(report);
	snapshot_free(snapshot);
}
END_TEST

START_TEST(is_expiring_when_a_static_token_nears_its_end)
{
	static const struct {
		bool is_static;
		const char *notice;
		enum error_code code;
		int64_t now_ms;
		enum account_state expected;
	} cases[] = {
		{true, "it expires", ERR_NONE, 0, ACCOUNT_EXPIRING},
		{true, "", ERR_NONE, 0, ACCOUNT_VALID},
		{false, "a certificate expires", ERR_NONE, 0, ACCOUNT_VALID},
		{true, "it expires", ERR_SECRET_SOURCE, 0, ACCOUNT_DEGRADED},
		{true, "it expires", ERR_NONE, 1000, ACCOUNT_FAILED},
	};
	struct snapshot *snapshot = make_snapshot("token");
	struct account_report *report = make_report(0);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		report->is_static = cases[i].is_static;
		strcpy(report->notice, cases[i].notice);
		report->error.code = cases[i].code;
		enum account_state state = account_state_of(report, snapshot, cases[i].now_ms);
		ck_assert_msg(
			state == cases[i].expected, "case %zu: %s", i, account_state_name(state));
	}
	free(report);
	snapshot_free(snapshot);
}
END_TEST

START_TEST(names_its_states)
{
	ck_assert_str_eq(account_state_name(ACCOUNT_EXPIRING), "expiring");
	ck_assert_str_eq(account_state_name(ACCOUNT_STARTING), "starting");
	ck_assert_str_eq(account_state_name(ACCOUNT_VALID), "valid");
	ck_assert_str_eq(account_state_name(ACCOUNT_DEGRADED), "degraded");
	ck_assert_str_eq(account_state_name(ACCOUNT_FAILED), "failed");
}
END_TEST

START_TEST(is_valid_up_to_and_not_at_its_death)
{
	struct snapshot *snapshot = make_snapshot("token");
	ck_assert(!snapshot_is_valid(NULL, 0));
	ck_assert(snapshot_is_valid(snapshot, 999));
	ck_assert(!snapshot_is_valid(snapshot, 1000));
	ck_assert(!snapshot_is_valid(snapshot, 1001));
	snapshot_free(snapshot);
}
END_TEST

START_TEST(names_the_same_token_by_five_settings_and_no_other)
{
	enum { FIELDS = 7 };
	static const struct {
		const char *value;
		bool is_same;
	} changes[FIELDS] = {
		{"rendering", false},
		{"entra", false},
		{"0a1b2c3d-0000-4000-8000-00000000abce", false},
		{"mixedreality.azure.com", false},
		{"https://127.0.0.1:4443", false},
		{"/tmp/ca.pem", true},
		{"client_secret", true},
	};
	for (size_t i = 0; i < FIELDS; i++) {
		struct account_settings a = make_settings("anchors", ID);
		struct account_settings b = make_settings("anchors", ID);
		char **fields[FIELDS] = {&b.name, &b.kind, &b.account_id, &b.account_domain,
			&b.endpoint, &b.ca_file, &b.credential};
		ck_assert(account_settings_name_same_token(&a, &b));
		free(*fields[i]);
		*fields[i] = copy(changes[i].value);
		ck_assert_msg(account_settings_name_same_token(&a, &b) == changes[i].is_same, "%s",
			changes[i].value);
		ck_assert_msg(account_settings_name_same_token(&b, &a) == changes[i].is_same, "%s",
			changes[i].value);
		account_settings_clear(&a);
		account_settings_clear(&b);
	}
}
END_TEST

START_TEST(takes_an_account_id_in_either_case_for_the_same)
{
	struct account_settings a = make_settings("anchors", ID);
	struct account_settings b =
		make_settings("anchors", "0A1B2C3D-0000-4000-8000-00000000ABCD");
	ck_assert(account_settings_name_same_token(&a, &b));
	account_settings_clear(&b);
	b = make_settings("Anchors", ID);
	ck_assert(!account_settings_name_same_token(&a, &b));
	account_settings_clear(&a);
	account_settings_clear(&b);
}
END_TEST

START_TEST(names_the_same_token_with_and_without_authorities_of_its_own)
{
	struct account_settings a = make_settings("anchors", ID);
	struct account_settings b = make_settings("anchors", ID);
	free(b.ca_file);
	b.ca_file = NULL;
	b.is_required = false;
	ck_assert(account_settings_name_same_token(&a, &b));
	account_settings_clear(&a);
	account_settings_clear(&b);
}
END_TEST

static struct account_settings make_entra_settings(const char *scope, const char *subject)
{
	return (struct account_settings){
		.name = copy("storage"),
		.kind = copy("entra"),
		.scope = copy(scope),
		.subject = subject == NULL ? NULL : copy(subject),
		.credential = copy("client_secret"),
	};
}

START_TEST(names_the_same_entra_token_by_scope_and_subject)
{
	static const struct {
		const char *scope;
		const char *subject;
		bool is_same;
	} cases[] = {
		{"https://a/.default", "client 1", true},
		{"https://b/.default", "client 1", false},
		{"https://A/.default", "client 1", false},
		{"https://a/.default", "client 2", false},
		{"https://a/.default", NULL, false},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct account_settings a = make_entra_settings("https://a/.default", "client 1");
		struct account_settings b = make_entra_settings(cases[i].scope, cases[i].subject);
		free(b.credential);
		b.credential = copy("client_certificate"); /* by other means */
		ck_assert_msg(
			account_settings_name_same_token(&a, &b) == cases[i].is_same, "%zu", i);
		ck_assert_msg(
			account_settings_name_same_token(&b, &a) == cases[i].is_same, "%zu", i);
		account_settings_clear(&a);
		account_settings_clear(&b);
	}
}
END_TEST

START_TEST(takes_no_entra_token_for_one_of_an_account)
{
	struct account_settings a = make_entra_settings("https://a/.default", "client 1");
	struct account_settings b = make_settings("storage", ID);
	ck_assert(!account_settings_name_same_token(&a, &b));
	free(b.kind);
	b.kind = copy("entra");
	free(b.endpoint);
	b.endpoint = NULL;
	ck_assert(!account_settings_name_same_token(&a, &b));
	ck_assert(!account_settings_name_same_token(&b, &a));
	account_settings_clear(&a);
	account_settings_clear(&b);
}
END_TEST

START_TEST(says_nothing_of_the_sts_token_by_the_scope_that_it_was_asked_with)
{
	struct account_settings a = make_settings("anchors", ID);
	struct account_settings b = make_settings("anchors", ID);
	b.scope = copy("https://sts.mixedreality.azure.com//.default");
	ck_assert(account_settings_name_same_token(&a, &b));
	account_settings_clear(&a);
	account_settings_clear(&b);
}
END_TEST

/* ---- the table ---------------------------------------------------------------------------------
 */

START_TEST(finds_by_name_as_it_is_written)
{
	static const char *const names[][2] = {
		{"anchors", "11111111-0000-4000-8000-000000000000"},
		{"Anchors", "22222222-0000-4000-8000-000000000000"},
		{"rendering", "33333333-0000-4000-8000-000000000000"},
	};
	struct account_table *table = make_table(names, 3);
	for (size_t i = 0; i < 3; i++) {
		struct account *found = account_table_find(table, names[i][0]);
		ck_assert_ptr_eq(found, table->accounts[i]);
		ck_assert_uint_eq(found->index, i);
	}
	static const char *const missing[] = {"", "ANCHORS", "anchor", "anchors ", "renderin",
		"11111111-0000-4000-8000-000000000000"};
	for (size_t i = 0; i < UNIT_COUNT(missing); i++)
		ck_assert_ptr_null(account_table_find(table, missing[i]));
	ck_assert_ptr_eq(table->default_account, table->accounts[0]);
	account_table_free(table);
}
END_TEST

START_TEST(finds_by_account_id_in_either_case)
{
	static const char *const names[][2] = {
		{"one", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"},
		{"two", "AAAAAAAA-BBBB-4CCC-8DDD-FFFFFFFFFFFF"},
	};
	struct account_table *table = make_table(names, 2);
	static const struct {
		const char *account_id;
		int expected;
	} cases[] = {
		{"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", 0},
		{"AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", 0},
		{"aAaAaAaA-bBbB-4cCc-8DdD-EeEeEeEeEeEe", 0},
		{"aaaaaaaa-bbbb-4ccc-8ddd-ffffffffffff", 1},
		{"AAAAAAAA-BBBB-4CCC-8DDD-FFFFFFFFFFFF", 1},
		{"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeee", -1},
		{"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeeee", -1},
		{"", -1},
		{"one", -1},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		ck_assert_ptr_eq(account_table_find_id(table, cases[i].account_id),
			cases[i].expected < 0 ? NULL : table->accounts[cases[i].expected]);
	account_table_free(table);
}
END_TEST

START_TEST(finds_the_first_of_several_with_one_account_id)
{
	static const char *const names[][2] = {
		{"first", "AAAAAAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee"},
		{"second", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"},
		{"third", "aaaaaaaa-BBBB-4ccc-8ddd-eeeeeeeeeeee"},
	};
	struct account_table *table = make_table(names, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_ptr_eq(account_table_find_id(table, names[i][1]), table->accounts[0]);
		ck_assert_ptr_eq(account_table_find(table, names[i][0]), table->accounts[i]);
	}
	account_table_free(table);
}
END_TEST

START_TEST(finds_nothing_in_an_empty_table)
{
	struct account_table *table = make_table(NULL, 0);
	ck_assert_ptr_null(account_table_find(table, "anchors"));
	ck_assert_ptr_null(account_table_find_id(table, ID));
	ck_assert_ptr_null(table->default_account);
	account_table_free(table);
	account_table_free(NULL);
}
END_TEST

START_TEST(finds_each_of_ten_thousand)
{
	enum { COUNT = 10000 };
	static char names[COUNT][16];
	static char ids[COUNT][37];
	static const char *pairs[COUNT][2];
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(names[i], sizeof(names[i]), "account-%zu", i);
		snprintf(ids[i], sizeof(ids[i]), "%08zx-0000-4000-8000-abcdef000000", i);
		pairs[i][0] = names[i];
		pairs[i][1] = ids[i];
	}
	struct account_table *table = make_table(pairs, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		char upper[37];
		for (size_t j = 0; j < sizeof(upper); j++)
			upper[j] = (char)(ids[i][j] >= 'a' ? ids[i][j] - 'a' + 'A' : ids[i][j]);
		if (account_table_find(table, names[i]) != table->accounts[i] ||
			account_table_find_id(table, ids[i]) != table->accounts[i] ||
			account_table_find_id(table, upper) != table->accounts[i])
			ck_abort_msg("%s", names[i]);
	}
	ck_assert_ptr_null(account_table_find(table, "account-10000"));
	ck_assert_ptr_null(account_table_find_id(table, "00002710-0000-4000-8000-abcdef000000"));
	account_table_free(table);
}
END_TEST

START_TEST(always_keeps_room_for_a_look_up_to_end)
{
	for (size_t count = 0; count <= 70; count++) {
		static char names[70][16];
		static const char *pairs[70][2];
		for (size_t i = 0; i < count; i++) {
			snprintf(names[i], sizeof(names[i]), "a%zu", i);
			pairs[i][0] = names[i];
			pairs[i][1] = names[i];
		}
		struct account_table *table = make_table(pairs, count);
		ck_assert_uint_eq(table->slot_count & (table->slot_count - 1), 0);
		ck_assert_uint_ge(table->slot_count, 2 * count);
		ck_assert_uint_gt(table->slot_count, count);
		account_table_free(table);
	}
}
END_TEST

/* ---- publishing --------------------------------------------------------------------------------
 */

/* A registry with one account, and the account. */
static struct account *begin(struct registry *registry)
{
	static const char *const names[][2] = {{"anchors", ID}};
	registry_init(registry);
	ck_assert_ptr_null(atomic_load(&registry->table));
	struct account_table *table = make_table(names, 1);
	atomic_store(&registry->table, table);
	return table->accounts[0];
}

START_TEST(publishes_a_token_and_frees_the_old_one_later)
{
	struct registry registry;
	struct account *account = begin(&registry);
	account_publish_snapshot(&registry, account, make_snapshot("first"));
	ck_assert_int_eq(snapshots_alive(), 1);
	account_publish_snapshot(&registry, account, make_snapshot("second"));
	ck_assert_int_eq(snapshots_alive(), 2);
	ck_assert(!epoch_reclaim(&registry.epoch));
	ck_assert_int_eq(snapshots_alive(), 1);
	const struct snapshot *snapshot = atomic_load(&account->snapshot);
	ck_assert_str_eq(secret_bytes(snapshot->token), "second");
	registry_destroy(&registry);
	ck_assert_int_eq(snapshots_alive(), 0);
}
END_TEST

START_TEST(keeps_the_old_token_while_a_reader_looks_at_it)
{
	struct registry registry;
	struct account *account = begin(&registry);
	account_publish_snapshot(&registry, account, make_snapshot("first"));
	epoch_enter(&registry.epoch, 0);
	const struct snapshot *seen = atomic_load(&account->snapshot);
	account_publish_snapshot(&registry, account, make_snapshot("second"));
	account_publish_snapshot(&registry, account, make_snapshot("third"));
	ck_assert(epoch_reclaim(&registry.epoch));
	ck_assert_int_eq(snapshots_alive(), 3);
	ck_assert_str_eq(secret_bytes(seen->token), "first");
	epoch_leave(&registry.epoch, 0);
	ck_assert(!epoch_reclaim(&registry.epoch));
	ck_assert_int_eq(snapshots_alive(), 1);
	registry_destroy(&registry);
	ck_assert_int_eq(snapshots_alive(), 0);
}
END_TEST

START_TEST(publishes_a_report_and_frees_the_old_one_later)
{
	struct registry registry;
	struct account *account = begin(&registry);
	epoch_enter(&registry.epoch, 1);
	const struct account_report *seen = atomic_load(&account->report);
	account_publish_report(&registry, account, make_report(1));
	account_publish_report(&registry, account, make_report(2));
	ck_assert(epoch_reclaim(&registry.epoch));
	ck_assert_uint_eq(seen->failures, 0); /* still there: the sanitizer looks too */
	const struct account_report *report = atomic_load(&account->report);
	ck_assert_uint_eq(report->failures, 2);
	epoch_leave(&registry.epoch, 1);
	ck_assert(!epoch_reclaim(&registry.epoch));
	registry_destroy(&registry);
}
END_TEST

START_TEST(hands_a_token_over_to_a_newer_table)
{
	static const char *const names[][2] = {{"anchors", ID}};
	struct registry registry;
	struct account *before = begin(&registry);
	account_publish_snapshot(&registry, before, make_snapshot("token"));
	epoch_enter(&registry.epoch, 0);
	struct account_table *table = make_table(names, 1);
	atomic_store(&table->accounts[0]->snapshot, atomic_load(&before->snapshot));
	before->has_given_snapshot_away = true;
	epoch_retire(&registry.epoch, atomic_exchange(&registry.table, table), account_table_free);
	/* A reader of the old table still finds the token there. */
	ck_assert(epoch_reclaim(&registry.epoch));
	const struct snapshot *seen = atomic_load(&before->snapshot);
	ck_assert_str_eq(secret_bytes(seen->token), "token");
	epoch_leave(&registry.epoch, 0);
	ck_assert(!epoch_reclaim(&registry.epoch));
	ck_assert_int_eq(snapshots_alive(), 1);
	registry_destroy(&registry);
	ck_assert_int_eq(snapshots_alive(), 0);
}
END_TEST

START_TEST(is_destroyed_without_ever_having_had_a_table)
{
	struct registry registry;
	registry_init(&registry);
	registry_destroy(&registry);
}
END_TEST

static struct account_login *make_login(enum account_login_state state)
{
	struct account_login *login = calloc(1, sizeof(*login));
	ck_assert_ptr_nonnull(login);
	login->state = state;
	return login;
}

START_TEST(publishes_a_login_and_frees_the_old_one_later)
{
	struct registry registry;
	struct account *account = begin(&registry);
	ck_assert_ptr_null(atomic_load(&account->login));
	account_publish_login(&registry, account, make_login(ACCOUNT_LOGIN_STARTING));
	epoch_enter(&registry.epoch, 1);
	const struct account_login *seen = atomic_load(&account->login);
	account_publish_login(&registry, account, make_login(ACCOUNT_LOGIN_DONE));
	ck_assert(epoch_reclaim(&registry.epoch));
	ck_assert_int_eq(seen->state, ACCOUNT_LOGIN_STARTING);
	epoch_leave(&registry.epoch, 1);
	ck_assert(!epoch_reclaim(&registry.epoch));
	seen = atomic_load(&account->login);
	ck_assert_int_eq(seen->state, ACCOUNT_LOGIN_DONE);
	registry_destroy(&registry);
}
END_TEST

START_TEST(names_the_states_of_a_login)
{
	static const char *const names[] = {"starting", "pending", "done", "failed"};
	for (int i = 0; i < 4; i++)
		ck_assert_str_eq(account_login_state_name((enum account_login_state)i), names[i]);
}
END_TEST

static void on_wake(void *context)
{
	++*(unsigned *)context;
}

START_TEST(collects_requests_and_wakes_who_serves_them)
{
	struct registry registry;
	unsigned wakes = 0;
	struct account *account = begin(&registry);
	/* Nobody serves yet. */
	account_request(&registry, account, 1U << 6);
	ck_assert(atomic_load(&registry.has_requests));
	registry.wake = on_wake;
	registry.wake_context = &wakes;
	account_request(&registry, account, ACCOUNT_REQUEST_LOGIN);
	account_request(&registry, account, 1U << 7);
	ck_assert_uint_eq(wakes, 2);
	/* It is to be done already: there is no need to wake anybody again. */
	account_request(&registry, account, ACCOUNT_REQUEST_LOGIN);
	ck_assert_uint_eq(wakes, 2);
	ck_assert_uint_eq(
		atomic_load(&account->requests), ACCOUNT_REQUEST_LOGIN | 1U << 6 | 1U << 7);
	atomic_store(&account->requests, 0);
	account_request(&registry, account, ACCOUNT_REQUEST_LOGIN);
	ck_assert_uint_eq(wakes, 3);
	registry_destroy(&registry);
}
END_TEST

static void make_without_memory(void *argument)
{
	(void)argument;
	struct account_settings settings = make_settings("anchors", ID);
	struct account *accounts[2] = {make_account("anchors", ID), NULL};
	unit_exhaust_memory();
	if (account_new(&settings) != NULL || settings.name == NULL)
		_exit(1);
	if (account_table_new(accounts, 1, NULL) != NULL)
		_exit(2);
	if (strcmp(accounts[0]->settings.name, "anchors") != 0)
		_exit(3);
}

START_TEST(takes_nothing_over_when_there_is_no_memory)
{
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(make_without_memory, NULL), 0);
}
END_TEST

UNIT_MAIN("account", starts_without_token_and_without_failure, clears_settings_once_and_again,
	frees_the_token_that_it_publishes, leaves_the_token_that_it_has_given_away,
	tells_its_state_from_token_time_and_last_failure,
	is_expiring_when_a_static_token_nears_its_end, names_its_states,
	is_valid_up_to_and_not_at_its_death, names_the_same_token_by_five_settings_and_no_other,
	takes_an_account_id_in_either_case_for_the_same,
	names_the_same_token_with_and_without_authorities_of_its_own,
	names_the_same_entra_token_by_scope_and_subject, takes_no_entra_token_for_one_of_an_account,
	says_nothing_of_the_sts_token_by_the_scope_that_it_was_asked_with,
	finds_by_name_as_it_is_written, finds_by_account_id_in_either_case,
	finds_the_first_of_several_with_one_account_id, finds_nothing_in_an_empty_table,
	finds_each_of_ten_thousand, always_keeps_room_for_a_look_up_to_end,
	publishes_a_token_and_frees_the_old_one_later,
	keeps_the_old_token_while_a_reader_looks_at_it,
	publishes_a_report_and_frees_the_old_one_later, hands_a_token_over_to_a_newer_table,
	publishes_a_login_and_frees_the_old_one_later, names_the_states_of_a_login,
	collects_requests_and_wakes_who_serves_them, is_destroyed_without_ever_having_had_a_table,
	takes_nothing_over_when_there_is_no_memory)
