/*
 * Where Microsoft Entra ID is: one of its clouds, or a host of one's own; and how tenants are
 * spelt. Source: azure-protocol.md B.1.
 */
#ifndef MRTOKEND_CREDENTIAL_AUTHORITY_H
#define MRTOKEND_CREDENTIAL_AUTHORITY_H

#include "base/error.h"

/*
 * Read what names an authority: "public", "us_government", "china", or HOST[:PORT] with https://
 * before it or no scheme at all, and spaces and slashes behind it. The host becomes small letters.
 *
 * authority  set on success only: https://host[:port], without a slash at the end; free()
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, worded "found ..., expected ..."; ERR_NO_MEMORY.
 * Pure; any thread.
 */
int authority_parse(const char *word, char **authority, struct error *err);

/*
 * The authority in force: `configured`, which authority_parse() made, if it is not NULL; else what
 * AZURE_AUTHORITY_HOST names; else the public cloud. The main thread, from a kind's open().
 *
 * authority  set on success only; free()
 *
 * Returns as authority_parse(), and the message names the variable.
 */
int authority_choose(const char *configured, char **authority, struct error *err);

/*
 * Whether it is spelt like a tenant, an identifier or a domain: ASCII letters, digits, '-' and '.',
 * and not only the last two.
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, worded "found ..., expected ...". Pure.
 */
int tenant_id_check(const char *tenant_id, struct error *err);

#endif
