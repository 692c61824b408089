/*
 * What a credential's secrets are at a moment, for whoever wants to know whether they have become
 * other ones. The refresh thread.
 */
#ifndef MRTOKEND_CREDENTIAL_SECRET_STATE_H
#define MRTOKEND_CREDENTIAL_SECRET_STATE_H

#include "credential/credential.h"

#include <stdbool.h>
#include <stdint.h>

struct secret_state {
	uint64_t versions; /* grows with each change of any */
	uint64_t rotations; /* grows with each change of one that is rotated: enum secret_change */
	bool is_readable; /* all of them are */
};

/* Look at all of them, and read those again whose files have changed. */
struct secret_state secret_state_now(const struct credential *credential);

/*
 * Whether `now` has other secrets than `before`, which is not looked at again: those that it holds
 * count. One that neither could be read yet is no other one. *state is set to that of `now`.
 */
bool secret_state_differs(
	const struct credential *before, const struct credential *now, struct secret_state *state);

#endif
