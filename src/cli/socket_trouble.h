/*
 * Why a socket could not be connected to, in words that say what to do next.
 */
#ifndef MRTOKEND_CLI_SOCKET_TROUBLE_H
#define MRTOKEND_CLI_SOCKET_TROUBLE_H

#include "cli/cli.h"

/*
 * Look at the path that connecting to failed with `errnum` (0: not known) and set *failure:
 * CLI_EXIT_NOT_ALLOWED if a mode is in the way, and whose it is; else CLI_EXIT_UNREACHABLE.
 * Returns -1.
 */
int socket_trouble(const char *path, int errnum, struct cli_failure *failure);

#endif
