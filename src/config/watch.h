/*
 * Files that are watched for a change, by inotify: written in place, replaced by a rename, by
 * Kubernetes' swap of a link or by another directory in its parent's place, removed, and back
 * again. What cannot be watched (fs.inotify.max_user_watches, max_user_instances, a directory that
 * this user cannot read) is looked at every few seconds instead.
 *
 * All functions belong to the loop's thread, but for watch_new() and watch_free().
 */
#ifndef MRTOKEND_CONFIG_WATCH_H
#define MRTOKEND_CONFIG_WATCH_H

#include "base/error.h"
#include "base/loop.h"

#include <stddef.h>

/* A change is told once nothing has happened for so long, but not later than that after it. */
#define WATCH_SETTLE_MS INT64_C(100)
#define WATCH_SETTLE_MOST_MS INT64_C(1000)

/* How often a file is looked at that cannot be watched. */
#define WATCH_LOOK_MS INT64_C(10000)

struct watch;

/*
 * Called from within loop_run(), once for a file that may hold something else now, or is gone.
 * It does not change what is watched.
 * owners  who asked for the file, in no order
 */
typedef void (*watch_changed_fn)(
	void *context, const char *path, void *const *owners, size_t count);

/*
 * Without inotify it works all the same, by looking.
 * Returns NULL with *err: ERR_NO_MEMORY.
 */
struct watch *watch_new(
	struct loop *loop, watch_changed_fn changed, void *context, struct error *err);

/*
 * Watch the file for `owner` from now on; it need not exist.
 * path  absolute; copied
 * Without memory the file is not watched, and nobody is told of its change.
 */
void watch_add(struct watch *watch, const char *path, void *owner);

/* Watch nothing any more; what has changed and was not told yet is forgotten. */
void watch_clear(struct watch *watch);

/* NULL is fine. */
void watch_free(struct watch *watch);

#endif
