#include "emulator/tenants.h"

#include "base/text.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct tenant {
	char id[UUID_SIZE]; /* lower case */
	char domain[TENANT_DOMAIN_LEN_MAX + 1];
};

struct tenants {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct tenant *list; /* in order of their coming */
	size_t count;
};

struct tenants *tenants_new(void)
{
	struct tenants *tenants = calloc(1, sizeof(*tenants));
	if (tenants != NULL)
		pthread_mutex_init(&tenants->lock, NULL);
	return tenants;
}

void tenants_free(struct tenants *tenants)
{
	if (tenants == NULL)
		return;
	pthread_mutex_destroy(&tenants->lock);
	free(tenants->list);
	free(tenants);
}

static bool is_domain(const char *word)
{
	size_t len = strlen(word);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)word[i] >= 0x80 ||
			(!isalnum((unsigned char)word[i]) && strchr("-.", word[i]) == NULL))
			return false;
	return len <= TENANT_DOMAIN_LEN_MAX && strchr(word, '.') != NULL && word[0] != '.' &&
	       word[len - 1] != '.';
}

bool tenant_is_well_formed(const char *word)
{
	return is_uuid(word) || is_domain(word);
}

static struct tenant *find(const struct tenants *tenants, const char *word)
{
	for (size_t i = 0; i < tenants->count; i++) {
		struct tenant *tenant = &tenants->list[i];
		if (strcasecmp(tenant->id, word) == 0 ||
			(word[0] != '\0' && strcasecmp(tenant->domain, word) == 0))
			return tenant;
	}
	return NULL;
}

int tenants_put(struct tenants *tenants, const char *id, const char *domain, struct error *err)
{
	if (!is_uuid(id))
		return error_set(
			err, ERR_CONFIGURATION, "the identifier of the tenant is not a UUID");
	if (domain[0] != '\0' && !is_domain(domain))
		return error_set(err, ERR_CONFIGURATION,
			"\"%.60s\" is no domain name, such as contoso.onmicrosoft.com", domain);
	int result = -1;
	pthread_mutex_lock(&tenants->lock);
	struct tenant *tenant = find(tenants, id);
	const struct tenant *namesake = domain[0] == '\0' ? NULL : find(tenants, domain);
	if (namesake != NULL && namesake != tenant) {
		error_set(err, ERR_CONFIGURATION, "%s is another tenant's domain", domain);
	} else if (tenant != NULL) {
		result = 0;
	} else {
		struct tenant *grown =
			reallocarray(tenants->list, tenants->count + 1, sizeof(*grown));
		if (grown == NULL) {
			error_set(err, ERR_NO_MEMORY, "no memory for the tenant");
		} else {
			tenants->list = grown;
			tenant = &grown[tenants->count++];
			for (size_t i = 0; i < UUID_SIZE; i++)
				tenant->id[i] = (char)tolower((unsigned char)id[i]);
			result = 1;
		}
	}
	if (result >= 0)
		memcpy(tenant->domain, domain, strlen(domain) + 1);
	pthread_mutex_unlock(&tenants->lock);
	return result;
}

int tenants_remove(struct tenants *tenants, const char *id)
{
	pthread_mutex_lock(&tenants->lock);
	struct tenant *tenant = find(tenants, id);
	if (tenant != NULL) {
		size_t behind = tenants->count - (size_t)(tenant - tenants->list) - 1;
		memmove(tenant, tenant + 1, behind * sizeof(*tenant));
		tenants->count--;
	}
	pthread_mutex_unlock(&tenants->lock);
	return tenant != NULL ? 0 : -1;
}

bool tenants_find(struct tenants *tenants, const char *word, char id[UUID_SIZE])
{
	bool is_any = strcasecmp(word, "common") == 0 || strcasecmp(word, "organizations") == 0;
	pthread_mutex_lock(&tenants->lock);
	const struct tenant *tenant =
		is_any && tenants->count > 0 ? &tenants->list[0] : find(tenants, word);
	if (tenant != NULL)
		memcpy(id, tenant->id, UUID_SIZE);
	pthread_mutex_unlock(&tenants->lock);
	return tenant != NULL;
}

struct json_object *tenants_list(struct tenants *tenants)
{
	struct json_object *list = json_object_new_array();
	pthread_mutex_lock(&tenants->lock);
	for (size_t i = 0; i < tenants->count; i++) {
		struct json_object *json = json_object_new_object();
		json_object_object_add(json, "id", json_object_new_string(tenants->list[i].id));
		json_object_object_add(
			json, "domain", json_object_new_string(tenants->list[i].domain));
		json_object_array_add(list, json);
	}
	pthread_mutex_unlock(&tenants->lock);
	return list;
}
