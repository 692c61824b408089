/*
 * The managed identities that the emulated host has. Any thread; one lock.
 */
#ifndef MRTOKEND_EMULATOR_IDENTITIES_H
#define MRTOKEND_EMULATOR_IDENTITIES_H

#include "base/error.h"
#include "emulator/random.h"

#include <json-c/json.h>
#include <stdbool.h>

/* The system-assigned identity that is there at the start. */
#define IDENTITY_DEFAULT_CLIENT_ID "e3a1c0de-0000-4000-8000-0000000000a1"
#define RESOURCE_ID_MAX 511

struct identity {
	char client_id[UUID_SIZE]; /* lower case, as are the others */
	char object_id[UUID_SIZE];
	char tenant_id[UUID_SIZE]; /* "" for the first tenant */
	char resource_id[RESOURCE_ID_MAX + 1];
	bool is_system_assigned;
};

struct identities;

/* Returns NULL when there is no memory. */
struct identities *identities_new(void);
void identities_free(struct identities *identities);

/*
 * Add the identity, or put it in the place of the one with its client identifier. There is one
 * that is system-assigned at most: the one before becomes user-assigned.
 * Returns 1 when it was added, 0 when there was one, -1 with *err: ERR_NO_MEMORY.
 */
int identities_put(
	struct identities *identities, const struct identity *identity, struct error *err);

/* Returns 0, or -1 when there is no such identity. */
int identities_remove(struct identities *identities, const char *client_id);

enum identity_selector {
	SELECT_SYSTEM_ASSIGNED,
	SELECT_CLIENT_ID,
	SELECT_OBJECT_ID,
	SELECT_RESOURCE_ID,
};

/* Returns whether there is such an identity, with a copy of it. `word` may be NULL for the first.
 */
bool identities_find(struct identities *identities, enum identity_selector selector,
	const char *word, struct identity *identity);

/* Read one from its JSON form. Returns 0, or -1 with *err: ERR_CONFIGURATION. */
int identity_from_json(struct identity *identity, const char *client_id, struct json_object *json,
	struct error *err);

/* To be put. */
struct json_object *identity_json(const struct identity *identity);
struct json_object *identities_list(struct identities *identities);

#endif
