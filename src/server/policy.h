/*
 * What a peer may do with an account. Pure: rules and peer in, verdict out; no allocation, no call
 * of the kernel, some ten comparisons.
 */
#ifndef MRTOKEND_SERVER_POLICY_H
#define MRTOKEND_SERVER_POLICY_H

#include "server/peer.h"
#include "token/access_rules.h"

#include <stdbool.h>

enum policy_action {
	POLICY_TOKEN, /* to get the account's token */
	POLICY_ADMIN, /* to have it refreshed, and to log in */
};

enum policy_verdict {
	POLICY_ALLOWED,
	POLICY_DENIED_USER, /* by deny_users */
	POLICY_DENIED_GROUP, /* by deny_groups */
	POLICY_DENIED_UNIT, /* by deny_units */
	POLICY_DENIED_UNIT_UNKNOWN, /* by deny_units: it is not known that the peer is not meant */
	POLICY_NOT_ALLOWED, /* no rule allows it */
	POLICY_NOT_ADMIN, /* likewise, for POLICY_ADMIN */
	POLICY_UNIT_UNREAD, /* it depends on the unit: ask again after peer_read_unit() */
	POLICY_UNIT_YOUNG, /* it depends on the unit, which the peer's next connection shows */
	POLICY_VERDICT_COUNT,
};

/*
 * rules      of the account
 * any_rules  whether any account has rules; if none has, everybody may do everything
 *
 * What is denied is denied whatever is allowed. Nobody is above the rules: not root either.
 */
enum policy_verdict policy_decide(const struct access_rules *rules, bool any_rules,
	const struct peer *peer, enum policy_action action);

/* What kind of rule it was, for people: half a sentence that does not tell who is allowed. */
const char *policy_verdict_text(enum policy_verdict verdict);

#endif
