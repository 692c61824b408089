#include "server/prefer.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Longer than this is as good as for ever. */
#define SECONDS_MAX INT64_C(1000000000)

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t");
}

/* Behind what stands there: up to a separator, which counts for nothing within quotes. */
static const char *skip_to(const char *at, const char *separators)
{
	bool is_quoted = false;
	for (; *at != '\0'; at++) {
		if (!is_quoted && strchr(separators, *at) != NULL)
			return at;
		if (*at == '"')
			is_quoted = !is_quoted;
		else if (*at == '\\' && is_quoted && at[1] != '\0')
			at++;
	}
	return at;
}

/* delta-seconds, plain or in quotes, with nothing behind it but space; else -1. */
static int64_t read_seconds(const char *at, const char *end)
{
	bool is_quoted = at < end && *at == '"';
	int64_t seconds = 0;
	if (is_quoted)
		at++;
	const char *first = at;
	for (; at < end && *at >= '0' && *at <= '9'; at++)
		if (seconds < SECONDS_MAX)
			seconds = 10 * seconds + (*at - '0');
	if (at == first || (is_quoted && (at == end || *at++ != '"')))
		return -1;
	return skip_space(at) >= end ? seconds : -1;
}

int64_t prefer_wait_s(const char *value)
{
	const char *at = value;
	while (*at != '\0') {
		at = skip_space(at);
		const char *name = at;
		size_t name_len = strcspn(at, " \t=;,");
		const char *equals = skip_space(at + name_len);
		if (name_len == 4 && strncasecmp(name, "wait", 4) == 0 && *equals == '=') {
			const char *number = skip_space(equals + 1);
			int64_t seconds = read_seconds(number, skip_to(number, ";,"));
			if (seconds >= 0)
				return seconds;
		}
		at = skip_to(at, ",");
		at += *at == ',';
	}
	return -1;
}
