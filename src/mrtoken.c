/*
 * The command-line client of mrtokend: reads the command line, runs a verb, tells its failure.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/output.h"
#include "config.h"

static const struct cli_verb verbs[] = {
	{"get", "[ACCOUNT]", "print an access token, and nothing else",
		"Fit for $(mrtoken get). Without ACCOUNT it is the token of the daemon's default\n"
		"account. On failure nothing is written to standard output.\n",
		CLI_OPTION_JSON | CLI_OPTION_HEADER, get_run},
	{"list", NULL, "list the accounts that the daemon serves here",
		"One line each: name, kind, account id, account domain, and \"default\" for the\n"
		"default account; \"-\" stands for what there is not.\n",
		CLI_OPTION_JSON, list_run},
	{"status", "[ACCOUNT]", "show how the accounts are doing",
		"STATE is one of\n"
		"  starting  no token yet, the first exchange is going on\n"
		"  valid     there is a valid token, and the last refresh worked\n"
		"  expiring  there is a valid token near its end, which nothing can refresh\n"
		"  degraded  there is a valid token, but the last refresh failed\n"
		"  failed    there is no valid token, and the last exchange failed\n"
		"The exit code is 0 whenever the daemon answered, whatever the states are.\n",
		CLI_OPTION_JSON, status_run},
	{"refresh", "ACCOUNT", "have the daemon fetch a new token now",
		"The present token is served until the new one is there, and stays if none comes.\n"
		"There is one such refresh in 10 s at most for an account, and none while the\n"
		"upstream wants to be left alone. With --wait the command ends when the exchange\n"
		"has, and tells its failure.\n",
		CLI_OPTION_JSON | CLI_OPTION_WAIT, refresh_run},
	{"login", "ACCOUNT", "log in to an account whose credential is a person",
		"Shows a code and where to enter it in a web browser, on any device, and waits "
		"until\n"
		"that is done; until then nothing is written to standard output. The daemon keeps "
		"the\n"
		"login. Ctrl-C ends the waiting, and a minute later the login, unless somebody "
		"else\n"
		"waits for it.\n",
		0, login_run},
	{"check", NULL, "check a configuration, without a daemon",
		"Prints what was understood; or every problem, on standard error. With --probe it\n"
		"tries what the daemon would do for the account, once, and says what it finds, "
		"one\n"
		"credential after the other. It needs the right to read the account's secrets.\n",
		CLI_OPTION_CONFIG | CLI_OPTION_PROBE, check_run},
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

#define HELP_COLUMN 20

/* "  TERM      explanation", whose further lines are aligned below the first. */
static void explain(struct text *out, const char *term, const char *explanation)
{
	text_appendf(out, "  %-*s", HELP_COLUMN, term);
	for (const char *line = explanation; line != NULL;) {
		size_t len = strcspn(line, "\n");
		text_append_bytes(out, line, len);
		text_append(out, "\n");
		line = line[len] == '\n' ? line + len + 1 : NULL;
		if (line != NULL)
			text_appendf(out, "  %-*s", HELP_COLUMN, "");
	}
}

static void explain_options(struct text *out, unsigned bits)
{
	text_append(out, "\nOptions:\n");
	for (size_t i = 0; i < options_count; i++) {
		const struct options_entry *entry = &options_table[i];
		char term[64];
		if ((entry->bit & bits) == 0)
			continue;
		snprintf(term, sizeof(term), "%s%s%s%s%s",
			entry->letter == NULL ? "" : entry->letter,
			entry->letter == NULL ? "" : ", ", entry->name,
			entry->argument == NULL ? "" : " ",
			entry->argument == NULL ? "" : entry->argument);
		explain(out, term, entry->help);
	}
}

static void explain_verb(struct text *out, const struct cli_verb *verb)
{
	text_appendf(out, "Usage: mrtoken %s%s%s [OPTION]...\n\n%s", verb->name,
		verb->operand == NULL ? "" : " ", verb->operand == NULL ? "" : verb->operand,
		verb->detail);
	explain_options(out, CLI_OPTIONS_COMMON | verb->option_bits);
}

static void explain_program(struct text *out)
{
	text_append(out, "Usage: mrtoken [--socket PATH] COMMAND [ARGUMENT] [OPTION]...\n\n"
			 "Access tokens from mrtokend, the daemon that holds the credentials of "
			 "this host.\n\n"
			 "Commands:\n");
	for (size_t i = 0; i < VERB_COUNT; i++) {
		char term[64];
		snprintf(term, sizeof(term), "%s %s", verbs[i].name,
			verbs[i].operand == NULL ? "" : verbs[i].operand);
		explain(out, term, verbs[i].summary);
	}
	explain_options(out, ~0U);
	text_append(out, "\nEnvironment:\n");
	explain(out, "MRTOKEN_SOCKET", "the daemon's socket, where --socket does not name one");
	explain(out, "NO_COLOR", "if it is set, \"status\" uses no colour");
	text_append(out, "\nExit codes:\n");
	for (int i = 0; i < CLI_EXIT_COUNT; i++) {
		char term[16];
		snprintf(term, sizeof(term), "%d", i);
		explain(out, term, cli_exit_text((enum cli_exit)i));
	}
}

static int run(int argc, char *const *argv, struct cli_failure *failure)
{
	struct cli_options options = {0};
	const struct cli_verb *verb = NULL;
	_cleanup_text_ struct text out = {0};
	if (options_parse(argc, argv, verbs, VERB_COUNT, &options, &verb, failure) != 0)
		return -1;
	if (options.wants_help && verb != NULL)
		explain_verb(&out, verb);
	else if (options.wants_help)
		explain_program(&out);
	else if (options.wants_version)
		text_append(&out, "mrtoken " PACKAGE_VERSION "\n");
	else
		return verb->run(&options, failure);
	return output_text(&out, failure);
}

int main(int argc, char **argv)
{
	struct cli_failure failure = {0};
	output_prepare();
	if (run(argc, argv, &failure) == 0)
		return CLI_EXIT_OK;
	_cleanup_text_ struct text line = {0};
	const char *message = text_string(&failure.message);
	text_appendf(&line, "mrtoken: %s\n", message == NULL ? "no memory" : message);
	output_error(text_string(&line) == NULL ? "mrtoken: no memory\n" : text_string(&line));
	text_free(&failure.message);
	return (int)failure.exit_code;
}
