#include "emulator/servers.h"

#include "emulator/control.h"
#include "emulator/entra.h"
#include "emulator/managed_identity.h"
#include "emulator/sts.h"

#include <string.h>

const struct server_kind *const server_kinds[SERVER_COUNT] = {
	[SERVER_STS] = &sts_kind,
	[SERVER_ENTRA] = &entra_kind,
	[SERVER_IMDS] = &imds_kind,
	[SERVER_APP_SERVICE] = &app_service_kind,
	[SERVER_AZURE_ARC] = &azure_arc_kind,
	[SERVER_SERVICE_FABRIC] = &service_fabric_kind,
	[SERVER_AZURE_ML] = &azure_ml_kind,
	[SERVER_CLOUD_SHELL] = &cloud_shell_kind,
	[SERVER_CONTROL] = &control_kind,
};

int server_index_of(const char *name)
{
	for (int i = 0; i < SERVER_CONTROL; i++)
		if (strcmp(server_kinds[i]->name, name) == 0)
			return i;
	return -1;
}
