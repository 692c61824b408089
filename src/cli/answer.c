#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"

#define DEPTH_MAX 16
#define NAMES_SHOWN_MAX 12
#define NAMES_COMPARED_MAX 1000

/* Returns an object, or NULL; also if the body goes on behind it, or ends within it. */
static struct json_object *parse_object(const struct daemon_answer *answer)
{
	size_t len = 0;
	const char *body = daemon_answer_body(answer, &len);
	struct json_tokener *tokener = body == NULL ? NULL : json_tokener_new_ex(DEPTH_MAX);
	if (tokener == NULL)
		return NULL;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *object = json_tokener_parse_ex(tokener, body, (int)len);
	json_tokener_free(tokener);
	if (json_object_is_type(object, json_type_object))
		return object;
	json_object_put(object);
	return NULL;
}

int answer_parse(const struct daemon_answer *answer, struct json_object **object,
	struct cli_failure *failure)
{
	struct json_object *parsed = parse_object(answer);
	if (parsed == NULL) {
		cli_fail(failure, CLI_EXIT_FAILURE,
			"the answer is not understood: it is not a JSON object");
		return cli_hint(failure, "Is it mrtokend that listens there?");
	}
	*object = parsed;
	return 0;
}

int answer_print(const struct daemon_answer *answer, struct cli_failure *failure)
{
	_cleanup_text_ struct text out = {0};
	size_t len = 0;
	const char *body = daemon_answer_body(answer, &len);
	text_append_bytes(&out, body, len);
	if (len > 0 && body[len - 1] != '\n')
		text_append(&out, "\n");
	return output_text(&out, failure);
}

static int wrong_member(const struct answer_value *object, const char *name, const char *expected,
	const struct json_object *found, struct cli_failure *failure)
{
	return cli_fail(failure, CLI_EXIT_FAILURE,
		"the answer is not understood: %s%s%s should be %s, but is %s", object->where,
		object->where[0] == '\0' ? "" : ".", name, expected,
		found == NULL ? "missing or null" : json_type_to_name(json_object_get_type(found)));
}

/* Returns 1 if it is there, 0 if it may be and is not, -1 with *failure. */
static int find_member(const struct answer_value *object, const char *name, enum answer_need need,
	enum json_type type, const char *expected, struct json_object **member,
	struct cli_failure *failure)
{
	struct json_object *found = NULL;
	if (json_object_is_type(object->json, json_type_object))
		json_object_object_get_ex(object->json, name, &found);
	if (found == NULL && need == ANSWER_NULLABLE)
		return 0;
	if (found == NULL || !json_object_is_type(found, type))
		return wrong_member(object, name, expected, found, failure);
	*member = found;
	return 1;
}

int answer_string(const struct answer_value *object, const char *name, enum answer_need need,
	struct text *value, struct cli_failure *failure)
{
	struct json_object *member = NULL;
	int found = find_member(object, name, need, json_type_string, "a string", &member, failure);
	if (found > 0)
		output_printable(value, json_object_get_string(member),
			(size_t)json_object_get_string_len(member));
	return found < 0 ? -1 : 0;
}

int answer_integer(const struct answer_value *object, const char *name, enum answer_need need,
	bool *has_value, int64_t *value, struct cli_failure *failure)
{
	struct json_object *member = NULL;
	int found =
		find_member(object, name, need, json_type_int, "a whole number", &member, failure);
	if (found < 0)
		return -1;
	*has_value = found > 0;
	*value = found > 0 ? json_object_get_int64(member) : 0;
	return 0;
}

static void name_place(struct answer_value *value, const struct answer_value *in, const char *name)
{
	int len = snprintf(value->where, sizeof(value->where), "%s%s%s", in->where,
		in->where[0] == '\0' ? "" : ".", name);
	if (len < 0)
		value->where[0] = '\0';
}

int answer_object(const struct answer_value *object, const char *name, enum answer_need need,
	struct answer_value *value, struct cli_failure *failure)
{
	struct json_object *member = NULL;
	int found =
		find_member(object, name, need, json_type_object, "an object", &member, failure);
	if (found < 0)
		return -1;
	value->json = member;
	name_place(value, object, name);
	return 0;
}

int answer_array(const struct answer_value *object, const char *name, struct answer_value *value,
	struct cli_failure *failure)
{
	struct json_object *member = NULL;
	if (find_member(object, name, ANSWER_REQUIRED, json_type_array, "an array", &member,
		    failure) < 0)
		return -1;
	value->json = member;
	name_place(value, object, name);
	return 0;
}

struct answer_value answer_element(const struct answer_value *array, size_t index)
{
	struct answer_value element = {.json = json_object_array_get_idx(array->json, index)};
	if (snprintf(element.where, sizeof(element.where), "%.40s[%zu]", array->where, index) < 0)
		element.where[0] = '\0';
	return element;
}

/* Append up to NAMES_SHOWN_MAX names to the hint, and the one that was probably meant. */
static void hint_names(
	const char *account, const struct answer_value *accounts, struct cli_failure *failure)
{
	const char *names[NAMES_COMPARED_MAX];
	size_t count = 0;
	size_t total = json_object_array_length(accounts->json);
	for (size_t i = 0; i < total && count < NAMES_COMPARED_MAX; i++) {
		struct json_object *element = json_object_array_get_idx(accounts->json, i);
		struct json_object *name = NULL;
		if (json_object_is_type(element, json_type_object) &&
			json_object_object_get_ex(element, "name", &name) &&
			json_object_is_type(name, json_type_string))
			names[count++] = json_object_get_string(name);
	}
	const char *nearest = account == NULL ? NULL : nearest_word(account, names, count);
	if (count == 0) {
		cli_hint(failure, "The daemon shows no account on this socket");
		return;
	}
	if (nearest != NULL) {
		cli_hint(failure, "Did you mean \"");
		output_printable(&failure->message, nearest, strlen(nearest));
		text_append(&failure->message, "\"?");
	}
	cli_hint(failure, "Known accounts: ");
	for (size_t i = 0; i < count && i < NAMES_SHOWN_MAX; i++) {
		text_append(&failure->message, i == 0 ? "" : ", ");
		output_printable(&failure->message, names[i], strlen(names[i]));
	}
	if (total > NAMES_SHOWN_MAX)
		text_append(&failure->message, ", ...; see: mrtoken list");
}

