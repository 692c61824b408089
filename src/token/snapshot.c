#include "token/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/*
 * The ETags are random and not made from the token, so that they tell nothing of it. They differ
 * between the forms, as strong ETags must.
 */
#define ETAG_SIZE 24

static void make_etag(uint64_t number, enum representation representation, char etag[ETAG_SIZE])
{
	static const char letters[REPRESENTATION_COUNT] = {'j', 't', 'h', 's'};
	snprintf(etag, ETAG_SIZE, "\"%016llx%c\"", (unsigned long long)number,
		letters[representation]);
}

/* A token is one word of visible ASCII without quote and backslash: no form needs escaping. */
static int check_token(const struct secret *token, struct error *err)
{
	const char *bytes = secret_bytes(token);
	size_t len = secret_len(token);
	if (len == 0 || len > SNAPSHOT_TOKEN_MAX)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the token is %zu bytes long; expected 1 to %zu", len, SNAPSHOT_TOKEN_MAX);
	for (size_t i = 0; i < len; i++)
		if (bytes[i] < 0x21 || bytes[i] > 0x7e || bytes[i] == '"' || bytes[i] == '\\')
			return error_set(err, ERR_UPSTREAM_FORMAT,
				"the token has a byte at offset %zu that no access token has", i);
	return 0;
}

static int append_member(struct secret *body, const char *name, const char *value)
{
	int result = secret_append_string(body, ",\"");
	result |= secret_append_string(body, name);
	result |= secret_append_string(body, value == NULL ? "\":null" : "\":\"");
	if (value != NULL)
		result |= secret_append_string(body, value) | secret_append_string(body, "\"");
	return result;
}

static int build_body(struct secret *body, enum representation representation,
	const struct secret *token, const struct snapshot_parts *parts)
{
	char rest[256];
	int result = 0;
	switch (representation) {
	case REPRESENTATION_JSON:
		snprintf(rest, sizeof(rest),
			"\",\"token_type\":\"Bearer\",\"expires_on\":%lld,\"refresh_on\":%lld,"
			"\"account\":\"%.64s\"",
			(long long)parts->expires_on, (long long)parts->refresh_on, parts->account);
		result |= secret_append_string(body, "{\"token\":\"");
		result |= secret_append_secret(body, token);
		result |= secret_append_string(body, rest);
		result |= append_member(body, "account_id", parts->account_id);
		result |= append_member(body, "account_domain", parts->account_domain);
		if (parts->scope != NULL)
			result |= append_member(body, "scope", parts->scope);
		result |= secret_append_string(body, "}\n");
		break;
	case REPRESENTATION_TEXT:
		result |= secret_append_secret(body, token);
		break;
	case REPRESENTATION_HEADER:
		result |= secret_append_string(body, "Authorization: Bearer ");
		result |= secret_append_secret(body, token);
		result |= secret_append_string(body, "\n");
		break;
	case REPRESENTATION_STS:
		result |= secret_append_string(body, "{\"AccessToken\":\"");
		result |= secret_append_secret(body, token);
		result |= secret_append_string(body, "\"}");
		break;
	case REPRESENTATION_COUNT:
		break;
	}
	return result;
}

static void *build_answer(const struct snapshot *snapshot, enum representation representation,
	const struct snapshot_parts *parts, uint64_t number)
{
	char etag[ETAG_SIZE];
	struct secret *body = secret_new(secret_len(snapshot->token));
	if (body == NULL)
		return NULL;
	if (build_body(body, representation, snapshot->token, parts) != 0) {
		secret_free(body);
		return NULL;
	}
	make_etag(number, representation, etag);
	return snapshot->maker->make(representation, body, etag);
}

struct snapshot *snapshot_build(struct secret *token, const struct snapshot_parts *parts,
	const struct answer_maker *maker, struct error *err)
{
	uint64_t number = parts->number;
	if (check_token(token, err) != 0)
		return NULL;
	while (number == 0) {
		if (getrandom(&number, sizeof(number), 0) == (ssize_t)sizeof(number))
			continue;
		error_set(
			err, ERR_SYSTEM, "cannot number a token: the kernel gives no random bytes");
		return NULL;
	}
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
	if (snapshot != NULL) {
		*snapshot = (struct snapshot){
			.token = token,
			.expires_on = parts->expires_on,
			.refresh_on = parts->refresh_on,
			.dead_at_ms = parts->dead_at_ms,
			.received_ms = parts->received_ms,
			.number = number,
			.maker = maker,
		};
		int i = 0;
		for (; i < REPRESENTATION_COUNT; i++) {
			snapshot->answers[i] =
				build_answer(snapshot, (enum representation)i, parts, number);
			if (snapshot->answers[i] == NULL)
				break;
		}
		if (i == REPRESENTATION_COUNT)
			return snapshot;
		snapshot->token = NULL; /* still the caller's */
		snapshot_free(snapshot);
	}
	error_set(err, ERR_NO_MEMORY, "cannot keep a token: out of memory");
	return NULL;
}

void snapshot_free(void *object)
{
	struct snapshot *snapshot = object;
	if (snapshot == NULL)
		return;
	for (int i = 0; i < REPRESENTATION_COUNT; i++)
		if (snapshot->answers[i] != NULL)
			snapshot->maker->release(snapshot->answers[i]);
	secret_free(snapshot->token);
	free(snapshot);
}
