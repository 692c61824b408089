/*
 * A certificate with its private key, as it is registered with an app of Microsoft Entra ID: read
 * from PEM or PKCS#12, and signing by it. The key is plain only as long as this structure lives,
 * so whoever makes one signs and frees it. Any one thread. Source: azure-protocol.md B.3.
 */
#ifndef MRTOKEND_CREDENTIAL_CERTIFICATE_H
#define MRTOKEND_CREDENTIAL_CERTIFICATE_H

#include "base/error.h"
#include "base/json_out.h"
#include "base/secret.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct certificate;

/* Certificates in one file at most: a chain is three or four of them. */
#define CERTIFICATE_CHAIN_MAX 16

/*
 * Read a certificate and its key.
 *
 * file        the bytes of the file. PEM: the key and the certificates in any order, the first one
 *             that belongs to the key is the app's; a key is PKCS#8 or traditional, encrypted or
 *             not. PKCS#12: in DER, its old encryptions included where OpenSSL's legacy provider
 *             is installed
 * passphrase  of the key, or NULL; of no effect where the key is not encrypted
 *
 * Returns NULL with *err: ERR_SECRET_SOURCE, a sentence about the file that does not name it;
 * ERR_NO_MEMORY. Never asks anybody. Free with certificate_free().
 */
struct certificate *certificate_load(
	const struct secret *file, const struct secret *passphrase, struct error *err);

/* Unix seconds of its first and its last moment. */
struct certificate_validity {
	int64_t not_before;
	int64_t not_after;
};

struct certificate_validity certificate_validity(const struct certificate *certificate);

/* By how much this host's clock may be behind the one by which a certificate was made. */
#define CERTIFICATE_SKEW_S 300

/*
 * Whether it is valid at `now_s`, Unix seconds.
 * Returns 0, or -1 with *err: ERR_SECRET_SOURCE, which says since when it is not, or from when it
 * will be. Pure.
 */
int certificate_check_validity(
	const struct certificate_validity *validity, int64_t now_s, struct error *err);

/* How long ahead its end is told: so much, or a fifth of its life if that is shorter. */
#define CERTIFICATE_NOTICE_S (INT64_C(30) * 24 * 3600)

/* Whether its end is that near at `now_s`. Pure. */
bool certificate_ends_soon(const struct certificate_validity *validity, int64_t now_s);

/* "2026-11-24 19:39:00 UTC", for messages. */
#define CERTIFICATE_DATE_SIZE 32
void certificate_print_date(int64_t time_s, char out[CERTIFICATE_DATE_SIZE]);

/* What it signs with, as JWS names it: RS256, ES256, ES384, ES512. A constant. */
const char *certificate_algorithm(const struct certificate *certificate);

/*
 * The digest of the certificate by which Entra finds it, and the member of a JWS header that it
 * goes into: x5t with SHA-1 for RSA, as the SDK sends it, x5t#S256 with SHA-256 for EC, which has
 * no older clients to be like. Constants, and what lives as long as the certificate.
 */
const char *certificate_thumbprint_member(const struct certificate *certificate);
const char *certificate_thumbprint(const struct certificate *certificate);

/* Write the list of the JWS member x5c: the certificate, then the others of its file. */
void certificate_put_chain(
	const struct certificate *certificate, const char *name, struct json_out *out);

/*
 * Append the signature of all that `signed_part` holds by now, as JWS wants it: base64url without
 * padding, of PKCS#1 v1.5 for RSA, of r and s side by side for EC.
 * out  may be `signed_part`
 * Returns 0, or -1 with *err: ERR_NO_MEMORY, ERR_SYSTEM.
 */
int certificate_sign(const struct certificate *certificate, const struct secret *signed_part,
	struct secret *out, struct error *err);

/* Wipe and free. NULL is fine. */
void certificate_free(struct certificate *certificate);
#define _cleanup_certificate_ __attribute__((cleanup(certificate_cleanup)))
void certificate_cleanup(struct certificate **certificate);

#endif
