#include "setup.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *copy_or_null(const char *string, bool *has_failed)
{
	char *copy = string == NULL ? NULL : strdup(string);
	if (string != NULL && copy == NULL)
		*has_failed = true;
	return copy;
}

/* Copies, because the configuration goes and the accounts stay. */
static struct account *make_account(const struct account_settings *from)
{
	bool has_failed = false;
	struct account_settings settings = {
		.name = copy_or_null(from->name, &has_failed),
		.kind = copy_or_null(from->kind, &has_failed),
		.account_id = copy_or_null(from->account_id, &has_failed),
		.account_domain = copy_or_null(from->account_domain, &has_failed),
		.endpoint = copy_or_null(from->endpoint, &has_failed),
		.scope = copy_or_null(from->scope, &has_failed),
		.subject = copy_or_null(from->subject, &has_failed),
		.ca_file = copy_or_null(from->ca_file, &has_failed),
		.credential = copy_or_null(from->credential, &has_failed),
		.is_required = from->is_required,
	};
	if (access_rules_copy(&settings.rules, &from->rules) != 0)
		has_failed = true;
	struct account *account = has_failed ? NULL : account_new(&settings);
	if (account == NULL)
		account_settings_clear(&settings);
	return account;
}

static int open_account(const struct config_account *from, const struct credential_pool *older,
	struct credential_pool *pool, struct account **account, struct refresher_account *extra,
	struct error *err)
{
	*account = make_account(&from->settings);
	if (*account == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot make the accounts: out of memory");
	extra->upstream = from->upstream;
	extra->credential =
		credential_pool_get(pool, older, &from->credential, &(*account)->settings, err);
	if (extra->credential == NULL)
		return -1;
	(*account)->settings.has_login = credential_with_login(extra->credential) != NULL;
	return 0;
}

/*
 * Whether there are certificates in the file, so that a start or a reload with a wrong path is
 * refused at once. What libcurl makes of them is told by the first exchange.
 */
static int check_ca_file(const char *path, struct error *err)
{
	char line[256];
	bool has_certificate = false;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	if (file == NULL) {
		error_set_errno(err, errno, "[daemon]: ca_file: cannot open %s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	/* libcurl would wait for a pipe's other end, and every account with it. */
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		fclose(file);
		return error_set(err, ERR_CONFIGURATION,
			"[daemon]: ca_file: %s is not a regular file", path);
	}
	while (!has_certificate && fgets(line, sizeof(line), file) != NULL)
		has_certificate = strstr(line, "-----BEGIN") != NULL;
	fclose(file);
	if (!has_certificate)
		return error_set(err, ERR_CONFIGURATION,
			"[daemon]: ca_file: found no certificate in %s, expected a PEM file", path);
	return 0;
}

int setup_accounts_open(const struct config *config, const struct credential_pool *older,
	struct setup_accounts *accounts, struct error *err)
{
	if (config->ca_file != NULL && check_ca_file(config->ca_file, err) != 0)
		return -1;
	size_t count = config->account_count;
	struct account **list = calloc(count + 1, sizeof(struct account *));
	struct refresher_account *extras = calloc(count + 1, sizeof(*extras));
	struct account *default_account = NULL;
	struct account_table *table = NULL;
	struct credential_pool *pool = credential_pool_new();
	size_t i = 0;
	if (list == NULL || extras == NULL || pool == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make the accounts: out of memory");
		goto failed;
	}
	for (; i < count; i++) {
		if (open_account(&config->accounts[i], older, pool, &list[i], &extras[i], err) !=
			0) {
			i++; /* it may have been opened by half */
			goto failed;
		}
		if (config->default_account != NULL &&
			strcmp(config->default_account, list[i]->settings.name) == 0)
			default_account = list[i];
	}
	table = account_table_new(list, count, default_account);
	if (table != NULL) {
		*accounts = (struct setup_accounts){table, extras, pool};
		return 0;
	}
	error_set(err, ERR_NO_MEMORY, "cannot make the accounts: out of memory");
failed:
	while (i-- > 0) {
		credential_close(extras[i].credential);
		account_free(list[i]);
	}
	free(list);
	free(extras);
	credential_pool_free(pool);
	return -1;
}

void setup_accounts_close(struct setup_accounts *accounts)
{
	for (size_t i = 0; accounts->table != NULL && i < accounts->table->count; i++)
		credential_close(accounts->accounts[i].credential);
	account_table_free(accounts->table);
	free(accounts->accounts);
	credential_pool_free(accounts->pool);
	*accounts = (struct setup_accounts){0};
}

/*
 * The listener that is there already: a socket of our own is known by its path, whatever its
 * section is called now; one that was passed by the name it was passed for.
 */
static struct listener *find_present(
	const struct config_listener *wanted, struct listener *const *present, size_t present_count)
{
	for (size_t i = 0; i < present_count; i++)
		if (present[i]->is_passed ? strcmp(present[i]->name, wanted->name) == 0
					  : strcmp(present[i]->path, wanted->path) == 0)
			return present[i];
	return NULL;
}

/* Whether anything but the sockets' modes says who gets tokens. */
static bool has_rules(const struct config *config)
{
	for (size_t i = 0; i < config->account_count; i++)
		if (access_rules_exist(&config->accounts[i].settings.rules))
			return true;
	return false;
}

static struct passed_socket *find_passed(const struct config *config,
	const struct config_listener *wanted, struct passed_socket *passed, size_t passed_count)
{
	for (size_t i = 0; i < passed_count; i++)
		if (passed[i].fd >= 0 && strcmp(passed[i].name, wanted->name) == 0)
			return &passed[i];
	if (config->listener_count == 1 && passed_count == 1 && passed[0].fd >= 0)
		return &passed[0];
	return NULL;
}

struct listener **setup_listeners_open(const struct config *config, struct listener *const *present,
	size_t present_count, struct passed_socket *passed, size_t passed_count, struct error *err)
{
	struct listener **listeners = calloc(config->listener_count + 1, sizeof(struct listener *));
	if (listeners == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make the listeners: out of memory");
		return NULL;
	}
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *wanted = &config->listeners[i];
		listeners[i] = find_present(wanted, present, present_count);
		if (listeners[i] != NULL)
			continue;
		struct passed_socket *socket = find_passed(config, wanted, passed, passed_count);
		if (socket != NULL) {
			listeners[i] = listener_take(wanted->name, wanted->path, socket->fd, err);
			if (listeners[i] != NULL)
				socket->fd = -1;
		} else {
			listeners[i] = listener_open(
				wanted->name, wanted->path, wanted->mode, wanted->gid, err);
		}
		if (listeners[i] == NULL) {
			error_wrap(err, "[listener %s]", wanted->name);
			setup_listeners_close(listeners, i, present, present_count);
			return NULL;
		}
		if (wanted->mode & S_IWOTH && socket == NULL && !has_rules(config))
			log_warning("[listener %s]: with mode %04o every local user can connect, "
				    "and gets "
				    "every account's token",
				wanted->name, (unsigned)wanted->mode);
		log_notice("listening at %s ([listener %s]%s)", wanted->path, wanted->name,
			socket == NULL ? "" : ", a socket passed by the service manager");
	}
	return listeners;
}

void setup_listeners_close(struct listener **listeners, size_t count,
	struct listener *const *present, size_t present_count)
{
	for (size_t i = 0; i < count; i++) {
		bool is_present = false;
		for (size_t j = 0; j < present_count; j++)
			is_present = is_present || listeners[i] == present[j];
		if (!is_present)
			listener_close(listeners[i]);
	}
	free(listeners);
}

void setup_listeners_adjust(const struct config *config, struct listener *const *listeners)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *wanted = &config->listeners[i];
		struct error err = ERROR_INIT;
		if (listeners[i]->is_passed ||
			(listeners[i]->mode == wanted->mode && listeners[i]->gid == wanted->gid))
			continue;
		if (listener_change(listeners[i], wanted->mode, wanted->gid, &err) != 0)
			log_error("[listener %s]: %s", wanted->name, err.message);
	}
}
