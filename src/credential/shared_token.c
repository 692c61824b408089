#include "credential/shared_token.h"

#include "token/schedule.h"

#include <stdlib.h>
#include <string.h>

/* Those who wait for one thing: a list whose entries can leave it from anywhere. */
struct token_wait {
	struct token_wait *next;
	struct token_wait **link; /* what points here */
	struct shared_token *shared;
	struct loop *loop;
	struct loop_timer timer; /* set: what is there already will do */
	bool takes_older;
	credential_done_fn done;
	void *context;
};

struct shared_token {
	struct shared_token *next; /* of the same credential */
	struct credential *credential;
	char *scope;
	struct credential_call *call; /* under way, or NULL */
	struct loop *loop; /* the call's */
	struct token_wait *waiting; /* for the call */
	struct token_wait *served; /* who are being called back, one after the other */
	struct access_token token; /* without a secret: none */
	int64_t received_ms;
	struct error failure; /* the answer until then */
	int64_t failed_until_ms;
};

static void list_put(struct token_wait **list, struct token_wait *wait)
{
	wait->next = *list;
	wait->link = list;
	if (wait->next != NULL)
		wait->next->link = &wait->next;
	*list = wait;
}

static void list_take(struct token_wait *wait)
{
	if (wait->link == NULL)
		return;
	*wait->link = wait->next;
	if (wait->next != NULL)
		wait->next->link = wait->link;
	wait->link = NULL;
}

static struct token_wait *list_pop(struct token_wait **list)
{
	struct token_wait *wait = *list;
	*list = wait->next;
	if (wait->next != NULL)
		wait->next->link = list;
	wait->link = NULL;
	return wait;
}

static struct shared_token *find(struct credential *credential, const char *scope)
{
	for (struct shared_token *s = credential->tokens; s != NULL; s = s->next)
		if (strcmp(s->scope, scope) == 0)
			return s;
	return NULL;
}

static struct shared_token *find_or_make(struct credential *credential, const char *scope)
{
	struct shared_token *shared = find(credential, scope);
	if (shared != NULL)
		return shared;
	shared = calloc(1, sizeof(*shared));
	if (shared == NULL)
		return NULL;
	shared->scope = strdup(scope);
	if (shared->scope == NULL) {
		free(shared);
		return NULL;
	}
	shared->credential = credential;
	shared->next = credential->tokens;
	credential->tokens = shared;
	return shared;
}

static void forget_token(struct shared_token *shared)
{
	secret_free(shared->token.token);
	shared->token = (struct access_token){0};
}

static bool is_good(const struct shared_token *shared, int64_t now_ms)
{
	return shared->token.token != NULL &&
	       shared->token.dead_at_ms - now_ms >= SHARED_TOKEN_LEAST_MS;
}

/* Before it is time for a new one: when its giver said, else at half of its life. */
static bool is_fresh(const struct shared_token *shared, int64_t now_ms)
{
	int64_t until_ms = shared->token.refresh_at_ms >= 0
				   ? shared->token.refresh_at_ms
				   : shared->received_ms +
					     (shared->token.dead_at_ms - shared->received_ms) / 2;
	return is_good(shared, now_ms) && now_ms < until_ms;
}

/* For how long nobody else asks after this failure. What costs the upstream nothing is not kept. */
static int64_t quiet_ms(const struct error *err)
{
	if (err->spread_ms > 0)
		return 0; /* the circuit keeps it, and may be forgiven */
	if (err->retry_after_s > 0)
		return 1000 * (err->retry_after_s < SCHEDULE_RETRY_AFTER_MAX_S
					      ? err->retry_after_s
					      : SCHEDULE_RETRY_AFTER_MAX_S);
	switch (err->code) {
	case ERR_NETWORK:
	case ERR_TLS:
	case ERR_TIMEOUT:
	case ERR_THROTTLED:
	case ERR_UPSTREAM_FAULT:
	case ERR_UPSTREAM_FORMAT:
		return SHARED_TOKEN_FAILED_MS;
	case ERR_DENIED:
	case ERR_REFUSED:
		return SHARED_TOKEN_REFUSED_MS;
	default:
		return 0;
	}
}

/* Whether the older one will do for who waits, where no new one can be had. */
static bool has_older(const struct token_wait *wait)
{
	return wait->takes_older && is_good(wait->shared, loop_now_ms(wait->loop));
}

static void give_present(struct token_wait *wait)
{
	wait->shared->token.is_cached = true;
	wait->done(wait->context, &wait->shared->token, NULL);
}

/* Call all back who waited. Each may ask again, or cancel another one. */
static void serve(struct shared_token *shared, struct access_token *token, const struct error *err)
{
	while (shared->waiting != NULL)
		list_put(&shared->served, list_pop(&shared->waiting));
	while (shared->served != NULL) {
		struct token_wait *wait = list_pop(&shared->served);
		if (token == NULL && has_older(wait))
			give_present(wait);
		else
			wait->done(wait->context, token, err);
		free(wait);
	}
}

