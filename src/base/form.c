#include "base/form.h"

#include <string.h>

static int append_encoded(struct secret *form, const char *bytes, size_t len)
{
	static const char unreserved[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	static const char digits[] = "0123456789ABCDEF";
	int result = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		const char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
		bool is_plain = c != '\0' && strchr(unreserved, c) != NULL;
		result |= secret_append(form, is_plain ? &bytes[i] : escaped, is_plain ? 1 : 3);
	}
	return result;
}

static int append_name(struct secret *form, const char *name)
{
	int result = secret_len(form) == 0 ? 0 : secret_append_string(form, "&");
	return result | secret_append_string(form, name) | secret_append_string(form, "=");
}

int form_add(struct secret *form, const char *name, const char *value)
{
	if (value == NULL)
		return 0;
	return append_name(form, name) | append_encoded(form, value, strlen(value));
}

int form_add_secret(struct secret *form, const char *name, const struct secret *value)
{
	if (value == NULL)
		return 0;
	return append_name(form, name) |
	       append_encoded(form, secret_bytes(value), secret_len(value));
}
