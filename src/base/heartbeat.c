#include "base/heartbeat.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

void heartbeat_init(
	struct heartbeat *heartbeat, const char *thread, void (*wake)(void *context), void *context)
{
	heartbeat->thread = thread;
	heartbeat->wake = wake;
	heartbeat->context = context;
	heartbeat->answer_fd = -1;
	atomic_init(&heartbeat->asked, 0);
	atomic_init(&heartbeat->answered, 0);
}

void heartbeat_ask(struct heartbeat *heartbeat, int answer_fd)
{
	/* Only ever written before the first question, so the thread reads it without a race. */
	if (heartbeat->answer_fd != answer_fd)
		heartbeat->answer_fd = answer_fd;
	if (heartbeat_is_answered(heartbeat))
		atomic_fetch_add_explicit(&heartbeat->asked, 1, memory_order_release);
	heartbeat->wake(heartbeat->context);
}

bool heartbeat_is_answered(const struct heartbeat *heartbeat)
{
	return atomic_load_explicit(&heartbeat->answered, memory_order_acquire) ==
	       atomic_load_explicit(&heartbeat->asked, memory_order_relaxed);
}

void heartbeat_tell(struct heartbeat *heartbeat, unsigned asked)
{
	const uint64_t one = 1;
	atomic_store_explicit(&heartbeat->answered, asked, memory_order_release);
	/* A counter that is full has been written to, which is all that matters. */
	while (write(heartbeat->answer_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}
