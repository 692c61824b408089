#include "config/config.h"

#include "config/ini_file.h"
#include "config/keys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_FILE SYSCONFDIR "/mrtokend/mrtokend.conf"
#define DEFAULT_SOCKET RUNSTATEDIR "/mrtokend/mrtokend.sock"

/* An unknown key is shown when it is no longer than this; account keys are longer. */
#define LONGEST_SHOWN_KEY 32

/* A section as it was found, perhaps in several files. */
struct section {
	enum config_section_kind kind;
	char *name; /* "" for [daemon] */
	char *where; /* FILE:LINE of its first header */
	size_t index; /* among config.listeners or config.accounts */
	unsigned file; /* the last file that set a key of it */
	uint32_t seen_in_file; /* one bit for each of config_keys */
	uint32_t seen;
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

static void problem(struct builder *builder, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void problem(struct builder *builder, const char *format, ...)
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

static int compare_sections(const void *a, const void *b)
{
	const struct section *one = a;
	const struct section *two = b;
	if (one->kind != two->kind)
		return one->kind < two->kind ? -1 : 1;
	return strcmp(one->name, two->name);
}

static void *target_of(const struct builder *builder, const struct section *section)
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
	return config_keys_preset(section->kind, target_of(builder, section)) == 0;
}

static void section_free(struct section *section)
{
	if (section == NULL)
		return;
	free(section->name);
	free(section->where);
	free(section);
}

/* The section of that kind and name, made when it is new. NULL: no memory, which is remembered. */
static struct section *section_get(
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
			problem(builder, "%s: [%s] has no name, found '%s'", where, word, name);
		else if (kind->has_name && !is_name(name))
			problem(builder,
				"%s: found [%s], expected [%s NAME] with a name of up to %d "
				"letters, digits, "
				"'.', '_' and '-'",
				where, header, word, CONFIG_NAME_MAX);
		else
			builder->current =
				section_get(builder, (enum config_section_kind)i, name, where);
		return;
	}
	const char *nearest = nearest_word(word, words, CONFIG_SECTION_COUNT);
	if (nearest != NULL)
		problem(builder, "%s: unknown section [%s]; did you mean [%s]?", where, word,
			nearest);
	else
		problem(builder,
			"%s: unknown section [%s]; expected [daemon], [listener NAME] or [account "
			"NAME]",
			where, word);
}

