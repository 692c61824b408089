#include "emulator/ca.h"

#include "base/log.h"
#include "emulator/file.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATE_NAME "ca.pem"
#define KEY_NAME "ca-key.pem"
#define ORGANIZATION "mrtoken-emulator"
#define DAY_S 86400L
/* Valid from a month ago on, for clients whose clock is behind or is moved by a test. */
#define BACKDATED_DAYS 30
#define CA_DAYS 3650
#define SERVER_DAYS 397
/* An authority that ends sooner than this is replaced, so that none ends during a run. */
#define CA_DAYS_LEFT_LEAST 30
#define PEM_FILE_MAX 16384

struct extension {
	int nid;
	const char *value;
};

static const struct extension ca_extensions[] = {
	{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
	{NID_key_usage, "critical,keyCertSign,cRLSign"},
	{NID_subject_key_identifier, "hash"},
	/* Whoever trusts it, trusts it for nothing but this host. */
	{NID_name_constraints, "critical,permitted;DNS:localhost,"
			       "permitted;IP:127.0.0.0/255.0.0.0,"
			       "permitted;IP:::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
};

static const struct extension server_extensions[] = {
	{NID_basic_constraints, "critical,CA:FALSE"},
	{NID_key_usage, "critical,digitalSignature"},
	{NID_ext_key_usage, "serverAuth"},
	{NID_subject_key_identifier, "hash"},
	{NID_authority_key_identifier, "keyid:always"},
	{NID_subject_alt_name,
		"IP:127.0.0.1,IP:::1,DNS:localhost,DNS:sts.localhost,DNS:*.localhost,"
		"DNS:*.sts.localhost"},
};

static int crypto_error(struct error *err, const char *what)
{
	char reason[160] = "no reason given";
	unsigned long code = ERR_get_error();
	if (code != 0)
		ERR_error_string_n(code, reason, sizeof(reason));
	ERR_clear_error();
	return error_set(err, ERR_SYSTEM, "cannot %s: %s", what, reason);
}

/* The bytes of a memory BIO as a string of the caller's, or NULL; the BIO is wiped and freed. */
static char *take_string(BIO *bio)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);
	char *string = len > 0 ? malloc((size_t)len + 1) : NULL;
	if (string != NULL) {
		memcpy(string, data, (size_t)len);
		string[len] = '\0';
	}
	if (len > 0)
		OPENSSL_cleanse(data, (size_t)len);
	BIO_free(bio);
	return string;
}

static char *key_to_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (bio == NULL)
		return NULL;
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	return take_string(bio);
}

static char *certificate_to_pem(X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (bio == NULL)
		return NULL;
	PEM_write_bio_X509(bio, certificate);
	return take_string(bio);
}

static bool add_extensions(
	X509 *certificate, X509 *issuer, const struct extension *extensions, size_t count)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	for (size_t i = 0; i < count; i++) {
		X509_EXTENSION *extension =
			X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
		int is_added = extension != NULL && X509_add_ext(certificate, extension, -1);
		X509_EXTENSION_free(extension);
		if (!is_added)
			return false;
	}
	return true;
}

/* A certificate of version 3 with a random serial number; no extension, no signature yet. */
static X509 *certificate_new(EVP_PKEY *key, const char *common_name, long days, X509_NAME *issuer)
{
	X509 *certificate = X509_new();
	if (certificate == NULL)
		return NULL;
	unsigned char serial[16];
	X509_NAME *name = X509_get_subject_name(certificate);
	BIGNUM *number = NULL;
	bool is_good = RAND_bytes(serial, sizeof(serial)) == 1;
	serial[0] = (unsigned char)((serial[0] & 0x3f) | 0x40); /* positive, of one length */
	is_good = is_good && (number = BN_bin2bn(serial, sizeof(serial), NULL)) != NULL &&
		  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL &&
		  X509_set_version(certificate, X509_VERSION_3) &&
		  X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATED_DAYS * DAY_S) &&
		  X509_gmtime_adj(X509_getm_notAfter(certificate), days * DAY_S) &&
		  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
			  (const unsigned char *)ORGANIZATION, -1, -1, 0) &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
			  (const unsigned char *)common_name, -1, -1, 0) &&
		  X509_set_issuer_name(certificate, issuer != NULL ? issuer : name) &&
		  X509_set_pubkey(certificate, key);
	BN_free(number);
	if (is_good)
		return certificate;
	X509_free(certificate);
	return NULL;
}

