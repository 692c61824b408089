/*
 * Files of the emulator's directory: written whole or not at all, read whole.
 */
#ifndef MRTOKEND_EMULATOR_FILE_H
#define MRTOKEND_EMULATOR_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <sys/types.h>

/*
 * Put `len` bytes into the file `name` of the directory `directory_fd`, in place of what was there.
 * A reader sees the old file or the new one. The mode does not depend on the umask.
 *
 * Returns 0, or -1 with *err: ERR_SYSTEM. Any thread, but one at a time for a name.
 */
int file_write(int directory_fd, const char *name, mode_t mode, const char *bytes, size_t len,
	struct error *err);

/*
 * Read a file of at most `size - 1` bytes into `buffer`, and end it with NUL.
 *
 * mode  set to its permissions; may be NULL
 *
 * Returns its length, -1 when there is none of that name, or -2 with *err: ERR_SYSTEM when it
 * cannot be read, is no regular file or is too long.
 */
ssize_t file_read(int directory_fd, const char *name, char *buffer, size_t size, mode_t *mode,
	struct error *err);

#endif
