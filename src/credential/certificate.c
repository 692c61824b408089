#include "credential/certificate.h"

#include "credential/certificate_file.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIGNATURE_MAX 2048 /* of RSA with 16384 bits, the most that OpenSSL takes */
#define ENCODED_MAX (4 * ((SIGNATURE_MAX + 2) / 3) + 1)
#define NAME_MAX_LEN 64

/* How keys sign: azure-protocol.md B.3, and RFC 7518. */
static const struct algorithm {
	const char *key_type;
	const char *group; /* of EC, or NULL */
	const char *name;
	const char *digest;
	const char *thumbprint_member;
	int number_len; /* of r and of s, or 0 */
} algorithms[] = {
	{"RSA", NULL, "RS256", "SHA256", "x5t", 0},
	{"EC", "prime256v1", "ES256", "SHA256", "x5t#S256", 32},
	{"EC", "secp384r1", "ES384", "SHA384", "x5t#S256", 48},
	{"EC", "secp521r1", "ES512", "SHA512", "x5t#S256", 66},
};

struct certificate {
	struct certificate_file content;
	X509 *own; /* one of the content's: that which belongs to the key */
	const struct algorithm *algorithm;
	char thumbprint[64];
	struct certificate_validity validity;
};

static int no_memory(struct error *err)
{
	return error_set(err, ERR_NO_MEMORY, "cannot use a certificate: out of memory");
}

static int find_algorithm(struct certificate *self, struct error *err)
{
	EVP_PKEY *key = self->content.key;
	const char *type = EVP_PKEY_get0_type_name(key);
	char group[NAME_MAX_LEN] = "";
	EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
		if (EVP_PKEY_is_a(key, algorithms[i].key_type) &&
			(algorithms[i].group == NULL || strcmp(algorithms[i].group, group) == 0)) {
			self->algorithm = &algorithms[i];
			return 0;
		}
	return error_set(err, ERR_SECRET_SOURCE,
		"its private key is %s%s%s; expected RSA, or EC on the curve P-256, P-384 or P-521",
		type == NULL ? "of an unknown kind" : type, group[0] == '\0' ? "" : " ", group);
}

/* The first certificate that belongs to the key. */
static int find_own(struct certificate *self, struct error *err)
{
	const STACK_OF(X509) *all = self->content.certificates;
	for (int i = 0; i < sk_X509_num(all) && self->own == NULL; i++)
		if (X509_check_private_key(sk_X509_value(all, i), self->content.key) == 1)
			self->own = sk_X509_value(all, i);
	ERR_clear_error();
	if (self->own != NULL)
		return 0;
	return error_set(err, ERR_SECRET_SOURCE,
		"its private key and its certificate do not belong together; put the key beside "
		"the certificate that was made for it");
}

static int make_thumbprint(struct certificate *self, struct error *err)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	bool is_short = strcmp(self->algorithm->thumbprint_member, "x5t") == 0;
	if (X509_digest(self->own, is_short ? EVP_sha1() : EVP_sha256(), digest, &len) != 1 ||
		4 * ((len + 2) / 3) + 1 > sizeof(self->thumbprint))
		return error_set(err, ERR_SYSTEM, "OpenSSL makes no digest of the certificate");
	base64url_encode(digest, len, self->thumbprint);
	return 0;
}

static int read_time(const ASN1_TIME *time, int64_t *seconds, struct error *err)
{
	struct tm tm = {0};
	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return error_set(err, ERR_SECRET_SOURCE,
			"the certificate's validity is damaged; export it anew");
	*seconds = timegm(&tm);
	return 0;
}

/* Whether it is all there and fits together. */
static int complete(struct certificate *self, struct error *err)
{
	bool has_certificate = sk_X509_num(self->content.certificates) > 0;
	if (self->content.key == NULL && !has_certificate)
		return error_set(err, ERR_SECRET_SOURCE,
			"it has neither a certificate nor a private key; expected both");
	if (self->content.key == NULL)
		return error_set(err, ERR_SECRET_SOURCE,
			"it has a certificate but not its private key; put both into one file");
	if (!has_certificate)
		return error_set(err, ERR_SECRET_SOURCE,
			"it has a private key but not its certificate; put both into one file");
	if (find_algorithm(self, err) != 0 || find_own(self, err) != 0 ||
		make_thumbprint(self, err) != 0 ||
		read_time(X509_get0_notBefore(self->own), &self->validity.not_before, err) != 0)
		return -1;
	return read_time(X509_get0_notAfter(self->own), &self->validity.not_after, err);
}

struct certificate *certificate_load(
	const struct secret *file, const struct secret *passphrase, struct error *err)
{
	struct certificate *self = calloc(1, sizeof(*self));
	if (self == NULL) {
		no_memory(err);
		return NULL;
	}
	if (certificate_file_read(&self->content, file, passphrase, err) == 0 &&
		complete(self, err) == 0)
		return self;
	certificate_free(self);
	ERR_clear_error();
	return NULL;
}

struct certificate_validity certificate_validity(const struct certificate *certificate)
{
	return certificate->validity;
}

