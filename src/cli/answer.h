/*
 * What the daemon's answers mean: refusals, and the members of its JSON, each of which may be
 * missing or of another type than agreed.
 */
#ifndef MRTOKEND_CLI_ANSWER_H
#define MRTOKEND_CLI_ANSWER_H

#include <json-c/json.h>

#include "cli/daemon_client.h"

/*
 * Is it a 200, or a 202? If not, word the refusal with the daemon's own message and what to do
 * next; for an account that is not there, the daemon is asked for those that are.
 *
 * is_about_account  the request was about options->account, or the default one where that is NULL,
 *                   so that a 404 means that there is none
 *
 * Returns 0, or -1 with *failure: CLI_EXIT_NO_ACCOUNT, CLI_EXIT_NO_TOKEN, CLI_EXIT_NOT_ALLOWED,
 * CLI_EXIT_NO_LOGIN, or CLI_EXIT_FAILURE for any other status.
 */
int answer_accept(const struct cli_options *options, bool is_about_account,
	const struct daemon_answer *answer, struct cli_failure *failure);

/*
 * The body as a JSON object, which the caller gives to json_object_put(). Not for tokens: json-c
 * copies what it reads. Returns 0, or -1 with *failure: CLI_EXIT_FAILURE.
 */
int answer_parse(const struct daemon_answer *answer, struct json_object **object,
	struct cli_failure *failure);

/*
 * Print the body of a parsed answer as it came, and a line end if it has none.
 * Returns 0, or -1 with *failure: CLI_EXIT_FAILURE.
 */
int answer_print(const struct daemon_answer *answer, struct cli_failure *failure);

/* A value of the answer and where it stands, for messages: "accounts[2]"; "" is the whole. */
struct answer_value {
	struct json_object *json; /* borrowed */
	char where[64];
};

/* A member: present or not, null or not, of these types. */
enum answer_need {
	ANSWER_REQUIRED,
	ANSWER_NULLABLE, /* null and missing are the same: the value is "", or has_value is false */
};

/*
 * Read a member of `object`, which must be an object itself.
 *
 * Each returns 0, or -1 with *failure: CLI_EXIT_FAILURE, naming the member, what it should be and
 * what it is. Strings are appended to `value` with control characters replaced.
 */
int answer_string(const struct answer_value *object, const char *name, enum answer_need need,
	struct text *value, struct cli_failure *failure);
int answer_integer(const struct answer_value *object, const char *name, enum answer_need need,
	bool *has_value, int64_t *value, struct cli_failure *failure);
int answer_object(const struct answer_value *object, const char *name, enum answer_need need,
	struct answer_value *value, struct cli_failure *failure);

/* Read a required member that is an array, and its elements. */
int answer_array(const struct answer_value *object, const char *name, struct answer_value *value,
	struct cli_failure *failure);
struct answer_value answer_element(const struct answer_value *array, size_t index);

#endif
