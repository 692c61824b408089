#include "emulator/entra_call.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void discovery_check(struct entra_call *call)
{
	if (call->request->query != NULL)
		entra_refuse(call, AADSTS_MALFORMED, "There is a query.", NULL);
}

/* Add a member whose value is the base and what is behind it. */
static void add_url(
	struct json_object *json, const struct entra_call *call, const char *name, const char *tail)
{
	char url[1024];
	snprintf(url, sizeof(url), "%s/%s%s", call->base, call->tenant_word, tail);
	json_object_object_add(json, name, json_object_new_string(url));
}

static void add_list(struct json_object *json, const char *name, const char *const *values)
{
	struct json_object *list = json_object_new_array();
	for (; *values != NULL; values++)
		json_object_array_add(list, json_object_new_string(*values));
	json_object_object_add(json, name, list);
}

void openid_configuration_fill(struct entra_call *call, const struct exchange *exchange)
{
	static const char *const methods[] = {
		"client_secret_post", "private_key_jwt", "client_secret_basic", NULL};
	static const char *const modes[] = {"query", "fragment", "form_post", NULL};
	static const char *const subjects[] = {"pairwise", NULL};
	static const char *const algorithms[] = {"RS256", NULL};
	static const char *const types[] = {
		"code", "id_token", "code id_token", "id_token token", NULL};
	static const char *const scopes[] = {"openid", "profile", "email", "offline_access", NULL};
	char issuer[384];
	struct json_object *json = json_object_new_object();
	snprintf(issuer, sizeof(issuer), "%s/%s/v2.0", call->base, call->tenant_id);
	add_url(json, call, "token_endpoint", "/oauth2/v2.0/token");
	add_list(json, "token_endpoint_auth_methods_supported", methods);
	add_url(json, call, "jwks_uri", "/discovery/v2.0/keys");
	add_list(json, "response_modes_supported", modes);
	add_list(json, "subject_types_supported", subjects);
	add_list(json, "id_token_signing_alg_values_supported", algorithms);
	add_list(json, "response_types_supported", types);
	add_list(json, "scopes_supported", scopes);
	json_object_object_add(json, "issuer", json_object_new_string(issuer));
	json_object_object_add(
		json, "request_uri_parameter_supported", json_object_new_boolean(false));
	add_url(json, call, "authorization_endpoint", "/oauth2/v2.0/authorize");
	add_url(json, call, "device_authorization_endpoint", "/oauth2/v2.0/devicecode");
	json_object_object_add(json, "http_logout_supported", json_object_new_boolean(true));
	add_url(json, call, "end_session_endpoint", "/oauth2/v2.0/logout");
	json_object_object_add(json, "tenant_region_scope", json_object_new_string("NA"));
	json_object_object_add(
		json, "cloud_instance_name", json_object_new_string("microsoftonline.com"));
	entra_reply(exchange, json);
}

void key_set_fill(struct entra_call *call, const struct exchange *exchange)
{
	const struct signing_key *key = call->emulator->entra_key;
	struct json_object *json = json_object_new_object();
	struct json_object *keys = json_object_new_array();
	json_object_array_add(keys, signing_key_jwk(key, key->x5t));
	json_object_object_add(json, "keys", keys);
	entra_reply(exchange, json);
}

/*
 * The tenant of an authorization endpoint of this host: "https://{host}/{tenant}/oauth2/v2.0/
 * authorize", whose port real clients leave out. Returns whether it is one.
 */
static bool read_authorization_endpoint(struct entra_call *call, const char *endpoint)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "sts.localhost", "[::1]"};
	static const char *const tails[] = {"/oauth2/v2.0/authorize", "/oauth2/authorize"};
	static const char scheme[] = "https://";
	if (strncmp(endpoint, scheme, strlen(scheme)) != 0)
		return false;
	const char *host = endpoint + strlen(scheme);
	size_t host_len = strcspn(host, "/");
	const char *port = memrchr(host, ':', host_len);
	size_t name_len =
		port == NULL || memchr(port, ']', host_len - (size_t)(port - host)) != NULL
			? host_len
			: (size_t)(port - host);
	size_t i = 0;
	while (i < 4 &&
		(strlen(names[i]) != name_len || strncasecmp(host, names[i], name_len) != 0))
		i++;
	if (i == 4 || host[host_len] != '/')
		return false;
	const char *tenant = host + host_len + 1;
	size_t tenant_len = strcspn(tenant, "/");
	if (tenant_len == 0 || tenant_len > TENANT_DOMAIN_LEN_MAX ||
		(strcmp(tenant + tenant_len, tails[0]) != 0 &&
			strcmp(tenant + tenant_len, tails[1]) != 0))
		return false;
	memcpy(call->tenant_word, tenant, tenant_len);
	call->tenant_word[tenant_len] = '\0';
	return true;
}

void instance_check(struct entra_call *call)
{
	static const char *const needed[] = {"api-version", "authorization_endpoint", NULL};
	const char *version = form_get(&call->form, "api-version");
	if (strcmp(call->tenant_word, "common") != 0)
		entra_refuse(call, AADSTS_NOT_FOUND, NULL, NULL);
	else if (form_unknown(&call->form, needed) != NULL)
		entra_refuse(call, AADSTS_MALFORMED, "The query has an unknown parameter.", NULL);
	else if (entra_need_fields(call, needed) == 0 && strcmp(version, "1.0") != 0 &&
		 strcmp(version, "1.1") != 0)
		entra_refuse(
			call, AADSTS_MALFORMED, "The api-version is neither 1.0 nor 1.1.", NULL);
	else if (call->aadsts == 0 && !read_authorization_endpoint(call,
					      form_get(&call->form, "authorization_endpoint")))
		entra_refuse(call, AADSTS_INVALID_INSTANCE, NULL, NULL);
}

void instance_fill(struct entra_call *call, const struct exchange *exchange)
{
	const char *host = request_header(call->request, "Host", NULL);
	struct json_object *json = json_object_new_object();
	struct json_object *metadata = json_object_new_array();
	struct json_object *entry = json_object_new_object();
	struct json_object *aliases = json_object_new_array();
	add_url(json, call, "tenant_discovery_endpoint", "/v2.0/.well-known/openid-configuration");
	json_object_object_add(json, "api-version", json_object_new_string("1.1"));
	json_object_array_add(aliases, json_object_new_string(host));
	json_object_object_add(entry, "preferred_network", json_object_new_string(host));
	json_object_object_add(entry, "preferred_cache", json_object_new_string(host));
	json_object_object_add(entry, "aliases", aliases);
	json_object_array_add(metadata, entry);
	json_object_object_add(json, "metadata", metadata);
	entra_reply(exchange, json);
}
