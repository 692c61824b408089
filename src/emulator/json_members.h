/*
 * Reading what the control interface is given: the members of a JSON object, each of the type that
 * it must have, and none that is not known.
 */
#ifndef MRTOKEND_EMULATOR_JSON_MEMBERS_H
#define MRTOKEND_EMULATOR_JSON_MEMBERS_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

struct json_member {
	const char *name;
	enum json_type type;
	bool is_needed;
	struct json_object **value; /* set to the object's own, or NULL when it is not there */
};

/*
 * Take an object apart.
 *
 * what  what it describes, such as "an app"
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, a sentence that names the member at fault.
 */
int json_members(struct json_object *object, const char *what, const struct json_member *members,
	size_t count, struct error *err);

/*
 * The strings of an array, each checked by `check` if it is not NULL.
 *
 * array    NULL is an empty one
 * strings  set on success: NULL-terminated pointers into the array, to be freed with free()
 * count    set on success
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION ("NAME" must be an array of WHAT), ERR_NO_MEMORY.
 */
int json_strings(struct json_object *array, const char *name, const char *what,
	bool (*check)(const char *string), const char ***strings, size_t *count, struct error *err);

/* The string of a member that may be missing: then "". */
const char *json_string_or_empty(struct json_object *string);

#endif
