/*
 * Forms as they are sent: application/x-www-form-urlencoded bodies, and queries.
 */
#ifndef MRTOKEND_EMULATOR_FORM_H
#define MRTOKEND_EMULATOR_FORM_H

#include <stddef.h>

#define FORM_FIELDS_MAX 32

struct form_field {
	char *name;
	char *value;
};

/* Zeroed is empty. The strings point into one buffer of the form's. */
struct form {
	struct form_field fields[FORM_FIELDS_MAX];
	size_t count;
	char *buffer;
};

/*
 * Take a form apart and decode it.
 *
 * text  not NUL-terminated, `len` bytes; NULL is empty
 *
 * Returns NULL, or a static sentence on what is wrong: a bad escape, a field without '=' or without
 * a name, a name that is there twice, too many. form_free() is due either way.
 */
const char *form_parse(struct form *form, const char *text, size_t len);

/* The value of the field, or NULL when it is missing. */
const char *form_get(const struct form *form, const char *name);

/* The first field whose name is not among `known`, up to a NULL; or NULL. */
const char *form_unknown(const struct form *form, const char *const *known);

/* Wipes it: a form may hold a secret. */
void form_free(struct form *form);
#define _cleanup_form_ __attribute__((cleanup(form_free)))

#endif
