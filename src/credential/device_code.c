/*
 * A person, who logs in by entering a code in a browser; from then on, the refresh token that this
 * left. Forms and defaults are those of DeviceCodeCredential, which would ask for the code by
 * itself: here a person begins, by mrtoken login. Source: azure-protocol.md B.2, B.5 to B.7.
 */
#include "credential/credential.h"
#include "credential/device_login.h"
#include "credential/entra_app.h"
#include "credential/kept_login.h"
#include "credential/shared_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* That of DeviceCodeCredential: Azure's developer tools. Source: azure-protocol.md B.2. */
#define DEFAULT_CLIENT "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

/* However long Entra wants to be left alone. */
#define RETRY_AFTER_MAX_S INT64_C(3600)

#define LOGIN_NEEDED "login needed, run mrtoken login ACCOUNT"

#define NO_REFRESH_TOKEN                                                           \
	", because it brought no refresh token; does the app registration permit " \
	"offline_access?"

struct device_code {
	struct credential credential;
	struct entra_app app;
	struct kept_login *kept;
	struct error ended; /* why the last login ended; ERR_NONE: it did not */
	struct access_token first; /* what the login itself brought, until somebody asks for it */
	char *first_scope;
	struct device_login *login; /* under way, or NULL */
	struct loop *login_loop; /* whose it is or was */
	int64_t not_before_ms; /* CLOCK_BOOTTIME: Entra wants to be asked for no login until then */
};

struct device_code_call {
	struct credential_call call;
	struct entra_grant *grant; /* or NULL: what is given is there already */
	struct credential_call *ready; /* which gives that */
	unsigned long generation; /* of the refresh token that was sent */
};

static struct device_code *device_code_of(struct credential *credential)
{
	return (struct device_code *)credential;
}

/* ---- opening and closing ---- */

static void drop_first(struct device_code *self)
{
	secret_free(self->first.token);
	free(self->first_scope);
	self->first = (struct access_token){0};
	self->first_scope = NULL;
}

static void device_code_close(struct credential *credential)
{
	struct device_code *self = device_code_of(credential);
	drop_first(self);
	kept_login_free(self->kept);
	entra_app_clear(&self->app);
	free(self);
}

static int device_code_check(const struct credential_settings *settings, struct error *err)
{
	bool has_file = settings->refresh_token_file != NULL;
	bool has_key = settings->refresh_token_key.kind != SECRET_SOURCE_NONE;
	if (has_file && !has_key)
		return error_set(err, ERR_CONFIGURATION,
			"refresh_token_key is missing: refresh_token_file is encrypted with it; "
			"write refresh_token_key = credential:NAME, file:/PATH or env:NAME");
	if (has_key && !has_file)
		return error_set(err, ERR_CONFIGURATION,
			"refresh_token_file is missing: without it refresh_token_key is the key to "
			"nothing");
	return 0;
}

static int open_parts(
	struct device_code *self, const struct credential_settings *settings, struct error *err)
{
	self->ended = ERROR_INIT;
	struct credential_settings own = *settings; /* owns nothing */
	if (own.tenant_id == NULL)
		own.tenant_id = (char *)ENTRA_TENANT_OF_USERS;
	if (own.client_id == NULL)
		own.client_id = (char *)DEFAULT_CLIENT;
	if (entra_app_open(&self->app, &own, err) != 0)
		return -1;
	const struct refresh_token_owner owner = {
		self->app.authority, self->app.tenant_id, self->app.client_id};
	self->kept = kept_login_open(
		&owner, settings->refresh_token_file, &settings->refresh_token_key, err);
	return self->kept == NULL ? -1 : 0;
}

static struct credential *device_code_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	struct device_code *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	if (open_parts(self, settings, err) == 0)
		return &self->credential;
	device_code_close(&self->credential);
	return NULL;
}

/* ---- asking ---- */

/*
 * Entra says invalid_grant also where the login is good, but not for this scope: somebody must
 * consent, or the scope wants more than the login showed. Source: azure-protocol.md B.7.
 */
static bool is_about_scope(int code)
{
	static const int codes[] = {50076, 50079, 50158, 53000, 53001, 53003, 65001};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i] == code)
			return true;
	return false;
}

