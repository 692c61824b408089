#include "config/config.h"

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/probe.h"

static void config_cleanup(struct config **config)
{
	if (*config != NULL)
		config_free(*config);
}

/* Say every problem, a line each, before the failure that counts them. */
static int fail_with_problems(const struct text *problems, struct cli_failure *failure)
{
	const char *lines = text_string(problems);
	size_t count = 0;
	for (size_t i = 0; lines != NULL && i < problems->len; i++)
		count += lines[i] == '\n';
	if (lines != NULL)
		output_error(lines);
	return cli_fail(failure, CLI_EXIT_CONFIGURATION,
		"the configuration is not valid: %zu problem%s", count, count == 1 ? "" : "s");
}

int check_run(const struct cli_options *options, struct cli_failure *failure)
{
	__attribute__((cleanup(config_cleanup))) struct config *config = NULL;
	_cleanup_text_ struct text problems = {0};
	_cleanup_text_ struct text out = {0};
	if (config_load(options->config_path, &config, &problems) != 0)
		return fail_with_problems(&problems, failure);
	if (options->probe != NULL)
		return probe_account(config, options->probe, options->timeout_s, failure);
	config_print(config, &out);
	return output_text(&out, failure);
}
