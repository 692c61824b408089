#include "credential/identity_source.h"

#include "unit.h"

#define LOCAL "http://127.0.0.1:4001/msi/token"
#define RESOURCE "https://sts.mixedreality.azure.com/"
#define RESOURCE_ENCODED "https%3A%2F%2Fsts.mixedreality.azure.com%2F"
#define CLIENT "11111111-2222-3333-4444-555555555555"

/* ---- selection ---------------------------------------------------------------------------------
 */

static const char *selected(struct identity_environment environment)
{
	struct error err = ERROR_INIT;
	const struct identity_source *source = identity_source_select(&environment, &err);
	ck_assert_int_eq(source == NULL, err.code == ERR_UNAVAILABLE);
	return source == NULL ? "none" : source->name;
}

#define SELECTED(...) selected((struct identity_environment){__VA_ARGS__})

START_TEST(takes_imds_where_nothing_says_another)
{
	ck_assert_str_eq(SELECTED(.identity_endpoint = NULL), "IMDS");
	ck_assert_str_eq(SELECTED(.identity_endpoint = "", .msi_endpoint = ""), "IMDS");
	ck_assert_str_eq(SELECTED(.has_identity_header = true, .has_msi_secret = true,
				 .imds_endpoint = LOCAL, .identity_server_thumbprint = "00"),
		"IMDS");
	ck_assert_str_eq(SELECTED(.pod_identity_authority_host = "http://127.0.0.1:1"), "IMDS");
	ck_assert_str_eq(SELECTED(.default_identity_client_id = CLIENT), "IMDS");
}
END_TEST

START_TEST(takes_the_source_whose_variables_are_set)
{
	ck_assert_str_eq(SELECTED(.identity_endpoint = LOCAL, .has_identity_header = true,
				 .identity_server_thumbprint = "00"),
		"Service Fabric");
	ck_assert_str_eq(
		SELECTED(.identity_endpoint = LOCAL, .has_identity_header = true), "App Service");
	ck_assert_str_eq(SELECTED(.identity_endpoint = LOCAL, .has_identity_header = true,
				 .identity_server_thumbprint = ""),
		"App Service");
	ck_assert_str_eq(SELECTED(.identity_endpoint = LOCAL, .imds_endpoint = LOCAL), "Azure Arc");
	ck_assert_str_eq(
		SELECTED(.msi_endpoint = LOCAL, .has_msi_secret = true), "Azure Machine Learning");
	ck_assert_str_eq(SELECTED(.msi_endpoint = LOCAL), "Cloud Shell");
	ck_assert_str_eq(SELECTED(.has_federated_token = true), "workload identity");
	ck_assert_str_eq(SELECTED(.has_arc_agent = true), "Azure Arc");
}
END_TEST

START_TEST(takes_the_first_of_several_in_the_order_of_the_sdk)
{
	struct identity_environment all = {
		.identity_endpoint = LOCAL,
		.identity_server_thumbprint = "00",
		.imds_endpoint = LOCAL,
		.msi_endpoint = LOCAL,
		.pod_identity_authority_host = "http://127.0.0.1:1",
		.has_identity_header = true,
		.has_msi_secret = true,
		.has_federated_token = true,
		.has_arc_agent = true,
	};
	ck_assert_str_eq(selected(all), "Service Fabric");
	all.identity_server_thumbprint = NULL;
	ck_assert_str_eq(selected(all), "App Service");
	all.has_identity_header = false;
	ck_assert_str_eq(selected(all), "Azure Arc");
	all.identity_endpoint = NULL;
	ck_assert_str_eq(selected(all), "Azure Machine Learning");
	all.has_msi_secret = false;
	ck_assert_str_eq(selected(all), "Cloud Shell");
	all.msi_endpoint = NULL;
	ck_assert_str_eq(selected(all), "workload identity");
	all.has_federated_token = false;
	ck_assert_str_eq(selected(all), "IMDS"); /* a variable before a program */
	all.pod_identity_authority_host = NULL;
	ck_assert_str_eq(selected(all), "Azure Arc");
}
END_TEST

