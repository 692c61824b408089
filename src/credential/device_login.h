/*
 * A login by device code that is under way, and all who wait for it: asks for the code, then polls
 * until the person has entered it. The refresh thread. Source: azure-protocol.md B.2, B.5.
 */
#ifndef MRTOKEND_CREDENTIAL_DEVICE_LOGIN_H
#define MRTOKEND_CREDENTIAL_DEVICE_LOGIN_H

#include "base/error.h"
#include "base/loop.h"
#include "credential/credential.h"
#include "credential/entra_grant.h"

#include <stdbool.h>

struct device_login;

struct device_login_options {
	struct entra_tenant tenant; /* its strings live as long as the login, like the next two */
	const char *client_id;
	struct credential *credential; /* whose login it is */
	/*
	 * It is over: with an answer, whose secrets may be taken, or with an error. Called before
	 * those who wait are told; the login is gone when this returns.
	 */
	void (*ended)(void *context, struct entra_answer *answer, const struct error *err);
	void *context;
};

/*
 * Begin. `scope` is copied.
 * Returns the login, which is over when `ended` is called, or NULL with *err.
 */
struct device_login *device_login_start(const struct device_login_options *options,
	const char *scope, struct loop *loop, struct error *err);

/* The scope of the token that it brings. */
const char *device_login_scope(const struct device_login *login);

/* Wait for it: see credential_kind.login. NULL with *err: no memory. */
struct credential_login *device_login_join(
	struct device_login *login, credential_login_fn changed, void *context, struct error *err);

/* Wait no longer. Returns whether nobody does any more. */
bool device_login_leave(struct credential_login *wait);

/* End it without telling anybody; who still waits is gone too. NULL is fine. */
void device_login_cancel(struct device_login *login);

#endif
