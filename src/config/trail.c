#include "config/trail.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As many links as the kernel follows; what changes under the walk counts as one too. */
#define TURNS_MAX 40

struct trail {
	char done[PATH_MAX]; /* without links, and without a slash at the end: "" is the root */
	char rest[PATH_MAX]; /* still to be followed */
	unsigned turns;
	trail_fn visit;
	void *context;
};

/* Move the next name from `rest` to `name`. Returns whether there is one. */
static bool take_name(struct trail *trail, char name[NAME_MAX + 1])
{
	const char *start = trail->rest + strspn(trail->rest, "/");
	size_t len = strcspn(start, "/");
	if (len == 0 || len > NAME_MAX)
		return false;
	memcpy(name, start, len);
	name[len] = '\0';
	memmove(trail->rest, start + len, strlen(start + len) + 1);
	return true;
}

/* Put `start` before what is still to be followed. Returns 0, or -1: it is too long. */
static int put_back(struct trail *trail, const char *start)
{
	char rest[PATH_MAX];
	int len = snprintf(rest, sizeof(rest), "%s%s", start, trail->rest);
	if (len < 0 || (size_t)len >= sizeof(rest) || ++trail->turns > TURNS_MAX)
		return -1;
	memcpy(trail->rest, rest, (size_t)len + 1);
	return 0;
}

static int follow_link(struct trail *trail, const char *at)
{
	char target[PATH_MAX];
	ssize_t len = readlink(at, target, sizeof(target) - 1);
	if (len <= 0)
		return -1;
	target[len] = '\0';
	if (target[0] == '/')
		trail->done[0] = '\0';
	return put_back(trail, target);
}

/* One name further. Returns 1 to go on, 0 at the end, -1 when it leads nowhere. */
static int follow_name(struct trail *trail, const char *name)
{
	char at[PATH_MAX];
	struct stat st;
	int len = snprintf(at, sizeof(at), "%s/%s", trail->done, name);
	if (len < 0 || (size_t)len >= sizeof(at))
		return -1;
	bool is_there = lstat(at, &st) == 0;
	if (is_there && S_ISDIR(st.st_mode)) {
		trail->visit(trail->context, TRAIL_DIRECTORY, at, "");
		memcpy(trail->done, at, (size_t)len + 1);
		return 1;
	}
	trail->visit(trail->context, TRAIL_ENTRY, trail->done[0] == '\0' ? "/" : trail->done, name);
	is_there = lstat(at, &st) == 0;
	if (is_there && S_ISDIR(st.st_mode)) {
		/* Made just now. */
		char again[NAME_MAX + 2];
		snprintf(again, sizeof(again), "/%s", name);
		return put_back(trail, again) == 0 ? 1 : -1;
	}
	if (is_there && S_ISLNK(st.st_mode))
		return follow_link(trail, at) == 0 ? 1 : -1;
	if (is_there)
		trail->visit(trail->context, TRAIL_FILE, at, "");
	return 0;
}

int trail_follow(const char *path, trail_fn visit, void *context)
{
	struct trail trail = {.visit = visit, .context = context};
	char name[NAME_MAX + 1];
	if (strlen(path) >= sizeof(trail.rest))
		return -1;
	memcpy(trail.rest, path, strlen(path) + 1);
	int result = 1;
	while (result == 1 && take_name(&trail, name)) {
		char *end = strrchr(trail.done, '/');
		if (strcmp(name, "..") == 0 && end != NULL)
			*end = '\0';
		else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			result = follow_name(&trail, name);
	}
	return result < 0 || (result == 1 && trail.rest[strspn(trail.rest, "/")] != '\0') ? -1 : 0;
}
