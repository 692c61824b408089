/*
 * Writing JSON that is whole or not there: where memory runs out, the text has failed, whatever is
 * added to it later, and no member is left out in silence. (json-c gives half of an object then.)
 *
 * Names are plain words and are not escaped. A name is NULL for what stands in no object.
 */
#ifndef MRTOKEND_BASE_JSON_OUT_H
#define MRTOKEND_BASE_JSON_OUT_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* Zeroed is empty. The text is the JSON so far, and text_string() is NULL if it has failed. */
struct json_out {
	struct text text;
	bool wants_comma;
};

/* '{' or '[', and what ends it. */
void json_out_begin(struct json_out *out, const char *name, char bracket);
void json_out_end(struct json_out *out, char bracket);

/* A string, which is UTF-8, or null when `value` is NULL. */
void json_out_string(struct json_out *out, const char *name, const char *value);

/* As json_out_string(); null when `value` is "" too. */
void json_out_text(struct json_out *out, const char *name, const char *value);

/* A number, or null unless `is_there`. */
void json_out_number(struct json_out *out, const char *name, bool is_there, int64_t value);

void json_out_boolean(struct json_out *out, const char *name, bool value);

/* A value that was written apart, which is empty then. */
void json_out_take(struct json_out *out, const char *name, struct json_out *value);

#endif
