/*
 * Where a secret comes from: a systemd credential, a file or an environment variable; never the
 * configuration itself. All functions belong to the main thread.
 */
#ifndef MRTOKEND_CREDENTIAL_SECRET_SOURCE_H
#define MRTOKEND_CREDENTIAL_SECRET_SOURCE_H

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"

#include <stdbool.h>

enum secret_source_kind {
	SECRET_SOURCE_NONE, /* not configured */
	SECRET_SOURCE_CREDENTIAL, /* credential:NAME, a file in $CREDENTIALS_DIRECTORY */
	SECRET_SOURCE_FILE, /* file:/PATH */
	SECRET_SOURCE_ENVIRONMENT, /* env:NAME */
};

/* Zeroed is SECRET_SOURCE_NONE. */
struct secret_source {
	enum secret_source_kind kind;
	char *name; /* without the prefix */
	char *where; /* FILE:LINE of the configuration that names it, or NULL */
};

/* A key, a password, a PEM file with a chain: nothing longer than this is one. */
#define SECRET_SOURCE_MAX ((size_t)64 * 1024)

/*
 * Read "credential:NAME", "file:/PATH" or "env:NAME".
 *
 * source  set on success only; free with secret_source_clear()
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION. The message never repeats `word`, because what is
 * no source is likely to be the secret itself.
 */
int secret_source_parse(const char *word, struct secret_source *source, struct error *err);

/* Append the source as it would stand in the configuration. */
void secret_source_describe(const struct secret_source *source, struct text *out);

void secret_source_clear(struct secret_source *source);

/*
 * Read the secret, without white space around it. An environment variable is wiped from the
 * process's environment the first time that it is read, and remembered.
 *
 * Returns NULL with *err: ERR_SECRET_SOURCE when it cannot be read, is empty or is too long;
 * ERR_NO_MEMORY. Free with secret_free().
 */
struct secret *secret_source_read(const struct secret_source *source, struct error *err);

/* The same, but every byte as it is: the end of a binary file may look like white space. */
struct secret *secret_source_read_binary(const struct secret_source *source, struct error *err);

/*
 * "cannot open PATH" and why. ERR_SECRET_SOURCE, which somebody must mend, unless the host is short
 * of descriptors or memory, or its disk fails, which may pass by itself: ERR_SYSTEM, ERR_NO_MEMORY.
 */
void secret_source_set_errno(struct error *err, int errnum, const char *path);

/* Whether the variable was read, and is empty in the environment for that reason. */
bool secret_source_remembers(const char *name);

/* Wipe the variable where it stands in the environment, and remember it. Not being set is fine. */
void secret_source_wipe_environment(const char *name);

/* Wipe the variables that secret_source_read() remembers. At the very end of the process. */
void secret_source_forget_environment(void);

#endif
