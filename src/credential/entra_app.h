/*
 * An app registration of Microsoft Entra ID: which one it is, and where it gets its tokens.
 * Source: azure-protocol.md B.1.
 */
#ifndef MRTOKEND_CREDENTIAL_ENTRA_APP_H
#define MRTOKEND_CREDENTIAL_ENTRA_APP_H

#include "base/error.h"
#include "credential/entra_grant.h"
#include "credential/settings.h"

/* Strings are owned. Zeroed is none. */
struct entra_app {
	char *authority; /* https://host[:port] */
	char *tenant_id;
	char *client_id;
	char *ca_file; /* or NULL */
};

/*
 * Take them from the settings, the authority from the environment where they name none. The main
 * thread, from a kind's open().
 * settings  with tenant_id and client_id
 * app       set on success only
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, ERR_NO_MEMORY. Free with entra_app_clear().
 */
int entra_app_open(
	struct entra_app *app, const struct credential_settings *settings, struct error *err);

/* Its tenant, as long as the app lives. */
struct entra_tenant entra_app_tenant(const struct entra_app *app);

/*
 * The URL that its grants are sent to, which is what its assertions are for.
 * Returns NULL when there is no memory; free().
 */
char *entra_app_token_endpoint(const struct entra_app *app);

void entra_app_clear(struct entra_app *app);

#endif
