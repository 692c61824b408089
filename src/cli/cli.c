#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const exit_texts[CLI_EXIT_COUNT] = {
	[CLI_EXIT_OK] = "done",
	[CLI_EXIT_FAILURE] = "unexpected failure: input or output, or an answer not understood",
	[CLI_EXIT_USAGE] = "the command line is wrong",
	[CLI_EXIT_UNREACHABLE] = "the daemon is not reachable, or gave no answer in time",
	[CLI_EXIT_NO_ACCOUNT] = "there is no such account",
	[CLI_EXIT_NO_TOKEN] = "the account has no valid token at the moment",
	[CLI_EXIT_NOT_ALLOWED] = "not allowed, by the socket's mode or by the daemon's rules",
	[CLI_EXIT_CONFIGURATION] = "the configuration is not valid",
	[CLI_EXIT_NO_LOGIN] = "nobody was logged in: declined, too late, failed, or not needed",
	[CLI_EXIT_NOT_REFRESHED] = "nothing was refreshed: too soon, failed, or not ended in time",
};

const char *cli_exit_text(enum cli_exit exit_code)
{
	return (unsigned)exit_code < CLI_EXIT_COUNT ? exit_texts[exit_code] : "unknown";
}

/* A message too long for this is cut; nothing that is appended here has a reason to be longer. */
#define MESSAGE_MAX 4096

__attribute__((format(printf, 2, 0))) static void append(
	struct text *message, const char *format, va_list args)
{
	char part[MESSAGE_MAX];
	if (vsnprintf(part, sizeof(part), format, args) >= 0)
		text_append(message, part);
}

int cli_fail(struct cli_failure *failure, enum cli_exit exit_code, const char *format, ...)
{
	struct text message = {0};
	va_list args;
	va_start(args, format);
	append(&message, format, args);
	va_end(args);
	text_free(&failure->message); /* not before: it may have been an argument */
	failure->exit_code = exit_code;
	failure->message = message;
	return -1;
}

int cli_hint(struct cli_failure *failure, const char *format, ...)
{
	text_append(&failure->message, "\n");
	va_list args;
	va_start(args, format);
	append(&failure->message, format, args);
	va_end(args);
	return -1;
}
