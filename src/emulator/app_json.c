#include "emulator/apps.h"

#include "base/text.h"
#include "emulator/json_members.h"

#include <ctype.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_LEN_MAX 1024
/* The most bytes of an RSA modulus that a key set may have: 16,384 bits. */
#define MODULUS_MAX 2048
/* What Entra recommends, and what the SDKs and Kubernetes ask for. */
#define FEDERATION_AUDIENCE "api://AzureADTokenExchange"

static void lower(char *to, const char *from)
{
	size_t i = 0;
	for (; i < UUID_SIZE - 1 && from[i] != '\0'; i++)
		to[i] = (char)tolower((unsigned char)from[i]);
	to[i] = '\0';
}

/* Copy the strings of an array; *copies is NULL when there is no array. */
static int copy_strings(struct json_object *array, const char *name, const char *what,
	bool (*check)(const char *string), char ***copies, size_t *copy_count, struct error *err)
{
	const char **strings = NULL;
	size_t count = 0;
	if (array == NULL)
		return 0;
	if (json_strings(array, name, what, check, &strings, &count, err) != 0)
		return -1;
	*copies = calloc(count + 1, sizeof(**copies));
	for (size_t i = 0; *copies != NULL && i < count; i++)
		if (((*copies)[i] = strdup(strings[i])) != NULL)
			*copy_count = i + 1;
	free(strings);
	return *copies != NULL && *copy_count == count
		       ? 0
		       : error_set(err, ERR_NO_MEMORY, "no memory for \"%s\"", name);
}

static bool is_resource(const char *resource)
{
	for (const char *c = resource; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return *resource != '\0';
}

/* A secret is a string, or {"secret", "expires_on"}. */
static int read_secret(struct app_secret *secret, struct json_object *json, struct error *err)
{
	struct json_object *value = json;
	struct json_object *expires_on = NULL;
	const struct json_member members[] = {
		{"secret", json_type_string, true, &value},
		{"expires_on", json_type_int, false, &expires_on},
	};
	if (!json_object_is_type(json, json_type_string) &&
		json_members(json, "an entry of \"secrets\"", members, 2, err) != 0)
		return -1;
	size_t len = (size_t)json_object_get_string_len(value);
	if (len == 0 || len > SECRET_LEN_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"a secret has %zu characters, and must have 1 to %d", len, SECRET_LEN_MAX);
	secret->value = secret_from(json_object_get_string(value), len);
	secret->expires_on = expires_on == NULL ? 0 : json_object_get_int64(expires_on);
	return secret->value != NULL ? 0 : error_set(err, ERR_NO_MEMORY, "no memory for a secret");
}

static int read_secrets(struct app *app, struct json_object *array, struct error *err)
{
	size_t count = array == NULL ? 0 : json_object_array_length(array);
	app->secrets = calloc(count + 1, sizeof(*app->secrets));
	if (app->secrets == NULL)
		return error_set(err, ERR_NO_MEMORY, "no memory for \"secrets\"");
	for (; app->secret_count < count; app->secret_count++)
		if (read_secret(&app->secrets[app->secret_count],
			    json_object_array_get_idx(array, app->secret_count), err) != 0)
			return -1;
	return 0;
}

static bool name_certificate(struct app_certificate *certificate)
{
	unsigned char sha1[SHA_DIGEST_LENGTH];
	unsigned char sha256[SHA256_DIGEST_LENGTH];
	if (X509_digest(certificate->certificate, EVP_sha1(), sha1, NULL) != 1 ||
		X509_digest(certificate->certificate, EVP_sha256(), sha256, NULL) != 1)
		return false;
	base64url_encode(sha1, sizeof(sha1), certificate->x5t);
	base64url_encode(sha256, sizeof(sha256), certificate->x5t_s256);
	return true;
}

static int read_certificates(struct app *app, struct json_object *array, struct error *err)
{
	const char **pems = NULL;
	size_t count = 0;
	int result = 0;
	if (json_strings(array, "certificates", "certificates in PEM", NULL, &pems, &count, err) !=
		0)
		return -1;
	app->certificates = calloc(count + 1, sizeof(*app->certificates));
	if (app->certificates == NULL)
		result = error_set(err, ERR_NO_MEMORY, "no memory for \"certificates\"");
	for (size_t i = 0; app->certificates != NULL && i < count && result == 0; i++) {
		struct app_certificate *certificate = &app->certificates[i];
		BIO *bio = BIO_new_mem_buf(pems[i], -1);
		certificate->certificate =
			bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
		BIO_free(bio);
		app->certificate_count += certificate->certificate != NULL;
		if (certificate->certificate == NULL || !name_certificate(certificate))
			result = error_set(err, ERR_CONFIGURATION,
				"entry %zu of \"certificates\" is no certificate in PEM", i + 1);
	}
	ERR_clear_error();
	free(pems);
	return result;
}

/* The number in a member of a JSON web key, or NULL. */
static BIGNUM *read_number(struct json_object *jwk, const char *name)
{
	struct json_object *value = NULL;
	unsigned char bytes[MODULUS_MAX + 4];
	if (!json_object_object_get_ex(jwk, name, &value) ||
		!json_object_is_type(value, json_type_string) ||
		json_object_get_string_len(value) > MODULUS_MAX * 4 / 3)
		return NULL;
	ssize_t len = base64_decode(
		json_object_get_string(value), (size_t)json_object_get_string_len(value), bytes);
	return len <= 0 ? NULL : BN_bin2bn(bytes, (int)len, NULL);
}

static EVP_PKEY *key_from_jwk(struct json_object *jwk)
{
	EVP_PKEY *key = NULL;
	BIGNUM *n = read_number(jwk, "n");
	BIGNUM *e = read_number(jwk, "e");
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	if (n != NULL && e != NULL && builder != NULL && context != NULL &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1 &&
		(params = OSSL_PARAM_BLD_to_param(builder)) != NULL &&
		EVP_PKEY_fromdata_init(context) == 1)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_BLD_free(builder);
	BN_free(n);
	BN_free(e);
	return key;
}

static int read_key(struct app_federation *federation, struct json_object *pem, struct error *err)
{
	BIO *bio = BIO_new_mem_buf(json_object_get_string(pem), -1);
	EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
		EVP_PKEY_free(key);
		return error_set(err, ERR_CONFIGURATION,
			"\"public_key\" must be the public key of the issuer, RSA, in PEM");
	}
	federation->keys[federation->key_count++] = key;
	return 0;
}

