/*
 * The Azure Developer CLI: `azd auth token`. Source: azure-protocol.md D.
 */
#include "base/json_answer.h"
#include "credential/developer_tool.h"
#include "credential/expiry_date.h"

#include <string.h>

static int fill(
	struct developer_tool_arguments *arguments, const char *scope, const char *tenant_id)
{
	const char *const words[] = {"azd", "auth", "token", "--output", "json", "--no-prompt",
		"--scope", scope, tenant_id == NULL ? NULL : "--tenant-id", tenant_id, NULL};
	memcpy(arguments->words, words, sizeof(words));
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
							    "expected one with token and "
							    "expiresOn");
	const char *bytes = json_answer_string(root, "token");
	const char *expires_on = json_answer_string(root, "expiresOn");
	if (bytes == NULL || expires_on == NULL)
		error_set(err, ERR_UPSTREAM_FORMAT, "printed a JSON object without the string %s",
			bytes == NULL ? "token" : "expiresOn");
	else if (strlen(expires_on) < 5 || expires_on[4] != '-' ||
		 expiry_date_parse(expires_on, &found.expires_on_s) != 0)
		error_set(err, ERR_UPSTREAM_FORMAT,
			"printed an expiresOn that is no time; expected YYYY-MM-DDTHH:MM:SSZ");
	else
		found.token = developer_tool_keep_token(bytes, strlen(bytes), err);
	json_object_put(root);
	if (found.token == NULL)
		return -1;
	*token = found;
	return 0;
}

static const char *const login_words[] = {
	"azd auth login", "azd login", "reauthentication required", NULL};
static const char *const environment[] = {"NO_COLOR=true", NULL};

const struct developer_tool azure_developer_cli_tool = {
	.name = "the Azure Developer CLI",
	.login = "azd auth login",
	.login_words = login_words,
	.folder_variable = "AZD_CONFIG_DIR",
	.environment = environment,
	.fill = fill,
	.read = read_output,
};

static struct credential *azure_developer_cli_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	(void)account;
	return developer_tool_open(&azure_developer_cli_tool, settings, err);
}

const struct credential_kind credential_azure_developer_cli = {
	.name = "azure_developer_cli",
	.keys = developer_tool_keys,
	.open = azure_developer_cli_open,
	.ask = developer_tool_ask,
	.cancel = developer_tool_cancel,
	.close = developer_tool_close,
	.is_shared = true,
	.is_developer_tool = true,
};
