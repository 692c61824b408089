#include "emulator/stop.h"

#include <time.h>

int stop_init(struct stop *stop)
{
	pthread_condattr_t attributes;
	stop->is_stopping = false;
	if (pthread_condattr_init(&attributes) != 0)
		return -1;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	int result = pthread_cond_init(&stop->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	if (result != 0)
		return -1;
	pthread_mutex_init(&stop->lock, NULL);
	return 0;
}

void stop_destroy(struct stop *stop)
{
	pthread_cond_destroy(&stop->wake);
	pthread_mutex_destroy(&stop->lock);
}

void stop_now(struct stop *stop)
{
	pthread_mutex_lock(&stop->lock);
	stop->is_stopping = true;
	pthread_cond_broadcast(&stop->wake);
	pthread_mutex_unlock(&stop->lock);
}

bool stop_wait(struct stop *stop, int64_t ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&stop->lock);
	int result = 0;
	while (!stop->is_stopping && result == 0)
		result = pthread_cond_timedwait(&stop->wake, &stop->lock, &until);
	bool is_stopping = stop->is_stopping;
	pthread_mutex_unlock(&stop->lock);
	return is_stopping;
}
