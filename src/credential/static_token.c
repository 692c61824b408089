/*
 * A token that somebody else got: handed out as it is until it expires, and never refreshed. Its
 * file is looked at now and then, since whoever made it makes the next one too.
 * Source: azure-protocol.md A.11.
 */
#include "base/message_id.h"
#include "credential/credential.h"
#include "credential/live_secret.h"
#include "token/jwt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* How often the file is looked at, which costs one system call. */
#define LOOK_MS (INT64_C(10) * 1000)

/* Its end is near when less than this is left, or a quarter of what there was at first. */
#define NEAR_END_MS (INT64_C(3600) * 1000)

struct static_token {
	struct credential credential;
	struct live_secret *token;
	uint64_t version; /* that the times below are of */
	int64_t expires_on;
	int64_t dead_at_ms;
	int64_t seen_ms;
};

static void static_token_close(struct credential *credential)
{
	struct static_token *self = (struct static_token *)credential;
	live_secret_free(self->token);
	free(self);
}

static struct credential *static_token_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct static_token *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot keep a token: out of memory");
		return NULL;
	}
	self->token = live_secret_open(&settings->static_token, "static_token", err);
	if (self->token != NULL)
		return &self->credential;
	free(self);
	return NULL;
}

/*
 * Read it. Nobody told the time by which it was made, so this host's clock decides, once for each
 * token: what happens to the clock later changes nothing.
 */
static const struct secret *read_token(
	struct static_token *self, const struct loop *loop, struct error *err)
{
	uint64_t version = 0;
	int64_t expires_on = 0;
	const struct secret *token = live_secret_get(self->token, &version, err);
	if (token == NULL)
		return NULL;
	if (version != self->version) {
		if (jwt_expiry(token, &expires_on, err) != 0) {
			error_wrap(err, "static_token: %s", live_secret_name(self->token));
			err->code = ERR_SECRET_SOURCE;
			return NULL;
		}
		self->version = version;
		self->expires_on = expires_on;
		self->seen_ms = loop_now_ms(loop);
		self->dead_at_ms =
			self->seen_ms + (expires_on - clock_realtime_s(loop_clock(loop))) * 1000;
	}
	if (loop_now_ms(loop) < self->dead_at_ms)
		return token;
	error_set(err, ERR_SECRET_SOURCE,
		"static_token: the token in %s expired at %" PRId64
		" and cannot be refreshed; put a new one there",
		live_secret_name(self->token), self->expires_on);
	return NULL;
}

static void fill_in(struct static_token *self, const struct loop *loop, struct access_token *token)
{
	int64_t now_ms = loop_now_ms(loop);
	int64_t left_ms = self->dead_at_ms - now_ms;
	token->expires_on = self->expires_on;
	token->dead_at_ms = self->dead_at_ms;
	token->refresh_at_ms = now_ms + (left_ms < LOOK_MS ? left_ms : LOOK_MS);
	token->is_static = true;
	if (left_ms >= NEAR_END_MS || left_ms >= (self->dead_at_ms - self->seen_ms) / 4)
		return;
	token->notice_id = MESSAGE_STATIC_TOKEN_EXPIRES;
	snprintf(token->notice, sizeof(token->notice),
		"the static token expires at %" PRId64
		" and cannot be refreshed; put a new one in %.120s",
		self->expires_on, live_secret_name(self->token));
}

static struct credential_call *static_token_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct static_token *self = (struct static_token *)credential;
	struct error found = ERROR_INIT;
	struct access_token token = {0};
	(void)scope; /* it is for whatever it is for */
	const struct secret *present = read_token(self, loop, &found);
	if (present != NULL) {
		fill_in(self, loop, &token);
		token.token = secret_from(secret_bytes(present), secret_len(present));
		if (token.token == NULL)
			error_set(&found, ERR_NO_MEMORY, "cannot keep a token: out of memory");
	}
	struct credential_call *call = credential_answer_ready(
		credential, loop, token.token == NULL ? NULL : &token, &found, done, context, err);
	secret_free(token.token);
	return call;
}

static void static_token_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct static_token *self = (const struct static_token *)credential;
	visit(context, self->token, SECRET_IS_RENEWED);
}

static const char *const keys[] = {"!static_token", NULL};

const struct credential_kind credential_static_token = {
	.name = "static_token",
	.keys = keys,
	.open = static_token_open,
	.ask = static_token_ask,
	.cancel = credential_cancel_ready,
	.secrets = static_token_secrets,
	.close = static_token_close,
	.is_shared = true,
	.ignores_scope = true,
};
