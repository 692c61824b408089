#include "credential/run_as.h"

#include "base/text.h"

#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ENTRY_MAX ((size_t)1 << 20)

/* What is passed on as it stands in the daemon's own environment. */
static const struct {
	const char *pattern;
	bool is_of_user; /* it says where the daemon's user keeps things, not another one */
} passed[] = {
	{"PATH", false},
	{"LANG", false},
	{"LANGUAGE", false},
	{"LC_*", false},
	{"TZ", false}, /* the Azure CLI tells local time */
	{"TMPDIR", false},
	{"HOME", true},
	{"XDG_*_HOME", true},
	{"XDG_RUNTIME_DIR", true},
	{"HTTP_PROXY", false},
	{"http_proxy", false},
	{"HTTPS_PROXY", false},
	{"https_proxy", false},
	{"ALL_PROXY", false},
	{"all_proxy", false},
	{"NO_PROXY", false},
	{"no_proxy", false},
	{"REQUESTS_CA_BUNDLE", false},
	{"CURL_CA_BUNDLE", false},
	{"SSL_CERT_FILE", false},
	{"SSL_CERT_DIR", false},
	{"AZURE_CONFIG_DIR", false},
	{"AZURE_EXTENSION_DIR", false},
	{"AZURE_CLOUD_NAME", false},
	{"AZURE_CORE_*", false},
	{"AZD_CONFIG_DIR", false},
	{"PSModulePath", false},
	{"DOTNET_*", false},
	{"POWERSHELL_*", false},
};

#define PASSED_COUNT (sizeof(passed) / sizeof(passed[0]))

static bool is_passed(const char *variable, size_t name_len, bool is_own_user)
{
	char name[64];
	if (name_len >= sizeof(name))
		return false;
	memcpy(name, variable, name_len);
	name[name_len] = '\0';
	for (size_t i = 0; i < PASSED_COUNT; i++)
		if (fnmatch(passed[i].pattern, name, 0) == 0)
			return is_own_user || !passed[i].is_of_user;
	return false;
}

/* ---- the user -------------------------------------------------------------------------------- */

/*
 * Look up `name`, or the daemon's own user when it is NULL.
 * Returns 0 with *found, NULL when there is none; or an error number. Free *memory.
 */
static int look_up(const char *name, struct passwd *entry, struct passwd **found, char **memory)
{
	int errnum = ERANGE;
	*found = NULL;
	*memory = NULL;
	for (size_t size = 4096; errnum == ERANGE && size <= ENTRY_MAX; size *= 4) {
		char *bigger = realloc(*memory, size);
		if (bigger == NULL)
			return ENOMEM;
		*memory = bigger;
		errnum = name == NULL ? getpwuid_r(geteuid(), entry, bigger, size, found)
				      : getpwnam_r(name, entry, bigger, size, found);
	}
	/* What getpwnam_r() says of a name that is not there is not the same everywhere. */
	return errnum == ENOENT || errnum == ESRCH ? 0 : errnum;
}

static int keep_groups(struct run_as *run_as, const char *name)
{
	int count = 32;
	for (int tries = 0; tries < 8; tries++) {
		gid_t *groups = reallocarray(run_as->groups, (size_t)count, sizeof(gid_t));
		if (groups == NULL)
			return -1;
		run_as->groups = groups;
		if (getgrouplist(name, run_as->gid, groups, &count) >= 0) {
			run_as->group_count = (size_t)count;
			return 0;
		}
	}
	return -1;
}

/* ---- the environment ------------------------------------------------------------------------- */

struct list {
	char **entries;
	size_t count;
	bool has_failed;
};

/* The variable's value, or NULL. */
static const char *list_find(const struct list *list, const char *name, size_t name_len)
{
	for (size_t i = 0; i < list->count; i++)
		if (strncmp(list->entries[i], name, name_len) == 0 &&
			list->entries[i][name_len] == '=')
			return list->entries[i] + name_len + 1;
	return NULL;
}

/* Add NAME=VALUE; what was added first stays. */
static void list_add(struct list *list, const char *name, size_t name_len, const char *value)
{
	if (list_find(list, name, name_len) != NULL)
		return;
	char **entries = reallocarray(list->entries, list->count + 2, sizeof(char *));
	struct text text = {0};
	text_append_bytes(&text, name, name_len);
	text_append(&text, "=");
	text_append(&text, value);
	char *entry = text_steal(&text);
	if (entries != NULL) {
		list->entries = entries;
		entries[list->count] = NULL;
	}
	if (entries == NULL || entry == NULL) {
		free(entry);
		list->has_failed = true;
		return;
	}
	entries[list->count++] = entry;
	entries[list->count] = NULL;
}

