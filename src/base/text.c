#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool reserve(struct text *text, size_t more)
{
	if (text->has_failed)
		return false;
	if (more < SIZE_MAX / 4 && text->len + more + 1 <= text->capacity)
		return true;
	size_t capacity = text->capacity == 0 ? 128 : text->capacity;
	while (more < SIZE_MAX / 4 && capacity < text->len + more + 1)
		capacity *= 2;
	char *data = more < SIZE_MAX / 4 ? realloc(text->data, capacity) : NULL;
	if (data == NULL) {
		text->has_failed = true;
		return false;
	}
	text->data = data;
	text->capacity = capacity;
	return true;
}

void text_append_bytes(struct text *text, const char *bytes, size_t len)
{
	if (!reserve(text, len))
		return;
	if (len > 0) /* `bytes` may be NULL */
		memcpy(text->data + text->len, bytes, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void text_append(struct text *text, const char *string)
{
	text_append_bytes(text, string, strlen(string));
}

void text_appendf(struct text *text, const char *format, ...)
{
	va_list args;
	va_list again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		text->has_failed = true;
	else if (reserve(text, (size_t)len)) {
		vsnprintf(text->data + text->len, (size_t)len + 1, format, again);
		text->len += (size_t)len;
	}
	va_end(again);
}

void text_fail(struct text *text)
{
	text->has_failed = true;
}

void text_append_percent_encoded(struct text *text, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if ((c < 0x80 && isalnum(c)) || c == '-' || c == '.' || c == '_' || c == '~')
			text_append_bytes(text, &bytes[i], 1);
		else
			text_appendf(text, "%%%02X", c);
	}
}

const char *text_string(const struct text *text)
{
	if (text->has_failed)
		return NULL;
	return text->data == NULL ? "" : text->data;
}

char *text_steal(struct text *text)
{
	text_append_bytes(text, "", 0); /* an empty text has no buffer yet */
	char *data = text->has_failed ? NULL : text->data;
	if (data == NULL)
		free(text->data);
	*text = (struct text){0};
	return data;
}

void text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){0};
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

ssize_t base64_decode(const char *in, size_t len, unsigned char *out)
{
	size_t padding = 0;
	while (len > 0 && in[len - 1] == '=' && padding < 2) {
		len--;
		padding++;
	}
	if (len % 4 == 1 || (padding > 0 && (len + padding) % 4 != 0))
		return -1;
	size_t written = 0;
	uint32_t bits = 0;
	unsigned held = 0;
	for (size_t i = 0; i < len; i++) {
		int value = base64_value(in[i]);
		if (value < 0)
			return -1;
		bits = (bits << 6) | (uint32_t)value;
		held += 6;
		if (held >= 8) {
			held -= 8;
			out[written++] = (unsigned char)(bits >> held);
		}
	}
	return (ssize_t)written;
}

static size_t encode(const unsigned char *in, size_t len, char *out, const char *alphabet)
{
	size_t written = 0;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits = (uint32_t)in[i] << 16;
		if (left > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			bits |= in[i + 2];
		out[written++] = alphabet[bits >> 18];
		out[written++] = alphabet[(bits >> 12) & 63];
		if (left > 1)
			out[written++] = alphabet[(bits >> 6) & 63];
		if (left > 2)
			out[written++] = alphabet[bits & 63];
	}
	out[written] = '\0';
	return written;
}

void base64_encode(const unsigned char *in, size_t len, char *out)
{
	size_t written = encode(
		in, len, out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	while (written % 4 != 0)
		out[written++] = '=';
	out[written] = '\0';
}

void base64url_encode(const unsigned char *in, size_t len, char *out)
{
	encode(in, len, out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

ssize_t percent_decode(const char *in, size_t len, char *out, size_t out_size)
{
	size_t written = 0;
	for (size_t i = 0; i < len; i++) {
		char c = in[i];
		if (c == '%') {
			if (len - i < 3)
				return -1;
			int high = hex_value(in[i + 1]);
			int low = hex_value(in[i + 2]);
			if (high < 0 || low < 0)
				return -1;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c == '\0' || written + 1 >= out_size)
			return -1;
		out[written++] = c;
	}
	if (out_size == 0)
		return -1;
	out[written] = '\0';
	return (ssize_t)written;
}

int parse_mode(const char *word, mode_t *mode)
{
	if (word[0] != '0' || strlen(word) != 4)
		return -1;
	mode_t value = 0;
	for (size_t i = 1; i < 4; i++) {
		if (word[i] < '0' || word[i] > '7')
			return -1;
		value = value << 3 | (mode_t)(word[i] - '0');
	}
	*mode = value;
	return 0;
}

int parse_boolean(const char *word, bool *value)
{
	static const char *const words[2][4] = {
		{"no", "false", "off", "0"},
		{"yes", "true", "on", "1"},
	};
	for (size_t i = 0; i < 8; i++) {
		if (strcasecmp(word, words[i / 4][i % 4]) == 0) {
			*value = i / 4 == 1;
			return 0;
		}
	}
	return -1;
}

int parse_integer(const char *word, int64_t min, int64_t max, int64_t *value)
{
	if (!isdigit((unsigned char)word[0]) && word[0] != '-')
		return -1;
	char *end = NULL;
	errno = 0;
	long long number = strtoll(word, &end, 10);
	if (errno != 0 || end == word || *end != '\0' || number < min || number > max)
		return -1;
	*value = number;
	return 0;
}

#define LONGEST_WORD 48

/* Edit distance with swaps of neighbours (optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);
	if (a_len > LONGEST_WORD || b_len > LONGEST_WORD)
		return SIZE_MAX;
	size_t rows[3][LONGEST_WORD + 1];
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i - 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				rows[(i - 2) % 3][j - 2] + 1 < best)
				best = rows[(i - 2) % 3][j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a_len % 3][b_len];
}

const char *nearest_word(const char *word, const char *const *words, size_t count)
{
	const char *nearest = NULL;
	size_t least = 3;
	for (size_t i = 0; i < count; i++) {
		size_t d = distance(word, words[i]);
		if (d < least && 3 * d <= strlen(words[i])) {
			least = d;
			nearest = words[i];
		}
	}
	return nearest;
}

void text_hide_long_words(char *string)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/-_=";
	while (*string != '\0') {
		size_t len = strspn(string, letters);
		if (len > TEXT_LONGEST_WORD && *string != '/')
			memset(string, '*', len);
		string += len == 0 ? 1 : len;
	}
}

bool is_uuid(const char *word)
{
	if (strlen(word) != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool is_dash_place = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash_place ? word[i] != '-' : hex_value(word[i]) < 0)
			return false;
	}
	return true;
}

bool is_host_and_port(const char *word)
{
	size_t host =
		strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
	int64_t port = 0;
	if (host == 0 || host > 253 || word[0] == '.' || word[0] == '-' || word[host - 1] == '.' ||
		word[host - 1] == '-')
		return false;
	return word[host] == '\0' ||
	       (word[host] == ':' && parse_integer(word + host + 1, 1, 65535, &port) == 0);
}
