#include "credential/certificate_file.h"

#include "credential/certificate.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <stdbool.h>
#include <string.h>

static int no_memory(struct error *err)
{
	return error_set(err, ERR_NO_MEMORY, "cannot read a certificate: out of memory");
}

static int add_certificate(struct certificate_file *content, X509 *certificate, struct error *err)
{
	if (sk_X509_num(content->certificates) >= CERTIFICATE_CHAIN_MAX) {
		X509_free(certificate);
		return error_set(err, ERR_SECRET_SOURCE,
			"it has more than %d certificates; expected the app's and its issuers",
			CERTIFICATE_CHAIN_MAX);
	}
	if (sk_X509_push(content->certificates, certificate) > 0)
		return 0;
	X509_free(certificate);
	return no_memory(err);
}

/* ---- why OpenSSL would not ---- */

enum trouble {
	TROUBLE_NONE,
	TROUBLE_DAMAGE,
	TROUBLE_PASSPHRASE,
	TROUBLE_UNSUPPORTED,
};

/* What the queue of errors comes to, which is empty then. */
static enum trouble take_trouble(void)
{
	static const struct {
		int library;
		int reason;
		enum trouble trouble;
	} known[] = {
		{ERR_LIB_EVP, ERR_R_UNSUPPORTED, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_UNSUPPORTED_ALGORITHM, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_UNSUPPORTED_CIPHER, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_UNSUPPORTED_PRF, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_UNSUPPORTED_KEY_DERIVATION_FUNCTION, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_UNKNOWN_PBE_ALGORITHM, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_UNKNOWN_CIPHER, TROUBLE_UNSUPPORTED},
		{ERR_LIB_PEM, PEM_R_UNSUPPORTED_CIPHER, TROUBLE_UNSUPPORTED},
		{ERR_LIB_PEM, PEM_R_UNSUPPORTED_ENCRYPTION, TROUBLE_UNSUPPORTED},
		{ERR_LIB_EVP, EVP_R_BAD_DECRYPT, TROUBLE_PASSPHRASE},
		{ERR_LIB_PEM, PEM_R_BAD_DECRYPT, TROUBLE_PASSPHRASE},
		{ERR_LIB_PEM, PEM_R_BAD_PASSWORD_READ, TROUBLE_PASSPHRASE},
		{ERR_LIB_PKCS12, PKCS12_R_MAC_VERIFY_FAILURE, TROUBLE_PASSPHRASE},
		{ERR_LIB_PKCS12, PKCS12_R_PKCS12_CIPHERFINAL_ERROR, TROUBLE_PASSPHRASE},
		{ERR_LIB_PKCS12, PKCS12_R_DECODE_ERROR, TROUBLE_PASSPHRASE},
	};
	enum trouble trouble = TROUBLE_DAMAGE;
	unsigned long code;
	while ((code = ERR_get_error()) != 0)
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (ERR_GET_LIB(code) == known[i].library &&
				ERR_GET_REASON(code) == known[i].reason &&
				known[i].trouble > trouble)
				trouble = known[i].trouble;
	return trouble;
}

static int refuse(enum trouble trouble, bool has_passphrase, struct error *err)
{
	if (trouble == TROUBLE_UNSUPPORTED)
		return error_set(err, ERR_SECRET_SOURCE,
			"it is encrypted in a way that OpenSSL does not support here; export it "
			"anew with AES-256");
	if (trouble == TROUBLE_DAMAGE)
		return error_set(err, ERR_SECRET_SOURCE,
			"its private key is damaged, or of a form that is not known here; export "
			"it anew");
	if (has_passphrase)
		return error_set(err, ERR_SECRET_SOURCE,
			"the passphrase does not open it; correct client_certificate_password");
	return error_set(err, ERR_SECRET_SOURCE,
		"it is encrypted and there is no passphrase for it; set "
		"client_certificate_password");
}

/* ---- old encryptions ---- */

static void close_library(struct certificate_file *content)
{
	for (size_t i = 0; i < 2; i++)
		if (content->providers[i] != NULL)
			OSSL_PROVIDER_unload(content->providers[i]);
	OSSL_LIB_CTX_free(content->library);
	memset(content->providers, 0, sizeof(content->providers));
	content->library = NULL;
}

/*
 * Have a library of one's own with the legacy provider, for RC2 and single DES, which older tools
 * encrypt by; the rest of the process goes without. Returns whether there is one.
 */
static bool open_library(struct certificate_file *content)
{
	content->library = OSSL_LIB_CTX_new();
	if (content->library != NULL) {
		content->providers[0] = OSSL_PROVIDER_load(content->library, "default");
		content->providers[1] = OSSL_PROVIDER_load(content->library, "legacy");
	}
	ERR_clear_error();
	if (content->providers[0] != NULL && content->providers[1] != NULL)
		return true;
	close_library(content);
	return false;
}

/* ---- PEM ---- */

