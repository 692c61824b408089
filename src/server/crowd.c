#include "server/crowd.h"

#include <stddef.h>
#include <stdlib.h>

#define SWEEP_AT_LEAST 64

/* Free who has no connection, and asked nothing that counts any more. */
static void sweep(struct crowd *crowd, int64_t second)
{
	for (size_t i = 0; i < CROWD_SLOTS; i++) {
		struct crowd_user **link = &crowd->slots[i];
		while (*link != NULL) {
			struct crowd_user *user = *link;
			if (user->connections > 0 || user->second == second) {
				link = &user->next;
				continue;
			}
			*link = user->next;
			free(user);
			crowd->count--;
		}
	}
	crowd->sweep_at = 2 * crowd->count < SWEEP_AT_LEAST ? SWEEP_AT_LEAST : 2 * crowd->count;
}

struct crowd_user *crowd_enter(struct crowd *crowd, uid_t uid, int64_t now_ms)
{
	struct crowd_user **slot = &crowd->slots[uid % CROWD_SLOTS];
	struct crowd_user *user = *slot;
	while (user != NULL && user->uid != uid)
		user = user->next;
	if (user == NULL) {
		if (crowd->count >= crowd->sweep_at)
			sweep(crowd, now_ms / 1000);
		user = calloc(1, sizeof(*user));
		if (user == NULL)
			return NULL;
		user->uid = uid;
		user->second = INT64_MIN;
		user->next = *slot;
		*slot = user;
		crowd->count++;
	}
	user->connections++;
	user->open++;
	return user;
}

void crowd_leave(struct crowd_user *user)
{
	user->connections--;
}

struct crowd_user *crowd_greediest(const struct crowd *crowd)
{
	struct crowd_user *greediest = NULL;
	for (size_t i = 0; i < CROWD_SLOTS; i++)
		for (struct crowd_user *user = crowd->slots[i]; user != NULL; user = user->next)
			if (user->open > (greediest == NULL ? 0 : greediest->open))
				greediest = user;
	return greediest;
}

bool crowd_takes_request(struct crowd *crowd, struct crowd_user *user, int64_t now_ms)
{
	int64_t second = now_ms / 1000;
	if (crowd->second != second) {
		crowd->active_before = crowd->second == second - 1 ? crowd->active : 0;
		crowd->active = 0;
		crowd->second = second;
	}
	if (user->second != second) {
		user->second = second;
		user->requests = 0;
		crowd->active++;
	}
	user->requests++;
	bool is_alone = crowd->active <= 1 && crowd->active_before <= 1;
	return is_alone || user->requests <= CROWD_REQUESTS_S;
}

void crowd_free(struct crowd *crowd)
{
	for (size_t i = 0; i < CROWD_SLOTS; i++) {
		while (crowd->slots[i] != NULL) {
			struct crowd_user *user = crowd->slots[i];
			crowd->slots[i] = user->next;
			free(user);
		}
	}
	*crowd = (struct crowd){0};
}
