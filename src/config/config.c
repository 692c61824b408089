#include "config/config.h"

#include "config/builder.h"
#include "config/ini_file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_FILE SYSCONFDIR "/mrtokend/mrtokend.conf"

/* An unknown key is shown when it is no longer than this; account keys are longer. */
#define LONGEST_SHOWN_KEY 32

static bool is_name(const char *word)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(word);
	return len > 0 && len <= CONFIG_NAME_MAX && strspn(word, letters) == len &&
	       isalnum((unsigned char)word[0]);
}

static void on_section(void *context, const char *header, unsigned line)
{
	struct builder *builder = context;
	char where[512];
	char word[64];
	snprintf(where, sizeof(where), "%s:%u", builder->path, line);
	builder->current = NULL;
	size_t word_len = strcspn(header, " \t");
	snprintf(word, sizeof(word), "%.*s", (int)word_len, header);
	const char *name = header + word_len + strspn(header + word_len, " \t");
	const char *words[CONFIG_SECTION_COUNT];
	for (int i = 0; i < CONFIG_SECTION_COUNT; i++) {
		const struct config_section *kind = &config_sections[i];
		words[i] = kind->word;
		if (strcmp(kind->word, word) != 0)
			continue;
		if (!kind->has_name && *name != '\0')
			builder_problem(
				builder, "%s: [%s] has no name, found '%s'", where, word, name);
		else if (kind->has_name && !is_name(name))
			builder_problem(builder,
				"%s: found [%s], expected [%s NAME] with a name of up to %d "
				"letters, digits, "
				"'.', '_' and '-'",
				where, header, word, CONFIG_NAME_MAX);
		else
			builder->current =
				builder_section(builder, (enum config_section_kind)i, name, where);
		return;
	}
	const char *nearest = nearest_word(word, words, CONFIG_SECTION_COUNT);
	if (nearest != NULL)
		builder_problem(builder, "%s: unknown section [%s]; did you mean [%s]?", where,
			word, nearest);
	else
		builder_problem(builder,
			"%s: unknown section [%s]; expected [daemon], [listener NAME] or [account "
			"NAME]",
			where, word);
}

/* The secret of someone who wrote it on a line of its own, with its '=' at the end, is not. */
static bool is_like_a_key(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len <= LONGEST_SHOWN_KEY &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. ") ==
		       len;
}