void certificate_print_date(int64_t time_s, char out[CERTIFICATE_DATE_SIZE])
{
	const time_t time = (time_t)time_s;
	struct tm tm;
	if (gmtime_r(&time, &tm) == NULL ||
		strftime(out, CERTIFICATE_DATE_SIZE, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		out[0] = '\0';
}

int certificate_check_validity(
	const struct certificate_validity *validity, int64_t now_s, struct error *err)
{
	char date[CERTIFICATE_DATE_SIZE];
	char now[CERTIFICATE_DATE_SIZE];
	certificate_print_date(now_s, now);
	if (now_s > validity->not_after) {
		certificate_print_date(validity->not_after, date);
		return error_set(err, ERR_SECRET_SOURCE,
			"the certificate expired on %s (this host's clock says %s); put a new one "
			"in its place",
			date, now);
	}
	if (now_s + CERTIFICATE_SKEW_S < validity->not_before) {
		certificate_print_date(validity->not_before, date);
		return error_set(err, ERR_SECRET_SOURCE,
			"the certificate is not valid before %s (this host's clock says %s); wait, "
			"or use an older one",
			date, now);
	}
	return 0;
}

bool certificate_ends_soon(const struct certificate_validity *validity, int64_t now_s)
{
	int64_t fifth_s = (validity->not_after - validity->not_before) / 5;
	return validity->not_after - now_s <
	       (fifth_s < CERTIFICATE_NOTICE_S ? fifth_s : CERTIFICATE_NOTICE_S);
}

const char *certificate_algorithm(const struct certificate *certificate)
{
	return certificate->algorithm->name;
}

const char *certificate_thumbprint_member(const struct certificate *certificate)
{
	return certificate->algorithm->thumbprint_member;
}

const char *certificate_thumbprint(const struct certificate *certificate)
{
	return certificate->thumbprint;
}

/* base64 of its DER */
static void put_certificate(struct json_out *out, X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);
	char *encoded = len <= 0 ? NULL : malloc(4 * (((size_t)len + 2) / 3) + 1);
	if (encoded == NULL) {
		text_fail(&out->text);
	} else {
		base64_encode(der, (size_t)len, encoded);
		json_out_string(out, NULL, encoded);
	}
	free(encoded);
	OPENSSL_free(der);
}

void certificate_put_chain(
	const struct certificate *certificate, const char *name, struct json_out *out)
{
	const STACK_OF(X509) *all = certificate->content.certificates;
	json_out_begin(out, name, '[');
	put_certificate(out, certificate->own);
	for (int i = 0; i < sk_X509_num(all); i++)
		if (sk_X509_value(all, i) != certificate->own)
			put_certificate(out, sk_X509_value(all, i));
	json_out_end(out, ']');
}

/* What OpenSSL makes of a signature by EC, in the form of JWS: RFC 7518, 3.4. Returns its length.
 */
static size_t flatten(
	const struct algorithm *algorithm, unsigned char signature[SIGNATURE_MAX], size_t len)
{
	const unsigned char *place = signature;
	int half = algorithm->number_len;
	ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &place, (long)len);
	bool is_flat = numbers != NULL &&
		       BN_bn2binpad(ECDSA_SIG_get0_r(numbers), signature, half) == half &&
		       BN_bn2binpad(ECDSA_SIG_get0_s(numbers), signature + half, half) == half;
	ECDSA_SIG_free(numbers);
	return is_flat ? 2 * (size_t)half : 0;
}

/* Returns the signature's length, or 0. */
static size_t sign(const struct certificate *certificate, const struct secret *signed_part,
	unsigned char signature[SIGNATURE_MAX])
{
	EVP_PKEY *key = certificate->content.key;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t len = SIGNATURE_MAX;
	bool is_signed = context != NULL && EVP_PKEY_get_size(key) <= SIGNATURE_MAX &&
			 EVP_DigestSignInit_ex(context, NULL, certificate->algorithm->digest,
				 certificate->content.library, NULL, key, NULL) == 1 &&
			 EVP_DigestSign(context, signature, &len,
				 (const unsigned char *)secret_bytes(signed_part),
				 secret_len(signed_part)) == 1;
	EVP_MD_CTX_free(context);
	if (!is_signed)
		return 0;
	return certificate->algorithm->number_len == 0
		       ? len
		       : flatten(certificate->algorithm, signature, len);
}

int certificate_sign(const struct certificate *certificate, const struct secret *signed_part,
	struct secret *out, struct error *err)
{
	unsigned char signature[SIGNATURE_MAX];
	char encoded[ENCODED_MAX];
	int result = 0;
	size_t len = sign(certificate, signed_part, signature);
	ERR_clear_error();
	if (len == 0)
		return error_set(err, ERR_SYSTEM,
			"OpenSSL does not sign by the certificate's private key (%s)",
			certificate->algorithm->name);
	base64url_encode(signature, len, encoded);
	if (secret_append_string(out, encoded) != 0)
		result = no_memory(err);
	OPENSSL_cleanse(signature, sizeof(signature));
	OPENSSL_cleanse(encoded, sizeof(encoded));
	return result;
}

void certificate_free(struct certificate *certificate)
{
	if (certificate == NULL)
		return;
	certificate_file_clear(&certificate->content);
	free(certificate);
}

void certificate_cleanup(struct certificate **certificate)
{
	certificate_free(*certificate);
}
