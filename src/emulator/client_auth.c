#include "emulator/entra_call.h"

#include "emulator/jwt.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
/* By how much Entra lets clocks differ. */
#define SKEW_S 300
#define CERTIFICATE_MAX ((size_t)16384)

static int check_secret(struct entra_call *call, const char *given)
{
	_cleanup_secret_ struct secret *secret = secret_from(given, strlen(given));
	int found = AADSTS_WRONG_SECRET;
	for (size_t i = 0; i < call->app->secret_count; i++) {
		const struct app_secret *known = &call->app->secrets[i];
		if (!secret_equal(known->value, secret))
			continue;
		if (known->expires_on == 0 || known->expires_on > emulator_now_s(call->emulator)) {
			call->authentication = '1';
			return 0;
		}
		found = AADSTS_EXPIRED_SECRET;
	}
	return entra_refuse(call, found, NULL, call->app->client_id);
}

static int check_time(struct entra_call *call, const struct jwt *jwt)
{
	int64_t now = emulator_now_s(call->emulator);
	int64_t expires_on = 0;
	int64_t not_before = now;
	if (!jwt_time(jwt, "exp", &expires_on))
		return entra_refuse(call, AADSTS_MALFORMED_JWT, "The assertion has no exp.", NULL);
	jwt_time(jwt, "nbf", &not_before);
	if (expires_on + SKEW_S <= now || not_before - SKEW_S > now)
		return entra_refuse(call, AADSTS_ASSERTION_TIME, NULL, NULL);
	return 0;
}