static void on_key(void *context, const char *name, const char *value, unsigned line)
{
	struct builder *builder = context;
	struct section *section = builder->current;
	if (section == NULL)
		return; /* its header was told as a problem */
	char title[SECTION_TITLE_MAX];
	char where[512];
	const char *nearest = NULL;
	section_title(section, title);
	snprintf(where, sizeof(where), "%s:%u", builder->path, line);
	const struct config_key *key = config_key_find(section->kind, name, &nearest);
	if (key == NULL && !is_like_a_key(name)) {
		builder_problem(builder,
			"%s: %s: found what is no name of a key, and may be a secret, so it is not "
			"shown; mrtokend.conf(5) lists the keys",
			where, title);
		return;
	}
	if (key == NULL) {
		builder_problem(builder, "%s: %s: unknown key '%s'%s%s%s", where, title, name,
			nearest == NULL ? "; mrtokend.conf(5) lists the keys" : "; did you mean '",
			nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
		return;
	}
	uint64_t bit = UINT64_C(1) << (key - config_keys);
	if (section->file != builder->file) {
		section->file = builder->file;
		section->seen_in_file = 0;
	}
	if (section->seen_in_file & bit)
		builder_problem(builder, "%s: %s: '%s' is set twice in this file; keep one of them",
			where, title, name);
	section->seen_in_file |= bit;
	builder_set(builder, section, key, value, where);
}

static void on_problem(void *context, unsigned line, const char *sentence)
{
	struct builder *builder = context;
	builder_problem(builder, "%s:%u: %s", builder->path, line, sentence);
}

/* Read one file. One that is not there is a problem unless it is optional. */
static void read_file(struct builder *builder, const char *path, bool is_optional)
{
	static const struct ini_events events = {on_section, on_key, on_problem};
	struct error err = ERROR_INIT;
	int errnum = 0;
	builder->path = path;
	builder->file++;
	builder->current = NULL;
	if (ini_file_read(path, &events, builder, &errnum, &err) == 0)
		text_appendf(&builder->config->sources, "%s\n", path);
	else if (errnum != ENOENT || !is_optional)
		builder_problem_of(builder, "", &err);
}

static int is_drop_in(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static void read_drop_ins(struct builder *builder, const char *path)
{
	_cleanup_text_ struct text directory = {0};
	struct dirent **entries = NULL;
	text_appendf(&directory, "%s.d", path);
	if (text_string(&directory) == NULL) {
		builder->has_no_memory = true;
		return;
	}
	int count = scandir(directory.data, &entries, is_drop_in, alphasort);
	if (count < 0 && errno != ENOENT) {
		struct error err = ERROR_INIT;
		error_set_errno(&err, errno, "cannot read the directory %s", directory.data);
		builder_problem_of(builder, "", &err);
	}
	for (int i = 0; i < count; i++) {
		_cleanup_text_ struct text file = {0};
		text_appendf(&file, "%s/%s", directory.data, entries[i]->d_name);
		if (text_string(&file) != NULL)
			read_file(builder, file.data, false);
		else
			builder->has_no_memory = true;
		free(entries[i]);
	}
	free(entries);
}

enum error_code config_load(const char *path, struct config **config, struct text *problems)
{
	struct builder builder = {.problems = problems};
	builder.config = calloc(1, sizeof(*builder.config));
	if (builder.config == NULL ||
		config_keys_preset(CONFIG_SECTION_DAEMON, builder.config) != 0) {
		text_append(problems, "out of memory\n");
		config_free(builder.config);
		return ERR_NO_MEMORY;
	}
	const char *file = path == NULL ? DEFAULT_FILE : path;
	read_file(&builder, file, path == NULL);
	read_drop_ins(&builder, file);
	/* What could not be read has been told; what is missing because of it is not worth a word.
	 */
	if (builder.problem_count == 0 && !builder.has_no_memory)
		builder_complete(&builder, file);
	if (builder.has_no_memory && builder.problem_count == 0)
		builder_problem(&builder, "out of memory");
	builder_end(&builder);
	if (builder.problem_count > 0) {
		config_free(builder.config);
		return builder.has_no_memory ? ERR_NO_MEMORY : ERR_CONFIGURATION;
	}
	*config = builder.config;
	return ERR_NONE;
}

static void print_section(
	enum config_section_kind kind, const char *name, const void *target, struct text *out)
{
	text_appendf(
		out, "\n[%s%s%s]\n", config_sections[kind].word, name[0] == '\0' ? "" : " ", name);
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].section != kind)
			continue;
		_cleanup_text_ struct text value = {0};
		config_keys[i].print(target, &value);
		if (value.len > 0)
			text_appendf(out, "%s = %s\n", config_keys[i].name, value.data);
	}
}

void config_print(const struct config *config, struct text *out)
{
	const char *line = text_string(&config->sources);
	while (line != NULL && *line != '\0') {
		size_t len = strcspn(line, "\n");
		text_appendf(out, "# read %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
	print_section(CONFIG_SECTION_DAEMON, "", config, out);
	for (size_t i = 0; i < config->listener_count; i++)
		print_section(CONFIG_SECTION_LISTENER, config->listeners[i].name,
			&config->listeners[i], out);
	for (size_t i = 0; i < config->account_count; i++)
		print_section(CONFIG_SECTION_ACCOUNT, config->accounts[i].settings.name,
			&config->accounts[i], out);
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->listener_count; i++) {
		free(config->listeners[i].name);
		free(config->listeners[i].path);
		free(config->listeners[i].group);
	}
	for (size_t i = 0; i < config->account_count; i++) {
		account_settings_clear(&config->accounts[i].settings);
		credential_settings_clear(&config->accounts[i].credential);
		free(config->accounts[i].where);
	}
	free(config->listeners);
	free(config->accounts);
	free(config->default_account);
	free(config->ca_file);
	text_free(&config->sources);
	free(config);
}
