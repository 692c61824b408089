#include "refresher.h"

#include "base/http_client.h"
#include "base/log.h"
#include "token/schedule.h"

#include "unit.h"

#include <pthread.h>
#include <sched.h>

#define TODAY_S INT64_C(1709251200)
#define DAY_S INT64_C(86400)
#define START_MS INT64_C(5000000)

/* The test's own place among the registry's readers; threads of a test take those after it. */
#define EPOCH_READER 1

/* ---- what all parts of a scene tell each other -------------------------------------------------
 */

struct upstream_exchange {
	struct upstream_exchange *next;
	const struct account_settings *account;
	struct credential *credential;
	struct loop *loop;
	struct http_flight *flight;
	upstream_done_fn done;
	void *context;
};

/* What the scripted upstream does with the exchanges that begin from now on. */
enum manner {
	AT_ONCE, /* from within start() */
	LATER, /* from within loop_run() */
	WHEN_RELEASED, /* likewise, but not before `is_released` */
};

static struct {
	pthread_mutex_t lock; /* guards all that is not atomic */
	pthread_cond_t changed;
	struct registry registry;
	struct refresher *refresher;
	pthread_t thread; /* where start() was called */
	struct loop *loop;

	enum manner manner;
	bool is_released;
	enum error_code failure; /* ERR_NONE: a token */
	int64_t retry_after_s;
	int64_t lifetime_s;
	int64_t server_date_s;
	bool has_bad_token;
	bool gives_the_same; /* token once more */
	int64_t dead_in_ms; /* 0: not told, and so below */
	int64_t refresh_in_ms;
	bool is_static;
	const char *notice;

	unsigned started;
	unsigned rounds; /* of exchanges that are held back */
	unsigned ended;
	unsigned cancelled;
	unsigned tokens; /* and so the number in the last one */
	unsigned changes;
	unsigned changes_elsewhere; /* on another thread; none may be */
	unsigned credentials_open;
	struct credential *last_credential; /* of the last start() */
	struct credential *last_adopted;
	char last_account[64];

	atomic_int_least64_t boottime_ms;
	atomic_int_least64_t realtime_s;
	int64_t tick_ms; /* by which it moves whenever it is read */
	atomic_uint clock_reads;
	atomic_int answers_alive;
	atomic_uint damaged;
} stage = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void lock(void)
{
	pthread_mutex_lock(&stage.lock);
}

static void unlock(void)
{
	pthread_mutex_unlock(&stage.lock);
}

/* With the lock held. */
static void tell(void)
{
	pthread_cond_broadcast(&stage.changed);
}

/* Wait until `what` is at least `count`. */
static void wait_for(const unsigned *what, unsigned count)
{
	lock();
	while (*what < count)
		pthread_cond_wait(&stage.changed, &stage.lock);
	unlock();
}

static unsigned read_count(const unsigned *what)
{
	lock();
	unsigned count = *what;
	unlock();
	return count;
}

/* ---- the clock ---------------------------------------------------------------------------------
 */

static int64_t stage_boottime_ms(const struct clock *clock)
{
	(void)clock;
	lock();
	atomic_fetch_add(&stage.clock_reads, 1);
	int64_t now_ms = atomic_fetch_add(&stage.boottime_ms, stage.tick_ms);
	tell();
	unlock();
	return now_ms;
}

static int64_t stage_realtime_s(const struct clock *clock)
{
	(void)clock;
	return atomic_load(&stage.realtime_s);
}

static const struct clock stage_clock = {stage_boottime_ms, stage_realtime_s};

/* Wait until the refresh thread has looked at the clock and acted on it. */
static void let_it_look(void)
{
	for (int i = 0; i < 3; i++) {
		lock();
		unsigned before = atomic_load(&stage.clock_reads);
		loop_wake(stage.loop);
		while (atomic_load(&stage.clock_reads) < before + 2)
			pthread_cond_wait(&stage.changed, &stage.lock);
		unlock();
	}
}

static void set_time(int64_t boottime_ms)
{
	lock();
	atomic_store(&stage.boottime_ms, boottime_ms);
	loop_wake(stage.loop);
	unlock();
}

/* ---- the credential ----------------------------------------------------------------------------
 */

static void stage_close(struct credential *credential)
{
	lock();
	stage.credentials_open--;
	tell();
	unlock();
	free(credential);
}

static const struct credential_kind stage_kind = {.name = "scripted", .close = stage_close};

/* ---- the upstream ------------------------------------------------------------------------------
 */

static const char token_start[] = "eyJ.token.number-";

static void end_exchange(struct upstream_exchange *exchange)
{
	struct error err = ERROR_INIT;
	struct upstream_token token = {0};
	char words[64];
	lock();
	stage.ended++;
	if (stage.failure != ERR_NONE) {
		error_set(&err, stage.failure, "failure %s", error_code_name(stage.failure));
		err.retry_after_s = stage.retry_after_s;
		err.http_status = 499;
		strcpy(err.correlation_vector, "cv");
	} else {
		stage.tokens += stage.gives_the_same ? 0 : 1;
		snprintf(words, sizeof(words), "%s%u%s", token_start, stage.tokens,
			stage.has_bad_token ? "\n" : "");
		token.token = secret_from(words, strlen(words));
		token.expires_on = TODAY_S + stage.lifetime_s;
		token.server_date_s = stage.server_date_s;
		token.dead_at_ms = stage.dead_in_ms == 0
					   ? 0
					   : atomic_load(&stage.boottime_ms) + stage.dead_in_ms;
		token.refresh_at_ms = stage.refresh_in_ms == 0 ? 0
							       : atomic_load(&stage.boottime_ms) +
									 stage.refresh_in_ms;
		token.is_static = stage.is_static;
		token.given_by = "a member";
		token.notice = stage.notice;
	}
	bool has_failed = stage.failure != ERR_NONE;
	tell();
	unlock();
	exchange->done(exchange->context, has_failed ? NULL : &token, has_failed ? &err : NULL);
	secret_free(token.token);
	free(exchange);
}

