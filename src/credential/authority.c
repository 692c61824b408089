#include "credential/authority.h"

#include "base/text.h"
#include "credential/entra_grant.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VARIABLE "AZURE_AUTHORITY_HOST"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";

static const struct {
	const char *word;
	const char *authority;
} clouds[] = {
	{"public", ENTRA_AUTHORITY_PUBLIC},
	{"us_government", ENTRA_AUTHORITY_US_GOVERNMENT},
	{"china", ENTRA_AUTHORITY_CHINA},
};

static int keep(const char *string, char **authority, struct error *err)
{
	char *copy = strdup(string);
	if (copy == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot keep an authority: out of memory");
	*authority = copy;
	return 0;
}

/* HOST or HOST:PORT, of `len` bytes. */
static bool is_host_and_port(const char *place, size_t len)
{
	char port[8] = "";
	int64_t number = 0;
	size_t host = strspn(place, letters);
	if (host > len)
		host = len;
	if (host == 0 || host > 253 || strchr(".-", place[0]) != NULL ||
		strchr(".-", place[host - 1]) != NULL)
		return false;
	if (host == len)
		return true;
	if (place[host] != ':' || len - host - 1 >= sizeof(port))
		return false;
	memcpy(port, place + host + 1, len - host - 1);
	return parse_integer(port, 1, 65535, &number) == 0;
}

int authority_parse(const char *word, char **authority, struct error *err)
{
	static const char scheme[] = "https://";
	const char *place = word;
	for (size_t i = 0; i < sizeof(clouds) / sizeof(clouds[0]); i++)
		if (strcmp(clouds[i].word, word) == 0)
			return keep(clouds[i].authority, authority, err);
	/* The SDK refuses http too: what is shown there is worth as much as a password. */
	if (strncasecmp(word, "http://", 7) == 0)
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected https://HOST: credentials are not sent over plain "
			"http",
			word);
	if (strncasecmp(word, scheme, sizeof(scheme) - 1) == 0)
		place += sizeof(scheme) - 1;
	size_t len = strlen(place);
	while (len > 0 && strchr(" /", place[len - 1]) != NULL)
		len--;
	if (!is_host_and_port(place, len))
		return error_set(err, ERR_CONFIGURATION,
			"found '%s', expected public, us_government, china, or https://HOST or "
			"https://HOST:PORT, without a tenant behind it",
			word);
	_cleanup_text_ struct text made = {0};
	text_append(&made, scheme);
	text_append_bytes(&made, place, len);
	if (text_string(&made) == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot keep an authority: out of memory");
	for (char *c = made.data; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	*authority = text_steal(&made);
	return 0;
}

int authority_choose(const char *configured, char **authority, struct error *err)
{
	const char *word = getenv(VARIABLE);
	if (configured != NULL)
		return keep(configured, authority, err);
	if (word == NULL || word[0] == '\0')
		return keep(ENTRA_AUTHORITY_PUBLIC, authority, err);
	if (authority_parse(word, authority, err) == 0)
		return 0;
	return error_wrap(err, "environment variable " VARIABLE);
}

int tenant_id_check(const char *tenant_id, struct error *err)
{
	/* Dots alone would be steps up in the URL's path. */
	if (tenant_id[strspn(tenant_id, ".-")] != '\0' &&
		tenant_id[strspn(tenant_id, letters)] == '\0')
		return 0;
	return error_set(err, ERR_CONFIGURATION,
		"found '%s', expected a tenant's identifier or one of its domains: letters, "
		"digits, '-' and '.'",
		tenant_id);
}