/* The login is over. */
static void end_login(struct device_code *self, const struct error *err)
{
	kept_login_end(self->kept);
	drop_first(self);
	self->ended = *err;
	self->ended.retry_after_s = -1;
	error_wrap(&self->ended, LOGIN_NEEDED);
	self->ended.needs_login = true;
}

static void set_notice(struct access_token *token, const char *notice)
{
	snprintf(token->notice, sizeof(token->notice), "%s", notice);
}

static void on_done(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error)
{
	struct device_code_call *call = context;
	struct device_code *self = device_code_of(call->call.credential);
	/* An answer to a refresh token that has been replaced since says nothing of the new one. */
	bool is_present = call->generation == kept_login_generation(self->kept);
	if (answer != NULL) {
		if (answer->refresh_token != NULL && is_present) {
			kept_login_renew(self->kept, answer->refresh_token);
			answer->refresh_token = NULL;
		}
		set_notice(&answer->token, kept_login_notice(self->kept));
	} else if (strcmp(error->error, "invalid_grant") == 0 && !is_about_scope(error->code) &&
		   is_present) {
		end_login(self, err);
		err = &self->ended;
	}
	call->call.done(call->call.context, answer == NULL ? NULL : &answer->token, err);
	free(call);
}

static void on_ready(void *context, struct access_token *token, const struct error *err)
{
	struct device_code_call *call = context;
	call->call.done(call->call.context, token, err);
	free(call);
}

/* Give what the login brought along. */
static int give_first(struct device_code_call *call, struct loop *loop, struct error *err)
{
	struct device_code *self = device_code_of(call->call.credential);
	call->ready = credential_answer_ready(
		&self->credential, loop, &self->first, NULL, on_ready, call, err);
	if (call->ready == NULL)
		return -1;
	drop_first(self);
	return 0;
}

/* Whether there is something to be given for the scope; it lives for long enough, or is all. */
static bool has_first(const struct device_code *self, const char *scope, int64_t now_ms)
{
	return self->first.token != NULL && strcmp(self->first_scope, scope) == 0 &&
	       (self->first.dead_at_ms - now_ms >= SHARED_TOKEN_LEAST_MS ||
		       (kept_login_refresh_token(self->kept) == NULL &&
			       self->first.dead_at_ms > now_ms));
}

/* Returns -1 with *err. */
static int say_who_must_log_in(const struct device_code *self, struct error *err)
{
	if (self->ended.code != ERR_NONE) {
		*err = self->ended;
		return -1;
	}
	const char *file = kept_login_file(self->kept);
	if (file != NULL)
		error_set(err, ERR_UNAVAILABLE,
			LOGIN_NEEDED ": nobody has logged in, and %s is not there yet", file);
	else
		error_set(err, ERR_UNAVAILABLE,
			LOGIN_NEEDED ": nobody has logged in since the daemon started");
	err->needs_login = true;
	return -1;
}

static int ask_entra(
	struct device_code_call *call, const char *scope, struct loop *loop, struct error *err)
{
	const struct device_code *self = device_code_of(call->call.credential);
	const struct entra_tenant tenant = entra_app_tenant(&self->app);
	_cleanup_text_ struct text scopes = {0};
	text_appendf(&scopes, "%s " ENTRA_USER_SCOPES, scope);
	if (text_string(&scopes) == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
	const struct entra_form form = {
		.grant_type = "refresh_token",
		.client_id = self->app.client_id,
		.scope = scopes.data,
		.refresh_token = kept_login_refresh_token(self->kept),
		.wants_client_info = true,
	};
	call->grant = entra_grant_start(&tenant, &form, loop, on_done, call, err);
	return call->grant == NULL ? -1 : 0;
}

static struct credential_call *device_code_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct device_code *self = device_code_of(credential);
	bool gives_first = has_first(self, scope, loop_now_ms(loop));
	if (!gives_first && kept_login_load(self->kept, err) != 0)
		return NULL;
	if (!gives_first && kept_login_refresh_token(self->kept) == NULL) {
		say_who_must_log_in(self, err);
		return NULL;
	}
	struct device_code_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot ask for a token: out of memory");
		return NULL;
	}
	call->call = (struct credential_call){credential, done, context};
	call->generation = kept_login_generation(self->kept);
	int result = gives_first ? give_first(call, loop, err) : ask_entra(call, scope, loop, err);
	if (result == 0)
		return &call->call;
	free(call);
	return NULL;
}