/* Ask what accounts there are. Whatever goes wrong with that is not what the user wants to know. */
static void hint_known_accounts(const struct cli_options *options, struct cli_failure *failure)
{
	struct cli_failure ignored = {0};
	_cleanup_answer_ struct daemon_answer answer = {0};
	struct answer_value whole = {0};
	struct answer_value accounts = {0};
	if (daemon_get(options, "/v1/accounts", "application/json", false, &answer, &ignored) ==
			0 &&
		answer.status == 200)
		whole.json = parse_object(&answer);
	if (whole.json != NULL && answer_array(&whole, "accounts", &accounts, &ignored) == 0)
		hint_names(options->account, &accounts, failure);
	else
		cli_hint(failure, "See which there are: mrtoken list");
	json_object_put(whole.json);
	text_free(&ignored.message);
}

/* What an error object holds; all of it is optional here. */
struct refusal {
	bool is_understood;
	struct text code;
	struct text message;
	int64_t retry_after_s; /* or -1 */
};

static void read_refusal(const struct daemon_answer *answer, struct refusal *refusal)
{
	struct cli_failure ignored = {0};
	struct answer_value whole = {.json = parse_object(answer)};
	struct answer_value error = {0};
	bool has_value = false;
	refusal->retry_after_s = answer->retry_after_s;
	if (whole.json != NULL &&
		answer_object(&whole, "error", ANSWER_REQUIRED, &error, &ignored) == 0) {
		refusal->is_understood = true;
		answer_string(&error, "code", ANSWER_NULLABLE, &refusal->code, &ignored);
		answer_string(&error, "message", ANSWER_NULLABLE, &refusal->message, &ignored);
		int64_t seconds = -1;
		if (refusal->retry_after_s < 0 &&
			answer_integer(&error, "retry_after", ANSWER_NULLABLE, &has_value, &seconds,
				&ignored) == 0 &&
			has_value)
			refusal->retry_after_s = seconds;
	}
	json_object_put(whole.json);
	text_free(&ignored.message);
}

static bool has_code(const struct refusal *refusal, const char *code)
{
	const char *own = text_string(&refusal->code);
	return own != NULL && strcmp(own, code) == 0;
}

static void word_refusal(const struct cli_options *options, bool is_about_account, long status,
	const struct refusal *refusal, struct cli_failure *failure)
{
	const char *message = text_string(&refusal->message);
	if (message == NULL || *message == '\0')
		message = "it gives no reason";
	if (status == 404 && refusal->is_understood && is_about_account) {
		if (options->account != NULL)
			cli_fail(failure, CLI_EXIT_NO_ACCOUNT, "there is no account \"%s\": %s",
				options->account, message);
		else
			cli_fail(failure, CLI_EXIT_NO_ACCOUNT,
				"no account was named and there is no default one: %s", message);
		hint_known_accounts(options, failure);
	} else if (has_code(refusal, "too_soon") || has_code(refusal, "refresh_failed")) {
		cli_fail(failure, CLI_EXIT_NOT_REFRESHED, "nothing was refreshed: %s", message);
		if (status == 429 && refusal->retry_after_s >= 0)
			cli_hint(failure, "Try again in %lld s", (long long)refusal->retry_after_s);
	} else if (status == 503) {
		cli_fail(failure, CLI_EXIT_NO_TOKEN, "no valid token at the moment: %s", message);
		if (refusal->retry_after_s >= 0)
			cli_hint(failure,
				"Try again in %lld s; the state is shown by: mrtoken status",
				(long long)refusal->retry_after_s);
		else
			cli_hint(failure, "The state is shown by: mrtoken status");
	} else if (status == 409) {
		cli_fail(failure, CLI_EXIT_NO_LOGIN, "there is no login: %s", message);
	} else if (status == 403) {
		cli_fail(failure, CLI_EXIT_NOT_ALLOWED, "you are not allowed: %s", message);
		cli_hint(failure, "Ask whoever configures mrtokend to name you in the account's "
				  "allow_users, allow_groups or allow_units, or for refresh and "
				  "login in its admin_...; see PEERS in mrtokend.conf(5)");
	} else if (refusal->is_understood) {
		cli_fail(failure, CLI_EXIT_FAILURE, "the daemon refused with HTTP status %ld: %s",
			status, message);
	} else {
		cli_fail(failure, CLI_EXIT_FAILURE,
			"the answer is not understood: HTTP status %ld without an error object",
			status);
		cli_hint(failure, "Is it mrtokend that listens on %s?", options->socket_path);
	}
}

int answer_accept(const struct cli_options *options, bool is_about_account,
	const struct daemon_answer *answer, struct cli_failure *failure)
{
	if (answer->status == 200 || answer->status == 202)
		return 0;
	struct refusal refusal = {0};
	read_refusal(answer, &refusal);
	word_refusal(options, is_about_account, answer->status, &refusal, failure);
	text_free(&refusal.code);
	text_free(&refusal.message);
	return -1;
}