/* As OpenSSL asks for a passphrase; without this it would ask the terminal. */
static int give_passphrase(char *out, int size, int is_for_writing, void *context)
{
	const struct secret *passphrase = context;
	(void)is_for_writing;
	if (passphrase == NULL || secret_len(passphrase) > (size_t)size)
		return -1;
	memcpy(out, secret_bytes(passphrase), secret_len(passphrase));
	return (int)secret_len(passphrase);
}

static enum trouble read_pkcs8(
	struct certificate_file *content, const unsigned char *bytes, long len)
{
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &bytes, len);
	content->key = info == NULL ? NULL : EVP_PKCS82PKEY(info);
	PKCS8_PRIV_KEY_INFO_free(info);
	return content->key != NULL ? TROUBLE_NONE : TROUBLE_DAMAGE;
}

static enum trouble read_encrypted_pkcs8(struct certificate_file *content,
	const unsigned char *bytes, long len, const struct secret *passphrase)
{
	X509_SIG *encrypted = d2i_X509_SIG(NULL, &bytes, len);
	PKCS8_PRIV_KEY_INFO *info = NULL;
	enum trouble trouble = TROUBLE_NONE;
	if (encrypted == NULL)
		return TROUBLE_DAMAGE;
	if (passphrase == NULL) {
		X509_SIG_free(encrypted);
		return TROUBLE_PASSPHRASE;
	}
	int passphrase_len = (int)secret_len(passphrase);
	info = PKCS8_decrypt(encrypted, secret_bytes(passphrase), passphrase_len);
	if (info == NULL)
		trouble = take_trouble();
	if (trouble == TROUBLE_UNSUPPORTED && open_library(content)) {
		info = PKCS8_decrypt_ex(encrypted, secret_bytes(passphrase), passphrase_len,
			content->library, NULL);
		trouble = info == NULL ? take_trouble() : TROUBLE_NONE;
	}
	if (info != NULL) {
		content->key = EVP_PKCS82PKEY(info);
		trouble = content->key == NULL ? TROUBLE_DAMAGE : TROUBLE_NONE;
	}
	X509_SIG_free(encrypted);
	PKCS8_PRIV_KEY_INFO_free(info);
	return trouble;
}

/* The forms from before PKCS#8, whose encryption stands in lines above the key. */
static enum trouble read_traditional(struct certificate_file *content, int type, char *header,
	unsigned char *bytes, long len, const struct secret *passphrase)
{
	EVP_CIPHER_INFO cipher = {0};
	const unsigned char *place = bytes;
	if (PEM_get_EVP_CIPHER_INFO(header, &cipher) != 1 ||
		PEM_do_header(&cipher, bytes, &len, give_passphrase, (void *)passphrase) != 1)
		return take_trouble();
	content->key = d2i_PrivateKey(type, NULL, &place, len);
	if (content->key != NULL)
		return TROUBLE_NONE;
	/* Some wrong passphrases leave what looks like padding. */
	return cipher.cipher != NULL ? TROUBLE_PASSPHRASE : TROUBLE_DAMAGE;
}

struct pem_block {
	char *name; /* "CERTIFICATE" */
	char *header; /* lines before the base64, or "" */
	unsigned char *bytes;
	long len;
};

static void pem_block_clear(struct pem_block *block)
{
	OPENSSL_secure_free(block->name);
	OPENSSL_secure_free(block->header);
	OPENSSL_secure_clear_free(block->bytes, (size_t)block->len);
}

static int read_key(struct certificate_file *content, struct pem_block *block,
	const struct secret *passphrase, struct error *err)
{
	enum trouble trouble = TROUBLE_NONE;
	if (strcmp(block->name, PEM_STRING_PKCS8INF) == 0)
		trouble = read_pkcs8(content, block->bytes, block->len);
	else if (strcmp(block->name, PEM_STRING_PKCS8) == 0)
		trouble = read_encrypted_pkcs8(content, block->bytes, block->len, passphrase);
	else if (strcmp(block->name, PEM_STRING_RSA) == 0)
		trouble = read_traditional(
			content, EVP_PKEY_RSA, block->header, block->bytes, block->len, passphrase);
	else if (strcmp(block->name, PEM_STRING_ECPRIVATEKEY) == 0)
		trouble = read_traditional(
			content, EVP_PKEY_EC, block->header, block->bytes, block->len, passphrase);
	else
		return error_set(err, ERR_SECRET_SOURCE,
			"its private key is a '%.40s'; expected one for RSA or EC, in PKCS#8 or "
			"the traditional form",
			block->name);
	return trouble == TROUBLE_NONE ? 0 : refuse(trouble, passphrase != NULL, err);
}

static int read_certificate(
	struct certificate_file *content, const struct pem_block *block, struct error *err)
{
	const unsigned char *place = block->bytes;
	X509 *certificate = strcmp(block->name, PEM_STRING_X509_TRUSTED) == 0
				    ? d2i_X509_AUX(NULL, &place, block->len)
				    : d2i_X509(NULL, &place, block->len);
	if (certificate == NULL)
		return error_set(err, ERR_SECRET_SOURCE,
			"certificate %d of it is damaged; export it anew",
			sk_X509_num(content->certificates) + 1);
	return add_certificate(content, certificate, err);
}

