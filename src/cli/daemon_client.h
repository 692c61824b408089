/*
 * One request over the daemon's Unix socket. Knows HTTP and nothing of what the answers mean.
 *
 * Answers that hold a token are collected in secret memory, and libcurl is given an allocator that
 * wipes what it frees, so that no copy outlives the request.
 */
#ifndef MRTOKEND_CLI_DAEMON_CLIENT_H
#define MRTOKEND_CLI_DAEMON_CLIENT_H

#include "base/secret.h"
#include "cli/cli.h"

/* The longest answer without a token: 10,000 accounts take about 8 MiB. With one: SECRET_MAX. */
#define DAEMON_ANSWER_MAX ((size_t)64 << 20)

/* Any answer, whatever its status. Zeroed is none; free with daemon_answer_free(). */
struct daemon_answer {
	long status;
	int64_t retry_after_s; /* the header's, or -1 */
	char content_type[64]; /* the header's, or "" */
	struct secret *secret; /* the body of a request that asked for a token, else NULL */
	struct text text; /* the body of any other request */
};

/*
 * Send `GET path` and wait for the whole answer, at most options->timeout_s.
 *
 * path         percent-encoded, with its query
 * accept       the value of the Accept header
 * holds_token  collect the body, of whatever status, in secret memory
 * answer       set on success only; owned by the caller
 *
 * Returns 0, or -1 with *failure: CLI_EXIT_UNREACHABLE (nothing there, nobody listening, no answer
 * in time), CLI_EXIT_NOT_ALLOWED (the socket's mode), CLI_EXIT_FAILURE (cut off, not HTTP, too
 * long).
 */
int daemon_get(const struct cli_options *options, const char *path, const char *accept,
	bool holds_token, struct daemon_answer *answer, struct cli_failure *failure);

/*
 * The same by POST, without a body, for an answer without a token.
 * wait_s  for how long the daemon may wait with its answer; 0: not at all
 */
int daemon_post(const struct cli_options *options, const char *path, const char *accept,
	int64_t wait_s, struct daemon_answer *answer, struct cli_failure *failure);

/* The body, wherever it is; followed by a NUL that does not count. */
const char *daemon_answer_body(const struct daemon_answer *answer, size_t *len);

void daemon_answer_free(struct daemon_answer *answer);
#define _cleanup_answer_ __attribute__((cleanup(daemon_answer_free)))

#endif
