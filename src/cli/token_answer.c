#include "cli/token_answer.h"

#include <string.h>

/* What is left to read. Every function that reads moves `at` on only when it returns true. */
struct scan {
	const char *at;
	const char *end;
};

#define DEPTH_MAX 8

static bool is_in(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 6750, 2.1: b64token. */
static bool is_token(const char *bytes, size_t len)
{
	while (len > 0 && bytes[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++)
		if (!is_letter(bytes[i]) && !is_digit(bytes[i]) && !is_in(bytes[i], "-._~+/"))
			return false;
	return len > 0;
}

static void skip_space(struct scan *scan)
{
	while (scan->at < scan->end && is_in(*scan->at, " \t\r\n"))
		scan->at++;
}

static bool take(struct scan *scan, char c)
{
	skip_space(scan);
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static bool take_word(struct scan *scan, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
		return false;
	scan->at += len;
	return true;
}

/* A string; what stands between its quotes is told in *text and *len. */
static bool take_string(struct scan *scan, const char **text, size_t *len)
{
	skip_space(scan);
	const char *c = scan->at;
	if (c == scan->end || *c != '"')
		return false;
	for (c++; c < scan->end && *c != '"'; c++) {
		if ((unsigned char)*c < 0x20)
			return false;
		if (*c == '\\' && (++c == scan->end || !is_in(*c, "\"\\/bfnrtu")))
			return false;
	}
	if (c == scan->end)
		return false;
	*text = scan->at + 1;
	*len = (size_t)(c - *text);
	scan->at = c + 1;
	return true;
}

static bool take_number(struct scan *scan)
{
	const char *c = scan->at;
	if (c < scan->end && *c == '-')
		c++;
	if (c == scan->end || !is_digit(*c))
		return false;
	while (c < scan->end && (is_digit(*c) || is_in(*c, ".eE+-")))
		c++;
	scan->at = c;
	return true;
}

static bool take_value(struct scan *scan, unsigned depth, bool *has_token);

/* The rest of an object or array whose opening has been taken. */
static bool take_members(struct scan *scan, char end, unsigned depth, bool *has_token)
{
	const char *name = NULL;
	size_t len = 0;
	if (take(scan, end))
		return true;
	do {
		bool is_token_member = false;
		if (end == '}') {
			if (!take_string(scan, &name, &len) || !take(scan, ':'))
				return false;
			is_token_member = depth == 1 && len == 5 && memcmp(name, "token", 5) == 0;
		}
		skip_space(scan);
		if (is_token_member) {
			if (!take_string(scan, &name, &len))
				return false;
			*has_token = len > 0;
		} else if (!take_value(scan, depth, has_token)) {
			return false;
		}
	} while (take(scan, ','));
	return take(scan, end);
}

static bool take_value(struct scan *scan, unsigned depth, bool *has_token)
{
	const char *text = NULL;
	size_t len = 0;
	skip_space(scan);
	if (scan->at == scan->end || depth >= DEPTH_MAX)
		return false;
	if (take(scan, '{'))
		return take_members(scan, '}', depth + 1, has_token);
	if (take(scan, '['))
		return take_members(scan, ']', depth + 1, has_token);
	return take_string(scan, &text, &len) || take_number(scan) || take_word(scan, "true") ||
	       take_word(scan, "false") || take_word(scan, "null");
}

static const char *json_fault(const char *bytes, size_t len)
{
	struct scan scan = {bytes, bytes + len};
	bool has_token = false;
	if (len == 0 || bytes[0] != '{')
		return "it is not a JSON object";
	if (!take_value(&scan, 0, &has_token) || scan.at != scan.end)
		return "it is not a whole JSON object with a string \"token\"";
	if (!has_token)
		return "its \"token\" is missing or empty";
	return NULL;
}

const char *token_answer_fault(struct secret *body, enum token_form form)
{
	static const char prefix[] = "Authorization: Bearer ";
	secret_trim(body);
	const char *bytes = secret_bytes(body);
	size_t len = secret_len(body);
	if (len == 0)
		return "it is empty";
	if (form == TOKEN_FORM_JSON)
		return json_fault(bytes, len);
	if (form == TOKEN_FORM_HEADER) {
		if (len < sizeof(prefix) || memcmp(bytes, prefix, sizeof(prefix) - 1) != 0)
			return "it is not an Authorization line";
		bytes += sizeof(prefix) - 1;
		len -= sizeof(prefix) - 1;
	}
	return is_token(bytes, len) ? NULL : "it is not an access token";
}