static void list_add_variable(struct list *list, const char *variable)
{
	const char *end = strchr(variable, '=');
	if (end != NULL)
		list_add(list, variable, (size_t)(end - variable), end + 1);
}

/* Returns 0, or -1 when there is no memory. */
static int keep_environment(struct run_as *run_as, const struct passwd *entry, bool is_own_user,
	const char *const *additions)
{
	struct list list = {0};
	for (; additions != NULL && *additions != NULL; additions++)
		list_add_variable(&list, *additions);
	for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
		size_t name_len = strcspn(*variable, "=");
		/* One that is empty says nothing, or was wiped. */
		if (is_passed(*variable, name_len, is_own_user) && (*variable)[name_len] == '=' &&
			(*variable)[name_len + 1] != '\0')
			list_add_variable(&list, *variable);
	}
	list_add(&list, "PATH", 4, DEFAULT_PATH);
	list_add(&list, "HOME", 4, entry == NULL ? "/" : entry->pw_dir);
	list_add(&list, "USER", 4, run_as->user);
	list_add(&list, "LOGNAME", 7, run_as->user);
	run_as->environment = list.entries;
	if (list.has_failed)
		return -1;
	run_as->path = list_find(&list, "PATH", 4);
	run_as->has_other_home =
		entry == NULL || strcmp(list_find(&list, "HOME", 4), entry->pw_dir) != 0;
	return 0;
}

/* ---- for callers ----------------------------------------------------------------------------- */

static int fill_in(struct run_as *run_as, const char *name, const struct passwd *entry,
	const char *const *additions)
{
	run_as->uid = entry == NULL ? geteuid() : entry->pw_uid;
	run_as->gid = entry == NULL ? getegid() : entry->pw_gid;
	if (entry == NULL)
		snprintf(run_as->user, sizeof(run_as->user), "%u", (unsigned)run_as->uid);
	else
		snprintf(run_as->user, sizeof(run_as->user), "%s", entry->pw_name);
	bool is_own_user = name == NULL || run_as->uid == geteuid();
	if (!is_own_user && keep_groups(run_as, run_as->user) != 0)
		return -1;
	return keep_environment(run_as, entry, is_own_user, additions);
}

int run_as_open(
	struct run_as *run_as, const char *name, const char *const *additions, struct error *err)
{
	struct run_as made = {0};
	struct passwd entry;
	struct passwd *found;
	char *memory;
	int result = -1;
	int errnum = look_up(name, &entry, &found, &memory);
	if (errnum != 0 && errnum != ENOMEM)
		error_set_errno(err, errnum, "cannot look up the user %s",
			name == NULL ? "of the daemon" : name);
	else if (errnum == 0 && found == NULL && name != NULL)
		error_set(err, ERR_CONFIGURATION, "run_as: found '%s', expected a user that exists",
			name);
	else if (errnum == ENOMEM || fill_in(&made, name, found, additions) != 0)
		error_set(err, ERR_NO_MEMORY, "cannot prepare to run programs: out of memory");
	else
		result = 0;
	free(memory);
	if (result == 0)
		*run_as = made;
	else
		run_as_clear(&made);
	return result;
}

void run_as_fill(const struct run_as *run_as, struct child_command *command)
{
	command->environment = (const char *const *)run_as->environment;
	command->path = run_as->path;
	command->uid = run_as->uid;
	command->gid = run_as->gid;
	command->groups = run_as->groups;
	command->group_count = run_as->group_count;
	command->user = run_as->user;
}

void run_as_describe(const struct run_as *run_as, const char *variable, struct text *out)
{
	text_append(out, run_as->user);
	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? variable : "HOME";
		if (name == NULL || (i == 1 && !run_as->has_other_home))
			continue;
		for (char **entry = run_as->environment; *entry != NULL; entry++)
			if (strncmp(*entry, name, strlen(name)) == 0 &&
				(*entry)[strlen(name)] == '=') {
				text_appendf(out, " with %s", *entry);
				return;
			}
	}
}

void run_as_clear(struct run_as *run_as)
{
	for (char **variable = run_as->environment; variable != NULL && *variable != NULL;
		variable++)
		free(*variable);
	free(run_as->environment);
	free(run_as->groups);
	*run_as = (struct run_as){0};
}
