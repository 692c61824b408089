/*
 * The thread that writes the audit's lines: a queue of so many, and a count of what found no room.
 */
#ifndef MRTOKEND_SERVER_AUDIT_WRITER_H
#define MRTOKEND_SERVER_AUDIT_WRITER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* As long as any name in the configuration, and as any unit's. */
#define AUDIT_ACCOUNT_SIZE 48
#define AUDIT_UNIT_SIZE 256

struct audit_line {
	uid_t uid;
	pid_t pid; /* 0: of several processes */
	char unit[AUDIT_UNIT_SIZE]; /* or "" */
	char account[AUDIT_ACCOUNT_SIZE];
	uint64_t request; /* the last one */
	uint64_t count; /* of tokens */
	bool is_first; /* that this process got; else it is how many more there were */
};

struct audit_writer;

/* Returns NULL with *err. */
struct audit_writer *audit_writer_new(struct error *err);

/* Have it written soon. Never waits for whoever reads the log. Any one thread. */
void audit_writer_put(struct audit_writer *writer, const struct audit_line *line);

/* Write the rest, and end the thread. NULL is fine. */
void audit_writer_free(struct audit_writer *writer);

#endif