/* Returns 1 when there may be another block, 0 at the end, -1 with *err. */
static int read_block(struct certificate_file *content, BIO *bio, const struct secret *passphrase,
	struct error *err)
{
	static const char key_name[] = "PRIVATE KEY";
	struct pem_block block = {0};
	int result = 0;
	/* SECURE: what it takes to decode is wiped, and so is what is given back. */
	if (PEM_read_bio_ex(bio, &block.name, &block.header, &block.bytes, &block.len,
		    PEM_FLAG_SECURE) != 1) {
		unsigned long code = ERR_peek_last_error();
		if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
			return 0;
		return error_set(err, ERR_SECRET_SOURCE,
			"a block of it is damaged or cut off: expected base64 between lines of "
			"-----BEGIN and -----END");
	}
	size_t len = strlen(block.name);
	bool is_key = len >= sizeof(key_name) - 1 &&
		      strcmp(block.name + len - (sizeof(key_name) - 1), key_name) == 0;
	if (is_key && content->key == NULL)
		result = read_key(content, &block, passphrase, err);
	else if (strcmp(block.name, PEM_STRING_X509) == 0 ||
		 strcmp(block.name, PEM_STRING_X509_OLD) == 0 ||
		 strcmp(block.name, PEM_STRING_X509_TRUSTED) == 0)
		result = read_certificate(content, &block, err);
	pem_block_clear(&block);
	return result == 0 ? 1 : -1;
}

static int read_pem(struct certificate_file *content, const struct secret *file,
	const struct secret *passphrase, struct error *err)
{
	BIO *bio = BIO_new_mem_buf(secret_bytes(file), (int)secret_len(file));
	int result = bio == NULL ? no_memory(err) : 1;
	while (result > 0)
		result = read_block(content, bio, passphrase, err);
	BIO_free(bio);
	return result;
}

/* ---- PKCS#12 ---- */

static PKCS12 *decode_pkcs12(OSSL_LIB_CTX *library, const struct secret *file)
{
	const unsigned char *place = (const unsigned char *)secret_bytes(file);
	PKCS12 *pkcs12 = PKCS12_init_ex(NID_pkcs7_data, library, NULL);
	/* On failure it is freed, and NULL. */
	if (pkcs12 != NULL)
		d2i_PKCS12(&pkcs12, &place, (long)secret_len(file));
	return pkcs12;
}

/* Take what it has, in the order of its own. */
static enum trouble open_pkcs12(struct certificate_file *content, PKCS12 *pkcs12,
	const struct secret *passphrase, X509 **certificate, STACK_OF(X509) * *others)
{
	ERR_clear_error();
	return PKCS12_parse(pkcs12, passphrase == NULL ? NULL : secret_bytes(passphrase),
		       &content->key, certificate, others) == 1
		       ? TROUBLE_NONE
		       : take_trouble();
}

static int read_pkcs12(struct certificate_file *content, const struct secret *file,
	const struct secret *passphrase, struct error *err)
{
	X509 *certificate = NULL;
	STACK_OF(X509) *others = NULL;
	PKCS12 *pkcs12 = decode_pkcs12(NULL, file);
	if (pkcs12 == NULL)
		return error_set(err, ERR_SECRET_SOURCE,
			"it is neither PEM, which has lines of -----BEGIN and -----END, nor "
			"PKCS#12 (.pfx, .p12); export the certificate with its key in one of "
			"these forms");
	enum trouble trouble = open_pkcs12(content, pkcs12, passphrase, &certificate, &others);
	if (trouble == TROUBLE_UNSUPPORTED && open_library(content)) {
		PKCS12_free(pkcs12);
		pkcs12 = decode_pkcs12(content->library, file);
		trouble = pkcs12 == NULL
				  ? TROUBLE_DAMAGE
				  : open_pkcs12(content, pkcs12, passphrase, &certificate, &others);
	}
	PKCS12_free(pkcs12);
	int result = trouble == TROUBLE_NONE ? 0 : refuse(trouble, passphrase != NULL, err);
	if (certificate != NULL)
		result = add_certificate(content, certificate, err);
	while (result == 0 && sk_X509_num(others) > 0)
		result = add_certificate(content, sk_X509_shift(others), err);
	sk_X509_pop_free(others, X509_free);
	return result;
}

int certificate_file_read(struct certificate_file *content, const struct secret *file,
	const struct secret *passphrase, struct error *err)
{
	static const char begin[] = "-----BEGIN";
	ERR_clear_error();
	content->certificates = sk_X509_new_null();
	int result = -1;
	if (content->certificates == NULL)
		no_memory(err);
	else if (memmem(secret_bytes(file), secret_len(file), begin, sizeof(begin) - 1) != NULL)
		result = read_pem(content, file, passphrase, err);
	else
		result = read_pkcs12(content, file, passphrase, err);
	ERR_clear_error();
	return result;
}

void certificate_file_clear(struct certificate_file *content)
{
	EVP_PKEY_free(content->key);
	sk_X509_pop_free(content->certificates, X509_free);
	close_library(content);
	*content = (struct certificate_file){0};
}