static void on_flight(void *context, struct http_response *response, const struct error *err);

/*
 * A way to be called from loop_run(): what is no https URL fails in there, without a packet
 * on any network. As long as the exchange is held back, it goes round.
 */
static void go_round(struct upstream_exchange *exchange)
{
	static const struct http_request request = {.url = "http://127.0.0.1:1/", .body_max = 1};
	struct error err = ERROR_INIT;
	exchange->flight =
		http_client_send(loop_http(exchange->loop), &request, on_flight, exchange, &err);
	ck_assert_ptr_nonnull(exchange->flight);
}

static void on_flight(void *context, struct http_response *response, const struct error *err)
{
	struct upstream_exchange *exchange = context;
	(void)response;
	(void)err;
	exchange->flight = NULL;
	lock();
	bool is_held = stage.manner == WHEN_RELEASED && !stage.is_released;
	stage.rounds++;
	tell();
	unlock();
	if (is_held)
		go_round(exchange);
	else
		end_exchange(exchange);
}

static struct upstream_exchange *stage_start(const struct account_settings *account,
	struct credential *credential, struct loop *loop, upstream_done_fn done, void *context)
{
	struct upstream_exchange *exchange = calloc(1, sizeof(*exchange));
	ck_assert_ptr_nonnull(exchange);
	*exchange = (struct upstream_exchange){
		.account = account,
		.credential = credential,
		.loop = loop,
		.done = done,
		.context = context,
	};
	lock();
	stage.started++;
	stage.thread = pthread_self();
	stage.loop = loop;
	stage.last_credential = credential;
	snprintf(stage.last_account, sizeof(stage.last_account), "%s", account->name);
	bool is_at_once = stage.manner == AT_ONCE;
	tell();
	unlock();
	if (is_at_once) {
		end_exchange(exchange);
		return NULL;
	}
	go_round(exchange);
	return exchange;
}

static void stage_cancel(struct upstream_exchange *exchange)
{
	http_client_cancel(loop_http(exchange->loop), exchange->flight);
	free(exchange);
	lock();
	stage.cancelled++;
	tell();
	unlock();
}

static const struct upstream stage_upstream = {
	.kind = "scripted",
	.start = stage_start,
	.cancel = stage_cancel,
};

/* ---- the answers -------------------------------------------------------------------------------
 */

#define ALIVE UINT64_C(0xa11ea11ea11ea11e)

struct stage_answer {
	uint64_t mark;
	struct secret *body;
};

static void *stage_make(enum representation representation, struct secret *body, const char *etag)
{
	(void)representation;
	ck_assert_ptr_nonnull(etag);
	struct stage_answer *answer = calloc(1, sizeof(*answer));
	ck_assert_ptr_nonnull(answer);
	*answer = (struct stage_answer){.mark = ALIVE, .body = body};
	atomic_fetch_add(&stage.answers_alive, 1);
	return answer;
}

static void stage_release(void *object)
{
	struct stage_answer *answer = object;
	answer->mark = 0;
	secret_free(answer->body);
	free(answer);
	atomic_fetch_sub(&stage.answers_alive, 1);
}

static const struct answer_maker stage_maker = {stage_make, stage_release};

static void on_change(void *context)
{
	ck_assert_ptr_eq(context, &stage);
	lock();
	stage.changes++;
	if (stage.started > 0 && !pthread_equal(pthread_self(), stage.thread))
		stage.changes_elsewhere++;
	tell();
	unlock();
}

/* ---- scenes ------------------------------------------------------------------------------------
 */

static void scene_open(void)
{
	struct error err = ERROR_INIT;
	log_set_level((enum log_level)0); /* ten thousand accounts have much to say */
	registry_init(&stage.registry);
	stage.lifetime_s = DAY_S;
	stage.server_date_s = TODAY_S;
	stage.retry_after_s = -1;
	atomic_store(&stage.boottime_ms, START_MS);
	atomic_store(&stage.realtime_s, TODAY_S);
	const struct refresher_options options = {
		.registry = &stage.registry,
		.answer_maker = &stage_maker,
		.clock = &stage_clock,
		.on_change = on_change,
		.context = &stage,
	};
	stage.refresher = refresher_start(&options, &err);
	ck_assert_ptr_nonnull(stage.refresher);
}

static void scene_close(void)
{
	refresher_stop(stage.refresher);
	registry_destroy(&stage.registry);
	ck_assert_uint_eq(stage.credentials_open, 0);
	ck_assert_int_eq(atomic_load(&stage.answers_alive), 0);
	ck_assert_uint_eq(stage.changes_elsewhere, 0);
	ck_assert_uint_eq(stage.started, stage.ended + stage.cancelled);
}

