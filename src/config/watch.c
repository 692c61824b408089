#include "config/watch.h"

#include "base/log.h"
#include "base/message_id.h"
#include "config/trail.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* What may happen to each part of the way to a file. */
static const uint32_t masks[] = {
	[TRAIL_DIRECTORY] = IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
	[TRAIL_ENTRY] = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
			IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
	[TRAIL_FILE] = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF,
};

/* What the kernel tells of: an entry of a directory, or with the name "" the thing itself. */
struct point {
	int wd;
	struct trace *traces; /* whose way leads over it */
	char *name;
};

/* One file's way leads over one point. In two lists. */
struct trace {
	struct point *point;
	struct path *path;
	struct trace *next; /* of the point */
	struct trace **link; /* what points here */
	struct trace *next_of_path;
};

/* How a file looks; another one, or one with other content, looks different. */
struct looks {
	int error; /* of stat(), or 0 */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtim;
	struct timespec ctim;
};

struct path {
	struct path *next; /* of all */
	char *name;
	void **owners;
	size_t owner_count;
	struct trace *traces;
	struct looks looks;
	bool is_dirty; /* something happened on its way: look at it */
	bool is_written; /* its content changed, even if it looks the same */
	bool is_blind; /* cannot be watched: look at it now and then */
};

struct watch {
	struct loop *loop;
	watch_changed_fn changed;
	void *context;
	int fd; /* inotify's, or -1 */
	struct loop_watch readable;
	struct loop_timer settle; /* set while something is dirty */
	struct loop_timer look; /* set while something is blind */
	int64_t settle_most_ms; /* do not wait longer; 0: nothing is dirty */
	void *points; /* by wd and name; tsearch(3) */
	void *names; /* paths by name; tsearch(3) */
	struct path *paths;
	bool has_warned;
};

/* ---- what is told of ---- */

static int compare_points(const void *a, const void *b)
{
	const struct point *first = a;
	const struct point *second = b;
	if (first->wd != second->wd)
		return first->wd < second->wd ? -1 : 1;
	return strcmp(first->name, second->name);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct path *)a)->name, ((const struct path *)b)->name);
}

static struct point *find_point(const struct watch *watch, int wd, const char *name)
{
	const struct point key = {.wd = wd, .name = (char *)name};
	struct point **found = tfind(&key, &watch->points, compare_points);
	return found == NULL ? NULL : *found;
}

static void point_free(struct point *point)
{
	if (point != NULL)
		free(point->name);
	free(point);
}

static struct point *find_or_make_point(struct watch *watch, int wd, const char *name)
{
	struct point *point = find_point(watch, wd, name);
	if (point != NULL)
		return point;
	point = calloc(1, sizeof(*point));
	if (point == NULL)
		return NULL;
	point->wd = wd;
	point->name = strdup(name);
	if (point->name != NULL && tsearch(point, &watch->points, compare_points) != NULL)
		return point;
	point_free(point);
	return NULL;
}

/* Over a point that no way leads over any more, nothing is to be told. */
static void drop_point(struct watch *watch, struct point *point)
{
	if (point == NULL || point->traces != NULL)
		return;
	tdelete(point, &watch->points, compare_points);
	if (point->name[0] == '\0')
		inotify_rm_watch(watch->fd, point->wd);
	point_free(point);
}

static int add_trace(struct watch *watch, struct path *path, int wd, const char *name)
{
	struct point *point = find_or_make_point(watch, wd, name);
	struct trace *trace = point == NULL ? NULL : calloc(1, sizeof(*trace));
	if (trace == NULL) {
		drop_point(watch, point);
		return -1;
	}
	*trace = (struct trace){
		.point = point,
		.path = path,
		.next = point->traces,
		.link = &point->traces,
		.next_of_path = path->traces,
	};
	if (trace->next != NULL)
		trace->next->link = &trace->next;
	point->traces = trace;
	path->traces = trace;
	return 0;
}

static void drop_traces(struct watch *watch, struct trace *traces)
{
	while (traces != NULL) {
		struct trace *trace = traces;
		traces = trace->next_of_path;
		*trace->link = trace->next;
		if (trace->next != NULL)
			trace->next->link = trace->link;
		drop_point(watch, trace->point);
		free(trace);
	}
}

/* ---- the way to a file ---- */

struct walk {
	struct watch *watch;
	struct path *path;
};

