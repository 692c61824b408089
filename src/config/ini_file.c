#include "config/ini_file.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* libinih cuts the names of sections and keys at 49 bytes; so this is what may stand in brackets.
 */
#define SECTION_MAX 48
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
			"the name of the section is too long, expected at most 48 bytes");
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

/* What libinih reads lines with; `size` is its limit. */
static char *read_line(char *line, int size, void *stream)
{
	struct reading *reading = stream;
	/* A byte that fgets() cannot have written shows how far it got, NULs included. */
	memset(line, 0x7f, (size_t)size);
	if (fgets(line, size, reading->file) == NULL)
		return NULL;
	reading->line++;
	const char *newline = memchr(line, '\n', (size_t)size);
	size_t len = strlen(line);
	if (newline != NULL && newline != line + len - 1)
		return refuse(reading, line, "found a NUL byte, expected text");
	if (newline == NULL && len == (size_t)size - 1) {
		int c;
		bool is_longer = false;
		while ((c = getc(reading->file)) != EOF && c != '\n')
			is_longer = true;
		if (is_longer || c == '\n') {
			char sentence[80];
			snprintf(sentence, sizeof(sentence),
				"the line is too long, expected at most %d bytes", size - 2);
			return refuse(reading, line, sentence);
		}
	}
	for (const char *c = line; *c != '\0'; c++)
		if (iscntrl((unsigned char)*c) && strchr("\t\r\n", *c) == NULL)
			return refuse(reading, line, "found a control character, expected text");
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
	FILE *file = fopen(path, "re");
	if (file == NULL || fstat(fileno(file), &st) != 0) {
		*errnum = errno;
		if (file != NULL)
			fclose(file);
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
