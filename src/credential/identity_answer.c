#include "credential/identity_answer.h"

#include "base/detail.h"
#include "base/json_answer.h"
#include "credential/entra_grant.h"
#include "credential/expiry_date.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- a token -----------------------------------------------------------------------------------
 */

/* A number of seconds that may be left out, or empty. Returns 0 or -1. */
static int read_seconds(
	struct json_object *object, const char *member, int64_t *seconds, struct error *err)
{
	const char *words = json_answer_string(object, member);
	if (words != NULL && words[0] == '\0')
		return 0;
	return json_answer_number(object, member, seconds, err) < 0 ? -1 : 0;
}

/* expires_on, as seconds or as a date. Returns 0 or -1. */
static int read_expires_on(struct json_object *object, int64_t *expires_on_s, struct error *err)
{
	const char *words = json_answer_string(object, "expires_on");
	if (words == NULL || words[strspn(words, "0123456789")] == '\0')
		return read_seconds(object, "expires_on", expires_on_s, err);
	if (expiry_date_parse(words, expires_on_s) == 0)
		return 0;
	return error_set(err, ERR_UPSTREAM_FORMAT,
		"the body's member expires_on is neither a number of seconds nor a date in a form "
		"that is known");
}

static int read_token(struct json_object *object, struct credential_lifetime *lifetime,
	struct secret **token, struct error *err)
{
	const char *type = json_answer_string(object, "token_type");
	if (type != NULL && strcasecmp(type, "Bearer") != 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the body's member token_type is another one than Bearer");
	if (read_expires_on(object, &lifetime->expires_on_s, err) != 0 ||
		read_seconds(object, "expires_in", &lifetime->expires_in_s, err) != 0 ||
		read_seconds(object, "refresh_in", &lifetime->refresh_in_s, err) != 0)
		return -1;
	_cleanup_secret_ struct secret *read = json_answer_secret(object, "access_token", err);
	if (read == NULL || access_token_check(read, err) != 0)
		return -1;
	*token = read;
	read = NULL;
	return 0;
}

int identity_answer_token(const struct http_response *response, const struct identity_shown *shown,
	int64_t sent_ms, const struct loop *loop, struct access_token *token, struct error *err)
{
	struct credential_lifetime lifetime = {
		.expires_in_s = -1,
		.expires_on_s = -1,
		.refresh_in_s = -1,
		.server_date_s = response->server_date_s,
		.sent_ms = sent_ms,
	};
	struct access_token found = {.refresh_at_ms = -1};
	struct json_object *object = json_answer_of_response(response, shown->line, err);
	if (object == NULL)
		return -1;
	int result = read_token(object, &lifetime, &found.token, err);
	json_object_put(object);
	if (result == 0)
		result = credential_set_lifetime(&found, loop, &lifetime, err);
	if (result == 0)
		*token = found;
	else
		secret_free(found.token);
	return result;
}

/* ---- a complaint -------------------------------------------------------------------------------
 */

/* The member, of the object or of the one within it, if it is a string that is not empty. */
static const char *find_string(
	struct json_object *outer, struct json_object *inner, const char *member)
{
	const char *found = inner == NULL ? NULL : json_answer_string(inner, member);
	if (!identity_is_set(found))
		found = json_answer_string(outer, member);
	return identity_is_set(found) ? found : NULL;
}

static const char *either(const char *first, const char *second)
{
	return first != NULL ? first : second;
}

static void copy(const struct identity_shown *shown, const char *words, char *out, size_t out_size)
{
	if (words != NULL)
		detail_copy(shown->line, shown->offset, words, strlen(words), out, out_size);
}

/*
 * The three shapes: {"error":CODE,"error_description":WORDS}, {"statusCode":N,"message":WORDS} and
 * {"error":{"code":CODE,"message":WORDS}}.
 */
static void read_shapes(struct json_object *outer, const struct identity_shown *shown,
	struct identity_complaint *complaint)
{
	char code[DETAIL_LEAST] = "";
	char correlation_id[DETAIL_LEAST] = "";
	struct json_object *inner = NULL;
	json_object_object_get_ex(outer, "error", &inner);
	if (!json_object_is_type(inner, json_type_object))
		inner = NULL;
	copy(shown, either(find_string(outer, inner, "code"), find_string(outer, NULL, "error")),
		code, sizeof(code));
	copy(shown,
		either(find_string(outer, inner, "message"),
			find_string(outer, inner, "error_description")),
		complaint->words, sizeof(complaint->words));
	copy(shown,
		either(find_string(outer, inner, "correlationId"),
			find_string(outer, inner, "correlation_id")),
		correlation_id, sizeof(correlation_id));
	snprintf(complaint->code, sizeof(complaint->code), "%.*s", (int)sizeof(complaint->code) - 1,
		code);
	if (is_uuid(correlation_id))
		snprintf(complaint->correlation_id, sizeof(complaint->correlation_id), "%.36s",
			correlation_id);
}

void identity_answer_complaint(const struct http_response *response,
	const struct identity_shown *shown, enum identity_selector selector,
	struct identity_complaint *complaint)
{
	*complaint = (struct identity_complaint){.status = response->status, .selector = selector};
	complaint->is_unreachable = strcasestr(secret_bytes(response->body), "unreachable") != NULL;
	struct json_object *object = json_answer_parse(response->body, NULL);
	if (object != NULL)
		read_shapes(object, shown, complaint);
	json_object_put(object);
	if (complaint->words[0] == '\0' && complaint->code[0] == '\0')
		detail_of_body(
			shown->line, shown->offset, response->body, complaint->words, DETAIL_MAX);
}

#define ENTRA_CODE "AADSTS"

/* The number of the code of Microsoft Entra ID that some endpoints pass on; 0 for none. */
static int find_entra_code(const char *words)
{
	const char *found = strstr(words, ENTRA_CODE);
	return found == NULL ? 0 : (int)strtol(found + sizeof(ENTRA_CODE) - 1, NULL, 10);
}

void identity_answer_error(const struct identity_source *source, const char *origin,
	const struct identity_complaint *complaint, int64_t retry_after_s, struct error *err)
{
	enum error_code code = json_answer_code_of_status(complaint->status);
	const char *advice = source->advise == NULL ? "" : source->advise(complaint, &code);
	int entra_code = find_entra_code(complaint->words);
	if (entra_code > 0 && entra_advice(entra_code)[0] != '\0')
		advice = entra_advice(entra_code);
	bool has_code = complaint->code[0] != '\0';
	bool has_words = complaint->words[0] != '\0';
	bool has_id = complaint->correlation_id[0] != '\0';
	error_set(err, code, "%s at %s answered %d with %s%s%s%s%s%s%s", source->name, origin,
		complaint->status, complaint->code, has_code && has_words ? ": " : "",
		complaint->words, has_id ? ", correlation id " : "", complaint->correlation_id,
		advice[0] == '\0' ? "" : "; ", advice);
	err->http_status = complaint->status;
	err->retry_after_s = retry_after_s;
	if (entra_code > 0)
		snprintf(err->upstream_code, sizeof(err->upstream_code), ENTRA_CODE "%d",
			entra_code);
	else
		snprintf(err->upstream_code, sizeof(err->upstream_code), "%.*s",
			(int)sizeof(err->upstream_code) - 1, complaint->code);
	snprintf(err->correlation_id, sizeof(err->correlation_id), "%s", complaint->correlation_id);
}
