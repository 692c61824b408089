#include "base/json_answer.h"

#include "base/detail.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define NO_MEMORY "cannot read an answer: out of memory"

/* What a double holds without rounding: no time is beyond it. */
#define NUMBER_MAX (INT64_C(1) << 53)

enum error_code json_answer_code_of_status(int status)
{
	if (status == 401 || status == 403)
		return ERR_DENIED;
	if (status == 408)
		return ERR_TIMEOUT;
	if (status == 429 || status == 503)
		return ERR_THROTTLED;
	if (status >= 500)
		return ERR_UPSTREAM_FAULT;
	return ERR_REFUSED;
}

struct json_object *json_answer_parse(const struct secret *body, struct error *err)
{
	struct json_tokener *tokener = json_tokener_new();
	if (tokener == NULL) {
		error_set(err, ERR_NO_MEMORY, NO_MEMORY);
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT); /* nothing may follow the object */
	errno = 0; /* json-c does not tell what there was no memory for from what is no JSON */
	struct json_object *root =
		json_tokener_parse_ex(tokener, secret_bytes(body), (int)secret_len(body));
	bool is_out_of_memory = root == NULL && errno == ENOMEM;
	json_tokener_free(tokener);
	if (is_out_of_memory) {
		error_set(err, ERR_NO_MEMORY, NO_MEMORY);
		return NULL;
	}
	/* To json-c a zero byte is the end, whatever stands behind it. */
	if (json_object_is_type(root, json_type_object) &&
		memchr(secret_bytes(body), '\0', secret_len(body)) == NULL)
		return root;
	json_object_put(root);
	error_set(err, ERR_UPSTREAM_FORMAT, "the body is not a complete JSON object");
	return NULL;
}

struct json_object *json_answer_of_response(
	const struct http_response *response, const struct secret *shown, struct error *err)
{
	if (strncasecmp(response->content_type, "application/json", 16) != 0 ||
		strchr("; \t", response->content_type[16]) == NULL) {
		char type[DETAIL_MAX];
		detail_copy(shown, 0, response->content_type, strlen(response->content_type), type,
			sizeof(type));
		error_set(err, ERR_UPSTREAM_FORMAT,
			"found Content-Type %s, expected application/json (is a proxy or a captive "
			"portal in between?)",
			type[0] == '\0' ? "(none)" : type);
		return NULL;
	}
	return json_answer_parse(response->body, err);
}

struct secret *json_answer_secret(struct json_object *object, const char *member, struct error *err)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(object, member, &value) ||
		!json_object_is_type(value, json_type_string) ||
		json_object_get_string_len(value) == 0) {
		error_set(err, ERR_UPSTREAM_FORMAT, "the body has no member %s with a string",
			member);
		return NULL;
	}
	struct secret *secret = secret_from(
		json_object_get_string(value), (size_t)json_object_get_string_len(value));
	if (secret == NULL)
		error_set(err, ERR_NO_MEMORY, "cannot keep the member %s: out of memory", member);
	return secret;
}

const char *json_answer_string(struct json_object *object, const char *member)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(object, member, &value) ||
		!json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

int json_answer_number(
	struct json_object *object, const char *member, int64_t *number, struct error *err)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(object, member, &value) || value == NULL)
		return 1;
	if (json_object_is_type(value, json_type_string) &&
		parse_integer(json_object_get_string(value), 0, NUMBER_MAX, number) == 0)
		return 0;
	if (json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0 &&
		json_object_get_int64(value) <= NUMBER_MAX) {
		*number = json_object_get_int64(value);
		return 0;
	}
	if (json_object_is_type(value, json_type_double) && json_object_get_double(value) >= 0 &&
		json_object_get_double(value) <= (double)NUMBER_MAX) {
		*number = (int64_t)json_object_get_double(value);
		return 0;
	}
	return error_set(
		err, ERR_UPSTREAM_FORMAT, "the body's member %s is no number of seconds", member);
}
