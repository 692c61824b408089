#include "emulator/entra_error.h"

#include "emulator/random.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What a client waits that is not told for how long by the fault. */
#define THROTTLE_S "5"

static const struct row {
	int aadsts;
	int status;
	const char *error; /* OAuth's word; NULL for an answer without a body */
	const char *sentence;
} rows[] = {
	{AADSTS_NOT_FOUND, 404, NULL, "The path is none of Entra's."},
	{AADSTS_PROTOCOL, 400, NULL, "The request is no HTTP/1.1 with one Host."},
	{50011, 400, "invalid_request", "The redirect URI is not registered for the application."},
	{AADSTS_MALFORMED_JWT, 400, "invalid_request", "The JWT is malformed."},
	{AADSTS_INVALID_INSTANCE, 400, "invalid_instance", "The instance is unknown."},
	{AADSTS_NO_TENANT, 400, "invalid_request",
		"Neither the request nor a credential in it names a tenant."},
	{50076, 400, "interaction_required", "The user must use multi-factor authentication."},
	{50079, 400, "interaction_required", "The user must enrol in multi-factor authentication."},
	{AADSTS_WRONG_PASSWORD, 400, "invalid_grant", "The user name or the password is wrong."},
	{50158, 400, "interaction_required", "An external challenge is not satisfied."},
	{AADSTS_REVOKED, 400, "invalid_grant", "The grant has been revoked."},
	{50196, 400, "invalid_grant", "The client asks the same in a loop."},
	{AADSTS_REDEEMED, 400, "invalid_grant", "The code was redeemed before."},
	{AADSTS_NO_CONSENT, 400, "invalid_grant",
		"Nobody has consented that the application uses the resource."},
	{AADSTS_DECLINED, 400, "authorization_declined", "The user declined."},
	{AADSTS_INVALID_GRANT, 400, "invalid_grant", "The refresh token is not valid."},
	{AADSTS_UNSUPPORTED_GRANT, 400, "unsupported_grant_type",
		"The grant type is not supported."},
	{AADSTS_INVALID_SCOPE, 400, "invalid_scope", "The scope is not valid."},
	{AADSTS_PENDING, 400, "authorization_pending", "The user has not decided yet."},
	{AADSTS_BAD_DEVICE_CODE, 400, "bad_verification_code", "The device code is not valid."},
	{AADSTS_DEVICE_CODE_EXPIRED, 400, "expired_token", "The device code has expired."},
	{AADSTS_NO_FEDERATION, 401, "invalid_client",
		"No federated identity matches the assertion: the application has none."},
	{70043, 400, "invalid_grant", "The refresh token has expired by a policy."},
	{AADSTS_UNKNOWN_TENANT, 400, "invalid_request", "The tenant is not found."},
	{90013, 400, "invalid_request", "The input is not valid."},
	{AADSTS_TRANSIENT, 503, "temporarily_unavailable", "The service has a passing fault."},
	{AADSTS_THROTTLED, 429, "temporarily_unavailable", "There are too many requests."},
	{500011, 400, "invalid_resource", "The resource is not found in the tenant."},
	{AADSTS_UNKNOWN_APP, 400, "unauthorized_client",
		"The application is not found in the tenant."},
	{AADSTS_SLOW_DOWN, 400, "slow_down", "The client polls too often."},
	{AADSTS_ASSERTION_ISSUER, 401, "invalid_client",
		"Issuer or subject of the assertion is not the client_id."},
	{AADSTS_ASSERTION_AUDIENCE, 401, "invalid_client",
		"The audience of the assertion is not the token endpoint."},
	{AADSTS_ASSERTION_TIME, 401, "invalid_client",
		"The assertion is not within its valid time."},
	{AADSTS_PUBLIC_APP, 401, "invalid_client",
		"The client is public and must show neither secret nor assertion."},
	{AADSTS_ASSERTION_SIGNATURE, 401, "invalid_client",
		"The signature of the assertion is by no key registered for the application."},
	{AADSTS_REFRESH_EXPIRED, 400, "invalid_grant",
		"The refresh token has expired because it was not used."},
	{AADSTS_FEDERATION_ISSUER, 401, "invalid_client",
		"No federated identity has the issuer of the assertion."},
	{AADSTS_FEDERATION_AUDIENCE, 401, "invalid_client",
		"No federated identity has the audience of the assertion."},
	{AADSTS_FEDERATION_SUBJECT, 401, "invalid_client",
		"No federated identity has the subject of the assertion."},
	{AADSTS_MALFORMED_TENANT, 400, "invalid_request",
		"The tenant is neither an identifier nor a domain name."},
	{AADSTS_MISSING_PARAMETER, 400, "invalid_request",
		"The body of the request lacks a parameter."},
	{AADSTS_METHOD, 405, "invalid_request", "The endpoint does not take this method."},
	{AADSTS_CERTIFICATE_TIME, 401, "invalid_client",
		"The certificate is not within its valid time."},
	{AADSTS_JWT_ALGORITHM, 401, "invalid_client",
		"The algorithm of the assertion is neither RS256 nor PS256."},
	{7000112, 400, "unauthorized_client", "The application is disabled."},
	{AADSTS_WRONG_SECRET, 401, "invalid_client", "The client secret is wrong."},
	{AADSTS_NO_CREDENTIAL, 401, "invalid_client",
		"There must be a client_secret or a client_assertion."},
	{AADSTS_EXPIRED_SECRET, 401, "invalid_client", "The client secret has expired."},
	{AADSTS_MALFORMED, 400, "invalid_request", "The request is malformed."},
};

