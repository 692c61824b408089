/*
 * Try an account's exchange once, without a daemon, and tell what was found on the way.
 */
#ifndef MRTOKEND_CLI_PROBE_H
#define MRTOKEND_CLI_PROBE_H

#include "cli/cli.h"
#include "config/config.h"

/*
 * Ask each credential of the account in turn until one gives a token, then the upstream, and print
 * a line for each; no line has a secret or a token in it. What this user may not read is told like
 * any other failure.
 *
 * timeout_s  for all of it
 *
 * Returns 0 when there was a token in the end; or -1 with *failure: CLI_EXIT_NO_ACCOUNT,
 * CLI_EXIT_NO_TOKEN, CLI_EXIT_CONFIGURATION.
 */
int probe_account(const struct config *config, const char *name, int64_t timeout_s,
	struct cli_failure *failure);

#endif
