/*
 * Errors of Microsoft Entra ID: the AADSTS codes that people meet, and the shape of an answer with
 * one. Source: azure-protocol.md B.7; which status and which OAuth code belong to a number is
 * Entra's, the sentences are ours.
 */
#ifndef MRTOKEND_EMULATOR_ENTRA_ERROR_H
#define MRTOKEND_EMULATOR_ENTRA_ERROR_H

#include "emulator/exchange.h"

/* The codes that the checks use. The table in entra_error.c has more, for faults. */
enum aadsts {
	AADSTS_NOT_FOUND = 1, /* no code of Entra's: the path does not exist, and has no body */
	AADSTS_PROTOCOL = 2, /* the same, for what is no HTTP/1.1 of a client's */
	AADSTS_INVALID_INSTANCE = 50049,
	AADSTS_MALFORMED_JWT = 50027,
	AADSTS_NO_TENANT = 50059,
	AADSTS_WRONG_PASSWORD = 50126,
	AADSTS_REVOKED = 50173,
	AADSTS_REDEEMED = 54005,
	AADSTS_NO_CONSENT = 65001,
	AADSTS_DECLINED = 65004,
	AADSTS_INVALID_GRANT = 70000,
	AADSTS_UNSUPPORTED_GRANT = 70003,
	AADSTS_INVALID_SCOPE = 70011,
	AADSTS_PENDING = 70016,
	AADSTS_BAD_DEVICE_CODE = 70018,
	AADSTS_DEVICE_CODE_EXPIRED = 70020,
	AADSTS_NO_FEDERATION = 70021,
	AADSTS_UNKNOWN_TENANT = 90002,
	AADSTS_TRANSIENT = 90033,
	AADSTS_THROTTLED = 90055,
	AADSTS_SLOW_DOWN = 700164,
	AADSTS_UNKNOWN_APP = 700016,
	AADSTS_ASSERTION_ISSUER = 700021,
	AADSTS_ASSERTION_AUDIENCE = 700023,
	AADSTS_ASSERTION_TIME = 700024,
	AADSTS_PUBLIC_APP = 700025,
	AADSTS_ASSERTION_SIGNATURE = 700027,
	AADSTS_REFRESH_EXPIRED = 700082,
	AADSTS_FEDERATION_ISSUER = 700211,
	AADSTS_FEDERATION_AUDIENCE = 700212,
	AADSTS_FEDERATION_SUBJECT = 700213,
	AADSTS_MALFORMED_TENANT = 900023,
	AADSTS_MISSING_PARAMETER = 900144,
	AADSTS_METHOD = 900561,
	AADSTS_CERTIFICATE_TIME = 1000502,
	AADSTS_JWT_ALGORITHM = 5002738,
	AADSTS_WRONG_SECRET = 7000215,
	AADSTS_NO_CREDENTIAL = 7000218,
	AADSTS_EXPIRED_SECRET = 7000222,
	AADSTS_MALFORMED = 9002313,
};

/* What Entra says for a code: static; never NULL. */
const char *entra_error_sentence(int aadsts);

/*
 * Fill an error's answer.
 *
 * aadsts    one of the above
 * sentence  static, in the place of the code's own; or NULL
 * detail    put behind the sentence: which parameter, which tenant; or NULL
 */
void entra_error_fill(
	const struct exchange *exchange, int aadsts, const char *sentence, const char *detail);

/* Fill the error that a fault asked for: by its code, or by its status alone. */
void entra_error_fill_scripted(const struct exchange *exchange);

#endif
