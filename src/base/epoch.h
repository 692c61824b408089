/*
 * Shared without locks: readers use what is published, writers put something new in its place, and
 * the old is freed once no reader can still be looking at it.
 *
 * A reader enters before it looks and leaves when it has done with all that it saw; between the two
 * it must not wait for anything. A writer first replaces the published pointer, then retires the
 * old object. Freeing happens in epoch_reclaim(), on the thread that calls it.
 *
 * The published pointer is loaded and replaced by plain atomic_load() and atomic_exchange(), that
 * is, sequentially consistent: an acquiring load may pass the store of epoch_enter() on some
 * processors.
 */
#ifndef MRTOKEND_BASE_EPOCH_H
#define MRTOKEND_BASE_EPOCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EPOCH_READERS_MAX 8

typedef void (*epoch_free_fn)(void *object);

struct epoch_retired {
	struct epoch_retired *next;
	void *object;
	epoch_free_fn free_object;
	uint_fast64_t since;
};

struct epoch {
	/* What each reader saw of `now` as it entered; 0 while it is outside. */
	_Alignas(64) atomic_uint_fast64_t readers[EPOCH_READERS_MAX];
	atomic_uint_fast64_t now; /* never 0 */
	pthread_mutex_t lock; /* guards the list; readers never take it */
	struct epoch_retired *retired;
};

void epoch_init(struct epoch *epoch);

/* Frees whatever is still retired; no reader may be inside. */
void epoch_destroy(struct epoch *epoch);

/* Reader `reader` (0 to EPOCH_READERS_MAX - 1, one thread each) begins to look. Never waits. */
static inline void epoch_enter(struct epoch *epoch, unsigned reader)
{
	atomic_store(&epoch->readers[reader], atomic_load(&epoch->now));
}

/* It holds nothing more of what it saw. */
static inline void epoch_leave(struct epoch *epoch, unsigned reader)
{
	atomic_store_explicit(&epoch->readers[reader], 0, memory_order_release);
}

/*
 * Free `object` once every reader that may have seen it has left. It must be out of reach of new
 * readers already. Any thread but a reader inside. NULL is fine. Without memory for the entry, it
 * waits for the readers and frees at once.
 */
void epoch_retire(struct epoch *epoch, void *object, epoch_free_fn free_object);

/* Free what can be freed by now. Returns whether something is left. Any thread but a reader inside.
 */
bool epoch_reclaim(struct epoch *epoch);

#endif
