/*
 * The command line of mrtoken-emulator.
 */
#ifndef MRTOKEND_EMULATOR_OPTIONS_H
#define MRTOKEND_EMULATOR_OPTIONS_H

#include "base/error.h"
#include "emulator/emulator.h"

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *directory; /* of argv */
	const char *arc_directory; /* of argv, or NULL */
	int64_t token_lifetime_s;
	bool wants_help;
	bool wants_version;
};

/*
 * Read the options; accounts, tenants and apps go straight into the emulator's lists. Without a
 * tenant, there is the one of TENANT_DEFAULT_ID.
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, which says what was found and what was expected,
 * and never has a key in it.
 */
int options_read(int argc, char **argv, struct options *options, struct emulator *emulator,
	struct error *err);

/* The text of --help. */
extern const char options_help[];

#endif