static void describe_section(const struct section *section, char *out, size_t out_size)
{
	snprintf(out, out_size, "[%s%s%s]", config_sections[section->kind].word,
		section->name[0] == '\0' ? "" : " ", section->name);
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
	char title[80];
	const char *nearest = NULL;
	describe_section(section, title, sizeof(title));
	const struct config_key *key = config_key_find(section->kind, name, &nearest);
	if (key == NULL && !is_like_a_key(name)) {
		problem(builder,
			"%s:%u: %s: found what is no name of a key, and may be a secret, so it is "
			"not shown; mrtokend.conf(5) lists the keys",
			builder->path, line, title);
		return;
	}
	if (key == NULL) {
		problem(builder, "%s:%u: %s: unknown key '%s'%s%s%s", builder->path, line, title,
			name,
			nearest == NULL ? "; mrtokend.conf(5) lists the keys" : "; did you mean '",
			nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
		return;
	}
	uint32_t bit = UINT32_C(1) << (key - config_keys);
	if (section->file != builder->file) {
		section->file = builder->file;
		section->seen_in_file = 0;
	}
	if (section->seen_in_file & bit)
		problem(builder, "%s:%u: %s: '%s' is set twice in this file; keep one of them",
			builder->path, line, title, name);
	section->seen_in_file |= bit;
	section->seen |= bit;
	struct error err = ERROR_INIT;
	if (value[0] == '\0')
		problem(builder, "%s:%u: %s: '%s' has no value; write one, or drop the line",
			builder->path, line, title, name);
	else if (key->set(target_of(builder, section), value, &err) != 0)
		problem(builder, "%s:%u: %s: %s: %s", builder->path, line, title, name,
			err.message);
}

static void on_problem(void *context, unsigned line, const char *sentence)
{
	struct builder *builder = context;
	problem(builder, "%s:%u: %s", builder->path, line, sentence);
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
		problem(builder, "%s", err.message);
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
		problem(builder, "%s", err.message);
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

/* ---- the environment ---- */

#define VARIABLE_DOMAIN "MIXEDREALITY_ACCOUNT_DOMAIN"
#define VARIABLE_ID "MIXEDREALITY_ACCOUNT_ID"
#define VARIABLE_KEY "MIXEDREALITY_ACCOUNT_KEY"
#define VARIABLE_KEY_FILE "MIXEDREALITY_ACCOUNT_KEY_FILE"

static void set_from_environment(struct builder *builder, struct section *section,
	const char *variable, const char *key_name, const char *prefix)
{
	const char *nearest = NULL;
	const struct config_key *key = config_key_find(section->kind, key_name, &nearest);
	_cleanup_text_ struct text value = {0};
	struct error err = ERROR_INIT;
	text_appendf(&value, "%s%s", prefix, getenv(variable));
	if (text_string(&value) == NULL) {
		builder->has_no_memory = true;
		return;
	}
	if (key->set(target_of(builder, section), value.data, &err) != 0)
		problem(builder, "environment variable %s: %s", variable, err.message);
	section->seen |= UINT32_C(1) << (key - config_keys);
}

/* Make the account `default` of the variables. Returns whether any of them is set. */
static bool read_environment(struct builder *builder)
{
	const char *key = getenv(VARIABLE_KEY);
	const char *key_file = getenv(VARIABLE_KEY_FILE);
	if (getenv(VARIABLE_DOMAIN) == NULL && getenv(VARIABLE_ID) == NULL && key == NULL &&
		key_file == NULL)
		return false;
	struct section *section =
		section_get(builder, CONFIG_SECTION_ACCOUNT, "default", "the environment");
	if (section == NULL)
		return true;
	text_append(
		&builder->config->sources, "the environment variables MIXEDREALITY_ACCOUNT_*\n");
	if (getenv(VARIABLE_DOMAIN) == NULL)
		problem(builder, "environment variable " VARIABLE_DOMAIN
				 " is not set; set it to the account's domain");
	else
		set_from_environment(builder, section, VARIABLE_DOMAIN, "account_domain", "");
	if (getenv(VARIABLE_ID) == NULL)
		problem(builder, "environment variable " VARIABLE_ID
				 " is not set; set it to the account's identifier");
	else
		set_from_environment(builder, section, VARIABLE_ID, "account_id", "");
	if (key != NULL && key_file != NULL)
		problem(builder, "both " VARIABLE_KEY " and " VARIABLE_KEY_FILE
				 " are set; set only one of them");
	else if (key_file != NULL)
		set_from_environment(builder, section, VARIABLE_KEY_FILE, "account_key", "file:");
	else if (key != NULL) {
		struct config_account *account = target_of(builder, section);
		if (secret_source_parse(
			    "env:" VARIABLE_KEY, &account->credential.account_key, NULL) != 0)
			builder->has_no_memory = true;
	} else
		problem(builder, "neither " VARIABLE_KEY_FILE " nor " VARIABLE_KEY
				 " is set; set one of them");
	section->seen = UINT32_MAX; /* what is missing was told above */
	return true;
}

/* ---- checks of the whole ---- */

static void check_required_keys(struct builder *builder, const struct section *section)
{
	char title[80];
	describe_section(section, title, sizeof(title));
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].section == section->kind && config_keys[i].is_required &&
			(section->seen & (UINT32_C(1) << i)) == 0)
			problem(builder, "%s: %s: '%s' is missing: %s", section->where, title,
				config_keys[i].name, config_keys[i].summary);
}

static bool copy_string(char **out, const char *string)
{
	*out = strdup(string);
	return *out != NULL;
}

static void complete_account(struct builder *builder, struct config_account *account)
{
	struct error err = ERROR_INIT;
	const char *ca_file = builder->config->ca_file;
	if (account->credential.kind->check != NULL &&
		account->credential.kind->check(&account->credential, &err) != 0 &&
		strcmp(account->where, "the environment") != 0)
		problem(builder, "%s: [account %s]: %s", account->where, account->settings.name,
			err.message);
	if (account->settings.endpoint == NULL && account->settings.account_domain != NULL) {
		_cleanup_text_ struct text endpoint = {0};
		/* azure-protocol.md A.1 */
		text_appendf(&endpoint, "https://sts.%s", account->settings.account_domain);
		account->settings.endpoint = text_steal(&endpoint);
		if (account->settings.endpoint == NULL)
			builder->has_no_memory = true;
	}
	if (ca_file != NULL && !copy_string(&account->settings.ca_file, ca_file))
		builder->has_no_memory = true;
}

