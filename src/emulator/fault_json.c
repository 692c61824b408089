#include "emulator/faults.h"

#include "base/text.h"
#include "emulator/settings.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCRIPTED                                                                          \
	(FAULT_HAS_STATUS | FAULT_HAS_BODY | FAULT_HAS_CONTENT_TYPE | FAULT_HAS_HEADERS | \
		FAULT_HAS_AADSTS)
#define ALWAYS                                                                      \
	(FAULT_HAS_ACTION | FAULT_HAS_COUNT | FAULT_HAS_ACCOUNT | FAULT_HAS_DELAY | \
		FAULT_HAS_SERVER)

/* What each action takes and needs beside ALWAYS. The manual's table follows this one. */
static const struct action {
	const char *name;
	enum fault_action_kind kind;
	unsigned allowed;
	unsigned required;
} actions[] = {
	{"status", FAULT_STATUS, SCRIPTED, FAULT_HAS_STATUS},
	{"delay", FAULT_DELAY, 0, FAULT_HAS_DELAY},
	{"reset", FAULT_RESET, SCRIPTED | FAULT_HAS_AT, 0},
	{"truncate", FAULT_TRUNCATE, SCRIPTED, 0},
	{"wrong_type", FAULT_WRONG_TYPE, FAULT_HAS_CONTENT_TYPE | FAULT_HAS_HEADERS, 0},
	{"oversize", FAULT_OVERSIZE, FAULT_HAS_SIZE | FAULT_HAS_HEADERS, 0},
	{"slow_body", FAULT_SLOW_BODY, SCRIPTED | FAULT_HAS_PAUSE, 0},
	{"same_token", FAULT_SAME_TOKEN, FAULT_HAS_HEADERS, 0},
	{"token", FAULT_TOKEN, FAULT_HAS_LIFETIME | FAULT_HAS_HEADERS, FAULT_HAS_LIFETIME},
};
#define ACTION_COUNT (sizeof(actions) / sizeof(actions[0]))

static const char *const moments[] = {
	[FAULT_AT_ACCEPT] = "accept",
	[FAULT_AT_HEADERS] = "headers",
	[FAULT_AT_BODY] = "body",
};

struct member {
	const char *name;
	enum fault_member bit;
	enum json_type type;
	int (*read)(struct fault *fault, struct json_object *value, const struct member *member,
		struct error *err);
	size_t number; /* where an integer goes in struct fault, and its bounds */
	int64_t min;
	int64_t max;
};

static int read_number(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	int64_t number = json_object_get_int64(value);
	if (number < member->min || number > member->max)
		return error_set(err, ERR_CONFIGURATION, "\"%s\" must be between %lld and %lld",
			member->name, (long long)member->min, (long long)member->max);
	memcpy((char *)fault + member->number, &number, sizeof(number));
	return 0;
}

static int read_action(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	for (size_t i = 0; i < ACTION_COUNT; i++) {
		if (strcmp(json_object_get_string(value), actions[i].name) == 0) {
			fault->action = actions[i].kind;
			fault->name = actions[i].name;
			return 0;
		}
	}
	_cleanup_text_ struct text known = {0};
	for (size_t i = 0; i < ACTION_COUNT; i++)
		text_appendf(&known, "%s%s", i == 0 ? "" : ", ", actions[i].name);
	const char *names = text_string(&known);
	return error_set(err, ERR_CONFIGURATION, "\"%s\" is \"%.40s\", and must be one of %s",
		member->name, json_object_get_string(value), names == NULL ? "" : names);
}

static int read_at(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		if (strcmp(json_object_get_string(value), moments[i]) == 0) {
			fault->at = (enum fault_moment)i;
			return 0;
		}
	}
	return error_set(err, ERR_CONFIGURATION,
		"\"%s\" is \"%.40s\", and must be one of accept, headers, body", member->name,
		json_object_get_string(value));
}

static int read_server(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	int server = server_index_of(json_object_get_string(value));
	if (server >= 0) {
		fault->server = (enum server_index)server;
		return 0;
	}
	_cleanup_text_ struct text known = {0};
	for (int i = 0; i < SERVER_CONTROL; i++)
		text_appendf(&known, "%s%s", i == 0 ? "" : ", ", server_kinds[i]->name);
	const char *names = text_string(&known);
	return error_set(err, ERR_CONFIGURATION, "\"%s\" is \"%.40s\", and must be one of %s",
		member->name, json_object_get_string(value), names == NULL ? "" : names);
}

static int read_account(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	const char *id = json_object_get_string(value);
	if (!is_uuid(id))
		return error_set(err, ERR_CONFIGURATION, "\"%s\" must be a UUID", member->name);
	memcpy(fault->account, id, sizeof(fault->account));
	return 0;
}

