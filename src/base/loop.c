#include "base/loop.h"

#include "base/http_client.h"

#include <limits.h>
#include <stdlib.h>

struct loop {
	const struct clock *clock;
	struct http_client *http;
	struct heap timers;
	struct loop_watch *watches;
	size_t watch_count;
	struct pollfd *polls;
	struct loop_watch **polled; /* whose descriptor it is; NULL once it was stopped */
	size_t poll_count;
	size_t poll_capacity;
};

struct loop *loop_new(const struct clock *clock, struct error *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (loop == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make an event loop: out of memory");
		return NULL;
	}
	loop->clock = clock;
	loop->http = http_client_new(clock, err);
	if (loop->http == NULL) {
		free(loop);
		return NULL;
	}
	return loop;
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	http_client_free(loop->http);
	heap_free(&loop->timers);
	free(loop->polls);
	free(loop->polled);
	free(loop);
}

struct http_client *loop_http(const struct loop *loop)
{
	return loop->http;
}

const struct clock *loop_clock(const struct loop *loop)
{
	return loop->clock;
}

int64_t loop_now_ms(const struct loop *loop)
{
	return clock_boottime_ms(loop->clock);
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_ms)
{
	if (timer->node.position == 0 && loop->timers.count == loop->timers.capacity &&
		heap_reserve(&loop->timers, 2 * loop->timers.count + 8) != 0)
		return -1;
	timer->node.owner = timer;
	heap_put(&loop->timers, &timer->node, due_ms);
	return 0;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	heap_remove(&loop->timers, &timer->node);
}

void loop_watch_start(struct loop *loop, struct loop_watch *watch)
{
	watch->previous = NULL;
	watch->next = loop->watches;
	if (loop->watches != NULL)
		loop->watches->previous = watch;
	loop->watches = watch;
	loop->watch_count++;
}

void loop_watch_stop(struct loop *loop, struct loop_watch *watch)
{
	if (loop->watches != watch && watch->previous == NULL)
		return;
	if (watch->previous != NULL)
		watch->previous->next = watch->next;
	else
		loop->watches = watch->next;
	if (watch->next != NULL)
		watch->next->previous = watch->previous;
	watch->previous = watch->next = NULL;
	loop->watch_count--;
	/* What was found ready together with another one may be stopped by that one. */
	for (size_t i = 0; i < loop->poll_count; i++)
		if (loop->polled[i] == watch)
			loop->polled[i] = NULL;
}

/* List what is watched. Without memory for all, the rest is looked at in a later round. */
static void prepare_polls(struct loop *loop)
{
	if (loop->watch_count > loop->poll_capacity) {
		size_t capacity = 2 * loop->watch_count;
		struct pollfd *polls = reallocarray(loop->polls, capacity, sizeof(*polls));
		if (polls != NULL)
			loop->polls = polls;
		struct loop_watch **polled =
			reallocarray(loop->polled, capacity, sizeof(struct loop_watch *));
		if (polled != NULL)
			loop->polled = polled;
		if (polls != NULL && polled != NULL)
			loop->poll_capacity = capacity;
	}
	loop->poll_count = 0;
	for (struct loop_watch *w = loop->watches;
		w != NULL && loop->poll_count < loop->poll_capacity; w = w->next) {
		loop->polls[loop->poll_count] = (struct pollfd){.fd = w->fd, .events = w->events};
		loop->polled[loop->poll_count++] = w;
	}
}

static void fire_timers(struct loop *loop)
{
	/* Those that are set while others fire are for the next round: none can hold the loop. */
	int64_t now_ms = loop_now_ms(loop);
	size_t count = loop->timers.count;
	struct heap_node *node;
	while (count-- > 0 && (node = heap_first(&loop->timers)) != NULL &&
		node->due_ms <= now_ms) {
		struct loop_timer *timer = node->owner;
		heap_remove(&loop->timers, node);
		timer->fire(timer->context);
	}
}

void loop_run(struct loop *loop, int64_t most_ms)
{
	const struct heap_node *first = heap_first(&loop->timers);
	if (first != NULL) {
		int64_t until_due = first->due_ms - loop_now_ms(loop);
		if (until_due < most_ms)
			most_ms = until_due < 0 ? 0 : until_due;
	}
	prepare_polls(loop);
	http_client_run_with(loop->http, loop->polls, loop->poll_count,
		most_ms > INT_MAX ? INT_MAX : (int)most_ms);
	for (size_t i = 0; i < loop->poll_count; i++)
		if (loop->polls[i].revents != 0 && loop->polled[i] != NULL) {
			loop->polled[i]->revents = loop->polls[i].revents;
			loop->polled[i]->ready(loop->polled[i]->context);
		}
	loop->poll_count = 0;
	fire_timers(loop);
}

void loop_wake(struct loop *loop)
{
	http_client_wake(loop->http);
}
