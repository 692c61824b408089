#include "base/secret.h"

#include "base/secret_mapping.h"

#include <ctype.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/*
 * Slabs: a region of one size class, between two guard pages. Whatever describes a region or a
 * secret stands outside of it, in ordinary memory, so that an overrun meets a canary or a guard
 * page and no pointer.
 */
#define REGION_BYTES ((size_t)64 * 1024)
#define SMALLEST_SLOT ((size_t)64)
#define LARGEST_SLOT ((size_t)16 * 1024)
#define CLASS_COUNT 9 /* 64, 128, ... 16384 */
#define CANARY_BYTES sizeof(uint64_t)

struct region {
	struct region *next;
	struct secret_mapping mapping;
	size_t slot_size;
	size_t slots_in_use;
	uint64_t used[REGION_BYTES / SMALLEST_SLOT / 64]; /* one bit a slot */
};

struct secret {
	struct region *region;
	unsigned char *bytes;
	size_t len;
	size_t capacity; /* without canary and NUL */
};

/* Guards everything below, and is held for no longer than a search for a free slot. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t started = PTHREAD_ONCE_INIT;
static struct region *regions_of_class[CLASS_COUNT];
static struct secret_memory usage_now;
static uint64_t canary;

/* A forked child has none of its parent's secrets, and takes no place among them. */
static void forget_all(void)
{
	memset(regions_of_class, 0, sizeof(regions_of_class));
	usage_now = (struct secret_memory){0};
	pthread_mutex_init(&lock, NULL);
}

static void start(void)
{
	if (getrandom(&canary, sizeof(canary), 0) != (ssize_t)sizeof(canary))
		canary = (uintptr_t)&canary ^ UINT64_C(0x9e3779b97f4a7c15);
	pthread_atfork(NULL, NULL, forget_all);
}

static struct region *region_map(size_t size, size_t slot_size)
{
	struct region *region = calloc(1, sizeof(*region));
	if (region == NULL)
		return NULL;
	if (!secret_mapping_make(&region->mapping, size)) {
		free(region);
		return NULL;
	}
	region->slot_size = slot_size;
	usage_now.bytes_mapped += size;
	if (region->mapping.is_hidden)
		usage_now.bytes_hidden += size;
	if (!region->mapping.is_locked)
		usage_now.bytes_unlocked += size;
	return region;
}

static void region_unmap(struct region *region)
{
	usage_now.bytes_mapped -= region->mapping.size;
	if (region->mapping.is_hidden)
		usage_now.bytes_hidden -= region->mapping.size;
	if (!region->mapping.is_locked)
		usage_now.bytes_unlocked -= region->mapping.size;
	secret_mapping_drop(&region->mapping);
	free(region);
}

static size_t class_of(size_t slot_size)
{
	size_t class = 0;
	while (SMALLEST_SLOT << class < slot_size)
		class ++;
	return class;
}

static unsigned char *slot_take(struct region *region)
{
	size_t slots = region->mapping.size / region->slot_size;
	if (region->slots_in_use == slots)
		return NULL;
	for (size_t i = 0; i < slots; i++) {
		uint64_t bit = UINT64_C(1) << (i % 64);
		if ((region->used[i / 64] & bit) == 0) {
			region->used[i / 64] |= bit;
			region->slots_in_use++;
			return region->mapping.bytes + i * region->slot_size;
		}
	}
	return NULL;
}

/*
 * Set *place to room for `capacity` bytes, a NUL and the canary.
 * Returns the region that it is in, or NULL. Called with the lock held.
 */
static struct region *place_take(size_t capacity, unsigned char **place)
{
	size_t need = capacity + 1 + CANARY_BYTES;
	if (need > LARGEST_SLOT) {
		size_t page = (size_t)sysconf(_SC_PAGESIZE);
		size_t size = (need + page - 1) / page * page;
		struct region *own = region_map(size, size);
		if (own == NULL)
			return NULL;
		own->slots_in_use = 1;
		*place = own->mapping.bytes;
		return own;
	}
	size_t class = class_of(need);
	for (struct region *r = regions_of_class[class]; r != NULL; r = r->next) {
		*place = slot_take(r);
		if (*place != NULL)
			return r;
	}
	struct region *fresh = region_map(REGION_BYTES, SMALLEST_SLOT << class);
	if (fresh == NULL)
		return NULL;
	fresh->next = regions_of_class[class];
	regions_of_class[class] = fresh;
	*place = slot_take(fresh);
	return fresh;
}

/* Give a wiped place back. An empty region goes too, unless it is the only one of its class. */
static void place_release(struct region *region, const unsigned char *place)
{
	region->slots_in_use--;
	if (region->slot_size > LARGEST_SLOT) {
		region_unmap(region);
		return;
	}
	size_t i = (size_t)(place - region->mapping.bytes) / region->slot_size;
	region->used[i / 64] &= ~(UINT64_C(1) << (i % 64));
	struct region **link = &regions_of_class[class_of(region->slot_size)];
	if (region->slots_in_use > 0 || (*link == region && region->next == NULL))
		return;
	while (*link != region)
		link = &(*link)->next;
	*link = region->next;
	region_unmap(region);
}

