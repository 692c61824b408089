/*
 * Whether a thread still goes round its loop. Another thread asks, which wakes it; it answers when
 * it next comes round. One that sleeps until something happens answers therefore as well as a busy
 * one, and one that is stuck, in a loop or in a call, does not.
 */
#ifndef MRTOKEND_BASE_HEARTBEAT_H
#define MRTOKEND_BASE_HEARTBEAT_H

#include <stdatomic.h>
#include <stdbool.h>

struct heartbeat {
	const char *thread; /* its name, for people */
	void (*wake)(void *context); /* makes it come round; any thread; never waits */
	void *context;
	int answer_fd; /* an eventfd that an answer is told by */
	atomic_uint asked;
	atomic_uint answered;
};

/* Before the thread starts. */
void heartbeat_init(struct heartbeat *heartbeat, const char *thread, void (*wake)(void *context),
	void *context);

/*
 * Ask the thread for a sign of life; one thread at a time asks. A question that is not answered yet
 * is asked again.
 * answer_fd  is written to when the answer comes; the same one for every question
 */
void heartbeat_ask(struct heartbeat *heartbeat, int answer_fd);

/* Whether the last question was answered. The thread that asks. */
bool heartbeat_is_answered(const struct heartbeat *heartbeat);

void heartbeat_tell(struct heartbeat *heartbeat, unsigned asked);

/* In each round of the thread's loop. Without a question these are two loads. */
static inline void heartbeat_answer(struct heartbeat *heartbeat)
{
	unsigned asked = atomic_load_explicit(&heartbeat->asked, memory_order_acquire);
	if (asked != atomic_load_explicit(&heartbeat->answered, memory_order_relaxed))
		heartbeat_tell(heartbeat, asked);
}

#endif
