#include <stdlib.h>

#include "base/wiping_heap.h"

#if WIPING_HEAP_IS_THERE

#include <malloc.h>
#include <string.h>

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the library's names are its own

/* glibc's own functions, under the names that it exports for this purpose. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *pointer);

void free(void *pointer)
{
	if (pointer == NULL)
		return;
	explicit_bzero(pointer, malloc_usable_size(pointer));
	__libc_free(pointer);
}

void *malloc(size_t size)
{
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return __libc_calloc(count, size);
}

/* Never glibc's: that would leave the old place as it was. */
void *realloc(void *pointer, size_t size)
{
	if (pointer == NULL)
		return __libc_malloc(size);
	if (size == 0) {
		free(pointer);
		return NULL;
	}
	size_t usable = malloc_usable_size(pointer);
	if (size <= usable && size >= usable / 2)
		return pointer;
	void *moved = __libc_malloc(size);
	if (moved == NULL)
		return NULL;
	memcpy(moved, pointer, usable < size ? usable : size);
	free(pointer);
	return moved;
}

void *memalign(size_t alignment, size_t size)
{
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	if (alignment == 0 || alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0)
		return 22; /* EINVAL */
	void *place = __libc_memalign(alignment, size);
	if (place == NULL)
		return 12; /* ENOMEM; errno is not this function's to set */
	*out = place;
	return 0;
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)

#endif
