#include "emulator/apps.h"

#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct apps {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct app **list; /* in order of their coming */
	size_t count;
};

struct apps *apps_new(void)
{
	struct apps *apps = calloc(1, sizeof(*apps));
	if (apps != NULL)
		pthread_mutex_init(&apps->lock, NULL);
	return apps;
}

void apps_free(struct apps *apps)
{
	if (apps == NULL)
		return;
	for (size_t i = 0; i < apps->count; i++)
		app_unref(apps->list[i]);
	free(apps->list);
	pthread_mutex_destroy(&apps->lock);
	free(apps);
}

static void free_strings(char **strings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(strings[i]);
	free(strings);
}

void app_unref(struct app *app)
{
	if (app == NULL || atomic_fetch_sub(&app->references, 1) != 1)
		return;
	free_strings(app->tenants, app->tenant_count);
	free_strings(app->resources, app->resource_count);
	for (size_t i = 0; i < app->secret_count; i++)
		secret_free(app->secrets[i].value);
	free(app->secrets);
	for (size_t i = 0; i < app->certificate_count; i++)
		X509_free(app->certificates[i].certificate);
	free(app->certificates);
	for (size_t i = 0; i < app->federation_count; i++) {
		struct app_federation *federation = &app->federations[i];
		free(federation->issuer);
		free(federation->subject);
		free(federation->audience);
		for (size_t j = 0; j < federation->key_count; j++)
			EVP_PKEY_free(federation->keys[j]);
	}
	free(app->federations);
	free(app);
}

/* The lock is held. */
static size_t place_of(const struct apps *apps, const char *client_id)
{
	size_t place = 0;
	while (place < apps->count && strcasecmp(apps->list[place]->client_id, client_id) != 0)
		place++;
	return place;
}

int apps_put(struct apps *apps, struct app *app, struct error *err)
{
	struct app *old = NULL;
	int result = 0;
	pthread_mutex_lock(&apps->lock);
	size_t place = place_of(apps, app->client_id);
	if (place == apps->count) {
		struct app **grown =
			reallocarray(apps->list, apps->count + 1, sizeof(struct app *));
		result = grown == NULL ? -1 : 1;
		if (grown != NULL) {
			apps->list = grown;
			apps->list[apps->count++] = app;
		}
	} else {
		old = apps->list[place];
		apps->list[place] = app;
	}
	pthread_mutex_unlock(&apps->lock);
	app_unref(old);
	if (result < 0) {
		app_unref(app);
		error_set(err, ERR_NO_MEMORY, "no memory for the app");
	}
	return result;
}

int apps_remove(struct apps *apps, const char *client_id)
{
	struct app *old = NULL;
	pthread_mutex_lock(&apps->lock);
	size_t place = place_of(apps, client_id);
	if (place < apps->count) {
		old = apps->list[place];
		apps->count--;
		for (size_t i = place; i < apps->count; i++)
			apps->list[i] = apps->list[i + 1];
	}
	pthread_mutex_unlock(&apps->lock);
	app_unref(old);
	return old != NULL ? 0 : -1;
}

struct app *apps_find(struct apps *apps, const char *client_id)
{
	struct app *app = NULL;
	pthread_mutex_lock(&apps->lock);
	size_t place = place_of(apps, client_id);
	if (place < apps->count) {
		app = apps->list[place];
		atomic_fetch_add(&app->references, 1);
	}
	pthread_mutex_unlock(&apps->lock);
	return app;
}

struct json_object *apps_list(struct apps *apps)
{
	struct json_object *list = json_object_new_array();
	pthread_mutex_lock(&apps->lock);
	for (size_t i = 0; i < apps->count; i++)
		json_object_array_add(list, app_json(apps->list[i]));
	pthread_mutex_unlock(&apps->lock);
	return list;
}

bool app_is_in_tenant(const struct app *app, const char *tenant_id)
{
	for (size_t i = 0; i < app->tenant_count; i++)
		if (strcasecmp(app->tenants[i], tenant_id) == 0)
			return true;
	return app->tenant_count == 0;
}

static size_t len_without_slashes(const char *resource)
{
	size_t len = strlen(resource);
	while (len > 0 && resource[len - 1] == '/')
		len--;
	return len;
}

bool app_may_use(const struct app *app, const char *resource)
{
	size_t len = len_without_slashes(resource);
	for (size_t i = 0; i < app->resource_count; i++)
		if (len_without_slashes(app->resources[i]) == len &&
			strncasecmp(app->resources[i], resource, len) == 0)
			return true;
	return app->resources == NULL;
}