static int read_key_set(
	struct app_federation *federation, struct json_object *jwks, struct error *err)
{
	struct json_object *keys = NULL;
	const struct json_member members[] = {{"keys", json_type_array, true, &keys}};
	if (json_members(jwks, "\"jwks\"", members, 1, err) != 0)
		return -1;
	size_t count = json_object_array_length(keys);
	if (count == 0 || count > FEDERATION_KEYS_MAX)
		return error_set(err, ERR_CONFIGURATION, "\"jwks\" must have 1 to %d keys",
			FEDERATION_KEYS_MAX);
	for (size_t i = 0; i < count; i++) {
		EVP_PKEY *key = key_from_jwk(json_object_array_get_idx(keys, i));
		ERR_clear_error();
		if (key == NULL)
			return error_set(err, ERR_CONFIGURATION,
				"key %zu of \"jwks\" is no RSA key with \"n\" and \"e\"", i + 1);
		federation->keys[federation->key_count++] = key;
	}
	return 0;
}

static int read_federation(
	struct app_federation *federation, struct json_object *json, struct error *err)
{
	struct json_object *issuer = NULL;
	struct json_object *subject = NULL;
	struct json_object *audience = NULL;
	struct json_object *pem = NULL;
	struct json_object *jwks = NULL;
	const struct json_member members[] = {
		{"issuer", json_type_string, true, &issuer},
		{"subject", json_type_string, true, &subject},
		{"audience", json_type_string, false, &audience},
		{"public_key", json_type_string, false, &pem},
		{"jwks", json_type_object, false, &jwks},
	};
	if (json_members(json, "an entry of \"federated\"", members, 5, err) != 0)
		return -1;
	if ((pem == NULL) == (jwks == NULL))
		return error_set(err, ERR_CONFIGURATION,
			"an entry of \"federated\" needs either \"public_key\" or \"jwks\"");
	federation->issuer = strdup(json_object_get_string(issuer));
	federation->subject = strdup(json_object_get_string(subject));
	federation->audience =
		strdup(audience == NULL ? FEDERATION_AUDIENCE : json_object_get_string(audience));
	if (federation->issuer == NULL || federation->subject == NULL ||
		federation->audience == NULL)
		return error_set(err, ERR_NO_MEMORY, "no memory for \"federated\"");
	return pem != NULL ? read_key(federation, pem, err) : read_key_set(federation, jwks, err);
}

