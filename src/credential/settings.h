/*
 * What the configuration says of an account's credential. Strings are owned; keys that are not set
 * are NULL, zero or SECRET_SOURCE_NONE.
 */
#ifndef MRTOKEND_CREDENTIAL_SETTINGS_H
#define MRTOKEND_CREDENTIAL_SETTINGS_H

#include "base/text.h"
#include "credential/secret_source.h"

#include <stdbool.h>
#include <stddef.h>

struct credential_kind;

/* As many as there are: each at most once in a list. */
#define CREDENTIAL_LIST_MAX 16

struct credential_settings {
	const struct credential_kind *kinds[CREDENTIAL_LIST_MAX]; /* in the order to be tried */
	size_t kind_count;
	char *where; /* FILE:LINE of the account's section, or the environment, for messages */

	char *ca_file; /* of [daemon]: PEM bundle to trust, or NULL for the system's */
	char *authority; /* https://host[:port] of Microsoft Entra ID; NULL: by the environment */
	char *tenant_id;
	char *client_id;

	struct secret_source account_key;
	struct secret_source secondary_account_key;
	struct secret_source static_token;
	struct secret_source client_secret;
	struct secret_source client_certificate; /* PEM or PKCS#12, with its key */
	struct secret_source client_certificate_password;
	bool sends_certificate_chain;
	struct secret_source client_assertion;
	char *client_assertion_command; /* words divided by spaces; the program an absolute path */
	char *federated_token_file; /* an absolute path */
	char *object_id; /* of a user-assigned managed identity */
	char *resource_id; /* likewise */
	char *run_as; /* the user that developer tools and commands run as; NULL: the daemon's own
		       */
	char *refresh_token_file; /* where the refresh token of a login is kept, encrypted */
	struct secret_source refresh_token_key; /* by which */

	/*
	 * Set by a chain for its members. A managed identity first looks whether there is one, in a
	 * second, rather than wait for one that is not.
	 */
	bool is_in_chain;
};

void credential_settings_clear(struct credential_settings *settings);

/* Whether accounts with these settings have one credential between them. */
bool credential_settings_are_shared(const struct credential_settings *settings);

/* Append all that makes two settings the same, but for where they were written. */
void credential_settings_identity(const struct credential_settings *settings, struct text *out);

/*
 * Append what says whose tokens the credential gets: authority, tenant, client and their like, but
 * not by what secret. Tokens of two settings with the same subject may stand for each other.
 */
void credential_settings_subject(const struct credential_settings *settings, struct text *out);

/* Copies all of it. Returns 0, or -1 when there is no memory, and *copy is clear then. */
int credential_settings_copy(
	struct credential_settings *copy, const struct credential_settings *settings);

#endif
