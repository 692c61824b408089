/*
 * Device code flows that are under way: azure-protocol.md B.5, RFC 8628. Any thread; one lock.
 */
#ifndef MRTOKEND_EMULATOR_DEVICE_CODES_H
#define MRTOKEND_EMULATOR_DEVICE_CODES_H

#include "emulator/entra_tokens.h"

#include <json-c/json.h>
#include <stdint.h>

#define DEVICE_CODE_LEN 64
#define USER_CODE_LEN 9

struct device_codes;

/* What the client asked for, and what it got. */
struct device_flow {
	char device_code[DEVICE_CODE_LEN + 1]; /* the client shows this */
	char user_code[USER_CODE_LEN + 1]; /* the user types this */
	char tenant_id[UUID_SIZE];
	char client_id[UUID_SIZE];
	char scopes[1024];
	int64_t expires_on; /* by the emulator's clock */
	int64_t interval_s;
	struct entra_user user; /* once approved */
};

enum device_state {
	DEVICE_PENDING,
	DEVICE_APPROVED,
	DEVICE_DECLINED,
	DEVICE_EXPIRED,
	DEVICE_REDEEMED,
	DEVICE_UNKNOWN,
	DEVICE_TOO_SOON, /* pending, and polled before the interval was over */
};

/* Returns NULL when there is no memory. */
struct device_codes *device_codes_new(void);
void device_codes_free(struct device_codes *codes);

/* Begin a flow; its two codes are set here. Returns 0, or -1 when there is no memory. */
int device_codes_begin(struct device_codes *codes, struct device_flow *flow);

/*
 * The client polls. A poll that comes too soon makes the interval 5 s longer.
 *
 * flow  set when the state is DEVICE_APPROVED
 */
enum device_state device_codes_poll(struct device_codes *codes, const char *device_code,
	const char *tenant_id, const char *client_id, int64_t now_s, struct device_flow *flow);

/* The tokens are given. Returns whether they were not before. */
bool device_codes_redeem(struct device_codes *codes, const char *device_code);

/*
 * The user decides: approved (as `user`), declined, or too late.
 * Returns 0, or -1 when no pending flow has that code.
 */
int device_codes_decide(struct device_codes *codes, const char *user_code, enum device_state state,
	const struct entra_user *user);

/* All of them, oldest first, without the device codes; to be put. */
struct json_object *device_codes_list(struct device_codes *codes);

/* A state's name in JSON, such as "pending". */
const char *device_state_name(enum device_state state);

#endif
