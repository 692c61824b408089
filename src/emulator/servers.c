#include "emulator/servers.h"

#include "emulator/control.h"
#include "emulator/entra.h"
#include "emulator/sts.h"

#include <string.h>

const struct server_kind *const server_kinds[SERVER_COUNT] = {
	[SERVER_STS] = &sts_kind,
	[SERVER_ENTRA] = &entra_kind,
	[SERVER_CONTROL] = &control_kind,
};

int server_index_of(const char *name)
{
	for (int i = 0; i < SERVER_CONTROL; i++)
		if (strcmp(server_kinds[i]->name, name) == 0)
			return i;
	return -1;
}
