#include "base/detail.h"

#include "base/error.h"
#include "base/text.h"

#include <json-c/json.h>
#include <string.h>

/* A longer word may be a key or a token. */
#define LONGEST_SHOWN_WORD 40

/* What of an answer is looked at: more than any message has room for. */
#define LONGEST_LOOKED_AT ((size_t)4096)

/* So many bytes of a credential in a row are more than chance. */
#define WINDOW 8

static bool is_token_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("+/-_=.\\%", c) != NULL); /* escaped letters too */
}

/* The words without the escapes of JSON and of URLs, in secret memory. NULL: no memory. */
static struct secret *unescape(const char *words, size_t len)
{
	struct secret *plain = secret_new(len);
	for (size_t i = 0; plain != NULL && i < len; i++) {
		char decoded[2];
		if (words[i] == '\\')
			continue;
		int result =
			words[i] == '%' && len - i >= 3 &&
					percent_decode(words + i, 3, decoded, sizeof(decoded)) == 1
				? secret_append(plain, decoded, 1)
				: secret_append(plain, &words[i], 1);
		if (words[i] == '%' && len - i >= 3 &&
			percent_decode(words + i, 3, decoded, sizeof(decoded)) == 1)
			i += 2;
		if (result != 0) {
			secret_free(plain);
			return NULL;
		}
	}
	return plain;
}

bool detail_repeats(const struct secret *line, size_t secret_offset, const char *words, size_t len)
{
	if (line == NULL)
		return false;
	const char *credential = secret_bytes(line) + secret_offset;
	size_t credential_len = secret_len(line) - secret_offset;
	size_t window = credential_len < WINDOW ? credential_len : WINDOW;
	_cleanup_secret_ struct secret *plain = unescape(words, len);
	if (plain == NULL)
		return true; /* better nothing than too much */
	for (size_t i = 0; window > 0 && i + window <= credential_len; i++)
		if (memmem(secret_bytes(plain), secret_len(plain), credential + i, window) != NULL)
			return true;
	return false;
}

void detail_copy(const struct secret *line, size_t secret_offset, const char *words, size_t len,
	char *out, size_t out_size)
{
	/* More is never shown; and to look for the credential in a long page takes its time. */
	if (len > LONGEST_LOOKED_AT)
		len = LONGEST_LOOKED_AT;
	if (detail_repeats(line, secret_offset, words, len)) {
		strcpy(out, "(withheld: it repeats the credential)"); // NOLINT
		return;
	}
	size_t written = 0;
	for (size_t i = 0; i < len && written < out_size - 1;) {
		size_t run = 0;
		while (i + run < len && is_token_letter(words[i + run]))
			run++;
		if (run > LONGEST_SHOWN_WORD) {
			out[written++] = '*';
			i += run;
		} else {
			out[written++] = words[i++];
			for (; run > 1 && written < out_size - 1; run--)
				out[written++] = words[i++];
		}
	}
	out[written] = '\0';
	error_make_printable(out);
}

void detail_of_body(const struct secret *line, size_t secret_offset,
	const struct secret *body_secret, char *out, size_t out_size)
{
	const char *body = secret_bytes(body_secret);
	size_t len = secret_len(body_secret);
	struct json_object *root = json_tokener_parse(body);
	struct json_object *inner = root;
	struct json_object *code = NULL;
	struct json_object *message = NULL;
	if (json_object_is_type(root, json_type_object)) {
		json_object_object_get_ex(root, "error", &inner);
		if (!json_object_is_type(inner, json_type_object))
			inner = root;
		json_object_object_get_ex(inner, "code", &code);
		json_object_object_get_ex(inner, "message", &message);
	}
	if (json_object_is_type(code, json_type_string) ||
		json_object_is_type(message, json_type_string)) {
		_cleanup_text_ struct text words = {0};
		if (json_object_is_type(code, json_type_string))
			text_append(&words, json_object_get_string(code));
		if (json_object_is_type(message, json_type_string))
			text_appendf(&words, "%s%s", words.len > 0 ? ": " : "",
				json_object_get_string(message));
		if (text_string(&words) != NULL)
			detail_copy(
				line, secret_offset, text_string(&words), words.len, out, out_size);
	} else if (len == 0) {
		strcpy(out, "an empty body"); // NOLINT
	} else {
		detail_copy(line, secret_offset, body, len, out, out_size);
	}
	json_object_put(root);
}
