/*
 * Who may do what with an account, as its configuration says it: users, groups and systemd units.
 * What comes of it is decided by server/policy.h. Data only; a structure is its owner's.
 */
#ifndef MRTOKEND_TOKEN_ACCESS_RULES_H
#define MRTOKEND_TOKEN_ACCESS_RULES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One key of the configuration. */
struct access_list {
	char *written; /* as it stands in the configuration, tidied; NULL: the key is not set */
	size_t count;
	uint32_t *ids; /* of users or groups, sorted; NULL for units */
	char **units; /* sorted; "x@.service" stands for all instances; NULL for users and groups */
};

/* Three keys: whoever is in one of the lists is meant. */
struct access_set {
	struct access_list users;
	struct access_list groups;
	struct access_list units;
};

/* Zeroed: no rule. */
struct access_rules {
	struct access_set deny; /* nothing of the account, whatever the others say */
	struct access_set allow; /* its token */
	struct access_set admin; /* refresh and login */
};

/*
 * Make the list hold these instead; `ids` or `units` is NULL. What is passed is copied.
 * Returns 0, or -1 with *err: no memory, and nothing has changed.
 */
int access_list_set(struct access_list *list, const char *written, const uint32_t *ids,
	const char *const *units, size_t count, struct error *err);

/* Pure. About log2(count) comparisons. */
bool access_list_has_id(const struct access_list *list, uint32_t id);
bool access_list_has_unit(const struct access_list *list, const char *unit);

/* Whether any rule is written; whether one that names units is. */
bool access_rules_exist(const struct access_rules *rules);
bool access_rules_name_units(const struct access_rules *rules);

/* Make *to, which is zeroed, a copy. Returns 0, or -1: no memory, and *to is zeroed. */
int access_rules_copy(struct access_rules *to, const struct access_rules *from);

/* Free what it holds. Zeroed is fine. */
void access_rules_clear(struct access_rules *rules);

#endif
