/*
 * Refreshing as a model: random events over the real task, schedule and account, on a clock and
 * with dice of its own, and what must hold after each of them. The seed is printed; UNIT_SEED sets
 * it.
 */
#include "refresh_task.h"

#include "base/log.h"
#include "token/schedule.h"

#include "unit.h"

#define UPSTREAM_EPOCH_S INT64_C(1709251200) /* the upstream's time when this host booted */
#define SEQUENCES 10000
#define EVENTS 120
#define ACCOUNTS 3
#define HOUR_MS (INT64_C(3600) * 1000)
#define DAY_S INT64_C(86400)
/* How far off the next action after a failure can be: an hour's Retry-After and its tenth. */
#define FAILED_MOST_MS (SCHEDULE_RETRY_AFTER_MAX_S * 1100)
/* What a circuit asks for at most: base/circuit.h. */
#define HELD_BACK_MOST_MS (INT64_C(3960) * 1000 + 61000)
#define ATTEMPTS_PER_HOUR 90 /* where nothing works, and nobody asks */

/* ---- the world ---------------------------------------------------------------------------------
 */

struct upstream_exchange {
	struct model_account *model;
	int64_t started_ms;
	upstream_done_fn done;
	void *context;
};

/* What is known of an account beside what the code under test keeps of it. */
struct model_account {
	struct refresh_task task;
	struct upstream_exchange *exchange;
	unsigned attempts; /* since quiet_ms */
	int64_t quiet_ms; /* since when there was no success and nobody asked */
	int64_t ended_ms; /* the last exchange */
	int64_t next_ms; /* as it was set by the last exchange, or who asked */
	bool is_hastened; /* somebody asked since the last exchange ended */
	bool has_failed; /* the last exchange */
	bool has_succeeded; /* one of them */
	bool was_held_back; /* likewise */
	bool has_token;
	bool has_truth; /* dead_ms is known: the upstream told its time */
	int64_t dead_ms; /* when the token really dies */
	int64_t usable_ms; /* for so long it has to be there at least */
	char token[32];
};

static struct {
	uint64_t dice;
	int64_t boottime_ms;
	int64_t wall_offset_s;
	unsigned rolls;
	unsigned tokens;
	unsigned refreshes; /* in all sequences: the test must not be empty */
	unsigned failures;
	struct registry registry;
	struct refresh_thread thread;
	struct model_account accounts[ACCOUNTS];
	const char *event; /* for the message when something does not hold */
	unsigned sequence;
	unsigned step;
} world;

static uint64_t pick(uint64_t below)
{
	return unit_random(&world.dice, below);
}

static double world_roll(void)
{
	static const double edges[] = {0, 0.99999999976716935};
	world.rolls++;
	if (pick(10) == 0)
		return edges[pick(2)];
	return (double)pick(UINT64_C(1) << 31) / 2147483648.0;
}

static int64_t read_boottime(const struct clock *clock)
{
	(void)clock;
	return world.boottime_ms;
}

static int64_t read_realtime(const struct clock *clock)
{
	(void)clock;
	return UPSTREAM_EPOCH_S + world.boottime_ms / 1000 + world.wall_offset_s;
}

static const struct clock world_clock = {read_boottime, read_realtime};

#define HOLDS(what)                                                                                \
	do {                                                                                       \
		if (!(what))                                                                       \
			ck_abort_msg("sequence %u, step %u, after %s: not " #what, world.sequence, \
				world.step, world.event);                                          \
	} while (0)

/* ---- what the task is given --------------------------------------------------------------------
 */

static void *make_answer(enum representation representation, struct secret *body, const char *etag)
{
	static int answer;
	(void)representation;
	(void)etag;
	secret_free(body);
	return &answer;
}

static void release_answer(void *answer)
{
	(void)answer;
}

static const struct answer_maker maker = {.make = make_answer, .release = release_answer};

static void ignore_change(void *context)
{
	(void)context;
}

static struct model_account *model_of(const struct account_settings *settings)
{
	for (size_t i = 0; i < ACCOUNTS; i++)
		if (&world.accounts[i].task.account->settings == settings)
			return &world.accounts[i];
	abort();
}

static void end_exchange(struct upstream_exchange *exchange);

static struct upstream_exchange *world_start(const struct account_settings *settings,
	struct credential *credential, struct loop *loop, upstream_done_fn done, void *context)
{
	struct model_account *model = model_of(settings);
	struct upstream_exchange *exchange = calloc(1, sizeof(*exchange));
	(void)credential;
	(void)loop;
	HOLDS(model->exchange == NULL); /* never two at once */
	HOLDS(world.boottime_ms >= model->next_ms); /* not before its time */
	/* Never in a loop, whatever is answered. */
	if (!model->is_hastened && model->ended_ms != 0)
		HOLDS(world.boottime_ms >= model->ended_ms + (model->has_failed ? 250 : 1000));
	model->attempts++;
	*exchange = (struct upstream_exchange){
		.model = model,
		.started_ms = world.boottime_ms,
		.done = done,
		.context = context,
	};
	model->exchange = exchange;
	if (pick(8) != 0)
		return exchange;
	end_exchange(exchange); /* before it has begun */
	return NULL;
}

