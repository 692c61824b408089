#include "emulator/token.h"

#include "base/text.h"
#include "emulator/accounts.h"
#include "emulator/random.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With claims as they are here the first one fits; this bounds the loop should they change. */
#define ROLLS_MAX 100

/* The claims in JSON. Every value is of characters that JSON need not escape. */
static bool append_claims(struct text *claims, const char *account_id, const char *tenant_id,
	int64_t issued_on, int64_t lifetime_s)
{
	char token_uuid[UUID_SIZE];
	char correlation_uuid[UUID_SIZE];
	if (!random_uuid(token_uuid) || !random_uuid(correlation_uuid))
		return false;
	int64_t expires_on = issued_on + lifetime_s;
	text_appendf(claims,
		"{\"jti\":\"%s\",\"cai\":\"%s\",\"tid\":\"%s\",\"aid\":\"%s\",\"aao\":-1,"
		"\"apr\":\"eastus\",",
		token_uuid, correlation_uuid, tenant_id, account_id);
	text_appendf(claims,
		"\"rid\":\"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/"
		"emulator/providers/Microsoft.MixedReality/SpatialAnchorsAccounts/%s\","
		"\"att\":\"Default\",",
		account_id);
	text_appendf(claims,
		"\"nbf\":%lld,\"exp\":%lld,\"iat\":%lld,"
		"\"iss\":\"https://sts.eastus.mixedreality.azure.com/\","
		"\"aud\":\"https://manage.sa.eastus.mixedreality.azure.com/\"}",
		(long long)issued_on, (long long)expires_on, (long long)issued_on);
	return text_string(claims) != NULL;
}

/* Whether a client that takes the payload for plain base64 can read it. */
static bool is_plain_base64(const char *token)
{
	const char *payload = strchr(token, '.') + 1;
	return strcspn(payload, "-_") >= strcspn(payload, ".");
}

char *token_issue(const struct signing_key *key, const char *account_id, const char *tenant_id,
	int64_t issued_on, int64_t lifetime_s, struct error *err)
{
	char id[ACCOUNT_ID_LEN + 1] = "";
	for (size_t i = 0; i < ACCOUNT_ID_LEN && account_id[i] != '\0'; i++)
		id[i] = (char)tolower((unsigned char)account_id[i]);
	char header[160];
	snprintf(header, sizeof(header),
		"{\"alg\":\"RS256\",\"kid\":\"%s\",\"x5t\":\"%s\",\"typ\":\"JWT\"}", key->kid,
		key->x5t);
	for (int i = 0; i < ROLLS_MAX; i++) {
		_cleanup_text_ struct text claims = {0};
		if (!append_claims(&claims, id, tenant_id, issued_on, lifetime_s))
			break;
		char *token = signing_key_sign(key, header, claims.data, err);
		if (token == NULL || is_plain_base64(token))
			return token;
		free(token);
	}
	error_set(err, ERR_SYSTEM, "cannot make a token");
	return NULL;
}