static int read_body(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	(void)member;
	text_append_bytes(&fault->body, json_object_get_string(value),
		(size_t)json_object_get_string_len(value));
	return fault->body.has_failed ? error_set(err, ERR_NO_MEMORY, "no memory for the body") : 0;
}

static int read_body_base64(struct fault *fault, struct json_object *value,
	const struct member *member, struct error *err)
{
	size_t len = (size_t)json_object_get_string_len(value);
	unsigned char *bytes = malloc(3 * len / 4 + 1);
	ssize_t decoded = -1;
	if (bytes != NULL)
		decoded = base64_decode(json_object_get_string(value), len, bytes);
	if (decoded >= 0)
		text_append_bytes(&fault->body, (const char *)bytes, (size_t)decoded);
	free(bytes);
	if (decoded < 0)
		return error_set(err, ERR_CONFIGURATION, "\"%s\" must be base64", member->name);
	return fault->body.has_failed ? error_set(err, ERR_NO_MEMORY, "no memory for the body") : 0;
}

static bool is_header_value(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
			return false;
	return len > 0 && value[0] != ' ' && value[len - 1] != ' ';
}

/* RFC 9110, 5.6.2. */
static bool is_header_name(const char *name)
{
	if (*name == '\0')
		return false;
	for (; *name != '\0'; name++)
		if ((unsigned char)*name >= 0x80 ||
			(!isalnum((unsigned char)*name) &&
				strchr("!#$%&'*+-.^_`|~", *name) == NULL))
			return false;
	return true;
}

static int read_content_type(struct fault *fault, struct json_object *value,
	const struct member *member, struct error *err)
{
	const char *type = json_object_get_string(value);
	if (!is_header_value(type, (size_t)json_object_get_string_len(value)))
		return error_set(err, ERR_CONFIGURATION, "\"%s\" must be the value of a header",
			member->name);
	fault->content_type = strdup(type);
	return fault->content_type == NULL
		       ? error_set(err, ERR_NO_MEMORY, "no memory for the content type")
		       : 0;
}

static int read_header(struct fault *fault, const char *name, struct json_object *value,
	const struct member *member, struct error *err)
{
	if (!is_header_name(name))
		return error_set(err, ERR_CONFIGURATION,
			"\"%s\" has a member whose name is no header name", member->name);
	if (strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0)
		return error_set(err, ERR_CONFIGURATION,
			"\"%s\" cannot set %s: for a body of a wrong length there is the action "
			"truncate",
			member->name, name);
	if (value != NULL && (!json_object_is_type(value, json_type_string) ||
				     !is_header_value(json_object_get_string(value),
					     (size_t)json_object_get_string_len(value))))
		return error_set(err, ERR_CONFIGURATION,
			"\"%s\" must give %.60s the value of a header as a string, or null",
			member->name, name);
	if (fault->header_count == FAULT_HEADERS_MAX)
		return error_set(err, ERR_CONFIGURATION, "\"%s\" has more than %d members",
			member->name, FAULT_HEADERS_MAX);
	struct header *header = &fault->headers[fault->header_count++];
	header->name = strdup(name);
	header->value = value == NULL ? NULL : strdup(json_object_get_string(value));
	if (header->name == NULL || (value != NULL && header->value == NULL))
		return error_set(err, ERR_NO_MEMORY, "no memory for the headers");
	return 0;
}

static int read_headers(struct fault *fault, struct json_object *value, const struct member *member,
	struct error *err)
{
	json_object_object_foreach(value, name, inner)
	{
		if (read_header(fault, name, inner, member, err) != 0)
			return -1;
	}
	return 0;
}

#define NUMBER(name, bit, min, max)                                                            \
	{                                                                                      \
#name, bit, json_type_int, read_number, offsetof(struct fault, name), min, max \
	}