static void on_call_done(void *context, struct access_token *token, const struct error *err)
{
	struct shared_token *shared = context;
	int64_t now_ms = loop_now_ms(shared->loop);
	shared->call = NULL;
	if (token == NULL) {
		shared->failure = *err;
		shared->failed_until_ms = now_ms + quiet_ms(err);
		serve(shared, NULL, &shared->failure);
		return;
	}
	if (token->given_by == NULL)
		token->given_by = shared->credential->kind->name;
	token->is_cached = false;
	shared->failed_until_ms = 0;
	if (token->is_account_key || token->is_static) {
		serve(shared, token, NULL);
		return;
	}
	forget_token(shared);
	shared->token = *token;
	token->token = NULL;
	shared->received_ms = now_ms;
	serve(shared, &shared->token, NULL);
}

/* Wait for the call that is under way, or for a new one. Returns 0, or -1 with *err. */
static int join_call(struct token_wait *wait, struct error *err)
{
	struct shared_token *shared = wait->shared;
	if (shared->call == NULL) {
		shared->loop = wait->loop;
		shared->call = shared->credential->kind->ask(
			shared->credential, shared->scope, wait->loop, on_call_done, shared, err);
		if (shared->call == NULL)
			return -1;
	}
	list_put(&shared->waiting, wait);
	return 0;
}

/* The failure of before, and how long it is still the answer. */
static void give_failure(struct token_wait *wait)
{
	struct error err = wait->shared->failure;
	if (err.retry_after_s > 0)
		err.retry_after_s =
			(wait->shared->failed_until_ms - loop_now_ms(wait->loop) + 999) / 1000;
	wait->done(wait->context, NULL, &err);
}

/* What was there when it was asked for; unless it has gone since. */
static void on_timer(void *context)
{
	struct token_wait *wait = context;
	const struct shared_token *shared = wait->shared;
	int64_t now_ms = loop_now_ms(wait->loop);
	struct error err = ERROR_INIT;
	bool has_failed = now_ms < shared->failed_until_ms;
	bool is_there = is_fresh(shared, now_ms);
	if (!is_there && !has_failed && join_call(wait, &err) == 0)
		return;
	if (is_there || has_older(wait))
		give_present(wait);
	else if (has_failed)
		give_failure(wait);
	else
		wait->done(wait->context, NULL, &err);
	free(wait);
}

struct token_wait *shared_token_ask(struct credential *credential, const char *scope,
	bool takes_older, struct loop *loop, credential_done_fn done, void *context,
	struct error *err)
{
	struct shared_token *shared = find_or_make(credential, scope);
	struct token_wait *wait = shared == NULL ? NULL : calloc(1, sizeof(*wait));
	if (wait == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	int64_t now_ms = loop_now_ms(loop);
	wait->shared = shared;
	wait->loop = loop;
	wait->takes_older = takes_older;
	wait->done = done;
	wait->context = context;
	wait->timer.fire = on_timer;
	wait->timer.context = wait;
	bool is_there = is_fresh(shared, now_ms) || now_ms < shared->failed_until_ms;
	struct error asking = ERROR_INIT;
	if (!is_there && join_call(wait, &asking) == 0)
		return wait;
	/* One that cannot even be asked will be once more, from within the loop. */
	if (!is_there && !has_older(wait)) {
		*err = asking;
		free(wait);
		return NULL;
	}
	if (loop_timer_set(loop, &wait->timer, 0) == 0)
		return wait;
	error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
	free(wait);
	return NULL;
}

void shared_token_cancel(struct token_wait *wait)
{
	struct shared_token *shared = wait->shared;
	loop_timer_cancel(wait->loop, &wait->timer);
	list_take(wait);
	free(wait);
	if (shared->call != NULL && shared->waiting == NULL) {
		shared->credential->kind->cancel(shared->call);
		shared->call = NULL;
	}
}

bool shared_token_refused(struct credential *credential, const char *scope,
	const struct account_settings *account, bool was_cached, unsigned refusals)
{
	struct shared_token *shared = find(credential, scope);
	if (shared != NULL)
		forget_token(shared);
	if (credential->kind->refused != NULL &&
		credential->kind->refused(credential, account, refusals))
		return true;
	return was_cached && refusals == 1;
}

void shared_token_accepted(struct credential *credential)
{
	if (credential->kind->accepted != NULL)
		credential->kind->accepted(credential);
}

void shared_token_forgive(struct credential *credential)
{
	for (struct shared_token *s = credential->tokens; s != NULL; s = s->next)
		s->failed_until_ms = 0;
}

void shared_token_forget(struct credential *credential)
{
	for (struct shared_token *s = credential->tokens; s != NULL; s = s->next) {
		forget_token(s);
		s->failed_until_ms = 0;
	}
}

void shared_token_renew(struct credential *credential)
{
	for (struct shared_token *s = credential->tokens; s != NULL; s = s->next) {
		s->token.refresh_at_ms = 0;
		if (s->failure.retry_after_s <= 0)
			s->failed_until_ms = 0;
	}
}

void shared_token_free_all(struct credential *credential)
{
	while (credential->tokens != NULL) {
		struct shared_token *shared = credential->tokens;
		credential->tokens = shared->next;
		forget_token(shared);
		free(shared->scope);
		free(shared);
	}
}
