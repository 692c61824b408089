/*
 * Where a person logs in to an account: begins logins of its credential, publishes how far they
 * are, and ends those that nobody asks about any more. One for each account that was ever asked
 * for a login. The refresh thread.
 */
#ifndef MRTOKEND_LOGIN_DESK_H
#define MRTOKEND_LOGIN_DESK_H

#include "base/loop.h"
#include "credential/credential.h"
#include "token/account.h"

/* Nobody has asked how far it is for so long: nobody waits for it. */
#define LOGIN_DESK_LEFT_MS (INT64_C(60) * 1000)

/* Nor is one begun this soon after another one failed: who asks has that failure for an answer. */
#define LOGIN_DESK_PAUSE_MS INT64_C(1000)

struct login_desk;

struct login_desk_options {
	struct registry *registry;
	struct loop *loop;
	/* Called when somebody has logged in. */
	void (*done)(void *context);
};

/*
 * credential  has a login; lives longer than the desk
 * context     for `done`
 * Returns NULL when there is no memory.
 */
struct login_desk *login_desk_new(const struct login_desk_options *options, struct account *account,
	struct credential *credential, void *context);

/* Whose logins they are. */
struct credential *login_desk_credential(const struct login_desk *desk);

/* Begin a login, unless one is under way. */
void login_desk_begin(struct login_desk *desk);

/* The account was replaced by this one, with the same credential. */
void login_desk_move(struct login_desk *desk, struct account *account, void *context);

/* A login under way goes on for others who wait for it only. NULL is fine. */
void login_desk_free(struct login_desk *desk);

#endif
