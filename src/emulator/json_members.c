#include "emulator/json_members.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static const char *type_words(enum json_type type)
{
	switch (type) {
	case json_type_string:
		return "a string";
	case json_type_int:
		return "an integer";
	case json_type_boolean:
		return "true or false";
	case json_type_array:
		return "an array";
	default:
		return "an object";
	}
}

static int unknown_member(const char *name, const char *what, const struct json_member *members,
	size_t count, struct error *err)
{
	_cleanup_text_ struct text known = {0};
	for (size_t i = 0; i < count; i++)
		text_appendf(&known, "%s\"%s\"", i == 0 ? "" : ", ", members[i].name);
	const char *names = text_string(&known);
	return error_set(err, ERR_CONFIGURATION, "%s has no member \"%.60s\", only %s", what, name,
		names == NULL ? "others" : names);
}

int json_members(struct json_object *object, const char *what, const struct json_member *members,
	size_t count, struct error *err)
{
	if (!json_object_is_type(object, json_type_object))
		return error_set(err, ERR_CONFIGURATION, "%s must be an object", what);
	for (size_t i = 0; i < count; i++)
		*members[i].value = NULL;
	json_object_object_foreach(object, name, value)
	{
		size_t i = 0;
		while (i < count && strcmp(members[i].name, name) != 0)
			i++;
		if (i == count)
			return unknown_member(name, what, members, count, err);
		if (!json_object_is_type(value, members[i].type))
			return error_set(err, ERR_CONFIGURATION, "\"%s\" must be %s", name,
				type_words(members[i].type));
		*members[i].value = value;
	}
	for (size_t i = 0; i < count; i++)
		if (members[i].is_needed && *members[i].value == NULL)
			return error_set(err, ERR_CONFIGURATION,
				"\"%s\" must be %s, and %s needs it", members[i].name,
				type_words(members[i].type), what);
	return 0;
}

int json_strings(struct json_object *array, const char *name, const char *what,
	bool (*check)(const char *string), const char ***strings, size_t *count, struct error *err)
{
	size_t len = array == NULL ? 0 : json_object_array_length(array);
	const char **found = calloc(len + 1, sizeof(*found));
	if (found == NULL)
		return error_set(err, ERR_NO_MEMORY, "no memory for \"%s\"", name);
	for (size_t i = 0; i < len; i++) {
		struct json_object *string = json_object_array_get_idx(array, i);
		if (!json_object_is_type(string, json_type_string) ||
			(check != NULL && !check(json_object_get_string(string)))) {
			free(found);
			return error_set(err, ERR_CONFIGURATION, "\"%s\" must be an array of %s",
				name, what);
		}
		found[i] = json_object_get_string(string);
	}
	*strings = found;
	*count = len;
	return 0;
}

const char *json_string_or_empty(struct json_object *string)
{
	return string == NULL ? "" : json_object_get_string(string);
}
