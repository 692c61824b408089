/*
 * The key of a Mixed Reality account, or a pair of keys: `Bearer {accountId}:{accountKey}`, as it
 * is, neither decoded nor signed with. Source: azure-protocol.md A.2, A.12.
 */
#include "base/log.h"
#include "base/message_id.h"
#include "credential/credential.h"

#include <stdlib.h>
#include <string.h>

#define KEY_COUNT_MAX 2

static const char *const key_names[KEY_COUNT_MAX] = {"account_key", "secondary_account_key"};

struct account_key {
	struct credential credential;
	struct secret *bearers[KEY_COUNT_MAX];
	unsigned count;
	unsigned current; /* the one that worked last */
};

static void account_key_close(struct credential *credential)
{
	struct account_key *self = (struct account_key *)credential;
	for (unsigned i = 0; i < self->count; i++)
		secret_free(self->bearers[i]);
	free(self);
}

/* What could break out of a header is refused here, before it ever gets into one. */
static int check_key(const struct secret *key, struct error *err)
{
	const char *bytes = secret_bytes(key);
	for (size_t i = 0; i < secret_len(key); i++)
		if (bytes[i] < 0x21 || bytes[i] > 0x7e)
			return error_set(err, ERR_SECRET_SOURCE,
				"the byte at offset %zu has no place in an account key; expected "
				"the key "
				"as the portal shows it, alone in its file",
				i);
	return 0;
}

/* Keep what the account shows with this key. Returns 0, or -1 with *err. */
static int add_key(struct account_key *self, const struct secret_source *source,
	const char *account_id, struct error *err)
{
	_cleanup_secret_ struct secret *key = secret_source_read(source, err);
	if (key == NULL || check_key(key, err) != 0)
		return -1;
	struct secret *bearer = secret_new(strlen(account_id) + 1 + secret_len(key));
	if (bearer == NULL || secret_append_string(bearer, account_id) != 0 ||
		secret_append_string(bearer, ":") != 0 || secret_append_secret(bearer, key) != 0) {
		secret_free(bearer);
		return error_set(err, ERR_NO_MEMORY, "cannot keep an account key: out of memory");
	}
	self->bearers[self->count++] = bearer;
	return 0;
}

static struct credential *account_key_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct account_key *self = calloc(1, sizeof(*self));
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot keep an account key: out of memory");
		return NULL;
	}
	const struct secret_source *const sources[KEY_COUNT_MAX] = {
		&settings->account_key,
		&settings->secondary_account_key,
	};
	for (size_t i = 0; i < KEY_COUNT_MAX; i++) {
		if (sources[i]->kind == SECRET_SOURCE_NONE ||
			add_key(self, sources[i], account->account_id, err) == 0)
			continue;
		error_wrap(err, "%s%s[account %s]: %s",
			sources[i]->where == NULL ? "" : sources[i]->where,
			sources[i]->where == NULL ? "" : ": ", account->name, key_names[i]);
		account_key_close(&self->credential);
		return NULL;
	}
	return &self->credential;
}

static struct credential_call *account_key_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	const struct account_key *self = (const struct account_key *)credential;
	const struct secret *bearer = self->bearers[self->current];
	struct error found = ERROR_INIT;
	struct access_token token = {
		.token = secret_from(secret_bytes(bearer), secret_len(bearer)),
		.dead_at_ms = INT64_MAX,
		.refresh_at_ms = -1,
		.is_account_key = true,
	};
	(void)scope; /* a key is for one account, and for nothing else */
	if (token.token == NULL)
		error_set(&found, ERR_NO_MEMORY, "cannot show an account key: out of memory");
	struct credential_call *call = credential_answer_ready(
		credential, loop, token.token == NULL ? NULL : &token, &found, done, context, err);
	secret_free(token.token);
	return call;
}

static bool account_key_refused(
	struct credential *credential, const struct account_settings *account, unsigned refusals)
{
	struct account_key *self = (struct account_key *)credential;
	if (self->count < 2)
		return false;
	unsigned refused = self->current;
	self->current = (self->current + 1) % self->count;
	if (refusals >= self->count)
		return false; /* each was tried in this exchange */
	const struct log_field fields[] = {
		{"MESSAGE_ID", MESSAGE_KEY_FALLBACK},
		{"ACCOUNT", account->name},
		{0},
	};
	log_event(LOG_LEVEL_WARNING, fields,
		"account %s: the STS refused the %s, trying the %s; put the refused one right",
		account->name, key_names[refused], key_names[self->current]);
	return true;
}

static const char *const keys[] = {"!account_key", "secondary_account_key", NULL};

const struct credential_kind credential_account_key = {
	.name = "account_key",
	.keys = keys,
	.open = account_key_open,
	.ask = account_key_ask,
	.cancel = credential_cancel_ready,
	.refused = account_key_refused,
	.close = account_key_close,
	.ignores_scope = true,
};
