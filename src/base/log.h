/*
 * One event, one line: to the journal with fields when standard error is the journal, else to
 * standard error. No secret is ever an argument. Any thread.
 */
#ifndef MRTOKEND_BASE_LOG_H
#define MRTOKEND_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* The journal's priorities. error: someone must act; warning: someone should look; notice: a state
 * changed; info: it works as it should; debug: for whoever reads the code. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/*
 * A journal field, such as ACCOUNT. A field whose value is NULL is left out. MESSAGE_ID, a constant
 * of base/message_id.h, is for the journal alone: it says nothing to people.
 */
struct log_field {
	const char *name;
	const char *value;
};

/*
 * Find out where lines go, and name the program in them. Call once, before threads start; until
 * then, lines go to standard error.
 */
void log_open(const char *program);

/* Lines above this level are dropped. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/* Whether lines of this level are written. Any thread. */
bool log_is_wanted(enum log_level level);

/* Read "error", "warning", "notice", "info" or "debug". Returns 0 or -1. */
int log_parse_level(const char *word, enum log_level *level);

/* What is longer is cut. A message has room for a whole struct error and what is said around it; a
 * line is no longer than what a pipe takes in one piece. */
#define LOG_MESSAGE_SIZE 2560
#define LOG_LINE_SIZE 4096

/*
 * Write one line. Control characters in it become '?'.
 * fields  at most LOG_FIELDS_MAX, ended by one whose name is NULL; or NULL
 */
#define LOG_FIELDS_MAX 8
void log_event(enum log_level level, const struct log_field *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...) log_event(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_notice(...) log_event(LOG_LEVEL_NOTICE, NULL, __VA_ARGS__)
#define log_info(...) log_event(LOG_LEVEL_INFO, NULL, __VA_ARGS__)

#endif
