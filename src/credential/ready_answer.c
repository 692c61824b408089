/*
 * A call that says from within loop_run() what was known before: for kinds that need no network,
 * and for what failed before anything was sent.
 */
#include "credential/credential.h"

#include <stdlib.h>

struct ready_call {
	struct credential_call call;
	struct loop *loop;
	struct loop_timer timer;
	struct access_token token; /* without a secret: a failure */
	struct error err;
};

static void ready_free(struct ready_call *ready)
{
	secret_free(ready->token.token);
	free(ready);
}

static void on_timer(void *context)
{
	struct ready_call *ready = context;
	if (ready->token.token != NULL)
		ready->call.done(ready->call.context, &ready->token, NULL);
	else
		ready->call.done(ready->call.context, NULL, &ready->err);
	ready_free(ready);
}

struct credential_call *credential_answer_ready(struct credential *credential, struct loop *loop,
	struct access_token *token, const struct error *ready_err, credential_done_fn done,
	void *context, struct error *err)
{
	struct ready_call *ready = calloc(1, sizeof(*ready));
	if (ready == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot answer: out of memory");
		return NULL;
	}
	ready->call = (struct credential_call){credential, done, context};
	ready->loop = loop;
	ready->timer.fire = on_timer;
	ready->timer.context = ready;
	if (loop_timer_set(loop, &ready->timer, 0) != 0) {
		free(ready);
		error_set(err, ERR_NO_MEMORY, "cannot answer: out of memory");
		return NULL;
	}
	if (token != NULL) {
		ready->token = *token;
		token->token = NULL;
	} else {
		ready->err = *ready_err;
	}
	return &ready->call;
}

void credential_cancel_ready(struct credential_call *call)
{
	struct ready_call *ready = (struct ready_call *)call;
	loop_timer_cancel(ready->loop, &ready->timer);
	ready_free(ready);
}
