/*
 * The Entra tenants that the emulator knows: identifiers and domain names. Any thread; one lock.
 */
#ifndef MRTOKEND_EMULATOR_TENANTS_H
#define MRTOKEND_EMULATOR_TENANTS_H

#include "base/error.h"
#include "emulator/random.h"

#include <json-c/json.h>
#include <stdbool.h>

/* The tenant that is there when none is named on the command line. */
#define TENANT_DEFAULT_ID "e3a1c0de-0000-4000-8000-000000000001"
#define TENANT_DEFAULT_DOMAIN "emulator.onmicrosoft.com"
#define TENANT_DOMAIN_LEN_MAX 253

struct tenants;

/* Returns NULL when there is no memory. */
struct tenants *tenants_new(void);
void tenants_free(struct tenants *tenants);

/*
 * Add the tenant, or change its domain.
 *
 * domain  letters, digits, '-' and '.'; "" for none
 *
 * Returns 1 when it was added, 0 when it was there, -1 with *err: ERR_CONFIGURATION,
 * ERR_NO_MEMORY.
 */
int tenants_put(struct tenants *tenants, const char *id, const char *domain, struct error *err);

/* Returns 0, or -1 when there is no such tenant. */
int tenants_remove(struct tenants *tenants, const char *id);

/*
 * The identifier, in lower case, of the tenant with that identifier or domain; any case. "common"
 * and "organizations" mean the first.
 *
 * Returns whether there is one.
 */
bool tenants_find(struct tenants *tenants, const char *word, char id[UUID_SIZE]);

/* Whether the word could be a tenant's: a UUID or a domain name. */
bool tenant_is_well_formed(const char *word);

/* [{"id","domain"}], to be put. */
struct json_object *tenants_list(struct tenants *tenants);

#endif
