/*
 * Pages for secrets, between two guard pages. A part of secret.c, under its lock.
 *
 * They are those of memfd_secret(2) where the kernel gives them: taken out of the kernel's own map
 * of memory, so that neither /proc/PID/mem nor ptrace nor another process, root's included, reads
 * them through the kernel. Otherwise they are ordinary pages. Both are locked, left out of core
 * dumps, and not there for a forked child: the first are no part of it, the others are zero.
 */
#ifndef MRTOKEND_BASE_SECRET_MAPPING_H
#define MRTOKEND_BASE_SECRET_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

struct secret_mapping {
	unsigned char *bytes;
	size_t size; /* without the guard pages */
	bool is_hidden; /* of memfd_secret() */
	bool is_locked; /* false: RLIMIT_MEMLOCK did not allow it */
};

/* Map `size` zero bytes, a multiple of the page size. Returns false when there is no memory. */
bool secret_mapping_make(struct secret_mapping *mapping, size_t size);

/* Unmap it, guard pages included. The bytes are wiped already. */
void secret_mapping_drop(struct secret_mapping *mapping);

#endif
