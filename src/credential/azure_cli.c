/*
 * The Azure CLI: `az account get-access-token`. Source: azure-protocol.md D.
 */
#include "base/json_answer.h"
#include "credential/developer_tool.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static int fill(
	struct developer_tool_arguments *arguments, const char *scope, const char *tenant_id)
{
	developer_tool_append_resource(scope, &arguments->made);
	const char *const words[] = {"az", "account", "get-access-token", "--output", "json",
		"--resource", text_string(&arguments->made), tenant_id == NULL ? NULL : "--tenant",
		tenant_id, NULL};
	memcpy(arguments->words, words, sizeof(words));
	return text_string(&arguments->made) == NULL ? -1 : 0;
}

/* Whether the calendar has such a day, and the day such a time. */
static bool is_time(const struct tm *tm)
{
	struct tm normal = *tm;
	timegm(&normal);
	return tm->tm_year >= 70 && normal.tm_mon == tm->tm_mon && normal.tm_mday == tm->tm_mday &&
	       normal.tm_hour == tm->tm_hour && normal.tm_min == tm->tm_min &&
	       normal.tm_sec == tm->tm_sec;
}

/*
 * Unix seconds of a local time. In the hour that there is twice when summer time ends, the earlier
 * is the safer one; in the one that there is not when it begins, the C library decides.
 */
static int64_t unix_seconds(const struct tm *tm)
{
	struct tm as_told = *tm;
	as_told.tm_isdst = -1;
	int64_t seconds = mktime(&as_told);
	for (int is_summer = 0; is_summer <= 1; is_summer++) {
		struct tm tried = *tm;
		tried.tm_isdst = is_summer;
		int64_t other = mktime(&tried);
		if (tried.tm_isdst == is_summer && tried.tm_hour == tm->tm_hour &&
			tried.tm_min == tm->tm_min && other < seconds)
			seconds = other;
	}
	return seconds;
}

/* "2023-03-01 12:34:56.123456", in the time zone that az has from the daemon. Returns 0 or -1. */
static int read_local_time(const char *words, int64_t *unix_s)
{
	static const char layout[] = "0000-00-00 00:00:00";
	struct tm tm = {0};
	for (size_t i = 0; layout[i] != '\0'; i++)
		if (layout[i] == '0' ? !isdigit((unsigned char)words[i]) : words[i] != layout[i])
			return -1;
	words = strptime(words, "%Y-%m-%d %H:%M:%S", &tm);
	if (words == NULL)
		return -1;
	if (*words == '.') {
		size_t digits = strspn(words + 1, "0123456789");
		if (digits < 1 || digits > 9)
			return -1;
		words += digits + 1;
	}
	if (*words != '\0' || !is_time(&tm))
		return -1;
	*unix_s = unix_seconds(&tm);
	return 0;
}

/* expires_on of az 2.54 and newer, else expiresOn. */
static int read_expiry(struct json_object *root, int64_t *unix_s, struct error *err)
{
	int result = json_answer_number(root, "expires_on", unix_s, err);
	if (result < 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"printed an expires_on that is no number of seconds");
	if (result == 0)
		return 0;
	const char *words = json_answer_string(root, "expiresOn");
	if (words == NULL)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"printed a token without expires_on and expiresOn");
	if (read_local_time(words, unix_s) != 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"printed an expiresOn that is no time; expected YYYY-MM-DD "
			"HH:MM:SS.FFFFFF");
	return 0;
}

static int read_output(
	const struct secret *output, struct developer_tool_token *token, struct error *err)
{
	struct developer_tool_token found = {0};
	struct json_object *root = json_answer_parse(output, err);
	if (root == NULL)
		return err->code == ERR_NO_MEMORY ? -1
						  : error_set(err, ERR_UPSTREAM_FORMAT,
							    "printed what is no JSON object: "
							    "expected one with accessToken "
							    "and expiresOn");
	const char *bytes = json_answer_string(root, "accessToken");
	if (bytes == NULL)
		error_set(err, ERR_UPSTREAM_FORMAT,
			"printed a JSON object without the string accessToken");
	else if (read_expiry(root, &found.expires_on_s, err) == 0)
		found.token = developer_tool_keep_token(bytes, strlen(bytes), err);
	json_object_put(root);
	if (found.token == NULL)
		return -1;
	*token = found;
	return 0;
}

static const char *const login_words[] = {"az login", "az account set", NULL};
static const char *const environment[] = {"AZURE_CORE_NO_COLOR=true", NULL};

const struct developer_tool azure_cli_tool = {
	.name = "the Azure CLI",
	.login = "az login",
	.login_words = login_words,
	.folder_variable = "AZURE_CONFIG_DIR",
	.environment = environment,
	.fill = fill,
	.read = read_output,
};

static struct credential *azure_cli_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	(void)account;
	return developer_tool_open(&azure_cli_tool, settings, err);
}

const struct credential_kind credential_azure_cli = {
	.name = "azure_cli",
	.keys = developer_tool_keys,
	.open = azure_cli_open,
	.ask = developer_tool_ask,
	.cancel = developer_tool_cancel,
	.close = developer_tool_close,
	.is_shared = true,
	.is_developer_tool = true,
};
