#include "emulator/control_call.h"

#include "emulator/device_codes.h"
#include "emulator/json_members.h"
#include "emulator/refresh_tokens.h"

#include <stdio.h>
#include <string.h>

#define USERNAME_USUAL "user@" TENANT_DEFAULT_DOMAIN

void control_get_tenants(struct control_call *call)
{
	control_reply_list(call, "tenants", tenants_list(call->emulator->tenants));
}

void control_put_tenant(struct control_call *call)
{
	struct error err = ERROR_INIT;
	struct json_object *domain = NULL;
	const struct json_member members[] = {{"domain", json_type_string, false, &domain}};
	int added = -1;
	if (json_members(call->body, "a tenant", members, 1, &err) == 0)
		added = tenants_put(
			call->emulator->tenants, call->rest, json_string_or_empty(domain), &err);
	if (added < 0) {
		control_reply_failure(call, &err);
		return;
	}
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "id", json_object_new_string(call->rest));
	json_object_object_add(
		json, "domain", json_object_new_string(json_string_or_empty(domain)));
	control_reply(call, added == 1 ? 201 : 200, json);
}

void control_delete_tenant(struct control_call *call)
{
	control_reply_deleted(call, tenants_remove(call->emulator->tenants, call->rest),
		"there is no such tenant");
}

void control_get_apps(struct control_call *call)
{
	control_reply_list(call, "apps", apps_list(call->emulator->apps));
}

void control_put_app(struct control_call *call)
{
	struct error err = ERROR_INIT;
	struct app *app = app_from_json(call->rest, call->body, &err);
	if (app == NULL) {
		control_reply_failure(call, &err);
		return;
	}
	struct json_object *shown = app_json(app);
	int added = apps_put(call->emulator->apps, app, &err);
	if (added >= 0) {
		control_reply(call, added == 1 ? 201 : 200, shown);
		return;
	}
	json_object_put(shown);
	control_reply_failure(call, &err);
}

void control_delete_app(struct control_call *call)
{
	control_reply_deleted(
		call, apps_remove(call->emulator->apps, call->rest), "there is no such app");
}

void control_get_device_codes(struct control_call *call)
{
	control_reply_list(call, "device_codes", device_codes_list(call->emulator->device_codes));
}

/* What a user, or time, makes of a flow. */
static int read_decision(const char *word, enum device_state *state, struct error *err)
{
	static const enum device_state known[] = {DEVICE_APPROVED, DEVICE_DECLINED, DEVICE_EXPIRED};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(word, device_state_name(known[i])) == 0) {
			*state = known[i];
			return 0;
		}
	}
	return error_set(err, ERR_CONFIGURATION,
		"\"state\" is \"%.40s\", and must be one of approved, declined, expired", word);
}

void control_put_device_code(struct control_call *call)
{
	struct error err = ERROR_INIT;
	struct json_object *word = NULL;
	struct json_object *username = NULL;
	const struct json_member members[] = {
		{"state", json_type_string, true, &word},
		{"username", json_type_string, false, &username},
	};
	enum device_state state = DEVICE_PENDING;
	if (json_members(call->body, "a decision", members, 2, &err) != 0 ||
		read_decision(json_object_get_string(word), &state, &err) != 0) {
		control_reply_failure(call, &err);
		return;
	}
	struct entra_user user;
	const char *name = username == NULL ? USERNAME_USUAL : json_object_get_string(username);
	if (*name == '\0' || strlen(name) > ENTRA_USERNAME_MAX) {
		control_reply_error(call, 400, "\"username\" must have 1 to 127 characters");
		return;
	}
	snprintf(user.username, sizeof(user.username), "%s", name);
	if (!uuid_of_words(user.object_id, user.username) ||
		device_codes_decide(call->emulator->device_codes, call->rest, state, &user) != 0) {
		control_reply_error(call, 404, "no pending device code has that user code");
		return;
	}
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "user_code", json_object_new_string(call->rest));
	json_object_object_add(json, "state", json_object_new_string(device_state_name(state)));
	control_reply(call, 200, json);
}

void control_delete_refresh_tokens(struct control_call *call)
{
	control_reply_number(
		call, "deleted", refresh_tokens_revoke(call->emulator->refresh_tokens));
}
