/*
 * The key of a Mixed Reality account, or a pair of keys: `Bearer {accountId}:{accountKey}`, as it
 * is, neither decoded nor signed with. Source: azure-protocol.md A.2, A.12.
 *
 * Of a pair, the first is shown as long as the STS takes it. One that is refused gives way to the
 * other in the same exchange, and is not shown again until it is another one. Only the first is
 * tried again as it is, once in a while: the STS may have been wrong, and the second key is the
 * spare one.
 */
#include "base/log.h"
#include "base/message_id.h"
#include "credential/credential.h"
#include "credential/live_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_COUNT_MAX 2
#define FIRST 0
#define NO_KEY KEY_COUNT_MAX

/* Not more often than this is a first key tried again that was refused, and only with a refresh. */
#define RETRY_MS (INT64_C(3600) * 1000)

/* A key that changes again and again while it is being refused does not keep an exchange alive. */
#define REFUSALS_MAX 4

static const char *const key_names[KEY_COUNT_MAX] = {"account_key", "secondary_account_key"};

struct key {
	struct live_secret *source;
	struct secret *bearer; /* NULL: it cannot be read, and `trouble` says why */
	uint64_t version; /* of the bearer */
	uint64_t refused_version; /* what the STS refused last; 0: nothing */
	struct error trouble;
};

struct account_key {
	struct credential credential;
	char *account_id;
	struct key keys[KEY_COUNT_MAX];
	unsigned count;
	unsigned shown; /* by the last ask() */
	unsigned next; /* to be shown by the next one; or NO_KEY */
	unsigned refused; /* bits of the keys that were, in this exchange */
	int64_t asked_ms; /* CLOCK_BOOTTIME of the last ask() */
	int64_t retry_ms; /* when a first key that was refused may be tried again as it is */
};

static void account_key_close(struct credential *credential)
{
	struct account_key *self = (struct account_key *)credential;
	for (unsigned i = 0; i < KEY_COUNT_MAX; i++) {
		live_secret_free(self->keys[i].source);
		secret_free(self->keys[i].bearer);
	}
	free(self->account_id);
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

/* What the account shows with this key. NULL with *err. */
static struct secret *make_bearer(
	const char *account_id, const struct secret *key, struct error *err)
{
	struct secret *bearer = secret_new(strlen(account_id) + 1 + secret_len(key));
	if (bearer != NULL && secret_append_string(bearer, account_id) == 0 &&
		secret_append_string(bearer, ":") == 0 && secret_append_secret(bearer, key) == 0)
		return bearer;
	secret_free(bearer);
	error_set(err, ERR_NO_MEMORY, "cannot keep an account key: out of memory");
	return NULL;
}

/* Have the key as it is now. Returns 0; or -1, and key->trouble says why there is none. */
static int follow_key(struct account_key *self, unsigned at)
{
	struct key *key = &self->keys[at];
	uint64_t version = 0;
	key->trouble = ERROR_INIT;
	const struct secret *secret = live_secret_get(key->source, &version, &key->trouble);
	if (secret != NULL && key->bearer != NULL && version == key->version)
		return 0;
	secret_free(key->bearer);
	key->bearer = NULL;
	if (secret == NULL)
		return -1;
	key->version = version;
	if (check_key(secret, &key->trouble) != 0)
		return error_wrap(&key->trouble, "%s", key_names[at]);
	key->bearer = make_bearer(self->account_id, secret, &key->trouble);
	return key->bearer == NULL ? -1 : 0;
}

/* Returns 0, or -1 with *err. */
static int add_key(struct account_key *self, const struct secret_source *source, struct error *err)
{
	unsigned at = self->count++;
	struct key *key = &self->keys[at];
	/* Where it is configured is told in front of the account, and by nobody while it runs. */
	const struct secret_source own = {.kind = source->kind, .name = source->name};
	key->source = live_secret_open(&own, key_names[at], err);
	if (key->source == NULL)
		return -1;
	if (follow_key(self, at) == 0)
		return 0;
	*err = key->trouble;
	return -1;
}

static struct credential *account_key_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	const struct secret_source *const sources[KEY_COUNT_MAX] = {
		&settings->account_key,
		&settings->secondary_account_key,
	};
	struct account_key *self = calloc(1, sizeof(*self));
	if (self == NULL || (self->account_id = strdup(account->account_id)) == NULL) {
		free(self);
		error_set(err, ERR_NO_MEMORY, "cannot keep an account key: out of memory");
		return NULL;
	}
	self->next = NO_KEY;
	for (size_t i = 0; i < KEY_COUNT_MAX; i++) {
		if (sources[i]->kind == SECRET_SOURCE_NONE || add_key(self, sources[i], err) == 0)
			continue;
		error_wrap(err, "%s%s[account %s]",
			sources[i]->where == NULL ? "" : sources[i]->where,
			sources[i]->where == NULL ? "" : ": ", account->name);
		account_key_close(&self->credential);
		return NULL;
	}
	return &self->credential;
}

static bool is_readable(const struct account_key *self, unsigned at)
{
	return at < self->count && self->keys[at].bearer != NULL;
}

/* Whether the STS has said no to the key as it is now. */
static bool is_refused(const struct account_key *self, unsigned at)
{
	return self->keys[at].refused_version == self->keys[at].version;
}

