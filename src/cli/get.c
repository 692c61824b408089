#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/token_answer.h"

struct form {
	enum token_form form;
	const char *accept;
	const char *query;
};

static struct form chosen_form(const struct cli_options *options)
{
	if (options->is_json)
		return (struct form){TOKEN_FORM_JSON, "application/json", ""};
	if (options->is_header)
		return (struct form){TOKEN_FORM_HEADER, "text/plain", "?format=header"};
	return (struct form){TOKEN_FORM_BARE, "text/plain", ""};
}

/* A server that is another may answer anything to anything; it does not say that it is this. */
static bool is_of_type(const char *content_type, const char *wanted)
{
	size_t len = strlen(wanted);
	return strncasecmp(content_type, wanted, len) == 0 &&
	       strchr("; ", content_type[len]) != NULL;
}

static int print_token(
	const struct daemon_answer *answer, const struct form *form, struct cli_failure *failure)
{
	struct secret *body = answer->secret;
	const char *fault = is_of_type(answer->content_type, form->accept)
				    ? token_answer_fault(body, form->form)
				    : "it is not of the type that was asked for";
	if (fault != NULL) {
		cli_fail(failure, CLI_EXIT_FAILURE, "the answer is not understood: %s", fault);
		return cli_hint(failure, "Is it mrtokend that listens there?");
	}
	if (secret_append(body, "\n", 1) != 0)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the token");
	return output_secret(body, failure);
}

static int fetch(const struct cli_options *options, struct cli_failure *failure)
{
	_cleanup_text_ struct text path = {0};
	_cleanup_answer_ struct daemon_answer answer = {0};
	struct form form = chosen_form(options);
	if (options->account == NULL) {
		text_append(&path, "/v1/token");
	} else {
		text_append(&path, "/v1/accounts/");
		text_append_percent_encoded(&path, options->account, strlen(options->account));
		text_append(&path, "/token");
	}
	text_append(&path, form.query);
	if (text_string(&path) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the request");
	if (daemon_get(options, text_string(&path), form.accept, true, &answer, failure) != 0 ||
		answer_accept(options, true, &answer, failure) != 0)
		return -1;
	return print_token(&answer, &form, failure);
}

int get_run(const struct cli_options *options, struct cli_failure *failure)
{
	/* No core dump and no debugger of the same user while a token is here. */
	int was_dumpable = prctl(PR_GET_DUMPABLE);
	prctl(PR_SET_DUMPABLE, 0);
	int result = fetch(options, failure);
	if (was_dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	return result;
}
