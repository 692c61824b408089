/*
 * The accounts that the emulator knows: identifiers, their keys, whom else they permit, and the
 * last token of each. Any thread may call any of it; one lock inside guards the table.
 *
 * Identifiers are UUIDs, compared without regard to case (clients differ in how they spell them,
 * azure-protocol.md A.2) and kept in lower case. Keys are opaque; an account has one or two.
 */
#ifndef MRTOKEND_EMULATOR_ACCOUNTS_H
#define MRTOKEND_EMULATOR_ACCOUNTS_H

#include "base/error.h"

#include <stddef.h>

#define ACCOUNT_ID_LEN 36
#define ACCOUNT_KEYS_MAX 2
#define ACCOUNT_KEY_LEN_MAX 512

struct accounts;

enum account_check {
	ACCOUNT_KEY_FITS,
	ACCOUNT_PERMITS,
	ACCOUNT_UNKNOWN,
	ACCOUNT_KEY_WRONG,
	ACCOUNT_TENANT_WRONG,
	ACCOUNT_FORBIDS,
};

/* Who but the holder of a key gets tokens for the account. Lower case. */
struct account_rule {
	char tenant[ACCOUNT_ID_LEN + 1]; /* that of the account; "" for any */
	char (*principals)[ACCOUNT_ID_LEN + 1]; /* client or object identifiers */
	size_t count;
};

/* A key as it was given: not NUL-terminated, the caller's. */
struct account_key {
	const char *bytes;
	size_t len;
};

/* Returns NULL when there is no memory. */
struct accounts *accounts_new(void);

/* Wipes the keys. NULL is fine. No other thread may be at it. */
void accounts_free(struct accounts *accounts);

/*
 * Add the account, or put its keys in place of those it had.
 *
 * Returns 1 when it was added, 0 when it was there, -1 with *err: ERR_CONFIGURATION for an
 * identifier that is no UUID, a number of keys other than 1 or 2, or a key that is empty, too long
 * or has a ':', a space or a byte that is not printable; ERR_NO_MEMORY. No message has a key in it.
 */
int accounts_put(struct accounts *accounts, const char *id, const struct account_key *keys,
	size_t count, struct error *err);

/* Returns 0, or -1 when there is no such account. */
int accounts_remove(struct accounts *accounts, const char *id);

/* Whether the account is known, and the key one of its own. */
enum account_check accounts_check(
	struct accounts *accounts, const char *id, const char *key, size_t len);

/*
 * Say who else gets tokens for the account; without this, nobody does.
 *
 * rule  its principals become the account's, and are freed with it; on -1 they stay the caller's
 *
 * Returns 0, or -1 when there is no such account.
 */
int accounts_permit(struct accounts *accounts, const char *id, const struct account_rule *rule);

/* Whether the account is known, of that tenant, and permits the app or the principal. */
enum account_check accounts_check_principal(struct accounts *accounts, const char *id,
	const char *tenant, const char *client_id, const char *object_id);

/* Keep a copy of a token as the account's last; without such an account or memory, none is kept. */
void accounts_keep_token(struct accounts *accounts, const char *id, const char *token);

/* A copy of the account's last token, to be freed; NULL if there is none. */
char *accounts_last_token(struct accounts *accounts, const char *id);

/* Call `each` for every account in order of identifiers. It must not call accounts_* functions. */
void accounts_list(struct accounts *accounts,
	void (*each)(
		void *context, const char *id, size_t key_count, const struct account_rule *rule),
	void *context);

#endif