static void world_cancel(struct upstream_exchange *exchange)
{
	exchange->model->exchange = NULL;
	free(exchange);
}

static const struct upstream world_upstream = {
	.kind = "model", .start = world_start, .cancel = world_cancel};

/* It has no secrets that could change; the upstream does not ask it. */
static const struct credential_kind world_kind = {.name = "model"};
static struct credential world_credential = {.kind = &world_kind};

/* ---- what an exchange comes to -----------------------------------------------------------------
 */

/* By the real schedule it was set just now; it must stay so until something happens. */
static void take_over(struct model_account *model, bool has_failed)
{
	model->ended_ms = world.boottime_ms;
	model->next_ms = model->task.schedule.next_ms;
	model->has_failed = has_failed;
	model->is_hastened = false;
	world.failures += has_failed;
	world.refreshes += !has_failed;
	if (has_failed)
		return;
	model->has_succeeded = true;
	model->attempts = 0;
	model->quiet_ms = world.boottime_ms;
}

static void end_with_failure(struct upstream_exchange *exchange)
{
	static const int64_t asked_s[] = {-1, -1, -1, -1, 0, 1, 30, 600, 3600, 86400, INT64_MAX};
	struct model_account *model = exchange->model;
	struct error err = ERROR_INIT;
	unsigned rolls = world.rolls;
	unsigned failures = model->task.schedule.failures;
	error_set(&err, (enum error_code)(1 + pick(ERR_CODE_COUNT - 1)), "a failure");
	err.retry_after_s = asked_s[pick(UNIT_COUNT(asked_s))];
	model->was_held_back = pick(4) == 0;
	if (model->was_held_back) {
		err.retry_after_s = 1 + (int64_t)pick(pick(10) == 0 ? 3960 : 60);
		err.spread_ms = 1000 + (int64_t)pick(59001);
	}
	/* A secret's file that was there is waited for, once, before it counts. */
	bool waits = err.code == ERR_SECRET_SOURCE && !model->task.has_waited_for_secret &&
		     model->has_succeeded && failures == 0;
	model->exchange = NULL;
	exchange->done(exchange->context, NULL, &err);
	if (waits) {
		model->ended_ms = world.boottime_ms;
		model->next_ms = world.boottime_ms + SCHEDULE_LEAST_MS;
		model->is_hastened = false;
		HOLDS(model->task.schedule.next_ms == model->next_ms);
		HOLDS(model->task.schedule.failures == 0);
		free(exchange);
		return;
	}
	take_over(model, true);
	HOLDS(world.rolls == rolls + 1);
	HOLDS(model->task.schedule.failures ==
		(model->was_held_back && failures > 0 ? failures : failures + 1));
	free(exchange);
}

