#include "emulator/faults.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct faults {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct fault *queue[FAULTS_MAX];
	size_t count;
	uint64_t last_number;
};

struct faults *faults_new(void)
{
	struct faults *faults = calloc(1, sizeof(*faults));
	if (faults != NULL)
		pthread_mutex_init(&faults->lock, NULL);
	return faults;
}

void faults_free(struct faults *faults)
{
	if (faults == NULL)
		return;
	faults_clear(faults);
	pthread_mutex_destroy(&faults->lock);
	free(faults);
}

void fault_unref(struct fault *fault)
{
	if (fault == NULL || atomic_fetch_sub(&fault->references, 1) != 1)
		return;
	fault_release(fault);
	free(fault);
}

/* The lock is held. */
static struct json_object *show(const struct fault *fault)
{
	struct json_object *copy = NULL;
	if (json_object_deep_copy(fault->json, &copy, NULL) != 0)
		return NULL;
	json_object_object_add(copy, "number", json_object_new_int64((int64_t)fault->number));
	json_object_object_add(
		copy, "left", fault->count == 0 ? NULL : json_object_new_int64(fault->left));
	return copy;
}

struct json_object *faults_add(struct faults *faults, struct json_object *json, struct error *err)
{
	struct fault *fault = calloc(1, sizeof(*fault));
	if (fault == NULL) {
		error_set(err, ERR_NO_MEMORY, "no memory for the fault");
		return NULL;
	}
	atomic_init(&fault->references, 1);
	if (fault_from_json(fault, json, err) != 0) {
		fault_unref(fault);
		return NULL;
	}
	struct json_object *shown = NULL;
	pthread_mutex_lock(&faults->lock);
	if (faults->count == FAULTS_MAX) {
		error_set(err, ERR_CONFIGURATION,
			"there are %d faults already, the most there can be", FAULTS_MAX);
	} else {
		fault->number = ++faults->last_number;
		fault->left = fault->count;
		faults->queue[faults->count++] = fault;
		shown = show(fault);
		if (shown == NULL)
			error_set(err, ERR_NO_MEMORY, "no memory to show the fault");
		fault = NULL;
	}
	pthread_mutex_unlock(&faults->lock);
	fault_unref(fault);
	return shown;
}

struct json_object *faults_list(struct faults *faults)
{
	struct json_object *list = json_object_new_array();
	pthread_mutex_lock(&faults->lock);
	for (size_t i = 0; i < faults->count; i++)
		json_object_array_add(list, show(faults->queue[i]));
	pthread_mutex_unlock(&faults->lock);
	return list;
}

size_t faults_clear(struct faults *faults)
{
	pthread_mutex_lock(&faults->lock);
	size_t count = faults->count;
	for (size_t i = 0; i < count; i++)
		fault_unref(faults->queue[i]);
	faults->count = 0;
	pthread_mutex_unlock(&faults->lock);
	return count;
}

/* Take the fault at `place` out of the queue. The lock is held. */
static void take_out(struct faults *faults, size_t place)
{
	faults->count--;
	for (size_t i = place; i < faults->count; i++)
		faults->queue[i] = faults->queue[i + 1];
}

int faults_remove(struct faults *faults, uint64_t number)
{
	struct fault *removed = NULL;
	pthread_mutex_lock(&faults->lock);
	for (size_t i = 0; i < faults->count && removed == NULL; i++) {
		if (faults->queue[i]->number != number)
			continue;
		removed = faults->queue[i];
		take_out(faults, i);
	}
	pthread_mutex_unlock(&faults->lock);
	fault_unref(removed);
	return removed == NULL ? -1 : 0;
}

/* One use of the fault at `place`; the caller gets a reference. The lock is held. */
static struct fault *use(struct faults *faults, size_t place)
{
	struct fault *fault = faults->queue[place];
	if (fault->count == 0 || --fault->left > 0) {
		atomic_fetch_add(&fault->references, 1);
		return fault;
	}
	take_out(faults, place);
	return fault;
}

static bool is_for_connections(const struct fault *fault)
{
	return fault->action == FAULT_RESET && fault->at == FAULT_AT_ACCEPT;
}

bool faults_take_connection(struct faults *faults, enum server_index server)
{
	struct fault *taken = NULL;
	pthread_mutex_lock(&faults->lock);
	for (size_t i = 0; i < faults->count && taken == NULL; i++)
		if (is_for_connections(faults->queue[i]) && faults->queue[i]->server == server)
			taken = use(faults, i);
	pthread_mutex_unlock(&faults->lock);
	fault_unref(taken);
	return taken != NULL;
}

bool fault_replaces_answer(const struct fault *fault)
{
	return (fault->members & (FAULT_HAS_STATUS | FAULT_HAS_BODY)) != 0 ||
	       (fault->action == FAULT_RESET && fault->at != FAULT_AT_BODY);
}

static bool applies(
	const struct fault *fault, enum server_index server, const char *account, bool gives_token)
{
	if (is_for_connections(fault) || fault->server != server)
		return false;
	if (fault->account[0] != '\0' && strcasecmp(fault->account, account) != 0)
		return false;
	return gives_token || fault->action == FAULT_DELAY || fault_replaces_answer(fault);
}

struct fault *faults_take(
	struct faults *faults, enum server_index server, const char *account, bool gives_token)
{
	struct fault *taken = NULL;
	pthread_mutex_lock(&faults->lock);
	for (size_t i = 0; i < faults->count && taken == NULL; i++)
		if (applies(faults->queue[i], server, account, gives_token))
			taken = use(faults, i);
	pthread_mutex_unlock(&faults->lock);
	return taken;
}
