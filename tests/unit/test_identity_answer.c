#include "credential/identity_answer.h"

#include "unit.h"

#define NOW_MS INT64_C(5000000)
#define NOW_S INT64_C(1700000000)
#define JSON "application/json; charset=utf-8"

static int64_t fixed_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return NOW_MS;
}

/* This host's own clock is wrong by ten years; the answer's Date is right. */
static int64_t wrong_realtime_s(const struct clock *clock)
{
	(void)clock;
	return NOW_S - INT64_C(315360000);
}

static const struct clock fixed_clock = {fixed_boottime_ms, wrong_realtime_s};
static const struct identity_shown nothing;

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

static struct http_response response_of(int status, const char *type, const char *body)
{
	struct http_response response = {
		.status = status, .server_date_s = NOW_S, .retry_after_s = -1};
	response.body = secret_from(body, strlen(body));
	ck_assert_ptr_nonnull(response.body);
	snprintf(response.content_type, sizeof(response.content_type), "%s", type);
	return response;
}

/* ---- a token -----------------------------------------------------------------------------------
 */

static int read_typed(
	const char *type, const char *body, struct access_token *token, struct error *err)
{
	struct http_response response = response_of(200, type, body);
	struct loop *loop = loop_new(&fixed_clock, err);
	ck_assert_ptr_nonnull(loop);
	*err = ERROR_INIT;
	int result = identity_answer_token(&response, &nothing, NOW_MS - 1000, loop, token, err);
	loop_free(loop);
	secret_free(response.body);
	return result;
}

static void assert_token(const char *body, int64_t expires_on, int64_t lives_s, int64_t refresh_s)
{
	struct access_token token = {0};
	struct error err;
	ck_assert_msg(read_typed(JSON, body, &token, &err) == 0, "%s: %s", body, err.message);
	ck_assert_str_eq(secret_bytes(token.token), "eyJ.eyJ.sig");
	ck_assert_msg(token.expires_on == expires_on, "%s: %" PRId64, body, token.expires_on);
	ck_assert_msg(token.dead_at_ms == NOW_MS - 1000 + lives_s * 1000, "%s: %" PRId64, body,
		token.dead_at_ms);
	ck_assert_int_eq(
		token.refresh_at_ms, refresh_s < 0 ? -1 : NOW_MS - 1000 + refresh_s * 1000);
	ck_assert(!token.is_account_key && !token.is_static);
	secret_free(token.token);
}

static void assert_no_token(const char *body, const char *part)
{
	size_t before = bytes_in_use();
	struct access_token token = {.expires_on = -7};
	struct error err;
	ck_assert_msg(read_typed(JSON, body, &token, &err) == -1, "%s", body);
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_msg(strstr(err.message, part) != NULL, "%s: %s", body, err.message);
	ck_assert_int_eq(token.expires_on, -7); /* on success only */
	ck_assert_uint_eq(bytes_in_use(), before);
}

START_TEST(reads_the_answer_of_each_source)
{
	/* IMDS and Azure Arc */
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"client_id\":\"x\",\"expires_in\":\"3599\""
		     ",\"expires_on\":\"1700003599\",\"ext_expires_in\":\"3599\",\"not_before\":"
		     "\"1699999700\",\"resource\":\"https://x\",\"token_type\":\"Bearer\"}",
		NOW_S + 3599, 3599, -1);
	/* App Service */
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_on\":\"1700086400\","
		     "\"resource\":\"https://x\",\"token_type\":\"Bearer\",\"client_id\":\"x\"}",
		NOW_S + 86400, 86400, -1);
	/* Service Fabric */
	assert_token("{\"token_type\":\"Bearer\",\"access_token\":\"eyJ.eyJ.sig\","
		     "\"expires_on\":1700086400,\"resource\":\"https://x\"}",
		NOW_S + 86400, 86400, -1);
	/* Azure Machine Learning, and App Service of 2017 */
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_on\":\"11/15/2023 22:13:20 "
		     "+00:00\",\"resource\":\"https://x\",\"token_type\":\"Bearer\"}",
		NOW_S + 86400, 86400, -1);
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_on\":\"11/15/2023 10:13:20 PM "
		     "+00:00\",\"resource\":\"https://x\",\"token_type\":\"Bearer\"}",
		NOW_S + 86400, 86400, -1);
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_on\":"
		     "\"2023-11-15T22:13:20Z\",\"resource\":\"https://x\"}",
		NOW_S + 86400, 86400, -1);
	/* Cloud Shell */
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"refresh_token\":\"\",\"expires_in\":"
		     "\"3600\",\"expires_on\":\"1700003600\",\"not_before\":\"1699999700\","
		     "\"resource\":\"https://x\",\"token_type\":\"Bearer\"}",
		NOW_S + 3600, 3600, -1);
}
END_TEST

