/*
 * The Mixed Reality security token service: GET /Accounts/{accountId}/token.
 *
 * As strict as its clients are exact: what no client of the real service sends is refused, each
 * with a sentence that says what is wrong. Wire facts: azure-protocol.md A.1, A.2, A.4, A.5, A.7;
 * where those are silent (error bodies), mrtoken-emulator(1) says what was chosen.
 */
#ifndef MRTOKEND_EMULATOR_STS_H
#define MRTOKEND_EMULATOR_STS_H

#include "emulator/server.h"

/* Its context is a struct emulator. */
extern const struct server_kind sts_kind;

#endif
