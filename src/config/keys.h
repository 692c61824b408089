/*
 * The one table of sections and keys: what each is called, how it is read, what it is without being
 * set. The manual page and the example file are checked against it.
 */
#ifndef MRTOKEND_CONFIG_KEYS_H
#define MRTOKEND_CONFIG_KEYS_H

#include "base/error.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>

enum config_section_kind {
	CONFIG_SECTION_DAEMON,
	CONFIG_SECTION_LISTENER,
	CONFIG_SECTION_ACCOUNT,
	CONFIG_SECTION_COUNT,
};

struct config_section {
	const char *word; /* as in [account NAME] */
	bool has_name;
	size_t size; /* of what its keys are read into */
};

extern const struct config_section config_sections[CONFIG_SECTION_COUNT];

struct config_key {
	enum config_section_kind section;
	const char *name;
	/*
	 * Read `value` into the structure of the section: struct config, config_listener or
	 * config_account. Returns 0, or -1 with *err, worded "found ..., expected ...".
	 */
	int (*set)(void *target, const char *value, struct error *err);
	/* Append the value as it would stand in the file; nothing when it is not set. */
	void (*print)(const void *target, struct text *out);
	bool is_required;
	bool is_place; /* a path, host or URL: shown in messages as it was found */
	const char *preset; /* as it would stand in the file; NULL: none */
	const char *summary;
};

/* No more keys than this: one bit for each says which were seen. */
#define CONFIG_KEYS_MAX 64

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* The key of that name in the section, or NULL and then the nearest name in *nearest, or NULL. */
const struct config_key *config_key_find(
	enum config_section_kind section, const char *name, const char **nearest);

/* Give a fresh structure of the section its presets. Returns 0, or -1: no memory. */
int config_keys_preset(enum config_section_kind section, void *target);

#endif