static const struct member members[] = {
	{"action", FAULT_HAS_ACTION, json_type_string, read_action, 0, 0, 0},
	NUMBER(count, FAULT_HAS_COUNT, 0, 1000000000),
	{"server", FAULT_HAS_SERVER, json_type_string, read_server, 0, 0, 0},
	{"account", FAULT_HAS_ACCOUNT, json_type_string, read_account, 0, 0, 0},
	NUMBER(status, FAULT_HAS_STATUS, 200, 599),
	NUMBER(aadsts, FAULT_HAS_AADSTS, 1, 999999999),
	{"body", FAULT_HAS_BODY, json_type_string, read_body, 0, 0, 0},
	{"body_base64", FAULT_HAS_BODY, json_type_string, read_body_base64, 0, 0, 0},
	{"content_type", FAULT_HAS_CONTENT_TYPE, json_type_string, read_content_type, 0, 0, 0},
	{"headers", FAULT_HAS_HEADERS, json_type_object, read_headers, 0, 0, 0},
	NUMBER(delay_ms, FAULT_HAS_DELAY, 0, FAULT_DELAY_MAX_MS),
	{"at", FAULT_HAS_AT, json_type_string, read_at, 0, 0, 0},
	NUMBER(size, FAULT_HAS_SIZE, 1, FAULT_SIZE_MAX),
	NUMBER(pause_ms, FAULT_HAS_PAUSE, 0, FAULT_DELAY_MAX_MS),
	NUMBER(lifetime_s, FAULT_HAS_LIFETIME, -SPAN_MAX_S, SPAN_MAX_S),
};
#define MEMBER_COUNT (sizeof(members) / sizeof(members[0]))

static int read_member(
	struct fault *fault, const char *name, struct json_object *value, struct error *err)
{
	const char *names[MEMBER_COUNT];
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		const struct member *member = &members[i];
		names[i] = member->name;
		if (strcmp(name, member->name) != 0)
			continue;
		if (!json_object_is_type(value, member->type))
			return error_set(err, ERR_CONFIGURATION, "\"%s\" must be %s, and is %s",
				member->name,
				member->type == json_type_int      ? "an integer"
				: member->type == json_type_string ? "a string"
								   : "an object",
				json_type_to_name(json_object_get_type(value)));
		if ((fault->members & member->bit) != 0)
			return error_set(err, ERR_CONFIGURATION,
				"\"body\" and \"body_base64\" exclude each other");
		fault->members |= member->bit;
		return member->read(fault, value, member, err);
	}
	const char *nearest = nearest_word(name, names, MEMBER_COUNT);
	return error_set(err, ERR_CONFIGURATION, "a fault has no member \"%.60s\"%s%s%s", name,
		nearest == NULL ? "" : "; the nearest is \"", nearest == NULL ? "" : nearest,
		nearest == NULL ? "" : "\"");
}

/* Whether the members given are those that the action takes and needs. */
static int check_members(const struct fault *fault, struct error *err)
{
	if ((fault->members & FAULT_HAS_ACTION) == 0)
		return error_set(err, ERR_CONFIGURATION, "a fault needs \"action\"");
	const struct action *action = &actions[0];
	while (action->kind != fault->action)
		action++;
	unsigned allowed = action->allowed | ALWAYS;
	if (fault->action == FAULT_RESET && fault->at == FAULT_AT_HEADERS)
		allowed &= ~(unsigned)SCRIPTED;
	if (fault->action == FAULT_RESET && fault->at == FAULT_AT_ACCEPT)
		allowed &= ~(unsigned)(SCRIPTED | FAULT_HAS_ACCOUNT | FAULT_HAS_DELAY);
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		unsigned bit = members[i].bit;
		if ((fault->members & bit & ~allowed) != 0)
			return error_set(err, ERR_CONFIGURATION,
				"the action %s%s%s takes no \"%s\"", action->name,
				fault->action == FAULT_RESET ? " at " : "",
				fault->action == FAULT_RESET ? moments[fault->at] : "",
				members[i].name);
		if ((action->required & bit & ~fault->members) != 0)
			return error_set(err, ERR_CONFIGURATION, "the action %s needs \"%s\"",
				action->name, members[i].name);
	}
	if ((fault->members & FAULT_HAS_AADSTS) != 0 && fault->server != SERVER_ENTRA)
		return error_set(err, ERR_CONFIGURATION,
			"\"aadsts\" is for faults of the server entra only");
	return 0;
}

int fault_from_json(struct fault *fault, struct json_object *json, struct error *err)
{
	fault->count = 1;
	fault->at = FAULT_AT_HEADERS;
	fault->status = 200;
	fault->size = FAULT_SIZE_DEFAULT;
	fault->pause_ms = FAULT_PAUSE_DEFAULT_MS;
	json_object_object_foreach(json, name, value)
	{
		if (read_member(fault, name, value, err) != 0)
			return -1;
	}
	if (check_members(fault, err) != 0)
		return -1;
	if (json_object_deep_copy(json, &fault->json, NULL) != 0)
		return error_set(err, ERR_NO_MEMORY, "no memory for the fault");
	json_object_object_add(fault->json, "count", json_object_new_int64(fault->count));
	return 0;
}

void fault_release(struct fault *fault)
{
	json_object_put(fault->json);
	text_free(&fault->body);
	free(fault->content_type);
	for (size_t i = 0; i < fault->header_count; i++) {
		free(fault->headers[i].name);
		free(fault->headers[i].value);
	}
}