static void canary_set(struct secret *secret)
{
	memcpy(secret->bytes + secret->capacity + 1, &canary, CANARY_BYTES);
}

static void canary_check(const struct secret *secret)
{
	if (memcmp(secret->bytes + secret->capacity + 1, &canary, CANARY_BYTES) != 0)
		abort();
}

/* Fill in `secret` with an empty place of at least `capacity` bytes. Returns 0 or -1. */
static int secret_place(struct secret *secret, size_t capacity)
{
	if (capacity > SECRET_MAX)
		return -1;
	pthread_once(&started, start);
	pthread_mutex_lock(&lock);
	unsigned char *place = NULL;
	struct region *region = place_take(capacity, &place);
	if (region != NULL)
		usage_now.bytes_in_use += region->slot_size;
	pthread_mutex_unlock(&lock);
	if (region == NULL)
		return -1;
	secret->region = region;
	secret->bytes = place;
	secret->len = 0;
	secret->capacity = region->slot_size - 1 - CANARY_BYTES;
	secret->bytes[0] = '\0';
	canary_set(secret);
	return 0;
}

static void secret_leave(struct secret *secret)
{
	canary_check(secret);
	explicit_bzero(secret->bytes, secret->capacity + 1 + CANARY_BYTES);
	pthread_mutex_lock(&lock);
	usage_now.bytes_in_use -= secret->region->slot_size;
	place_release(secret->region, secret->bytes);
	pthread_mutex_unlock(&lock);
}

struct secret *secret_new(size_t capacity)
{
	struct secret *secret = calloc(1, sizeof(*secret));
	if (secret == NULL)
		return NULL;
	if (secret_place(secret, capacity) != 0) {
		free(secret);
		return NULL;
	}
	return secret;
}

struct secret *secret_from(const void *bytes, size_t len)
{
	struct secret *secret = secret_new(len);
	if (secret != NULL)
		secret_append(secret, bytes, len); /* it has the capacity, so this cannot fail */
	return secret;
}

unsigned char *secret_extend(struct secret *secret, size_t len)
{
	if (len > SECRET_MAX - secret->len)
		return NULL;
	if (secret->len + len > secret->capacity) {
		struct secret moved;
		size_t want = secret->len + len;
		if (want < 2 * secret->capacity)
			want = 2 * secret->capacity < SECRET_MAX ? 2 * secret->capacity
								 : SECRET_MAX;
		if (secret_place(&moved, want) != 0)
			return NULL;
		memcpy(moved.bytes, secret->bytes, secret->len);
		moved.len = secret->len;
		secret_leave(secret);
		*secret = moved;
	}
	unsigned char *room = secret->bytes + secret->len;
	memset(room, 0, len + 1);
	secret->len += len;
	return room;
}

int secret_append(struct secret *secret, const void *bytes, size_t len)
{
	unsigned char *room = secret_extend(secret, len);
	if (room == NULL)
		return -1;
	if (len > 0)
		memcpy(room, bytes, len);
	return 0;
}

int secret_append_string(struct secret *secret, const char *string)
{
	return secret_append(secret, string, strlen(string));
}

int secret_append_secret(struct secret *secret, const struct secret *other)
{
	size_t len = other->len;
	unsigned char *room = secret_extend(secret, len);
	if (room == NULL)
		return -1;
	if (len > 0)
		memcpy(room, other->bytes, len); /* `other` may be `secret`, which may have moved */
	return 0;
}

void secret_truncate(struct secret *secret, size_t len)
{
	if (len >= secret->len)
		return;
	explicit_bzero(secret->bytes + len, secret->len - len);
	secret->len = len;
}

void secret_trim(struct secret *secret)
{
	size_t start = 0;
	size_t end = secret->len;
	while (end > 0 && isspace(secret->bytes[end - 1]))
		end--;
	while (start < end && isspace(secret->bytes[start]))
		start++;
	memmove(secret->bytes, secret->bytes + start, end - start);
	secret_truncate(secret, end - start);
}

const char *secret_bytes(const struct secret *secret)
{
	return (const char *)secret->bytes;
}

size_t secret_len(const struct secret *secret)
{
	return secret->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	if (a == NULL || b == NULL || a->len != b->len)
		return false;
	unsigned char difference = 0;
	for (size_t i = 0; i < a->len; i++)
		difference |= (unsigned char)(a->bytes[i] ^ b->bytes[i]);
	return difference == 0;
}

bool secret_is_within(const struct secret *secret, const char *haystack, size_t len)
{
	return secret->len > 0 && memmem(haystack, len, secret->bytes, secret->len) != NULL;
}

void secret_free(struct secret *secret)
{
	if (secret == NULL)
		return;
	secret_leave(secret);
	free(secret);
}

void secret_cleanup(struct secret **secret)
{
	secret_free(*secret);
}

void secret_memory_usage(struct secret_memory *usage)
{
	pthread_mutex_lock(&lock);
	*usage = usage_now;
	pthread_mutex_unlock(&lock);
}