START_TEST(takes_one_time_where_the_other_is_missing)
{
	assert_token(
		"{\"access_token\":\"eyJ.eyJ.sig\",\"expires_in\":3600}", NOW_S + 3600, 3600, -1);
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_in\":\"3600\",\"expires_on\":"
		     "\"\"}",
		NOW_S + 3600, 3600, -1);
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_in\":\"3600\",\"expires_on\":"
		     "null,\"refresh_in\":\"\",\"token_type\":null}",
		NOW_S + 3600, 3600, -1);
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_in\":\"\",\"expires_on\":"
		     "1700003600}",
		NOW_S + 3600, 3600, -1);
}
END_TEST

START_TEST(knows_when_to_refresh_where_it_is_told)
{
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_on\":\"1700086400\","
		     "\"refresh_in\":\"43200\"}",
		NOW_S + 86400, 86400, 43200);
	assert_token("{\"access_token\":\"eyJ.eyJ.sig\",\"expires_on\":\"1700086400\","
		     "\"refresh_in\":100,\"token_type\":\"bearer\"}",
		NOW_S + 86400, 86400, 100);
}
END_TEST

START_TEST(refuses_what_is_no_token)
{
	assert_no_token("{\"expires_in\":\"3600\"}", "has no member access_token with a string");
	assert_no_token("{\"access_token\":\"\",\"expires_in\":\"3600\"}", "access_token");
	assert_no_token("{\"access_token\":null,\"expires_in\":\"3600\"}", "access_token");
	assert_no_token("{\"access_token\":17,\"expires_in\":\"3600\"}", "access_token");
	assert_no_token("{\"access_token\":\"a\\nHost: evil\",\"expires_in\":\"3600\"}",
		"the byte at offset 1 of access_token has no place in a token");
	assert_no_token("{\"access_token\":\"a b\",\"expires_in\":\"3600\"}", "offset 1");
	assert_no_token("{\"access_token\":\"a\\u0000b\",\"expires_in\":\"3600\"}", "offset 1");
	assert_no_token("{\"access_token\":\"\\u00e4\",\"expires_in\":\"3600\"}", "offset 0");
	assert_no_token("{\"access_token\":\"a\",\"expires_in\":\"3600\",\"token_type\":\"pop\"}",
		"token_type is another one than Bearer");
}
END_TEST

START_TEST(refuses_a_time_that_is_none)
{
	assert_no_token("{\"access_token\":\"a\"}", "tells neither expires_on nor expires_in");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":\"\"}", "tells neither");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":\"soon\"}",
		"expires_on is neither a number of seconds nor a date");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":\"-1\"}", "expires_on is neither");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":-1}", "expires_on");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":[1]}", "expires_on");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":true}", "expires_on");
	assert_no_token(
		"{\"access_token\":\"a\",\"expires_on\":\"99999999999999999999\"}", "expires_on");
	assert_no_token("{\"access_token\":\"a\",\"expires_in\":\"1h\"}", "expires_in");
	assert_no_token("{\"access_token\":\"a\",\"expires_in\":{}}", "expires_in");
	assert_no_token("{\"access_token\":\"a\",\"expires_in\":\"3600\",\"refresh_in\":\"x\"}",
		"refresh_in");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":\"1700003600\",\"expires_in\":[]}",
		"expires_in");
}
END_TEST

START_TEST(refuses_a_token_that_has_expired)
{
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":\"1700000000\"}", "expires");
	assert_no_token("{\"access_token\":\"a\",\"expires_in\":\"0\"}", "expires");
	assert_no_token("{\"access_token\":\"a\",\"expires_on\":\"06/20/2019 02:57:58 +00:00\"}",
		"expires");
}
END_TEST

