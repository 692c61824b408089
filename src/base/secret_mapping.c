#include "base/secret_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* on every architecture that has it; since Linux 5.14 */
#endif

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * Pages of memfd_secret(), or NULL: the kernel has none (or was started without secretmem.enable,
 * before Linux 6.5), a container's filter forbids it, RLIMIT_MEMLOCK is too low, or no descriptor
 * is left.
 */
static void *map_hidden(size_t size)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		return NULL;
	void *pages = MAP_FAILED;
	if (ftruncate(fd, (off_t)size) == 0)
		pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (pages == MAP_FAILED)
		return NULL;
	/* They are shared by their nature, and a child must not have them. */
	if (madvise(pages, size, MADV_DONTFORK) == 0)
		return pages;
	munmap(pages, size);
	return NULL;
}

/* Ordinary pages, as good as they get, in the place of reserved ones. */
static bool open_ordinary(struct secret_mapping *mapping)
{
	if (mprotect(mapping->bytes, mapping->size, PROT_READ | PROT_WRITE) != 0 ||
		madvise(mapping->bytes, mapping->size, MADV_DONTDUMP) != 0 ||
		madvise(mapping->bytes, mapping->size, MADV_WIPEONFORK) != 0)
		return false;
	mapping->is_locked = mlock(mapping->bytes, mapping->size) == 0;
	return true;
}

bool secret_mapping_make(struct secret_mapping *mapping, size_t size)
{
	size_t page = page_size();
	unsigned char *fence =
		mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fence == MAP_FAILED)
		return false;
	*mapping = (struct secret_mapping){.bytes = fence + page, .size = size};
	void *hidden = map_hidden(size);
	if (hidden == NULL) {
		if (open_ordinary(mapping))
			return true;
		munmap(fence, size + 2 * page);
		return false;
	}
	mapping->is_hidden = true;
	mapping->is_locked = true; /* or there would be none */
	/* Not mapped there at once, for if that failed the place would be open to other threads. */
	if (mremap(hidden, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, mapping->bytes) ==
		mapping->bytes)
		return true;
	munmap(hidden, size);
	munmap(fence, page);
	munmap(fence + page + size, page);
	return false;
}

void secret_mapping_drop(struct secret_mapping *mapping)
{
	size_t page = page_size();
	munmap(mapping->bytes - page, mapping->size + 2 * page);
}
