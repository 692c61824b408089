/*
 * What the servers of the emulator share. The members are made before the first server starts and
 * freed after the last one stopped; each guards itself, so any thread may use any of them.
 */
#ifndef MRTOKEND_EMULATOR_EMULATOR_H
#define MRTOKEND_EMULATOR_EMULATOR_H

#include "base/clock.h"
#include "emulator/accounts.h"
#include "emulator/apps.h"
#include "emulator/ca.h"
#include "emulator/faults.h"
#include "emulator/identity_secrets.h"
#include "emulator/kept_tokens.h"
#include "emulator/record.h"
#include "emulator/server.h"
#include "emulator/servers.h"
#include "emulator/settings.h"
#include "emulator/signing_key.h"
#include "emulator/stop.h"
#include "emulator/tenants.h"

struct device_codes;
struct refresh_tokens;
struct identities;
struct arc_keys;

struct emulator {
	struct stop stop;
	struct settings settings;
	struct accounts *accounts;
	struct tenants *tenants;
	struct apps *apps;
	struct device_codes *device_codes;
	struct refresh_tokens *refresh_tokens;
	struct identities *identities;
	struct identity_secrets identity_secrets;
	struct arc_keys *arc_keys;
	char server_thumbprint[CA_THUMBPRINT_LEN + 1];
	struct kept_tokens *kept_tokens; /* of Entra and the managed identities */
	struct signing_key *sts_key;
	struct signing_key *entra_key;
	struct faults *faults;
	struct record *record;
	struct server *servers[SERVER_COUNT];
};

/* The emulator's clock: Unix seconds. */
static inline int64_t emulator_now_s(struct emulator *emulator)
{
	return clock_realtime_s(&clock_system) + atomic_load(&emulator->settings.date_offset_s);
}

#endif
