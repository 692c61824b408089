#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void output_prepare(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free descriptor is this one. Opened the wrong way round, its use
		 * fails as that of the closed one would. */
		int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
		if (opened != fd)
			abort();
	}
	signal(SIGPIPE, SIG_IGN);
}

/* Returns 0, or -1 with errno. */
static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, bytes, len);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && errno == EAGAIN) {
			struct pollfd until = {.fd = fd, .events = POLLOUT};
			poll(&until, 1, -1);
			continue;
		}
		if (written <= 0) {
			if (written == 0)
				errno = EIO;
			return -1;
		}
		bytes += written;
		len -= (size_t)written;
	}
	return 0;
}

static int write_output(const char *bytes, size_t len, struct cli_failure *failure)
{
	if (write_all(STDOUT_FILENO, bytes, len) != 0)
		return cli_fail(failure, CLI_EXIT_FAILURE, "cannot write to standard output: %s",
			strerror(errno));
	return 0;
}

int output_secret(const struct secret *secret, struct cli_failure *failure)
{
	return write_output(secret_bytes(secret), secret_len(secret), failure);
}

int output_text(const struct text *text, struct cli_failure *failure)
{
	const char *string = text_string(text);
	if (string == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the output");
	return write_output(string, text->len, failure);
}

void output_error(const char *message)
{
	_cleanup_text_ struct text line = {0};
	for (const char *c = message; *c != '\0'; c++) {
		bool is_control = ((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f;
		text_append_bytes(&line, is_control ? "?" : c, 1);
	}
	if (text_string(&line) != NULL)
		(void)write_all(STDERR_FILENO, text_string(&line), line.len);
}

bool output_error_is_terminal(void)
{
	const char *term = getenv("TERM");
	return isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

void output_printable(struct text *text, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool is_printable = bytes[i] >= 0x20 && bytes[i] <= 0x7e;
		text_append_bytes(text, is_printable ? &bytes[i] : "?", 1);
	}
}

size_t output_terminal_width(void)
{
	if (!isatty(STDOUT_FILENO))
		return 0;
	struct winsize size = {0};
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	const char *columns = getenv("COLUMNS");
	int64_t width = 0;
	if (columns != NULL && parse_integer(columns, 1, 10000, &width) == 0)
		return (size_t)width;
	return 80;
}

bool output_is_coloured(void)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0') && term != NULL &&
	       strcmp(term, "dumb") != 0;
}
