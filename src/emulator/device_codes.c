#include "emulator/device_codes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The oldest gives way. */
#define FLOWS_MAX 1000
#define SLOW_DOWN_S 5
/* A client may sleep a little short, and a timer of whole seconds does. */
#define EARLY_MS 1000
/* Without vowels and what looks alike, as the codes that people type are. */
#define ALPHABET_USER "BCDFGHJKLMNPQRSTVWXZ23456789"

struct entry {
	struct device_flow flow;
	enum device_state state;
	int64_t polled_ms; /* since boot; 0 for never */
	int64_t polls;
};

struct device_codes {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct entry *list[FLOWS_MAX];
	size_t count;
};

static const char *const names[] = {
	[DEVICE_PENDING] = "pending",
	[DEVICE_APPROVED] = "approved",
	[DEVICE_DECLINED] = "declined",
	[DEVICE_EXPIRED] = "expired",
	[DEVICE_REDEEMED] = "redeemed",
	[DEVICE_UNKNOWN] = "unknown",
	[DEVICE_TOO_SOON] = "pending",
};

const char *device_state_name(enum device_state state)
{
	return names[state];
}

struct device_codes *device_codes_new(void)
{
	struct device_codes *codes = calloc(1, sizeof(*codes));
	if (codes != NULL)
		pthread_mutex_init(&codes->lock, NULL);
	return codes;
}

void device_codes_free(struct device_codes *codes)
{
	if (codes == NULL)
		return;
	for (size_t i = 0; i < codes->count; i++)
		free(codes->list[i]);
	pthread_mutex_destroy(&codes->lock);
	free(codes);
}

int device_codes_begin(struct device_codes *codes, struct device_flow *flow)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	if (entry == NULL || !random_word(flow->device_code, DEVICE_CODE_LEN, ALPHABET_BASE64URL) ||
		!random_word(flow->user_code, USER_CODE_LEN, ALPHABET_USER)) {
		free(entry);
		return -1;
	}
	entry->flow = *flow;
	pthread_mutex_lock(&codes->lock);
	if (codes->count == FLOWS_MAX) {
		free(codes->list[0]);
		codes->count--;
		for (size_t i = 0; i < codes->count; i++)
			codes->list[i] = codes->list[i + 1];
	}
	codes->list[codes->count++] = entry;
	pthread_mutex_unlock(&codes->lock);
	return 0;
}

/* The lock is held. */
static struct entry *find(struct device_codes *codes, const char *device_code)
{
	for (size_t i = 0; i < codes->count; i++)
		if (strcmp(codes->list[i]->flow.device_code, device_code) == 0)
			return codes->list[i];
	return NULL;
}

static enum device_state poll_entry(struct entry *entry, int64_t now_s)
{
	int64_t now_ms = clock_boottime_ms(&clock_system);
	bool is_early = entry->polled_ms != 0 &&
			now_ms - entry->polled_ms < entry->flow.interval_s * 1000 - EARLY_MS;
	entry->polled_ms = now_ms;
	entry->polls++;
	if ((entry->state == DEVICE_PENDING || entry->state == DEVICE_APPROVED) &&
		now_s >= entry->flow.expires_on)
		entry->state = DEVICE_EXPIRED;
	if (entry->state == DEVICE_PENDING && is_early) {
		entry->flow.interval_s += SLOW_DOWN_S;
		return DEVICE_TOO_SOON;
	}
	return entry->state;
}

enum device_state device_codes_poll(struct device_codes *codes, const char *device_code,
	const char *tenant_id, const char *client_id, int64_t now_s, struct device_flow *flow)
{
	enum device_state state = DEVICE_UNKNOWN;
	pthread_mutex_lock(&codes->lock);
	struct entry *entry = find(codes, device_code);
	if (entry != NULL && strcasecmp(entry->flow.client_id, client_id) == 0 &&
		strcasecmp(entry->flow.tenant_id, tenant_id) == 0)
		state = poll_entry(entry, now_s);
	if (state == DEVICE_APPROVED)
		*flow = entry->flow;
	pthread_mutex_unlock(&codes->lock);
	return state;
}

bool device_codes_redeem(struct device_codes *codes, const char *device_code)
{
	pthread_mutex_lock(&codes->lock);
	struct entry *entry = find(codes, device_code);
	bool is_first = entry != NULL && entry->state == DEVICE_APPROVED;
	if (is_first)
		entry->state = DEVICE_REDEEMED;
	pthread_mutex_unlock(&codes->lock);
	return is_first;
}

int device_codes_decide(struct device_codes *codes, const char *user_code, enum device_state state,
	const struct entra_user *user)
{
	int result = -1;
	pthread_mutex_lock(&codes->lock);
	for (size_t i = 0; i < codes->count && result != 0; i++) {
		struct entry *entry = codes->list[i];
		if (strcasecmp(entry->flow.user_code, user_code) != 0 ||
			entry->state != DEVICE_PENDING)
			continue;
		entry->state = state;
		entry->flow.user = *user;
		result = 0;
	}
	pthread_mutex_unlock(&codes->lock);
	return result;
}

struct json_object *device_codes_list(struct device_codes *codes)
{
	struct json_object *list = json_object_new_array();
	pthread_mutex_lock(&codes->lock);
	for (size_t i = 0; i < codes->count; i++) {
		const struct entry *entry = codes->list[i];
		const struct device_flow *flow = &entry->flow;
		struct json_object *json = json_object_new_object();
		json_object_object_add(json, "user_code", json_object_new_string(flow->user_code));
		json_object_object_add(json, "client_id", json_object_new_string(flow->client_id));
		json_object_object_add(json, "tenant", json_object_new_string(flow->tenant_id));
		json_object_object_add(json, "scope", json_object_new_string(flow->scopes));
		json_object_object_add(
			json, "state", json_object_new_string(device_state_name(entry->state)));
		json_object_object_add(json, "polls", json_object_new_int64(entry->polls));
		json_object_object_add(json, "interval_s", json_object_new_int64(flow->interval_s));
		json_object_array_add(list, json);
	}
	pthread_mutex_unlock(&codes->lock);
	return list;
}
