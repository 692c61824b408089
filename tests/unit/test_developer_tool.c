#include "credential/developer_tool.h"

#include "asking.h"
#include "files.h"

#include <errno.h>
#include <time.h>

#define TENANT "contoso.onmicrosoft.com"

static const struct {
	const struct developer_tool *tool;
	const struct credential_kind *kind;
	const char *program;
	const char *answer; /* a good one, of a token that lives for an hour from TODAY_S */
} tools[] = {
	{&azure_cli_tool, &credential_azure_cli, "az",
		"{\"accessToken\": \"a.tok.en\", \"expires_on\": 1709254800}"},
	{&azure_developer_cli_tool, &credential_azure_developer_cli, "azd",
		"{\"token\": \"a.tok.en\", \"expiresOn\": \"2024-03-01T01:00:00Z\"}"},
	{&azure_powershell_tool, &credential_azure_powershell, "pwsh", "azsdk%a.tok.en%1709254800"},
};

/* ---- command lines ----------------------------------------------------------------------------
 */

static void assert_words(
	const struct developer_tool_arguments *arguments, const char *const *expected)
{
	size_t i = 0;
	for (; expected[i] != NULL; i++) {
		ck_assert_ptr_nonnull(arguments->words[i]);
		ck_assert_str_eq(arguments->words[i], expected[i]);
	}
	ck_assert_ptr_null(arguments->words[i]);
}

START_TEST(fills_in_the_command_line_of_the_azure_cli)
{
	struct error err;
	struct developer_tool_arguments arguments;
	ck_assert_int_eq(developer_tool_fill(&azure_cli_tool, SCOPE, NULL, &arguments, &err), 0);
	assert_words(
		&arguments, (const char *const[]){"az", "account", "get-access-token", "--output",
				    "json", "--resource", "https://example.com", NULL});
	developer_tool_arguments_clear(&arguments);
	ck_assert_int_eq(developer_tool_fill(&azure_cli_tool, SCOPE, TENANT, &arguments, &err), 0);
	assert_words(&arguments,
		(const char *const[]){"az", "account", "get-access-token", "--output", "json",
			"--resource", "https://example.com", "--tenant", TENANT, NULL});
	developer_tool_arguments_clear(&arguments);
}
END_TEST

START_TEST(fills_in_the_command_line_of_the_azure_developer_cli)
{
	struct error err;
	struct developer_tool_arguments arguments;
	ck_assert_int_eq(
		developer_tool_fill(&azure_developer_cli_tool, SCOPE, NULL, &arguments, &err), 0);
	assert_words(&arguments, (const char *const[]){"azd", "auth", "token", "--output", "json",
					 "--no-prompt", "--scope", SCOPE, NULL});
	developer_tool_arguments_clear(&arguments);
	ck_assert_int_eq(
		developer_tool_fill(&azure_developer_cli_tool, SCOPE, TENANT, &arguments, &err), 0);
	assert_words(
		&arguments, (const char *const[]){"azd", "auth", "token", "--output", "json",
				    "--no-prompt", "--scope", SCOPE, "--tenant-id", TENANT, NULL});
	developer_tool_arguments_clear(&arguments);
}
END_TEST

/* The script, back from UTF-16. */
static const char *decode_script(const char *encoded)
{
	static char script[4096];
	unsigned char wide[8192];
	ck_assert_uint_lt(strlen(encoded), sizeof(wide));
	ssize_t len = base64_decode(encoded, strlen(encoded), wide);
	ck_assert_int_gt(len, 0);
	ck_assert_int_eq(len % 2, 0);
	for (ssize_t i = 0; i < len; i += 2) {
		script[i / 2] = (char)wide[i];
		ck_assert_int_eq(wide[i + 1], 0);
	}
	script[len / 2] = '\0';
	return script;
}

