#include "emulator/kept_tokens.h"

#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Scopes are of the client's making, so that their number has no end of its own. */
#define KEPT_MAX 10000

struct kept_tokens {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct json_object *tokens; /* purpose -> [token, expires_on] */
};

struct kept_tokens *kept_tokens_new(void)
{
	struct kept_tokens *kept = calloc(1, sizeof(*kept));
	if (kept == NULL || (kept->tokens = json_object_new_object()) == NULL) {
		free(kept);
		return NULL;
	}
	pthread_mutex_init(&kept->lock, NULL);
	return kept;
}

void kept_tokens_free(struct kept_tokens *kept)
{
	if (kept == NULL)
		return;
	json_object_put(kept->tokens);
	pthread_mutex_destroy(&kept->lock);
	free(kept);
}

void kept_tokens_put(
	struct kept_tokens *kept, const char *purpose, const char *token, int64_t expires_on)
{
	struct json_object *pair = json_object_new_array();
	json_object_array_add(pair, json_object_new_string(token));
	json_object_array_add(pair, json_object_new_int64(expires_on));
	pthread_mutex_lock(&kept->lock);
	if (json_object_object_length(kept->tokens) < KEPT_MAX ||
		json_object_object_get_ex(kept->tokens, purpose, NULL)) {
		json_object_object_add(kept->tokens, purpose, pair);
		pair = NULL;
	}
	pthread_mutex_unlock(&kept->lock);
	json_object_put(pair);
}

char *kept_tokens_get(struct kept_tokens *kept, const char *purpose, int64_t *expires_on)
{
	struct json_object *pair = NULL;
	char *copy = NULL;
	pthread_mutex_lock(&kept->lock);
	if (json_object_object_get_ex(kept->tokens, purpose, &pair)) {
		copy = strdup(json_object_get_string(json_object_array_get_idx(pair, 0)));
		*expires_on = json_object_get_int64(json_object_array_get_idx(pair, 1));
	}
	pthread_mutex_unlock(&kept->lock);
	return copy;
}
