/*
 * What the parts of mrtoken share: exit codes, what was asked on the command line, the failure that
 * a verb ends with, and the form of a verb. One thread.
 */
#ifndef MRTOKEND_CLI_CLI_H
#define MRTOKEND_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* A contract with scripts: a number never changes its meaning. */
enum cli_exit {
	CLI_EXIT_OK,
	CLI_EXIT_FAILURE,
	CLI_EXIT_USAGE,
	CLI_EXIT_UNREACHABLE,
	CLI_EXIT_NO_ACCOUNT,
	CLI_EXIT_NO_TOKEN,
	CLI_EXIT_NOT_ALLOWED,
	CLI_EXIT_CONFIGURATION,
	CLI_EXIT_NO_LOGIN,
	CLI_EXIT_NOT_REFRESHED,
	CLI_EXIT_COUNT,
};

/* What an exit code means, for --help. */
const char *cli_exit_text(enum cli_exit exit_code);

/* How a verb failed. Zeroed is none. Whoever made it frees its message. */
struct cli_failure {
	enum cli_exit exit_code;
	struct text message; /* sentences without "mrtoken: " and without a last line end */
};

/*
 * Set the failure; what it held before is dropped. Returns -1, so that a caller can say
 * `return cli_fail(...)`. No secret is ever an argument.
 */
int cli_fail(struct cli_failure *failure, enum cli_exit exit_code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Add a line that says what to do next. Returns -1. */
int cli_hint(struct cli_failure *failure, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The command line, read. Strings point into argv or the environment. */
struct cli_options {
	const char *socket_path; /* never NULL */
	int64_t timeout_s; /* for one request to the daemon */
	const char *account; /* NULL: not named */
	const char *config_path; /* NULL: the default */
	const char *probe; /* the account to be tried, or NULL */
	bool is_json;
	bool is_header;
	bool wants_wait;
	bool wants_help;
	bool wants_version;
};

/* Bits of the options, for a verb to say which it takes. */
enum cli_option_bit {
	CLI_OPTION_HELP = 1 << 0,
	CLI_OPTION_VERSION = 1 << 1,
	CLI_OPTION_SOCKET = 1 << 2,
	CLI_OPTION_TIMEOUT = 1 << 3,
	CLI_OPTION_JSON = 1 << 4,
	CLI_OPTION_HEADER = 1 << 5,
	CLI_OPTION_CONFIG = 1 << 6,
	CLI_OPTION_PROBE = 1 << 7,
	CLI_OPTION_WAIT = 1 << 8,
};
/* Those that stand before the verb as well as behind it, and are allowed with each. */
#define CLI_OPTIONS_COMMON \
	(CLI_OPTION_HELP | CLI_OPTION_VERSION | CLI_OPTION_SOCKET | CLI_OPTION_TIMEOUT)

/* One command. The table of them, in mrtoken.c, is also what --help prints. */
struct cli_verb {
	const char *name;
	const char *operand; /* "[ACCOUNT]" may be there, "ACCOUNT" must; NULL: it takes none */
	const char *summary; /* one line */
	const char *detail; /* some lines for `mrtoken VERB --help`, each ended by a line end */
	unsigned option_bits; /* beside the common ones */
	/*
	 * Returns 0, or -1 with *failure set. It writes to standard output only when it has
	 * all that it is going to write.
	 */
	int (*run)(const struct cli_options *options, struct cli_failure *failure);
};

int get_run(const struct cli_options *options, struct cli_failure *failure);
int list_run(const struct cli_options *options, struct cli_failure *failure);
int status_run(const struct cli_options *options, struct cli_failure *failure);
int refresh_run(const struct cli_options *options, struct cli_failure *failure);
int login_run(const struct cli_options *options, struct cli_failure *failure);
int check_run(const struct cli_options *options, struct cli_failure *failure);

#endif