static const struct row *find(int aadsts)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].aadsts == aadsts)
			return &rows[i];
	return NULL;
}

const char *entra_error_sentence(int aadsts)
{
	const struct row *row = find(aadsts);
	return row == NULL ? EXCHANGE_TOLD : row->sentence;
}

/* The client's own identifier of the request, if it sent one, else a new one. */
static void correlate(const struct request *request, char correlation_id[UUID_SIZE])
{
	const char *given = request_header(request, "client-request-id", NULL);
	if (given != NULL && is_uuid(given))
		memcpy(correlation_id, given, UUID_SIZE);
	else
		random_uuid(correlation_id);
}

static void fill_body(const struct exchange *exchange, int aadsts, const char *word,
	const char *sentence, const char *detail)
{
	char trace_id[UUID_SIZE] = "";
	char correlation_id[UUID_SIZE] = "";
	char timestamp[32] = "";
	char uri[320];
	struct tm utc;
	time_t now = (time_t)emulator_now_s(exchange->emulator);
	char shown[200] = "";
	const char *host = request_header(exchange->request, "Host", NULL);
	if (detail != NULL)
		snprintf(shown, sizeof(shown), " %s", detail);
	error_make_printable(shown);
	random_uuid(trace_id);
	correlate(exchange->request, correlation_id);
	if (gmtime_r(&now, &utc) != NULL)
		strftime(timestamp, sizeof(timestamp), "%Y-%m-%d %H:%M:%SZ", &utc);
	snprintf(
		uri, sizeof(uri), "https://%.255s/error?code=%d", host == NULL ? "" : host, aadsts);
	_cleanup_text_ struct text description = {0};
	text_appendf(&description,
		"AADSTS%d: %s%s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s", aadsts,
		sentence, shown, trace_id, correlation_id, timestamp);
	const char *description_string = text_string(&description);
	struct json_object *json = json_object_new_object();
	struct json_object *codes = json_object_new_array();
	json_object_array_add(codes, json_object_new_int(aadsts));
	json_object_object_add(json, "error", json_object_new_string(word));
	json_object_object_add(json, "error_description",
		json_object_new_string(description_string == NULL ? "" : description_string));
	json_object_object_add(json, "error_codes", codes);
	json_object_object_add(json, "timestamp", json_object_new_string(timestamp));
	json_object_object_add(json, "trace_id", json_object_new_string(trace_id));
	json_object_object_add(json, "correlation_id", json_object_new_string(correlation_id));
	json_object_object_add(json, "error_uri", json_object_new_string(uri));
	if (aadsts == AADSTS_NO_CONSENT)
		json_object_object_add(
			json, "suberror", json_object_new_string("consent_required"));
	text_append(&exchange->answer->body,
		json_object_to_json_string_ext(
			json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(json);
	answer_set_header(exchange->answer, "Content-Type", "application/json; charset=utf-8");
}

void entra_error_fill(
	const struct exchange *exchange, int aadsts, const char *sentence, const char *detail)
{
	const struct row *row = find(aadsts);
	exchange->answer->status = row->status;
	if (row->error != NULL)
		fill_body(exchange, aadsts, row->error, sentence == NULL ? row->sentence : sentence,
			detail);
}

/* The code that a status has when nothing else is known. */
static int aadsts_of_status(int status)
{
	if (status == 429)
		return AADSTS_THROTTLED;
	if (status >= 500)
		return AADSTS_TRANSIENT;
	return status == 401 ? AADSTS_NO_CREDENTIAL : AADSTS_MALFORMED;
}

void entra_error_fill_scripted(const struct exchange *exchange)
{
	const struct fault *fault = exchange->fault;
	int status = (int)fault->status;
	exchange->answer->status = status;
	if (status == 429)
		answer_set_header(exchange->answer, "Retry-After", THROTTLE_S);
	if (status < 400)
		return;
	int aadsts = fault->aadsts == 0 ? aadsts_of_status(status) : (int)fault->aadsts;
	const struct row *row = find(aadsts);
	fill_body(exchange, aadsts,
		row == NULL || row->error == NULL ? "invalid_request" : row->error,
		entra_error_sentence(aadsts), NULL);
}