START_TEST(takes_none_where_an_endpoint_stands_alone)
{
	struct error err = ERROR_INIT;
	const struct identity_environment environment = {
		.identity_endpoint = LOCAL,
		.msi_endpoint = LOCAL,
		.has_msi_secret = true,
		.has_federated_token = true,
		.has_arc_agent = true,
	};
	ck_assert_ptr_null(identity_source_select(&environment, &err));
	ck_assert_int_eq(err.code, ERR_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.message, "expected IDENTITY_HEADER (App Service) or "
						  "IMDS_ENDPOINT (Azure Arc) with it"));
}
END_TEST

/* ---- addresses ---------------------------------------------------------------------------------
 */

static void assert_endpoint(const struct identity_source *source,
	struct identity_environment environment, const char *expected)
{
	_cleanup_text_ struct text found = {0};
	source->put_endpoint(&environment, &found);
	ck_assert_str_eq(text_string(&found), expected);
}

START_TEST(asks_imds_at_its_own_address_or_at_the_one_that_is_named)
{
	static const char *const authorities[] = {
		"http://127.0.0.1:4000", "http://127.0.0.1:4000/", "//http://127.0.0.1:4000//"};
	assert_endpoint(&identity_imds, (struct identity_environment){0},
		"http://169.254.169.254/metadata/identity/oauth2/token");
	assert_endpoint(&identity_imds,
		(struct identity_environment){.pod_identity_authority_host = ""},
		"http://169.254.169.254/metadata/identity/oauth2/token");
	for (size_t i = 0; i < UNIT_COUNT(authorities); i++)
		assert_endpoint(&identity_imds,
			(struct identity_environment){
				.pod_identity_authority_host = authorities[i]},
			"http://127.0.0.1:4000/metadata/identity/oauth2/token");
	assert_endpoint(&identity_imds,
		(struct identity_environment){.pod_identity_authority_host = "///"},
		"/metadata/identity/oauth2/token");
}
END_TEST

START_TEST(asks_the_others_where_their_variables_say)
{
	const struct identity_environment environment = {
		.identity_endpoint = "http://127.0.0.1:1/a",
		.msi_endpoint = "http://127.0.0.1:2/b",
		.imds_endpoint = "http://127.0.0.1:3/c",
	};
	assert_endpoint(&identity_app_service, environment, "http://127.0.0.1:1/a");
	assert_endpoint(&identity_service_fabric, environment, "http://127.0.0.1:1/a");
	assert_endpoint(&identity_azure_arc, environment, "http://127.0.0.1:1/a");
	assert_endpoint(&identity_azure_ml, environment, "http://127.0.0.1:2/b");
	assert_endpoint(&identity_cloud_shell, environment, "http://127.0.0.1:2/b");
	assert_endpoint(&identity_azure_arc, (struct identity_environment){0},
		"http://localhost:40342/metadata/identity/oauth2/token");
}
END_TEST

START_TEST(goes_by_http_to_this_host_only)
{
	static const struct {
		const char *endpoint;
		bool is_allowed;
	} cases[] = {
		{"http://127.0.0.1:8081/msi/token", true},
		{"http://localhost:42356/msi/token", true},
		{"http://169.254.169.254/metadata/identity/oauth2/token", true},
		{"http://169.254.129.2:8081/msi/token/", true},
		{"HTTP://127.0.0.1/", true},
		{"http://[::1]:80/token", true},
		{"https://10.0.0.4:2377/metadata/identity/oauth2/token", true},
		{"https://identity.example/token?api-version=1", true},
		{"http://10.0.0.4/token", false},
		{"http://example.com/token", false},
		{"http://127.0.0.1.example.com/token", false},
		{"http://localhost.example.com/token", false},
		{"http://2130706433/token", false},
		{"http://127.0.0.1@example.com/", false},
		{"https://user@example.com/", false},
		{"http://127.0.0.1/token#", false},
		{"http://127.0.0.1/to ken", false},
		{"http://127.0.0.1/to\nken", false},
		{"http://127.0.0.1/t\xc3\xb6ken", false},
		{"ftp://127.0.0.1/token", false},
		{"127.0.0.1:80", false},
		{"/metadata/identity/oauth2/token", false},
		{"", false},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = ERROR_INIT;
		int result = identity_source_check_endpoint(
			&identity_app_service, cases[i].endpoint, &err);
		ck_assert_msg(result == (cases[i].is_allowed ? 0 : -1), "%s", cases[i].endpoint);
		ck_assert_int_eq(err.code, cases[i].is_allowed ? ERR_NONE : ERR_CONFIGURATION);
		if (result != 0)
			ck_assert_msg(strstr(err.message, "IDENTITY_ENDPOINT: ") == err.message,
				"%s", err.message);
	}
}
END_TEST