static struct account *make_account(const char *name)
{
	struct account_settings settings = {
		.name = strdup(name),
		.kind = strdup("scripted"),
		.account_id = strdup("11111111-2222-3333-4444-55555555aabb"),
		.account_domain = strdup("eastus.example.com"),
		.endpoint = strdup("https://sts.eastus.example.com"),
		.credential = strdup("scripted"),
	};
	struct account *account = account_new(&settings);
	ck_assert_ptr_nonnull(account);
	return account;
}

/* Takes the array's accounts, not the array. */
static void adopt(struct account *const *accounts, size_t count)
{
	struct error err = ERROR_INIT;
	struct account **list = calloc(count + 1, sizeof(struct account *));
	struct refresher_account *extras = calloc(count + 1, sizeof(*extras));
	for (size_t i = 0; i < count; i++) {
		list[i] = accounts[i];
		struct credential *credential = calloc(1, sizeof(*credential));
		credential->kind = &stage_kind;
		credential->references = 1;
		extras[i] = (struct refresher_account){credential, &stage_upstream};
	}
	lock();
	stage.last_adopted = count == 0 ? NULL : extras[count - 1].credential;
	stage.credentials_open += (unsigned)count;
	unlock();
	struct account_table *table = account_table_new(list, count, NULL);
	ck_assert_ptr_nonnull(table);
	ck_assert_int_eq(refresher_adopt(stage.refresher, table, extras, &err), 0);
	ck_assert_ptr_eq(atomic_load(&stage.registry.table), table);
}

static void adopt_one(const char *name)
{
	struct account *account = make_account(name);
	adopt(&account, 1);
}

/* What is published of an account, copied. */
struct view {
	bool is_there;
	struct snapshot *snapshot; /* for comparing only */
	struct snapshot parts;
	char token[64];
	struct account_report report;
};

static struct view look(const char *name)
{
	struct view view = {0};
	epoch_enter(&stage.registry.epoch, EPOCH_READER);
	const struct account *account =
		account_table_find(atomic_load(&stage.registry.table), name);
	if (account != NULL) {
		view.is_there = true;
		view.report = *atomic_load(&account->report);
		view.snapshot = atomic_load(&account->snapshot);
		if (view.snapshot != NULL) {
			view.parts = *view.snapshot;
			snprintf(view.token, sizeof(view.token), "%s",
				secret_bytes(view.snapshot->token));
			for (int i = 0; i < REPRESENTATION_COUNT; i++) {
				const struct stage_answer *answer = view.snapshot->answers[i];
				ck_assert_uint_eq(answer->mark, ALIVE);
			}
		}
	}
	epoch_leave(&stage.registry.epoch, EPOCH_READER);
	return view;
}

static void assert_same_token(const struct view *a, const struct view *b)
{
	ck_assert_ptr_nonnull(a->snapshot);
	ck_assert_ptr_eq(a->snapshot, b->snapshot);
	ck_assert_str_eq(a->token, b->token);
	ck_assert_int_eq(a->parts.expires_on, b->parts.expires_on);
	ck_assert_int_eq(a->parts.refresh_on, b->parts.refresh_on);
	ck_assert_int_eq(a->parts.dead_at_ms, b->parts.dead_at_ms);
	ck_assert_int_eq(a->parts.received_ms, b->parts.received_ms);
}

/* Wait until `count` more changes are told than now, or were before. */
static struct view look_after_changes(const char *name, unsigned changes)
{
	wait_for(&stage.changes, changes);
	return look(name);
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

START_TEST(publishes_token_and_report)
{
	scene_open();
	adopt_one("a");
	struct view view = look_after_changes("a", 2); /* the adoption's and its own */
	ck_assert_str_eq(view.token, "eyJ.token.number-1");
	ck_assert_int_eq(view.parts.expires_on, TODAY_S + DAY_S);
	ck_assert_int_eq(view.parts.received_ms, START_MS);
	ck_assert_int_eq(view.parts.dead_at_ms, START_MS + DAY_S * 1000 - 1000);
	ck_assert_uint_eq(view.report.failures, 0);
	ck_assert_int_eq(view.report.error.code, ERR_NONE);
	ck_assert_int_eq(view.report.refreshed_on, TODAY_S);
	ck_assert_int_eq(view.report.failed_on, 0);
	int64_t life_ms = DAY_S * 1000 - 1000;
	ck_assert_int_ge(view.report.next_ms, START_MS + life_ms / 2);
	ck_assert_int_le(view.report.next_ms, START_MS + life_ms * 6 / 10);
	/* The same moment, by the upstream's clock. */
	int64_t until_s = (view.report.next_ms - START_MS) / 1000;
	ck_assert_int_ge(view.parts.refresh_on, TODAY_S + until_s - 2);
	ck_assert_int_le(view.parts.refresh_on, TODAY_S + until_s + 2);
	scene_close();
}
END_TEST

START_TEST(publishes_what_arrives_later)
{
	scene_open();
	stage.manner = WHEN_RELEASED;
	adopt_one("a");
	wait_for(&stage.started, 1);
	struct view view = look("a");
	ck_assert_ptr_null(view.snapshot);
	ck_assert_int_eq(view.report.error.code, ERR_NONE);
	/* The Date may be as old as the request. */
	atomic_fetch_add(&stage.boottime_ms, 5000);
	lock();
	stage.is_released = true;
	unlock();
	view = look_after_changes("a", 2);
	ck_assert_int_eq(view.parts.received_ms, START_MS + 5000);
	ck_assert_int_eq(view.parts.dead_at_ms, START_MS + 5000 + DAY_S * 1000 - 1000 - 5000);
	scene_close();
}
END_TEST

START_TEST(measures_the_life_by_the_upstreams_clock)
{
	static const int64_t wrong_by_s[] = {
		0,
		DAY_S,
		-DAY_S,
		10 * 365 * DAY_S,
		-TODAY_S,
		1,
		-1,
	};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(wrong_by_s); i++) {
		char name[16];
		snprintf(name, sizeof(name), "a%zu", i);
		atomic_store(&stage.realtime_s, TODAY_S + wrong_by_s[i]);
		unsigned changes = read_count(&stage.changes);
		adopt_one(name); /* of another name: asked for anew */
		struct view view = look_after_changes(name, changes + 2);
		ck_assert_ptr_nonnull(view.snapshot);
		ck_assert_int_eq(view.parts.expires_on, TODAY_S + DAY_S);
		ck_assert_int_eq(view.parts.dead_at_ms, START_MS + DAY_S * 1000 - 1000);
		/* What people see of times is the host's. */
		ck_assert_int_eq(view.report.refreshed_on, TODAY_S + wrong_by_s[i]);
	}
	scene_close();
}
END_TEST

