#include "credential/entra_grant.h"

#include "unit.h"

#define HOST "https://login.example.com"
#define SECRET "Sup3rS3cretOfTheApp"
#define TRACE "0d5ec75e-0000-4000-8000-00000000aaaa"
#define CORRELATION "c0a1c0de-0000-4000-8000-00000000bbbb"

#define IDENTIFIERS                                                     \
	",\"trace_id\":\"" TRACE "\",\"correlation_id\":\"" CORRELATION \
	"\",\"timestamp\":\"2024-03-01 00:00:00Z\""

/* What an answer of that status and body is. */
static struct error read_error(int status, const char *body, struct entra_error *error)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *shown = secret_from(SECRET, strlen(SECRET));
	struct http_response response = {
		.status = status,
		.body = secret_from(body, strlen(body)),
		.server_date_s = -1,
		.retry_after_s = -1,
	};
	entra_read_error(HOST, &response, shown, &err, error);
	secret_free(response.body);
	ck_assert_int_eq(err.http_status, status);
	ck_assert_int_ne(err.code, ERR_NONE);
	ck_assert_msg(strstr(err.message, HOST " answered ") == err.message, "%s", err.message);
	ck_assert_msg(strstr(err.message, SECRET) == NULL, "%s", err.message);
	for (const char *at = err.message; *at != '\0'; at++)
		ck_assert_msg(*at >= 0x20 && *at < 0x7f, "%s", err.message);
	return err;
}

static struct error read_aadsts(int status, int code)
{
	char body[512];
	snprintf(body, sizeof(body),
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS%d: It is so. Trace "
		"ID: " TRACE "\"" IDENTIFIERS "}",
		code);
	struct entra_error error;
	struct error err = read_error(status, body, &error);
	ck_assert_int_eq(error.code, code);
	return err;
}

static void assert_says(const struct error *err, const char *words)
{
	ck_assert_msg(strstr(err->message, words) != NULL, "no '%s' in: %s", words, err->message);
}

/* ---- the whole error ---------------------------------------------------------------------------
 */

START_TEST(tells_the_whole_error_in_one_sentence)
{
	struct entra_error error;
	struct error err = read_error(401,
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid "
		"client secret provided. Ensure the secret being sent is the value. Trace "
		"ID: " TRACE " Correlation ID: " CORRELATION
		" Timestamp: 2024-03-01 00:00:00Z\",\"error_codes\":[7000215]" IDENTIFIERS "}",
		&error);
	ck_assert_str_eq(err.message, HOST
		" answered 401 invalid_client: AADSTS7000215: Invalid client secret provided. "
		"Ensure the secret being sent is the value., trace id " TRACE
		", correlation id " CORRELATION ", 2024-03-01 00:00:00Z; client_secret is wrong: "
		"take the secret's value and not its identifier, or make a new one under "
		"'Certificates & secrets' of the app registration");
	ck_assert_int_eq(err.code, ERR_DENIED);
	ck_assert_str_eq(err.upstream_code, "AADSTS7000215");
	ck_assert_str_eq(err.correlation_id, CORRELATION);
	ck_assert_str_eq(error.error, "invalid_client");
	ck_assert_int_eq(error.code, 7000215);
}
END_TEST

START_TEST(takes_the_first_line_of_the_description)
{
	static const char *const rests[] = {
		"\\r\\nTrace ID: " TRACE "\\r\\nCorrelation ID: x",
		"\\nTrace ID: " TRACE,
		" Trace ID: " TRACE " Correlation ID: x Timestamp: y",
		"",
	};
	for (size_t i = 0; i < UNIT_COUNT(rests); i++) {
		char body[512];
		struct entra_error error;
		snprintf(body, sizeof(body),
			"{\"error\":\"invalid_request\",\"error_description\":\"AADSTS90002: "
			"Tenant 'x' not found.%s\"}",
			rests[i]);
		struct error err = read_error(400, body, &error);
		ck_assert_str_eq(err.message,
			HOST " answered 400 invalid_request: AADSTS90002: Tenant 'x' not found.; "
			     "check tenant_id and authority: there is no such tenant");
		ck_assert_str_eq(err.correlation_id, "");
	}
}
END_TEST

