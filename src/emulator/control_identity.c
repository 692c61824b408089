#include "emulator/control_call.h"

#include "emulator/managed_identity.h"

#include <stdio.h>

void control_get_identities(struct control_call *call)
{
	control_reply_list(call, "identities", identities_list(call->emulator->identities));
}

void control_put_identity(struct control_call *call)
{
	struct error err = ERROR_INIT;
	struct identity identity;
	int added = -1;
	if (identity_from_json(&identity, call->rest, call->body, &err) == 0)
		added = identities_put(call->emulator->identities, &identity, &err);
	if (added < 0)
		control_reply_failure(call, &err);
	else
		control_reply(call, added == 1 ? 201 : 200, identity_json(&identity));
}

void control_delete_identity(struct control_call *call)
{
	control_reply_deleted(call, identities_remove(call->emulator->identities, call->rest),
		"there is no such identity");
}

/* A variable whose value is where the server is, and a path there. */
static void add_address(struct json_object *json, const struct control_call *call, const char *name,
	enum server_index server, const char *path)
{
	char url[128];
	snprintf(url, sizeof(url), "%s://127.0.0.1:%u%s",
		server_kinds[server]->has_tls ? "https" : "http",
		(unsigned)server_port(call->emulator->servers[server]), path);
	json_object_object_add(json, name, json_object_new_string(url));
}

/* Add a source's variables; returns them, to be filled further. */
static struct json_object *add_source(struct json_object *json, enum server_index server)
{
	struct json_object *variables = json_object_new_object();
	json_object_object_add(json, server_kinds[server]->name, variables);
	return variables;
}

/* What a host of each kind puts into the environment of its processes: azure-protocol.md C.1. */
void control_get_environment(struct control_call *call)
{
	const struct identity_secrets *secrets = &call->emulator->identity_secrets;
	struct json_object *json = json_object_new_object();
	char tenant_id[UUID_SIZE] = "";
	struct json_object *entra = add_source(json, SERVER_ENTRA);
	add_address(entra, call, "AZURE_AUTHORITY_HOST", SERVER_ENTRA, "");
	if (tenants_find(call->emulator->tenants, "organizations", tenant_id))
		identity_add_string(entra, "AZURE_TENANT_ID", tenant_id);
	add_address(add_source(json, SERVER_IMDS), call, "AZURE_POD_IDENTITY_AUTHORITY_HOST",
		SERVER_IMDS, "");
	struct json_object *app_service = add_source(json, SERVER_APP_SERVICE);
	add_address(app_service, call, "IDENTITY_ENDPOINT", SERVER_APP_SERVICE,
		app_service_source.path);
	identity_add_string(app_service, "IDENTITY_HEADER", secrets->app_service);
	struct json_object *arc = add_source(json, SERVER_AZURE_ARC);
	add_address(arc, call, "IDENTITY_ENDPOINT", SERVER_AZURE_ARC, azure_arc_source.path);
	add_address(arc, call, "IMDS_ENDPOINT", SERVER_AZURE_ARC, "");
	struct json_object *fabric = add_source(json, SERVER_SERVICE_FABRIC);
	add_address(fabric, call, "IDENTITY_ENDPOINT", SERVER_SERVICE_FABRIC,
		service_fabric_source.path);
	identity_add_string(fabric, "IDENTITY_HEADER", secrets->service_fabric);
	identity_add_string(
		fabric, "IDENTITY_SERVER_THUMBPRINT", call->emulator->server_thumbprint);
	struct json_object *ml = add_source(json, SERVER_AZURE_ML);
	add_address(ml, call, "MSI_ENDPOINT", SERVER_AZURE_ML, azure_ml_source.path);
	identity_add_string(ml, "MSI_SECRET", secrets->azure_ml);
	add_address(add_source(json, SERVER_CLOUD_SHELL), call, "MSI_ENDPOINT", SERVER_CLOUD_SHELL,
		cloud_shell_source.path);
	control_reply(call, 200, json);
}