START_TEST(measures_the_life_by_its_own_clock_without_a_date)
{
	scene_open();
	stage.server_date_s = -1;
	atomic_store(&stage.realtime_s, TODAY_S + 400);
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_int_eq(view.parts.dead_at_ms, START_MS + (DAY_S - 400) * 1000 - 1000);
	scene_close();
}
END_TEST

START_TEST(refuses_a_token_that_is_dead_on_arrival)
{
	static const int64_t lifetimes_s[] = {0, -1, 1, -DAY_S, -TODAY_S + 1};
	scene_open();
	for (size_t i = 0; i < UNIT_COUNT(lifetimes_s); i++) {
		char name[16];
		snprintf(name, sizeof(name), "a%zu", i);
		lock();
		stage.lifetime_s = lifetimes_s[i];
		unsigned changes = stage.changes;
		unlock();
		adopt_one(name);
		struct view view = look_after_changes(name, changes + 2);
		ck_assert_ptr_null(view.snapshot);
		ck_assert_int_eq(view.report.error.code, ERR_UPSTREAM_FORMAT);
		ck_assert_ptr_nonnull(strstr(view.report.error.message, "expires at"));
		ck_assert_uint_eq(view.report.failures, 1);
	}
	lock();
	stage.lifetime_s = 2;
	unsigned changes = stage.changes;
	unlock();
	adopt_one("b");
	struct view view = look_after_changes("b", changes + 2);
	ck_assert_ptr_nonnull(view.snapshot);
	ck_assert_int_eq(view.parts.dead_at_ms, START_MS + 1000);
	scene_close();
}
END_TEST

START_TEST(takes_the_longest_life_that_a_token_can_claim)
{
	scene_open();
	stage.lifetime_s = (INT64_C(1) << 53) - TODAY_S;
	stage.server_date_s = 0;
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_ptr_nonnull(view.snapshot);
	ck_assert_int_eq(view.parts.expires_on, INT64_C(1) << 53);
	ck_assert_int_gt(view.parts.dead_at_ms, START_MS);
	ck_assert_int_gt(view.report.next_ms, START_MS);
	scene_close();
}
END_TEST

START_TEST(takes_a_life_that_is_known_better_than_from_the_expiry)
{
	scene_open();
	stage.dead_in_ms = 1234567;
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_int_eq(view.parts.dead_at_ms, START_MS + 1234567);
	ck_assert_int_eq(view.parts.expires_on, TODAY_S + DAY_S);
	scene_close();
}
END_TEST

START_TEST(refreshes_when_the_upstream_wants_it)
{
	scene_open();
	stage.refresh_in_ms = 20000000;
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	int64_t life_ms = DAY_S * 1000 - 1000;
	ck_assert_int_ge(view.report.next_ms, START_MS + 20000000);
	ck_assert_int_le(view.report.next_ms, START_MS + 20000000 + (life_ms - 20000000) / 10);
	scene_close();
}
END_TEST

START_TEST(keeps_what_it_has_when_the_same_token_comes_again)
{
	scene_open();
	adopt_one("a");
	struct view first = look_after_changes("a", 2);
	lock();
	stage.gives_the_same = true;
	unlock();
	atomic_store(&stage.realtime_s, TODAY_S + 7);
	set_time(first.report.next_ms);
	struct view view = look_after_changes("a", 3);
	assert_same_token(&first, &view);
	ck_assert_int_eq(view.report.refreshed_on, TODAY_S + 7);
	ck_assert_int_eq(view.report.next_ms,
		first.report.next_ms + (first.parts.dead_at_ms - first.report.next_ms) / 2);
	/* When it has expired, it is not kept. */
	set_time(first.parts.dead_at_ms);
	view = look_after_changes("a", 4);
	ck_assert_ptr_ne(view.snapshot, first.snapshot);
	scene_close();
}
END_TEST

START_TEST(tells_who_gave_the_token)
{
	scene_open();
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_str_eq(view.report.given_by, "a member");
	lock();
	stage.failure = ERR_NETWORK;
	unlock();
	set_time(view.report.next_ms);
	view = look_after_changes("a", 3);
	ck_assert_str_eq(view.report.given_by, "a member"); /* the last one that did */
	scene_close();
}
END_TEST

