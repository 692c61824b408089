/*
 * The options of mrtoken: one table, read by the parser, by --help and by completions.
 */
#ifndef MRTOKEND_CLI_OPTIONS_H
#define MRTOKEND_CLI_OPTIONS_H

#include "cli/cli.h"

struct options_entry {
	enum cli_option_bit bit;
	const char *name; /* "--json" */
	const char *letter; /* "-h", or NULL */
	const char *argument; /* "PATH", or NULL: a flag */
	const char *help; /* one line */
};

extern const struct options_entry options_table[];
extern const size_t options_count;

#define OPTIONS_TIMEOUT_S 30
#define OPTIONS_TIMEOUT_MAX_S 3600

/*
 * Read a command line: options anywhere, the first other word is the verb, the next its operand,
 * and "--" ends the options. The socket is --socket's, then $MRTOKEN_SOCKET's, then the default.
 *
 * verbs    `verb_count` of them
 * options  filled in on success
 * verb     set on success; NULL only with --help or --version
 *
 * Returns 0, or -1 with *failure: CLI_EXIT_USAGE, what was found and what it probably should be.
 */
int options_parse(int argc, char *const *argv, const struct cli_verb *verbs, size_t verb_count,
	struct cli_options *options, const struct cli_verb **verb, struct cli_failure *failure);

#endif
