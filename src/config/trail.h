/*
 * The way to a file: everything whose change can make a path name another file, or the file hold
 * something else. Links are followed as the kernel does, wherever they stand. Any thread.
 */
#ifndef MRTOKEND_CONFIG_TRAIL_H
#define MRTOKEND_CONFIG_TRAIL_H

enum trail_part {
	TRAIL_DIRECTORY, /* a directory on the way: it may be moved or removed */
	TRAIL_ENTRY, /* an entry of a directory: a link, the file itself, or what is missing */
	TRAIL_FILE, /* the file at the end */
};

/*
 * Called for each part before it is looked at, so that whoever watches it misses nothing.
 * at    the directory or file, without links in its path
 * name  of the entry of the directory `at`; else ""
 */
typedef void (*trail_fn)(void *context, enum trail_part part, const char *at, const char *name);

/*
 * Follow an absolute path to its end, or to what is missing or cannot be searched.
 * Returns 0; or -1 when there are too many links in it, or it is too long.
 */
int trail_follow(const char *path, trail_fn visit, void *context);

#endif
