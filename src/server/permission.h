/*
 * What the caller of a request may do: the policy, asked with the caller's unit where it depends on
 * that. The server thread.
 */
#ifndef MRTOKEND_SERVER_PERMISSION_H
#define MRTOKEND_SERVER_PERMISSION_H

#include "server/policy.h"
#include "token/account.h"

#include <stdbool.h>

/* Who asks, and how more can be known of them. */
struct caller {
	struct peer *peer;
	int fd; /* the connection's */
	enum peer_way way;
};

/*
 * What the policy says of the caller and the account, which is one of `table`. From memory, but for
 * the first time that it depends on the unit and that was not read as the caller connected, because
 * there was no rule of units then. Never POLICY_UNIT_UNREAD.
 */
enum policy_verdict permission_of(const struct caller *caller, const struct account_table *table,
	const struct account *account, enum policy_action action);

/* Likewise, whether the caller may know of the account. */
bool permission_to_see(const struct caller *caller, const struct account_table *table,
	const struct account *account);

#endif
