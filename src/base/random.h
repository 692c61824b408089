/*
 * Random numbers of the kernel. Any thread.
 */
#ifndef MRTOKEND_BASE_RANDOM_H
#define MRTOKEND_BASE_RANDOM_H

#include "base/error.h"

#include <stddef.h>

#define RANDOM_UUID_SIZE 37 /* with its NUL */

/* Fill `out`. Returns 0, or -1 with *err: ERR_SYSTEM. */
int random_bytes(void *out, size_t len, struct error *err);

/* A random UUID, version 4, in small letters. Returns 0, or -1 with *err: ERR_SYSTEM. */
int random_uuid(char out[RANDOM_UUID_SIZE], struct error *err);

/* From 0 up to but not including 1: for jitter. Without random bytes it is 0, and does no harm. */
double random_part(void);

#endif