static const char *advice_on(int errnum)
{
	switch (errnum) {
	case ENOSPC:
		return "raise fs.inotify.max_user_watches (sysctl)";
	case EMFILE:
		return "raise fs.inotify.max_user_instances (sysctl), or LimitNOFILE= of the unit";
	case EACCES:
		return "let the daemon's user read the directories on the way";
	default:
		return "if that is too late, reload after a change";
	}
}

/* Why what was wanted could not be watched. */
static void turn_blind(struct watch *watch, struct path *path, int errnum)
{
	path->is_blind = true;
	/* What vanished under the walk will be there the next time, or is not there to be watched.
	 */
	if (errnum == ENOENT || errnum == ENOTDIR || watch->has_warned)
		return;
	watch->has_warned = true;
	const struct log_field fields[] = {{"MESSAGE_ID", MESSAGE_FILES_UNWATCHED}, {0}};
	log_event(LOG_LEVEL_WARNING, fields,
		"cannot watch %s for a change: %s; what cannot be watched is looked at every %d s "
		"instead, and before each use; %s",
		path->name, strerror(errnum), (int)(WATCH_LOOK_MS / 1000), advice_on(errnum));
}

static void watch_part(void *context, enum trail_part part, const char *at, const char *name)
{
	const struct walk *walk = context;
	struct watch *watch = walk->watch;
	int wd = inotify_add_watch(
		watch->fd, at, masks[part] | IN_MASK_ADD | IN_DONT_FOLLOW | IN_EXCL_UNLINK);
	if (wd < 0) {
		/* Directories above that this user may pass but not read hardly ever move. */
		if (part != TRAIL_DIRECTORY || errno != EACCES)
			turn_blind(watch, walk->path, errno);
		return;
	}
	if (add_trace(watch, walk->path, wd, "") != 0 ||
		(name[0] != '\0' && add_trace(watch, walk->path, wd, name) != 0))
		turn_blind(watch, walk->path, ENOMEM);
}

/* Watch the way as it is now. What is watched already is so without a gap. */
static void follow(struct watch *watch, struct path *path)
{
	struct walk walk = {watch, path};
	struct trace *before = path->traces;
	path->traces = NULL;
	path->is_blind = false;
	if (watch->fd < 0)
		path->is_blind = true;
	else if (trail_follow(path->name, watch_part, &walk) != 0)
		turn_blind(watch, path, ELOOP);
	drop_traces(watch, before);
}

static struct looks look_at(const char *path)
{
	struct looks looks = {0};
	struct stat st;
	if (stat(path, &st) != 0) {
		looks.error = errno;
		return looks;
	}
	looks.dev = st.st_dev;
	looks.ino = st.st_ino;
	looks.size = st.st_size;
	looks.mtim = st.st_mtim;
	looks.ctim = st.st_ctim;
	return looks;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool are_same(const struct looks *a, const struct looks *b)
{
	return a->error == b->error && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       is_same_time(a->mtim, b->mtim) && is_same_time(a->ctim, b->ctim);
}

/* ---- what happens ---- */

static void look_soon(struct watch *watch)
{
	int64_t now_ms = loop_now_ms(watch->loop);
	if (watch->settle_most_ms == 0)
		watch->settle_most_ms = now_ms + WATCH_SETTLE_MOST_MS;
	int64_t due_ms = now_ms + WATCH_SETTLE_MS;
	loop_timer_set(watch->loop, &watch->settle,
		due_ms < watch->settle_most_ms ? due_ms : watch->settle_most_ms);
}

static void on_event(struct watch *watch, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW) {
		for (struct path *path = watch->paths; path != NULL; path = path->next)
			path->is_dirty = true;
		look_soon(watch);
		return;
	}
	const struct point *point =
		find_point(watch, event->wd, event->len == 0 ? "" : event->name);
	if (point == NULL)
		return;
	for (const struct trace *trace = point->traces; trace != NULL; trace = trace->next) {
		trace->path->is_dirty = true;
		if (event->mask & IN_MODIFY)
			trace->path->is_written = true;
	}
	look_soon(watch);
}