START_TEST(fills_in_the_command_line_and_the_script_of_azure_powershell)
{
	struct error err;
	struct developer_tool_arguments arguments;
	ck_assert_int_eq(
		developer_tool_fill(&azure_powershell_tool, SCOPE, NULL, &arguments, &err), 0);
	const char *script = decode_script(arguments.words[4]);
	assert_words(&arguments, (const char *const[]){"pwsh", "-NoProfile", "-NonInteractive",
					 "-EncodedCommand", arguments.words[4], NULL});
	ck_assert_ptr_nonnull(
		strstr(script, "Get-AzAccessToken -ResourceUrl 'https://example.com'\n"));
	ck_assert_ptr_nonnull(strstr(script, "-MinimumVersion 2.2.0"));
	ck_assert_ptr_nonnull(strstr(script, "SecureString"));
	developer_tool_arguments_clear(&arguments);
	ck_assert_int_eq(
		developer_tool_fill(&azure_powershell_tool, SCOPE, TENANT, &arguments, &err), 0);
	ck_assert_ptr_nonnull(strstr(decode_script(arguments.words[4]),
		"-ResourceUrl 'https://example.com' -TenantId '" TENANT "'\n"));
	developer_tool_arguments_clear(&arguments);
}
END_TEST

START_TEST(makes_the_resource_of_a_scope)
{
	static const struct {
		const char *scope;
		const char *resource;
	} cases[] = {
		{"https://storage.azure.com/.default", "https://storage.azure.com"},
		{"https://sts.mixedreality.azure.com//.default",
			"https://sts.mixedreality.azure.com/"},
		{"https://a/.default/.default", "https://a/.default"},
		{"https://graph.microsoft.com/User.Read", "https://graph.microsoft.com/User.Read"},
		{"api://app/.defaults", "api://app/.defaults"},
		{"/.default", "/.default"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct text resource = {0};
		developer_tool_append_resource(cases[i].scope, &resource);
		ck_assert_str_eq(text_string(&resource), cases[i].resource);
		text_free(&resource);
	}
}
END_TEST

START_TEST(refuses_scopes_and_tenants_that_are_more_than_names)
{
	static const char *const scopes[] = {"", "-o", "--help", "/.default", "https://a/ .default",
		"https://a';x", "https://a$(id)", "https://a\n", "a`b", "a\"b", "a%41", "a+b",
		"a&b", "\xc3\xa9"};
	static const char *const tenants[] = {
		"", "-t", "a b", "a'b", "a;b", "a_b", "a/b", "..", "$(id)", "a\n"};
	for (size_t t = 0; t < UNIT_COUNT(tools); t++) {
		struct developer_tool_arguments arguments;
		for (size_t i = 0; i < UNIT_COUNT(scopes); i++) {
			struct error err = ERROR_INIT;
			ck_assert_int_eq(developer_tool_fill(tools[t].tool, scopes[i], TENANT,
						 &arguments, &err),
				-1);
			ck_assert_int_eq(err.code, ERR_CONFIGURATION);
			ck_assert_ptr_nonnull(strstr(err.message, "scope: found '"));
		}
		for (size_t i = 0; i < UNIT_COUNT(tenants); i++) {
			struct error err = ERROR_INIT;
			ck_assert_int_eq(developer_tool_fill(tools[t].tool, SCOPE, tenants[i],
						 &arguments, &err),
				-1);
			ck_assert_int_eq(err.code, ERR_CONFIGURATION);
			ck_assert_ptr_nonnull(strstr(err.message, "tenant_id: found '"));
		}
	}
}
END_TEST

/* ---- answers ----------------------------------------------------------------------------------
 */

/* Read what a tool printed. Returns the expiry, having seen that the token is the one expected. */
static int64_t expiry_of(const struct developer_tool *tool, const char *output)
{
	struct error err = ERROR_INIT;
	struct developer_tool_token token = {0};
	struct secret *printed = secret_from(output, strlen(output));
	int result = tool->read(printed, &token, &err);
	ck_assert_msg(result == 0, "%s: %s", output, err.message);
	ck_assert_str_eq(secret_bytes(token.token), "a.tok.en");
	secret_free(printed);
	secret_free(token.token);
	return token.expires_on_s;
}

static void assert_refused(const struct developer_tool *tool, const char *output, size_t len,
	enum error_code code, const char *words)
{
	struct error err = ERROR_INIT;
	struct developer_tool_token token = {0};
	struct secret *printed = secret_from(output, len);
	ck_assert_int_eq(tool->read(printed, &token, &err), -1);
	ck_assert_ptr_null(token.token);
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.message, words) != NULL, "%s: %s, expected %s", output,
		err.message, words);
	ck_assert_ptr_null(strstr(err.message, "token-text"));
	secret_free(printed);
}

static void set_zone(const char *zone)
{
	ck_assert_int_eq(setenv("TZ", zone, 1), 0);
	tzset();
}