START_TEST(refuses_what_is_no_json_object)
{
	static const char *const bodies[] = {"", "null", "[]", "\"a\"", "{",
		"{\"access_token\":\"a\",\"expires_in\":\"36",
		"{\"access_token\":\"a\",\"expires_in\":3600} x",
		"{\"access_token\":\"a\",\"expires_in\":3600}{}", "<html>sign in</html>"};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++)
		assert_no_token(bodies[i], "not a complete JSON object");
}
END_TEST

START_TEST(refuses_the_page_of_a_captive_portal)
{
	struct access_token token = {0};
	struct error err;
	ck_assert_int_eq(read_typed("text/html", "<html>sign in</html>", &token, &err), -1);
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_ptr_nonnull(
		strstr(err.message, "found Content-Type text/html, expected application/json"));
	ck_assert_int_eq(read_typed("", "{}", &token, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "found Content-Type (none)"));
}
END_TEST

START_TEST(never_repeats_the_token)
{
	struct access_token token = {0};
	struct error err;
	static const char *const bodies[] = {
		"{\"access_token\":\"Qm9zc2E=\\n\",\"expires_in\":\"3600\"}",
		"{\"access_token\":\"Qm9zc2E=\",\"expires_on\":\"Qm9zc2E=\"}",
		"{\"access_token\":\"Qm9zc2E=\",\"expires_on\":\"1\",\"token_type\":\"Qm9zc2E=\"}",
		"{\"access_token\":\"Qm9zc2E=\",\"expires_on\":\"1\"}",
		"{\"access_token\":\"Qm9zc2E=\"",
	};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++) {
		ck_assert_int_eq(read_typed(JSON, bodies[i], &token, &err), -1);
		ck_assert_ptr_null(strstr(err.message, "Qm9zc2E"));
	}
}
END_TEST

/* ---- a complaint -------------------------------------------------------------------------------
 */

static struct error complain(const struct identity_source *source, int status, const char *body,
	enum identity_selector selector, const char *secret_line)
{
	struct error err = ERROR_INIT;
	struct identity_complaint complaint;
	struct http_response response = response_of(status, JSON, body);
	_cleanup_secret_ struct secret *line =
		secret_line == NULL ? NULL : secret_from(secret_line, strlen(secret_line));
	const struct identity_shown shown = {
		line, secret_line == NULL ? 0 : strlen("X-IDENTITY-HEADER: ")};
	identity_answer_complaint(&response, &shown, selector, &complaint);
	identity_answer_error(source, "http://127.0.0.1:1", &complaint, 17, &err);
	ck_assert_int_eq(err.http_status, status);
	ck_assert_int_eq(err.retry_after_s, 17);
	secret_free(response.body);
	return err;
}

static void assert_complaint(const struct identity_source *source, int status, const char *body,
	enum identity_selector selector, enum error_code code, const char *message)
{
	struct error err = complain(source, status, body, selector, NULL);
	ck_assert_str_eq(err.message, message);
	ck_assert_msg(err.code == code, "%s: %s", message, error_code_name(err.code));
}

START_TEST(says_what_imds_says)
{
	static const char not_found[] =
		"{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}";
	assert_complaint(&identity_imds, 400, not_found, IDENTITY_SYSTEM_ASSIGNED, ERR_UNAVAILABLE,
		"IMDS at http://127.0.0.1:1 answered 400 with invalid_request: Identity not found; "
		"no identity assigned to this host: switch on its system-assigned one, or assign "
		"one and name it by client_id, object_id or resource_id");
	for (int s = IDENTITY_CLIENT_ID; s < IDENTITY_SELECTOR_COUNT; s++)
		assert_complaint(&identity_imds, 400, not_found, s, ERR_UNAVAILABLE,
			"IMDS at http://127.0.0.1:1 answered 400 with invalid_request: Identity "
			"not found; the requested identity is not assigned to this host: assign "
			"it, or check client_id, object_id or resource_id");
	assert_complaint(&identity_imds, 400,
		"{\"error\":\"invalid_resource\",\"error_description\":\"AADSTS500011: The "
		"resource principal named https://x was not found\"}",
		IDENTITY_SYSTEM_ASSIGNED, ERR_UNAVAILABLE,
		"IMDS at http://127.0.0.1:1 answered 400 with invalid_resource: AADSTS500011: The "
		"resource principal named https://x was not found; check scope: the tenant has no "
		"such resource, or nobody has consented to it there");
	assert_complaint(&identity_imds, 403,
		"A socket operation was attempted to an Unreachable host", IDENTITY_SYSTEM_ASSIGNED,
		ERR_UNAVAILABLE,
		"IMDS at http://127.0.0.1:1 answered 403 with A socket operation was attempted to "
		"an Unreachable host; there is no metadata service to be reached from in here");
	assert_complaint(&identity_imds, 403, "{\"error\":\"forbidden\"}", IDENTITY_SYSTEM_ASSIGNED,
		ERR_DENIED, "IMDS at http://127.0.0.1:1 answered 403 with forbidden");
	assert_complaint(&identity_imds, 500, "network unreachable", IDENTITY_SYSTEM_ASSIGNED,
		ERR_UPSTREAM_FAULT,
		"IMDS at http://127.0.0.1:1 answered 500 with network unreachable");
	assert_complaint(&identity_imds, 429, "", IDENTITY_SYSTEM_ASSIGNED, ERR_THROTTLED,
		"IMDS at http://127.0.0.1:1 answered 429 with an empty body");
}
END_TEST

