#include "cli/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#ifndef RUNSTATEDIR
#define RUNSTATEDIR "/run"
#endif
#define DEFAULT_SOCKET RUNSTATEDIR "/mrtokend/mrtokend.sock"

const struct options_entry options_table[] = {
	{CLI_OPTION_JSON, "--json", NULL, NULL, "print the daemon's answer as JSON"},
	{CLI_OPTION_HEADER, "--header", NULL, NULL,
		"print the line \"Authorization: Bearer TOKEN\""},
	{CLI_OPTION_WAIT, "--wait", NULL, NULL, "wait for the end of the exchange, 25 s at most"},
	{CLI_OPTION_CONFIG, "--config", NULL, "FILE", "check this file, not the installed one"},
	{CLI_OPTION_PROBE, "--probe", NULL, "ACCOUNT",
		"try this account's credentials and its exchange once"},
	{CLI_OPTION_SOCKET, "--socket", NULL, "PATH",
		"the daemon's socket; default $MRTOKEN_SOCKET, then\n" DEFAULT_SOCKET},
	{CLI_OPTION_TIMEOUT, "--timeout", NULL, "SECONDS",
		"wait no longer for an answer (1 to 3600, default 30)"},
	{CLI_OPTION_HELP, "--help", "-h", NULL, "print this help; after a command, the command's"},
	{CLI_OPTION_VERSION, "--version", "-V", NULL, "print the version"},
};
const size_t options_count = sizeof(options_table) / sizeof(options_table[0]);

#define NAMES_MAX 32

struct parse {
	const struct cli_verb *verb;
	struct cli_options options;
	unsigned seen; /* option bits */
	size_t words; /* neither options nor their values */
};

static int unknown_option(const char *word, size_t name_len, struct cli_failure *failure)
{
	char name[64] = "";
	if (name_len < sizeof(name))
		memcpy(name, word, name_len);
	const char *names[NAMES_MAX];
	size_t count = 0;
	for (size_t i = 0; i < options_count && count < NAMES_MAX; i++)
		names[count++] = options_table[i].name;
	const char *nearest = nearest_word(name, names, count);
	cli_fail(failure, CLI_EXIT_USAGE, "unknown option \"%s\"", word);
	if (nearest != NULL)
		return cli_hint(failure, "Did you mean %s?", nearest);
	return cli_hint(failure, "See: mrtoken --help");
}

static int unknown_verb(
	const char *word, const struct cli_verb *verbs, size_t count, struct cli_failure *failure)
{
	const char *names[NAMES_MAX];
	if (count > NAMES_MAX)
		count = NAMES_MAX;
	for (size_t i = 0; i < count; i++)
		names[i] = verbs[i].name;
	const char *nearest = nearest_word(word, names, count);
	cli_fail(failure, CLI_EXIT_USAGE, "unknown command \"%s\"", word);
	if (nearest != NULL)
		return cli_hint(failure, "Did you mean \"%s\"?", nearest);
	cli_hint(failure, "The commands are:");
	for (size_t i = 0; i < count; i++)
		text_appendf(&failure->message, "%s %s", i == 0 ? "" : ",", names[i]);
	return cli_hint(failure, "See: mrtoken --help");
}

static int apply(struct parse *parse, const struct options_entry *entry, const char *value,
	struct cli_failure *failure)
{
	struct cli_options *options = &parse->options;
	parse->seen |= entry->bit;
	switch (entry->bit) {
	case CLI_OPTION_HELP:
		options->wants_help = true;
		return 0;
	case CLI_OPTION_VERSION:
		options->wants_version = true;
		return 0;
	case CLI_OPTION_JSON:
		options->is_json = true;
		return 0;
	case CLI_OPTION_HEADER:
		options->is_header = true;
		return 0;
	case CLI_OPTION_WAIT:
		options->wants_wait = true;
		return 0;
	case CLI_OPTION_SOCKET:
		options->socket_path = value;
		return 0;
	case CLI_OPTION_CONFIG:
		options->config_path = value;
		return 0;
	case CLI_OPTION_PROBE:
		options->probe = value;
		return 0;
	case CLI_OPTION_TIMEOUT:
		if (parse_integer(value, 1, OPTIONS_TIMEOUT_MAX_S, &options->timeout_s) != 0)
			return cli_fail(failure, CLI_EXIT_USAGE,
				"--timeout \"%s\" is not a whole number of seconds from 1 to %d",
				value, OPTIONS_TIMEOUT_MAX_S);
		return 0;
	}
	return cli_fail(failure, CLI_EXIT_USAGE, "unknown option \"%s\"", entry->name);
}

