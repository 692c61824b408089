/*
 * Authorities: which Microsoft Entra ID gives the tokens; and how its tenants are spelt. Source:
 * azure-protocol.md B.1.
 */
#ifndef MRTOKEND_CREDENTIAL_AUTHORITY_H
#define MRTOKEND_CREDENTIAL_AUTHORITY_H

#include "base/error.h"

/*
 * Read "public", "us_government", "china", HOST[:PORT] or https://HOST[:PORT], slashes and spaces
 * at its end left out.
 *
 * authority  https://HOST[:PORT]; replaced on success only, and what stood there is freed
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION for http and for whatever is no host;
 * ERR_NO_MEMORY. Any thread.
 */
int authority_parse(char **authority, const char *value, struct error *err);

/*
 * The authority that a credential asks: the configured one, else $AZURE_AUTHORITY_HOST, else that
 * of the public cloud. For open(): the main thread.
 *
 * configured  as authority_parse() made it, or NULL
 *
 * Returns it, to be freed by the caller, or NULL with *err that names the variable.
 */
char *authority_resolve(const char *configured, struct error *err);

/*
 * Whether it is spelt like a tenant, an identifier or a domain: ASCII letters, digits, '-' and '.',
 * and not only the last two.
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, worded "found ..., expected ...". Pure.
 */
int tenant_id_check(const char *tenant_id, struct error *err);

#endif
