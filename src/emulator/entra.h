/*
 * Microsoft Entra ID: the token endpoint, the device code endpoint, and the documents by which
 * clients find them. Wire facts: azure-protocol.md B; what it checks, and what it answers, is in
 * mrtoken-emulator(1).
 */
#ifndef MRTOKEND_EMULATOR_ENTRA_H
#define MRTOKEND_EMULATOR_ENTRA_H

#include "emulator/server.h"

/* Its context is a struct emulator. */
extern const struct server_kind entra_kind;

#endif
