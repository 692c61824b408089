#include "credential/kept_login.h"

#include "base/log.h"
#include "credential/live_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTICE_MAX 256

struct kept_login {
	struct refresh_token_owner owner;
	char *file; /* or NULL */
	struct live_secret *key;
	struct secret *refresh_token;
	unsigned long generation;
	struct secret *dead; /* the last one that was refused: the file may have it still */
	char notice[NOTICE_MAX];
};

struct kept_login *kept_login_open(const struct refresh_token_owner *owner, const char *file,
	const struct secret_source *key, struct error *err)
{
	struct kept_login *login = calloc(1, sizeof(*login));
	if (login != NULL && file != NULL)
		login->file = strdup(file);
	if (login == NULL || (file != NULL && login->file == NULL)) {
		kept_login_free(login);
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	login->owner = *owner;
	if (file != NULL)
		login->key = live_secret_open(key, "refresh_token_key", err);
	if (file == NULL || login->key != NULL)
		return login;
	kept_login_free(login);
	return NULL;
}

int kept_login_check_file(struct kept_login *login, struct error *err)
{
	_cleanup_secret_ struct secret *found = NULL;
	if (login->file == NULL)
		return 0;
	const struct secret *key = live_secret_get(login->key, NULL, err);
	if (key == NULL || refresh_token_load(login->file, key, &login->owner, &found, err) < 0)
		return -1;
	if (found == NULL || login->refresh_token != NULL || secret_equal(found, login->dead))
		return 0;
	login->refresh_token = found;
	login->generation++;
	found = NULL;
	log_notice("the login in %s goes on", login->file);
	return 0;
}

int kept_login_load(struct kept_login *login, struct error *err)
{
	return login->refresh_token != NULL ? 0 : kept_login_check_file(login, err);
}

const struct secret *kept_login_refresh_token(const struct kept_login *login)
{
	return login->refresh_token;
}

unsigned long kept_login_generation(const struct kept_login *login)
{
	return login->generation;
}

static int save(struct kept_login *login, const struct secret *token, struct error *err)
{
	const struct secret *key = live_secret_get(login->key, NULL, err);
	return key == NULL ? -1 : refresh_token_save(login->file, token, key, &login->owner, err);
}

void kept_login_begin(struct kept_login *login, struct secret *token)
{
	struct error err = ERROR_INIT;
	kept_login_end(login);
	if (token != NULL)
		kept_login_renew(login, token);
	if (login->file == NULL || (token != NULL && login->notice[0] == '\0'))
		return;
	/* Else the daemon would go on with it after its next start. */
	if (refresh_token_remove(login->file, &err) == 0)
		return;
	snprintf(login->notice, sizeof(login->notice),
		"after a restart the login of before goes on, for it is still in its file: %.160s",
		err.message);
	const struct log_field fields[] = {{0}};
	log_event(LOG_LEVEL_ERROR, fields, "%s", login->notice);
}

void kept_login_renew(struct kept_login *login, struct secret *token)
{
	struct error err = ERROR_INIT;
	bool is_new = !secret_equal(token, login->refresh_token);
	if (login->file != NULL && (is_new || login->notice[0] != '\0')) {
		login->notice[0] = '\0';
		if (save(login, token, &err) != 0)
			snprintf(login->notice, sizeof(login->notice),
				"the login ends with the daemon, because it cannot be kept: %.190s",
				err.message);
	}
	secret_free(login->refresh_token);
	login->refresh_token = token;
	login->generation += is_new;
}

void kept_login_end(struct kept_login *login)
{
	secret_free(login->dead);
	login->dead = login->refresh_token;
	login->refresh_token = NULL;
	login->generation++;
}

const char *kept_login_notice(const struct kept_login *login)
{
	return login->notice;
}

const char *kept_login_file(const struct kept_login *login)
{
	return login->file;
}

struct live_secret *kept_login_key(const struct kept_login *login)
{
	return login->key;
}

void kept_login_free(struct kept_login *login)
{
	if (login == NULL)
		return;
	secret_free(login->refresh_token);
	secret_free(login->dead);
	live_secret_free(login->key);
	free(login->file);
	free(login);
}
