/*
 * What a file with a certificate and its key holds, PEM or PKCS#12, before it is looked at whether
 * it fits together: certificate.h. Any one thread.
 */
#ifndef MRTOKEND_CREDENTIAL_CERTIFICATE_FILE_H
#define MRTOKEND_CREDENTIAL_CERTIFICATE_FILE_H

#include "base/error.h"
#include "base/secret.h"

#include <openssl/types.h>
#include <openssl/x509.h>

struct certificate_file {
	OSSL_LIB_CTX *library; /* that the rest belongs to, for old encryptions; NULL: the usual */
	OSSL_PROVIDER *providers[2]; /* of that library */
	EVP_PKEY *key; /* the first one of the file, or NULL */
	STACK_OF(X509) * certificates; /* in the order of the file */
};

/*
 * Read it. *content starts zeroed, and certificate_file_clear() is called for it in any case.
 * passphrase  of the key, or NULL
 * Returns 0, or -1 with *err: as certificate_load().
 */
int certificate_file_read(struct certificate_file *content, const struct secret *file,
	const struct secret *passphrase, struct error *err);

/* Wipe and free. */
void certificate_file_clear(struct certificate_file *content);

#endif
