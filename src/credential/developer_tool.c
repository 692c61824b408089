#include "credential/developer_tool.h"

#include "base/child.h"
#include "credential/run_as.h"

#include <stdlib.h>
#include <string.h>

/* A folder of the system, so that nothing that lies about is taken for a part of a tool: D. */
#define WORKING_DIRECTORY "/bin"

struct tool_credential {
	struct credential credential;
	const struct developer_tool *tool;
	char *tenant_id; /* or NULL */
	struct run_as run_as;
};

struct tool_call {
	struct credential_call call;
	struct loop *loop;
	struct child *child;
};

const char *const developer_tool_keys[] = {"tenant_id", "run_as", NULL};

struct credential *developer_tool_open(const struct developer_tool *tool,
	const struct credential_settings *settings, struct error *err)
{
	struct tool_credential *self = calloc(1, sizeof(*self));
	if (self != NULL && settings->tenant_id != NULL)
		self->tenant_id = strdup(settings->tenant_id);
	if (self == NULL || (settings->tenant_id != NULL && self->tenant_id == NULL)) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		free(self);
		return NULL;
	}
	self->tool = tool;
	if (run_as_open(&self->run_as, settings->run_as, tool->environment, err) == 0)
		return &self->credential;
	developer_tool_close(&self->credential);
	return NULL;
}

/* Nothing is left of what was there before. */
static struct access_token no_token(void)
{
	return (struct access_token){.refresh_at_ms = -1};
}

/* What came of a program that has ended: a token, or *err. */
static int read_result(const struct tool_call *call, struct child_result *result,
	struct access_token *token, struct error *err)
{
	const struct tool_credential *self = (const struct tool_credential *)call->call.credential;
	struct developer_tool_token found = {0};
	if (result->status != 0) {
		_cleanup_text_ struct text who = {0};
		run_as_describe(&self->run_as, self->tool->folder_variable, &who);
		developer_tool_explain(self->tool,
			text_string(&who) == NULL ? self->run_as.user : text_string(&who),
			result->status, result->output, result->complaint, err);
		return -1;
	}
	if (self->tool->read(result->output, &found, err) != 0) {
		struct error why = *err;
		return error_set(err, why.code, "%s %s", self->tool->name, why.message);
	}
	/* It is of this host, and goes by its clock. */
	const struct credential_lifetime lifetime = {
		.expires_in_s = -1,
		.expires_on_s = found.expires_on_s,
		.refresh_in_s = -1,
		.server_date_s = -1,
		.sent_ms = loop_now_ms(call->loop),
	};
	if (credential_set_lifetime(token, call->loop, &lifetime, err) != 0) {
		secret_free(found.token);
		return error_wrap(err, "%s", self->tool->name);
	}
	token->token = found.token;
	return 0;
}

static void on_done(void *context, struct child_result *result, const struct error *err)
{
	struct tool_call *call = context;
	const struct tool_credential *self = (const struct tool_credential *)call->call.credential;
	struct access_token token = no_token();
	struct error own = ERROR_INIT;
	if (result == NULL) {
		own = *err;
		if (own.code == ERR_UNAVAILABLE)
			error_set(&own, ERR_UNAVAILABLE,
				"%s is not installed where the daemon looks for it: %s",
				self->tool->name, err->message);
	} else if (read_result(call, result, &token, &own) == 0) {
		call->call.done(call->call.context, &token, NULL);
		secret_free(token.token);
		free(call);
		return;
	}
	call->call.done(call->call.context, NULL, &own);
	free(call);
}

struct credential_call *developer_tool_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct tool_credential *self = (struct tool_credential *)credential;
	struct developer_tool_arguments arguments;
	if (developer_tool_fill(self->tool, scope, self->tenant_id, &arguments, err) != 0)
		return NULL;
	struct child_command command = {
		.arguments = arguments.words,
		.directory = WORKING_DIRECTORY,
		.timeout_ms = DEVELOPER_TOOL_TIMEOUT_MS,
		.output_max = DEVELOPER_TOOL_OUTPUT_MAX,
	};
	run_as_fill(&self->run_as, &command);
	struct tool_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
	} else {
		call->call = (struct credential_call){credential, done, context};
		call->loop = loop;
		call->child = child_start(loop, &command, on_done, call, err);
	}
	developer_tool_arguments_clear(&arguments);
	if (call != NULL && call->child != NULL)
		return &call->call;
	free(call);
	return NULL;
}

void developer_tool_cancel(struct credential_call *credential_call)
{
	struct tool_call *call = (struct tool_call *)credential_call;
	child_cancel(call->child);
	free(call);
}

void developer_tool_close(struct credential *credential)
{
	struct tool_credential *self = (struct tool_credential *)credential;
	free(self->tenant_id);
	run_as_clear(&self->run_as);
	free(self);
}