START_TEST(reports_what_someone_should_look_at)
{
	scene_open();
	stage.notice = "the certificate expires";
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_str_eq(view.report.notice, "the certificate expires");
	ck_assert_int_eq(view.report.error.code, ERR_NONE);
	/* Also with a token that is there already. */
	lock();
	stage.notice = "it expires soon";
	stage.gives_the_same = true;
	unlock();
	set_time(view.report.next_ms);
	view = look_after_changes("a", 3);
	ck_assert_str_eq(view.report.notice, "it expires soon");
	lock();
	stage.notice = "";
	unlock();
	set_time(view.report.next_ms);
	view = look_after_changes("a", 4);
	ck_assert_str_eq(view.report.notice, "");
	scene_close();
}
END_TEST

START_TEST(looks_at_a_static_token_as_often_as_it_wants)
{
	scene_open();
	stage.is_static = true;
	stage.dead_in_ms = DAY_S * 1000;
	stage.refresh_in_ms = 10000;
	adopt_one("a");
	struct view first = look_after_changes("a", 2);
	ck_assert(first.report.is_static);
	ck_assert_int_eq(first.report.next_ms, START_MS + 10000);
	ck_assert_int_eq(first.parts.dead_at_ms, START_MS + DAY_S * 1000);
	lock();
	stage.gives_the_same = true;
	stage.dead_in_ms -= 10000;
	unlock();
	set_time(first.report.next_ms);
	struct view view = look_after_changes("a", 3);
	assert_same_token(&first, &view);
	ck_assert_int_eq(view.report.next_ms, START_MS + 20000);
	/* And takes the next one when it is there. */
	lock();
	stage.gives_the_same = false;
	unlock();
	set_time(view.report.next_ms);
	view = look_after_changes("a", 4);
	ck_assert_str_eq(view.token, "eyJ.token.number-2");
	scene_close();
}
END_TEST

/* ---- failures ----------------------------------------------------------------------------------
 */

START_TEST(keeps_the_token_whatever_fails)
{
	scene_open();
	adopt_one("a");
	struct view first = look_after_changes("a", 2);
	struct view view = first;
	unsigned failures = 0;
	for (int code = ERR_NONE + 1; code <= ERR_CODE_COUNT; code++) {
		/* The last is a token that cannot be handed out. */
		bool is_bad = code == ERR_CODE_COUNT;
		lock();
		stage.failure = is_bad ? ERR_NONE : (enum error_code)code;
		stage.has_bad_token = is_bad;
		unsigned changes = stage.changes;
		unlock();
		atomic_store(&stage.realtime_s, TODAY_S + code);
		set_time(view.report.next_ms);
		view = look_after_changes("a", changes + 1);
		assert_same_token(&first, &view);
		ck_assert_uint_eq(view.report.failures, ++failures);
		ck_assert_int_eq(view.report.error.code, is_bad ? ERR_UPSTREAM_FORMAT : code);
		ck_assert_int_eq(view.report.failed_on, TODAY_S + code);
		ck_assert_int_eq(view.report.refreshed_on, TODAY_S);
		ck_assert_int_gt(view.report.next_ms, atomic_load(&stage.boottime_ms));
		if (!is_bad) {
			ck_assert_ptr_nonnull(strstr(view.report.error.message, "failure"));
			ck_assert_int_eq(view.report.error.http_status, 499);
			ck_assert_str_eq(view.report.error.correlation_vector, "cv");
		}
	}
	/* And then it works again. */
	lock();
	stage.has_bad_token = false;
	unsigned changes = stage.changes;
	unlock();
	set_time(view.report.next_ms);
	view = look_after_changes("a", changes + 1);
	ck_assert_ptr_ne(view.snapshot, first.snapshot);
	ck_assert_uint_eq(view.report.failures, 0);
	ck_assert_int_eq(view.report.error.code, ERR_NONE);
	ck_assert_int_ne(view.report.failed_on, 0);
	scene_close();
}
END_TEST

START_TEST(reports_a_failure_before_the_first_token)
{
	scene_open();
	stage.failure = ERR_DENIED;
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_ptr_null(view.snapshot);
	ck_assert_int_eq(view.report.error.code, ERR_DENIED);
	ck_assert_int_eq(view.report.refreshed_on, 0);
	ck_assert_uint_eq(view.report.failures, 1);
	scene_close();
}
END_TEST

START_TEST(obeys_a_retry_after)
{
	scene_open();
	stage.failure = ERR_THROTTLED;
	stage.retry_after_s = 40;
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	ck_assert_int_ge(view.report.next_ms, START_MS + 40000);
	ck_assert_int_le(view.report.next_ms, START_MS + 44000);
	scene_close();
}
END_TEST

/* ---- the schedule ------------------------------------------------------------------------------
 */

START_TEST(asks_when_it_is_due_and_not_before)
{
	scene_open();
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	for (unsigned round = 1; round < 10; round++) {
		unsigned changes = read_count(&stage.changes);
		set_time(view.report.next_ms - 1);
		let_it_look();
		ck_assert_uint_eq(read_count(&stage.started), round);
		lock();
		stage.failure = round % 3 == 0 ? ERR_NETWORK : ERR_NONE;
		unlock();
		set_time(view.report.next_ms);
		view = look_after_changes("a", changes + 1);
		ck_assert_uint_eq(read_count(&stage.started), round + 1);
	}
	scene_close();
}
END_TEST

