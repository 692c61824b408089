/*
 * Files for unit tests: a directory that goes with the test, and what is written to standard error.
 * Each test program that needs them includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_FILES_H
#define MRTOKEND_TESTS_UNIT_FILES_H

#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

static char directory[] = "/tmp/mrtokend-unit-XXXXXX";
static pid_t directory_owner;

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void directory_remove(void)
{
	if (getpid() == directory_owner)
		nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void directory_make(void)
{
	if (directory_owner == getpid())
		return;
	ck_assert_ptr_nonnull(mkdtemp(directory));
	directory_owner = getpid();
	ck_assert_int_eq(atexit(directory_remove), 0);
	ck_assert_int_eq(chmod(directory, 0711), 0);
}

/* The path of `name` there, in one of a few places that are used in turn. */
static inline const char *path_of(const char *name)
{
	static char paths[16][256];
	static size_t turn;
	char *path = paths[turn++ % UNIT_COUNT(paths)];
	directory_make();
	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static inline const char *write_bytes(const char *name, const char *bytes, size_t len)
{
	const char *path = path_of(name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
	ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}

static inline const char *write_file(const char *name, const char *content)
{
	return write_bytes(name, content, strlen(content));
}

static int saved_stderr;

static inline void capture_begin(void)
{
	int fd = open(path_of("stderr"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	saved_stderr = dup(STDERR_FILENO);
	ck_assert_int_ge(saved_stderr, 0);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

/* What was written since capture_begin(). */
static inline const char *capture_end(void)
{
	static char text[8192];
	ssize_t got = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	ck_assert_int_ge(got, 0);
	text[got] = '\0';
	return text;
}

#endif