START_TEST(says_what_the_others_say)
{
	assert_complaint(&identity_app_service, 400,
		"{\"statusCode\":400,\"message\":\"No User Assigned or Delegated Managed Identity "
		"found\"}",
		IDENTITY_CLIENT_ID, ERR_REFUSED,
		"App Service at http://127.0.0.1:1 answered 400 with No User Assigned or Delegated "
		"Managed Identity found; check that the identity is assigned to the app, and "
		"client_id, object_id or resource_id");
	assert_complaint(&identity_app_service, 401, "{\"statusCode\":401}", IDENTITY_CLIENT_ID,
		ERR_DENIED,
		"App Service at http://127.0.0.1:1 answered 401 with {\"statusCode\":401}; check "
		"IDENTITY_HEADER, which the daemon read at its start");
	assert_complaint(&identity_service_fabric, 404,
		"{\"error\":{\"correlationId\":\"11111111-2222-3333-4444-555555555555\",\"code\":"
		"\"ManagedIdentityNotFound\",\"message\":\"none\"}}",
		IDENTITY_SYSTEM_ASSIGNED, ERR_REFUSED,
		"Service Fabric at http://127.0.0.1:1 answered 404 with ManagedIdentityNotFound: "
		"none, correlation id 11111111-2222-3333-4444-555555555555; check the identity "
		"that "
		"the application's manifest gives to the service");
	assert_complaint(&identity_azure_ml, 400, "{\"statusCode\":400,\"message\":\"m\"}",
		IDENTITY_CLIENT_ID, ERR_REFUSED,
		"Azure Machine Learning at http://127.0.0.1:1 answered 400 with m; check that the "
		"compute has the identity, and client_id (or DEFAULT_IDENTITY_CLIENT_ID in the "
		"environment)");
	assert_complaint(&identity_azure_ml, 403, "{\"statusCode\":403,\"message\":\"m\"}",
		IDENTITY_CLIENT_ID, ERR_DENIED,
		"Azure Machine Learning at http://127.0.0.1:1 answered 403 with m; check "
		"MSI_SECRET, which the daemon read at its start");
	assert_complaint(&identity_cloud_shell, 400,
		"{\"error\":{\"code\":\"AudienceNotSupported\",\"message\":\"Audience x is not a "
		"supported MSI token audience.\"}}",
		IDENTITY_SYSTEM_ASSIGNED, ERR_REFUSED,
		"Cloud Shell at http://127.0.0.1:1 answered 400 with AudienceNotSupported: "
		"Audience x is not a supported MSI token audience.");
	assert_complaint(&identity_azure_arc, 401,
		"{\"error\":\"unauthorized\",\"error_description\":\"no\",\"correlation_id\":"
		"\"11111111-2222-3333-4444-555555555555\"}",
		IDENTITY_SYSTEM_ASSIGNED, ERR_DENIED,
		"Azure Arc at http://127.0.0.1:1 answered 401 with unauthorized: no, correlation "
		"id 11111111-2222-3333-4444-555555555555; the agent did not take the key of its "
		"own "
		"file: see azcmagent(1) show");
	assert_complaint(&identity_cloud_shell, 302, "<html>moved</html>", IDENTITY_SYSTEM_ASSIGNED,
		ERR_REFUSED,
		"Cloud Shell at http://127.0.0.1:1 answered 302 with <html>moved</html>");
}
END_TEST

