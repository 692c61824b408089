#include "credential/device_login.h"

#include "base/form.h"
#include "base/http_client.h"
#include "base/json_answer.h"
#include "credential/device_flow.h"

#include <stdlib.h>
#include <string.h>

#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"

struct device_wait {
	struct credential_login base;
	struct device_wait *next;
	struct device_login *login;
};

struct device_login {
	struct device_login_options options;
	char *scope;
	struct loop *loop;
	struct secret *form;
	struct http_flight *flight; /* asking for the code, or NULL */
	int64_t sent_ms;
	struct secret *device_code;
	struct entra_grant *grant; /* polling, or NULL */
	struct loop_timer timer; /* for the next poll */
	struct device_flow flow;
	struct account_login now;
	struct device_wait *waiting;
};

static void login_free(struct device_login *login)
{
	loop_timer_cancel(login->loop, &login->timer);
	while (login->waiting != NULL) {
		struct device_wait *wait = login->waiting;
		login->waiting = wait->next;
		free(wait);
	}
	secret_free(login->form);
	secret_free(login->device_code);
	free(login->scope);
	free(login);
}

static void tell_all(struct device_login *login)
{
	for (struct device_wait *wait = login->waiting; wait != NULL; wait = wait->next)
		wait->base.changed(wait->base.context, &login->now);
}

static void end(struct device_login *login, struct entra_answer *answer, const struct error *err)
{
	login->now = (struct account_login){
		.state = answer != NULL ? ACCOUNT_LOGIN_DONE : ACCOUNT_LOGIN_FAILED,
		.error = err != NULL ? *err : ERROR_INIT,
	};
	login->options.ended(login->options.context, answer, err);
	tell_all(login);
	login_free(login);
}

static void set_timer(struct device_login *login, int64_t due_ms)
{
	struct error err = ERROR_INIT;
	if (loop_timer_set(login->loop, &login->timer, due_ms) == 0)
		return;
	error_set(&err, ERR_NO_MEMORY, "cannot wait for the sign-in: out of memory");
	end(login, NULL, &err);
}

static void on_poll_done(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error)
{
	struct device_login *login = context;
	struct error failure = ERROR_INIT;
	login->grant = NULL;
	if (answer != NULL) {
		end(login, answer, NULL);
		return;
	}
	int64_t next_ms =
		device_flow_next_ms(&login->flow, loop_now_ms(login->loop), err, error, &failure);
	if (next_ms < 0)
		end(login, NULL, &failure);
	else
		set_timer(login, next_ms);
}

static void on_timer(void *context)
{
	struct device_login *login = context;
	struct error err = ERROR_INIT;
	if (device_flow_has_expired(&login->flow, loop_now_ms(login->loop), &err)) {
		end(login, NULL, &err);
		return;
	}
	const struct entra_form form = {
		.grant_type = DEVICE_GRANT,
		.client_id = login->options.client_id,
		.device_code = login->device_code,
		.wants_client_info = true,
	};
	login->grant = entra_grant_start(
		&login->options.tenant, &form, login->loop, on_poll_done, login, &err);
	const struct entra_error none = {0};
	if (login->grant == NULL && err.spread_ms > 0)
		on_poll_done(login, NULL, &err, &none); /* like any other poll that fails */
	else if (login->grant == NULL)
		end(login, NULL, &err);
}

/* The answer with the code. Returns 0, or -1 with *err. */
static int read_code(struct device_login *login, struct http_response *response, struct error *err)
{
	const char *host = login->options.tenant.authority;
	if (response->status != 200) {
		entra_read_error(host, response, NULL, err, NULL);
		return error_wrap(err, "there is no code to log in with");
	}
	struct json_object *root = json_answer_of_response(response, NULL, err);
	int result = root == NULL ? -1
				  : device_flow_begin(&login->flow, root, login->sent_ms,
					    &login->now, &login->device_code, err);
	json_object_put(root);
	if (result != 0)
		error_wrap(err, "%s answered 200, but not with a code to log in with", host);
	return result;
}

static void on_code(void *context, struct http_response *response, const struct error *err)
{
	struct device_login *login = context;
	struct error read = ERROR_INIT;
	login->flight = NULL;
	if (response == NULL) {
		end(login, NULL, err);
	} else if (read_code(login, response, &read) != 0) {
		end(login, NULL, &read);
	} else {
		tell_all(login);
		set_timer(login, device_flow_first_ms(&login->flow, loop_now_ms(login->loop)));
	}
}

static int ask_for_code(struct device_login *login, struct error *err)
{
	_cleanup_text_ struct text scopes = {0};
	text_appendf(&scopes, "%s " ENTRA_USER_SCOPES, login->scope);
	login->form = secret_new(1024);
	if (text_string(&scopes) == NULL || login->form == NULL ||
		form_add(login->form, "client_id", login->options.client_id) != 0 ||
		form_add(login->form, "scope", scopes.data) != 0)
		return error_set(err, ERR_NO_MEMORY, "cannot begin a login: out of memory");
	login->sent_ms = loop_now_ms(login->loop);
	login->flight = entra_post(&login->options.tenant, "devicecode", login->form, login->loop,
		on_code, login, err);
	return login->flight == NULL ? -1 : 0;
}

struct device_login *device_login_start(const struct device_login_options *options,
	const char *scope, struct loop *loop, struct error *err)
{
	struct device_login *login = calloc(1, sizeof(*login));
	if (login == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot begin a login: out of memory");
		return NULL;
	}
	login->options = *options;
	login->loop = loop;
	login->timer.fire = on_timer;
	login->timer.context = login;
	login->now = (struct account_login){
		.state = ACCOUNT_LOGIN_STARTING,
		.error = ERROR_INIT,
	};
	login->scope = strdup(scope);
	if (login->scope == NULL)
		error_set(err, ERR_NO_MEMORY, "cannot begin a login: out of memory");
	else if (ask_for_code(login, err) == 0)
		return login;
	login_free(login);
	return NULL;
}

const char *device_login_scope(const struct device_login *login)
{
	return login->scope;
}

struct credential_login *device_login_join(
	struct device_login *login, credential_login_fn changed, void *context, struct error *err)
{
	struct device_wait *wait = calloc(1, sizeof(*wait));
	if (wait == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot wait for a login: out of memory");
		return NULL;
	}
	wait->base = (struct credential_login){
		.credential = login->options.credential,
		.now = &login->now,
		.changed = changed,
		.context = context,
	};
	wait->login = login;
	wait->next = login->waiting;
	login->waiting = wait;
	return &wait->base;
}

bool device_login_leave(struct credential_login *base)
{
	struct device_wait *wait = (struct device_wait *)base;
	struct device_login *login = wait->login;
	struct device_wait **link = &login->waiting;
	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	free(wait);
	return login->waiting == NULL;
}

void device_login_cancel(struct device_login *login)
{
	if (login == NULL)
		return;
	if (login->flight != NULL)
		http_client_cancel(loop_http(login->loop), login->flight);
	if (login->grant != NULL)
		entra_grant_cancel(login->grant);
	login_free(login);
}
