#include "emulator/form.h"

#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * Decode one word to `out`, which has room for it. Returns its length, or -1. A '+' is a space here
 * only, so percent_decode() does the rest.
 */
static ssize_t decode(const char *word, size_t len, char *out)
{
	char *plain = malloc(len + 1);
	if (plain == NULL)
		return -1;
	for (size_t i = 0; i < len; i++)
		plain[i] = (char)(word[i] == '+' ? ' ' : word[i]);
	plain[len] = '\0';
	ssize_t decoded =
		memchr(word, '\0', len) != NULL ? -1 : percent_decode(plain, len, out, len + 1);
	explicit_bzero(plain, len);
	free(plain);
	return decoded;
}

static const char *add_field(struct form *form, const char *text, size_t len, char **place)
{
	const char *equals = memchr(text, '=', len);
	if (equals == NULL || equals == text)
		return "A field of the form has no name or no '='.";
	if (form->count == FORM_FIELDS_MAX)
		return "The form has too many fields.";
	struct form_field *field = &form->fields[form->count];
	field->name = *place;
	ssize_t decoded = decode(text, (size_t)(equals - text), *place);
	if (decoded < 0)
		return "The form has a bad percent-encoding.";
	*place += decoded + 1;
	field->value = *place;
	decoded = decode(equals + 1, len - (size_t)(equals - text) - 1, *place);
	if (decoded < 0)
		return "The form has a bad percent-encoding.";
	*place += decoded + 1;
	if (form_get(form, field->name) != NULL)
		return "A field of the form is there twice.";
	form->count++;
	return NULL;
}

const char *form_parse(struct form *form, const char *text, size_t len)
{
	*form = (struct form){.buffer = calloc(2, len + 1)};
	char *place = form->buffer;
	if (place == NULL)
		return "There is no memory for the form.";
	while (len > 0) {
		const char *end = memchr(text, '&', len);
		size_t word = end == NULL ? len : (size_t)(end - text);
		const char *complaint = add_field(form, text, word, &place);
		if (complaint != NULL)
			return complaint;
		word += end == NULL ? 0 : 1;
		text += word;
		len -= word;
		if (end != NULL && len == 0)
			return "The form ends in '&'.";
	}
	return NULL;
}

const char *form_get(const struct form *form, const char *name)
{
	for (size_t i = 0; i < form->count; i++)
		if (strcmp(form->fields[i].name, name) == 0)
			return form->fields[i].value;
	return NULL;
}

const char *form_unknown(const struct form *form, const char *const *known)
{
	for (size_t i = 0; i < form->count; i++) {
		const char *const *name = known;
		while (*name != NULL && strcmp(*name, form->fields[i].name) != 0)
			name++;
		if (*name == NULL)
			return form->fields[i].name;
	}
	return NULL;
}

void form_free(struct form *form)
{
	for (size_t i = 0; i < form->count; i++)
		explicit_bzero(form->fields[i].value, strlen(form->fields[i].value));
	free(form->buffer);
	*form = (struct form){0};
}
