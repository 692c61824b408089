#include "emulator/entra_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"

static int check_client_credentials(struct entra_call *call)
{
	if (strcasecmp(call->tenant_word, "common") == 0 ||
		strcasecmp(call->tenant_word, "organizations") == 0)
		return entra_refuse(call, AADSTS_NO_TENANT, NULL, NULL);
	if (entra_read_scopes(call, form_get(&call->form, "scope"), false) != 0)
		return -1;
	return entra_authenticate(call);
}

/* A public app shows no credential with a user's grant, another must. */
static int authenticate_if_confidential(struct entra_call *call)
{
	bool has_credential = form_get(&call->form, "client_secret") != NULL ||
			      form_get(&call->form, "client_assertion") != NULL;
	return call->app->is_public && !has_credential ? 0 : entra_authenticate(call);
}

static int check_refresh_token(struct entra_call *call)
{
	static const int refusals[] = {
		[REFRESH_UNKNOWN] = AADSTS_INVALID_GRANT,
		[REFRESH_REVOKED] = AADSTS_REVOKED,
		[REFRESH_EXPIRED] = AADSTS_REFRESH_EXPIRED,
	};
	struct refresh_grant grant;
	enum refresh_check found = refresh_tokens_check(call->emulator->refresh_tokens,
		form_get(&call->form, "refresh_token"), emulator_now_s(call->emulator), &grant);
	if (authenticate_if_confidential(call) != 0)
		return -1;
	if (found != REFRESH_GOOD)
		return entra_refuse(call, refusals[found], NULL, NULL);
	if (strcasecmp(grant.client_id, call->app->client_id) != 0 ||
		strcasecmp(grant.tenant_id, call->tenant_id) != 0)
		return entra_refuse(call, AADSTS_INVALID_GRANT,
			"The refresh token was given to another client or in another tenant.",
			NULL);
	if (entra_read_scopes(call, form_get(&call->form, "scope"), true) != 0)
		return -1;
	call->user = grant.user;
	call->has_user = true;
	call->wants_refresh_token = true;
	return 0;
}

static int check_device_code(struct entra_call *call)
{
	if (authenticate_if_confidential(call) != 0)
		return -1;
	return device_grant_check(call);
}

/* No account of the emulator has a password. */
static int check_password(struct entra_call *call)
{
	if (authenticate_if_confidential(call) != 0)
		return -1;
	return entra_refuse(call, AADSTS_WRONG_PASSWORD, NULL, NULL);
}

/* What clients send with every grant; those of JavaScript put into the form what others put into
 * headers. */
static const char *const common_fields[] = {
	"grant_type", "client_id", "scope", "client_info", "claims", "client_secret",
	"client_assertion", "client_assertion_type", "client-request-id", "x-client-SKU",
	"x-client-VER", "x-client-OS", "x-client-CPU", "x-ms-lib-capability",
	"x-client-current-telemetry", "x-client-last-telemetry",
	"code", /* with a device_code, and the same: one client sends both */
};
#define COMMON_COUNT (sizeof(common_fields) / sizeof(common_fields[0]))

static const struct grant {
	const char *type;
	const char *needed[5];
	int (*check)(struct entra_call *call);
} grants[] = {
	{"client_credentials", {"client_id", "scope"}, check_client_credentials},
	{"refresh_token", {"client_id", "refresh_token", "scope"}, check_refresh_token},
	{DEVICE_GRANT, {"client_id", "device_code"}, check_device_code},
	{"password", {"client_id", "scope", "username", "password"}, check_password},
};
#define GRANT_COUNT (sizeof(grants) / sizeof(grants[0]))

static int check_fields(struct entra_call *call, const struct grant *grant)
{
	const char *known[COMMON_COUNT + 6] = {NULL};
	size_t count = 0;
	for (; count < COMMON_COUNT; count++)
		known[count] = common_fields[count];
	for (size_t i = 0; grant->needed[i] != NULL; i++)
		known[count++] = grant->needed[i];
	const char *unknown = form_unknown(&call->form, known);
	if (unknown != NULL)
		return entra_refuse(call, AADSTS_MALFORMED,
			"The form has a field that no client sends with this grant:", unknown);
	return entra_need_fields(call, grant->needed);
}

void token_check(struct entra_call *call)
{
	static const char *const needed[] = {"grant_type", NULL};
	if (entra_need_fields(call, needed) != 0)
		return;
	const char *type = form_get(&call->form, "grant_type");
	size_t i = 0;
	while (i < GRANT_COUNT && strcmp(grants[i].type, type) != 0)
		i++;
	if (i == GRANT_COUNT)
		entra_refuse(call, AADSTS_UNSUPPORTED_GRANT, NULL, type);
	else if (check_fields(call, &grants[i]) == 0 && entra_find_app(call) == 0)
		grants[i].check(call);
}

/* A new access token, or the last for the purpose when a fault wants that one. Sets what is left of
 * its life. */
