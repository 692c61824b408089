/*
 * Text: a growing string, the encodings of the wire, and the small words of a configuration.
 * Nothing here is for secrets; those live in base/secret.h.
 */
#ifndef MRTOKEND_BASE_TEXT_H
#define MRTOKEND_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A growing string. Zeroed is empty; a failed allocation sticks and makes text_string() NULL. */
struct text {
	char *data;
	size_t len;
	size_t capacity;
	bool has_failed;
};

void text_append(struct text *text, const char *string);
void text_append_bytes(struct text *text, const char *bytes, size_t len);
void text_appendf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As if there had been no memory for what is appended next. */
void text_fail(struct text *text);

/* Append `bytes` with all but RFC 3986's unreserved characters percent-encoded. */
void text_append_percent_encoded(struct text *text, const char *bytes, size_t len);

/* The string so far, NUL-terminated, owned by `text`; NULL once an allocation has failed. */
const char *text_string(const struct text *text);

/* The string, now owned by the caller (free()), and `text` is empty; NULL as text_string(). */
char *text_steal(struct text *text);

void text_free(struct text *text);
#define _cleanup_text_ __attribute__((cleanup(text_free)))

/*
 * Decode base64 in the standard or the URL alphabet, padded or not.
 *
 * out  at least `3 * len / 4 + 1` bytes, so that it holds any result
 *
 * Returns the number of bytes, or -1 if `in` is not base64. Allocates nothing.
 */
ssize_t base64_decode(const char *in, size_t len, unsigned char *out);

/* Encode in the standard alphabet with padding; `out` holds 4 * ((len + 2) / 3) + 1 bytes. */
void base64_encode(const unsigned char *in, size_t len, char *out);

/* As base64_encode, in the URL alphabet and without padding. */
void base64url_encode(const unsigned char *in, size_t len, char *out);

/*
 * Decode %XX. Refuses a bad escape, %00, and a result that does not fit `out`.
 * Returns the length of the NUL-terminated result, or -1. Allocates nothing.
 */
ssize_t percent_decode(const char *in, size_t len, char *out, size_t out_size);

/* Read an octal file mode written with its leading zero, such as 0660. Returns 0 or -1. */
int parse_mode(const char *word, mode_t *mode);

/* Read yes/no, true/false, on/off, 1/0. Returns 0 or -1. */
int parse_boolean(const char *word, bool *value);

/* Read a whole decimal number between the bounds, nothing before or behind it. Returns 0 or -1. */
int parse_integer(const char *word, int64_t min, int64_t max, int64_t *value);

/*
 * The entry of `words` (`count` of them) that `word` was probably meant to be, or NULL when none is
 * near: at most two letters, and at most a third of them, added, dropped, changed or swapped.
 */
const char *nearest_word(const char *word, const char *const *words, size_t count);

/*
 * Overwrite by '*' each word of `string` that is long enough to be a key or a token: more than
 * TEXT_LONGEST_WORD letters of base64 or base64url in a row. A path is none.
 */
#define TEXT_LONGEST_WORD 40
void text_hide_long_words(char *string);

/* Whether `word` is a UUID in its 36-character form, in either case. */
bool is_uuid(const char *word);

/* Whether `word` is a host name or an IPv4 address, with a port behind it or without. */
bool is_host_and_port(const char *word);

#endif
