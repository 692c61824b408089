#include "emulator/record.h"

#include "emulator/server.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct entry {
	struct json_object *json; /* all but the status; only read once it is in the ring */
	int status;
	size_t bytes; /* a rough measure */
};

struct record {
	/* Guards all below. Nothing waits for a network while it is held. */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct entry ring[RECORD_MAX]; /* number n is at n % RECORD_MAX */
	uint64_t first; /* the oldest kept; first == next: none */
	uint64_t next;
	size_t bytes;
	bool is_stopping;
};

struct record *record_new(void)
{
	struct record *record = calloc(1, sizeof(*record));
	pthread_condattr_t attributes;
	if (record == NULL || pthread_condattr_init(&attributes) != 0) {
		free(record);
		return NULL;
	}
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&record->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&record->lock, NULL);
	record->first = 1;
	record->next = 1;
	return record;
}

static void drop_first(struct record *record)
{
	struct entry *entry = &record->ring[record->first++ % RECORD_MAX];
	record->bytes -= entry->bytes;
	json_object_put(entry->json);
	*entry = (struct entry){0};
}

void record_free(struct record *record)
{
	if (record == NULL)
		return;
	record_clear(record);
	pthread_cond_destroy(&record->wake);
	pthread_mutex_destroy(&record->lock);
	free(record);
}

/* Bytes of the wire as a JSON string: those beyond ASCII as the Latin-1 characters they stand for.
 */
static struct json_object *wire_string(const char *bytes, size_t len)
{
	char *utf8 = malloc(2 * len + 1);
	if (utf8 == NULL)
		return NULL;
	size_t written = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c < 0x80) {
			utf8[written++] = (char)c;
		} else {
			utf8[written++] = (char)(0xc0 | c >> 6);
			utf8[written++] = (char)(0x80 | (c & 0x3f));
		}
	}
	struct json_object *string = json_object_new_string_len(utf8, (int)written);
	free(utf8);
	return string;
}

static struct json_object *headers_json(const struct request *request)
{
	struct json_object *headers = json_object_new_array();
	for (size_t i = 0; i < request->header_count; i++) {
		const struct header *header = &request->headers[i];
		struct json_object *pair = json_object_new_array_ext(2);
		json_object_array_add(pair, wire_string(header->name, strlen(header->name)));
		json_object_array_add(pair, wire_string(header->value, strlen(header->value)));
		json_object_array_add(headers, pair);
	}
	return headers;
}

/* Names and values as received, undecoded; of a name that is there twice, the last. */
static struct json_object *query_json(const char *query)
{
	struct json_object *object = json_object_new_object();
	while (query != NULL && *query != '\0') {
		size_t len = strcspn(query, "&");
		const char *equals = memchr(query, '=', len);
		size_t name_len = equals == NULL ? len : (size_t)(equals - query);
		const char *value = equals == NULL ? "" : equals + 1;
		size_t value_len = equals == NULL ? 0 : len - name_len - 1;
		struct json_object *name = wire_string(query, name_len);
		if (name != NULL && len > 0)
			json_object_object_add(object, json_object_get_string(name),
				wire_string(value, value_len));
		json_object_put(name);
		query += len;
		query += *query == '&';
	}
	return object;
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct json_object *request_json(
	const char *server, const struct request *request, const char *fault, const char *complaint)
{
	struct json_object *json = json_object_new_object();
	if (json == NULL)
		return NULL;
	json_object_object_add(json, "server", json_object_new_string(server));
	json_object_object_add(
		json, "connection", json_object_new_int64((int64_t)request->connection));
	json_object_object_add(
		json, "method", wire_string(request->method, strlen(request->method)));
	json_object_object_add(
		json, "target", wire_string(request->target, strlen(request->target)));
	json_object_object_add(json, "path", wire_string(request->target, request->path_len));
	json_object_object_add(json, "query", query_json(request->query));
	json_object_object_add(
		json, "version", wire_string(request->version, strlen(request->version)));
	json_object_object_add(json, "headers", headers_json(request));
	json_object_object_add(json, "body", wire_string(request->body.data, request->body.len));
	json_object_object_add(json, "fault", fault == NULL ? NULL : json_object_new_string(fault));
	json_object_object_add(json, "complaint",
		complaint == NULL ? NULL : wire_string(complaint, strlen(complaint)));
	json_object_object_add(json, "received_on", json_object_new_int64(now_ms()));
	return json;
}

static size_t rough_size(const struct request *request)
{
	size_t size = 2048 + 2 * strlen(request->target) + request->body.len;
	for (size_t i = 0; i < request->header_count; i++)
		size += 256 + strlen(request->headers[i].name) + strlen(request->headers[i].value);
	return size;
}

uint64_t record_add(struct record *record, const char *server, const struct request *request,
	const char *fault, const char *complaint)
{
	struct entry entry = {
		.json = request_json(server, request, fault, complaint),
		.bytes = rough_size(request),
	};
	if (entry.json == NULL)
		return 0;
	pthread_mutex_lock(&record->lock);
	while (record->first < record->next &&
		(record->next - record->first >= RECORD_MAX ||
			record->bytes + entry.bytes > RECORD_BYTES_MAX))
		drop_first(record);
	uint64_t number = record->next++;
	json_object_object_add(entry.json, "number", json_object_new_int64((int64_t)number));
	record->ring[number % RECORD_MAX] = entry;
	record->bytes += entry.bytes;
	pthread_cond_broadcast(&record->wake);
	pthread_mutex_unlock(&record->lock);
	return number;
}

void record_answered(struct record *record, uint64_t number, int status)
{
	pthread_mutex_lock(&record->lock);
	if (number >= record->first && number < record->next)
		record->ring[number % RECORD_MAX].status = status;
	pthread_mutex_unlock(&record->lock);
}

struct json_object *record_list(struct record *record, uint64_t after, int64_t wait_ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	struct json_object *list = json_object_new_array();
	pthread_mutex_lock(&record->lock);
	int result = 0;
	while (wait_ms > 0 && result == 0 && !record->is_stopping &&
		(record->next - 1 <= after || record->first == record->next))
		result = pthread_cond_timedwait(&record->wake, &record->lock, &until);
	uint64_t number = after >= record->first ? after + 1 : record->first;
	for (; number < record->next; number++) {
		/* A copy, because json-c counts references without locks. */
		const struct entry *entry = &record->ring[number % RECORD_MAX];
		struct json_object *copy = NULL;
		if (json_object_deep_copy(entry->json, &copy, NULL) != 0)
			break;
		json_object_object_add(copy, "status", json_object_new_int(entry->status));
		json_object_array_add(list, copy);
	}
	pthread_mutex_unlock(&record->lock);
	return list;
}

size_t record_clear(struct record *record)
{
	pthread_mutex_lock(&record->lock);
	size_t count = (size_t)(record->next - record->first);
	while (record->first < record->next)
		drop_first(record);
	pthread_mutex_unlock(&record->lock);
	return count;
}

void record_stop(struct record *record)
{
	pthread_mutex_lock(&record->lock);
	record->is_stopping = true;
	pthread_cond_broadcast(&record->wake);
	pthread_mutex_unlock(&record->lock);
}
