/*
 * What the servers of the emulator share. The members are made before the first server starts and
 * freed after the last one stopped; each guards itself, so any thread may use any of them.
 */
#ifndef MRTOKEND_EMULATOR_EMULATOR_H
#define MRTOKEND_EMULATOR_EMULATOR_H

#include "emulator/accounts.h"
#include "emulator/faults.h"
#include "emulator/record.h"
#include "emulator/server.h"
#include "emulator/settings.h"
#include "emulator/stop.h"
#include "emulator/token.h"

/* In the order in which they start. The control interface is last: it looks at the others. */
enum server_index {
	SERVER_STS,
	SERVER_CONTROL,
	SERVER_COUNT,
};

struct emulator {
	struct stop stop;
	struct settings settings;
	struct accounts *accounts;
	struct token_issuer *issuer;
	struct faults *faults;
	struct record *record;
	struct server *servers[SERVER_COUNT];
};

#endif