START_TEST(keeps_what_an_operator_needs_to_find_it_again)
{
	struct error err = complain(&identity_service_fabric, 500,
		"{\"error\":{\"correlationId\":\"11111111-2222-3333-4444-555555555555\",\"code\":"
		"\"InternalError\",\"message\":\"x\"}}",
		IDENTITY_SYSTEM_ASSIGNED, NULL);
	ck_assert_str_eq(err.upstream_code, "InternalError");
	ck_assert_str_eq(err.correlation_id, "11111111-2222-3333-4444-555555555555");
	err = complain(&identity_imds, 400,
		"{\"error\":\"invalid_resource\",\"error_description\":\"AADSTS500011: x\"}",
		IDENTITY_SYSTEM_ASSIGNED, NULL);
	ck_assert_str_eq(err.upstream_code, "AADSTS500011");
	err = complain(&identity_imds, 500, "{\"error\":\"e\",\"correlation_id\":\"no uuid\"}",
		IDENTITY_SYSTEM_ASSIGNED, NULL);
	ck_assert_str_eq(err.correlation_id, "");
}
END_TEST

START_TEST(never_repeats_the_secret_that_was_shown)
{
	static const char line[] = "X-IDENTITY-HEADER: 5ecre7-5ecre7-5ecre7";
	static const char *const bodies[] = {
		"{\"statusCode\":401,\"message\":\"bad 5ecre7-5ecre7-5ecre7\"}",
		"{\"error\":\"5ecre7-5ecre7\"}",
		"{\"error\":{\"code\":\"c\",\"message\":\"recre7-5ecre\"}}",
		"{\"message\":\"m\",\"correlationId\":\"5ecre7-5ecre7-5ecre7\"}",
		"found 5ecre7-5ecre7-5ecre7",
	};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++) {
		struct error err = complain(
			&identity_app_service, 401, bodies[i], IDENTITY_SYSTEM_ASSIGNED, line);
		ck_assert_msg(strstr(err.message, "ecre7-5") == NULL, "%s", err.message);
		ck_assert_ptr_null(strstr(err.upstream_code, "ecre7"));
		ck_assert_ptr_null(strstr(err.correlation_id, "ecre7"));
	}
}
END_TEST

START_TEST(cuts_what_is_long)
{
	char body[4000] = "{\"error\":\"";
	size_t len = strlen(body);
	for (size_t i = 0; i < 300; i++)
		strcpy(body + len + 10 * i, "word word ");
	strcat(body, "\",\"error_description\":\"");
	len = strlen(body);
	for (size_t i = 0; i < 90; i++)
		strcpy(body + len + 10 * i, "word word ");
	strcat(body, "\"}");
	struct error err = complain(&identity_imds, 500, body, IDENTITY_SYSTEM_ASSIGNED, NULL);
	ck_assert_uint_lt(strlen(err.message), 600);
	ck_assert_uint_lt(strlen(err.upstream_code), sizeof(err.upstream_code));
	err = complain(&identity_imds, 500,
		"eyJhbGciOiJSUzI1NiJ9eyJhbGciOiJSUzI1NiJ9eyJhbGciOiJSUzI1NiJ9 in the words",
		IDENTITY_SYSTEM_ASSIGNED, NULL);
	ck_assert_str_eq(
		err.message, "IMDS at http://127.0.0.1:1 answered 500 with * in the words");
}
END_TEST

UNIT_MAIN("identity_answer", reads_the_answer_of_each_source,
	takes_one_time_where_the_other_is_missing, knows_when_to_refresh_where_it_is_told,
	refuses_what_is_no_token, refuses_a_time_that_is_none, refuses_a_token_that_has_expired,
	refuses_what_is_no_json_object, refuses_the_page_of_a_captive_portal,
	never_repeats_the_token, says_what_imds_says, says_what_the_others_say,
	keeps_what_an_operator_needs_to_find_it_again, never_repeats_the_secret_that_was_shown,
	cuts_what_is_long)
