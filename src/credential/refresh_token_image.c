/*
 * The image of a refresh token. All of it is authenticated, the owner's name included:
 *
 *    offset  bytes
 *         0      8  "mrtlogin"
 *         8      1  version, 1
 *         9     16  salt of the key
 *        25     12  nonce
 *        37     16  of the derived bytes, those that tell whether it is the right key
 *        53     16  of SHA-256 over salt and owner: whether it is the right owner
 *        69      n  the token, encrypted
 *      69+n     16  tag
 */
#include "credential/refresh_token_store.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdint.h>
#include <string.h>

#define VERSION 1
#define KEY_SIZE 32
#define CHECK_SIZE 16
#define SALT_SIZE 16
#define NONCE_SIZE 12
#define TAG_SIZE 16

#define VERSION_AT 8
#define SALT_AT 9
#define NONCE_AT (SALT_AT + SALT_SIZE)
#define KEY_CHECK_AT (NONCE_AT + NONCE_SIZE)
#define OWNER_CHECK_AT (KEY_CHECK_AT + CHECK_SIZE)
#define HEADER_SIZE (OWNER_CHECK_AT + CHECK_SIZE)

static const char magic[] = "mrtlogin";

/* What HKDF makes of the key: first the key of the cipher, then the bytes to know it by. */
struct derived {
	unsigned char bytes[KEY_SIZE + CHECK_SIZE];
};

static void derived_wipe(struct derived *derived)
{
	OPENSSL_cleanse(derived, sizeof(*derived));
}
#define _cleanup_derived_ __attribute__((cleanup(derived_wipe)))

static void cipher_free(EVP_CIPHER_CTX **cipher)
{
	EVP_CIPHER_CTX_free(*cipher);
}
#define _cleanup_cipher_ __attribute__((cleanup(cipher_free)))

static int no_memory(struct error *err)
{
	return error_set(err, ERR_NO_MEMORY, "cannot keep the login in a file: out of memory");
}

static int derive(const struct secret *key, const unsigned char *salt, struct derived *derived,
	struct error *err)
{
	static char info[] = "mrtokend refresh token 1";
	static char digest[] = "SHA256";
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_KEY, (void *)secret_bytes(key), secret_len(key)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, SALT_SIZE),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info) - 1),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
	int made = context == NULL ? 0
				   : EVP_KDF_derive(context, derived->bytes, sizeof(derived->bytes),
					     parameters);
	EVP_KDF_CTX_free(context); /* wipes its copy of the key */
	EVP_KDF_free(kdf);
	return made == 1 ? 0 : no_memory(err);
}

/* The owner in one spelling, with the ends of its parts: what is authenticated beside the header.
 */
static int owner_name(const struct refresh_token_owner *owner, struct text *name, struct error *err)
{
	const char *const parts[] = {owner->authority, owner->tenant_id, owner->client_id};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		text_append_bytes(name, parts[i], strlen(parts[i]) + 1);
	if (text_string(name) == NULL)
		return no_memory(err);
	for (size_t i = 0; i < name->len; i++)
		if (name->data[i] >= 'A' && name->data[i] <= 'Z')
			name->data[i] |= 0x20;
	return 0;
}

static int owner_check(const unsigned char *salt, const struct text *name,
	unsigned char out[CHECK_SIZE], struct error *err)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_made = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
		       EVP_DigestUpdate(context, salt, SALT_SIZE) == 1 &&
		       EVP_DigestUpdate(context, name->data, name->len) == 1 &&
		       EVP_DigestFinal_ex(context, digest, NULL) == 1;
	EVP_MD_CTX_free(context);
	if (!is_made)
		return no_memory(err);
	memcpy(out, digest, CHECK_SIZE);
	return 0;
}

static int check_key(const struct secret *key, struct error *err)
{
	if (secret_len(key) >= REFRESH_TOKEN_KEY_MIN)
		return 0;
	return error_set(err, ERR_SECRET_SOURCE,
		"found %zu bytes, expected at least %zu that nobody can guess, such as those of "
		"'openssl rand -base64 32'",
		secret_len(key), REFRESH_TOKEN_KEY_MIN);
}

/* Encrypt, or decrypt, with the header and the owner's name as what is authenticated besides. */
static EVP_CIPHER_CTX *cipher_new(bool encrypts, const struct derived *derived,
	const unsigned char *header, const struct text *name)
{
	int len = 0;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	if (cipher != NULL &&
		EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, derived->bytes,
			header + NONCE_AT, encrypts ? 1 : 0) == 1 &&
		EVP_CipherUpdate(cipher, NULL, &len, header, HEADER_SIZE) == 1 &&
		EVP_CipherUpdate(
			cipher, NULL, &len, (const unsigned char *)name->data, (int)name->len) == 1)
		return cipher;
	EVP_CIPHER_CTX_free(cipher);
	return NULL;
}