static bool is_our_name(X509 *certificate)
{
	char organization[sizeof(ORGANIZATION) + 1] = "";
	X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_organizationName,
		organization, sizeof(organization));
	return strcmp(organization, ORGANIZATION) == 0;
}

/* Why an authority of ours can serve no longer, or NULL when it can. */
static const char *reason_to_replace(X509 *certificate, EVP_PKEY *key)
{
	time_t soon = time(NULL) + CA_DAYS_LEFT_LEAST * DAY_S;
	if (key == NULL)
		return "its key is missing or no key";
	if (X509_check_private_key(certificate, key) != 1 || X509_verify(certificate, key) != 1)
		return "its key is another one's";
	if (X509_check_ca(certificate) != 1)
		return "it may not sign certificates";
	if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) <= 0)
		return "it has ended or soon will";
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0)
		return "it is not valid yet";
	return NULL;
}

/* No prompt for a password: a key that has one is not ours. */
static int no_password(char *buffer, int size, int is_writing, void *context)
{
	(void)buffer;
	(void)size;
	(void)is_writing;
	(void)context;
	return -1;
}

static EVP_PKEY *read_key(int directory_fd, const char **problem, struct error *err)
{
	char pem[PEM_FILE_MAX];
	mode_t mode = 0;
	ssize_t len = file_read(directory_fd, KEY_NAME, pem, sizeof(pem), &mode, err);
	if (len < 0)
		return NULL;
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(pem, sizeof(pem));
	if (key != NULL && (mode & 077) != 0) {
		*problem = "others may have read its key (the mode of ca-key.pem is not 0600)";
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

/*
 * The authority in the directory. Returns 1 with both set, 0 when a new one is to be made, or -1
 * with *err.
 */
static int load(int directory_fd, X509 **certificate, EVP_PKEY **key, struct error *err)
{
	char pem[PEM_FILE_MAX];
	ssize_t len = file_read(directory_fd, CERTIFICATE_NAME, pem, sizeof(pem), NULL, err);
	if (len < 0)
		return len == -1 ? 0 : -1;
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509 *found = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_password, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (found == NULL || !is_our_name(found)) {
		X509_free(found);
		return error_set(err, ERR_CONFIGURATION,
			CERTIFICATE_NAME
			" is there, and is not the certificate of a mrtoken-emulator: "
			"move it away, or choose another directory");
	}
	const char *problem = NULL;
	*err = ERROR_INIT;
	EVP_PKEY *found_key = read_key(directory_fd, &problem, err);
	if (problem == NULL)
		problem = reason_to_replace(found, found_key);
	ERR_clear_error();
	if (err->code != ERR_NONE || problem != NULL) {
		X509_free(found);
		EVP_PKEY_free(found_key);
		if (err->code != ERR_NONE)
			return -1;
		log_warning("the certificate authority in " CERTIFICATE_NAME
			    " is replaced, because %s: clients must read it anew",
			problem);
		return 0;
	}
	*certificate = found;
	*key = found_key;
	return 1;
}

static int make(int directory_fd, X509 **certificate, EVP_PKEY **key, struct error *err)
{
	unsigned char random[4];
	char common_name[64];
	char *key_pem = NULL;
	char *certificate_pem = NULL;
	int result = -1;
	if (RAND_bytes(random, sizeof(random)) != 1)
		return crypto_error(err, "get random bytes");
	/* Two authorities in one list of trusted ones must differ by name. */
	snprintf(common_name, sizeof(common_name), "local authority %02x%02x%02x%02x", random[0],
		random[1], random[2], random[3]);
	EVP_PKEY *new_key = EVP_EC_gen("P-256");
	X509 *new_certificate =
		new_key == NULL ? NULL : certificate_new(new_key, common_name, CA_DAYS, NULL);
	if (new_certificate == NULL ||
		!add_extensions(new_certificate, new_certificate, ca_extensions,
			sizeof(ca_extensions) / sizeof(ca_extensions[0])) ||
		!X509_sign(new_certificate, new_key, EVP_sha256()) ||
		(key_pem = key_to_pem(new_key)) == NULL ||
		(certificate_pem = certificate_to_pem(new_certificate)) == NULL)
		crypto_error(err, "make a certificate authority");
	else if (file_write(directory_fd, KEY_NAME, 0600, key_pem, strlen(key_pem), err) == 0 &&
		 file_write(directory_fd, CERTIFICATE_NAME, 0644, certificate_pem,
			 strlen(certificate_pem), err) == 0)
		result = 0;
	if (key_pem != NULL)
		OPENSSL_cleanse(key_pem, strlen(key_pem));
	free(key_pem);
	free(certificate_pem);
	if (result != 0) {
		X509_free(new_certificate);
		EVP_PKEY_free(new_key);
		return -1;
	}
	*certificate = new_certificate;
	*key = new_key;
	return 0;
}

static int issue(X509 *ca, EVP_PKEY *ca_key, struct ca_identity *identity, struct error *err)
{
	int result = -1;
	struct ca_identity issued = {0};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = key == NULL ? NULL
					: certificate_new(key, "localhost", SERVER_DAYS,
						  X509_get_subject_name(ca));
	if (certificate == NULL ||
		!add_extensions(certificate, ca, server_extensions,
			sizeof(server_extensions) / sizeof(server_extensions[0])) ||
		!X509_sign(certificate, ca_key, EVP_sha256()) ||
		(issued.key_pem = key_to_pem(key)) == NULL ||
		(issued.certificate_pem = certificate_to_pem(certificate)) == NULL) {
		crypto_error(err, "issue the server's certificate");
		ca_identity_free(&issued);
	} else {
		*identity = issued;
		result = 0;
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
	return result;
}

int ca_issue(int directory_fd, struct ca_identity *identity, bool *is_new, struct error *err)
{
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	int loaded = load(directory_fd, &certificate, &key, err);
	if (loaded < 0 || (loaded == 0 && make(directory_fd, &certificate, &key, err) != 0))
		return -1;
	int result = issue(certificate, key, identity, err);
	X509_free(certificate);
	EVP_PKEY_free(key);
	if (result == 0)
		*is_new = loaded == 0;
	return result;
}

bool ca_identity_thumbprint(
	const struct ca_identity *identity, char thumbprint[CA_THUMBPRINT_LEN + 1])
{
	unsigned char digest[SHA_DIGEST_LENGTH];
	BIO *bio = BIO_new_mem_buf(identity->certificate_pem, -1);
	X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_password, NULL);
	bool is_good =
		certificate != NULL && X509_digest(certificate, EVP_sha1(), digest, NULL) == 1;
	for (size_t i = 0; is_good && i < sizeof(digest); i++)
		snprintf(thumbprint + 2 * i, 3, "%02X", digest[i]);
	X509_free(certificate);
	BIO_free(bio);
	return is_good;
}

void ca_identity_free(struct ca_identity *identity)
{
	if (identity->key_pem != NULL)
		OPENSSL_cleanse(identity->key_pem, strlen(identity->key_pem));
	free(identity->key_pem);
	free(identity->certificate_pem);
	*identity = (struct ca_identity){0};
}