/* Which key to show; or NO_KEY, none can be read. */
static unsigned choose(struct account_key *self)
{
	unsigned wanted = self->next;
	self->next = NO_KEY;
	if (is_readable(self, wanted))
		return wanted;
	for (unsigned i = FIRST; i < self->count; i++) {
		if (!is_readable(self, i))
			continue;
		if (!is_refused(self, i))
			return i;
		if (i == FIRST && self->asked_ms >= self->retry_ms) {
			/* Counted from here: a retry that breaks off is one all the same. */
			self->retry_ms = self->asked_ms + RETRY_MS;
			return i;
		}
	}
	for (unsigned i = FIRST; i < self->count; i++)
		if (is_readable(self, i))
			return i;
	return NO_KEY;
}

/* What someone should look at though `shown` may well work: the state of the other key. */
static void describe_other(
	const struct account_key *self, unsigned shown, struct access_token *token)
{
	char *out = token->notice;
	const size_t size = sizeof(token->notice);
	unsigned at = 1 - shown;
	if (at >= self->count)
		return;
	const struct key *key = &self->keys[at];
	const char *effect = shown == FIRST ? "there is no second key to fall back on"
					    : "the secondary_account_key is in use";
	token->notice_id = MESSAGE_KEY_FALLBACK;
	/* That it was refused was told when it was. */
	token->is_notice_told = key->bearer != NULL;
	if (key->bearer == NULL)
		snprintf(out, size, "%s; %.160s", effect, key->trouble.message);
	else if (is_refused(self, at))
		snprintf(out, size, "the STS refused the %s, %s: put a valid key in %.120s",
			key_names[at], effect, live_secret_name(key->source));
}

static void cannot_read(const struct account_key *self, struct error *err)
{
	*err = self->keys[FIRST].trouble;
	if (self->count > 1)
		error_set(err, ERR_SECRET_SOURCE, "%.700s; and %.700s",
			self->keys[0].trouble.message, self->keys[1].trouble.message);
}

static struct credential_call *account_key_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct account_key *self = (struct account_key *)credential;
	struct error found = ERROR_INIT;
	struct access_token token = {
		.dead_at_ms = INT64_MAX,
		.refresh_at_ms = -1,
		.is_account_key = true,
	};
	(void)scope; /* a key is for one account, and for nothing else */
	self->asked_ms = loop_now_ms(loop);
	for (unsigned i = 0; i < self->count; i++)
		follow_key(self, i);
	unsigned shown = choose(self);
	if (shown == NO_KEY) {
		cannot_read(self, &found);
	} else {
		const struct secret *bearer = self->keys[shown].bearer;
		self->shown = shown;
		token.key = self->count > 1 ? key_names[shown] : NULL;
		describe_other(self, shown, &token);
		token.token = secret_from(secret_bytes(bearer), secret_len(bearer));
		if (token.token == NULL)
			error_set(
				&found, ERR_NO_MEMORY, "cannot show an account key: out of memory");
	}
	struct credential_call *call = credential_answer_ready(
		credential, loop, token.token == NULL ? NULL : &token, &found, done, context, err);
	secret_free(token.token);
	return call;
}

static bool account_key_refused(
	struct credential *credential, const struct account_settings *account, unsigned refusals)
{
	struct account_key *self = (struct account_key *)credential;
	struct key *key = &self->keys[self->shown];
	const unsigned other = 1 - self->shown;
	const struct log_field fields[] = {
		{"MESSAGE_ID", MESSAGE_KEY_FALLBACK},
		{"ACCOUNT", account->name},
		{0},
	};
	uint64_t version = key->version;
	if (refusals == 1)
		self->refused = 0;
	key->refused_version = version;
	if (self->shown == FIRST)
		self->retry_ms = self->asked_ms + RETRY_MS;
	/* It was replaced while it was on its way. */
	if (refusals < REFUSALS_MAX && follow_key(self, self->shown) == 0 &&
		key->version != version) {
		self->next = self->shown;
		return true;
	}
	self->refused |= 1U << self->shown;
	if (other >= self->count || self->refused & 1U << other || refusals >= REFUSALS_MAX ||
		follow_key(self, other) != 0)
		return false;
	self->next = other;
	log_event(LOG_LEVEL_WARNING, fields,
		"account %s: the STS refused the %s, trying the %s; put a valid key in %s",
		account->name, key_names[self->shown], key_names[other],
		live_secret_name(key->source));
	return true;
}

static void account_key_accepted(struct credential *credential)
{
	struct account_key *self = (struct account_key *)credential;
	self->keys[self->shown].refused_version = 0;
}

static void account_key_reconsider(struct credential *credential)
{
	((struct account_key *)credential)->retry_ms = 0;
}

static void account_key_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct account_key *self = (const struct account_key *)credential;
	for (unsigned i = 0; i < self->count; i++)
		visit(context, self->keys[i].source, SECRET_IS_ROTATED);
}

static const char *const keys[] = {"!account_key", "secondary_account_key", NULL};

const struct credential_kind credential_account_key = {
	.name = "account_key",
	.keys = keys,
	.open = account_key_open,
	.ask = account_key_ask,
	.cancel = credential_cancel_ready,
	.refused = account_key_refused,
	.accepted = account_key_accepted,
	.reconsider = account_key_reconsider,
	.secrets = account_key_secrets,
	.close = account_key_close,
	.ignores_scope = true,
};