START_TEST(asks_once_however_long_it_takes)
{
	scene_open();
	stage.manner = WHEN_RELEASED;
	adopt_one("a");
	wait_for(&stage.started, 1);
	set_time(START_MS + 100 * DAY_S * 1000);
	/* It goes round with the exchange many times meanwhile. */
	wait_for(&stage.rounds, read_count(&stage.rounds) + 10);
	ck_assert_uint_eq(read_count(&stage.started), 1);
	lock();
	stage.is_released = true;
	stage.lifetime_s = 1000 * DAY_S;
	unlock();
	look_after_changes("a", 2);
	ck_assert_uint_eq(read_count(&stage.started), 1);
	scene_close();
}
END_TEST

/* ---- adopting ----------------------------------------------------------------------------------
 */

START_TEST(keeps_what_names_the_same_token)
{
	scene_open();
	struct account *accounts[] = {make_account("a"), make_account("b"), make_account("c")};
	adopt(accounts, 3);
	wait_for(&stage.changes, 4);
	struct view a = look("a");
	struct view c = look("c");
	ck_assert_uint_eq(read_count(&stage.started), 3);
	/* In another order, with another neighbour, and with what says nothing of the token. */
	struct account *next[] = {make_account("d"), make_account("c"), make_account("a")};
	next[2]->settings.is_required = true;
	next[2]->settings.ca_file = strdup("/another");
	strcpy(next[2]->settings.account_id, "11111111-2222-3333-4444-55555555AABB");
	adopt(next, 3);
	struct view new_a = look("a");
	struct view new_c = look("c");
	assert_same_token(&a, &new_a);
	assert_same_token(&c, &new_c);
	ck_assert_mem_eq(&a.report, &new_a.report, sizeof(a.report));
	ck_assert(!look("b").is_there);
	wait_for(&stage.started, 4);
	struct view d = look_after_changes("d", 6);
	ck_assert_ptr_nonnull(d.snapshot);
	lock();
	ck_assert_str_eq(stage.last_account, "d"); /* and only it */
	ck_assert_uint_eq(stage.started, 4);
	ck_assert_uint_eq(stage.credentials_open, 3);
	unlock();
	/* The schedule came along. */
	unsigned changes = read_count(&stage.changes);
	set_time(a.report.next_ms);
	look_after_changes("a", changes + 1);
	scene_close();
}
END_TEST

START_TEST(drops_what_names_another_token)
{
	for (int what = 0; what < 5; what++) {
		scene_open();
		stage.started = stage.ended = stage.cancelled = stage.changes = 0;
		stage.failure = ERR_NONE;
		adopt_one("a");
		struct view before = look_after_changes("a", 2);
		ck_assert_ptr_nonnull(before.snapshot);
		struct account *account = make_account(what == 0 ? "A" : "a");
		char **changed[] = {
			NULL,
			&account->settings.kind,
			&account->settings.account_id,
			&account->settings.account_domain,
			&account->settings.endpoint,
		};
		if (what > 0)
			(*changed[what])[strlen(*changed[what]) - 1] = 'z';
		lock();
		stage.failure = ERR_NETWORK; /* so that it gets no other */
		unlock();
		adopt(&account, 1);
		struct view view = look_after_changes(what == 0 ? "A" : "a", 4);
		ck_assert_msg(view.snapshot == NULL, "change %d", what);
		ck_assert_uint_eq(read_count(&stage.started), 2);
		scene_close();
	}
}
END_TEST

START_TEST(begins_again_what_is_under_way)
{
	scene_open();
	stage.manner = WHEN_RELEASED;
	adopt_one("a");
	wait_for(&stage.started, 1);
	adopt_one("a");
	wait_for(&stage.started, 2);
	lock();
	ck_assert_uint_eq(stage.cancelled, 1);
	ck_assert_uint_eq(stage.ended, 0);
	ck_assert_uint_eq(stage.credentials_open, 1);
	ck_assert_ptr_eq(stage.last_credential, stage.last_adopted);
	stage.is_released = true;
	unlock();
	struct view view = look_after_changes("a", 3);
	ck_assert_str_eq(view.token, "eyJ.token.number-1");
	scene_close();
}
END_TEST

START_TEST(begins_again_a_refresh_under_way_and_keeps_the_token)
{
	scene_open();
	adopt_one("a");
	struct view before = look_after_changes("a", 2);
	lock();
	stage.manner = WHEN_RELEASED;
	unlock();
	set_time(before.report.next_ms);
	wait_for(&stage.started, 2);
	adopt_one("a");
	struct view during = look("a");
	assert_same_token(&before, &during);
	wait_for(&stage.started, 3);
	ck_assert_uint_eq(read_count(&stage.cancelled), 1);
	lock();
	stage.is_released = true;
	unlock();
	struct view after = look_after_changes("a", 4);
	ck_assert_str_eq(after.token, "eyJ.token.number-2");
	scene_close();
}
END_TEST

