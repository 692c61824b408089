/*
 * The tokens in the service manager's descriptor store: taken over from the process before, and
 * kept there for the next one. One image is kept, and a newer one is added before the older one is
 * removed, so that there is always one, or two of which the newer is known by its generation.
 * The main thread.
 */
#ifndef MRTOKEND_SERVICE_CACHE_STORE_H
#define MRTOKEND_SERVICE_CACHE_STORE_H

#include "service/cache_image.h"
#include "service/systemd.h"

#include <stdbool.h>
#include <stdint.h>

/* A burst of changes is one image, written when this much time brought no other change, */
#define CACHE_STORE_SETTLE_MS INT64_C(20)
/* but after this much time in any case; and no sooner after the last image. */
#define CACHE_STORE_PACE_MS INT64_C(1000)

#define CACHE_STORE_NEVER INT64_MAX

/* When to write. Times are CLOCK_BOOTTIME. */
struct cache_pace {
	bool is_waiting; /* for something to be written */
	bool has_written;
	int64_t first_ms; /* the first and the last change that wait */
	int64_t last_ms;
	int64_t written_ms;
};

/* Pure: something has changed; it was written, or need not be; when to write. */
void cache_pace_changed(struct cache_pace *pace, int64_t now_ms);
void cache_pace_written(struct cache_pace *pace, int64_t now_ms);
int64_t cache_pace_due_ms(const struct cache_pace *pace);

#define CACHE_STORE_NAME_SIZE 48

struct cache_store {
	bool is_used; /* there is a manager that keeps descriptors, and the boot is known */
	bool has_failed; /* and it was said so */
	bool is_stale; /* the image has more or other accounts than there are now */
	unsigned char boot[CACHE_IMAGE_BOOT_SIZE];
	uint64_t generation; /* of the newest image that was seen or made */
	uint64_t fingerprint; /* of what is in the store; 0: nothing */
	char name[CACHE_STORE_NAME_SIZE]; /* of the image there, or "" */
	struct cache_pace pace;
};

/* Find out whether there is a store. What is wrong is logged, and then none is used. */
void cache_store_open(struct cache_store *store);

/*
 * Take over the tokens of the newest good image. Whatever else was stored is removed from the
 * store, and what is not good is logged with the reason.
 * stored  stay the caller's
 * table   of nobody else yet
 */
void cache_store_take(struct cache_store *store, const struct passed_socket *stored, size_t count,
	struct account_table *table, const struct answer_maker *maker, int64_t now_ms);

/* An account's state may have changed; `by_configuration`: the accounts have. */
void cache_store_changed(struct cache_store *store, bool by_configuration, int64_t now_ms);

/* When cache_store_write() is to be called next: CLOCK_BOOTTIME, or CACHE_STORE_NEVER. */
int64_t cache_store_due_ms(const struct cache_store *store);

/*
 * Bring the store up to date, if it is not. A failure is logged, and what is in the store stays.
 * Between epoch_enter() and epoch_leave().
 */
void cache_store_write(
	struct cache_store *store, const struct account_table *table, int64_t now_ms);

#endif
