/*
 * The configuration: files in the manner of systemd, or the environment alone, checked as a whole.
 * Every problem is told with file and line, what was found, what was expected and what to do. The
 * main thread.
 */
#ifndef MRTOKEND_CONFIG_CONFIG_H
#define MRTOKEND_CONFIG_CONFIG_H

#include "base/log.h"
#include "base/text.h"
#include "credential/credential.h"
#include "token/account.h"
#include "upstream/upstream.h"

#include <stdbool.h>
#include <sys/types.h>

/* Names of accounts and listeners: so long at most, of letters, digits, '.', '_' and '-'. */
#define CONFIG_NAME_MAX 40

struct config_listener {
	char *name;
	char *path;
	mode_t mode;
	char *group; /* NULL: the daemon's own */
	gid_t gid; /* of `group` */
};

struct config_account {
	struct account_settings settings;
	struct credential_settings credential;
	const struct upstream *upstream;
	char *where; /* "FILE:LINE" of its section, or the environment */
};

struct config {
	char *default_account; /* NULL: none */
	char *ca_file; /* NULL: the system's */
	enum log_level log_level;
	struct config_listener *listeners;
	size_t listener_count;
	struct config_account *accounts;
	size_t account_count;
	struct text sources; /* what was read, a line each, for people */
};

/*
 * Read FILE and then FILE.d/ *.conf in the order of their names; a later value replaces an earlier
 * one. Without any account in them, MIXEDREALITY_ACCOUNT_DOMAIN, _ID and _KEY or _KEY_FILE make one
 * that is named `default`.
 *
 * path      NULL: SYSCONFDIR "/mrtokend/mrtokend.conf" if it is there, else the environment alone
 * config    set on success only; free with config_free()
 * problems  on failure, one line for each problem
 *
 * Secrets are not read here; see credential_kind.open().
 * Returns ERR_NONE, ERR_CONFIGURATION, or ERR_NO_MEMORY, which says nothing of the files.
 */
enum error_code config_load(const char *path, struct config **config, struct text *problems);

/* Append what was understood, in the form of the file, with every default. No secret is in it. */
void config_print(const struct config *config, struct text *out);

/* NULL is fine. */
void config_free(struct config *config);

#endif
