#include "service/cache_store.h"

#include "base/log.h"
#include "base/message_id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Behind it stands the generation. */
#define NAME_PREFIX "mrtokend-tokens-"

/* While an image is replaced there are two. */
#define DESCRIPTORS_LEAST 2

void cache_pace_changed(struct cache_pace *pace, int64_t now_ms)
{
	if (!pace->is_waiting)
		pace->first_ms = now_ms;
	pace->last_ms = now_ms;
	pace->is_waiting = true;
}

void cache_pace_written(struct cache_pace *pace, int64_t now_ms)
{
	pace->is_waiting = false;
	pace->has_written = true;
	pace->written_ms = now_ms;
}

int64_t cache_pace_due_ms(const struct cache_pace *pace)
{
	if (!pace->is_waiting)
		return CACHE_STORE_NEVER;
	int64_t due_ms = pace->last_ms + CACHE_STORE_SETTLE_MS;
	if (due_ms > pace->first_ms + CACHE_STORE_PACE_MS)
		due_ms = pace->first_ms + CACHE_STORE_PACE_MS;
	if (pace->has_written && due_ms < pace->written_ms + CACHE_STORE_PACE_MS)
		due_ms = pace->written_ms + CACHE_STORE_PACE_MS;
	return due_ms;
}

void cache_store_open(struct cache_store *store)
{
	struct error err = ERROR_INIT;
	*store = (struct cache_store){0};
	int64_t room = service_store_room();
	if (room == 0)
		return;
	if (room < DESCRIPTORS_LEAST)
		log_warning("tokens are not kept over a restart: the service manager keeps %" PRId64
			    " descriptor, expected %d or more; raise FileDescriptorStoreMax= and "
			    "$FDSTORE of the unit",
			room, DESCRIPTORS_LEAST);
	else if (service_boot_id(store->boot, &err) != 0)
		log_warning("tokens are not kept over a restart: %s", err.message);
	else
		store->is_used = true;
}

static void refuse(const char *name, const struct error *err)
{
	const struct log_field fields[] = {{"MESSAGE_ID", MESSAGE_KEPT_TOKENS_REFUSED}, {0}};
	log_event(LOG_LEVEL_WARNING, fields,
		"the tokens that the process before kept ('%s') are refused, and fetched anew: %s",
		name, err->message);
}

static struct cache_moment moment_of(const struct cache_store *store, int64_t now_ms)
{
	struct cache_moment moment = {.now_ms = now_ms};
	memcpy(moment.boot, store->boot, sizeof(moment.boot));
	return moment;
}

/* The newest good one of what was stored, and which it is; or NULL. */
static struct cache_image *open_newest(struct cache_store *store,
	const struct passed_socket *stored, size_t count, const struct cache_moment *moment,
	size_t *which)
{
	struct cache_image *newest = NULL;
	for (size_t i = 0; i < count; i++) {
		struct error err = ERROR_INIT;
		if (strlen(stored[i].name) >= CACHE_STORE_NAME_SIZE) {
			error_set(&err, ERR_SYSTEM, "found a name that no image is given");
			refuse(stored[i].name, &err);
			continue;
		}
		struct cache_image *image = cache_image_open(stored[i].fd, moment, &err);
		if (image == NULL) {
			refuse(stored[i].name, &err);
			continue;
		}
		uint64_t generation = cache_image_generation(image);
		if (newest != NULL && generation <= store->generation) {
			cache_image_close(image);
			continue;
		}
		cache_image_close(newest);
		newest = image;
		store->generation = generation;
		*which = i;
	}
	return newest;
}

static void tell(
	const char *name, const struct account_table *table, const struct cache_takeover *takeover)
{
	struct error err = takeover->first_err;
	if (takeover->unfit == 0 && takeover->taken == 0 && takeover->strange > 0)
		error_set(&err, ERR_CONFIGURATION,
			"found tokens of another configuration: none of %zu is of an account as it "
			"is now",
			takeover->strange);
	if (err.code != ERR_NONE)
		refuse(name, &err);
	if (takeover->taken > 0 || err.code == ERR_NONE)
		log_notice("took over the tokens of %zu of %zu accounts from the process before; "
			   "left out: %zu expired, %zu of another configuration, %zu unfit",
			takeover->taken, table->count, takeover->expired, takeover->strange,
			takeover->unfit);
}

void cache_store_take(struct cache_store *store, const struct passed_socket *stored, size_t count,
	struct account_table *table, const struct answer_maker *maker, int64_t now_ms)
{
	size_t which = count;
	struct cache_takeover takeover;
	const struct cache_moment moment = moment_of(store, now_ms);
	struct cache_image *image =
		store->is_used ? open_newest(store, stored, count, &moment, &which) : NULL;
	for (size_t i = 0; i < count; i++)
		if (i != which)
			service_store_remove(stored[i].name);
	if (image == NULL)
		return;
	cache_image_take(image, &moment, table, maker, &takeover);
	cache_image_close(image);
	snprintf(store->name, sizeof(store->name), "%s", stored[which].name);
	store->fingerprint = cache_image_fingerprint(table, now_ms);
	/* What was not taken is not to stay there for longer than it must. */
	store->is_stale = takeover.expired + takeover.strange + takeover.unfit > 0;
	tell(stored[which].name, table, &takeover);
}

void cache_store_changed(struct cache_store *store, bool by_configuration, int64_t now_ms)
{
	if (!store->is_used)
		return;
	store->is_stale = store->is_stale || by_configuration;
	cache_pace_changed(&store->pace, now_ms);
}

int64_t cache_store_due_ms(const struct cache_store *store)
{
	return cache_pace_due_ms(&store->pace);
}

/* Put a new image in the place of the one that is there. */
static int replace(struct cache_store *store, const struct account_table *table, int64_t now_ms,
	struct error *err)
{
	char name[CACHE_STORE_NAME_SIZE];
	const struct cache_moment moment = moment_of(store, now_ms);
	int fd = cache_image_write(table, &moment, store->generation + 1, err);
	if (fd < 0)
		return -1;
	snprintf(name, sizeof(name), NAME_PREFIX "%" PRIu64, store->generation + 1);
	int result = service_store(name, fd, err);
	close(fd); /* the manager has one of its own */
	if (result != 0)
		return -1;
	store->generation++;
	if (store->name[0] != '\0')
		service_store_remove(store->name);
	memcpy(store->name, name, sizeof(store->name));
	return 0;
}

void cache_store_write(struct cache_store *store, const struct account_table *table, int64_t now_ms)
{
	struct error err = ERROR_INIT;
	if (!store->is_used)
		return;
	uint64_t fingerprint = cache_image_fingerprint(table, now_ms);
	if (fingerprint == store->fingerprint && !store->is_stale) {
		store->pace.is_waiting = false;
		return;
	}
	cache_pace_written(&store->pace, now_ms);
	if (fingerprint != 0 && replace(store, table, now_ms, &err) != 0) {
		if (!store->has_failed)
			log_warning("cannot keep the tokens for the next process: %s; trying again "
				    "with the next change",
				err.message);
		store->has_failed = true;
		return;
	}
	if (fingerprint == 0 && store->name[0] != '\0') {
		service_store_remove(store->name);
		store->name[0] = '\0';
	}
	store->fingerprint = fingerprint;
	store->is_stale = false;
	store->has_failed = false;
}
