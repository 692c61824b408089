#include "base/json_out.h"

#include "unit.h"

#include <json-c/json.h>

static struct json_out out; /* empty at the start and end of each test */

static const char *written(void)
{
	static char copy[1024];
	ck_assert_ptr_nonnull(text_string(&out.text));
	ck_assert_uint_lt(out.text.len, sizeof(copy));
	strcpy(copy, text_string(&out.text));
	text_free(&out.text);
	out = (struct json_out){0};
	return copy;
}

START_TEST(writes_values_of_every_kind)
{
	json_out_begin(&out, NULL, '{');
	json_out_string(&out, "word", "a word");
	json_out_string(&out, "none", NULL);
	json_out_string(&out, "empty", "");
	json_out_text(&out, "nothing", "");
	json_out_text(&out, "no", NULL);
	json_out_text(&out, "text", "x");
	json_out_number(&out, "least", true, INT64_MIN);
	json_out_number(&out, "most", true, INT64_MAX);
	json_out_number(&out, "missing", false, 7);
	json_out_boolean(&out, "yes", true);
	json_out_boolean(&out, "not", false);
	json_out_end(&out, '}');
	ck_assert_str_eq(written(),
		"{\"word\":\"a word\",\"none\":null,\"empty\":\"\",\"nothing\":null,\"no\":null,"
		"\"text\":\"x\",\"least\":-9223372036854775808,\"most\":9223372036854775807,"
		"\"missing\":null,\"yes\":true,\"not\":false}");
}
END_TEST

START_TEST(sets_commas_between_and_nowhere_else)
{
	struct json_out apart = {0};
	json_out_begin(&apart, NULL, '[');
	json_out_end(&apart, ']');
	json_out_begin(&out, NULL, '[');
	json_out_begin(&out, NULL, '{');
	json_out_end(&out, '}');
	json_out_begin(&out, NULL, '{');
	json_out_begin(&out, "list", '[');
	json_out_number(&out, NULL, true, 1);
	json_out_string(&out, NULL, "2");
	json_out_end(&out, ']');
	json_out_take(&out, "apart", &apart);
	json_out_boolean(&out, "last", true);
	json_out_end(&out, '}');
	json_out_end(&out, ']');
	ck_assert_ptr_null(apart.text.data);
	ck_assert_str_eq(written(), "[{},{\"list\":[1,\"2\"],\"apart\":[],\"last\":true}]");
}
END_TEST

/* Every byte that may stand in a string, alone and among others, as another reader finds it. */
START_TEST(escapes_what_it_must)
{
	for (int byte = 1; byte < 0x80; byte++) {
		const char string[] = {'a', (char)byte, (char)byte, 'z', '\0'};
		json_out_string(&out, NULL, string);
		struct json_object *read = json_tokener_parse(written());
		ck_assert_str_eq(json_object_get_string(read), string);
		json_object_put(read);
	}
	json_out_string(&out, NULL, "\"\\/\n\x01\xc3\xa4");
	ck_assert_str_eq(written(), "\"\\\"\\\\/\\u000a\\u0001\xc3\xa4\"");
}
END_TEST

START_TEST(has_failed_for_good_when_there_was_no_memory)
{
	struct json_out apart = {0};
	json_out_begin(&apart, NULL, '[');
	text_fail(&apart.text);
	json_out_begin(&out, NULL, '{');
	json_out_take(&out, "apart", &apart);
	json_out_end(&out, '}');
	ck_assert_ptr_null(text_string(&out.text));
	text_free(&out.text);
}
END_TEST

UNIT_MAIN("json_out", writes_values_of_every_kind, sets_commas_between_and_nowhere_else,
	escapes_what_it_must, has_failed_for_good_when_there_was_no_memory)
