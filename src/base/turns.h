/*
 * Turns: no more than so many at a time of whatever runs on a loop, first come, first served. One
 * thread.
 */
#ifndef MRTOKEND_BASE_TURNS_H
#define MRTOKEND_BASE_TURNS_H

#include "base/loop.h"

struct turns {
	unsigned most; /* at a time */
	unsigned taken;
	struct turn *first; /* of those that wait */
	struct turn *last;
};

/* Embedded in whatever wants a turn. */
struct turn {
	struct turn *next;
	struct loop *loop;
	struct loop_timer *timer;
};

/*
 * Ask for a turn: the timer fires when it has come, but not before loop_run(). Until then the timer
 * stays set, so that its owner can set it without failing.
 * Returns 0, or -1 when there is no memory, and nothing was asked for.
 */
int turns_ask(struct turns *turns, struct turn *turn, struct loop *loop, struct loop_timer *timer);

/* Give it back, or stop waiting for it. The next one gets it. Once for each turns_ask(). */
void turns_give_back(struct turns *turns, struct turn *turn);

#endif
