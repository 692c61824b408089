/*
 * A user's name and password, which the environment may describe and nothing else here takes: the
 * SDKs call it deprecated, and no account with a second factor can be used so. Users of other
 * identity providers (federated ones) are not found. Source: azure-protocol.md B.2, E.
 */
#include "credential/user_password.h"

#include "credential/entra_app.h"

#include <stdlib.h>
#include <string.h>

struct user_password {
	struct credential credential;
	struct entra_app app;
	char *user_name;
	struct secret *password;
};

struct user_password_call {
	struct credential_call call;
	struct entra_grant *grant;
};

static void user_password_close(struct credential *credential)
{
	struct user_password *self = (struct user_password *)credential;
	secret_free(self->password);
	entra_app_clear(&self->app);
	free(self->user_name);
	free(self);
}

static struct credential *user_password_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	static const struct secret_source source = {
		SECRET_SOURCE_ENVIRONMENT, (char *)USER_PASSWORD_VARIABLE, NULL};
	const char *user_name = getenv(USER_NAME_VARIABLE);
	struct user_password *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL)
		goto no_memory;
	struct credential_settings own = *settings; /* owns nothing */
	if (own.tenant_id == NULL)
		own.tenant_id = (char *)ENTRA_TENANT_OF_USERS;
	self->user_name = strdup(user_name == NULL ? "" : user_name);
	if (self->user_name == NULL)
		goto no_memory;
	if (entra_app_open(&self->app, &own, err) == 0)
		self->password = secret_source_read(&source, err);
	if (self->password != NULL)
		return &self->credential;
	user_password_close(&self->credential);
	return NULL;
no_memory:
	error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
	if (self != NULL)
		user_password_close(&self->credential);
	return NULL;
}

static void on_done(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error)
{
	struct user_password_call *call = context;
	(void)error;
	call->call.done(call->call.context, answer == NULL ? NULL : &answer->token, err);
	free(call);
}

static struct credential_call *user_password_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	const struct user_password *self = (const struct user_password *)credential;
	_cleanup_text_ struct text scopes = {0};
	/* As MSAL, which wants a refresh token too. */
	text_appendf(&scopes, "%s " ENTRA_USER_SCOPES, scope);
	struct user_password_call *call = calloc(1, sizeof(*call));
	if (call == NULL || text_string(&scopes) == NULL) {
		free(call);
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	call->call = (struct credential_call){credential, done, context};
	const struct entra_tenant tenant = entra_app_tenant(&self->app);
	const struct entra_form form = {
		.grant_type = "password",
		.client_id = self->app.client_id,
		.scope = scopes.data,
		.user_name = self->user_name,
		.password = self->password,
		.wants_client_info = true,
	};
	call->grant = entra_grant_start(&tenant, &form, loop, on_done, call, err);
	if (call->grant != NULL)
		return &call->call;
	free(call);
	return NULL;
}

static void user_password_cancel(struct credential_call *credential_call)
{
	struct user_password_call *call = (struct user_password_call *)credential_call;
	entra_grant_cancel(call->grant);
	free(call);
}

const struct credential_kind credential_user_password = {
	.name = "user_password",
	.open = user_password_open,
	.ask = user_password_ask,
	.cancel = user_password_cancel,
	.close = user_password_close,
};
