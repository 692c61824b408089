#include "emulator/entra_call.h"

#include <stdio.h>
#include <string.h>

void device_code_check(struct entra_call *call)
{
	static const char *const needed[] = {"client_id", "scope", NULL};
	static const char *const known[] = {"client_id", "scope", "claims", "client-request-id",
		"x-client-SKU", "x-client-VER", "x-client-OS", "x-client-CPU",
		"x-ms-lib-capability", "x-client-current-telemetry", "x-client-last-telemetry",
		NULL};
	const char *unknown = form_unknown(&call->form, known);
	if (unknown != NULL)
		entra_refuse(call, AADSTS_MALFORMED,
			"The form has a field that no client sends to this endpoint:", unknown);
	else if (entra_need_fields(call, needed) == 0 && entra_find_app(call) == 0 &&
		 !call->app->is_public)
		entra_refuse(call, AADSTS_NO_CREDENTIAL, NULL, NULL);
	else if (call->aadsts == 0)
		entra_read_scopes(call, form_get(&call->form, "scope"), true);
}

void device_code_fill(struct entra_call *call, const struct exchange *exchange)
{
	struct emulator *emulator = call->emulator;
	int64_t lifetime_s = atomic_load(&emulator->settings.device_code_lifetime_s);
	struct device_flow flow = {
		.expires_on = emulator_now_s(emulator) + lifetime_s,
		.interval_s = atomic_load(&emulator->settings.device_code_interval_s),
	};
	memcpy(flow.tenant_id, call->tenant_id, UUID_SIZE);
	memcpy(flow.client_id, call->app->client_id, UUID_SIZE);
	snprintf(flow.scopes, sizeof(flow.scopes), "%s", form_get(&call->form, "scope"));
	if (device_codes_begin(emulator->device_codes, &flow) != 0) {
		exchange->answer->status = 500;
		return;
	}
	char uri[320];
	char message[512];
	snprintf(uri, sizeof(uri), "%s/common/oauth2/deviceauth", call->base);
	snprintf(message, sizeof(message),
		"Open %s in a web browser and enter the code %s to sign in.", uri, flow.user_code);
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "user_code", json_object_new_string(flow.user_code));
	json_object_object_add(json, "device_code", json_object_new_string(flow.device_code));
	json_object_object_add(json, "verification_uri", json_object_new_string(uri));
	json_object_object_add(json, "expires_in", json_object_new_int64(lifetime_s));
	json_object_object_add(json, "interval", json_object_new_int64(flow.interval_s));
	json_object_object_add(json, "message", json_object_new_string(message));
	entra_reply(exchange, json);
}

int device_grant_check(struct entra_call *call)
{
	static const int refusals[] = {
		[DEVICE_PENDING] = AADSTS_PENDING,
		[DEVICE_DECLINED] = AADSTS_DECLINED,
		[DEVICE_EXPIRED] = AADSTS_DEVICE_CODE_EXPIRED,
		[DEVICE_REDEEMED] = AADSTS_REDEEMED,
		[DEVICE_UNKNOWN] = AADSTS_BAD_DEVICE_CODE,
		[DEVICE_TOO_SOON] = AADSTS_SLOW_DOWN,
	};
	struct device_flow flow;
	const char *device_code = form_get(&call->form, "device_code");
	enum device_state state = device_codes_poll(call->emulator->device_codes, device_code,
		call->tenant_id, call->app->client_id, emulator_now_s(call->emulator), &flow);
	if (state != DEVICE_APPROVED)
		return entra_refuse(call, refusals[state], NULL, NULL);
	/* Which scopes was said when the flow began. */
	if (entra_read_scopes(call, flow.scopes, true) != 0)
		return -1;
	call->user = flow.user;
	call->has_user = true;
	call->device_code = device_code;
	return 0;
}