START_TEST(reads_the_expiry_of_the_azure_cli_as_seconds_first)
{
	set_zone("Asia/Tokyo");
	ck_assert_int_eq(
		expiry_of(&azure_cli_tool, "{\"accessToken\": \"a.tok.en\",\n"
					   "\"expiresOn\": \"2024-03-01 01:00:00.000000\",\n"
					   "\"expires_on\": 1709254800, \"subscription\": \"s\",\n"
					   "\"tenant\": \"t\", \"tokenType\": \"Bearer\"}\n"),
		1709254800);
}
END_TEST

START_TEST(reads_the_expiry_of_an_older_azure_cli_as_local_time)
{
	static const struct {
		const char *zone;
		const char *told;
		int64_t unix_s;
	} cases[] = {
		{"UTC", "2024-03-01 01:00:00.123456", 1709254800},
		{"UTC", "2024-02-29 23:59:59", 1709251199},
		{"UTC", "2024-03-01 01:00:00.1", 1709254800},
		{"EST5EDT", "2024-02-29 20:00:00.000000", 1709254800},
		{"EST5EDT,M3.2.0,M11.1.0", "2024-07-01 12:00:00.000000", 1719849600},
		{"JST-9", "2024-03-01 10:00:00.000000", 1709254800},
		/* 1:30 is there twice on 3 November: at 05:30 and 06:30 UTC. */
		{"EST5EDT,M3.2.0,M11.1.0", "2024-11-03 01:30:00.000000", 1730611800},
		{"EST5EDT,M3.2.0,M11.1.0", "2024-11-03 02:30:00.000000", 1730619000},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char output[256];
		set_zone(cases[i].zone);
		snprintf(output, sizeof(output),
			"{\"accessToken\": \"a.tok.en\", \"expiresOn\": \"%s\"}", cases[i].told);
		ck_assert_msg(expiry_of(&azure_cli_tool, output) == cases[i].unix_s,
			"%s %s: %" PRId64, cases[i].zone, cases[i].told,
			expiry_of(&azure_cli_tool, output));
	}
}
END_TEST

