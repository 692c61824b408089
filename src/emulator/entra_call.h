/*
 * A request to the emulated Entra on its way: what is known of it, and why it is refused if it is.
 * The endpoints, one a subject, are in entra_discovery.c, entra_token.c and entra_device.c.
 */
#ifndef MRTOKEND_EMULATOR_ENTRA_CALL_H
#define MRTOKEND_EMULATOR_ENTRA_CALL_H

#include "emulator/device_codes.h"
#include "emulator/entra_error.h"
#include "emulator/form.h"
#include "emulator/refresh_tokens.h"

#define ENTRA_SCOPES_MAX 1023

struct entra_call {
	struct emulator *emulator;
	const struct request *request;
	char base[280]; /* "https://" and the Host it was asked at */
	char tenant_word[TENANT_DOMAIN_LEN_MAX + 1]; /* as in the path */
	char tenant_id[UUID_SIZE]; /* "" until it is found */
	struct form form; /* of the body, or of the query */
	struct app *app; /* NULL until it is found; the call's reference */
	char client_id[UUID_SIZE]; /* what a fault may aim at: the client_id of the form; or "" */

	/* Why it is refused: 0 when it is as it should be. */
	int aadsts;
	const char *sentence; /* static */
	const char *detail; /* of the form or the call, or NULL */

	/* What is to be granted. */
	char audience[ENTRA_SCOPES_MAX + 1];
	char scopes[ENTRA_SCOPES_MAX + 1]; /* a user's */
	char authentication;
	struct entra_user user;
	bool has_user;
	bool wants_refresh_token;
	bool wants_id_token;
	const char *device_code; /* that is to be redeemed, or NULL */
};

/*
 * Refuse the call.
 *
 * sentence  static; NULL for that of the code
 * detail    see entra_error_fill(); alive as long as the call
 *
 * Returns -1.
 */
int entra_refuse(struct entra_call *call, int aadsts, const char *sentence, const char *detail);

/* Whether the fields are all there and not empty, up to a NULL. Returns 0, or -1 refused. */
int entra_need_fields(struct entra_call *call, const char *const *names);

/* Find the app of client_id in the tenant. Returns 0, or -1 refused. */
int entra_find_app(struct entra_call *call);

/*
 * Read scopes, separated by spaces, into audience and, for a user, scopes.
 *
 * scope  as a client sends it
 *
 * Returns 0, or -1 refused.
 */
int entra_read_scopes(struct entra_call *call, const char *scope, bool is_for_user);

/*
 * Have the app prove itself, by client_secret or client_assertion. In client_auth.c.
 * Returns 0 with call->authentication set, or -1 refused.
 */
int entra_authenticate(struct entra_call *call);

/* An endpoint: check refuses or not; fill answers a call that was not refused. */
struct entra_endpoint {
	const char *method;
	const char *path; /* behind "/{tenant}" */
	bool gives_token;
	bool takes_any_tenant; /* the path has a word of its own there */
	void (*check)(struct entra_call *call);
	void (*fill)(struct entra_call *call, const struct exchange *exchange);
};

/* The documents: entra_discovery.c. */
void discovery_check(struct entra_call *call);
void openid_configuration_fill(struct entra_call *call, const struct exchange *exchange);
void key_set_fill(struct entra_call *call, const struct exchange *exchange);
void instance_check(struct entra_call *call);
void instance_fill(struct entra_call *call, const struct exchange *exchange);

/* POST /{tenant}/oauth2/v2.0/token: entra_token.c. */
void token_check(struct entra_call *call);
void token_fill(struct entra_call *call, const struct exchange *exchange);

/* POST /{tenant}/oauth2/v2.0/devicecode: entra_device.c. */
void device_code_check(struct entra_call *call);
void device_code_fill(struct entra_call *call, const struct exchange *exchange);
/* The same at the token endpoint: the polled code. Returns 0, or -1 refused. */
int device_grant_check(struct entra_call *call);

/* Answer 200 with the JSON, which is put. */
void entra_reply(const struct exchange *exchange, struct json_object *json);

#endif