START_TEST(goes_by_https_only_where_the_certificate_is_known)
{
	struct error err = ERROR_INIT;
	ck_assert_int_eq(identity_source_check_endpoint(&identity_service_fabric, LOCAL, &err), -1);
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_ptr_nonnull(strstr(err.message, "expected an https address"));
	ck_assert_int_eq(identity_source_check_endpoint(
				 &identity_service_fabric, "https://127.0.0.1:1/token", NULL),
		0);
}
END_TEST

START_TEST(makes_the_resource_by_taking_off_one_default)
{
	static const struct {
		const char *scope;
		const char *resource;
	} cases[] = {
		{"https://storage.azure.com/.default", "https://storage.azure.com"},
		{"https://sts.mixedreality.azure.com//.default", RESOURCE},
		{"https://x/.default/.default", "https://x/.default"},
		{"https://x/.defaults", "https://x/.defaults"},
		{"https://x.default", "https://x.default"},
		{"/.default", ""},
		{".default", ".default"},
		{"", ""},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		size_t len = identity_resource_len(cases[i].scope);
		ck_assert_uint_eq(len, strlen(cases[i].resource));
		ck_assert_int_eq(strncmp(cases[i].scope, cases[i].resource, len), 0);
	}
}
END_TEST

static void assert_url(const struct identity_source *source, const char *endpoint,
	enum identity_selector selector, const char *id, const char *expected)
{
	_cleanup_text_ struct text found = {0};
	identity_source_put_url(source, endpoint, RESOURCE, selector, id, &found);
	ck_assert_str_eq(text_string(&found), expected);
}

START_TEST(asks_each_source_with_its_own_words)
{
	assert_url(&identity_imds, LOCAL, IDENTITY_SYSTEM_ASSIGNED, NULL,
		LOCAL "?api-version=2018-02-01&resource=" RESOURCE_ENCODED);
	assert_url(&identity_app_service, LOCAL, IDENTITY_SYSTEM_ASSIGNED, NULL,
		LOCAL "?api-version=2019-08-01&resource=" RESOURCE_ENCODED);
	assert_url(&identity_service_fabric, LOCAL, IDENTITY_SYSTEM_ASSIGNED, NULL,
		LOCAL "?api-version=2019-07-01-preview&resource=" RESOURCE_ENCODED);
	assert_url(&identity_azure_arc, LOCAL, IDENTITY_SYSTEM_ASSIGNED, NULL,
		LOCAL "?api-version=2020-06-01&resource=" RESOURCE_ENCODED);
	assert_url(&identity_azure_ml, LOCAL, IDENTITY_SYSTEM_ASSIGNED, NULL,
		LOCAL "?api-version=2017-09-01&resource=" RESOURCE_ENCODED);
	assert_url(&identity_cloud_shell, LOCAL, IDENTITY_SYSTEM_ASSIGNED, NULL, LOCAL);
}
END_TEST

