#include "credential/command.h"

#include "base/child.h"
#include "credential/program_end.h"
#include "credential/run_as.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct command {
	char **words;
	const char *key;
	struct run_as run_as;
};

struct command_run {
	struct command *command;
	struct child *child;
	command_done_fn done;
	void *context;
};

/* ---- splitting ------------------------------------------------------------------------------- */

/*
 * Read one word from *line, which is at its first letter, and move behind it.
 * Returns what is behind the word's NUL at `out`, or NULL with *err.
 */
static char *take_word(const char **line, const char *key, char *out, struct error *err)
{
	const char *c = *line;
	while (*c != '\0' && *c != ' ' && *c != '\t') {
		if (*c != '"') {
			*out++ = *c++;
			continue;
		}
		for (c++; *c != '"'; c++) {
			if (*c == '\\' && (c[1] == '"' || c[1] == '\\'))
				c++;
			if (*c == '\0') {
				error_set(err, ERR_CONFIGURATION,
					"%s: a double quote is not closed; write \\\" inside of "
					"double "
					"quotes for one that is meant",
					key);
				return NULL;
			}
			*out++ = *c;
		}
		c++;
	}
	*out++ = '\0';
	*line = c;
	return out;
}

int command_split(const char *line, const char *key, char ***words, struct error *err)
{
	char **list = malloc((COMMAND_WORDS_MAX + 1) * sizeof(char *) + strlen(line) + 1);
	if (list == NULL)
		return error_set(err, ERR_NO_MEMORY, "%s: out of memory", key);
	char *room = (char *)(list + COMMAND_WORDS_MAX + 1);
	size_t count = 0;
	for (;;) {
		line += strspn(line, " \t");
		if (*line == '\0')
			break;
		if (count == COMMAND_WORDS_MAX) {
			error_set(err, ERR_CONFIGURATION,
				"%s: more than %d words; put them into a script", key,
				COMMAND_WORDS_MAX);
			goto failed;
		}
		list[count++] = room;
		room = take_word(&line, key, room, err);
		if (room == NULL)
			goto failed;
	}
	list[count] = NULL;
	if (count == 0 || list[0][0] != '/') {
		error_set(err, ERR_CONFIGURATION,
			"%s: found '%.200s', expected a program by its absolute path, and its "
			"arguments "
			"divided by spaces; no shell reads it",
			key, count == 0 ? "" : list[0]);
		goto failed;
	}
	*words = list;
	return 0;
failed:
	free(list);
	return -1;
}

/* ---- running --------------------------------------------------------------------------------- */

struct command *command_open(
	const char *line, const char *key, const char *run_as, struct error *err)
{
	struct command *command = calloc(1, sizeof(*command));
	if (command == NULL) {
		error_set(err, ERR_NO_MEMORY, "%s: out of memory", key);
		return NULL;
	}
	command->key = key;
	if (command_split(line, key, &command->words, err) == 0 &&
		run_as_open(&command->run_as, run_as, NULL, err) == 0)
		return command;
	command_close(command);
	return NULL;
}

static struct secret *take_output(
	const struct command *command, struct child_result *result, struct error *err)
{
	if (result->status != 0) {
		char end[PROGRAM_END_MAX];
		program_end_describe(result->status, result->complaint,
			secret_len(result->output) == 0 ? NULL : result->output, end);
		error_set(
			err, ERR_SECRET_SOURCE, "%s: %s %s", command->key, command->words[0], end);
		return NULL;
	}
	secret_trim(result->output);
	if (secret_len(result->output) == 0) {
		error_set(err, ERR_SECRET_SOURCE, "%s: %s printed nothing", command->key,
			command->words[0]);
		return NULL;
	}
	struct secret *output = result->output;
	result->output = NULL;
	return output;
}

static void on_done(void *context, struct child_result *result, const struct error *err)
{
	struct command_run *run = context;
	struct error own = ERROR_INIT;
	struct secret *output = NULL;
	if (result != NULL)
		output = take_output(run->command, result, &own);
	else {
		own = *err;
		error_wrap(&own, "%s", run->command->key);
	}
	run->done(run->context, output == NULL ? NULL : &output, output == NULL ? &own : NULL);
	secret_free(output);
	free(run);
}

struct command_run *command_start(struct command *command, struct loop *loop, command_done_fn done,
	void *context, struct error *err)
{
	struct command_run *run = calloc(1, sizeof(*run));
	if (run == NULL) {
		error_set(err, ERR_NO_MEMORY, "%s: out of memory", command->key);
		return NULL;
	}
	*run = (struct command_run){.command = command, .done = done, .context = context};
	struct child_command what = {
		.arguments = (const char *const *)command->words,
		.directory = "/",
		.timeout_ms = COMMAND_TIMEOUT_MS,
		.output_max = COMMAND_OUTPUT_MAX,
	};
	run_as_fill(&command->run_as, &what);
	run->child = child_start(loop, &what, on_done, run, err);
	if (run->child != NULL)
		return run;
	error_wrap(err, "%s", command->key);
	free(run);
	return NULL;
}

void command_cancel(struct command_run *run)
{
	child_cancel(run->child);
	free(run);
}

void command_close(struct command *command)
{
	if (command == NULL)
		return;
	free(command->words);
	run_as_clear(&command->run_as);
	free(command);
}
