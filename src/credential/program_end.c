#include "credential/program_end.h"

#include "base/detail.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

struct line {
	const char *start;
	size_t len;
};

static bool begins_with(const struct line *line, const char *word)
{
	return line->len >= strlen(word) && strncmp(line->start, word, strlen(word)) == 0;
}

/* The line to be shown, without space around it; an empty one when there is none. */
static struct line choose_line(const struct secret *complaint)
{
	struct line chosen = {.start = ""};
	const char *rest = secret_bytes(complaint);
	while (*rest != '\0') {
		struct line line = {.start = rest, .len = strcspn(rest, "\r\n")};
		rest += line.len;
		rest += strspn(rest, "\r\n");
		size_t indent = strspn(line.start, " \t");
		if (indent >= line.len)
			continue;
		line.start += indent;
		line.len -= indent;
		if (begins_with(&line, "ERROR") || begins_with(&line, "Error"))
			return line;
		if (chosen.len == 0 && !begins_with(&line, "WARNING"))
			chosen = line;
	}
	return chosen;
}

void program_end_describe(int status, const struct secret *complaint, const struct secret *shown,
	char out[PROGRAM_END_MAX])
{
	char how[64];
	char words[DETAIL_MAX * 2] = "";
	struct line line = choose_line(complaint);
	detail_copy(shown, 0, line.start, line.len, words, sizeof(words));
	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was ended by signal %d", WTERMSIG(status));
	else
		snprintf(how, sizeof(how), "exited with %d", WEXITSTATUS(status));
	snprintf(out, PROGRAM_END_MAX, "%s%s%s", how,
		words[0] == '\0' ? ", and wrote nothing to standard error" : ": ", words);
}