/* Take the option at argv[*i], and its value, which may be the next word. */
static int take_option(
	struct parse *parse, int argc, char *const *argv, int *i, struct cli_failure *failure)
{
	const char *word = argv[*i];
	size_t name_len = strcspn(word, "=");
	const struct options_entry *entry = NULL;
	for (size_t k = 0; k < options_count && entry == NULL; k++) {
		const struct options_entry *e = &options_table[k];
		bool is_name = strlen(e->name) == name_len && memcmp(e->name, word, name_len) == 0;
		if (is_name || (e->letter != NULL && strcmp(e->letter, word) == 0))
			entry = e;
	}
	if (entry == NULL)
		return unknown_option(word, name_len, failure);
	const char *value = word[name_len] == '=' ? word + name_len + 1 : NULL;
	if (entry->argument == NULL && value != NULL)
		return cli_fail(failure, CLI_EXIT_USAGE, "%s takes no value, but \"%s\" was given",
			entry->name, value);
	if (entry->argument != NULL && value == NULL && *i + 1 < argc)
		value = argv[++*i];
	if (entry->argument != NULL && (value == NULL || *value == '\0'))
		return cli_fail(failure, CLI_EXIT_USAGE, "%s needs a value: %s %s", entry->name,
			entry->name, entry->argument);
	return apply(parse, entry, value, failure);
}

static int take_word(struct parse *parse, const char *word, const struct cli_verb *verbs,
	size_t verb_count, struct cli_failure *failure)
{
	if (parse->verb == NULL) {
		for (size_t i = 0; i < verb_count; i++)
			if (strcmp(verbs[i].name, word) == 0)
				parse->verb = &verbs[i];
		if (parse->verb == NULL)
			return unknown_verb(word, verbs, verb_count, failure);
		return 0;
	}
	if (parse->verb->operand == NULL || parse->options.account != NULL) {
		cli_fail(failure, CLI_EXIT_USAGE, "\"%s\" is one word too many", word);
		return cli_hint(failure, "The form is: mrtoken %s%s%s", parse->verb->name,
			parse->verb->operand == NULL ? "" : " ",
			parse->verb->operand == NULL ? "" : parse->verb->operand);
	}
	if (*word == '\0')
		return cli_fail(failure, CLI_EXIT_USAGE, "the name of the account is empty");
	parse->options.account = word;
	return 0;
}

/* Does what was found fit together? */
static int judge(struct parse *parse, struct cli_failure *failure)
{
	struct cli_options *options = &parse->options;
	if (parse->verb == NULL) {
		if (options->wants_help || options->wants_version)
			return 0;
		cli_fail(failure, CLI_EXIT_USAGE, "no command is given");
		return cli_hint(failure, "See: mrtoken --help");
	}
	if (!options->wants_help && !options->wants_version && options->account == NULL &&
		parse->verb->operand != NULL && parse->verb->operand[0] != '[') {
		cli_fail(failure, CLI_EXIT_USAGE, "the command \"%s\" needs an account",
			parse->verb->name);
		return cli_hint(failure, "The form is: mrtoken %s %s", parse->verb->name,
			parse->verb->operand);
	}
	for (size_t i = 0; i < options_count; i++) {
		unsigned known = CLI_OPTIONS_COMMON | parse->verb->option_bits;
		if ((options_table[i].bit & parse->seen & ~known) == 0)
			continue;
		cli_fail(failure, CLI_EXIT_USAGE, "the command \"%s\" takes no %s",
			parse->verb->name, options_table[i].name);
		return cli_hint(failure, "See: mrtoken %s --help", parse->verb->name);
	}
	if (options->is_json && options->is_header)
		return cli_fail(failure, CLI_EXIT_USAGE, "--json and --header exclude each other");
	if (strlen(options->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return cli_fail(failure, CLI_EXIT_USAGE,
			"the socket's path is %zu bytes long, the system allows %zu: %s",
			strlen(options->socket_path),
			sizeof(((struct sockaddr_un *)0)->sun_path) - 1, options->socket_path);
	return 0;
}

int options_parse(int argc, char *const *argv, const struct cli_verb *verbs, size_t verb_count,
	struct cli_options *options, const struct cli_verb **verb, struct cli_failure *failure)
{
	const char *from_environment = getenv("MRTOKEN_SOCKET");
	struct parse parse = {
		.options = {.socket_path = DEFAULT_SOCKET, .timeout_s = OPTIONS_TIMEOUT_S},
	};
	if (from_environment != NULL && *from_environment != '\0')
		parse.options.socket_path = from_environment;
	bool is_past_options = false;
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		int result = 0;
		if (!is_past_options && strcmp(word, "--") == 0)
			is_past_options = true;
		else if (!is_past_options && word[0] == '-' && word[1] != '\0')
			result = take_option(&parse, argc, argv, &i, failure);
		else
			result = take_word(&parse, word, verbs, verb_count, failure);
		if (result != 0)
			return -1;
	}
	if (judge(&parse, failure) != 0)
		return -1;
	*options = parse.options;
	*verb = parse.verb;
	return 0;
}
