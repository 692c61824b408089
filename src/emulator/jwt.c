#include "emulator/jwt.h"

#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH_MAX 16
#define TIME_MAX 1e15

/* The bytes of a part, to be freed, or NULL when it is not base64url. */
static unsigned char *decode(const char *part, size_t part_len, size_t *len)
{
	unsigned char *bytes = malloc(3 * part_len / 4 + 2);
	ssize_t decoded = bytes == NULL || part_len == 0 || memchr(part, '+', part_len) != NULL ||
					  memchr(part, '/', part_len) != NULL
				  ? -1
				  : base64_decode(part, part_len, bytes);
	if (decoded < 0) {
		free(bytes);
		return NULL;
	}
	*len = (size_t)decoded;
	return bytes;
}

static struct json_object *parse_part(const char *part, size_t part_len)
{
	size_t len = 0;
	unsigned char *bytes = decode(part, part_len, &len);
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *json = NULL;
	if (bytes != NULL && tokener != NULL) {
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		json = json_tokener_parse_ex(tokener, (const char *)bytes, (int)len);
		/* A number at the end may go on; an object may not. */
		if (json_tokener_get_error(tokener) != json_tokener_success ||
			!json_object_is_type(json, json_type_object)) {
			json_object_put(json);
			json = NULL;
		}
	}
	if (tokener != NULL)
		json_tokener_free(tokener);
	free(bytes);
	return json;
}

bool jwt_parse(struct jwt *jwt, const char *text)
{
	*jwt = (struct jwt){.text = text};
	const char *payload = strchr(text, '.');
	const char *signature = payload == NULL ? NULL : strchr(payload + 1, '.');
	if (signature == NULL || strchr(signature + 1, '.') != NULL)
		return false;
	jwt->signed_len = (size_t)(signature - text);
	jwt->header = parse_part(text, (size_t)(payload - text));
	jwt->payload = parse_part(payload + 1, (size_t)(signature - payload - 1));
	jwt->signature = decode(signature + 1, strlen(signature + 1), &jwt->signature_len);
	return jwt->header != NULL && jwt->payload != NULL && jwt->signature != NULL;
}

void jwt_free(struct jwt *jwt)
{
	json_object_put(jwt->header);
	json_object_put(jwt->payload);
	free(jwt->signature);
	*jwt = (struct jwt){0};
}

static bool is_pss(const struct jwt *jwt)
{
	const char *algorithm = jwt_string(jwt->header, "alg");
	return algorithm != NULL && strcmp(algorithm, "PS256") == 0;
}

bool jwt_has_known_algorithm(const struct jwt *jwt)
{
	const char *algorithm = jwt_string(jwt->header, "alg");
	return algorithm != NULL &&
	       (strcmp(algorithm, "RS256") == 0 || strcmp(algorithm, "PS256") == 0);
}

bool jwt_is_signed_by(const struct jwt *jwt, EVP_PKEY *key)
{
	if (!jwt_has_known_algorithm(jwt) || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
		return false;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_context = NULL;
	bool is_good = context != NULL &&
		       EVP_DigestVerifyInit(context, &key_context, EVP_sha256(), NULL, key) == 1 &&
		       (!is_pss(jwt) || (EVP_PKEY_CTX_set_rsa_padding(
						 key_context, RSA_PKCS1_PSS_PADDING) == 1 &&
						EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context,
							RSA_PSS_SALTLEN_DIGEST) == 1)) &&
		       EVP_DigestVerify(context, jwt->signature, jwt->signature_len,
			       (const unsigned char *)jwt->text, jwt->signed_len) == 1;
	EVP_MD_CTX_free(context);
	return is_good;
}

const char *jwt_string(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(object, name, &value) ||
		!json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

bool jwt_time(const struct jwt *jwt, const char *name, int64_t *seconds)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(jwt->payload, name, &value) ||
		(!json_object_is_type(value, json_type_int) &&
			!json_object_is_type(value, json_type_double)))
		return false;
	double number = json_object_get_double(value);
	if (!(number > -TIME_MAX && number < TIME_MAX))
		return false;
	*seconds = (int64_t)number;
	return true;
}
