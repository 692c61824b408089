/*
 * What a developer tool is asked, and what its answer means, as far as they have it in common.
 * Pure. Source: azure-protocol.md D.
 */
#include "base/detail.h"
#include "credential/authority.h"
#include "credential/developer_tool.h"
#include "credential/entra_grant.h"
#include "credential/program_end.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define DEFAULT_SUFFIX "/.default"

/* What a shell returns for a program that it cannot find, and so does a script that is one. */
#define STATUS_NOT_FOUND 127

/* ---- the question ---------------------------------------------------------------------------- */

static int check_scope(const char *scope, struct error *err)
{
	if (!isalnum((unsigned char)scope[0]) ||
		scope[strspn(scope, LETTERS DIGITS "-._:/")] != '\0')
		return error_set(err, ERR_CONFIGURATION,
			"scope: found '%s', expected letters, digits, '-', '.', '_', ':' and '/', "
			"beginning with a letter or a digit: developer tools take no others",
			scope);
	return 0;
}

static int check_tenant(const char *tenant_id, struct error *err)
{
	if (tenant_id_check(tenant_id, err) != 0)
		return error_wrap(err, "tenant_id");
	if (!isalnum((unsigned char)tenant_id[0]))
		return error_set(err, ERR_CONFIGURATION,
			"tenant_id: found '%s', expected one that begins with a letter or a digit",
			tenant_id);
	return 0;
}

int developer_tool_fill(const struct developer_tool *tool, const char *scope, const char *tenant_id,
	struct developer_tool_arguments *arguments, struct error *err)
{
	struct developer_tool_arguments filled = {0};
	if (check_scope(scope, err) != 0)
		return -1;
	if (tenant_id != NULL && check_tenant(tenant_id, err) != 0)
		return -1;
	if (tool->fill(&filled, scope, tenant_id) != 0) {
		developer_tool_arguments_clear(&filled);
		return error_set(err, ERR_NO_MEMORY, "cannot run %s: out of memory", tool->name);
	}
	*arguments = filled;
	return 0;
}

void developer_tool_arguments_clear(struct developer_tool_arguments *arguments)
{
	text_free(&arguments->made);
}

void developer_tool_append_resource(const char *scope, struct text *out)
{
	const size_t suffix_len = sizeof(DEFAULT_SUFFIX) - 1;
	size_t len = strlen(scope);
	if (len > suffix_len && strcmp(scope + len - suffix_len, DEFAULT_SUFFIX) == 0)
		len -= suffix_len;
	text_append_bytes(out, scope, len);
}

/* ---- the answer ------------------------------------------------------------------------------ */

struct secret *developer_tool_keep_token(const char *bytes, size_t len, struct error *err)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] < 0x21 || bytes[i] > 0x7e) {
			error_set(err, ERR_UPSTREAM_FORMAT,
				"printed a token that is none: the byte at offset %zu has no place "
				"in one",
				i);
			return NULL;
		}
	if (len == 0) {
		error_set(err, ERR_UPSTREAM_FORMAT, "printed an empty token");
		return NULL;
	}
	struct secret *token = secret_from(bytes, len);
	if (token == NULL)
		error_set(err, ERR_NO_MEMORY, "cannot keep the token: out of memory");
	return token;
}

static bool says(const struct secret *words, const char *wanted)
{
	return memmem(secret_bytes(words), secret_len(words), wanted, strlen(wanted)) != NULL;
}

static bool says_to_log_in(const struct developer_tool *tool, const struct secret *words)
{
	for (const char *const *wanted = tool->login_words; *wanted != NULL; wanted++)
		if (says(words, *wanted))
			return true;
	return false;
}

/* Where "AADSTS" and a number stand, or NULL. */
static const char *find_code(const struct secret *words, int *code)
{
	static const char prefix[] = "AADSTS";
	for (const char *at = secret_bytes(words); (at = strstr(at, prefix)) != NULL; at++) {
		char *end;
		const char *digits = at + sizeof(prefix) - 1;
		long number = isdigit((unsigned char)*digits) ? strtol(digits, &end, 10) : 0;
		if (number > 0 && number < 100000000) {
			*code = (int)number;
			return at;
		}
	}
	return NULL;
}

/* Of these codes what is known about apps and their certificates is no help to a person's login. */
static bool is_of_login(int code)
{
	static const int codes[] = {50034, 50055, 50057, 50076, 50078, 50079, 50126, 50132, 50133,
		50158, 50173, 53003, 65001, 70043, 70008, 700082, 700084};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i] == code)
			return true;
	return entra_advice(code)[0] == '\0';
}

static void explain_refusal(const struct developer_tool *tool, const char *who, const char *at,
	int code, struct error *err)
{
	char line[DETAIL_MAX * 3];
	/* It goes on with identifiers, in the same line or the next; in JSON its end is escaped. */
	size_t len = strcspn(at, "\r\n\\\"");
	const char *trace = memmem(at, len, " Trace ID:", 10);
	detail_copy(NULL, 0, at, trace == NULL ? len : (size_t)(trace - at), line, sizeof(line));
	if (is_of_login(code))
		error_set(err, ERR_DENIED,
			"%s: Microsoft Entra ID refused its login: %s; run '%s' as the user %s",
			tool->name, line, tool->login, who);
	else
		error_set(err, ERR_DENIED, "%s: Microsoft Entra ID refused: %s; %s", tool->name,
			line, entra_advice(code));
	snprintf(err->upstream_code, sizeof(err->upstream_code), "AADSTS%d", code);
}

void developer_tool_explain(const struct developer_tool *tool, const char *who, int status,
	const struct secret *output, const struct secret *complaint, struct error *err)
{
	int code = 0;
	const char *at = find_code(complaint, &code);
	/* azd tells its errors as JSON when it is asked for JSON. */
	if (at == NULL)
		at = find_code(output, &code);
	if (at != NULL) {
		explain_refusal(tool, who, at, code, err);
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NOT_FOUND) {
		error_set(err, ERR_UNAVAILABLE,
			"%s is not installed: what is found in its place exits with %d", tool->name,
			STATUS_NOT_FOUND);
		return;
	}
	if (says_to_log_in(tool, complaint) || says_to_log_in(tool, output)) {
		error_set(err, ERR_UNAVAILABLE,
			"%s is not logged in: run '%s' as the user %s, which is how the daemon "
			"runs it",
			tool->name, tool->login, who);
		return;
	}
	char end[PROGRAM_END_MAX];
	program_end_describe(status, complaint, NULL, end);
	error_set(err, ERR_UPSTREAM_FAULT, "%s %s", tool->name, end);
}
