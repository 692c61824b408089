#include "credential/pool.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct pool_entry {
	char *identity;
	struct credential *credential;
};

struct credential_pool {
	void *tree; /* of entries by identity; tsearch(3) */
};

static int compare(const void *a, const void *b)
{
	return strcmp(
		((const struct pool_entry *)a)->identity, ((const struct pool_entry *)b)->identity);
}

struct credential_pool *credential_pool_new(void)
{
	return calloc(1, sizeof(struct credential_pool));
}

static struct credential *find(const struct credential_pool *pool, char *identity)
{
	const struct pool_entry key = {.identity = identity};
	struct pool_entry **found = pool == NULL ? NULL : tfind(&key, &pool->tree, compare);
	return found == NULL ? NULL : (*found)->credential;
}

/* Without memory it is not remembered, and so not shared. */
static void remember(struct credential_pool *pool, char *identity, struct credential *credential)
{
	struct pool_entry *entry = malloc(sizeof(*entry));
	if (entry != NULL) {
		*entry = (struct pool_entry){identity, credential};
		if (tsearch(entry, &pool->tree, compare) != NULL)
			return;
	}
	free(entry);
	free(identity);
}

struct credential *credential_pool_get(struct credential_pool *pool,
	const struct credential_pool *older, const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	if (!credential_settings_are_shared(settings))
		return credential_open(settings, account, err);
	_cleanup_text_ struct text text = {0};
	credential_settings_identity(settings, &text);
	char *identity = text_steal(&text);
	if (identity == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	struct credential *credential = find(pool, identity);
	if (credential != NULL) {
		free(identity);
		credential->references++;
		return credential;
	}
	credential = find(older, identity);
	if (credential != NULL)
		credential->references++;
	else
		credential = credential_open(settings, account, err);
	if (credential == NULL)
		free(identity);
	else
		remember(pool, identity, credential);
	return credential;
}

static void free_entry(void *node)
{
	struct pool_entry *entry = node;
	free(entry->identity);
	free(entry);
}

void credential_pool_free(struct credential_pool *pool)
{
	if (pool == NULL)
		return;
	tdestroy(pool->tree, free_entry);
	free(pool);
}
