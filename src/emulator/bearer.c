#include "emulator/bearer.h"

#include "emulator/jwt.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SCHEME "https://"
#define SKEW_S 300

bool bearer_is_jwt(const char *token)
{
	const char *first = strchr(token, '.');
	const char *second = first == NULL ? NULL : strchr(first + 1, '.');
	return second != NULL && strchr(second + 1, '.') == NULL;
}

/*
 * Whether it names the STS: the constant that one client uses for every region, the host of a
 * region, or the host it was asked at. A slash at the end is as good as none (A.3).
 */
static bool is_for_sts(const char *audience, const char *host)
{
	static const char domain[] = "mixedreality.azure.com";
	static const char prefix[] = SCHEME "sts.";
	char name[256];
	size_t len = strlen(audience);
	if (len > 0 && audience[len - 1] == '/')
		len--;
	if (len >= sizeof(name) || len <= strlen(SCHEME))
		return false;
	memcpy(name, audience, len);
	name[len] = '\0';
	if (strncasecmp(name, SCHEME, strlen(SCHEME)) == 0 &&
		strcasecmp(name + strlen(SCHEME), host) == 0)
		return true;
	if (len < strlen(prefix) + strlen(domain) || strncasecmp(name, prefix, strlen(prefix)) != 0)
		return false;
	const char *rest = name + strlen(prefix);
	const char *end = name + len - strlen(domain);
	if (strcasecmp(end, domain) != 0)
		return false;
	/* Between them there is nothing, or one label and a dot. */
	return rest == end || (end[-1] == '.' && end - rest > 1 &&
				      memchr(rest, '.', (size_t)(end - rest) - 1) == NULL &&
				      strchr(rest, '/') == NULL);
}

static bool copy_uuid(char to[UUID_SIZE], struct json_object *claims, const char *name)
{
	const char *value = jwt_string(claims, name);
	if (value == NULL || !is_uuid(value))
		return false;
	for (size_t i = 0; i < UUID_SIZE; i++)
		to[i] = (char)tolower((unsigned char)value[i]);
	return true;
}

static const char *check_claims(
	struct emulator *emulator, const char *host, const struct jwt *jwt, struct bearer *bearer)
{
	char tenant_id[UUID_SIZE];
	int64_t expires_on = 0;
	int64_t not_before = 0;
	int64_t now = emulator_now_s(emulator);
	const char *audience = jwt_string(jwt->payload, "aud");
	if (!jwt_time(jwt, "exp", &expires_on) || expires_on <= now)
		return "The token has expired.";
	if (!jwt_time(jwt, "nbf", &not_before) || not_before > now + SKEW_S)
		return "The token is not valid yet.";
	if (audience == NULL || !is_for_sts(audience, host))
		return "The audience of the token is not the security token service.";
	if (!copy_uuid(bearer->tenant_id, jwt->payload, "tid") ||
		!tenants_find(emulator->tenants, bearer->tenant_id, tenant_id))
		return "The tenant of the token is unknown.";
	if ((!copy_uuid(bearer->client_id, jwt->payload, "appid") &&
		    !copy_uuid(bearer->client_id, jwt->payload, "azp")) ||
		!copy_uuid(bearer->object_id, jwt->payload, "oid"))
		return "The token names no app or no principal.";
	return NULL;
}

const char *bearer_check(
	struct emulator *emulator, const char *host, const char *token, struct bearer *bearer)
{
	_cleanup_jwt_ struct jwt jwt = {0};
	if (!jwt_parse(&jwt, token))
		return "The token is no JWT.";
	if (!jwt_is_signed_by(&jwt, emulator->entra_key->key))
		return "The signature of the token is not by Entra.";
	return check_claims(emulator, host, &jwt, bearer);
}
