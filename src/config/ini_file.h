/*
 * One INI file, read by libinih, with the line of everything and with nothing passed over in
 * silence: lines too long, bytes that are no text, values split over lines, sections without keys.
 */
#ifndef MRTOKEND_CONFIG_INI_FILE_H
#define MRTOKEND_CONFIG_INI_FILE_H

#include "base/error.h"

struct ini_events {
	/* [name]: each header, also of a section that has no keys. */
	void (*section)(void *context, const char *name, unsigned line);
	/* name = value in the section of the last header. */
	void (*key)(void *context, const char *name, const char *value, unsigned line);
	/* A line that is no INI. The sentence holds nothing of the line, which may be secret. */
	void (*problem)(void *context, unsigned line, const char *sentence);
};

/*
 * Read the file and tell what is in it. Returns 0 when it was read, problems or not, or -1 with
 * *err when it could not be: error_set_errno()'s code and words, errno in *errnum (0 for another
 * reason).
 */
int ini_file_read(const char *path, const struct ini_events *events, void *context, int *errnum,
	struct error *err);

#endif