START_TEST(does_with_what_there_is)
{
	static const struct {
		const char *body;
		const char *message;
		const char *upstream_code;
	} cases[] = {
		{"{\"error\":\"temporarily_unavailable\"}",
			" answered 400 temporarily_unavailable: (no description)",
			"temporarily_unavailable"},
		{"{\"error\":\"invalid_grant\",\"error_description\":\"words\"}",
			" answered 400 invalid_grant: words", "invalid_grant"},
		{"{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS: words\"}",
			" answered 400 invalid_grant: AADSTS: words", "invalid_grant"},
		{"{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS0: words\"}",
			" answered 400 invalid_grant: AADSTS0: words", "invalid_grant"},
		{"{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS-5: words\"}",
			" answered 400 invalid_grant: AADSTS-5: words", "invalid_grant"},
		{"{\"error\":\"invalid_grant\",\"error_description\":5}",
			" answered 400 invalid_grant: (no description)", "invalid_grant"},
		{"{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS65001\"}",
			" answered 400 invalid_grant: AADSTS65001: (no description); an "
			"administrator of the tenant must consent to the app's permission for this "
			"scope",
			"AADSTS65001"},
		{"{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS12345678: new\"}",
			" answered 400 invalid_grant: AADSTS12345678: new", "AADSTS12345678"},
		{"{\"error\":\"e\",\"correlation_id\":\"c\"}",
			" answered 400 e: (no description), correlation id c", "e"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char expected[512];
		struct error err = read_error(400, cases[i].body, NULL);
		snprintf(expected, sizeof(expected), HOST "%s", cases[i].message);
		ck_assert_str_eq(err.message, expected);
		ck_assert_str_eq(err.upstream_code, cases[i].upstream_code);
	}
}
END_TEST

START_TEST(tells_of_what_is_no_error_of_entra)
{
	static const struct {
		int status;
		const char *body;
		const char *message;
		enum error_code code;
	} cases[] = {
		{403, "<html>Sign in to the hotel</html>",
			" answered 403 with <html>Sign in to the hotel</html>", ERR_DENIED},
		{502, "", " answered 502 with an empty body", ERR_UPSTREAM_FAULT},
		{302, "", " answered 302 with an empty body", ERR_REFUSED},
		{404, "{\"error\":{\"code\":\"NotFound\",\"message\":\"No route\"}}",
			" answered 404 with NotFound: No route", ERR_REFUSED},
		{407, "words",
			" answered 407 with words; check the proxy, and what https_proxy says of "
			"it",
			ERR_REFUSED},
		{401, "{\"error\":\"\"}", " answered 401 with {\"error\":\"\"}", ERR_DENIED},
		{429, "[]", " answered 429 with []", ERR_THROTTLED},
		{400, "{\"error\":\"inval", " answered 400 with {\"error\":\"inval", ERR_REFUSED},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char expected[256];
		struct entra_error error;
		struct error err = read_error(cases[i].status, cases[i].body, &error);
		snprintf(expected, sizeof(expected), HOST "%s", cases[i].message);
		ck_assert_str_eq(err.message, expected);
		ck_assert_int_eq(err.code, cases[i].code);
		ck_assert_str_eq(err.upstream_code, "");
		ck_assert_str_eq(error.error, "");
		ck_assert_int_eq(error.code, 0);
	}
}
END_TEST

START_TEST(passes_on_the_retry_after)
{
	struct error err = ERROR_INIT;
	struct http_response response = {
		.status = 429,
		.body = secret_from("{\"error\":\"temporarily_unavailable\"}", 35),
		.retry_after_s = 17,
	};
	entra_read_error(HOST, &response, NULL, &err, NULL);
	secret_free(response.body);
	ck_assert_int_eq(err.retry_after_s, 17);
	ck_assert_int_eq(err.code, ERR_THROTTLED);
}
END_TEST

/* ---- what it means -----------------------------------------------------------------------------
 */

START_TEST(knows_what_the_codes_mean_that_people_meet)
{
	static const struct {
		int code;
		enum error_code means;
		const char *advice;
	} cases[] = {
		{7000215, ERR_DENIED, "value and not its identifier"},
		{7000222, ERR_DENIED, "has expired"},
		{700016, ERR_REFUSED, "check client_id and tenant_id"},
		{90002, ERR_REFUSED, "no such tenant"},
		{900023, ERR_REFUSED, "check tenant_id"},
		{65001, ERR_DENIED, "consent"},
		{500011, ERR_REFUSED, "check scope"},
		{70011, ERR_REFUSED, "/.default"},
		{700027, ERR_DENIED, "not registered with the app"},
		{1000502, ERR_DENIED, "outside its validity"},
		{700024, ERR_DENIED, "clock"},
		{70021, ERR_DENIED, "federated credential"},
		{700211, ERR_DENIED, "issuer"},
		{700212, ERR_DENIED, "audience"},
		{700213, ERR_DENIED, "subject"},
		{7000218, ERR_DENIED, "confidential"},
		{700025, ERR_DENIED, "public client"},
		{50126, ERR_DENIED, "password"},
		{50076, ERR_DENIED, "sign in"},
		{50079, ERR_DENIED, "sign in"},
		{50158, ERR_DENIED, "sign in"},
		{700082, ERR_DENIED, "mrtoken login"},
		{50173, ERR_DENIED, "mrtoken login"},
		{70043, ERR_DENIED, "mrtoken login"},
		{90055, ERR_THROTTLED, "too often"},
		{50196, ERR_THROTTLED, "in a loop"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		for (int j = 0; j < 2; j++) {
			struct error err = read_aadsts(j == 0 ? 400 : 401, cases[i].code);
			ck_assert_msg(err.code == cases[i].means, "AADSTS%d: %s", cases[i].code,
				error_code_name(err.code));
			assert_says(&err, cases[i].advice);
		}
		ck_assert_ptr_nonnull(strstr(entra_advice(cases[i].code), cases[i].advice));
	}
	ck_assert_int_eq(read_aadsts(400, 90033).code, ERR_UPSTREAM_FAULT);
}
END_TEST

START_TEST(takes_an_unknown_code_for_what_the_status_says)
{
	static const struct {
		int status;
		enum error_code code;
	} cases[] = {
		{400, ERR_DENIED},
		{401, ERR_DENIED},
		{403, ERR_DENIED},
		{404, ERR_REFUSED},
		{408, ERR_TIMEOUT},
		{429, ERR_THROTTLED},
		{500, ERR_UPSTREAM_FAULT},
		{503, ERR_THROTTLED},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		ck_assert_int_eq(read_aadsts(cases[i].status, 1234567).code, cases[i].code);
	ck_assert_str_eq(entra_advice(1234567), "");
	ck_assert_str_eq(entra_advice(0), "");
}
END_TEST

START_TEST(believes_a_status_that_says_it_passes)
{
	/* A wrong secret is not known to be one while the service is in trouble. */
	ck_assert_int_eq(read_aadsts(500, 7000215).code, ERR_UPSTREAM_FAULT);
	ck_assert_int_eq(read_aadsts(503, 7000215).code, ERR_THROTTLED);
	ck_assert_int_eq(read_aadsts(429, 700016).code, ERR_THROTTLED);
}
END_TEST

/* ---- what is not shown -------------------------------------------------------------------------
 */

START_TEST(withholds_what_repeats_the_secret_and_still_tells_the_code)
{
	struct error err = read_error(401,
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: found " SECRET
		"\"}",
		NULL);
	assert_says(&err, "invalid_client: AADSTS7000215: (withheld");
	assert_says(&err, "client_secret is wrong");
	static const char *const bodies[] = {
		"{\"error\":\"" SECRET "\"}",
		"{\"error\":\"e\",\"correlation_id\":\"" SECRET "\"}",
		"{\"error\":\"e\",\"trace_id\":\"" SECRET "\"}",
		"{\"error\":\"e\",\"timestamp\":\"" SECRET "\"}",
		"{\"error\":{\"message\":\"" SECRET "\"}}",
		("you sent " SECRET),
		"client_secret=Sup3rS3cret%4FfTheApp",
	};
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++) {
		struct entra_error error;
		err = read_error(401, bodies[i], &error); /* which looks for it */
		ck_assert_ptr_null(strstr(err.message, "Sup3rS3"));
		ck_assert_ptr_null(strstr(err.upstream_code, "Sup3rS3"));
		ck_assert_ptr_null(strstr(err.correlation_id, "Sup3rS3"));
		ck_assert_ptr_null(strstr(error.error, "Sup3rS3"));
	}
}
END_TEST

START_TEST(keeps_room_for_the_advice_however_much_is_said)
{
	char body[8192];
	char words[6000];
	for (size_t i = 0; i < sizeof(words) - 1; i++)
		words[i] = i % 6 == 5 ? ' ' : 'w';
	words[sizeof(words) - 1] = '\0';
	snprintf(body, sizeof(body),
		"{\"error\":\"%.300s\",\"error_description\":\"AADSTS7000222: "
		"%s\",\"trace_id\":\"%.100s\",\"correlation_id\":\"%.100s\",\"timestamp\":\"%.100s"
		"\"}",
		words, words, words, words, words);
	struct entra_error error;
	struct error err = read_error(401, body, &error);
	assert_says(&err, "AADSTS7000222: www");
	assert_says(&err, "put it in the place of the old one");
	ck_assert_uint_lt(strlen(error.error), sizeof(error.error));
	ck_assert_uint_lt(strlen(err.correlation_id), sizeof(err.correlation_id));
}
END_TEST

START_TEST(shows_no_control_characters)
{
	struct error err = read_error(400, /* which looks for them */
		"{\"error\":\"a\\u001b[2J\",\"error_description\":\"AADSTS1: b\\u0007\xc3\xa4\","
		"\"correlation_id\":\"c\\u0000d\\t\"}",
		NULL);
	assert_says(&err, "a?[2J: AADSTS1: b???");
}
END_TEST

UNIT_MAIN("entra_error", tells_the_whole_error_in_one_sentence,
	takes_the_first_line_of_the_description, does_with_what_there_is,
	tells_of_what_is_no_error_of_entra, passes_on_the_retry_after,
	knows_what_the_codes_mean_that_people_meet, takes_an_unknown_code_for_what_the_status_says,
	believes_a_status_that_says_it_passes,
	withholds_what_repeats_the_secret_and_still_tells_the_code,
	keeps_room_for_the_advice_however_much_is_said, shows_no_control_characters)
