/*
 * Keys and certificates for unit tests, made on the spot. Whatever is made is given back by the end
 * of the test's process. Each test program that needs them includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_CERTIFICATES_H
#define MRTOKEND_TESTS_UNIT_CERTIFICATES_H

#include "base/secret.h"
#include "credential/certificate.h"
#include "unit.h"

#include <json-c/json.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#define DAY_S (INT64_C(24) * 3600)

/* A certificate for the key; valid from and to, in seconds from now. */
static inline X509 *issue_certificate(EVP_PKEY *key, int64_t from_s, int64_t to_s)
{
	static long serial;
	X509 *certificate = X509_new();
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from_s);
	X509_gmtime_adj(X509_getm_notAfter(certificate), to_s);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
		(const unsigned char *)"the app of the test", -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	bool has_digest = !EVP_PKEY_is_a(key, "ED25519");
	ck_assert_int_gt(X509_sign(certificate, key, has_digest ? EVP_sha256() : NULL), 0);
	return certificate;
}

static inline EVP_PKEY *make_rsa_key(void)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	ck_assert_ptr_nonnull(key);
	return key;
}

static inline EVP_PKEY *make_ec_key(const char *curve)
{
	EVP_PKEY *key = EVP_EC_gen(curve);
	ck_assert_ptr_nonnull(key);
	return key;
}

/* ---- what is written, one part after the other ---- */

static inline struct secret *take_bio(BIO *bio)
{
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);
	struct secret *secret = secret_from(bytes, (size_t)len);
	ck_assert_ptr_nonnull(secret);
	BIO_free(bio);
	return secret;
}

static inline void write_certificate(BIO *bio, X509 *certificate)
{
	ck_assert_int_eq(PEM_write_bio_X509(bio, certificate), 1);
}

static inline void write_key(BIO *bio, EVP_PKEY *key, const char *passphrase)
{
	ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(bio, key,
				 passphrase == NULL ? NULL : EVP_aes_256_cbc(), passphrase,
				 passphrase == NULL ? 0 : (int)strlen(passphrase), NULL, NULL),
		1);
}

static inline void write_traditional_key(BIO *bio, EVP_PKEY *key, const char *passphrase)
{
	ck_assert_int_eq(PEM_write_bio_PrivateKey_traditional(bio, key,
				 passphrase == NULL ? NULL : EVP_aes_128_cbc(),
				 (const unsigned char *)passphrase,
				 passphrase == NULL ? 0 : (int)strlen(passphrase), NULL, NULL),
		1);
}

/* A PEM file with both. */
static inline struct secret *make_pem(EVP_PKEY *key, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	write_key(bio, key, NULL);
	write_certificate(bio, certificate);
	return take_bio(bio);
}

static inline struct secret *take_pkcs12(PKCS12 *pkcs12)
{
	ck_assert_ptr_nonnull(pkcs12);
	BIO *bio = BIO_new(BIO_s_mem());
	ck_assert_int_eq(i2d_PKCS12_bio(bio, pkcs12), 1);
	PKCS12_free(pkcs12);
	return take_bio(bio);
}

static inline struct secret *make_pkcs12(
	EVP_PKEY *key, X509 *certificate, STACK_OF(X509) * others, const char *passphrase)
{
	return take_pkcs12(
		PKCS12_create(passphrase, "app", key, certificate, others, 0, 0, 0, 0, 0));
}

/* The chain of a certificate as it is written, for json_object_put(). */
static inline struct json_object *chain_of(const struct certificate *certificate)
{
	struct json_out out = {0};
	certificate_put_chain(certificate, NULL, &out);
	struct json_object *chain = json_tokener_parse(text_string(&out.text));
	text_free(&out.text);
	return chain;
}

#endif
