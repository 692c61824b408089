#include "cli/progress.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/duration.h"
#include "cli/output.h"

/* For the handler: the words, and whether a line has to be ended before them. */
static const char *signal_words;
static volatile sig_atomic_t line_is_open;

static void write_words(const char *words)
{
	ssize_t written = write(STDERR_FILENO, words, strlen(words));
	(void)written; /* there is nobody else to tell it to */
}

static void on_signal(int number)
{
	if (line_is_open)
		write_words("\n");
	write_words(signal_words);
	signal(number, SIG_DFL);
	raise(number); /* once this has returned, and is unblocked */
}

void progress_catch_signals(const char *words)
{
	signal_words = words;
	static const int numbers[] = {SIGINT, SIGTERM};
	const struct sigaction action = {.sa_handler = on_signal};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct sigaction before;
		/* One that is ignored was meant to be, by nohup for instance. */
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
}

void progress_show(struct progress *progress, const char *what, int64_t left_s)
{
	static const char turns[] = "|/-\\";
	char left[DURATION_WORDS_SIZE];
	_cleanup_text_ struct text line = {0};
	duration_words(left_s, "no time", left);
	if (output_error_is_terminal()) {
		char turn = turns[progress->turn++ % (sizeof(turns) - 1)];
		text_appendf(&line, "\r%c %s, %s left   ", turn, what, left);
		/* Before the words: a signal may come between the two. */
		line_is_open = 1;
		progress->has_line = true;
		if (text_string(&line) != NULL)
			write_words(line.data);
		return;
	}
	if (progress->told_s != 0 && progress->told_s - left_s < PROGRESS_LINE_S)
		return;
	progress->told_s = left_s;
	text_appendf(&line, "%s, %s left\n", what, left);
	if (text_string(&line) != NULL)
		output_error(line.data);
}

void progress_end(struct progress *progress)
{
	if (progress->has_line)
		write_words("\r\033[K");
	progress->has_line = false;
	line_is_open = 0;
}
