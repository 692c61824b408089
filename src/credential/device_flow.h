/*
 * The rules of the device code flow: what its beginning says, and what to do about each answer to
 * a poll. Nothing here reads a clock or touches the world. Any thread.
 * Source: azure-protocol.md B.5, RFC 8628.
 */
#ifndef MRTOKEND_CREDENTIAL_DEVICE_FLOW_H
#define MRTOKEND_CREDENTIAL_DEVICE_FLOW_H

#include "base/error.h"
#include "base/secret.h"
#include "credential/entra_grant.h"
#include "token/account.h"

#include <json-c/json.h>
#include <stdint.h>

/* Where the service does not say, RFC 8628 and MSAL do. */
#define DEVICE_FLOW_INTERVAL_S 5
#define DEVICE_FLOW_LIFETIME_S 1800

/* No service can have us poll faster or slower, or for longer. */
#define DEVICE_FLOW_INTERVAL_MIN_S 1
#define DEVICE_FLOW_INTERVAL_MAX_S 300
#define DEVICE_FLOW_LIFETIME_MAX_S (INT64_C(24) * 3600)

/* Polls that fail for a passing reason come at twice the distance of the last, up to this. */
#define DEVICE_FLOW_FAULT_MAX_MS (INT64_C(60) * 1000)

struct device_flow {
	int64_t interval_ms;
	int64_t expires_ms; /* CLOCK_BOOTTIME, and so are all times here */
	unsigned faults; /* in a row */
};

/*
 * Read the answer that begins a flow.
 *
 * sent_ms      when the request was sent
 * shown        set on success: a pending login
 * device_code  set on success; the caller frees it
 *
 * Returns 0, or -1 with *err: ERR_UPSTREAM_FORMAT for codes and addresses that are not fit to be
 * shown, ERR_NO_MEMORY.
 */
int device_flow_begin(struct device_flow *flow, struct json_object *answer, int64_t sent_ms,
	struct account_login *shown, struct secret **device_code, struct error *err);

/* When to poll for the first time. */
int64_t device_flow_first_ms(const struct device_flow *flow, int64_t now_ms);

/*
 * A poll was answered by an error. Returns when to poll next; or -1 with *failure, and the flow has
 * ended: it was declined, has expired, or cannot go on.
 */
int64_t device_flow_next_ms(struct device_flow *flow, int64_t now_ms, const struct error *err,
	const struct entra_error *error, struct error *failure);

/* Whether the code has expired: there is nothing to poll for. If so, *failure says it. */
bool device_flow_has_expired(const struct device_flow *flow, int64_t now_ms, struct error *failure);

#endif
