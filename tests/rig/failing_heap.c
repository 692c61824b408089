/*
 * Preloaded into a program with the wiping heap: its allocations are counted, and one of them fails
 * when the test wants that. The test maps the file FAILING_HEAP and sets `countdown`: 1 has the
 * next allocation of any thread fail, 2 the one after it, and so on; 0 none.
 *
 * Counted are malloc(), calloc(), realloc() and their kin, of whichever library, as they arrive at
 * glibc's own, and mmap() where the program maps memory of its own accord.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct control {
	_Atomic int64_t countdown;
	_Atomic int64_t calls;
	_Atomic int64_t live; /* allocated and not freed, without mmap() */
	_Atomic int64_t failed;
} own, *control = &own;

typedef void *malloc_fn(size_t);
typedef void *calloc_fn(size_t, size_t);
typedef void free_fn(void *);
typedef void *mmap_fn(void *, size_t, int, int, int, off_t);

static void *real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);
	if (found == NULL)
		abort();
	return found;
}

#define REAL(type, name)       \
	static type *function; \
	if (function == NULL)  \
	function = (type *)real(name)

/* Counts one; whether it is to fail. */
static int fails(void)
{
	atomic_fetch_add(&control->calls, 1);
	int64_t left = atomic_load(&control->countdown);
	while (left > 0 && !atomic_compare_exchange_weak(&control->countdown, &left, left - 1))
		;
	if (left != 1)
		return 0;
	atomic_fetch_add(&control->failed, 1);
	errno = ENOMEM;
	return 1;
}

static void *counted(void *place)
{
	if (place != NULL)
		atomic_fetch_add(&control->live, 1);
	return place;
}

void *__libc_malloc(size_t size)
{
	REAL(malloc_fn, "__libc_malloc");
	return fails() ? NULL : counted(function(size));
}

void *__libc_calloc(size_t count, size_t size)
{
	REAL(calloc_fn, "__libc_calloc");
	return fails() ? NULL : counted(function(count, size));
}

void *__libc_memalign(size_t alignment, size_t size)
{
	REAL(calloc_fn, "__libc_memalign");
	return fails() ? NULL : counted(function(alignment, size));
}

void __libc_free(void *place)
{
	REAL(free_fn, "__libc_free");
	if (place != NULL)
		atomic_fetch_sub(&control->live, 1);
	function(place);
}

void *mmap(void *place, size_t size, int protection, int flags, int fd, off_t offset)
{
	REAL(mmap_fn, "mmap");
	return fails() ? MAP_FAILED : function(place, size, protection, flags, fd, offset);
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("FAILING_HEAP");
	int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return; /* of a program that this one runs */
	void *map = mmap(NULL, sizeof(own), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED) {
		dprintf(2, "failing_heap: cannot map FAILING_HEAP\n");
		_exit(127);
	}
	control = map;
}