START_TEST(refuses_what_is_no_answer_of_the_azure_cli)
{
	static const struct {
		const char *output;
		const char *words;
	} cases[] = {
		{"", "printed what is no JSON object"},
		{"garbage\n", "printed what is no JSON object"},
		{"[]", "printed what is no JSON object"},
		{"{\"accessToken\": \"a\", \"expires_on\": 1} more", "printed what is no JSON"},
		{"{\"accessToken\": \"token-text\", \"expires_on\": 1", "printed what is no JSON"},
		{"{}", "without the string accessToken"},
		{"{\"accessToken\": 5, \"expires_on\": 1}", "without the string accessToken"},
		{"{\"accessToken\": \"\", \"expires_on\": 1}", "printed an empty token"},
		{"{\"accessToken\": \"token-text\\r\\nX: y\", \"expires_on\": 1}",
			"the byte at offset 10"},
		{"{\"accessToken\": \"a b\", \"expires_on\": 1}", "the byte at offset 1"},
		{"{\"accessToken\": \"token-text\"}", "without expires_on and expiresOn"},
		{"{\"accessToken\": \"token-text\", \"expires_on\": \"soon\"}",
			"an expires_on that is no number"},
		{"{\"accessToken\": \"token-text\", \"expires_on\": -1}",
			"an expires_on that is no number"},
		{"{\"accessToken\": \"a\", \"expiresOn\": 5}", "without expires_on and expiresOn"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"\"}", "expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"2024-02-30 01:00:00.0\"}",
			"expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"2024-13-01 01:00:00.0\"}",
			"expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"2024-03-01 24:00:00.0\"}",
			"expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"2024-03-01T01:00:00Z\"}",
			"expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"2024-03-01 01:00:00.\"}",
			"expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"2024-03-01 01:00:00.0 PM\"}",
			"expiresOn that is no time"},
		{"{\"accessToken\": \"a\", \"expiresOn\": \"1924-03-01 01:00:00.0\"}",
			"expiresOn that is no time"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		assert_refused(&azure_cli_tool, cases[i].output, strlen(cases[i].output),
			ERR_UPSTREAM_FORMAT, cases[i].words);
	assert_refused(&azure_cli_tool, "{\0}", 3, ERR_UPSTREAM_FORMAT, "no JSON object");
}
END_TEST

START_TEST(reads_the_expiry_of_the_azure_developer_cli_as_utc)
{
	set_zone("Asia/Tokyo");
	ck_assert_int_eq(expiry_of(&azure_developer_cli_tool,
				 "{\"token\":\"a.tok.en\",\"expiresOn\":\"2024-03-01T01:00:00Z\"}"),
		1709254800);
	/* As Go spells other times. */
	ck_assert_int_eq(
		expiry_of(&azure_developer_cli_tool,
			"{\"token\":\"a.tok.en\",\"expiresOn\":\"2024-03-01T02:00:00.5+01:00\"}"),
		1709254800);
}
END_TEST

START_TEST(refuses_what_is_no_answer_of_the_azure_developer_cli)
{
	static const struct {
		const char *output;
		const char *words;
	} cases[] = {
		{"", "printed what is no JSON object"},
		{"{\"expiresOn\":\"2024-03-01T01:00:00Z\"}", "without the string token"},
		{"{\"token\":\"token-text\"}", "without the string expiresOn"},
		{"{\"token\":\"token-text\",\"expiresOn\":1709254800}",
			"without the string expiresOn"},
		{"{\"token\":\"token-text\",\"expiresOn\":\"2024-03-01T01:00:00\"}",
			"expiresOn that is no time"},
		{"{\"token\":\"token-text\",\"expiresOn\":\"03/01/2024 01:00:00 +00:00\"}",
			"expiresOn that is no time"},
		{"{\"token\":\"token-text\",\"expiresOn\":\"\"}", "expiresOn that is no time"},
		{"{\"token\":\"\",\"expiresOn\":\"2024-03-01T01:00:00Z\"}",
			"printed an empty token"},
		{"{\"token\":\"token-text \",\"expiresOn\":\"2024-03-01T01:00:00Z\"}",
			"the byte at offset 10"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		assert_refused(&azure_developer_cli_tool, cases[i].output, strlen(cases[i].output),
			ERR_UPSTREAM_FORMAT, cases[i].words);
}
END_TEST

START_TEST(finds_the_line_of_azure_powershell_among_others)
{
	static const char *const outputs[] = {
		"azsdk%a.tok.en%1709254800",
		"\nazsdk%a.tok.en%1709254800\n",
		"\r\n\tazsdk%a.tok.en%1709254800 \r\n",
		"WARNING: azsdk% is not here\nazsdk%a.tok.en%1709254800\nmore\n",
	};
	for (size_t i = 0; i < UNIT_COUNT(outputs); i++)
		ck_assert_int_eq(expiry_of(&azure_powershell_tool, outputs[i]), 1709254800);
}
END_TEST

START_TEST(refuses_what_is_no_answer_of_azure_powershell)
{
	static const struct {
		const char *output;
		const char *words;
		enum error_code code;
	} cases[] = {
		{"", "printed no token", ERR_UPSTREAM_FORMAT},
		{"token-text", "printed no token", ERR_UPSTREAM_FORMAT},
		{"Azsdk%token-text%1", "printed no token", ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text", "printed no time behind the token", ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text%", "printed no time behind the token", ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text%123456789012345678901", "printed no time behind the token",
			ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text%soon", "a time that is no number", ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text%1%2", "a time that is no number", ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text%-1", "a time that is no number", ERR_UPSTREAM_FORMAT},
		{"azsdk%%1709254800", "printed an empty token", ERR_UPSTREAM_FORMAT},
		{"azsdk%token-text x%1", "the byte at offset 10", ERR_UPSTREAM_FORMAT},
		{"NO_AZ_ACCOUNT_MODULE\n", "run 'Install-Module Az.Accounts' in pwsh",
			ERR_UNAVAILABLE},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		assert_refused(&azure_powershell_tool, cases[i].output, strlen(cases[i].output),
			cases[i].code, cases[i].words);
}
END_TEST

/* ---- failures ---------------------------------------------------------------------------------
 */

#define EXITED(with) ((with) << 8)

static struct error explain(
	const struct developer_tool *tool, int status, const char *output, const char *complaint)
{
	struct error err = ERROR_INIT;
	struct secret *printed = secret_from(output, strlen(output));
	struct secret *complained = secret_from(complaint, strlen(complaint));
	developer_tool_explain(tool, "ada", status, printed, complained, &err);
	secret_free(printed);
	secret_free(complained);
	return err;
}

START_TEST(says_to_log_in)
{
	static const struct {
		size_t tool;
		const char *output;
		const char *complaint;
		const char *message;
	} cases[] = {
		{0, "", "ERROR: Please run 'az login' to setup account.\n",
			"the Azure CLI is not logged in: run 'az login' as the user ada, which is "
			"how the daemon runs it"},
		{0, "", "Please run \"az account set\" to select active account.\n",
			"the Azure CLI is not logged in: run 'az login' as the user ada, which is "
			"how the daemon runs it"},
		{1, "", "ERROR: not logged in, run `azd auth login` to login\n",
			"the Azure Developer CLI is not logged in: run 'azd auth login' as the "
			"user ada, which is how the daemon runs it"},
		{1, "{\"message\":\"ERROR: not logged in, run `azd auth login` to login\"}", "",
			"the Azure Developer CLI is not logged in: run 'azd auth login' as the "
			"user ada, which is how the daemon runs it"},
		{2, "", "Get-AzAccessToken: Run Connect-AzAccount to login.\n",
			"Azure PowerShell is not logged in: run 'pwsh -Command Connect-AzAccount' "
			"as the user ada, which is how the daemon runs it"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = explain(
			tools[cases[i].tool].tool, EXITED(1), cases[i].output, cases[i].complaint);
		ck_assert_int_eq(err.code, ERR_UNAVAILABLE);
		ck_assert_str_eq(err.message, cases[i].message);
	}
}
END_TEST

START_TEST(shows_what_entra_said_rather_than_the_tools_advice)
{
	struct error err = explain(&azure_cli_tool, EXITED(1), "",
		"WARNING: something\nERROR: AADSTS700082: The refresh token has expired due to "
		"inactivity. Trace ID: 1 Correlation ID: 2\nTo re-authenticate, please run:\naz "
		"login\n");
	ck_assert_int_eq(err.code, ERR_DENIED);
	ck_assert_str_eq(err.upstream_code, "AADSTS700082");
	ck_assert_str_eq(err.message,
		"the Azure CLI: Microsoft Entra ID refused its login: AADSTS700082: The refresh "
		"token has expired due to inactivity.; run 'az login' as the user ada");
	err = explain(&azure_developer_cli_tool, EXITED(1),
		"{\"data\":{\"message\":\"AADSTS90002: Tenant 'x' not found.\\r\\nTrace\"}}", "");
	ck_assert_int_eq(err.code, ERR_DENIED);
	ck_assert_str_eq(err.upstream_code, "AADSTS90002");
	ck_assert_str_eq(err.message,
		"the Azure Developer CLI: Microsoft Entra ID refused: AADSTS90002: Tenant 'x' not "
		"found.; check tenant_id and authority: there is no such tenant");
}
END_TEST

START_TEST(takes_no_other_words_for_a_code_of_entra)
{
	struct error err =
		explain(&azure_cli_tool, EXITED(1), "", "ERROR: AADSTS is down, AADSTS0 too\n");
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FAULT);
	ck_assert_str_eq(err.upstream_code, "");
	ck_assert_str_eq(
		err.message, "the Azure CLI exited with 1: ERROR: AADSTS is down, AADSTS0 too");
}
END_TEST

START_TEST(takes_127_for_a_tool_that_is_not_installed)
{
	for (size_t i = 0; i < UNIT_COUNT(tools); i++) {
		struct error err =
			explain(tools[i].tool, EXITED(127), "", "sh: 1: az: not found\n");
		ck_assert_int_eq(err.code, ERR_UNAVAILABLE);
		ck_assert_ptr_nonnull(strstr(err.message,
			" is not installed: what is found in its place exits with 127"));
	}
}
END_TEST

START_TEST(tells_how_a_tool_failed_and_no_secret_with_it)
{
	struct error err = explain(&azure_cli_tool, EXITED(2), "",
		"Traceback (most recent call last):\nERROR: bad "
		"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwcyJ9.c2lnbmF0dXJl token\n");
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FAULT);
	ck_assert_str_eq(err.message, "the Azure CLI exited with 2: ERROR: bad * token");
	err = explain(&azure_powershell_tool, SIGKILL, "", "");
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FAULT);
	ck_assert_str_eq(err.message,
		"Azure PowerShell was ended by signal 9, and wrote nothing to standard error");
	err = explain(
		&azure_developer_cli_tool, EXITED(1), "", "\n  \nWARNING: old\n\x1b[31mred\n");
	ck_assert_str_eq(err.message, "the Azure Developer CLI exited with 1: ?[31mred");
}
END_TEST

/* ---- asking -----------------------------------------------------------------------------------
 */

static void write_tool(const char *program, const char *body)
{
	ck_assert_int_eq(chmod(write_file(program, body), 0755), 0);
}

static struct credential *open_tool(size_t i)
{
	struct error err = ERROR_INIT;
	struct credential_settings settings = {0};
	struct account_settings account = {0};
	char path[512];
	directory_make();
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", directory);
	ck_assert_int_eq(setenv("PATH", path, 1), 0);
	struct credential *credential =
		credential_open_kind(tools[i].kind, &settings, &account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	return credential;
}

START_TEST(asks_every_tool_and_takes_its_token)
{
	struct loop *loop = make_loop();
	set_zone("UTC");
	for (size_t i = 0; i < UNIT_COUNT(tools); i++) {
		char body[512];
		snprintf(body, sizeof(body), "#!/bin/sh\ncat <<'EOF'\n%s\nEOF\n", tools[i].answer);
		write_tool(tools[i].program, body);
		struct credential *credential = open_tool(i);
		struct asked asked;
		ask(loop, credential, &asked);
		assert_token(&asked, "a.tok.en");
		ck_assert_int_eq(asked.parts.expires_on, TODAY_S + 3600);
		ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 3600 * 1000);
		ck_assert_int_eq(asked.parts.refresh_at_ms, -1);
		credential_close(credential);
	}
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), 0);
}
END_TEST

START_TEST(gives_every_tool_its_environment_and_a_safe_folder)
{
	static const char *const additions[] = {
		"AZURE_CORE_NO_COLOR=true\n", "NO_COLOR=true\n", "NO_COLOR=true\n"};
	struct loop *loop = make_loop();
	ck_assert_int_eq(setenv("AZURE_CLIENT_SECRET", "whole~Secret", 1), 0);
	for (size_t i = 0; i < UNIT_COUNT(tools); i++) {
		char body[512];
		char seen[4096] = "";
		snprintf(body, sizeof(body), "#!/bin/sh\n(env; /bin/pwd) >%s\nexit 1\n",
			path_of("seen"));
		write_tool(tools[i].program, body);
		struct credential *credential = open_tool(i);
		struct asked asked;
		ask(loop, credential, &asked);
		FILE *file = fopen(path_of("seen"), "r");
		ck_assert_ptr_nonnull(file);
		ck_assert_uint_gt(fread(seen, 1, sizeof(seen) - 1, file), 0);
		fclose(file);
		ck_assert_ptr_nonnull(strstr(seen, additions[i]));
		ck_assert_ptr_null(strstr(seen, "whole~Secret"));
		ck_assert(strstr(seen, "\n/bin\n") != NULL || strstr(seen, "\n/usr/bin\n") != NULL);
		credential_close(credential);
	}
	loop_free(loop);
}
END_TEST

START_TEST(says_that_a_tool_is_not_installed)
{
	static const char *const names[] = {
		"the Azure CLI", "the Azure Developer CLI", "Azure PowerShell"};
	struct loop *loop = make_loop();
	for (size_t i = 0; i < UNIT_COUNT(tools); i++) {
		char expected[512];
		directory_make();
		ck_assert_int_eq(setenv("PATH", directory, 1), 0);
		struct error err = ERROR_INIT;
		struct credential_settings settings = {0};
		struct account_settings account = {0};
		struct credential *credential =
			credential_open_kind(tools[i].kind, &settings, &account, &err);
		struct asked asked;
		ask(loop, credential, &asked);
		snprintf(expected, sizeof(expected),
			"%s is not installed where the daemon looks for it: there is no program "
			"%s in PATH (%s)",
			names[i], tools[i].program, directory);
		assert_failure(&asked, ERR_UNAVAILABLE, expected);
		credential_close(credential);
	}
	loop_free(loop);
}
END_TEST

START_TEST(takes_no_token_that_has_expired)
{
	struct loop *loop = make_loop();
	write_tool("az", "#!/bin/sh\necho '{\"accessToken\":\"a.tok.en\",\"expires_on\":1}'\n");
	struct credential *credential = open_tool(0);
	struct asked asked;
	ask(loop, credential, &asked);
	assert_failure(&asked, ERR_UPSTREAM_FORMAT, "the Azure CLI: the token expires at 1,");
	credential_close(credential);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), 0);
}
END_TEST

