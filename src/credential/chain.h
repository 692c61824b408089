/*
 * Several credentials tried in order, as ChainedTokenCredential does: the next one when one is
 * unavailable, the end at one that was used and failed, and from the first that worked on that one
 * alone. Source: azure-protocol.md E.
 */
#ifndef MRTOKEND_CREDENTIAL_CHAIN_H
#define MRTOKEND_CREDENTIAL_CHAIN_H

#include "credential/credential.h"

/* A list of kinds in the configuration; none of its names is ever written there. */
extern const struct credential_kind credential_chain;

/*
 * Make a chain of these members, which are taken over on success. For kinds that are chains
 * themselves: their functions are those of credential_chain.
 * forgives_developer_tools  whether the next one is tried too when a developer tool has failed
 * Returns NULL when there is no memory.
 */
struct credential *chain_new(
	struct credential *const *members, size_t count, bool forgives_developer_tools);

/*
 * Open one credential of each of these kinds, at most CREDENTIAL_LIST_MAX, and make a chain of
 * them. Returns NULL with *err. The main thread.
 */
struct credential *chain_open(const struct credential_kind *const *kinds, size_t count,
	bool forgives_developer_tools, const struct credential_settings *settings,
	const struct account_settings *account, struct error *err);

struct credential_call *chain_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err);
void chain_cancel(struct credential_call *call);
bool chain_refused(
	struct credential *credential, const struct account_settings *account, unsigned refusals);
void chain_accepted(struct credential *credential);
struct credential *const *chain_members(const struct credential *credential, size_t *count);
bool chain_goes_on(const struct credential *credential, const struct credential *member,
	const struct error *err);
void chain_close(struct credential *credential);

#endif
