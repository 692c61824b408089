#include "login_desk.h"

#include "base/log.h"

#include <stdlib.h>

struct login_desk {
	struct login_desk_options options;
	struct account *account;
	struct credential *credential;
	void *context;
	struct credential_login *login; /* under way, or NULL */
	struct loop_timer timer; /* set while it is: to see whether anybody asks */
	struct account_login last; /* as it was published */
	int64_t ended_ms; /* when the last one failed */
};

static void publish(struct login_desk *desk, const struct account_login *login)
{
	struct account_login *copy = malloc(sizeof(*copy));
	desk->last = *login;
	if (copy == NULL)
		return; /* whoever asks sees the last state for longer */
	*copy = *login;
	account_publish_login(desk->options.registry, desk->account, copy);
}

static void end_with_error(struct login_desk *desk, const struct error *err)
{
	const struct account_login failed = {.state = ACCOUNT_LOGIN_FAILED, .error = *err};
	const char *name = desk->account->settings.name;
	const struct log_field fields[] = {
		{"ACCOUNT", name},
		{"ERROR_CODE", error_code_name(err->code)},
		{"UPSTREAM_CODE", err->upstream_code[0] == '\0' ? NULL : err->upstream_code},
		{"CORRELATION_ID", err->correlation_id[0] == '\0' ? NULL : err->correlation_id},
		{0},
	};
	desk->login = NULL;
	desk->ended_ms = loop_now_ms(desk->options.loop);
	loop_timer_cancel(desk->options.loop, &desk->timer);
	publish(desk, &failed);
	log_event(LOG_LEVEL_WARNING, fields, "account %s: nobody was logged in: %s", name,
		err->message);
}

static void on_changed(void *context, const struct account_login *login)
{
	struct login_desk *desk = context;
	const char *name = desk->account->settings.name;
	const struct log_field fields[] = {{"ACCOUNT", name}, {0}};
	if (login->state == ACCOUNT_LOGIN_FAILED) {
		end_with_error(desk, &login->error);
		return;
	}
	publish(desk, login);
	if (login->state == ACCOUNT_LOGIN_PENDING) {
		/* Without the code: whoever reads the log could use it. */
		log_event(LOG_LEVEL_NOTICE, fields, "account %s: somebody is logging in at %s",
			name, login->verification_uri);
	} else if (login->state == ACCOUNT_LOGIN_DONE) {
		desk->login = NULL;
		loop_timer_cancel(desk->options.loop, &desk->timer);
		log_event(LOG_LEVEL_NOTICE, fields, "account %s: somebody has logged in", name);
		desk->options.done(desk->context);
	}
}

static void leave(struct login_desk *desk)
{
	if (desk->login != NULL)
		desk->credential->kind->leave_login(desk->login);
	desk->login = NULL;
}

/* Somebody may have asked since the timer was set. */
static void on_timer(void *context)
{
	struct login_desk *desk = context;
	struct loop *loop = desk->options.loop;
	struct error err = ERROR_INIT;
	int64_t left_ms = atomic_load(&desk->account->login_asked_ms) + LOGIN_DESK_LEFT_MS;
	if (loop_now_ms(loop) < left_ms && loop_timer_set(loop, &desk->timer, left_ms) == 0)
		return;
	leave(desk);
	error_set(&err, ERR_TIMEOUT,
		"nobody has asked for %lld s how far the login is; begin again",
		(long long)(LOGIN_DESK_LEFT_MS / 1000));
	end_with_error(desk, &err);
}

struct login_desk *login_desk_new(const struct login_desk_options *options, struct account *account,
	struct credential *credential, void *context)
{
	struct login_desk *desk = calloc(1, sizeof(*desk));
	if (desk == NULL)
		return NULL;
	desk->options = *options;
	desk->account = account;
	desk->credential = credential;
	desk->context = context;
	desk->timer.fire = on_timer;
	desk->timer.context = desk;
	desk->ended_ms = INT64_MIN / 2;
	return desk;
}

struct credential *login_desk_credential(const struct login_desk *desk)
{
	return desk->credential;
}

void login_desk_begin(struct login_desk *desk)
{
	struct loop *loop = desk->options.loop;
	struct error err = ERROR_INIT;
	int64_t now_ms = loop_now_ms(loop);
	if (desk->login != NULL || now_ms - desk->ended_ms < LOGIN_DESK_PAUSE_MS)
		return;
	if (loop_timer_set(loop, &desk->timer, now_ms + LOGIN_DESK_LEFT_MS) != 0) {
		error_set(&err, ERR_NO_MEMORY, "cannot begin a login: out of memory");
		end_with_error(desk, &err);
		return;
	}
	desk->login = desk->credential->kind->login(
		desk->credential, desk->account->settings.scope, loop, on_changed, desk, &err);
	if (desk->login != NULL)
		on_changed(desk, desk->login->now); /* it may be another account's, and far on */
	else
		end_with_error(desk, &err);
}

void login_desk_move(struct login_desk *desk, struct account *account, void *context)
{
	atomic_store(&account->login_asked_ms, atomic_load(&desk->account->login_asked_ms));
	desk->account = account;
	desk->context = context;
	publish(desk, &desk->last);
}

void login_desk_free(struct login_desk *desk)
{
	if (desk == NULL)
		return;
	leave(desk);
	loop_timer_cancel(desk->options.loop, &desk->timer);
	free(desk);
}
