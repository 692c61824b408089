/*
 * A configuration in the making: sections as they are found, the values they set, the problems that
 * are told. Private to config/; the main thread.
 */
#ifndef MRTOKEND_CONFIG_BUILDER_H
#define MRTOKEND_CONFIG_BUILDER_H

#include "config/config.h"
#include "config/keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where an account is from that no file names. */
#define CONFIG_ENVIRONMENT "the environment"

/* A section as it was found, perhaps in several files. */
struct section {
	enum config_section_kind kind;
	char *name; /* "" for [daemon] */
	char *where; /* FILE:LINE of its first header */
	size_t index; /* among config.listeners or config.accounts */
	unsigned file; /* the last file that set a key of it */
	uint64_t seen_in_file; /* one bit for each of config_keys */
	uint64_t seen;
	char *key_where[CONFIG_KEYS_MAX]; /* FILE:LINE that set the key last, or NULL */
};

struct builder {
	struct config *config;
	struct text *problems;
	size_t problem_count;
	const char *path; /* the file that is being read */
	unsigned file; /* its number, from 1 */
	struct section **sections;
	size_t section_count;
	void *tree; /* of the sections, by kind and name; tsearch(3) */
	struct section *current;
	bool has_no_memory;
};

/* Add one line to the problems; what is not printable becomes '?'. */
void builder_problem(struct builder *builder, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same of an error, with `where` in front; that there was no memory is remembered. */
void builder_problem_of(struct builder *builder, const char *where, const struct error *err);

/*
 * The section of that kind and name, made with its presets when it is new.
 * where  FILE:LINE, kept of the first time
 * Returns NULL when there is no memory, which is remembered.
 */
struct section *builder_section(struct builder *builder, enum config_section_kind kind,
	const char *name, const char *where);

/* Whether there is such a section. */
bool builder_has_section(
	const struct builder *builder, enum config_section_kind kind, const char *name);

/* What the section's keys are read into; it moves when a section is added. */
void *builder_target(const struct builder *builder, const struct section *section);

/* FILE:LINE that set the key last, or that of the section's header. */
const char *section_where(const struct section *section, const char *key_name);

/*
 * Set a key that is known to exist. A value that cannot be read is a problem, told with `where`.
 */
void builder_set(struct builder *builder, struct section *section, const struct config_key *key,
	const char *value, const char *where);

/* Write "[account NAME]" or the like to `out`. */
#define SECTION_TITLE_MAX 80
void section_title(const struct section *section, char out[SECTION_TITLE_MAX]);

/* A copy in *out. Out of memory is remembered, and leaves *out as it was. */
void builder_copy(struct builder *builder, char **out, const char *string);

/* Free all but the configuration and the problems. */
void builder_end(struct builder *builder);

/* config/environment.c: make the account `default` of MIXEDREALITY_ACCOUNT_*. Returns whether any
 * of the variables is set. */
bool builder_read_environment(struct builder *builder);

/* config/complete.c: fill in what is implied, and check what only the whole can tell.
 * path  the main file, for messages */
void builder_complete(struct builder *builder, const char *path);

#endif
