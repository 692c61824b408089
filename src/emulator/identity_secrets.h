/*
 * The secrets by which a host's processes reach its managed identity endpoint: made anew at each
 * start, and told by the control interface as the variables of a client's environment.
 */
#ifndef MRTOKEND_EMULATOR_IDENTITY_SECRETS_H
#define MRTOKEND_EMULATOR_IDENTITY_SECRETS_H

#include <stdbool.h>

#define IDENTITY_SECRET_LEN 32

struct identity_secrets {
	char app_service[IDENTITY_SECRET_LEN + 1];
	char service_fabric[IDENTITY_SECRET_LEN + 1];
	char azure_ml[IDENTITY_SECRET_LEN + 1];
};

/* Returns whether the system gave random bytes. */
bool identity_secrets_make(struct identity_secrets *secrets);

/* In a time that depends on the lengths only. `given` may be NULL. */
bool identity_secret_fits(const char *secret, const char *given);

#endif