static void check_paths(struct builder *builder)
{
	const struct config *config = builder->config;
	for (size_t i = 0; i < config->listener_count; i++)
		for (size_t j = 0; j < i; j++)
			if (config->listeners[i].path != NULL &&
				config->listeners[j].path != NULL &&
				strcmp(config->listeners[i].path, config->listeners[j].path) == 0)
				problem(builder,
					"[listener %s] and [listener %s] have the same path %s",
					config->listeners[j].name, config->listeners[i].name,
					config->listeners[i].path);
}

static void check_default_account(struct builder *builder)
{
	struct config *config = builder->config;
	struct section key = {.kind = CONFIG_SECTION_ACCOUNT, .name = config->default_account};
	if (config->default_account == NULL) {
		if (config->account_count == 1 &&
			!copy_string(&config->default_account, config->accounts[0].settings.name))
			builder->has_no_memory = true;
		return;
	}
	if (tfind(&key, &builder->tree, compare_sections) == NULL)
		problem(builder,
			"[daemon]: default_account: found '%s', expected the name of an [account "
			"NAME]",
			config->default_account);
}

/* A daemon without a listener has one, at the path where clients look. */
static void complete_listeners(struct builder *builder)
{
	if (builder->config->listener_count > 0)
		return;
	struct section *section =
		section_get(builder, CONFIG_SECTION_LISTENER, "main", "the built-in listener");
	const char *nearest = NULL;
	const struct config_key *path = config_key_find(CONFIG_SECTION_LISTENER, "path", &nearest);
	if (section == NULL || path->set(target_of(builder, section), DEFAULT_SOCKET, NULL) != 0)
		builder->has_no_memory = true;
	else
		section->seen |= UINT32_C(1) << (path - config_keys);
}

static void complete(struct builder *builder, const char *path)
{
	struct config *config = builder->config;
	const char *variable = getenv("SSL_CERT_FILE");
	if (config->account_count == 0 && !read_environment(builder))
		problem(builder,
			"%s: no account: write an [account NAME] section, or set " VARIABLE_DOMAIN
			", " VARIABLE_ID " and " VARIABLE_KEY_FILE,
			path);
	complete_listeners(builder);
	if (builder->has_no_memory)
		return; /* an account may be there by half */
	if (config->ca_file == NULL && variable != NULL && variable[0] == '/' &&
		!copy_string(&config->ca_file, variable))
		builder->has_no_memory = true;
	for (size_t i = 0; i < builder->section_count; i++)
		check_required_keys(builder, builder->sections[i]);
	for (size_t i = 0; i < config->account_count; i++)
		complete_account(builder, &config->accounts[i]);
	check_paths(builder);
	check_default_account(builder);
}

static void ignore_node(void *node)
{
	(void)node;
}

int config_load(const char *path, struct config **config, struct text *problems)
{
	struct builder builder = {.problems = problems};
	builder.config = calloc(1, sizeof(*builder.config));
	if (builder.config == NULL ||
		config_keys_preset(CONFIG_SECTION_DAEMON, builder.config) != 0) {
		text_append(problems, "out of memory\n");
		config_free(builder.config);
		return -1;
	}
	const char *file = path == NULL ? DEFAULT_FILE : path;
	read_file(&builder, file, path == NULL);
	read_drop_ins(&builder, file);
	/* What could not be read has been told; what is missing because of it is not worth a word.
	 */
	if (builder.problem_count == 0 && !builder.has_no_memory)
		complete(&builder, file);
	if (builder.has_no_memory)
		problem(&builder, "out of memory");
	tdestroy(builder.tree, ignore_node);
	for (size_t i = 0; i < builder.section_count; i++)
		section_free(builder.sections[i]);
	free(builder.sections);
	if (builder.problem_count > 0) {
		config_free(builder.config);
		return -1;
	}
	*config = builder.config;
	return 0;
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
