#include "base/epoch.h"

#include <sched.h>
#include <stdlib.h>

void epoch_init(struct epoch *epoch)
{
	atomic_init(&epoch->now, 1);
	for (size_t i = 0; i < EPOCH_READERS_MAX; i++)
		atomic_init(&epoch->readers[i], 0);
	pthread_mutex_init(&epoch->lock, NULL);
	epoch->retired = NULL;
}

void epoch_destroy(struct epoch *epoch)
{
	while (epoch_reclaim(epoch))
		;
	pthread_mutex_destroy(&epoch->lock);
}

/* Whether every reader that was inside at `since` has left. */
static bool have_left(const struct epoch *epoch, uint_fast64_t since)
{
	for (size_t i = 0; i < EPOCH_READERS_MAX; i++) {
		uint_fast64_t seen = atomic_load(&epoch->readers[i]);
		if (seen != 0 && seen <= since)
			return false;
	}
	return true;
}

void epoch_retire(struct epoch *epoch, void *object, epoch_free_fn free_object)
{
	if (object == NULL)
		return;
	/* A reader that enters from here on stores a later epoch, or stored this one after the
	 * pointer was replaced; in both cases it cannot have seen the object, or it is waited for.
	 */
	uint_fast64_t since = atomic_fetch_add(&epoch->now, 1);
	struct epoch_retired *entry = malloc(sizeof(*entry));
	if (entry == NULL) {
		while (!have_left(epoch, since))
			sched_yield();
		free_object(object);
		return;
	}
	*entry = (struct epoch_retired){
		.object = object,
		.free_object = free_object,
		.since = since,
	};
	pthread_mutex_lock(&epoch->lock);
	entry->next = epoch->retired;
	epoch->retired = entry;
	pthread_mutex_unlock(&epoch->lock);
}

bool epoch_reclaim(struct epoch *epoch)
{
	struct epoch_retired *free_now = NULL;
	pthread_mutex_lock(&epoch->lock);
	struct epoch_retired **link = &epoch->retired;
	while (*link != NULL) {
		struct epoch_retired *entry = *link;
		if (have_left(epoch, entry->since)) {
			*link = entry->next;
			entry->next = free_now;
			free_now = entry;
		} else {
			link = &entry->next;
		}
	}
	pthread_mutex_unlock(&epoch->lock);
	while (free_now != NULL) {
		struct epoch_retired *entry = free_now;
		free_now = entry->next;
		entry->free_object(entry->object);
		free(entry);
	}
	/* Freeing may have retired more. */
	pthread_mutex_lock(&epoch->lock);
	bool is_left = epoch->retired != NULL;
	pthread_mutex_unlock(&epoch->lock);
	return is_left;
}