static void end_with_token(struct upstream_exchange *exchange)
{
	static const int64_t lifetimes_s[] = {-DAY_S, -10, 0, 1, 2, 3, 5, 20, 60, 600, 3600, DAY_S,
		DAY_S, DAY_S, 2 * DAY_S, 3 * DAY_S, 3650 * DAY_S};
	struct model_account *model = exchange->model;
	struct upstream_token token = {.server_date_s = -1, .given_by = "model"};
	int64_t now_ms = world.boottime_ms;
	int64_t issued_ms =
		exchange->started_ms + (int64_t)pick((uint64_t)(now_ms - exchange->started_ms) + 1);
	int64_t lifetime_s = lifetimes_s[pick(UNIT_COUNT(lifetimes_s))];
	unsigned rolls = world.rolls;
	bool is_same = model->has_token && pick(8) == 0;
	bool is_bad = pick(16) == 0;
	bool tells_time = pick(8) != 0;
	char words[32];
	snprintf(words, sizeof(words), "token.number.%u%s", ++world.tokens, is_bad ? "\n" : "");
	token.token = is_same ? secret_from(model->token, strlen(model->token))
			      : secret_from(words, strlen(words));
	token.expires_on = UPSTREAM_EPOCH_S + issued_ms / 1000 + lifetime_s;
	if (tells_time)
		token.server_date_s = UPSTREAM_EPOCH_S + issued_ms / 1000;
	if (pick(4) == 0)
		token.refresh_at_ms = now_ms - 5000 + (int64_t)pick(2 * DAY_S * 1000);
	const struct snapshot *before = atomic_load(&model->task.account->snapshot);
	bool had_it = is_same && snapshot_is_valid(before, now_ms);
	model->exchange = NULL;
	exchange->done(exchange->context, &token, NULL);
	secret_free(token.token);
	const struct account_report *report = atomic_load(&model->task.account->report);
	const struct snapshot *after = atomic_load(&model->task.account->snapshot);
	bool has_failed = report->error.code != ERR_NONE;
	model->was_held_back = false;
	take_over(model, has_failed);
	free(exchange);
	if (has_failed) {
		HOLDS(after == before); /* what is no good changes nothing */
		/* One for the token, before it was looked at, and one for the failure. */
		HOLDS(world.rolls == rolls + 1 || (is_bad && world.rolls == rolls + 2));
		/* A good one is taken, if the exchange did not eat up its life. */
		HOLDS(is_bad || !tells_time || lifetime_s > 2 * DAY_S ||
			lifetime_s * 1000 <= 1000 + now_ms - model->task.started_ms);
		return;
	}
	if (had_it) {
		HOLDS(after == before); /* with its ETags */
		HOLDS(world.rolls == rolls); /* jitter is rolled once per token */
		return;
	}
	HOLDS(world.rolls == rolls + 1);
	HOLDS(after != before);
	HOLDS(!is_bad || is_same);
	model->has_token = true;
	memcpy(model->token, secret_bytes(after->token), secret_len(after->token));
	model->token[secret_len(after->token)] = '\0';
	model->has_truth = tells_time;
	model->dead_ms = (token.expires_on - UPSTREAM_EPOCH_S) * 1000;
	model->usable_ms =
		lifetime_s > 2 * DAY_S
			? now_ms /* not believed; by this host's clock, whatever that is */
			: model->task.started_ms + lifetime_s * 1000 - 1000;
}

static void end_exchange(struct upstream_exchange *exchange)
{
	if (pick(2) == 0)
		end_with_failure(exchange);
	else
		end_with_token(exchange);
}

/* ---- what must hold ----------------------------------------------------------------------------
 */

static void check_token(const struct model_account *model)
{
	const struct snapshot *snapshot = atomic_load(&model->task.account->snapshot);
	bool is_valid = snapshot_is_valid(snapshot, world.boottime_ms);
	HOLDS((snapshot != NULL) == model->has_token);
	if (snapshot == NULL)
		return;
	HOLDS(secret_len(snapshot->token) == strlen(model->token));
	HOLDS(memcmp(secret_bytes(snapshot->token), model->token, strlen(model->token)) == 0);
	if (!model->has_truth)
		return;
	/* An expired one never, and a valid one as long as there is one. */
	HOLDS(!is_valid || world.boottime_ms < model->dead_ms);
	HOLDS(is_valid || world.boottime_ms >= model->usable_ms);
}

static void check_next_action(const struct model_account *model)
{
	const struct refresh_task *task = &model->task;
	const struct snapshot *snapshot = atomic_load(&task->account->snapshot);
	const struct account_report *report = atomic_load(&task->account->report);
	int64_t now_ms = world.boottime_ms;
	HOLDS((task->exchange != NULL) == (model->exchange != NULL));
	if (task->exchange != NULL) {
		HOLDS(task->timer.position == 0);
		return;
	}
	/* No wake-up is lost, none is in the past, none moves by itself. */
	HOLDS(task->timer.position != 0);
	HOLDS(task->timer.due_ms > now_ms);
	HOLDS(task->timer.due_ms == task->schedule.next_ms);
	HOLDS(task->schedule.next_ms == model->next_ms);
	HOLDS(report->next_ms == task->schedule.next_ms);
	HOLDS(report->failures == task->schedule.failures);
	HOLDS((report->error.code != ERR_NONE) == model->has_failed);
	if (model->has_failed) {
		HOLDS(task->schedule.failures > 0);
		HOLDS(task->timer.due_ms - model->ended_ms <=
			(model->was_held_back ? HELD_BACK_MOST_MS : FAILED_MOST_MS));
		return;
	}
	/* After a success: before the token dies, but not within the second. */
	HOLDS(task->schedule.failures == 0);
	HOLDS(task->timer.due_ms <= snapshot->dead_at_ms ||
		task->timer.due_ms <= model->ended_ms + SCHEDULE_LEAST_MS);
	/* No expiry that nobody knows of. */
	HOLDS(snapshot_is_valid(snapshot, now_ms) || now_ms <= model->ended_ms + SCHEDULE_LEAST_MS);
}

static void check_attempts(const struct model_account *model)
{
	int64_t hours = (world.boottime_ms - model->quiet_ms) / HOUR_MS + 1;
	HOLDS(model->attempts <= hours * ATTEMPTS_PER_HOUR);
}

/* ---- what happens ------------------------------------------------------------------------------
 */

