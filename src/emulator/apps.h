/*
 * The app registrations of the emulated Entra: client identifiers, what each may prove itself by,
 * and where it is at home. Any thread; one lock guards the list, and an app does not change once it
 * is in it.
 */
#ifndef MRTOKEND_EMULATOR_APPS_H
#define MRTOKEND_EMULATOR_APPS_H

#include "base/error.h"
#include "base/secret.h"
#include "emulator/random.h"

#include <json-c/json.h>
#include <openssl/sha.h>
#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEDERATION_KEYS_MAX 8

struct app_secret {
	struct secret *value;
	int64_t expires_on; /* Unix seconds; 0 for never */
};

struct app_certificate {
	X509 *certificate;
	char x5t[4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1]; /* of its SHA-1, base64url */
	char x5t_s256[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];
};

/* A federated credential: whose tokens the app may show in the place of its own. */
struct app_federation {
	char *issuer;
	char *subject;
	char *audience;
	EVP_PKEY *keys[FEDERATION_KEYS_MAX]; /* the issuer's, from a PEM file or a key set */
	size_t key_count;
};

struct app {
	atomic_int references;
	char client_id[UUID_SIZE]; /* lower case */
	char object_id[UUID_SIZE];
	bool is_public; /* takes the device code flow, without a credential */
	char **tenants; /* identifiers in lower case; none: at home in all */
	size_t tenant_count;
	char **resources; /* what it has consent for; NULL: for all */
	size_t resource_count;
	struct app_secret *secrets;
	size_t secret_count;
	struct app_certificate *certificates;
	size_t certificate_count;
	struct app_federation *federations;
	size_t federation_count;
};

struct apps;

/* Returns NULL when there is no memory. */
struct apps *apps_new(void);
void apps_free(struct apps *apps);

/*
 * Add the app, or put it in the place of the one with its identifier. Takes the reference.
 * Returns 1 when it was added, 0 when there was one, -1 with *err: ERR_NO_MEMORY.
 */
int apps_put(struct apps *apps, struct app *app, struct error *err);

/* Returns 0, or -1 when there is no such app. */
int apps_remove(struct apps *apps, const char *client_id);

/* The app with that identifier, in any case, to be given back by app_unref(); or NULL. */
struct app *apps_find(struct apps *apps, const char *client_id);

/* All of them, as app_json() shows them, to be put. */
struct json_object *apps_list(struct apps *apps);

void app_unref(struct app *app);

bool app_is_in_tenant(const struct app *app, const char *tenant_id);

/* Whether it has consent for the resource; a slash at the end makes no difference. */
bool app_may_use(const struct app *app, const char *resource);

/*
 * Read an app from its JSON form, as mrtoken-emulator(1) describes it. In app_json.c.
 * Returns an app with one reference, or NULL with *err: ERR_CONFIGURATION, a sentence that names
 * the member at fault and shows no secret; ERR_NO_MEMORY.
 */
struct app *app_from_json(const char *client_id, struct json_object *json, struct error *err);

/* An app with one secret and nothing else: that of the command line. As app_from_json(). */
struct app *app_with_secret(const char *client_id, const char *secret, struct error *err);

/* The app without its secrets, to be put. */
struct json_object *app_json(const struct app *app);

#endif
