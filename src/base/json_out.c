#include "base/json_out.h"

#include <inttypes.h>
#include <string.h>

static void begin_value(struct json_out *out, const char *name)
{
	if (out->wants_comma)
		text_append(&out->text, ",");
	out->wants_comma = true;
	if (name != NULL)
		text_appendf(&out->text, "\"%s\":", name);
}

void json_out_begin(struct json_out *out, const char *name, char bracket)
{
	begin_value(out, name);
	text_append_bytes(&out->text, &bracket, 1);
	out->wants_comma = false;
}

void json_out_end(struct json_out *out, char bracket)
{
	text_append_bytes(&out->text, &bracket, 1);
	out->wants_comma = true;
}

/* How many bytes from `string` on stand for themselves. Source: RFC 8259, section 7. */
static size_t plain_len(const char *string)
{
	size_t len = 0;
	while ((unsigned char)string[len] >= 0x20 && string[len] != '"' && string[len] != '\\')
		len++;
	return len;
}

void json_out_string(struct json_out *out, const char *name, const char *value)
{
	begin_value(out, name);
	if (value == NULL) {
		text_append(&out->text, "null");
		return;
	}
	text_append(&out->text, "\"");
	for (;;) {
		size_t len = plain_len(value);
		text_append_bytes(&out->text, value, len);
		value += len;
		if (*value == '\0')
			break;
		if (*value == '"' || *value == '\\')
			text_appendf(&out->text, "\\%c", *value);
		else
			text_appendf(&out->text, "\\u%04x", (unsigned)*value);
		value++;
	}
	text_append(&out->text, "\"");
}

void json_out_text(struct json_out *out, const char *name, const char *value)
{
	json_out_string(out, name, value == NULL || value[0] == '\0' ? NULL : value);
}

void json_out_number(struct json_out *out, const char *name, bool is_there, int64_t value)
{
	begin_value(out, name);
	if (is_there)
		text_appendf(&out->text, "%" PRId64, value);
	else
		text_append(&out->text, "null");
}

void json_out_boolean(struct json_out *out, const char *name, bool value)
{
	begin_value(out, name);
	text_append(&out->text, value ? "true" : "false");
}

void json_out_take(struct json_out *out, const char *name, struct json_out *value)
{
	const char *text = text_string(&value->text);
	begin_value(out, name);
	if (text == NULL)
		text_fail(&out->text);
	else
		text_append_bytes(&out->text, text, value->text.len);
	text_free(&value->text);
	*value = (struct json_out){0};
}
