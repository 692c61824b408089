#include "emulator/control_call.h"

#include "emulator/json_members.h"

#include <stdlib.h>
#include <string.h>

static struct json_object *account_json(
	const char *id, size_t key_count, const struct account_rule *rule)
{
	struct json_object *json = json_object_new_object();
	struct json_object *apps = json_object_new_array();
	for (size_t i = 0; i < rule->count; i++)
		json_object_array_add(apps, json_object_new_string(rule->principals[i]));
	json_object_object_add(json, "id", json_object_new_string(id));
	json_object_object_add(json, "keys", json_object_new_int64((int64_t)key_count));
	json_object_object_add(json, "apps", apps);
	json_object_object_add(json, "tenant",
		rule->tenant[0] == '\0' ? NULL : json_object_new_string(rule->tenant));
	return json;
}

static void add_account(
	void *context, const char *id, size_t key_count, const struct account_rule *rule)
{
	json_object_array_add(context, account_json(id, key_count, rule));
}

void control_get_accounts(struct control_call *call)
{
	struct json_object *list = json_object_new_array();
	accounts_list(call->emulator->accounts, add_account, list);
	control_reply_list(call, "accounts", list);
}

/* Returns how many keys there are, or -1 with *err. */
static int read_keys(
	struct json_object *list, struct account_key keys[ACCOUNT_KEYS_MAX], struct error *err)
{
	const char **strings = NULL;
	size_t count = 0;
	if (json_strings(list, "keys", "strings", NULL, &strings, &count, err) != 0)
		return -1;
	for (size_t i = 0; i < count && i < ACCOUNT_KEYS_MAX; i++)
		keys[i] = (struct account_key){strings[i],
			(size_t)json_object_get_string_len(json_object_array_get_idx(list, i))};
	free(strings);
	if (count < 1 || count > ACCOUNT_KEYS_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"\"keys\" must have one or two entries, and has %zu", count);
	return (int)count;
}

static int read_rule(struct json_object *apps, struct json_object *tenant,
	struct account_rule *rule, struct error *err)
{
	const char **strings = NULL;
	if (tenant != NULL && !is_uuid(json_object_get_string(tenant)))
		return error_set(err, ERR_CONFIGURATION, "\"tenant\" must be a UUID");
	if (json_strings(apps, "apps", "UUIDs", is_uuid, &strings, &rule->count, err) != 0)
		return -1;
	rule->principals = calloc(rule->count + 1, sizeof(*rule->principals));
	for (size_t i = 0; i < rule->count && rule->principals != NULL; i++)
		memcpy(rule->principals[i], strings[i], ACCOUNT_ID_LEN + 1);
	free(strings);
	if (tenant != NULL)
		memcpy(rule->tenant, json_object_get_string(tenant), ACCOUNT_ID_LEN + 1);
	return rule->principals != NULL ? 0
					: error_set(err, ERR_NO_MEMORY, "no memory for \"apps\"");
}

/* Keys are replaced; whom the account permits only where that is said. */
void control_put_account(struct control_call *call)
{
	struct error err = ERROR_INIT;
	struct account_key keys[ACCOUNT_KEYS_MAX] = {{0}};
	struct account_rule rule = {0};
	struct json_object *list = NULL;
	struct json_object *apps = NULL;
	struct json_object *tenant = NULL;
	const struct json_member members[] = {
		{"keys", json_type_array, true, &list},
		{"apps", json_type_array, false, &apps},
		{"tenant", json_type_string, false, &tenant},
	};
	int added = -1;
	int count = json_members(call->body, "an account", members, 3, &err) != 0
			    ? -1
			    : read_keys(list, keys, &err);
	if (count >= 0 && read_rule(apps, tenant, &rule, &err) == 0)
		added = accounts_put(
			call->emulator->accounts, call->rest, keys, (size_t)count, &err);
	if (added < 0) {
		control_reply_failure(call, &err);
		free(rule.principals);
		return;
	}
	struct json_object *shown = account_json(call->rest, (size_t)count, &rule);
	if ((apps == NULL && tenant == NULL) ||
		accounts_permit(call->emulator->accounts, call->rest, &rule) != 0)
		free(rule.principals);
	control_reply(call, added == 1 ? 201 : 200, shown);
}

void control_delete_account(struct control_call *call)
{
	control_reply_deleted(call, accounts_remove(call->emulator->accounts, call->rest),
		"there is no such account");
}
