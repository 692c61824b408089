#include <string.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/duration.h"
#include "cli/output.h"

/* The daemon lets nobody wait for longer. */
#define WAIT_MAX_S 25

/* How much of the time-out is left to the way there and back, and to a busy host. */
#define MARGIN_S 3

/* For how long the daemon may wait with its answer, so that it comes within the time-out. */
static int64_t wait_s(const struct cli_options *options)
{
	int64_t seconds = options->timeout_s - MARGIN_S;
	if (!options->wants_wait)
		return 0;
	if (seconds > WAIT_MAX_S)
		return WAIT_MAX_S;
	return seconds < 1 ? 1 : seconds;
}

static int print_outcome(const struct cli_options *options, bool is_done, int64_t expires_in_s,
	struct cli_failure *failure)
{
	_cleanup_text_ struct text out = {0};
	char words[DURATION_WORDS_SIZE];
	duration_words(expires_in_s, "expired", words);
	text_append(&out, is_done ? "refreshed " : "refresh begun: ");
	output_printable(&out, options->account, strlen(options->account));
	if (is_done)
		text_appendf(&out, ": the token expires in %s", words);
	text_append(&out, "\n");
	return output_text(&out, failure);
}

static int show(const struct cli_options *options, const struct daemon_answer *answer,
	struct cli_failure *failure)
{
	struct answer_value whole = {0};
	bool is_done = answer->status == 200;
	bool has_value = false;
	int64_t expires_in_s = 0;
	if (options->wants_wait && !is_done) {
		cli_fail(failure, CLI_EXIT_NOT_REFRESHED,
			"the exchange is under way, but has not ended in time");
		return cli_hint(
			failure, "Its end is shown by: mrtoken status %s", options->account);
	}
	if (answer_parse(answer, &whole.json, failure) != 0)
		return -1;
	int result = answer_integer(
		&whole, "expires_in", ANSWER_NULLABLE, &has_value, &expires_in_s, failure);
	json_object_put(whole.json);
	if (result != 0)
		return -1;
	return options->is_json ? answer_print(answer, failure)
				: print_outcome(options, is_done, expires_in_s, failure);
}

int refresh_run(const struct cli_options *options, struct cli_failure *failure)
{
	_cleanup_text_ struct text path = {0};
	_cleanup_answer_ struct daemon_answer answer = {0};
	text_append(&path, "/v1/accounts/");
	text_append_percent_encoded(&path, options->account, strlen(options->account));
	text_append(&path, "/refresh");
	if (text_string(&path) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the request");
	if (daemon_post(options, text_string(&path), "application/json", wait_s(options), &answer,
		    failure) != 0 ||
		answer_accept(options, true, &answer, failure) != 0)
		return -1;
	return show(options, &answer, failure);
}
