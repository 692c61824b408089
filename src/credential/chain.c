#include "credential/chain.h"

#include <stdlib.h>
#include <string.h>

/* What is told of a member that gave no token, so that all of them find room in one message. */
#define REASON_MAX 200

struct chain {
	struct credential credential;
	struct credential *members[CREDENTIAL_LIST_MAX];
	size_t count;
	size_t last; /* whose token was the last that was given */
	bool has_worked; /* that one is asked alone from then on */
	bool forgives_developer_tools;
};

struct chain_call {
	struct credential_call call;
	const char *scope;
	struct loop *loop;
	struct loop_timer timer; /* for a member that could not even be asked */
	struct error asking; /* why */
	size_t at; /* which member is being asked */
	struct credential_call *member_call;
	struct text reasons; /* of those before */
};

static void on_member_done(void *context, struct access_token *token, const struct error *err);

static struct chain *chain_of(const struct chain_call *call)
{
	return (struct chain *)call->call.credential;
}

static void call_free(struct chain_call *call)
{
	loop_timer_cancel(call->loop, &call->timer);
	text_free(&call->reasons);
	free(call);
}

static void on_timer(void *context)
{
	struct chain_call *call = context;
	loop_timer_set(call->loop, &call->timer, INT64_MAX); /* its place has just become free */
	on_member_done(call, NULL, &call->asking);
}

static void ask_member(struct chain_call *call)
{
	struct credential *member = chain_of(call)->members[call->at];
	call->asking = ERROR_INIT;
	call->member_call = member->kind->ask(
		member, call->scope, call->loop, on_member_done, call, &call->asking);
	/* No depth of calls, and no call back before ask() has returned. */
	if (call->member_call == NULL)
		loop_timer_set(call->loop, &call->timer, 0);
}

static void end_with_error(struct chain_call *call, const struct error *err)
{
	const struct chain *chain = chain_of(call);
	struct error all = *err;
	if (!chain->has_worked && chain->count > 1) {
		const char *reasons = text_string(&call->reasons);
		error_set(&all, err->code, "no credential gave a token: %s",
			reasons == NULL ? err->message : reasons);
		all.http_status = err->http_status;
		all.needs_login = err->needs_login;
		all.retry_after_s = err->retry_after_s;
		all.spread_ms = err->spread_ms;
		memcpy(all.correlation_vector, err->correlation_vector,
			sizeof(all.correlation_vector));
		memcpy(all.upstream_code, err->upstream_code, sizeof(all.upstream_code));
		memcpy(all.correlation_id, err->correlation_id, sizeof(all.correlation_id));
	}
	call->call.done(call->call.context, NULL, &all);
	call_free(call);
}

bool chain_goes_on(const struct credential *credential, const struct credential *member,
	const struct error *err)
{
	const struct chain *chain = (const struct chain *)credential;
	return err->code == ERR_UNAVAILABLE ||
	       (chain->forgives_developer_tools && member->kind->is_developer_tool);
}

static void on_member_done(void *context, struct access_token *token, const struct error *err)
{
	struct chain_call *call = context;
	struct chain *chain = chain_of(call);
	const struct credential *member = chain->members[call->at];
	call->member_call = NULL;
	if (token != NULL) {
		if (token->given_by == NULL)
			token->given_by = member->kind->name;
		chain->last = call->at;
		chain->has_worked = true;
		call->call.done(call->call.context, token, NULL);
		call_free(call);
		return;
	}
	bool goes_on = chain_goes_on(&chain->credential, member, err);
	bool is_last = chain->has_worked || call->at + 1 == chain->count;
	bool is_cut = goes_on && !is_last && strlen(err->message) > REASON_MAX;
	text_appendf(&call->reasons, "%s%s: %.*s%s", call->reasons.len == 0 ? "" : "; ",
		member->kind->name, is_cut ? REASON_MAX : (int)sizeof(err->message), err->message,
		is_cut ? "..." : "");
	if (goes_on && !is_last) {
		call->at++;
		ask_member(call);
	} else {
		end_with_error(call, err);
	}
}

