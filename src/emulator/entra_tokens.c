#include "emulator/entra_tokens.h"

#include "emulator/random.h"

#include <stdio.h>
#include <string.h>

/* Entra dates its tokens back, for resources whose clock is behind. */
#define BACKDATED_S 300
#define UTI_LEN 22

static void add(struct json_object *claims, const char *name, const char *value)
{
	json_object_object_add(claims, name, json_object_new_string(value));
}

static void add_common(struct json_object *claims, struct emulator *emulator,
	const struct entra_grant *grant, const char *audience, int64_t lifetime_s)
{
	char issuer[384];
	char uti[UTI_LEN + 1] = "";
	int64_t now = emulator_now_s(emulator);
	int64_t expires_on = now + lifetime_s;
	int64_t issued_on = (lifetime_s > 0 ? now : expires_on) - BACKDATED_S;
	if (grant->version == 1)
		snprintf(issuer, sizeof(issuer), "https://sts.windows.net/%s/", grant->tenant_id);
	else
		snprintf(issuer, sizeof(issuer), "%s/%s/v2.0", grant->base, grant->tenant_id);
	random_word(uti, UTI_LEN, ALPHABET_BASE64URL);
	add(claims, "aud", audience);
	add(claims, "iss", issuer);
	json_object_object_add(claims, "iat", json_object_new_int64(issued_on));
	json_object_object_add(claims, "nbf", json_object_new_int64(issued_on));
	json_object_object_add(claims, "exp", json_object_new_int64(expires_on));
	add(claims, "tid", grant->tenant_id);
	add(claims, "uti", uti);
	add(claims, "ver", grant->version == 1 ? "1.0" : "2.0");
}

static void add_actor(struct json_object *claims, const struct entra_grant *grant)
{
	const char authentication[2] = {grant->authentication, '\0'};
	const bool is_v1 = grant->version == 1;
	add(claims, is_v1 ? "appid" : "azp", grant->client_id);
	add(claims, is_v1 ? "appidacr" : "azpacr", authentication);
	if (grant->user == NULL) {
		add(claims, "idtyp", "app");
		add(claims, "oid", grant->object_id);
		add(claims, "sub", grant->object_id);
	} else {
		add(claims, "oid", grant->user->object_id);
		add(claims, "sub", grant->user->object_id);
		add(claims, "name", grant->user->username);
		add(claims, is_v1 ? "upn" : "preferred_username", grant->user->username);
		add(claims, "scp", grant->scopes);
	}
	if (grant->resource_id != NULL)
		add(claims, "xms_mirid", grant->resource_id);
}

/* Sign the claims, which are put. */
static char *sign(struct emulator *emulator, const struct entra_grant *grant,
	struct json_object *claims, struct error *err)
{
	const struct signing_key *key = emulator->entra_key;
	char header[160];
	if (grant->version == 1)
		snprintf(header, sizeof(header),
			"{\"typ\":\"JWT\",\"alg\":\"RS256\",\"x5t\":\"%s\",\"kid\":\"%s\"}",
			key->x5t, key->x5t);
	else
		snprintf(header, sizeof(header),
			"{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"%s\"}", key->x5t);
	const char *payload = json_object_to_json_string_ext(
		claims, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	char *token = NULL;
	if (payload == NULL)
		error_set(err, ERR_NO_MEMORY, "no memory for the claims of a token");
	else
		token = signing_key_sign(key, header, payload, err);
	json_object_put(claims);
	return token;
}

char *entra_access_token(struct emulator *emulator, const struct entra_grant *grant,
	int64_t lifetime_s, struct error *err)
{
	struct json_object *claims = json_object_new_object();
	add_common(claims, emulator, grant, grant->audience, lifetime_s);
	add_actor(claims, grant);
	return sign(emulator, grant, claims, err);
}

char *entra_id_token(struct emulator *emulator, const struct entra_grant *grant, int64_t lifetime_s,
	struct error *err)
{
	struct entra_grant own = *grant;
	own.version = 2; /* what the v2.0 endpoint gives, whatever the resource takes */
	struct json_object *claims = json_object_new_object();
	add_common(claims, emulator, &own, grant->client_id, lifetime_s);
	add(claims, "oid", grant->user->object_id);
	add(claims, "sub", grant->user->object_id);
	add(claims, "name", grant->user->username);
	add(claims, "preferred_username", grant->user->username);
	return sign(emulator, &own, claims, err);
}
