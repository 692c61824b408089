/*
 * As whom, and in which environment, the programs run that credentials are got from: the user that
 * `run_as` names, or the daemon's own, and the few variables that such programs need.
 */
#ifndef MRTOKEND_CREDENTIAL_RUN_AS_H
#define MRTOKEND_CREDENTIAL_RUN_AS_H

#include "base/child.h"
#include "base/error.h"
#include "base/text.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct run_as {
	char user[LOGIN_NAME_MAX]; /* its name, or its number where it has none */
	bool has_other_home; /* than the one in the list of users */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t group_count;
	char **environment; /* NAME=VALUE, ended by NULL */
	const char *path; /* where programs are looked for: a part of it */
};

/*
 * Look the user up and read the environment. The main thread.
 *
 * They get PATH, HOME, USER and LOGNAME; what says how things are written and reached: LANG, LC_*,
 * TZ, the proxies, the certificates to trust; and what the tools themselves go by:
 * AZURE_CONFIG_DIR, AZURE_CORE_* and their like. None of it is a secret that the daemon was given,
 * but a proxy's address may have a password in it.
 *
 * run_as     set on success only; free with run_as_clear()
 * name       the user's, or NULL for the daemon's own: its HOME and XDG_* are the daemon's then
 * additions  NAME=VALUE, ended by NULL, that they get besides; or NULL
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION when there is no such user, ERR_SYSTEM when users
 * cannot be looked up, ERR_NO_MEMORY.
 */
int run_as_open(
	struct run_as *run_as, const char *name, const char *const *additions, struct error *err);

/* Fill in the user, the groups, the path and the environment, all of which `run_as` owns. */
void run_as_fill(const struct run_as *run_as, struct child_command *command);

/*
 * Append what somebody must be to do by hand what the programs do: "ada", "ada with
 * AZURE_CONFIG_DIR=/srv/azure", "ada with HOME=/srv/ada".
 * variable  the one that says where the program keeps things, or NULL when only HOME does
 */
void run_as_describe(const struct run_as *run_as, const char *variable, struct text *out);

/* Zeroed is fine. */
void run_as_clear(struct run_as *run_as);

#endif