struct credential_call *chain_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct chain *chain = (struct chain *)credential;
	struct chain_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	call->call = (struct credential_call){credential, done, context};
	call->scope = scope;
	call->loop = loop;
	call->timer.fire = on_timer;
	call->timer.context = call;
	call->at = chain->has_worked ? chain->last : 0;
	/* So that the timer can always be set when it is needed. */
	if (loop_timer_set(loop, &call->timer, INT64_MAX) != 0) {
		free(call);
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	ask_member(call);
	return &call->call;
}

void chain_cancel(struct credential_call *credential_call)
{
	struct chain_call *call = (struct chain_call *)credential_call;
	if (call->member_call != NULL)
		chain_of(call)->members[call->at]->kind->cancel(call->member_call);
	call_free(call);
}

bool chain_refused(
	struct credential *credential, const struct account_settings *account, unsigned refusals)
{
	const struct chain *chain = (const struct chain *)credential;
	struct credential *member = chain->members[chain->last];
	return member->kind->refused != NULL && member->kind->refused(member, account, refusals);
}

void chain_accepted(struct credential *credential)
{
	const struct chain *chain = (const struct chain *)credential;
	struct credential *member = chain->members[chain->last];
	if (member->kind->accepted != NULL)
		member->kind->accepted(member);
}

/* Which member works may be another one now. */
static void chain_reconsider(struct credential *credential)
{
	struct chain *chain = (struct chain *)credential;
	chain->has_worked = false;
	for (size_t i = 0; i < chain->count; i++)
		if (chain->members[i]->kind->reconsider != NULL)
			chain->members[i]->kind->reconsider(chain->members[i]);
}

struct credential *const *chain_members(const struct credential *credential, size_t *count)
{
	const struct chain *chain = (const struct chain *)credential;
	*count = chain->count;
	return chain->members;
}

void chain_close(struct credential *credential)
{
	struct chain *chain = (struct chain *)credential;
	for (size_t i = 0; i < chain->count; i++)
		credential_close(chain->members[i]);
	free(chain);
}

struct credential *chain_new(
	struct credential *const *members, size_t count, bool forgives_developer_tools)
{
	struct chain *chain = calloc(1, sizeof(*chain));
	if (chain == NULL)
		return NULL;
	memcpy(chain->members, members, count * sizeof(struct credential *));
	chain->count = count;
	chain->forgives_developer_tools = forgives_developer_tools;
	return &chain->credential;
}

struct credential *chain_open(const struct credential_kind *const *kinds, size_t count,
	bool forgives_developer_tools, const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct credential *members[CREDENTIAL_LIST_MAX];
	struct credential *chain = NULL;
	struct credential_settings own = *settings; /* owns nothing */
	size_t opened = 0;
	/* Alone, a managed identity is waited for; in a row it is looked for first. */
	own.is_in_chain = count > 1;
	for (; opened < count; opened++) {
		members[opened] = credential_open_kind(kinds[opened], &own, account, err);
		if (members[opened] == NULL)
			break;
	}
	if (opened == count) {
		chain = chain_new(members, count, forgives_developer_tools);
		if (chain == NULL)
			error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
	}
	while (chain == NULL && opened > 0)
		credential_close(members[--opened]);
	return chain;
}

static struct credential *open_list(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	return chain_open(settings->kinds, settings->kind_count, false, settings, account, err);
}

const struct credential_kind credential_chain = {
	.name = "chain",
	.open = open_list,
	.ask = chain_ask,
	.cancel = chain_cancel,
	.refused = chain_refused,
	.accepted = chain_accepted,
	.reconsider = chain_reconsider,
	.members = chain_members,
	.goes_on = chain_goes_on,
	.close = chain_close,
};
