#include "emulator/signing_key.h"

#include "base/text.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE_BYTES 256
#define KID_SIZE (2 * SHA_DIGEST_LENGTH + 1)
#define X5T_SIZE (4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1)

static char *public_key_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data = NULL;
	char *pem = NULL;
	if (bio != NULL && PEM_write_bio_PUBKEY(bio, key)) {
		long len = BIO_get_mem_data(bio, &data);
		pem = strndup(data, (size_t)len);
	}
	BIO_free(bio);
	return pem;
}

static bool name_key(struct signing_key *key)
{
	unsigned char *der = NULL;
	unsigned char digest[SHA_DIGEST_LENGTH];
	key->kid = malloc(KID_SIZE);
	key->x5t = malloc(X5T_SIZE);
	int len = i2d_PUBKEY(key->key, &der);
	if (len <= 0 || key->kid == NULL || key->x5t == NULL)
		return false;
	bool is_good = EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha1(), NULL) == 1;
	OPENSSL_free(der);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(key->kid + 2 * i, 3, "%02X", digest[i]);
	base64url_encode(digest, sizeof(digest), key->x5t);
	return is_good;
}

struct signing_key *signing_key_new(struct error *err)
{
	struct signing_key *key = calloc(1, sizeof(*key));
	if (key != NULL) {
		key->key = EVP_RSA_gen(SIGNATURE_BYTES * 8);
		if (key->key != NULL && name_key(key) &&
			(key->public_key_pem = public_key_pem(key->key)) != NULL)
			return key;
	}
	signing_key_free(key);
	error_set(err, ERR_SYSTEM, "cannot make a key to sign tokens with");
	return NULL;
}

void signing_key_free(struct signing_key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_free(key->key);
	free(key->kid);
	free(key->x5t);
	free(key->public_key_pem);
	free(key);
}

static void add_number(struct json_object *jwk, const char *name, EVP_PKEY *key, const char *part)
{
	BIGNUM *number = NULL;
	unsigned char bytes[SIGNATURE_BYTES];
	char encoded[4 * ((SIGNATURE_BYTES + 2) / 3) + 1];
	if (EVP_PKEY_get_bn_param(key, part, &number) != 1)
		return;
	int len = BN_bn2bin(number, bytes);
	base64url_encode(bytes, (size_t)len, encoded);
	json_object_object_add(jwk, name, json_object_new_string(encoded));
	BN_free(number);
}

struct json_object *signing_key_jwk(const struct signing_key *key, const char *kid)
{
	struct json_object *jwk = json_object_new_object();
	if (jwk == NULL)
		return NULL;
	json_object_object_add(jwk, "kty", json_object_new_string("RSA"));
	json_object_object_add(jwk, "use", json_object_new_string("sig"));
	json_object_object_add(jwk, "kid", json_object_new_string(kid));
	json_object_object_add(jwk, "x5t", json_object_new_string(key->x5t));
	add_number(jwk, "n", key->key, OSSL_PKEY_PARAM_RSA_N);
	add_number(jwk, "e", key->key, OSSL_PKEY_PARAM_RSA_E);
	return jwk;
}

static void append_base64url(struct text *text, const void *bytes, size_t len)
{
	char *encoded = malloc(4 * ((len + 2) / 3) + 1);
	if (encoded == NULL) {
		text->has_failed = true;
		return;
	}
	base64url_encode(bytes, len, encoded);
	text_append(text, encoded);
	free(encoded);
}

static bool append_signature(struct text *text, EVP_PKEY *key)
{
	unsigned char signature[SIGNATURE_BYTES];
	size_t len = sizeof(signature);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_signed = context != NULL && text_string(text) != NULL &&
			 EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
			 EVP_DigestSign(context, signature, &len, (const unsigned char *)text->data,
				 text->len) == 1;
	EVP_MD_CTX_free(context);
	if (!is_signed)
		return false;
	text_append(text, ".");
	append_base64url(text, signature, len);
	return true;
}

char *signing_key_sign(
	const struct signing_key *key, const char *header, const char *payload, struct error *err)
{
	_cleanup_text_ struct text token = {0};
	append_base64url(&token, header, strlen(header));
	text_append(&token, ".");
	append_base64url(&token, payload, strlen(payload));
	char *string = append_signature(&token, key->key) ? text_steal(&token) : NULL;
	if (string == NULL)
		error_set(err, ERR_SYSTEM, "cannot sign a token");
	return string;
}