static int read_federations(struct app *app, struct json_object *array, struct error *err)
{
	size_t count = array == NULL ? 0 : json_object_array_length(array);
	app->federations = calloc(count + 1, sizeof(*app->federations));
	if (app->federations == NULL)
		return error_set(err, ERR_NO_MEMORY, "no memory for \"federated\"");
	for (size_t i = 0; i < count; i++) {
		app->federation_count = i + 1;
		if (read_federation(
			    &app->federations[i], json_object_array_get_idx(array, i), err) != 0)
			return -1;
	}
	return 0;
}

static struct app *app_new(const char *client_id, struct error *err)
{
	struct app *app = calloc(1, sizeof(*app));
	if (app != NULL) {
		atomic_init(&app->references, 1);
		lower(app->client_id, client_id);
		if (uuid_of_words(app->object_id, app->client_id))
			return app;
	}
	free(app);
	error_set(err, ERR_NO_MEMORY, "no memory for the app");
	return NULL;
}

struct app *app_from_json(const char *client_id, struct json_object *json, struct error *err)
{
	struct json_object *tenants = NULL;
	struct json_object *object_id = NULL;
	struct json_object *is_public = NULL;
	struct json_object *resources = NULL;
	struct json_object *secrets = NULL;
	struct json_object *certificates = NULL;
	struct json_object *federated = NULL;
	const struct json_member members[] = {
		{"tenants", json_type_array, false, &tenants},
		{"object_id", json_type_string, false, &object_id},
		{"public", json_type_boolean, false, &is_public},
		{"resources", json_type_array, false, &resources},
		{"secrets", json_type_array, false, &secrets},
		{"certificates", json_type_array, false, &certificates},
		{"federated", json_type_array, false, &federated},
	};
	if (json_members(json, "an app", members, sizeof(members) / sizeof(members[0]), err) != 0)
		return NULL;
	if (object_id != NULL && !is_uuid(json_object_get_string(object_id))) {
		error_set(err, ERR_CONFIGURATION, "\"object_id\" must be a UUID");
		return NULL;
	}
	struct app *app = app_new(client_id, err);
	if (app == NULL)
		return NULL;
	if (object_id != NULL)
		lower(app->object_id, json_object_get_string(object_id));
	app->is_public = is_public != NULL && json_object_get_boolean(is_public);
	if (copy_strings(tenants, "tenants", "UUIDs", is_uuid, &app->tenants, &app->tenant_count,
		    err) == 0 &&
		copy_strings(resources, "resources", "resources without spaces", is_resource,
			&app->resources, &app->resource_count, err) == 0 &&
		read_secrets(app, secrets, err) == 0 &&
		read_certificates(app, certificates, err) == 0 &&
		read_federations(app, federated, err) == 0)
		return app;
	app_unref(app);
	return NULL;
}

struct app *app_with_secret(const char *client_id, const char *secret, struct error *err)
{
	struct json_object *json = json_object_new_object();
	struct json_object *secrets = json_object_new_array();
	json_object_array_add(secrets, json_object_new_string(secret));
	json_object_object_add(json, "secrets", secrets);
	struct app *app = app_from_json(client_id, json, err);
	json_object_put(json);
	return app;
}

static struct json_object *strings_json(char *const *strings, size_t count)
{
	struct json_object *array = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, json_object_new_string(strings[i]));
	return array;
}

struct json_object *app_json(const struct app *app)
{
	struct json_object *json = json_object_new_object();
	struct json_object *thumbprints = json_object_new_array();
	for (size_t i = 0; i < app->certificate_count; i++)
		json_object_array_add(
			thumbprints, json_object_new_string(app->certificates[i].x5t_s256));
	json_object_object_add(json, "id", json_object_new_string(app->client_id));
	json_object_object_add(json, "object_id", json_object_new_string(app->object_id));
	json_object_object_add(json, "public", json_object_new_boolean(app->is_public));
	json_object_object_add(json, "tenants", strings_json(app->tenants, app->tenant_count));
	json_object_object_add(json, "resources",
		app->resources == NULL ? NULL : strings_json(app->resources, app->resource_count));
	json_object_object_add(json, "secrets", json_object_new_int64((int64_t)app->secret_count));
	json_object_object_add(json, "certificates", thumbprints);
	json_object_object_add(
		json, "federated", json_object_new_int64((int64_t)app->federation_count));
	return json;
}
