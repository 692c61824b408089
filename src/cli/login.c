#include <string.h>
#include <time.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"

/* How often the daemon is asked, until there is a code and from then on. */
#define STARTING_MS 200
#define PENDING_MS 1000

/* A reload of the daemon may take a login away once, and may do so again; not for ever. */
#define BEGINS_MAX 3

/* What the daemon said of the login; strings are printable. */
struct login {
	struct text state;
	struct text user_code;
	struct text verification_uri;
	struct text message;
	struct text error;
	int64_t expires_in_s;
};

static void login_clear(struct login *login)
{
	text_free(&login->state);
	text_free(&login->user_code);
	text_free(&login->verification_uri);
	text_free(&login->message);
	text_free(&login->error);
	*login = (struct login){0};
}
#define _cleanup_login_ __attribute__((cleanup(login_clear)))

static bool is_state(const struct login *login, const char *state)
{
	return text_string(&login->state) != NULL && strcmp(text_string(&login->state), state) == 0;
}

static int read_members(
	const struct answer_value *whole, struct login *login, struct cli_failure *failure)
{
	struct answer_value error = {0};
	bool has_value = false;
	if (answer_string(whole, "state", ANSWER_REQUIRED, &login->state, failure) != 0 ||
		answer_object(whole, "error", ANSWER_NULLABLE, &error, failure) != 0 ||
		(error.json != NULL && answer_string(&error, "message", ANSWER_REQUIRED,
					       &login->error, failure) != 0))
		return -1;
	if (text_string(&login->state) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the answer");
	if (!is_state(login, "pending"))
		return 0;
	if (answer_string(whole, "user_code", ANSWER_REQUIRED, &login->user_code, failure) != 0 ||
		answer_string(whole, "verification_uri", ANSWER_REQUIRED, &login->verification_uri,
			failure) != 0 ||
		answer_string(whole, "message", ANSWER_REQUIRED, &login->message, failure) != 0)
		return -1;
	return answer_integer(
		whole, "expires_in", ANSWER_REQUIRED, &has_value, &login->expires_in_s, failure);
}

/* Begin or join the login, or ask how far it is. */
static int ask(const struct cli_options *options, bool begins, const char *path,
	struct login *login, struct cli_failure *failure)
{
	_cleanup_answer_ struct daemon_answer answer = {0};
	struct answer_value whole = {0};
	int result =
		begins ? daemon_post(options, path, "application/json", 0, &answer, failure)
		       : daemon_get(options, path, "application/json", false, &answer, failure);
	if (result != 0 || answer_accept(options, true, &answer, failure) != 0 ||
		answer_parse(&answer, &whole.json, failure) != 0)
		return -1;
	login_clear(login);
	result = read_members(&whole, login, failure);
	json_object_put(whole.json);
	return result;
}

/* Tell the person what to do, each time that it is something else. */
static int show_code(const struct login *login, struct text *shown_code, struct progress *progress,
	struct cli_failure *failure)
{
	const char *code = text_string(&login->user_code);
	const char *uri = text_string(&login->verification_uri);
	const char *message = text_string(&login->message);
	const char *shown = text_string(shown_code);
	if (code == NULL || uri == NULL || message == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the code");
	if (shown != NULL && strcmp(shown, code) == 0)
		return 0;
	_cleanup_text_ struct text words = {0};
	text_appendf(&words, "%s\n\n    %s\n    code %s\n\n", message, uri, code);
	text_free(shown_code);
	text_append(shown_code, code);
	if (text_string(&words) == NULL || text_string(shown_code) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the code");
	progress_end(progress);
	output_error(words.data);
	return 0;
}

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&time, NULL);
}

static int fail_login(const struct login *login, struct cli_failure *failure)
{
	const char *why = text_string(&login->error);
	cli_fail(failure, CLI_EXIT_NO_LOGIN, "nobody was logged in: %s",
		why == NULL || *why == '\0' ? "the daemon gives no reason" : why);
	return -1;
}

/* Until it is done. Returns 0, or -1 with *failure. */
static int wait_for_login(const struct cli_options *options, const char *path,
	struct progress *progress, struct cli_failure *failure)
{
	_cleanup_login_ struct login login = {0};
	_cleanup_text_ struct text shown_code = {0};
	unsigned begins = 1;
	if (ask(options, true, path, &login, failure) != 0)
		return -1;
	while (!is_state(&login, "done")) {
		bool has_none = is_state(&login, "none");
		if (is_state(&login, "failed"))
			return fail_login(&login, failure);
		if (has_none && begins++ == BEGINS_MAX)
			return cli_fail(failure, CLI_EXIT_NO_LOGIN,
				"nobody was logged in: the daemon gave the login up again and "
				"again, as it does when it is reloaded with other settings");
		if (is_state(&login, "pending")) {
			if (show_code(&login, &shown_code, progress, failure) != 0)
				return -1;
			progress_show(progress, "waiting for the sign-in", login.expires_in_s);
			pause_ms(PENDING_MS);
		} else if (is_state(&login, "starting")) {
			pause_ms(STARTING_MS);
		} else if (!has_none) {
			return cli_fail(failure, CLI_EXIT_FAILURE,
				"the answer is not understood: state is \"%s\"", login.state.data);
		}
		if (ask(options, has_none, path, &login, failure) != 0)
			return -1;
	}
	return 0;
}

int login_run(const struct cli_options *options, struct cli_failure *failure)
{
	struct progress progress = {0};
	_cleanup_text_ struct text path = {0};
	_cleanup_text_ struct text out = {0};
	text_append(&path, "/v1/accounts/");
	text_append_percent_encoded(&path, options->account, strlen(options->account));
	text_append(&path, "/login");
	if (text_string(&path) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the request");
	progress_catch_signals("mrtoken: interrupted; the daemon gives the login up in a minute, "
			       "unless somebody else waits for it\n");
	int result = wait_for_login(options, text_string(&path), &progress, failure);
	progress_end(&progress);
	if (result != 0)
		return -1;
	text_append(&out, "logged in to ");
	output_printable(&out, options->account, strlen(options->account));
	text_append(&out, "\n");
	return output_text(&out, failure);
}