static void on_readable(void *context)
{
	struct watch *watch = context;
	char events[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t len = read(watch->fd, events, sizeof(events));
	for (ssize_t at = 0; at < len;) {
		const struct inotify_event *event = (const struct inotify_event *)(events + at);
		on_event(watch, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

/* Nothing has happened for a while: look at what did happen, and tell. */
static void on_settled(void *context)
{
	struct watch *watch = context;
	bool is_any_blind = false;
	watch->settle_most_ms = 0;
	for (struct path *path = watch->paths; path != NULL; path = path->next) {
		bool is_written = path->is_written;
		if (path->is_dirty) {
			/* Watched first: what changes after the look is told of next time. */
			follow(watch, path);
			path->is_dirty = path->is_written = false;
			struct looks looks = look_at(path->name);
			bool is_changed = is_written || !are_same(&looks, &path->looks);
			path->looks = looks;
			if (is_changed)
				watch->changed(watch->context, path->name, path->owners,
					path->owner_count);
		}
		is_any_blind = is_any_blind || path->is_blind;
	}
	if (is_any_blind)
		loop_timer_set(watch->loop, &watch->look, loop_now_ms(watch->loop) + WATCH_LOOK_MS);
}

static void on_look(void *context)
{
	struct watch *watch = context;
	for (struct path *path = watch->paths; path != NULL; path = path->next)
		path->is_dirty = path->is_dirty || path->is_blind;
	on_settled(watch);
}

/* ---- what is watched ---- */

struct watch *watch_new(
	struct loop *loop, watch_changed_fn changed, void *context, struct error *err)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	if (watch == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot watch files: out of memory");
		return NULL;
	}
	watch->loop = loop;
	watch->changed = changed;
	watch->context = context;
	watch->settle.fire = on_settled;
	watch->settle.context = watch;
	watch->look.fire = on_look;
	watch->look.context = watch;
	watch->fd = -1;
	return watch;
}

/* Opened with the first file: a daemon without secrets in files needs none. */
static void open_inotify(struct watch *watch, struct path *first)
{
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->fd < 0) {
		turn_blind(watch, first, errno);
		return;
	}
	watch->readable = (struct loop_watch){
		.fd = watch->fd,
		.events = POLLIN,
		.ready = on_readable,
		.context = watch,
	};
	loop_watch_start(watch->loop, &watch->readable);
}

static void path_free(struct path *path)
{
	free(path->owners);
	free(path->name);
	free(path);
}

static struct path *find_or_make_path(struct watch *watch, const char *name)
{
	const struct path key = {.name = (char *)name};
	struct path **found = tfind(&key, &watch->names, compare_paths);
	if (found != NULL)
		return *found;
	struct path *path = calloc(1, sizeof(*path));
	if (path == NULL)
		return NULL;
	path->name = strdup(name);
	if (path->name == NULL || tsearch(path, &watch->names, compare_paths) == NULL) {
		path_free(path);
		return NULL;
	}
	path->next = watch->paths;
	watch->paths = path;
	if (watch->fd < 0)
		open_inotify(watch, path);
	follow(watch, path);
	path->looks = look_at(path->name);
	if (path->is_blind && watch->look.node.position == 0)
		loop_timer_set(watch->loop, &watch->look, loop_now_ms(watch->loop) + WATCH_LOOK_MS);
	return path;
}

void watch_add(struct watch *watch, const char *path, void *owner)
{
	struct path *watched = find_or_make_path(watch, path);
	if (watched == NULL)
		return;
	/* Grown by doubling: the count is a power of two whenever it is full. */
	if ((watched->owner_count & (watched->owner_count - 1)) == 0) {
		size_t capacity = watched->owner_count == 0 ? 1 : 2 * watched->owner_count;
		void **owners = reallocarray(watched->owners, capacity, sizeof(*owners));
		if (owners == NULL)
			return;
		watched->owners = owners;
	}
	watched->owners[watched->owner_count++] = owner;
}

void watch_clear(struct watch *watch)
{
	while (watch->paths != NULL) {
		struct path *path = watch->paths;
		watch->paths = path->next;
		tdelete(path, &watch->names, compare_paths);
		drop_traces(watch, path->traces);
		path_free(path);
	}
	loop_timer_cancel(watch->loop, &watch->settle);
	loop_timer_cancel(watch->loop, &watch->look);
	watch->settle_most_ms = 0;
}

void watch_free(struct watch *watch)
{
	if (watch == NULL)
		return;
	watch_clear(watch);
	if (watch->fd >= 0) {
		loop_watch_stop(watch->loop, &watch->readable);
		close(watch->fd);
	}
	free(watch);
}