static void device_code_cancel(struct credential_call *credential_call)
{
	struct device_code_call *call = (struct device_code_call *)credential_call;
	if (call->grant != NULL)
		entra_grant_cancel(call->grant);
	else
		credential_cancel_ready(call->ready);
	free(call);
}

/* ---- logging in ---- */

/* The login brought a token, but nothing to get the next one by. */
static void take_without_refresh_token(struct device_code *self)
{
	kept_login_begin(self->kept, NULL);
	set_notice(&self->first, kept_login_notice(self->kept)[0] != '\0'
					 ? kept_login_notice(self->kept)
					 : "the login ends with this token" NO_REFRESH_TOKEN);
	error_set(&self->ended, ERR_DENIED,
		LOGIN_NEEDED ": the last login ended with its first token" NO_REFRESH_TOKEN);
	self->ended.needs_login = true;
}

static void on_login_ended(void *context, struct entra_answer *answer, const struct error *err)
{
	struct device_code *self = context;
	struct device_login *login = self->login;
	self->login = NULL;
	if (answer == NULL) {
		/* Whoever waits is told. A login that was there before is as good as it was. */
		if (err->retry_after_s > 0 && err->spread_ms == 0)
			self->not_before_ms =
				loop_now_ms(self->login_loop) +
				1000 * (err->retry_after_s < RETRY_AFTER_MAX_S ? err->retry_after_s
									       : RETRY_AFTER_MAX_S);
		return;
	}
	drop_first(self);
	self->ended = ERROR_INIT;
	self->first_scope = strdup(device_login_scope(login));
	if (self->first_scope != NULL) {
		self->first = answer->token;
		answer->token.token = NULL;
	}
	if (answer->refresh_token == NULL) {
		take_without_refresh_token(self);
		return;
	}
	kept_login_begin(self->kept, answer->refresh_token);
	answer->refresh_token = NULL;
	set_notice(&self->first, kept_login_notice(self->kept));
}

static struct credential_login *device_code_login(struct credential *credential, const char *scope,
	struct loop *loop, credential_login_fn changed, void *context, struct error *err)
{
	struct device_code *self = device_code_of(credential);
	bool is_first = self->login == NULL;
	self->login_loop = loop;
	int64_t left_ms = self->not_before_ms - loop_now_ms(loop);
	if (is_first && left_ms > 0) {
		error_set(err, ERR_THROTTLED,
			"Microsoft Entra ID wants no login begun for %lld s more",
			(long long)(left_ms + 999) / 1000);
		err->retry_after_s = (left_ms + 999) / 1000;
		return NULL;
	}
	/* Before somebody signs in for nothing: could the login be kept? */
	if (is_first && kept_login_check_file(self->kept, err) != 0)
		return NULL;
	const struct device_login_options options = {
		.tenant = entra_app_tenant(&self->app),
		.client_id = self->app.client_id,
		.credential = credential,
		.ended = on_login_ended,
		.context = self,
	};
	if (is_first)
		self->login = device_login_start(&options, scope, loop, err);
	if (self->login == NULL)
		return NULL;
	struct credential_login *wait = device_login_join(self->login, changed, context, err);
	if (wait == NULL && is_first) {
		device_login_cancel(self->login);
		self->login = NULL;
	}
	return wait;
}

static void device_code_leave_login(struct credential_login *wait)
{
	struct device_code *self = device_code_of(wait->credential);
	if (!device_login_leave(wait))
		return;
	device_login_cancel(self->login);
	self->login = NULL;
}

static void device_code_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct device_code *self = (const struct device_code *)credential;
	struct live_secret *key = kept_login_key(self->kept);
	if (key != NULL)
		visit(context, key, SECRET_IS_RENEWED);
}

static const char *const keys[] = {
	"authority", "tenant_id", "client_id", "refresh_token_file", "refresh_token_key", NULL};

const struct credential_kind credential_device_code = {
	.name = "device_code",
	.keys = keys,
	.check = device_code_check,
	.open = device_code_open,
	.ask = device_code_ask,
	.cancel = device_code_cancel,
	.login = device_code_login,
	.leave_login = device_code_leave_login,
	.secrets = device_code_secrets,
	.close = device_code_close,
	.is_shared = true,
};
