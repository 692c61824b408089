/*
 * What is left of a person's login: the refresh token in memory, and if it is wanted in a file too,
 * which goes on with the login after a restart. The refresh thread, but for opening and freeing.
 */
#ifndef MRTOKEND_CREDENTIAL_KEPT_LOGIN_H
#define MRTOKEND_CREDENTIAL_KEPT_LOGIN_H

#include "base/error.h"
#include "base/secret.h"
#include "credential/refresh_token_store.h"
#include "credential/secret_source.h"

#include <stdbool.h>

struct kept_login;

/*
 * owner  its strings live as long as the login
 * file   copied; or NULL: in memory only
 * key    to that file
 * Returns NULL with *err. The main thread.
 */
struct kept_login *kept_login_open(const struct refresh_token_owner *owner, const char *file,
	const struct secret_source *key, struct error *err);

/*
 * Find out whether a login can be kept in the file, and if there is one already and none in memory,
 * go on with it. Without a file there is nothing to find out.
 * Returns 0; or -1 with *err: the file is there, but cannot be read.
 */
int kept_login_check_file(struct kept_login *login, struct error *err);

/* The same, unless there is a refresh token in memory. */
int kept_login_load(struct kept_login *login, struct error *err);

/* NULL when nobody is logged in, as far as is known. Valid until the next call. */
const struct secret *kept_login_refresh_token(const struct kept_login *login);

/* Which refresh token it is: another number for another one. */
unsigned long kept_login_generation(const struct kept_login *login);

/*
 * A new login is there, and perhaps somebody else's: that of before ends, in the file too.
 * token  taken over; NULL: it brought none
 */
void kept_login_begin(struct kept_login *login, struct secret *token);

/*
 * Have this refresh token of the same login from now on. It is in the file before the old one is
 * given up; where that cannot be, the login is good for as long as the daemon runs, and the notice
 * says so. token  taken over
 */
void kept_login_renew(struct kept_login *login, struct secret *token);

/* The refresh token is worth nothing any more; should it be in the file, it is not taken again. */
void kept_login_end(struct kept_login *login);

/* What someone should look at, or "". */
const char *kept_login_notice(const struct kept_login *login);

/* Where it is kept, or NULL. */
const char *kept_login_file(const struct kept_login *login);

/* What it is encrypted with, or NULL. */
struct live_secret *kept_login_key(const struct kept_login *login);

/* NULL is fine. */
void kept_login_free(struct kept_login *login);

#endif