START_TEST(names_the_identity_in_the_words_of_the_source)
{
	static const struct {
		const struct identity_source *source;
		enum identity_selector selector;
		const char *parameter;
	} cases[] = {
		{&identity_imds, IDENTITY_CLIENT_ID, "client_id"},
		{&identity_imds, IDENTITY_OBJECT_ID, "object_id"},
		{&identity_imds, IDENTITY_RESOURCE_ID, "msi_res_id"},
		{&identity_app_service, IDENTITY_CLIENT_ID, "client_id"},
		{&identity_app_service, IDENTITY_OBJECT_ID, "object_id"},
		{&identity_app_service, IDENTITY_RESOURCE_ID, "mi_res_id"},
		{&identity_azure_ml, IDENTITY_CLIENT_ID, "clientid"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char expected[256];
		snprintf(expected, sizeof(expected), "%s?api-version=%s&resource=%s&%s=%s", LOCAL,
			cases[i].source->api_version, RESOURCE_ENCODED, cases[i].parameter,
			"%2Fa%20%26b%3D");
		assert_url(cases[i].source, LOCAL, cases[i].selector, "/a &b=", expected);
	}
}
END_TEST

START_TEST(has_words_for_what_it_refuses)
{
	static const struct identity_source *const sources[] = {&identity_service_fabric,
		&identity_azure_arc, &identity_azure_ml, &identity_cloud_shell,
		&identity_token_exchange, &identity_imds, &identity_app_service};
	for (size_t i = 0; i < UNIT_COUNT(sources); i++)
		for (int s = IDENTITY_CLIENT_ID; s < IDENTITY_SELECTOR_COUNT; s++)
			ck_assert_msg(sources[i]->selectors[s] != NULL ||
					      identity_is_set(sources[i]->refusal),
				"%s", sources[i]->name);
}
END_TEST

START_TEST(keeps_what_the_endpoint_says_already)
{
	assert_url(&identity_app_service, LOCAL "?api-version=1.0", IDENTITY_CLIENT_ID, CLIENT,
		LOCAL "?api-version=1.0&resource=" RESOURCE_ENCODED "&client_id=" CLIENT);
	assert_url(&identity_app_service, LOCAL "?a=b&resource", IDENTITY_CLIENT_ID, CLIENT,
		LOCAL "?a=b&resource&api-version=2019-08-01&client_id=" CLIENT);
	assert_url(&identity_app_service, LOCAL "?xresource=1&resource2=&api-version2",
		IDENTITY_SYSTEM_ASSIGNED, NULL,
		LOCAL "?xresource=1&resource2=&api-version2&api-version=2019-08-01&"
		      "resource=" RESOURCE_ENCODED);
	assert_url(&identity_app_service, LOCAL "?api-version=1&resource=2", IDENTITY_CLIENT_ID,
		CLIENT, LOCAL "?api-version=1&resource=2&client_id=" CLIENT);
	assert_url(
		&identity_cloud_shell, LOCAL "?a=b", IDENTITY_SYSTEM_ASSIGNED, NULL, LOCAL "?a=b");
}
END_TEST

/* ---- asking again ------------------------------------------------------------------------------
 */

/* The delays of a source that answers nothing else, in one string. */
static const char *delays_of(
	const struct identity_source *source, int status, int64_t retry_after_s)
{
	static char found[256];
	int64_t waited_ms = 0;
	found[0] = '\0';
	for (unsigned retries = 0;; retries++) {
		int64_t delay_ms =
			identity_retry_ms(source->retry, status, retry_after_s, retries, waited_ms);
		if (delay_ms < 0)
			return found;
		ck_assert_uint_lt(retries, 20);
		waited_ms += delay_ms;
		size_t len = strlen(found);
		snprintf(found + len, sizeof(found) - len, "%s%" PRId64, len > 0 ? " " : "",
			delay_ms);
	}
}

START_TEST(asks_imds_five_times_more)
{
	static const int passing[] = {404, 429, 500, 501, 503, 505, 599};
	for (size_t i = 0; i < UNIT_COUNT(passing); i++)
		ck_assert_str_eq(
			delays_of(&identity_imds, passing[i], -1), "1000 4000 8000 16000 32000");
}
END_TEST

START_TEST(gives_imds_more_than_seventy_seconds_to_come_back_when_it_is_gone)
{
	ck_assert_str_eq(delays_of(&identity_imds, 410, -1), "10000 10000 10000 16000 32000");
}
END_TEST

START_TEST(asks_the_others_three_times_more)
{
	static const struct identity_source *const others[] = {&identity_app_service,
		&identity_service_fabric, &identity_azure_arc, &identity_azure_ml,
		&identity_cloud_shell};
	static const int passing[] = {408, 429, 500, 502, 503, 504, 506, 599};
	static const int lasting[] = {404, 410, 501, 505};
	for (size_t i = 0; i < UNIT_COUNT(others); i++) {
		for (size_t k = 0; k < UNIT_COUNT(passing); k++)
			ck_assert_str_eq(delays_of(others[i], passing[k], -1), "800 1600 3200");
		for (size_t k = 0; k < UNIT_COUNT(lasting); k++)
			ck_assert_str_eq(delays_of(others[i], lasting[k], -1), "");
	}
}
END_TEST

START_TEST(asks_nobody_again_whose_answer_time_does_not_mend)
{
	static const struct identity_source *const all[] = {&identity_imds, &identity_app_service};
	static const int lasting[] = {201, 204, 301, 302, 400, 401, 403, 405, 407, 409};
	for (size_t i = 0; i < UNIT_COUNT(all); i++)
		for (size_t k = 0; k < UNIT_COUNT(lasting); k++) {
			ck_assert_str_eq(delays_of(all[i], lasting[k], -1), "");
			ck_assert_str_eq(delays_of(all[i], lasting[k], 1), "");
		}
}
END_TEST

START_TEST(obeys_a_retry_after)
{
	ck_assert_str_eq(delays_of(&identity_imds, 429, 3), "3000 3000 3000 3000 3000");
	ck_assert_str_eq(delays_of(&identity_app_service, 503, 7), "7000 7000 7000");
	ck_assert_str_eq(delays_of(&identity_imds, 410, 3), "3000 3000 3000 3000 3000");
}
END_TEST

START_TEST(takes_a_retry_after_of_nothing_for_none)
{
	ck_assert_str_eq(delays_of(&identity_imds, 429, 0), "1000 4000 8000 16000 32000");
}
END_TEST

START_TEST(leaves_a_long_wait_to_whoever_asked)
{
	ck_assert_str_eq(delays_of(&identity_imds, 429, 60), "60000");
	ck_assert_str_eq(delays_of(&identity_imds, 429, 30), "30000 30000 30000");
	ck_assert_str_eq(delays_of(&identity_imds, 429, 61), "");
	ck_assert_str_eq(delays_of(&identity_imds, 429, INT64_MAX), "");
	ck_assert_int_eq(identity_retry_ms(identity_imds.retry, 500, -1, 0, 89000), 1000);
	ck_assert_int_eq(identity_retry_ms(identity_imds.retry, 500, -1, 0, 89001), -1);
}
END_TEST

UNIT_MAIN("identity_source", takes_imds_where_nothing_says_another,
	takes_the_source_whose_variables_are_set,
	takes_the_first_of_several_in_the_order_of_the_sdk,
	takes_none_where_an_endpoint_stands_alone,
	asks_imds_at_its_own_address_or_at_the_one_that_is_named,
	asks_the_others_where_their_variables_say, goes_by_http_to_this_host_only,
	goes_by_https_only_where_the_certificate_is_known,
	makes_the_resource_by_taking_off_one_default, asks_each_source_with_its_own_words,
	names_the_identity_in_the_words_of_the_source, has_words_for_what_it_refuses,
	keeps_what_the_endpoint_says_already, asks_imds_five_times_more,
	gives_imds_more_than_seventy_seconds_to_come_back_when_it_is_gone,
	asks_the_others_three_times_more, asks_nobody_again_whose_answer_time_does_not_mend,
	obeys_a_retry_after, takes_a_retry_after_of_nothing_for_none,
	leaves_a_long_wait_to_whoever_asked)
