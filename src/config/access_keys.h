/*
 * The keys of an [account] that say who may use it: users and groups, which are looked up as the
 * configuration is read, and systemd units. Private to config/; the main thread.
 */
#ifndef MRTOKEND_CONFIG_ACCESS_KEYS_H
#define MRTOKEND_CONFIG_ACCESS_KEYS_H

#include "base/error.h"
#include "base/text.h"
#include "token/access_rules.h"

/*
 * Read a list, divided by commas or blanks, into *list. Users and groups are names that exist, or
 * numbers. Returns 0, or -1 with *err, worded "found ..., expected ...", and *list as it was.
 */
int access_read_users(struct access_list *list, const char *value, struct error *err);
int access_read_groups(struct access_list *list, const char *value, struct error *err);
int access_read_units(struct access_list *list, const char *value, struct error *err);

/* Append it as it would stand in the file. */
void access_print(const struct access_list *list, struct text *out);

#endif
