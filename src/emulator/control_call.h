/*
 * A request of the control interface on its way through a route, and how routes answer. The routes
 * are listed in control.c; those of the accounts are in control_account.c, of Entra in
 * control_entra.c, of the managed identities in control_identity.c.
 */
#ifndef MRTOKEND_EMULATOR_CONTROL_CALL_H
#define MRTOKEND_EMULATOR_CONTROL_CALL_H

#include "emulator/emulator.h"

#include <json-c/json.h>

#define CONTROL_REST_MAX 63

struct control_call {
	struct emulator *emulator;
	const struct request *request;
	struct json_object *body; /* an object, for routes with has_body; else NULL */
	char rest[CONTROL_REST_MAX + 1]; /* the path behind the route's, "" if it has none */
	struct answer *answer;
};

/* Answer with the JSON, which is put. */
void control_reply(struct control_call *call, int status, struct json_object *json);

/* {"error": sentence} */
void control_reply_error(struct control_call *call, int status, const char *sentence);

/* 400 where the caller is at fault, else 500. */
void control_reply_failure(struct control_call *call, const struct error *err);

/* 200 with one member, a number. */
void control_reply_number(struct control_call *call, const char *name, size_t number);

/* 200 with one member, which is put. */
void control_reply_list(struct control_call *call, const char *name, struct json_object *list);

/* 200 {"deleted":1}, or 404 with the sentence. */
void control_reply_deleted(struct control_call *call, int result, const char *sentence);

void control_get_accounts(struct control_call *call);
void control_put_account(struct control_call *call);
void control_delete_account(struct control_call *call);

void control_get_tenants(struct control_call *call);
void control_put_tenant(struct control_call *call);
void control_delete_tenant(struct control_call *call);
void control_get_apps(struct control_call *call);
void control_put_app(struct control_call *call);
void control_delete_app(struct control_call *call);
void control_get_device_codes(struct control_call *call);
void control_put_device_code(struct control_call *call);
void control_delete_refresh_tokens(struct control_call *call);

void control_get_identities(struct control_call *call);
void control_put_identity(struct control_call *call);
void control_delete_identity(struct control_call *call);
void control_get_environment(struct control_call *call);

#endif
