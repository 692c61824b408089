/*
 * The servers of the emulator: which there are, and in which order they start.
 */
#ifndef MRTOKEND_EMULATOR_SERVERS_H
#define MRTOKEND_EMULATOR_SERVERS_H

#include "emulator/server.h"

/* The control interface is last: it looks at the others. */
enum server_index {
	SERVER_STS,
	SERVER_ENTRA,
	SERVER_IMDS,
	SERVER_APP_SERVICE,
	SERVER_AZURE_ARC,
	SERVER_SERVICE_FABRIC,
	SERVER_AZURE_ML,
	SERVER_CLOUD_SHELL,
	SERVER_CONTROL,
	SERVER_COUNT,
};

/* By enum server_index. Their names are those of endpoints.json, of the record and of faults. */
extern const struct server_kind *const server_kinds[SERVER_COUNT];

/* The index of the emulated service of that name (the control interface is none), or -1. */
int server_index_of(const char *name);

#endif
