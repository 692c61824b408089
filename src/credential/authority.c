#include "credential/authority.h"

#include "base/text.h"
#include "credential/entra_grant.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VARIABLE "AZURE_AUTHORITY_HOST"

static const struct {
	const char *name;
	const char *authority;
} clouds[] = {
	{"public", ENTRA_AUTHORITY_PUBLIC},
	{"us_government", ENTRA_AUTHORITY_US_GOVERNMENT},
	{"china", ENTRA_AUTHORITY_CHINA},
};

static int take(char **authority, char *made, struct error *err)
{
	if (made == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	free(*authority);
	*authority = made;
	return 0;
}

int authority_parse(char **authority, const char *value, struct error *err)
{
	static const char scheme[] = "https://";
	size_t scheme_len = sizeof(scheme) - 1;
	for (size_t i = 0; i < sizeof(clouds) / sizeof(clouds[0]); i++)
		if (strcmp(clouds[i].name, value) == 0)
			return take(authority, strdup(clouds[i].authority), err);
	size_t len = strlen(value);
	while (len > 0 && strchr("/ \t", value[len - 1]) != NULL)
		len--;
	_cleanup_text_ struct text made = {0};
	const char *host = strncasecmp(value, scheme, scheme_len) == 0 ? value + scheme_len : value;
	if (host > value + len)
		host = value + len;
	text_append(&made, scheme);
	text_append_bytes(&made, host, len - (size_t)(host - value));
	if (text_string(&made) == NULL)
		return error_set(err, ERR_NO_MEMORY, "out of memory");
	if (!is_host_and_port(made.data + scheme_len))
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected public, us_government, china, or https://HOST with "
			"perhaps a port, and nothing behind it",
			value);
	return take(authority, text_steal(&made), err);
}

char *authority_resolve(const char *configured, struct error *err)
{
	const char *variable = getenv(VARIABLE);
	char *authority = NULL;
	if (configured == NULL && variable != NULL && variable[0] != '\0') {
		if (authority_parse(&authority, variable, err) != 0)
			error_wrap(err, "environment variable " VARIABLE);
		return authority;
	}
	authority = strdup(configured == NULL ? ENTRA_AUTHORITY_PUBLIC : configured);
	if (authority == NULL)
		error_set(err, ERR_NO_MEMORY, "out of memory");
	return authority;
}

int tenant_id_check(const char *tenant_id, struct error *err)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
	/* Dots alone would be steps up in the URL's path. */
	if (tenant_id[strspn(tenant_id, ".-")] != '\0' &&
		tenant_id[strspn(tenant_id, letters)] == '\0')
		return 0;
	return error_set(err, ERR_CONFIGURATION,
		"found '%s', expected the tenant's identifier or one of its domains", tenant_id);
}