START_TEST(names_the_tool_before_what_is_wrong_with_its_answer)
{
	struct loop *loop = make_loop();
	write_tool("az", "#!/bin/sh\necho garbage\n");
	struct credential *credential = open_tool(0);
	struct asked asked;
	ask(loop, credential, &asked);
	assert_failure(&asked, ERR_UPSTREAM_FORMAT, "the Azure CLI printed what is no JSON object");
	credential_close(credential);
	loop_free(loop);
}
END_TEST

START_TEST(is_cancelled_while_the_tool_runs)
{
	struct error err = ERROR_INIT;
	struct asked asked = {0};
	char body[512];
	struct loop *loop = make_loop();
	const char *marker = path_of("started");
	snprintf(body, sizeof(body), "#!/bin/sh\ntouch %s\nexec sleep 60\n", marker);
	write_tool("az", body);
	struct credential *credential = open_tool(0);
	for (int i = 0; i < 2; i++) {
		struct credential_call *call =
			credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
		ck_assert_ptr_nonnull(call);
		ck_assert_ptr_eq(call->credential, credential);
		while (i > 0 && access(marker, F_OK) != 0)
			loop_run(loop, 5);
		credential->kind->cancel(call);
		ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
		ck_assert_int_eq(errno, ECHILD);
	}
	loop_run(loop, 0);
	ck_assert_int_eq(asked.calls, 0);
	credential_close(credential);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), 0);
}
END_TEST

