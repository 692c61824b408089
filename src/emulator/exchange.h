/*
 * What every emulated service does with a request, whatever its protocol: record it, let it meet
 * the first fault that is for it, wait as the fault says, and bend the answer as the fault says.
 *
 * A service checks the request, calls exchange_begin(), fills the answer, calls exchange_end().
 */
#ifndef MRTOKEND_EMULATOR_EXCHANGE_H
#define MRTOKEND_EMULATOR_EXCHANGE_H

#include "emulator/emulator.h"

/* The sentence of an error that a fault asked for. */
#define EXCHANGE_TOLD "The emulator was told to answer so."

struct exchange {
	struct emulator *emulator;
	enum server_index server;
	const struct request *request;
	struct answer *answer;
	/* Set by exchange_begin(). */
	struct fault *fault; /* what it met, or NULL */
	uint64_t number; /* in the record */
};

/*
 * Record the request and meet a fault.
 *
 * account      what a fault may aim at: the identifier of an account, an app or an identity; or ""
 * gives_token  whether the request would be answered with a token
 * complaint    why it is refused, static; NULL when it is as it should be
 *
 * Returns whether an answer is to be filled: else the connection is cut. exchange_end() is due
 * either way. The answer has its Date.
 */
bool exchange_begin(
	struct exchange *exchange, const char *account, bool gives_token, const char *complaint);

/* Whether to fill an error with the status exchange->fault->status, in the service's own shape. */
bool exchange_is_scripted(const struct exchange *exchange);

/* How long the token shall live: as a fault says, else `usual_s`. */
int64_t exchange_lifetime_s(const struct exchange *exchange, int64_t usual_s);

/* Whether the token shall be the one given before. */
bool exchange_repeats_token(const struct exchange *exchange);

/* Do to the filled answer what the fault says, and record its status. */
void exchange_end(struct exchange *exchange);

/* Take a fault that resets the connection just accepted. For struct server_kind's accept. */
bool exchange_resets(struct emulator *emulator, enum server_index server);

/* The checks that every service makes: sentences for a complaint, or NULL when all is well. */
const char *exchange_check_protocol(const struct request *request);
const char *exchange_check_no_body(const struct request *request);

#endif
