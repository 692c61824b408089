#include "emulator/refresh_tokens.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The oldest gives way. */
#define TOKENS_MAX 10000
/* How the service's begin; they are opaque to clients. */
#define PREFIX "1.AAAA"
#define RANDOM_LEN 250
#define TOKEN_SIZE (sizeof(PREFIX) + RANDOM_LEN)

struct entry {
	char token[TOKEN_SIZE];
	struct refresh_grant grant;
	bool is_revoked;
};

struct refresh_tokens {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct entry *ring[TOKENS_MAX];
	size_t next;
};

struct refresh_tokens *refresh_tokens_new(void)
{
	struct refresh_tokens *tokens = calloc(1, sizeof(*tokens));
	if (tokens != NULL)
		pthread_mutex_init(&tokens->lock, NULL);
	return tokens;
}

void refresh_tokens_free(struct refresh_tokens *tokens)
{
	if (tokens == NULL)
		return;
	for (size_t i = 0; i < TOKENS_MAX; i++)
		free(tokens->ring[i]);
	pthread_mutex_destroy(&tokens->lock);
	free(tokens);
}

char *refresh_tokens_issue(struct refresh_tokens *tokens, const struct refresh_grant *grant)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	char *copy = NULL;
	if (entry != NULL) {
		snprintf(entry->token, sizeof(entry->token), "%s", PREFIX);
		if (random_word(entry->token + strlen(PREFIX), RANDOM_LEN, ALPHABET_BASE64URL))
			copy = strdup(entry->token);
	}
	if (copy == NULL) {
		free(entry);
		return NULL;
	}
	entry->grant = *grant;
	pthread_mutex_lock(&tokens->lock);
	free(tokens->ring[tokens->next]);
	tokens->ring[tokens->next] = entry;
	tokens->next = (tokens->next + 1) % TOKENS_MAX;
	pthread_mutex_unlock(&tokens->lock);
	return copy;
}

enum refresh_check refresh_tokens_check(struct refresh_tokens *tokens, const char *token,
	int64_t now_s, struct refresh_grant *grant)
{
	enum refresh_check result = REFRESH_UNKNOWN;
	pthread_mutex_lock(&tokens->lock);
	for (size_t i = 0; i < TOKENS_MAX && tokens->ring[i] != NULL; i++) {
		const struct entry *entry = tokens->ring[i];
		if (strcmp(entry->token, token) != 0)
			continue;
		result = entry->is_revoked                  ? REFRESH_REVOKED
			 : now_s >= entry->grant.expires_on ? REFRESH_EXPIRED
							    : REFRESH_GOOD;
		if (result == REFRESH_GOOD)
			*grant = entry->grant;
		break;
	}
	pthread_mutex_unlock(&tokens->lock);
	return result;
}

size_t refresh_tokens_revoke(struct refresh_tokens *tokens)
{
	size_t count = 0;
	pthread_mutex_lock(&tokens->lock);
	for (size_t i = 0; i < TOKENS_MAX && tokens->ring[i] != NULL; i++) {
		count += !tokens->ring[i]->is_revoked;
		tokens->ring[i]->is_revoked = true;
	}
	pthread_mutex_unlock(&tokens->lock);
	return count;
}
