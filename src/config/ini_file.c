#include "config/ini_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libinih cuts the names of sections and keys at 49 bytes; so this is what may stand in brackets.
 */
#define SECTION_MAX 49
#define FILE_MAX ((off_t)16 * 1024 * 1024)

struct reading {
	FILE *file;
	const struct ini_events *events;
	void *context;
	unsigned line;
	bool has_section;
	bool has_section_problem;
	bool is_continuation;
};

/* Give libinih an empty line in place of one that was told as a problem. */
static char *blank(char *line)
{
	line[0] = '\n';
	line[1] = '\0';
	return line;
}

static char *refuse(struct reading *reading, char *line, const char *sentence)
{
	reading->events->problem(reading->context, reading->line, sentence);
	return blank(line);
}

/* A header must end in its bracket, and is told here: libinih is silent on a section without keys.
 */
static char *read_header(struct reading *reading, char *line, char *start)
{
	char name[SECTION_MAX + 1];
	const char *end = strchr(start, ']');
	reading->has_section = true;
	reading->has_section_problem = true;
	if (end == NULL)
		return refuse(reading, line, "found '[' without its ']', expected [SECTION]");
	size_t len = (size_t)(end - start) - 1;
	if (len > SECTION_MAX)
		return refuse(reading, line,
			"the name of the section is too long, expected at most 49 bytes");
	const char *rest = end + 1 + strspn(end + 1, " \t\r\n");
	if (*rest != '\0' && *rest != ';' && *rest != '#')
		return refuse(
			reading, line, "found more behind [SECTION], expected the end of the line");
	memcpy(name, start + 1, len);
	name[len] = '\0';
	reading->has_section_problem = false;
	reading->events->section(reading->context, name, reading->line);
	return line;
}

/* The rest of a line that did not fit. Returns whether there is any. */
static bool skip_rest(FILE *file)
{
	int c = getc(file);
	bool is_longer = c != EOF;
	while (c != EOF && c != '\n')
		c = getc(file);
	return is_longer;
}

static bool has_control_character(const char *line)
{
	for (const char *c = line; *c != '\0'; c++) {
		bool is_end = *c == '\n' || (*c == '\r' && (c[1] == '\n' || c[1] == '\0'));
		if (iscntrl((unsigned char)*c) && *c != '\t' && !is_end)
			return true;
	}
	return false;
}

/* What libinih reads lines with; `size` is its limit. */
static char *read_line(char *line, int size, void *stream)
{
	static const char byte_order_mark[] = "\xEF\xBB\xBF";
	struct reading *reading = stream;
	/* The last NUL is then the one that fgets() wrote, whatever NULs it read. */
	memset(line, 0x7f, (size_t)size);
	if (fgets(line, size, reading->file) == NULL)
		return NULL;
	reading->line++;
	const char *end = memrchr(line, '\0', (size_t)size);
	bool is_too_long = end == line + size - 1 && end[-1] != '\n' && skip_rest(reading->file);
	if (strlen(line) != (size_t)(end - line))
		return refuse(reading, line, "found a NUL byte, expected text");
	if (is_too_long) {
		char sentence[80];
		snprintf(sentence, sizeof(sentence),
			"the line is too long, expected at most %d bytes", size - 2);
		return refuse(reading, line, sentence);
	}
	if (has_control_character(line))
		return refuse(reading, line, "found a control character, expected text");
	if (reading->line == 1 && strncmp(line, byte_order_mark, 3) == 0)
		memmove(line, line + 3, strlen(line + 3) + 1);
	char *start = line + strspn(line, " \t\r\n");
	reading->is_continuation = start > line && *start != '\0';
	if (*start == '[')
		return read_header(reading, line, start);
	return line;
}

static int on_key(void *stream, const char *section, const char *name, const char *value)
{
	struct reading *reading = stream;
	(void)section;
	if (reading->has_section_problem)
		return 1; /* told with its header */
	if (!reading->has_section)
		reading->events->problem(reading->context, reading->line,
			"found a key before the first section, expected a [SECTION] above it");
	else if (reading->is_continuation)
		reading->events->problem(reading->context, reading->line,
			"found a line that begins with a blank, which would continue the value "
			"above it; "
			"begin each key at the start of its line");
	else
		reading->events->key(reading->context, name, value, reading->line);
	return 1;
}

int ini_file_read(const char *path, const struct ini_events *events, void *context, int *errnum,
	struct error *err)
{
	struct stat st;
	*errnum = 0;
	/* Not blocking, so that a FIFO is refused and not waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	if (file == NULL || fstat(fd, &st) != 0) {
		*errnum = errno;
		if (file != NULL)
			fclose(file);
		else if (fd >= 0)
			close(fd);
		return error_set_errno(err, *errnum, "cannot open %s", path);
	}
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		fclose(file);
		return error_set(err, ERR_CONFIGURATION, "cannot read %s: %s", path,
			S_ISREG(st.st_mode) ? "expected a file of at most 16 MiB"
					    : "expected a regular file");
	}
	struct reading reading = {.file = file, .events = events, .context = context};
	int bad_line = ini_parse_stream(read_line, &reading, on_key, &reading);
	bool has_failed = ferror(file) != 0;
	fclose(file);
	if (has_failed || bad_line < 0)
		return error_set(err, ERR_SYSTEM, "cannot read %s to its end", path);
	if (bad_line > 0)
		events->problem(context, (unsigned)bad_line,
			"found a line that is neither [SECTION], nor key = value, nor a comment");
	return 0;
}
