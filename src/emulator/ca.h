/*
 * The emulator's own certificate authority, and the certificate of its server.
 *
 * The authority's key and certificate stay in the directory (ca-key.pem, ca.pem), so that clients
 * go on trusting the emulator after a restart; the server's are made anew at each start and stay in
 * memory. The authority may sign for loopback names and addresses only.
 */
#ifndef MRTOKEND_EMULATOR_CA_H
#define MRTOKEND_EMULATOR_CA_H

#include "base/error.h"

#include <stdbool.h>

/* A server's key and certificate as PEM; see ca_identity_free(). */
struct ca_identity {
	char *key_pem;
	char *certificate_pem;
};

/*
 * Take the authority in the directory, or make one, and issue a certificate for the server:
 * 127.0.0.1,
 * ::1, localhost, sts.localhost and *.localhost, EC P-256.
 *
 * identity  set on success only
 * is_new    whether an authority was made
 *
 * Returns 0, or -1 with *err: ERR_SYSTEM, or ERR_CONFIGURATION when ca.pem is another program's.
 * One thread, before the servers start.
 */
int ca_issue(int directory_fd, struct ca_identity *identity, bool *is_new, struct error *err);

#define CA_THUMBPRINT_LEN 40

/*
 * The SHA-1 of the server's certificate in upper-case hexadecimal: how clients of Service Fabric
 * know it. Returns whether it could be made.
 */
bool ca_identity_thumbprint(
	const struct ca_identity *identity, char thumbprint[CA_THUMBPRINT_LEN + 1]);

/* Wipes the key. */
void ca_identity_free(struct ca_identity *identity);

#endif
