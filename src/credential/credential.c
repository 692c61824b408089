#include "credential/credential.h"

#include "credential/chain.h"
#include "credential/shared_token.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct credential_kind *const credential_kinds[] = {
	&credential_account_key,
	&credential_client_secret,
	&credential_client_certificate,
	&credential_client_assertion,
	&credential_workload_identity,
	&credential_managed_identity,
	&credential_device_code,
	&credential_azure_cli,
	&credential_azure_developer_cli,
	&credential_azure_powershell,
	&credential_static_token,
	&credential_environment,
	&credential_default,
	NULL,
};

const struct credential_kind *credential_kind_find(const char *name)
{
	for (size_t i = 0; credential_kinds[i] != NULL; i++)
		if (strcmp(credential_kinds[i]->name, name) == 0)
			return credential_kinds[i];
	return NULL;
}

struct credential *credential_open_kind(const struct credential_kind *kind,
	const struct credential_settings *settings, const struct account_settings *account,
	struct error *err)
{
	struct credential *credential = kind->open(settings, account, err);
	if (credential == NULL)
		return NULL;
	credential->kind = kind;
	credential->references = 1;
	return credential;
}

struct credential *credential_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	if (settings->kind_count == 1)
		return credential_open_kind(settings->kinds[0], settings, account, err);
	return credential_open_kind(&credential_chain, settings, account, err);
}

struct credential *credential_with_login(struct credential *credential)
{
	size_t count = 0;
	if (credential->kind->login != NULL)
		return credential;
	struct credential *const *members = credential->kind->members == NULL
						    ? NULL
						    : credential->kind->members(credential, &count);
	struct credential *found = NULL;
	for (size_t i = 0; i < count && found == NULL; i++)
		found = credential_with_login(members[i]);
	return found;
}

void credential_visit_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	size_t count = 0;
	struct credential *const *members = credential->kind->members == NULL
						    ? NULL
						    : credential->kind->members(credential, &count);
	for (size_t i = 0; i < count; i++)
		credential_visit_secrets(members[i], visit, context);
	if (credential->kind->secrets != NULL)
		credential->kind->secrets(credential, visit, context);
}

void credential_close(struct credential *credential)
{
	if (credential == NULL || --credential->references > 0)
		return;
	shared_token_free_all(credential);
	credential->kind->close(credential);
}

int access_token_check(const struct secret *token, struct error *err)
{
	const char *bytes = secret_bytes(token);
	for (size_t i = 0; i < secret_len(token); i++)
		if (bytes[i] < 0x21 || bytes[i] > 0x7e)
			return error_set(err, ERR_UPSTREAM_FORMAT,
				"the byte at offset %zu of access_token has no place in a token",
				i);
	return 0;
}

int credential_set_lifetime(struct access_token *token, const struct loop *loop,
	const struct credential_lifetime *told, struct error *err)
{
	int64_t local_s = clock_realtime_s(loop_clock(loop));
	int64_t server_s = told->server_date_s >= 0 ? told->server_date_s : local_s;
	if (told->expires_on_s < 0 && told->expires_in_s < 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the answer tells neither expires_on nor expires_in");
	token->expires_on =
		told->expires_on_s >= 0 ? told->expires_on_s : server_s + told->expires_in_s;
	/* Counted from the sending: what came later has lived since then at the most. */
	int64_t lifetime_s =
		told->expires_on_s >= 0 ? told->expires_on_s - server_s : told->expires_in_s;
	if (lifetime_s > CREDENTIAL_LIFETIME_MAX_S)
		lifetime_s = CREDENTIAL_LIFETIME_MAX_S;
	token->dead_at_ms = told->sent_ms + lifetime_s * 1000;
	token->refresh_at_ms =
		told->refresh_in_s > 0 ? told->sent_ms + told->refresh_in_s * 1000 : -1;
	if (token->dead_at_ms > loop_now_ms(loop))
		return 0;
	return error_set(err, ERR_UPSTREAM_FORMAT,
		"the token expires at %" PRId64
		", which is not after the answer's own time; expected one with a life ahead",
		token->expires_on);
}