START_TEST(tries_again_at_once_after_a_failure)
{
	scene_open();
	adopt_one("a");
	struct view first = look_after_changes("a", 2);
	lock();
	stage.failure = ERR_DENIED;
	unlock();
	set_time(first.report.next_ms);
	struct view failed = look_after_changes("a", 3);
	ck_assert_int_eq(failed.report.error.code, ERR_DENIED);
	ck_assert_uint_eq(read_count(&stage.started), 2);
	lock();
	stage.manner = WHEN_RELEASED;
	stage.failure = ERR_NONE;
	unlock();
	adopt_one("a");
	/* Nothing is lost until it has worked. */
	struct view view = look("a");
	assert_same_token(&first, &view);
	ck_assert_int_eq(view.report.error.code, ERR_DENIED);
	ck_assert_uint_eq(view.report.failures, 1);
	wait_for(&stage.started, 3);
	lock();
	stage.is_released = true;
	unlock();
	view = look_after_changes("a", 5);
	ck_assert_int_eq(view.report.error.code, ERR_NONE);
	ck_assert_str_eq(view.token, "eyJ.token.number-2");
	scene_close();
}
END_TEST

START_TEST(counts_on_when_it_fails_after_an_adoption)
{
	scene_open();
	stage.failure = ERR_NETWORK;
	adopt_one("a");
	look_after_changes("a", 2);
	adopt_one("a");
	struct view view = look_after_changes("a", 4);
	ck_assert_uint_eq(view.report.failures, 2);
	scene_close();
}
END_TEST

START_TEST(lets_all_accounts_go)
{
	scene_open();
	adopt_one("a");
	look_after_changes("a", 2);
	adopt(NULL, 0);
	ck_assert(!look("a").is_there);
	ck_assert_uint_eq(read_count(&stage.credentials_open), 0);
	adopt_one("a");
	struct view view = look_after_changes("a", 5);
	ck_assert_str_eq(view.token, "eyJ.token.number-2");
	scene_close();
}
END_TEST

START_TEST(wipes_the_token_of_an_account_that_is_gone)
{
	struct secret_memory before;
	struct secret_memory after;
	secret_memory_usage(&before);
	scene_open();
	adopt_one("a");
	look_after_changes("a", 2);
	ck_assert_int_eq(atomic_load(&stage.answers_alive), REPRESENTATION_COUNT);
	adopt(NULL, 0);
	refresher_stop(stage.refresher);
	epoch_reclaim(&stage.registry.epoch);
	ck_assert_int_eq(atomic_load(&stage.answers_alive), 0);
	secret_memory_usage(&after);
	ck_assert_uint_eq(after.bytes_in_use, before.bytes_in_use);
	stage.refresher = NULL;
	scene_close();
}
END_TEST

/* ---- the end -----------------------------------------------------------------------------------
 */

START_TEST(stops_with_exchanges_under_way)
{
	scene_open();
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	lock();
	stage.manner = WHEN_RELEASED;
	unlock();
	struct account *accounts[20];
	char name[16];
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "b%d", i);
		accounts[i] = make_account(i == 0 ? "a" : name);
	}
	adopt(accounts, 20);
	set_time(view.report.next_ms);
	wait_for(&stage.started, 21);
	refresher_stop(stage.refresher);
	stage.refresher = NULL;
	ck_assert_uint_eq(stage.cancelled, 20);
	ck_assert_uint_eq(stage.ended, 1);
	ck_assert_uint_eq(stage.credentials_open, 0);
	/* What was published stays. */
	struct view left = look("a");
	assert_same_token(&view, &left);
	scene_close();
}
END_TEST

START_TEST(starts_and_stops_without_accounts)
{
	scene_open();
	ck_assert_ptr_null(atomic_load(&stage.registry.table));
	scene_close();
	refresher_stop(NULL);
}
END_TEST

START_TEST(tells_of_every_change)
{
	scene_open();
	adopt_one("a");
	struct view view = look_after_changes("a", 2);
	for (unsigned round = 0; round < 6; round++) {
		lock();
		stage.failure = round % 2 == 0 ? ERR_TIMEOUT : ERR_NONE;
		unlock();
		set_time(view.report.next_ms);
		view = look_after_changes("a", 3 + round);
	}
	let_it_look();
	ck_assert_uint_eq(read_count(&stage.changes), 8);
	scene_close();
}
END_TEST

/* ---- many --------------------------------------------------------------------------------------
 */

#define MANY 10000

static void make_many(struct account **accounts)
{
	for (unsigned i = 0; i < MANY; i++) {
		char name[16];
		snprintf(name, sizeof(name), "a%u", i);
		accounts[i] = make_account(name);
		/* Each with an identifier of its own, as it would be. */
		snprintf(accounts[i]->settings.account_id, 37, "%08x-2222-3333-4444-555555555555",
			i);
	}
}

START_TEST(refreshes_ten_thousand_accounts)
{
	struct account **accounts = calloc(MANY, sizeof(struct account *));
	scene_open();
	make_many(accounts);
	adopt(accounts, MANY);
	wait_for(&stage.ended, MANY);
	wait_for(&stage.changes, MANY + 1);
	ck_assert_int_eq(atomic_load(&stage.answers_alive), MANY * REPRESENTATION_COUNT);
	/* A reload asks for none of them. */
	make_many(accounts);
	adopt(accounts, MANY);
	ck_assert_uint_eq(read_count(&stage.started), MANY);
	for (unsigned i = 0; i < MANY; i += 997) {
		char name[16];
		snprintf(name, sizeof(name), "a%u", i);
		ck_assert_ptr_nonnull(look(name).snapshot);
	}
	/* And all are asked for again when it is their time. */
	set_time(START_MS + DAY_S * 600);
	wait_for(&stage.ended, 2 * MANY);
	wait_for(&stage.changes, 2 * MANY + 2);
	ck_assert_uint_eq(read_count(&stage.started), 2 * MANY);
	scene_close();
	free(accounts);
}
END_TEST

