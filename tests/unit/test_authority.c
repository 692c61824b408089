#include "credential/authority.h"

#include "credential/entra_grant.h"
#include "unit.h"

static void assert_parsed(const char *word, const char *expected)
{
	struct error err = ERROR_INIT;
	char *authority = NULL;
	ck_assert_msg(authority_parse(&authority, word, &err) == 0, "%s", err.message);
	ck_assert_str_eq(authority, expected);
	free(authority);
}

static void assert_refused(const char *word, const char *words)
{
	struct error err = ERROR_INIT;
	char *authority = NULL;
	ck_assert_msg(authority_parse(&authority, word, &err) != 0, "'%s' was taken", word);
	ck_assert_ptr_null(authority);
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_msg(
		strstr(err.message, words) != NULL, "'%s' is without '%s'", err.message, words);
}

START_TEST(knows_the_clouds_by_name)
{
	assert_parsed("public", "https://login.microsoftonline.com");
	assert_parsed("us_government", "https://login.microsoftonline.us");
	assert_parsed("china", "https://login.chinacloudapi.cn");
}
END_TEST

START_TEST(puts_a_missing_scheme_before_the_host)
{
	assert_parsed("login.microsoftonline.us", "https://login.microsoftonline.us");
	assert_parsed("localhost:8443", "https://localhost:8443");
}
END_TEST

START_TEST(strips_slashes_and_spaces_behind_the_host)
{
	assert_parsed("https://login.microsoftonline.com/", ENTRA_AUTHORITY_PUBLIC);
	assert_parsed("https://127.0.0.1:443// / ", "https://127.0.0.1:443");
}
END_TEST

START_TEST(refuses_plain_http)
{
	assert_refused("http://login.example.com",
		"found 'http://login.example.com', expected public, us_government, china, or "
		"https://HOST");
}
END_TEST

START_TEST(refuses_what_is_no_host)
{
	static const char *const words[] = {
		"",
		"/",
		"https://",
		"https:///tenant",
		"ftp://login.example.com",
		"https://user@login.example.com",
		"https://login.example.com?x=1",
		"https://login example.com",
		"login.example.com:",
		"login.example.com:0",
		"login.example.com:65536",
		"login.example.com:443x",
		".example.com",
		"example.com.",
		"-example.com",
		"example-:443",
		"https://login.example.com\r\nX: y",
	};
	for (size_t i = 0; i < UNIT_COUNT(words); i++)
		assert_refused(words[i], "expected public, us_government, china, or https://HOST");
}
END_TEST

START_TEST(refuses_a_tenant_behind_the_host)
{
	assert_refused("https://login.microsoftonline.com/contoso.com", "and nothing behind it");
}
END_TEST

START_TEST(refuses_a_host_that_is_too_long)
{
	char word[300];
	memset(word, 'a', sizeof(word));
	word[254] = '\0';
	assert_refused(word, "expected public");
}
END_TEST

static void assert_chosen(const char *configured, const char *variable, const char *expected)
{
	struct error err = ERROR_INIT;
	if (variable == NULL)
		unsetenv("AZURE_AUTHORITY_HOST");
	else
		setenv("AZURE_AUTHORITY_HOST", variable, 1);
	char *authority = authority_resolve(configured, &err);
	ck_assert_msg(authority != NULL, "%s", err.message);
	ck_assert_str_eq(authority, expected);
	free(authority);
}

START_TEST(takes_the_key_before_the_variable_before_the_public_cloud)
{
	assert_chosen("https://a.example", "b.example", "https://a.example");
	assert_chosen(NULL, "b.example/", "https://b.example");
	assert_chosen(NULL, "", ENTRA_AUTHORITY_PUBLIC);
	assert_chosen(NULL, NULL, ENTRA_AUTHORITY_PUBLIC);
}
END_TEST

START_TEST(names_the_variable_that_is_wrong)
{
	struct error err = ERROR_INIT;
	setenv("AZURE_AUTHORITY_HOST", "http://b.example", 1);
	ck_assert_ptr_null(authority_resolve(NULL, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_str_eq(err.message,
		"environment variable AZURE_AUTHORITY_HOST: found 'http://b.example', expected "
		"public, us_government, china, or https://HOST with perhaps a port, and nothing "
		"behind it");
}
END_TEST

START_TEST(takes_what_is_spelt_like_a_tenant)
{
	struct error err = ERROR_INIT;
	ck_assert_int_eq(tenant_id_check("e3a1c0de-0000-4000-8000-000000000001", &err), 0);
	ck_assert_int_eq(tenant_id_check("contoso.onmicrosoft.com", &err), 0);
	ck_assert_int_eq(tenant_id_check("organizations", &err), 0);
}
END_TEST

START_TEST(refuses_what_is_not_spelt_like_a_tenant)
{
	static const char *const words[] = {
		"", ".", "..", "a/b", "a b", "a?b", "..%2f", "caf\xc3\xa9"};
	for (size_t i = 0; i < UNIT_COUNT(words); i++) {
		struct error err = ERROR_INIT;
		ck_assert_int_eq(tenant_id_check(words[i], &err), -1);
		ck_assert_int_eq(err.code, ERR_CONFIGURATION);
		ck_assert_ptr_nonnull(strstr(err.message, "expected the tenant's identifier"));
	}
}
END_TEST

UNIT_MAIN("authority", knows_the_clouds_by_name, puts_a_missing_scheme_before_the_host,
	strips_slashes_and_spaces_behind_the_host, refuses_plain_http, refuses_what_is_no_host,
	refuses_a_tenant_behind_the_host, refuses_a_host_that_is_too_long,
	takes_the_key_before_the_variable_before_the_public_cloud, names_the_variable_that_is_wrong,
	takes_what_is_spelt_like_a_tenant, refuses_what_is_not_spelt_like_a_tenant)