int refresh_token_encode(const struct secret *token, const struct secret *key,
	const struct refresh_token_owner *owner, const unsigned char *fresh, struct text *image,
	struct error *err)
{
	_cleanup_text_ struct text name = {0};
	_cleanup_derived_ struct derived derived = {0};
	_cleanup_secret_ struct secret *sealed = NULL;
	unsigned char header[HEADER_SIZE] = {0};
	unsigned char tag[TAG_SIZE];
	size_t token_len = secret_len(token);
	int len = 0;
	if (check_key(key, err) != 0)
		return -1;
	if (token_len == 0 || token_len > REFRESH_TOKEN_MAX)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"found a refresh token of %zu bytes, expected 1 to %zu", token_len,
			REFRESH_TOKEN_MAX);
	memcpy(header, magic, VERSION_AT);
	header[VERSION_AT] = VERSION;
	memcpy(header + SALT_AT, fresh, REFRESH_TOKEN_FRESH_SIZE);
	if (owner_name(owner, &name, err) != 0 ||
		derive(key, header + SALT_AT, &derived, err) != 0 ||
		owner_check(header + SALT_AT, &name, header + OWNER_CHECK_AT, err) != 0)
		return -1;
	memcpy(header + KEY_CHECK_AT, derived.bytes + KEY_SIZE, CHECK_SIZE);
	_cleanup_cipher_ EVP_CIPHER_CTX *cipher = cipher_new(true, &derived, header, &name);
	sealed = secret_new(token_len);
	unsigned char *out = sealed == NULL ? NULL : secret_extend(sealed, token_len);
	if (cipher == NULL || out == NULL ||
		EVP_CipherUpdate(cipher, out, &len, (const unsigned char *)secret_bytes(token),
			(int)token_len) != 1 ||
		EVP_CipherFinal_ex(cipher, out + len, &len) != 1 ||
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) != 1)
		return no_memory(err);
	text_append_bytes(image, (const char *)header, HEADER_SIZE);
	text_append_bytes(image, secret_bytes(sealed), token_len);
	text_append_bytes(image, (const char *)tag, TAG_SIZE);
	return text_string(image) == NULL ? no_memory(err) : 0;
}

/* Whether it is an image at all, of this version. */
static int check_form(const unsigned char *image, size_t len, struct error *err)
{
	if (len < VERSION_AT + 1 || memcmp(image, magic, VERSION_AT) != 0)
		return error_set(err, ERR_SECRET_SOURCE,
			"found something else, expected a login that mrtokend kept");
	if (image[VERSION_AT] != VERSION)
		return error_set(err, ERR_SECRET_SOURCE,
			"found a login kept by another version of mrtokend (format %d), expected "
			"format %d",
			image[VERSION_AT], VERSION);
	if (len <= HEADER_SIZE + TAG_SIZE || len > HEADER_SIZE + REFRESH_TOKEN_MAX + TAG_SIZE)
		return error_set(err, ERR_SECRET_SOURCE,
			"found a login of %zu bytes, which is damaged: expected %d to %zu", len,
			HEADER_SIZE + TAG_SIZE + 1, HEADER_SIZE + REFRESH_TOKEN_MAX + TAG_SIZE);
	return 0;
}

/* Whether the right key and the right owner are asking, as far as the header tells. */
static int check_asker(const unsigned char *header, const struct derived *derived,
	const struct text *name, struct error *err)
{
	unsigned char check[CHECK_SIZE];
	if (CRYPTO_memcmp(header + KEY_CHECK_AT, derived->bytes + KEY_SIZE, CHECK_SIZE) != 0)
		return error_set(err, ERR_SECRET_SOURCE,
			"the login was kept with another refresh_token_key, or it is damaged");
	if (owner_check(header + SALT_AT, name, check, err) != 0)
		return -1;
	if (CRYPTO_memcmp(header + OWNER_CHECK_AT, check, CHECK_SIZE) != 0)
		return error_set(err, ERR_SECRET_SOURCE,
			"the login is one with another authority, tenant_id or client_id, or it is "
			"damaged");
	return 0;
}

struct secret *refresh_token_decode(const void *image, size_t len, const struct secret *key,
	const struct refresh_token_owner *owner, struct error *err)
{
	const unsigned char *header = image;
	_cleanup_text_ struct text name = {0};
	_cleanup_derived_ struct derived derived = {0};
	int written = 0;
	int rest = 0;
	if (check_key(key, err) != 0 || check_form(header, len, err) != 0 ||
		owner_name(owner, &name, err) != 0 ||
		derive(key, header + SALT_AT, &derived, err) != 0 ||
		check_asker(header, &derived, &name, err) != 0)
		return NULL;
	size_t token_len = len - HEADER_SIZE - TAG_SIZE;
	unsigned char tag[TAG_SIZE];
	memcpy(tag, header + len - TAG_SIZE, TAG_SIZE);
	_cleanup_cipher_ EVP_CIPHER_CTX *cipher = cipher_new(false, &derived, header, &name);
	struct secret *token = secret_new(token_len);
	unsigned char *out = token == NULL ? NULL : secret_extend(token, token_len);
	if (cipher == NULL || out == NULL ||
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1) {
		no_memory(err);
	} else if (EVP_CipherUpdate(cipher, out, &written, header + HEADER_SIZE, (int)token_len) !=
			   1 ||
		   EVP_CipherFinal_ex(cipher, out + written, &rest) != 1) {
		error_set(err, ERR_SECRET_SOURCE, "the login is damaged: its seal is broken");
	} else {
		return token;
	}
	secret_free(token);
	return NULL;
}
