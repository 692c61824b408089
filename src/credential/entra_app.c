#include "credential/entra_app.h"

#include "base/text.h"
#include "credential/authority.h"

#include <stdlib.h>
#include <string.h>

static int fill_in(
	struct entra_app *app, const struct credential_settings *settings, struct error *err)
{
	if (tenant_id_check(settings->tenant_id, err) != 0)
		return error_wrap(err, "tenant_id");
	app->tenant_id = strdup(settings->tenant_id);
	app->client_id = strdup(settings->client_id);
	app->ca_file = settings->ca_file == NULL ? NULL : strdup(settings->ca_file);
	if (app->tenant_id == NULL || app->client_id == NULL ||
		(settings->ca_file != NULL && app->ca_file == NULL))
		return error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
	app->authority = authority_resolve(settings->authority, err);
	return app->authority == NULL ? -1 : 0;
}

int entra_app_open(
	struct entra_app *app, const struct credential_settings *settings, struct error *err)
{
	struct entra_app made = {0};
	if (fill_in(&made, settings, err) != 0) {
		entra_app_clear(&made);
		return -1;
	}
	*app = made;
	return 0;
}

struct entra_tenant entra_app_tenant(const struct entra_app *app)
{
	return (struct entra_tenant){app->authority, app->tenant_id, app->ca_file};
}

char *entra_app_token_endpoint(const struct entra_app *app)
{
	_cleanup_text_ struct text url = {0};
	text_appendf(&url, "%s/%s/oauth2/v2.0/token", app->authority, app->tenant_id);
	return text_steal(&url);
}

void entra_app_clear(struct entra_app *app)
{
	free(app->authority);
	free(app->tenant_id);
	free(app->client_id);
	free(app->ca_file);
	*app = (struct entra_app){0};
}
