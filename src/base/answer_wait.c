#include "base/answer_wait.h"

#include <errno.h>
#include <time.h>

#define PATIENCE_NS 100000000

void answer_wait(pthread_cond_t *answered, pthread_mutex_t *lock, const struct meanwhile *meanwhile)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += PATIENCE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	if (pthread_cond_clockwait(answered, lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT ||
		meanwhile->call == NULL)
		return;
	pthread_mutex_unlock(lock);
	meanwhile->call(meanwhile->context);
	pthread_mutex_lock(lock);
}
