#include "base/turns.h"

#include <stdbool.h>
#include <stddef.h>

int turns_ask(struct turns *turns, struct turn *turn, struct loop *loop, struct loop_timer *timer)
{
	bool is_free = turns->taken < turns->most;
	if (loop_timer_set(loop, timer, is_free ? loop_now_ms(loop) : INT64_MAX) != 0)
		return -1;
	*turn = (struct turn){.loop = loop, .timer = timer};
	if (is_free) {
		turns->taken++;
		return 0;
	}
	if (turns->last == NULL)
		turns->first = turn;
	else
		turns->last->next = turn;
	turns->last = turn;
	return 0;
}

/* Returns whether it was waiting. */
static bool leave_queue(struct turns *turns, struct turn *turn)
{
	struct turn *previous = NULL;
	for (struct turn *t = turns->first; t != NULL; previous = t, t = t->next) {
		if (t != turn)
			continue;
		if (previous == NULL)
			turns->first = turn->next;
		else
			previous->next = turn->next;
		if (turns->last == turn)
			turns->last = previous;
		return true;
	}
	return false;
}

void turns_give_back(struct turns *turns, struct turn *turn)
{
	if (leave_queue(turns, turn))
		return;
	struct turn *next = turns->first;
	if (next == NULL) {
		turns->taken--;
		return;
	}
	turns->first = next->next;
	if (turns->first == NULL)
		turns->last = NULL;
	/* It is set already, and moving it cannot fail. */
	(void)loop_timer_set(next->loop, next->timer, loop_now_ms(next->loop));
}