/* As the refresh thread goes round. */
static void go_round(void)
{
	struct heap_node *node;
	while ((node = heap_first(&world.thread.heap)) != NULL && node->due_ms <= world.boottime_ms)
		refresh_task_start(node->owner);
	epoch_reclaim(&world.registry.epoch);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		check_token(&world.accounts[i]);
		check_next_action(&world.accounts[i]);
		check_attempts(&world.accounts[i]);
	}
}

static void somebody_asked(struct model_account *model)
{
	model->is_hastened = true;
	model->next_ms = world.boottime_ms;
	model->attempts = 0;
	model->quiet_ms = world.boottime_ms;
}

static void wait_for_next(struct model_account *model)
{
	const struct heap_node *first = heap_first(&world.thread.heap);
	(void)model;
	if (first != NULL)
		world.boottime_ms = first->due_ms;
}

static void wait_a_little(struct model_account *model)
{
	(void)model;
	world.boottime_ms += (int64_t)pick(3000);
}

static void suspend(struct model_account *model)
{
	(void)model;
	world.boottime_ms += (int64_t)pick((uint64_t)30 * HOUR_MS);
}

static void step_wall_clock(struct model_account *model)
{
	(void)model;
	world.wall_offset_s = (int64_t)pick(4 * DAY_S) - 2 * DAY_S;
}

static void answer(struct model_account *model)
{
	if (model->exchange == NULL)
		return;
	/* refresh_task takes it for ended by then, as it does in the callback. */
	end_exchange(model->exchange);
}

static void ask_for_refresh(struct model_account *model)
{
	if (model->task.exchange != NULL)
		return; /* as in refresher.c: it is joined */
	somebody_asked(model);
	refresh_task_hasten(&model->task);
}

/* Another key, or a reload: what is under way begins again. */
static void change_key(struct model_account *model)
{
	refresh_task_cancel(&model->task);
	somebody_asked(model);
	refresh_task_hasten(&model->task);
}

static const struct {
	const char *name;
	unsigned weight;
	void (*happen)(struct model_account *model);
} events[] = {
	{"an answer", 40, answer},
	{"the next action's time", 30, wait_for_next},
	{"a little time", 12, wait_a_little},
	{"a suspend", 3, suspend},
	{"a step of the wall clock", 6, step_wall_clock},
	{"a refresh request", 5, ask_for_refresh},
	{"a change of key", 4, change_key},
};

static void let_something_happen(void)
{
	uint64_t at = pick(100);
	size_t i = 0;
	while (at >= events[i].weight)
		at -= events[i++].weight;
	world.event = events[i].name;
	events[i].happen(&world.accounts[pick(ACCOUNTS)]);
}

static void begin_world(void)
{
	world.boottime_ms = 1000000 + (int64_t)pick(100000);
	world.wall_offset_s = 0;
	registry_init(&world.registry);
	world.thread = (struct refresh_thread){
		.options = {.registry = &world.registry,
			.answer_maker = &maker,
			.clock = &world_clock,
			.roll = world_roll,
			.on_change = ignore_change},
	};
	ck_assert_int_eq(heap_reserve(&world.thread.heap, ACCOUNTS), 0);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct account_settings settings = {
			.name = strdup("model"), .scope = strdup("a"), .endpoint = strdup("b")};
		world.accounts[i] = (struct model_account){
			.task = {.thread = &world.thread,
				.account = account_new(&settings),
				.credential = &world_credential,
				.upstream = &world_upstream},
			.quiet_ms = world.boottime_ms,
		};
		struct refresh_task *task = &world.accounts[i].task;
		task->timer.owner = task;
		heap_put(&world.thread.heap, &task->timer, task->schedule.next_ms);
	}
}

static void end_world(void)
{
	for (size_t i = 0; i < ACCOUNTS; i++)
		refresh_task_cancel(&world.accounts[i].task);
	heap_free(&world.thread.heap);
	for (size_t i = 0; i < ACCOUNTS; i++)
		account_free(world.accounts[i].task.account);
	registry_destroy(&world.registry);
}

START_TEST(holds_what_it_promises_through_any_events)
{
	world.dice = unit_seed("refresh model");
	log_set_level((enum log_level)0);
	for (world.sequence = 0; world.sequence < SEQUENCES; world.sequence++) {
		begin_world();
		world.event = "the start";
		go_round();
		for (world.step = 0; world.step < EVENTS; world.step++) {
			let_something_happen();
			go_round();
		}
		end_world();
	}
	printf("%u sequences: %u refreshes, %u failures\n", SEQUENCES, world.refreshes,
		world.failures);
	ck_assert_uint_gt(world.refreshes, SEQUENCES * 5);
	ck_assert_uint_gt(world.failures, SEQUENCES * 5);
}
END_TEST

UNIT_MAIN("refresh_model", holds_what_it_promises_through_any_events)
