/*
 * Waiting for another thread's answer without being deaf meanwhile.
 */
#ifndef MRTOKEND_BASE_ANSWER_WAIT_H
#define MRTOKEND_BASE_ANSWER_WAIT_H

#include <pthread.h>

/* What the waiting thread does again and again while it waits. A NULL function: nothing. */
struct meanwhile {
	void (*call)(void *context);
	void *context;
};

/*
 * As pthread_cond_wait(), and as that it may return early: wait in a loop. After a tenth of a
 * second it calls `meanwhile`, without the lock, and returns.
 */
void answer_wait(
	pthread_cond_t *answered, pthread_mutex_t *lock, const struct meanwhile *meanwhile);

#endif
