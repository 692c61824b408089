/*
 * The end of the program, for threads that wait: a delayed answer, a slow body, a reader of
 * requests to come. Whoever waits here wakes at once when the program is to stop.
 */
#ifndef MRTOKEND_EMULATOR_STOP_H
#define MRTOKEND_EMULATOR_STOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct stop {
	pthread_mutex_t lock; /* guards is_stopping; no other lock is taken while it is held */
	pthread_cond_t wake;
	bool is_stopping;
};

/* Returns 0, or -1 when the system refuses a condition variable. */
int stop_init(struct stop *stop);

/* No thread may be waiting. */
void stop_destroy(struct stop *stop);

/* Wake all who wait, now and from now on. Any thread. */
void stop_now(struct stop *stop);

/* Wait `ms` milliseconds, or until the program stops. Returns whether it stops. Any thread. */
bool stop_wait(struct stop *stop, int64_t ms);

#endif
