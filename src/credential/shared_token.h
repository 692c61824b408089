/*
 * Tokens of a credential, shared by all who ask for the same scope: one exchange at a time, whose
 * failure is shared as its success is, and one token until it is time for a new one. What upstreams
 * and mrtoken's probe ask credentials through. The refresh thread.
 */
#ifndef MRTOKEND_CREDENTIAL_SHARED_TOKEN_H
#define MRTOKEND_CREDENTIAL_SHARED_TOKEN_H

#include "credential/credential.h"

/*
 * A token with less life than this is as good as none: the SDKs' own rule, so that nobody who gets
 * it has to come back at once. Source: azure-protocol.md F.
 */
#define SHARED_TOKEN_LEAST_MS (INT64_C(300) * 1000)

/*
 * For how long a failure is the answer to whoever else asks: by a Retry-After, up to
 * SCHEDULE_RETRY_AFTER_MAX_S, else this.
 */
#define SHARED_TOKEN_FAILED_MS INT64_C(1000)
#define SHARED_TOKEN_REFUSED_MS (INT64_C(30) * 1000)

struct token_wait; /* somebody's asking */

/*
 * Ask the credential for a token for `scope`. `done` is called once, from within loop_run(), and
 * never before this returns; the access_token and its secret are everybody's, and not to be taken.
 *
 * takes_older  whether a token that was to be renewed by now, and could not be, will do as long as
 *              it is good
 *
 * Returns what to cancel, valid until `done` is called; or NULL with *err: there is no memory, or
 * the credential cannot even be asked.
 */
struct token_wait *shared_token_ask(struct credential *credential, const char *scope,
	bool takes_older, struct loop *loop, credential_done_fn done, void *context,
	struct error *err);

/* The others who wait for the same are not disturbed. */
void shared_token_cancel(struct token_wait *wait);

/*
 * The upstream said 401 to the token, for the `refusals`th time in one exchange. It is forgotten.
 * was_cached  access_token.is_cached of that token
 * Returns whether asking again right now may bring another one.
 */
bool shared_token_refused(struct credential *credential, const char *scope,
	const struct account_settings *account, bool was_cached, unsigned refusals);

/* The upstream took the token. */
void shared_token_accepted(struct credential *credential);

/* Forget failures, so that whoever asks next asks for real: after a reload. */
void shared_token_forgive(struct credential *credential);

/*
 * Forget tokens too: after a login, which may be somebody else's. What is under way is not
 * disturbed.
 */
void shared_token_forget(struct credential *credential);

/*
 * Whoever asks next asks for real, unless the upstream wanted to be left alone: somebody wants a
 * new token. Those that are there are kept for who takes older ones.
 */
void shared_token_renew(struct credential *credential);

/* Wipe all; nothing is under way. By credential_close(). */
void shared_token_free_all(struct credential *credential);

#endif
