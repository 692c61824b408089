#include "emulator/identities.h"

#include "base/text.h"
#include "emulator/json_members.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct identities {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct identity *list; /* in order of their coming */
	size_t count;
};

struct identities *identities_new(void)
{
	struct identities *identities = calloc(1, sizeof(*identities));
	if (identities != NULL)
		pthread_mutex_init(&identities->lock, NULL);
	return identities;
}

void identities_free(struct identities *identities)
{
	if (identities == NULL)
		return;
	pthread_mutex_destroy(&identities->lock);
	free(identities->list);
	free(identities);
}

/* Resource identifiers are compared without regard to case, as Azure Resource Manager does. */
static bool fits(const struct identity *identity, enum identity_selector selector, const char *word)
{
	switch (selector) {
	case SELECT_CLIENT_ID:
		return strcasecmp(identity->client_id, word) == 0;
	case SELECT_OBJECT_ID:
		return strcasecmp(identity->object_id, word) == 0;
	case SELECT_RESOURCE_ID:
		return strcasecmp(identity->resource_id, word) == 0;
	default:
		return identity->is_system_assigned;
	}
}

/* The lock is held. */
static struct identity *find(
	const struct identities *identities, enum identity_selector selector, const char *word)
{
	for (size_t i = 0; i < identities->count; i++)
		if (fits(&identities->list[i], selector, word))
			return &identities->list[i];
	return NULL;
}

int identities_put(
	struct identities *identities, const struct identity *identity, struct error *err)
{
	int result = 0;
	pthread_mutex_lock(&identities->lock);
	struct identity *place = find(identities, SELECT_CLIENT_ID, identity->client_id);
	if (place == NULL) {
		struct identity *grown =
			reallocarray(identities->list, identities->count + 1, sizeof(*grown));
		result = grown == NULL ? -1 : 1;
		if (grown != NULL) {
			identities->list = grown;
			place = &grown[identities->count++];
			*place = (struct identity){0};
		}
	}
	if (place != NULL) {
		struct identity *former = find(identities, SELECT_SYSTEM_ASSIGNED, NULL);
		if (identity->is_system_assigned && former != NULL)
			former->is_system_assigned = false;
		*place = *identity;
	}
	pthread_mutex_unlock(&identities->lock);
	return result < 0 ? error_set(err, ERR_NO_MEMORY, "no memory for the identity") : result;
}

int identities_remove(struct identities *identities, const char *client_id)
{
	pthread_mutex_lock(&identities->lock);
	struct identity *identity = find(identities, SELECT_CLIENT_ID, client_id);
	if (identity != NULL) {
		size_t behind = identities->count - (size_t)(identity - identities->list) - 1;
		memmove(identity, identity + 1, behind * sizeof(*identity));
		identities->count--;
	}
	pthread_mutex_unlock(&identities->lock);
	return identity != NULL ? 0 : -1;
}

bool identities_find(struct identities *identities, enum identity_selector selector,
	const char *word, struct identity *identity)
{
	pthread_mutex_lock(&identities->lock);
	const struct identity *found = find(identities, selector, word);
	if (found != NULL)
		*identity = *found;
	pthread_mutex_unlock(&identities->lock);
	return found != NULL;
}

static int read_uuid(
	char to[UUID_SIZE], const char *name, struct json_object *value, struct error *err)
{
	if (value == NULL)
		return 0;
	if (!is_uuid(json_object_get_string(value)))
		return error_set(err, ERR_CONFIGURATION, "\"%s\" must be a UUID", name);
	for (size_t i = 0; i < UUID_SIZE; i++)
		to[i] = (char)tolower((unsigned char)json_object_get_string(value)[i]);
	return 0;
}

int identity_from_json(struct identity *identity, const char *client_id, struct json_object *json,
	struct error *err)
{
	struct json_object *object_id = NULL;
	struct json_object *tenant = NULL;
	struct json_object *resource_id = NULL;
	struct json_object *is_system_assigned = NULL;
	const struct json_member members[] = {
		{"object_id", json_type_string, false, &object_id},
		{"tenant", json_type_string, false, &tenant},
		{"resource_id", json_type_string, false, &resource_id},
		{"system_assigned", json_type_boolean, false, &is_system_assigned},
	};
	*identity = (struct identity){0};
	for (size_t i = 0; i < UUID_SIZE; i++)
		identity->client_id[i] = (char)tolower((unsigned char)client_id[i]);
	uuid_of_words(identity->object_id, identity->client_id);
	if (json_members(json, "an identity", members, 4, err) != 0 ||
		read_uuid(identity->object_id, "object_id", object_id, err) != 0 ||
		read_uuid(identity->tenant_id, "tenant", tenant, err) != 0)
		return -1;
	if (json_object_get_string_len(resource_id) > RESOURCE_ID_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"\"resource_id\" must have at most %d characters", RESOURCE_ID_MAX);
	if (resource_id != NULL)
		snprintf(identity->resource_id, sizeof(identity->resource_id), "%s",
			json_object_get_string(resource_id));
	else
		snprintf(identity->resource_id, sizeof(identity->resource_id),
			"/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/"
			"emulator/providers/Microsoft.ManagedIdentity/userAssignedIdentities/%s",
			identity->client_id);
	identity->is_system_assigned =
		is_system_assigned != NULL && json_object_get_boolean(is_system_assigned);
	return 0;
}

struct json_object *identity_json(const struct identity *identity)
{
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "id", json_object_new_string(identity->client_id));
	json_object_object_add(json, "object_id", json_object_new_string(identity->object_id));
	json_object_object_add(json, "tenant",
		identity->tenant_id[0] == '\0' ? NULL
					       : json_object_new_string(identity->tenant_id));
	json_object_object_add(json, "resource_id", json_object_new_string(identity->resource_id));
	json_object_object_add(
		json, "system_assigned", json_object_new_boolean(identity->is_system_assigned));
	return json;
}

struct json_object *identities_list(struct identities *identities)
{
	struct json_object *list = json_object_new_array();
	pthread_mutex_lock(&identities->lock);
	for (size_t i = 0; i < identities->count; i++)
		json_object_array_add(list, identity_json(&identities->list[i]));
	pthread_mutex_unlock(&identities->lock);
	return list;
}
