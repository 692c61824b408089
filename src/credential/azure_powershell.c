/*
 * Azure PowerShell: Get-AzAccessToken of the module Az.Accounts. Source: azure-protocol.md D.
 */
#include "base/text.h"
#include "credential/developer_tool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What the script prints instead of a token where the module is missing or too old. */
#define NO_MODULE "NO_AZ_ACCOUNT_MODULE"
#define TOKEN_PREFIX "azsdk%"

/*
 * Scope and tenant stand in single quotes, which they cannot break out of: see
 * developer_tool_fill(). From Az.Accounts 5 on, the token is a SecureString.
 */
static void append_script(struct text *script, const char *scope, const char *tenant_id)
{
	text_append(script,
		"$ErrorActionPreference = 'Stop'\n"
		"$WarningPreference = 'SilentlyContinue'\n"
		"$ProgressPreference = 'SilentlyContinue'\n"
		"$module = Import-Module -Name Az.Accounts -MinimumVersion 2.2.0 -PassThru "
		"-ErrorAction SilentlyContinue\n"
		"if ($null -eq $module) {\n"
		"    '" NO_MODULE "'\n"
		"    exit 0\n"
		"}\n"
		"$answer = Get-AzAccessToken -ResourceUrl '");
	developer_tool_append_resource(scope, script);
	text_append(script, "'");
	if (tenant_id != NULL)
		text_appendf(script, " -TenantId '%s'", tenant_id);
	text_append(script,
		"\n"
		"$token = $answer.Token\n"
		"if ($token -is [System.Security.SecureString]) {\n"
		"    $token = [System.Net.NetworkCredential]::new('', $token).Password\n"
		"}\n"
		"'" TOKEN_PREFIX "' + $token + '%' + $answer.ExpiresOn.ToUnixTimeSeconds()\n");
}

/* The script as -EncodedCommand wants it: base64 of its UTF-16, little-endian. It is all ASCII. */
static int encode(const char *script, struct text *out)
{
	size_t len = strlen(script);
	unsigned char *wide = malloc(2 * len + 1);
	char *encoded = malloc(4 * ((2 * len + 2) / 3) + 1);
	if (wide != NULL && encoded != NULL) {
		for (size_t i = 0; i < len; i++) {
			wide[2 * i] = (unsigned char)script[i];
			wide[2 * i + 1] = 0;
		}
		base64_encode(wide, 2 * len, encoded);
		text_append(out, encoded);
	}
	int result = wide == NULL || encoded == NULL || text_string(out) == NULL ? -1 : 0;
	free(wide);
	free(encoded);
	return result;
}

static int fill(
	struct developer_tool_arguments *arguments, const char *scope, const char *tenant_id)
{
	_cleanup_text_ struct text script = {0};
	append_script(&script, scope, tenant_id);
	if (text_string(&script) == NULL || encode(text_string(&script), &arguments->made) != 0)
		return -1;
	const char *const words[] = {"pwsh", "-NoProfile", "-NonInteractive", "-EncodedCommand",
		text_string(&arguments->made), NULL};
	memcpy(arguments->words, words, sizeof(words));
	return 0;
}

/* "TOKEN%SECONDS" between `start` and `end`. */
static int read_line(
	const char *start, const char *end, struct developer_tool_token *token, struct error *err)
{
	struct developer_tool_token found;
	char digits[20];
	const char *divider = memchr(start, '%', (size_t)(end - start));
	size_t len = divider == NULL ? 0 : (size_t)(end - divider) - 1;
	if (len == 0 || len >= sizeof(digits))
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"printed no time behind the token; expected azsdk%%TOKEN%%SECONDS");
	memcpy(digits, divider + 1, len);
	digits[len] = '\0';
	if (parse_integer(digits, 0, INT64_C(1) << 53, &found.expires_on_s) != 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"printed a time that is no number of seconds; expected "
			"azsdk%%TOKEN%%SECONDS");
	found.token = developer_tool_keep_token(start, (size_t)(divider - start), err);
	if (found.token == NULL)
		return -1;
	*token = found;
	return 0;
}

static int read_output(
	const struct secret *output, struct developer_tool_token *token, struct error *err)
{
	const size_t prefix_len = sizeof(TOKEN_PREFIX) - 1;
	const char *line = secret_bytes(output);
	bool lacks_module = false;
	while (*line != '\0') {
		line += strspn(line, " \t\r\n");
		const char *end = line + strcspn(line, "\r\n");
		const char *next = end;
		while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (strncmp(line, TOKEN_PREFIX, prefix_len) == 0)
			return read_line(line + prefix_len, end, token, err);
		lacks_module = lacks_module ||
			       ((size_t)(end - line) == sizeof(NO_MODULE) - 1 &&
				       strncmp(line, NO_MODULE, sizeof(NO_MODULE) - 1) == 0);
		line = next;
	}
	if (lacks_module)
		return error_set(err, ERR_UNAVAILABLE,
			"lacks the module Az.Accounts, version 2.2.0 or newer: run 'Install-Module "
			"Az.Accounts' in pwsh");
	return error_set(err, ERR_UPSTREAM_FORMAT,
		"printed no token; expected a line azsdk%%TOKEN%%SECONDS");
}

static const char *const login_words[] = {"Connect-AzAccount", NULL};
static const char *const environment[] = {"NO_COLOR=true", NULL};

const struct developer_tool azure_powershell_tool = {
	.name = "Azure PowerShell",
	.login = "pwsh -Command Connect-AzAccount",
	.login_words = login_words,
	.environment = environment,
	.fill = fill,
	.read = read_output,
};

static struct credential *azure_powershell_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	(void)account;
	return developer_tool_open(&azure_powershell_tool, settings, err);
}

const struct credential_kind credential_azure_powershell = {
	.name = "azure_powershell",
	.keys = developer_tool_keys,
	.open = azure_powershell_open,
	.ask = developer_tool_ask,
	.cancel = developer_tool_cancel,
	.close = developer_tool_close,
	.is_shared = true,
	.is_developer_tool = true,
};
