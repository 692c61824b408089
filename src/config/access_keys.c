#include "config/access_keys.h"

#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* More than a line has room for. */
#define WORDS_MAX 128

/* A unit's name has no more letters: systemd.unit(5). */
#define UNIT_NAME_MAX 255

struct words {
	size_t count;
	char all[WORDS_MAX][UNIT_NAME_MAX + 1];
};

static int split(const char *value, struct words *words, struct error *err)
{
	static const char separators[] = ", \t";
	words->count = 0;
	for (const char *rest = value + strspn(value, separators); *rest != '\0';) {
		size_t len = strcspn(rest, separators);
		if (words->count == WORDS_MAX || len > UNIT_NAME_MAX)
			return error_set(err, ERR_CONFIGURATION,
				"found a list that is too long, expected at most %d names of at "
				"most %d letters",
				WORDS_MAX, UNIT_NAME_MAX);
		memcpy(words->all[words->count], rest, len);
		words->all[words->count++][len] = '\0';
		rest += len;
		rest += strspn(rest, separators);
	}
	if (words->count == 0)
		return error_set(err, ERR_CONFIGURATION, "found '%s', expected a name", value);
	return 0;
}

static int keep(struct access_list *list, const struct words *words, const uint32_t *ids,
	const char *const *units, struct error *err)
{
	_cleanup_text_ struct text written = {0};
	for (size_t i = 0; i < words->count; i++)
		text_appendf(&written, "%s%s", i == 0 ? "" : ", ", words->all[i]);
	if (text_string(&written) == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	return access_list_set(list, written.data, ids, units, words->count, err);
}

static bool find_user(const char *name, uint32_t *id)
{
	const struct passwd *user = getpwnam(name);
	if (user != NULL)
		*id = user->pw_uid;
	return user != NULL;
}

static bool find_group(const char *name, uint32_t *id)
{
	const struct group *group = getgrnam(name);
	if (group != NULL)
		*id = group->gr_gid;
	return group != NULL;
}

/* A number is taken whether anybody has it or not: a container's users have no names here. */
static int read_id(const char *word, const char *what, bool (*find)(const char *name, uint32_t *id),
	uint32_t *id, struct error *err)
{
	int64_t number;
	if (word[strspn(word, "0123456789")] != '\0') {
		if (find(word, id))
			return 0;
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected a %s that exists, or a number", word, what);
	}
	/* The last one is no identifier: it stands for "none" in system calls. */
	if (parse_integer(word, 0, UINT32_MAX - 1, &number) != 0)
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected the number of a %s, at most 4294967294", word, what);
	*id = (uint32_t)number;
	return 0;
}

static int read_ids(struct access_list *list, const char *value, const char *what,
	bool (*find)(const char *name, uint32_t *id), struct error *err)
{
	struct words words;
	uint32_t ids[WORDS_MAX];
	if (split(value, &words, err) != 0)
		return -1;
	for (size_t i = 0; i < words.count; i++)
		if (read_id(words.all[i], what, find, &ids[i], err) != 0)
			return -1;
	return keep(list, &words, ids, NULL, err);
}

int access_read_users(struct access_list *list, const char *value, struct error *err)
{
	return read_ids(list, value, "user", find_user, err);
}

int access_read_groups(struct access_list *list, const char *value, struct error *err)
{
	return read_ids(list, value, "group", find_group, err);
}

/* Of a kind that processes run in, by systemd.unit(5). */
static bool is_unit(const char *word)
{
	static const char *const kinds[] = {".service", ".scope", ".socket", ".mount", ".swap"};
	const char *dot = strrchr(word, '.');
	if (dot == NULL || dot == word || word[0] == '@' ||
		word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  ":-_.\\@")] != '\0')
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(dot, kinds[i]) == 0)
			return true;
	return false;
}

int access_read_units(struct access_list *list, const char *value, struct error *err)
{
	struct words words;
	const char *units[WORDS_MAX];
	if (split(value, &words, err) != 0)
		return -1;
	for (size_t i = 0; i < words.count; i++) {
		units[i] = words.all[i];
		if (!is_unit(units[i]))
			return error_set(err, ERR_CONFIGURATION,
				"found '%s', expected the whole name of a unit that runs "
				"processes, such as renderer.service, or renderer@.service for "
				"all its instances",
				units[i]);
	}
	return keep(list, &words, NULL, units, err);
}

void access_print(const struct access_list *list, struct text *out)
{
	if (list->written != NULL)
		text_append(out, list->written);
}
