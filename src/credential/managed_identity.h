/*
 * A managed identity of the host, between the files that it is made of: opened by the environment,
 * and asked by one call at a time for each scope. Source: azure-protocol.md C.
 */
#ifndef MRTOKEND_CREDENTIAL_MANAGED_IDENTITY_H
#define MRTOKEND_CREDENTIAL_MANAGED_IDENTITY_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"
#include "credential/credential.h"
#include "credential/identity_source.h"

#include <stdbool.h>

struct managed_identity {
	struct credential credential;
	const struct identity_source *source; /* NULL: there is none, and `trouble` says so */
	struct error trouble; /* why it can never be asked; ERR_NONE: it can */
	char *endpoint; /* the address, without what is asked for */
	char *origin; /* its scheme, host and port */
	enum identity_selector selector;
	char *id; /* of the identity, as the selector says; NULL: system-assigned */
	char *ca_file; /* or NULL */
	char *thumbprint; /* of the endpoint's certificate, or NULL */
	struct secret *secret_line; /* the header that proves that this host asks, or NULL */
	size_t secret_offset; /* in it: where the secret begins */
	bool is_probed; /* look first whether the endpoint is there at all */
	struct credential *exchanged; /* a workload identity that is used in its place, or NULL */
};

/*
 * Which source there is, and whether it can be asked; the main thread. What is wrong with a host is
 * in `trouble`, since it is no reason not to start.
 * Returns 0, or -1 with *err: ERR_NO_MEMORY.
 */
int managed_identity_choose(struct managed_identity *identity,
	const struct credential_settings *settings, const struct identity_environment *environment,
	struct error *err);

/* Ask the source: as ask() and cancel() of struct credential_kind. The refresh thread. */
struct credential_call *identity_call_start(struct managed_identity *identity, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err);
void identity_call_cancel(struct credential_call *call);

/* Ask the workload identity instead: likewise. */
struct credential_call *token_exchange_start(struct managed_identity *identity, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err);
void token_exchange_cancel(struct credential_call *call);

#endif
