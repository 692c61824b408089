#include <string.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/table.h"

#define COLUMNS 5

/* Read one account, append its row. */
static int add_account(const struct answer_value *account, const struct text *default_name,
	struct table *table, struct cli_failure *failure)
{
	static const struct {
		const char *name;
		enum answer_need need;
	} members[COLUMNS - 1] = {
		{"name", ANSWER_REQUIRED},
		{"kind", ANSWER_REQUIRED},
		{"account_id", ANSWER_NULLABLE},
		{"account_domain", ANSWER_NULLABLE},
	};
	bool is_default = false;
	for (size_t i = 0; i < COLUMNS - 1; i++) {
		_cleanup_text_ struct text value = {0};
		if (answer_string(account, members[i].name, members[i].need, &value, failure) != 0)
			return -1;
		const char *string = text_string(&value);
		const char *default_string = text_string(default_name);
		if (string == NULL || default_string == NULL)
			return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the list");
		if (i == 0)
			is_default = *string != '\0' && strcmp(string, default_string) == 0;
		table_add(table, string, NULL);
	}
	table_add(table, is_default ? "default" : "", NULL);
	return 0;
}

static int print_list(const struct answer_value *whole, struct cli_failure *failure)
{
	_cleanup_text_ struct text default_name = {0};
	_cleanup_text_ struct text out = {0};
	struct answer_value accounts = {0};
	if (answer_string(whole, "default_account", ANSWER_NULLABLE, &default_name, failure) != 0 ||
		answer_array(whole, "accounts", &accounts, failure) != 0)
		return -1;
	_cleanup_table_ struct table *table = table_new(COLUMNS);
	if (table == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the list");
	for (size_t i = 0; i < json_object_array_length(accounts.json); i++) {
		struct answer_value account = answer_element(&accounts, i);
		if (add_account(&account, &default_name, table, failure) != 0)
			return -1;
	}
	if (table_print(table, 0, &out) != 0)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the list");
	return output_text(&out, failure);
}

int list_run(const struct cli_options *options, struct cli_failure *failure)
{
	_cleanup_answer_ struct daemon_answer answer = {0};
	struct answer_value whole = {0};
	if (daemon_get(options, "/v1/accounts", "application/json", false, &answer, failure) != 0 ||
		answer_accept(options, false, &answer, failure) != 0 ||
		answer_parse(&answer, &whole.json, failure) != 0)
		return -1;
	int result =
		options->is_json ? answer_print(&answer, failure) : print_list(&whole, failure);
	json_object_put(whole.json);
	return result;
}