/* Whether aud is the word, or a list with it: Kubernetes sends a list. */
static bool has_audience(const struct jwt *jwt, const char *word)
{
	struct json_object *audience = NULL;
	if (!json_object_object_get_ex(jwt->payload, "aud", &audience))
		return false;
	if (json_object_is_type(audience, json_type_string))
		return strcmp(json_object_get_string(audience), word) == 0;
	if (!json_object_is_type(audience, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(audience); i++) {
		struct json_object *entry = json_object_array_get_idx(audience, i);
		if (json_object_is_type(entry, json_type_string) &&
			strcmp(json_object_get_string(entry), word) == 0)
			return true;
	}
	return false;
}

/* ---- a certificate of the app's own: azure-protocol.md B.3 ---- */

/* Thumbprints are compared without the padding that one client leaves in. */
static bool is_thumbprint(const char *given, const char *known)
{
	size_t len = strcspn(given, "=");
	return len == strlen(known) && strncmp(given, known, len) == 0 &&
	       strspn(given + len, "=") == strlen(given + len);
}

static const struct app_certificate *find_certificate(
	const struct app *app, const char *x5t, const char *x5t_s256)
{
	for (size_t i = 0; i < app->certificate_count; i++) {
		const struct app_certificate *certificate = &app->certificates[i];
		if ((x5t == NULL || is_thumbprint(x5t, certificate->x5t)) &&
			(x5t_s256 == NULL || is_thumbprint(x5t_s256, certificate->x5t_s256)))
			return certificate;
	}
	return NULL;
}

/* The certificate of an entry of x5c: base64 of DER, without PEM lines. Or NULL. */
static X509 *read_chain_entry(struct json_object *entry)
{
	size_t len = (size_t)json_object_get_string_len(entry);
	const char *text = json_object_get_string(entry);
	if (!json_object_is_type(entry, json_type_string) || len > CERTIFICATE_MAX ||
		strpbrk(text, "-_") != NULL)
		return NULL;
	unsigned char *der = malloc(3 * len / 4 + 1);
	ssize_t decoded = der == NULL ? -1 : base64_decode(text, len, der);
	const unsigned char *place = der;
	X509 *certificate = decoded <= 0 ? NULL : d2i_X509(NULL, &place, decoded);
	free(der);
	ERR_clear_error();
	return certificate;
}

/* Whether the chain, if there is one, is of certificates and begins with the app's. */
static bool is_chain_good(const struct jwt *jwt, const struct app_certificate *certificate)
{
	struct json_object *chain = NULL;
	if (!json_object_object_get_ex(jwt->header, "x5c", &chain))
		return true;
	bool is_good =
		json_object_is_type(chain, json_type_array) && json_object_array_length(chain) > 0;
	for (size_t i = 0; is_good && i < json_object_array_length(chain); i++) {
		X509 *entry = read_chain_entry(json_object_array_get_idx(chain, i));
		is_good =
			entry != NULL && (i > 0 || X509_cmp(entry, certificate->certificate) == 0);
		X509_free(entry);
	}
	return is_good;
}

static bool is_certificate_valid(X509 *certificate, int64_t now_s)
{
	time_t now = (time_t)now_s;
	return X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
	       X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

/* The token endpoint, with the tenant as it was spelt or by its identifier. */
static bool is_for_this_endpoint(const struct entra_call *call, const struct jwt *jwt)
{
	const char *tenants[] = {call->tenant_word, call->tenant_id};
	for (size_t i = 0; i < 2; i++) {
		char endpoint[600];
		snprintf(endpoint, sizeof(endpoint), "%s/%s/oauth2/v2.0/token", call->base,
			tenants[i]);
		if (has_audience(jwt, endpoint))
			return true;
	}
	return false;
}

static int check_certificate(struct entra_call *call, const struct jwt *jwt)
{
	const char *issuer = jwt_string(jwt->payload, "iss");
	const char *subject = jwt_string(jwt->payload, "sub");
	const char *x5t = jwt_string(jwt->header, "x5t");
	const char *x5t_s256 = jwt_string(jwt->header, "x5t#S256");
	if (strcasecmp(issuer, call->app->client_id) != 0 ||
		strcasecmp(subject, call->app->client_id) != 0)
		return entra_refuse(call, AADSTS_ASSERTION_ISSUER, NULL, NULL);
	if (x5t == NULL && x5t_s256 == NULL)
		return entra_refuse(call, AADSTS_ASSERTION_SIGNATURE,
			"The assertion names no certificate by x5t or x5t#S256.", NULL);
	const struct app_certificate *certificate = find_certificate(call->app, x5t, x5t_s256);
	if (certificate == NULL)
		return entra_refuse(call, AADSTS_ASSERTION_SIGNATURE,
			"The thumbprint of the assertion is of no certificate registered for the "
			"application.",
			NULL);
	if (!is_chain_good(jwt, certificate))
		return entra_refuse(call, AADSTS_ASSERTION_SIGNATURE,
			"The x5c of the assertion does not begin with the application's "
			"certificate, or is no chain.",
			NULL);
	if (!jwt_is_signed_by(jwt, X509_get0_pubkey(certificate->certificate)))
		return entra_refuse(call, AADSTS_ASSERTION_SIGNATURE, NULL, NULL);
	if (!is_certificate_valid(certificate->certificate, emulator_now_s(call->emulator)))
		return entra_refuse(call, AADSTS_CERTIFICATE_TIME, NULL, NULL);
	if (!is_for_this_endpoint(call, jwt))
		return entra_refuse(call, AADSTS_ASSERTION_AUDIENCE, NULL, NULL);
	/* Only its presence: Entra takes an assertion as often as a client shows it. */
	if (jwt_string(jwt->payload, "jti") == NULL)
		return entra_refuse(call, AADSTS_MALFORMED_JWT, "The assertion has no jti.", NULL);
	return check_time(call, jwt);
}

/* ---- a token of a federated issuer: azure-protocol.md B.4 ---- */

static bool is_signed_by_issuer(const struct jwt *jwt, const struct app_federation *federation)
{
	for (size_t i = 0; i < federation->key_count; i++)
		if (jwt_is_signed_by(jwt, federation->keys[i]))
			return true;
	return false;
}

static int check_federation(struct entra_call *call, const struct jwt *jwt)
{
	const char *issuer = jwt_string(jwt->payload, "iss");
	const char *subject = jwt_string(jwt->payload, "sub");
	const struct app_federation *match = NULL;
	int found =
		call->app->federation_count == 0 ? AADSTS_NO_FEDERATION : AADSTS_FEDERATION_ISSUER;
	for (size_t i = 0; i < call->app->federation_count && match == NULL; i++) {
		const struct app_federation *federation = &call->app->federations[i];
		if (strcmp(federation->issuer, issuer) != 0)
			continue;
		if (strcmp(federation->subject, subject) != 0)
			found = AADSTS_FEDERATION_SUBJECT;
		else if (!has_audience(jwt, federation->audience))
			found = AADSTS_FEDERATION_AUDIENCE;
		else
			match = federation;
	}
	if (match == NULL)
		return entra_refuse(call, found, NULL, NULL);
	if (!is_signed_by_issuer(jwt, match))
		return entra_refuse(call, AADSTS_ASSERTION_SIGNATURE,
			"The signature of the assertion is by no key of its issuer.", NULL);
	return check_time(call, jwt);
}

static int check_assertion(struct entra_call *call, const char *assertion)
{
	_cleanup_jwt_ struct jwt jwt = {0};
	const char *type = form_get(&call->form, "client_assertion_type");
	if (type == NULL || strcmp(type, ASSERTION_TYPE) != 0)
		return entra_refuse(call, AADSTS_MALFORMED,
			"The client_assertion_type is not " ASSERTION_TYPE ".", NULL);
	if (!jwt_parse(&jwt, assertion))
		return entra_refuse(call, AADSTS_MALFORMED_JWT, NULL, NULL);
	const char *issuer = jwt_string(jwt.payload, "iss");
	const char *subject = jwt_string(jwt.payload, "sub");
	if (issuer == NULL || subject == NULL)
		return entra_refuse(
			call, AADSTS_MALFORMED_JWT, "The assertion has no iss or no sub.", NULL);
	if (!jwt_has_known_algorithm(&jwt))
		return entra_refuse(call, AADSTS_JWT_ALGORITHM, NULL, NULL);
	call->authentication = '2';
	return strcasecmp(issuer, call->app->client_id) == 0 ||
			       strcasecmp(subject, call->app->client_id) == 0
		       ? check_certificate(call, &jwt)
		       : check_federation(call, &jwt);
}

int entra_authenticate(struct entra_call *call)
{
	const char *secret = form_get(&call->form, "client_secret");
	const char *assertion = form_get(&call->form, "client_assertion");
	const struct app *app = call->app;
	if (secret == NULL && assertion == NULL)
		return entra_refuse(call, AADSTS_NO_CREDENTIAL, NULL, NULL);
	if (secret != NULL && assertion != NULL)
		return entra_refuse(call, AADSTS_MALFORMED,
			"There are both a client_secret and a client_assertion.", NULL);
	if (assertion == NULL && form_get(&call->form, "client_assertion_type") != NULL)
		return entra_refuse(call, AADSTS_MALFORMED,
			"There is a client_assertion_type without a client_assertion.", NULL);
	if (app->is_public && app->secret_count == 0 && app->certificate_count == 0 &&
		app->federation_count == 0)
		return entra_refuse(call, AADSTS_PUBLIC_APP, NULL, NULL);
	return secret != NULL ? check_secret(call, secret) : check_assertion(call, assertion);
}
