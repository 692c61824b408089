#include "config/builder.h"

#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value of no more letters is too short for a key. */
#define LONGEST_SHOWN_VALUE 24

void builder_problem(struct builder *builder, const char *format, ...)
{
	char line[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	error_make_printable(line);
	text_appendf(builder->problems, "%s\n", line);
	builder->problem_count++;
}

void builder_problem_of(struct builder *builder, const char *where, const struct error *err)
{
	builder_problem(builder, "%s%s", where, err->message);
	if (err->code == ERR_NO_MEMORY)
		builder->has_no_memory = true;
}

static int compare_sections(const void *a, const void *b)
{
	const struct section *one = a;
	const struct section *two = b;
	if (one->kind != two->kind)
		return one->kind < two->kind ? -1 : 1;
	return strcmp(one->name, two->name);
}

void *builder_target(const struct builder *builder, const struct section *section)
{
	switch (section->kind) {
	case CONFIG_SECTION_LISTENER:
		return &builder->config->listeners[section->index];
	case CONFIG_SECTION_ACCOUNT:
		return &builder->config->accounts[section->index];
	default:
		return builder->config;
	}
}

/* Make room for one more; arrays grow by doubling. Returns the array, or NULL: no memory. */
static void *grow(void *array, size_t count, size_t size)
{
	if (count != 0 && (count & (count - 1)) != 0)
		return array;
	return reallocarray(array, count == 0 ? 1 : 2 * count, size);
}

static bool add_target(struct builder *builder, struct section *section)
{
	struct config *config = builder->config;
	if (section->kind == CONFIG_SECTION_LISTENER) {
		struct config_listener *listeners =
			grow(config->listeners, config->listener_count, sizeof(*listeners));
		if (listeners == NULL)
			return false;
		config->listeners = listeners;
		section->index = config->listener_count++;
		listeners[section->index] =
			(struct config_listener){.name = strdup(section->name), .gid = (gid_t)-1};
		if (listeners[section->index].name == NULL)
			return false;
	} else if (section->kind == CONFIG_SECTION_ACCOUNT) {
		struct config_account *accounts =
			grow(config->accounts, config->account_count, sizeof(*accounts));
		if (accounts == NULL)
			return false;
		config->accounts = accounts;
		section->index = config->account_count++;
		accounts[section->index] = (struct config_account){0};
		accounts[section->index].settings.name = strdup(section->name);
		accounts[section->index].where = strdup(section->where);
		if (accounts[section->index].settings.name == NULL ||
			accounts[section->index].where == NULL)
			return false;
	} else {
		return true; /* preset already */
	}
	return config_keys_preset(section->kind, builder_target(builder, section)) == 0;
}

static void section_free(struct section *section)
{
	if (section == NULL)
		return;
	for (size_t i = 0; i < CONFIG_KEYS_MAX; i++)
		free(section->key_where[i]);
	free(section->name);
	free(section->where);
	free(section);
}

struct section *builder_section(
	struct builder *builder, enum config_section_kind kind, const char *name, const char *where)
{
	struct section key = {.kind = kind, .name = (char *)name};
	struct section **found = tfind(&key, &builder->tree, compare_sections);
	if (found != NULL)
		return *found;
	struct section *section = calloc(1, sizeof(*section));
	struct section **sections =
		grow(builder->sections, builder->section_count, sizeof(struct section *));
	if (sections != NULL)
		builder->sections = sections;
	if (section == NULL || sections == NULL)
		goto no_memory;
	section->kind = kind;
	section->name = strdup(name);
	section->where = strdup(where);
	if (section->name == NULL || section->where == NULL || !add_target(builder, section) ||
		tsearch(section, &builder->tree, compare_sections) == NULL)
		goto no_memory;
	builder->sections[builder->section_count++] = section;
	return section;
no_memory:
	section_free(section);
	builder->has_no_memory = true;
	return NULL;
}

void section_title(const struct section *section, char out[SECTION_TITLE_MAX])
{
	snprintf(out, SECTION_TITLE_MAX, "[%s%s%s]", config_sections[section->kind].word,
		section->name[0] == '\0' ? "" : " ", section->name);
}

bool builder_has_section(
	const struct builder *builder, enum config_section_kind kind, const char *name)
{
	struct section key = {.kind = kind, .name = (char *)name};
	return tfind(&key, &builder->tree, compare_sections) != NULL;
}

const char *section_where(const struct section *section, const char *key_name)
{
	const char *nearest = NULL;
	const struct config_key *key = config_key_find(section->kind, key_name, &nearest);
	const char *where = key == NULL ? NULL : section->key_where[key - config_keys];
	return where == NULL ? section->where : where;
}

/*
 * Whether a value that could not be read may stand in a message: what someone may have put there by
 * mistake is the secret itself.
 */
static bool is_shown(const struct config_key *key, const char *value)
{
	static const char hexadecimal[] = "0123456789abcdefABCDEF-";
	if (key->is_place)
		return strpbrk(value, "+=") == NULL;
	return strlen(value) <= LONGEST_SHOWN_VALUE || value[strspn(value, hexadecimal)] == '\0';
}

static void hide_value(char *message, size_t size, const char *value)
{
	char *found;
	while ((found = strstr(message, value)) != NULL) {
		char rest[sizeof(((struct error *)NULL)->message)];
		const char *end = found + strlen(value);
		if (found > message && found[-1] == '\'' && *end == '\'') {
			found--;
			end++;
		}
		snprintf(rest, sizeof(rest), "%s", end);
		snprintf(found, size - (size_t)(found - message),
			"a value that is not shown, as it may be a secret%s", rest);
	}
}

void builder_set(struct builder *builder, struct section *section, const struct config_key *key,
	const char *value, const char *where)
{
	struct error err = ERROR_INIT;
	char title[SECTION_TITLE_MAX];
	section_title(section, title);
	section->seen |= UINT64_C(1) << (key - config_keys);
	builder_copy(builder, &section->key_where[key - config_keys], where);
	bool is_variable = strcmp(section->where, CONFIG_ENVIRONMENT) == 0;
	if (value[0] == '\0' && is_variable) {
		builder_problem(builder, "%s is empty; set it", where);
	} else if (value[0] == '\0') {
		builder_problem(builder, "%s: %s: '%s' has no value; write one, or drop the line",
			where, title, key->name);
	} else if (key->set(builder_target(builder, section), value, &err) != 0) {
		if (!is_shown(key, value))
			hide_value(err.message, sizeof(err.message), value);
		text_hide_long_words(err.message);
		char place[1024];
		if (is_variable)
			snprintf(place, sizeof(place), "%s: ", where);
		else
			snprintf(place, sizeof(place), "%s: %s: %s: ", where, title, key->name);
		builder_problem_of(builder, place, &err);
	}
}

void builder_copy(struct builder *builder, char **out, const char *string)
{
	char *copy = strdup(string);
	if (copy == NULL) {
		builder->has_no_memory = true;
		return;
	}
	free(*out);
	*out = copy;
}

static void ignore_node(void *node)
{
	(void)node;
}

void builder_end(struct builder *builder)
{
	tdestroy(builder->tree, ignore_node);
	for (size_t i = 0; i < builder->section_count; i++)
		section_free(builder->sections[i]);
	free(builder->sections);
}