/* ---- readers -----------------------------------------------------------------------------------
 */

#define READERS 3
#define ADOPTIONS 2000
#define READS_AT_A_TIME 100 /* then a reader lets others run */

static atomic_bool is_over;

struct reader {
	pthread_t thread;
	unsigned number;
	atomic_uint tokens; /* how often another one was seen */
	atomic_uint tables;
};

/* What a server does with what it sees: everything in it must be whole. */
static void *read_on(void *context)
{
	struct reader *self = context;
	const void *last_token = NULL;
	const void *last_table = NULL;
	for (unsigned reads = 1; !atomic_load(&is_over); reads++) {
		unsigned damaged = 0;
		if (reads % READS_AT_A_TIME == 0)
			sched_yield();
		epoch_enter(&stage.registry.epoch, self->number);
		const struct account_table *table = atomic_load(&stage.registry.table);
		const struct account *account = account_table_find(table, "steady");
		damaged += account == NULL || strcmp(account->settings.name, "steady") != 0;
		if (account != NULL) {
			const struct snapshot *snapshot = atomic_load(&account->snapshot);
			const struct account_report *report = atomic_load(&account->report);
			damaged += snapshot == NULL; /* a gap */
			damaged += report->next_ms < 0;
			if (snapshot != NULL) {
				damaged += strncmp(secret_bytes(snapshot->token), token_start,
						   sizeof(token_start) - 1) != 0;
				for (int i = 0; i < REPRESENTATION_COUNT; i++) {
					const struct stage_answer *answer = snapshot->answers[i];
					damaged += answer->mark != ALIVE;
					damaged += !secret_is_within(snapshot->token,
						secret_bytes(answer->body),
						secret_len(answer->body));
				}
			}
			self->tokens += snapshot != last_token;
			last_token = snapshot;
		}
		self->tables += table != last_table;
		last_table = table;
		epoch_leave(&stage.registry.epoch, self->number);
		if (damaged > 0)
			atomic_fetch_add(&stage.damaged, damaged);
	}
	return NULL;
}

/* Whether the readers have looked while it changed, which depends on whose turn it was. */
static bool has_seen_enough(struct reader *readers)
{
	unsigned tokens = 0;
	unsigned tables = 0;
	for (unsigned i = 0; i < READERS; i++) {
		tokens += atomic_load(&readers[i].tokens);
		tables += atomic_load(&readers[i].tables);
	}
	return tokens > READERS * 10 && tables > READERS * 10;
}

START_TEST(readers_see_neither_a_gap_nor_what_is_freed)
{
	struct reader readers[READERS] = {0};
	scene_open();
	stage.manner = LATER;
	stage.lifetime_s = 5;
	adopt_one("steady");
	look_after_changes("steady", 2); /* it has a token */
	lock();
	stage.tick_ms = 20; /* half a life in a hundred looks at the clock */
	unlock();
	for (unsigned i = 0; i < READERS; i++) {
		readers[i].number = EPOCH_READER + 1 + i;
		ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (unsigned i = 0; i < ADOPTIONS || !has_seen_enough(readers); i++) {
		struct account *accounts[3] = {make_account("steady"), make_account("other")};
		unsigned ended = read_count(&stage.ended);
		lock();
		/* At once, later, and now and then a failure. */
		stage.manner = i % 2 == 0 ? AT_ONCE : LATER;
		stage.failure = i % 7 == 0 ? ERR_NETWORK : ERR_NONE;
		unlock();
		if (i % 3 == 0) {
			struct account *swap = accounts[0];
			accounts[0] = accounts[1];
			accounts[1] = swap;
		}
		adopt(accounts, 2);
		if (i % 8 == 0) {
			/* Time goes by as the refresher looks at it. */
			while (read_count(&stage.ended) < ended + 2) {
				lock();
				loop_wake(stage.loop);
				unlock();
				sched_yield();
			}
		}
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_join(readers[i].thread, NULL), 0);
	ck_assert_uint_eq(atomic_load(&stage.damaged), 0);
	scene_close();
}
END_TEST

UNIT_MAIN("refresher", publishes_token_and_report, publishes_what_arrives_later,
	measures_the_life_by_the_upstreams_clock, measures_the_life_by_its_own_clock_without_a_date,
	refuses_a_token_that_is_dead_on_arrival, takes_the_longest_life_that_a_token_can_claim,
	takes_a_life_that_is_known_better_than_from_the_expiry,
	refreshes_when_the_upstream_wants_it, keeps_what_it_has_when_the_same_token_comes_again,
	tells_who_gave_the_token, reports_what_someone_should_look_at,
	looks_at_a_static_token_as_often_as_it_wants, keeps_the_token_whatever_fails,
	reports_a_failure_before_the_first_token, obeys_a_retry_after,
	asks_when_it_is_due_and_not_before, asks_once_however_long_it_takes,
	keeps_what_names_the_same_token, drops_what_names_another_token,
	begins_again_what_is_under_way, begins_again_a_refresh_under_way_and_keeps_the_token,
	tries_again_at_once_after_a_failure, counts_on_when_it_fails_after_an_adoption,
	lets_all_accounts_go, wipes_the_token_of_an_account_that_is_gone,
	stops_with_exchanges_under_way, starts_and_stops_without_accounts, tells_of_every_change,
	refreshes_ten_thousand_accounts, readers_see_neither_a_gap_nor_what_is_freed)