START_TEST(refuses_to_ask_for_a_scope_that_is_no_argument)
{
	struct error err = ERROR_INIT;
	struct asked asked = {0};
	struct loop *loop = make_loop();
	struct credential *credential = open_tool(0);
	ck_assert_ptr_null(
		credential->kind->ask(credential, "--help", loop, on_asked, &asked, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	credential_close(credential);
	loop_free(loop);
}
END_TEST

START_TEST(refuses_to_run_as_a_user_that_does_not_exist)
{
	char user[] = "no-such-user-of-this-host";
	for (size_t i = 0; i < UNIT_COUNT(tools); i++) {
		struct error err = ERROR_INIT;
		struct credential_settings settings = {.run_as = user};
		struct account_settings account = {0};
		ck_assert_ptr_null(credential_open_kind(tools[i].kind, &settings, &account, &err));
		ck_assert_int_eq(err.code, ERR_CONFIGURATION);
		ck_assert_str_eq(err.message,
			"run_as: found 'no-such-user-of-this-host', expected a user that exists");
	}
}
END_TEST

UNIT_MAIN("developer_tool", fills_in_the_command_line_of_the_azure_cli,
	fills_in_the_command_line_of_the_azure_developer_cli,
	fills_in_the_command_line_and_the_script_of_azure_powershell, makes_the_resource_of_a_scope,
	refuses_scopes_and_tenants_that_are_more_than_names,
	reads_the_expiry_of_the_azure_cli_as_seconds_first,
	reads_the_expiry_of_an_older_azure_cli_as_local_time,
	refuses_what_is_no_answer_of_the_azure_cli,
	reads_the_expiry_of_the_azure_developer_cli_as_utc,
	refuses_what_is_no_answer_of_the_azure_developer_cli,
	finds_the_line_of_azure_powershell_among_others,
	refuses_what_is_no_answer_of_azure_powershell, says_to_log_in,
	shows_what_entra_said_rather_than_the_tools_advice,
	takes_no_other_words_for_a_code_of_entra, takes_127_for_a_tool_that_is_not_installed,
	tells_how_a_tool_failed_and_no_secret_with_it, asks_every_tool_and_takes_its_token,
	gives_every_tool_its_environment_and_a_safe_folder, says_that_a_tool_is_not_installed,
	takes_no_token_that_has_expired, names_the_tool_before_what_is_wrong_with_its_answer,
	is_cancelled_while_the_tool_runs, refuses_to_ask_for_a_scope_that_is_no_argument,
	refuses_to_run_as_a_user_that_does_not_exist)
