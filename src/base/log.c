#include "base/log.h"

#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* it would be this file's, always */
#include <systemd/sd-journal.h>
#include <unistd.h>

static const char *program_name = "mrtokend";
static bool is_journal;
static atomic_int threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

/* systemd.exec(5): JOURNAL_STREAM names device and inode of the stream that is the journal's. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device;
	unsigned long long inode;
	struct stat st;
	if (stream == NULL ||
		sscanf(stream, "%llu:%llu", &device, &inode) != 2) // NOLINT(cert-err34-c)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(const char *program)
{
	program_name = program;
	is_journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

bool log_is_wanted(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

int log_parse_level(const char *word, enum log_level *level)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

static bool send_to_journal(
	enum log_level level, const char *message, const struct log_field *fields)
{
	char text[sizeof("MESSAGE=") + LOG_MESSAGE_SIZE];
	char lines[2 + LOG_FIELDS_MAX][1200];
	struct iovec vectors[3 + LOG_FIELDS_MAX];
	int count = 0;
	snprintf(text, sizeof(text), "MESSAGE=%s", message);
	snprintf(lines[count++], sizeof(lines[0]), "PRIORITY=%d", (int)level);
	snprintf(lines[count++], sizeof(lines[0]), "SYSLOG_IDENTIFIER=%s", program_name);
	for (int i = 0; fields != NULL && fields[i].name != NULL && i < LOG_FIELDS_MAX; i++)
		if (fields[i].value != NULL)
			snprintf(lines[count++], sizeof(lines[0]), "%s=%s", fields[i].name,
				fields[i].value);
	vectors[0] = (struct iovec){.iov_base = text, .iov_len = strlen(text)};
	for (int i = 0; i < count; i++)
		vectors[1 + i] = (struct iovec){.iov_base = lines[i], .iov_len = strlen(lines[i])};
	return sd_journal_sendv(vectors, 1 + count) == 0;
}

static void send_to_stderr(
	enum log_level level, const char *message, const struct log_field *fields)
{
	char line[LOG_LINE_SIZE];
	size_t len = (size_t)snprintf(
		line, sizeof(line), "%s: %s: %s", program_name, level_names[level], message);
	for (int i = 0; fields != NULL && fields[i].name != NULL && i < LOG_FIELDS_MAX; i++) {
		if (fields[i].value == NULL || len >= sizeof(line) ||
			strcmp(fields[i].name, "MESSAGE_ID") == 0)
			continue;
		len += (size_t)snprintf(
			line + len, sizeof(line) - len, " %s=%s", fields[i].name, fields[i].value);
	}
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len] = '\0';
	error_make_printable(line);
	line[len++] = '\n';
	/* One write, so that lines of several threads and programs do not mix. There is nowhere to
	 * tell that it failed. */
	ssize_t written;
	do
		written = write(STDERR_FILENO, line, len);
	while (written < 0 && errno == EINTR);
}

void log_event(enum log_level level, const struct log_field *fields, const char *format, ...)
{
	if (!log_is_wanted(level))
		return;
	int saved_errno = errno;
	char message[LOG_MESSAGE_SIZE];
	va_list args;
	va_start(args, format);
	if (vsnprintf(message, sizeof(message), format, args) < 0)
		message[0] = '\0';
	va_end(args);
	error_make_printable(message);
	if (!is_journal || !send_to_journal(level, message, fields))
		send_to_stderr(level, message, fields);
	errno = saved_errno;
}
