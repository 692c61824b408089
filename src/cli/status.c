#include <string.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/duration.h"
#include "cli/output.h"
#include "cli/table.h"

/* KEY is there where an account has two keys. */
static const char *const headings[] = {
	"ACCOUNT", "STATE", "KEY", "EXPIRES IN", "REFRESHES IN", "LAST ERROR"};
#define COLUMNS (sizeof(headings) / sizeof(headings[0]))
#define KEY_COLUMN 2

/* The daemon's states, and how they look; one that is not known here is shown without colour. */
static const struct {
	const char *state;
	const char *colour;
} colours[] = {
	{"starting", "36"},
	{"valid", "32"},
	{"expiring", "33"},
	{"degraded", "33"},
	{"failed", "31"},
};

static const char *colour_of(const char *state)
{
	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (state != NULL && strcmp(colours[i].state, state) == 0)
			return colours[i].colour;
	return NULL;
}

static int add_string(const struct answer_value *account, const char *name, bool is_state,
	struct table *table, struct cli_failure *failure)
{
	_cleanup_text_ struct text value = {0};
	if (answer_string(account, name, ANSWER_REQUIRED, &value, failure) != 0)
		return -1;
	bool has_colour = is_state && output_is_coloured();
	table_add(table, text_string(&value), has_colour ? colour_of(text_string(&value)) : NULL);
	return 0;
}

/* Which of two keys the account's token was had with. */
static int add_key(
	const struct answer_value *account, struct table *table, struct cli_failure *failure)
{
	_cleanup_text_ struct text key = {0};
	if (answer_string(account, "key_in_use", ANSWER_NULLABLE, &key, failure) != 0)
		return -1;
	bool is_spare = key.len > 0 && strcmp(text_string(&key), "account_key") != 0;
	table_add(table, text_string(&key), is_spare && output_is_coloured() ? "33" : NULL);
	return 0;
}

/* The daemon counts the seconds, by its own clock. */
static int add_duration(const struct answer_value *account, const char *name, const char *when_past,
	struct table *table, struct cli_failure *failure)
{
	bool has_value = false;
	int64_t seconds = 0;
	if (answer_integer(account, name, ANSWER_NULLABLE, &has_value, &seconds, failure) != 0)
		return -1;
	char words[DURATION_WORDS_SIZE] = "";
	if (has_value)
		duration_words(seconds, when_past, words);
	table_add(table, words, NULL);
	return 0;
}

/* "MESSAGE (CODE, HTTP 401, 3 failures, MS-CV abc)" */
static int word_last_error(const struct answer_value *account, const struct answer_value *error,
	struct text *words, struct cli_failure *failure)
{
	_cleanup_text_ struct text code = {0};
	_cleanup_text_ struct text vector = {0};
	bool has_status = false;
	bool has_failures = false;
	int64_t status = 0;
	int64_t failures = 0;
	if (answer_string(error, "message", ANSWER_REQUIRED, words, failure) != 0 ||
		answer_string(error, "code", ANSWER_REQUIRED, &code, failure) != 0 ||
		answer_integer(error, "status", ANSWER_NULLABLE, &has_status, &status, failure) !=
			0 ||
		answer_string(error, "correlation_vector", ANSWER_NULLABLE, &vector, failure) !=
			0 ||
		answer_integer(account, "failures", ANSWER_NULLABLE, &has_failures, &failures,
			failure) != 0)
		return -1;
	text_append(words, " (");
	text_append_bytes(words, code.data, code.len);
	if (has_status)
		text_appendf(words, ", HTTP %lld", (long long)status);
	if (has_failures && failures > 1)
		text_appendf(words, ", %lld failures", (long long)failures);
	if (vector.len > 0) {
		text_append(words, ", MS-CV ");
		text_append_bytes(words, vector.data, vector.len);
	}
	text_append(words, ")");
	return 0;
}

static int add_account(const struct answer_value *account, bool has_keys, struct table *table,
	struct cli_failure *failure)
{
	struct answer_value error = {0};
	_cleanup_text_ struct text words = {0};
	if (add_string(account, "name", false, table, failure) != 0 ||
		add_string(account, "state", true, table, failure) != 0 ||
		(has_keys && add_key(account, table, failure) != 0) ||
		add_duration(account, "expires_in", "expired", table, failure) != 0 ||
		add_duration(account, "refresh_in", "now", table, failure) != 0 ||
		answer_object(account, "last_error", ANSWER_NULLABLE, &error, failure) != 0)
		return -1;
	if (error.json != NULL && word_last_error(account, &error, &words, failure) != 0)
		return -1;
	/* What is not an error yet, but will be one. */
	if (error.json == NULL &&
		answer_string(account, "notice", ANSWER_NULLABLE, &words, failure) != 0)
		return -1;
	table_add(table, text_string(&words), NULL);
	return 0;
}

/* Whether one of the answer's accounts has two keys. */
static bool has_key_in_use(const struct answer_value *whole)
{
	struct json_object *list = NULL;
	if (json_object_object_get(whole->json, "key_in_use") != NULL)
		return true;
	if (!json_object_object_get_ex(whole->json, "accounts", &list) ||
		!json_object_is_type(list, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (json_object_object_get(json_object_array_get_idx(list, i), "key_in_use") !=
			NULL)
			return true;
	return false;
}

/* Add one account, or all that the answer lists. */
static int add_accounts(const struct cli_options *options, const struct answer_value *whole,
	bool has_keys, struct table *table, struct cli_failure *failure)
{
	if (options->account != NULL)
		return add_account(whole, has_keys, table, failure);
	struct answer_value accounts = {0};
	if (answer_array(whole, "accounts", &accounts, failure) != 0)
		return -1;
	for (size_t i = 0; i < json_object_array_length(accounts.json); i++) {
		struct answer_value account = answer_element(&accounts, i);
		if (add_account(&account, has_keys, table, failure) != 0)
			return -1;
	}
	return 0;
}

static int print_status(const struct cli_options *options, const struct answer_value *whole,
	struct cli_failure *failure)
{
	_cleanup_text_ struct text out = {0};
	bool has_keys = has_key_in_use(whole);
	_cleanup_table_ struct table *table = table_new(has_keys ? COLUMNS : COLUMNS - 1);
	if (table == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the table");
	for (size_t i = 0; i < COLUMNS; i++)
		if (has_keys || i != KEY_COLUMN)
			table_add(table, headings[i], NULL);
	if (add_accounts(options, whole, has_keys, table, failure) != 0)
		return -1;
	if (table_print(table, output_terminal_width(), &out) != 0)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the table");
	return output_text(&out, failure);
}

int status_run(const struct cli_options *options, struct cli_failure *failure)
{
	_cleanup_text_ struct text path = {0};
	_cleanup_answer_ struct daemon_answer answer = {0};
	struct answer_value whole = {0};
	text_append(&path, "/v1/accounts");
	if (options->account != NULL) {
		text_append(&path, "/");
		text_append_percent_encoded(&path, options->account, strlen(options->account));
	}
	if (text_string(&path) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the request");
	if (daemon_get(options, text_string(&path), "application/json", false, &answer, failure) !=
			0 ||
		answer_accept(options, options->account != NULL, &answer, failure) != 0 ||
		answer_parse(&answer, &whole.json, failure) != 0)
		return -1;
	int result = options->is_json ? answer_print(&answer, failure)
				      : print_status(options, &whole, failure);
	json_object_put(whole.json);
	return result;
}
