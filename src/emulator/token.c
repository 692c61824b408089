#include "emulator/token.h"

#include "base/text.h"
#include "emulator/accounts.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID_SIZE 37
/* With claims as they are here the first one fits; this bounds the loop should they change. */
#define ROLLS_MAX 100
#define SIGNATURE_BYTES 256

struct token_issuer {
	EVP_PKEY *key; /* only read once made, which libcrypto allows from many threads */
	char kid[2 * SHA_DIGEST_LENGTH + 1];
	char x5t[4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1];
	char *public_key_pem;
};

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

static bool name_key(struct token_issuer *issuer)
{
	unsigned char *der = NULL;
	unsigned char digest[SHA_DIGEST_LENGTH];
	int len = i2d_PUBKEY(issuer->key, &der);
	if (len <= 0)
		return false;
	bool is_good = EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha1(), NULL) == 1;
	OPENSSL_free(der);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(issuer->kid + 2 * i, 3, "%02X", digest[i]);
	base64url_encode(digest, sizeof(digest), issuer->x5t);
	return is_good;
}

struct token_issuer *token_issuer_new(struct error *err)
{
	struct token_issuer *issuer = calloc(1, sizeof(*issuer));
	if (issuer != NULL) {
		issuer->key = EVP_RSA_gen(SIGNATURE_BYTES * 8);
		if (issuer->key != NULL && name_key(issuer) &&
			(issuer->public_key_pem = public_key_pem(issuer->key)) != NULL)
			return issuer;
	}
	token_issuer_free(issuer);
	error_set(err, ERR_SYSTEM, "cannot make a key to sign tokens with");
	return NULL;
}

void token_issuer_free(struct token_issuer *issuer)
{
	if (issuer == NULL)
		return;
	EVP_PKEY_free(issuer->key);
	free(issuer->public_key_pem);
	free(issuer);
}

struct token_verification token_issuer_verification(const struct token_issuer *issuer)
{
	return (struct token_verification){
		.kid = issuer->kid,
		.x5t = issuer->x5t,
		.public_key_pem = issuer->public_key_pem,
	};
}

static bool random_uuid(char uuid[UUID_SIZE])
{
	unsigned char b[16];
	if (RAND_bytes(b, sizeof(b)) != 1)
		return false;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(uuid, UUID_SIZE,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
	return true;
}

static void append_base64url(struct text *text, const char *bytes, size_t len)
{
	char *encoded = malloc(4 * ((len + 2) / 3) + 1);
	if (encoded == NULL) {
		text->has_failed = true;
		return;
	}
	base64url_encode((const unsigned char *)bytes, len, encoded);
	text_append(text, encoded);
	free(encoded);
}

/* The claims in JSON. Every value is of characters that JSON need not escape. */
static bool append_payload(
	struct text *text, const char *account_id, int64_t issued_on, int64_t lifetime_s)
{
	char token_uuid[UUID_SIZE];
	char correlation_uuid[UUID_SIZE];
	if (!random_uuid(token_uuid) || !random_uuid(correlation_uuid))
		return false;
	int64_t expires_on = issued_on + lifetime_s;
	_cleanup_text_ struct text claims = {0};
	text_appendf(&claims,
		"{\"jti\":\"%s\",\"cai\":\"%s\",\"tid\":\"00000000-0000-0000-0000-000000000000\","
		"\"aid\":\"%s\",\"aao\":-1,\"apr\":\"eastus\",",
		token_uuid, correlation_uuid, account_id);
	text_appendf(&claims,
		"\"rid\":\"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/"
		"emulator/providers/Microsoft.MixedReality/SpatialAnchorsAccounts/%s\","
		"\"att\":\"Default\",",
		account_id);
	text_appendf(&claims,
		"\"nbf\":%lld,\"exp\":%lld,\"iat\":%lld,"
		"\"iss\":\"https://sts.eastus.mixedreality.azure.com/\","
		"\"aud\":\"https://manage.sa.eastus.mixedreality.azure.com/\"}",
		(long long)issued_on, (long long)expires_on, (long long)issued_on);
	if (text_string(&claims) == NULL)
		return false;
	append_base64url(text, claims.data, claims.len);
	return true;
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
	append_base64url(text, (const char *)signature, len);
	return true;
}

char *token_issue(const struct token_issuer *issuer, const char *account_id, int64_t issued_on,
	int64_t lifetime_s, struct error *err)
{
	char id[ACCOUNT_ID_LEN + 1] = "";
	for (size_t i = 0; i < ACCOUNT_ID_LEN && account_id[i] != '\0'; i++)
		id[i] = (char)tolower((unsigned char)account_id[i]);
	char header[160];
	int header_len = snprintf(header, sizeof(header),
		"{\"alg\":\"RS256\",\"kid\":\"%s\",\"x5t\":\"%s\",\"typ\":\"JWT\"}", issuer->kid,
		issuer->x5t);
	for (int i = 0; i < ROLLS_MAX; i++) {
		_cleanup_text_ struct text payload = {0};
		_cleanup_text_ struct text token = {0};
		if (!append_payload(&payload, id, issued_on, lifetime_s))
			break;
		if (payload.len == 0 || strpbrk(payload.data, "-_") != NULL)
			continue;
		append_base64url(&token, header, (size_t)header_len);
		text_append(&token, ".");
		text_append_bytes(&token, payload.data, payload.len);
		if (!append_signature(&token, issuer->key))
			break;
		char *string = text_steal(&token);
		if (string != NULL)
			return string;
	}
	error_set(err, ERR_SYSTEM, "cannot sign a token");
	return NULL;
}
