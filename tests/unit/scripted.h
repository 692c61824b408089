/*
 * A credential that does as the test says. It belongs to the test, and is not freed.
 * Each test program that needs it includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_SCRIPTED_H
#define MRTOKEND_TESTS_UNIT_SCRIPTED_H

#include "asking.h"

struct scripted_call {
	struct credential_call call;
	struct loop *loop;
	struct loop_timer timer;
};

struct scripted {
	struct credential credential;

	/* What it does. */
	const char *token; /* NULL: it fails */
	enum error_code failure;
	const char *reason;
	int64_t retry_after_s; /* 0: none */
	int64_t life_ms;
	int64_t refresh_in_ms; /* 0: not told */
	bool is_account_key;
	bool is_static;
	bool cannot_be_asked; /* ask() fails at once */
	bool is_late; /* it answers when scripted_answer() is called */
	bool has_another; /* what refused() says */
	const char *given_by;

	/* What was done with it. */
	unsigned asked;
	unsigned cancelled;
	unsigned refused;
	unsigned accepted;
	unsigned closed;
	unsigned last_refusals;
	const struct account_settings *last_account;
	char last_scope[64];
	struct scripted_call *call; /* under way, or NULL */
};

static inline void scripted_error(const struct scripted *self, struct error *err)
{
	*err = ERROR_INIT;
	error_set(err, self->failure, "%s", self->reason == NULL ? "no luck" : self->reason);
	if (self->retry_after_s != 0)
		err->retry_after_s = self->retry_after_s;
}

/* Answer what is under way. From within loop_run() only, in the hands of those who test that. */
static inline void scripted_answer(struct scripted *self)
{
	struct scripted_call *call = self->call;
	struct error err;
	int64_t now_ms = loop_now_ms(call->loop);
	struct access_token token = {
		.expires_on = TODAY_S + self->life_ms / 1000,
		.dead_at_ms = now_ms + self->life_ms,
		.refresh_at_ms = self->refresh_in_ms == 0 ? -1 : now_ms + self->refresh_in_ms,
		.is_account_key = self->is_account_key,
		.is_static = self->is_static,
		.given_by = self->given_by,
	};
	self->call = NULL;
	loop_timer_cancel(call->loop, &call->timer);
	if (self->token == NULL) {
		scripted_error(self, &err);
		call->call.done(call->call.context, NULL, &err);
	} else {
		token.token = secret_from(self->token, strlen(self->token));
		call->call.done(call->call.context, &token, NULL);
	}
	secret_free(token.token);
	free(call);
}

static inline void scripted_on_timer(void *context)
{
	scripted_answer(context);
}

static inline struct credential_call *scripted_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct scripted *self = (struct scripted *)credential;
	self->asked++;
	snprintf(self->last_scope, sizeof(self->last_scope), "%s", scope);
	ck_assert_ptr_null(self->call); /* never two at a time */
	if (self->cannot_be_asked) {
		scripted_error(self, err);
		return NULL;
	}
	struct scripted_call *call = calloc(1, sizeof(*call));
	ck_assert_ptr_nonnull(call);
	call->call = (struct credential_call){credential, done, context};
	call->loop = loop;
	call->timer.fire = scripted_on_timer;
	call->timer.context = self;
	if (!self->is_late)
		ck_assert_int_eq(loop_timer_set(loop, &call->timer, 0), 0);
	self->call = call;
	return &call->call;
}

static inline void scripted_cancel(struct credential_call *credential_call)
{
	struct scripted_call *call = (struct scripted_call *)credential_call;
	struct scripted *self = (struct scripted *)call->call.credential;
	ck_assert_ptr_eq(self->call, call);
	self->cancelled++;
	self->call = NULL;
	loop_timer_cancel(call->loop, &call->timer);
	free(call);
}

static inline bool scripted_refused(
	struct credential *credential, const struct account_settings *account, unsigned refusals)
{
	struct scripted *self = (struct scripted *)credential;
	self->refused++;
	self->last_account = account;
	self->last_refusals = refusals;
	return self->has_another;
}

static inline void scripted_accepted(struct credential *credential)
{
	((struct scripted *)credential)->accepted++;
}

static inline void scripted_close(struct credential *credential)
{
	struct scripted *self = (struct scripted *)credential;
	ck_assert_ptr_null(self->call);
	self->closed++;
}

#define SCRIPTED_FUNCTIONS                                                           \
	.ask = scripted_ask, .cancel = scripted_cancel, .refused = scripted_refused, \
	.accepted = scripted_accepted, .close = scripted_close

static inline void scripted_init(struct scripted *self, const struct credential_kind *kind)
{
	*self = (struct scripted){
		.credential = {.kind = kind, .references = 1},
		.token = "the-token",
		.life_ms = INT64_C(3600) * 1000,
		.failure = ERR_DENIED,
	};
}

#endif