static char *make_access_token(struct entra_call *call, const struct exchange *exchange,
	const struct entra_grant *grant, int64_t *expires_in_s, struct error *err)
{
	struct emulator *emulator = call->emulator;
	int64_t now = emulator_now_s(emulator);
	char *token = NULL;
	_cleanup_text_ struct text purpose = {0};
	text_appendf(&purpose, "%s %s %s %s", grant->tenant_id, grant->client_id,
		call->user.username, grant->audience);
	const char *words = text_string(&purpose);
	if (words == NULL) {
		error_set(err, ERR_NO_MEMORY, "no memory for a token");
		return NULL;
	}
	*expires_in_s =
		exchange_lifetime_s(exchange, atomic_load(&emulator->settings.entra_expires_in_s));
	if (exchange_repeats_token(exchange)) {
		int64_t expires_on = 0;
		token = kept_tokens_get(emulator->kept_tokens, words, &expires_on);
		if (token != NULL)
			*expires_in_s = expires_on - now;
	}
	if (token == NULL)
		token = entra_access_token(emulator, grant, *expires_in_s, err);
	if (token != NULL)
		kept_tokens_put(emulator->kept_tokens, words, token, now + *expires_in_s);
	return token;
}

/* Whom the tokens are for, as clients of MSAL want it: {"uid", "utid"} in base64url. */
static void add_client_info(struct json_object *json, const struct entra_call *call)
{
	char info[160];
	char encoded[240];
	int len = snprintf(info, sizeof(info), "{\"uid\":\"%s\",\"utid\":\"%s\"}",
		call->user.object_id, call->tenant_id);
	base64url_encode((const unsigned char *)info, (size_t)len, encoded);
	json_object_object_add(json, "client_info", json_object_new_string(encoded));
}

/* What a user's grant brings beside the access token. */
static void add_user_tokens(struct entra_call *call, const struct entra_grant *grant,
	struct json_object *json, int64_t expires_in_s, struct error *err)
{
	struct emulator *emulator = call->emulator;
	const char *client_info = form_get(&call->form, "client_info");
	json_object_object_add(json, "scope", json_object_new_string(call->scopes));
	if (call->wants_refresh_token) {
		struct refresh_grant refresh = {
			.user = call->user,
			.expires_on = emulator_now_s(emulator) +
				      atomic_load(&emulator->settings.refresh_token_lifetime_s),
		};
		memcpy(refresh.tenant_id, call->tenant_id, UUID_SIZE);
		memcpy(refresh.client_id, call->app->client_id, UUID_SIZE);
		char *token = refresh_tokens_issue(emulator->refresh_tokens, &refresh);
		if (token != NULL)
			json_object_object_add(
				json, "refresh_token", json_object_new_string(token));
		free(token);
	}
	if (call->wants_id_token) {
		char *token = entra_id_token(emulator, grant, expires_in_s, err);
		if (token != NULL)
			json_object_object_add(json, "id_token", json_object_new_string(token));
		free(token);
	}
	if (client_info != NULL && strcmp(client_info, "1") == 0)
		add_client_info(json, call);
}

void token_fill(struct entra_call *call, const struct exchange *exchange)
{
	struct error err = ERROR_INIT;
	const struct settings *settings = &call->emulator->settings;
	const struct entra_grant grant = {
		.base = call->base,
		.tenant_id = call->tenant_id,
		.client_id = call->app->client_id,
		.object_id = call->app->object_id,
		.audience = call->audience,
		.scopes = call->scopes,
		.user = call->has_user ? &call->user : NULL,
		.version = (int)atomic_load(&settings->entra_token_version),
		.authentication = call->authentication,
	};
	int64_t expires_in_s = 0;
	if (call->device_code != NULL &&
		!device_codes_redeem(call->emulator->device_codes, call->device_code)) {
		entra_error_fill(exchange, AADSTS_REDEEMED, NULL, NULL);
		return;
	}
	char *token = make_access_token(call, exchange, &grant, &expires_in_s, &err);
	if (token == NULL) {
		log_error("%s", err.message);
		exchange->answer->status = 500;
		return;
	}
	int64_t ext_expires_in_s = atomic_load(&settings->entra_ext_expires_in_s);
	int64_t refresh_in_s = atomic_load(&settings->entra_refresh_in_s);
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "token_type", json_object_new_string("Bearer"));
	json_object_object_add(json, "expires_in", json_object_new_int64(expires_in_s));
	json_object_object_add(json, "ext_expires_in",
		json_object_new_int64(ext_expires_in_s == 0 ? expires_in_s : ext_expires_in_s));
	if (refresh_in_s != 0)
		json_object_object_add(json, "refresh_in", json_object_new_int64(refresh_in_s));
	json_object_object_add(json, "access_token", json_object_new_string(token));
	if (call->has_user)
		add_user_tokens(call, &grant, json, expires_in_s, &err);
	free(token);
	entra_reply(exchange, json);
}
