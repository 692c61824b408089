#include "service/cache_entry.h"

#include <openssl/evp.h>

#define NAME_LEN_AT 0
#define GIVEN_BY_LEN_AT 2
#define NOTICE_LEN_AT 3
#define TOKEN_LEN_AT 4
#define SETTINGS_AT 8
#define NUMBER_AT 40
#define TIMES_AT 48

#define TIME_COUNT 6

/* The greatest number of seconds that JSON's numbers can tell exactly; see token/jwt.h. */
#define UNIX_MAX (INT64_C(1) << 53)

static size_t strings_size(const struct cache_entry *entry)
{
	return entry->name_len + entry->given_by_len + entry->notice_len + entry->token_len;
}

size_t cache_entry_size(const struct cache_entry *entry)
{
	return CACHE_ENTRY_SIZE + strings_size(entry);
}

void cache_entry_encode(const struct cache_entry *entry, unsigned char out[CACHE_ENTRY_SIZE])
{
	const int64_t times[TIME_COUNT] = {entry->expires_on, entry->refresh_on,
		entry->refreshed_on, entry->received_ms, entry->dead_at_ms, entry->next_ms};
	out[NAME_LEN_AT] = (unsigned char)(entry->name_len & 0xff);
	out[NAME_LEN_AT + 1] = (unsigned char)(entry->name_len >> 8);
	out[GIVEN_BY_LEN_AT] = (unsigned char)entry->given_by_len;
	out[NOTICE_LEN_AT] = (unsigned char)entry->notice_len;
	cache_put_32(out + TOKEN_LEN_AT, (uint32_t)entry->token_len);
	memcpy(out + SETTINGS_AT, entry->settings, CACHE_DIGEST_SIZE);
	cache_put_64(out + NUMBER_AT, entry->number);
	for (size_t i = 0; i < TIME_COUNT; i++)
		cache_put_64(out + TIMES_AT + 8 * i, (uint64_t)times[i]);
}

bool cache_entry_decode(
	const unsigned char **at, const unsigned char *end, struct cache_entry *entry)
{
	const unsigned char *head = *at;
	int64_t times[TIME_COUNT];
	if ((size_t)(end - head) < CACHE_ENTRY_SIZE)
		return false;
	for (size_t i = 0; i < TIME_COUNT; i++)
		times[i] = (int64_t)cache_get_64(head + TIMES_AT + 8 * i);
	*entry = (struct cache_entry){
		.name_len = head[NAME_LEN_AT] | (size_t)head[NAME_LEN_AT + 1] << 8,
		.given_by_len = head[GIVEN_BY_LEN_AT],
		.notice_len = head[NOTICE_LEN_AT],
		.token_len = cache_get_32(head + TOKEN_LEN_AT),
		.number = cache_get_64(head + NUMBER_AT),
		.expires_on = times[0],
		.refresh_on = times[1],
		.refreshed_on = times[2],
		.received_ms = times[3],
		.dead_at_ms = times[4],
		.next_ms = times[5],
	};
	memcpy(entry->settings, head + SETTINGS_AT, CACHE_DIGEST_SIZE);
	if (entry->name_len < 1 || entry->name_len > CACHE_NAME_MAX || entry->token_len < 1 ||
		entry->token_len > SNAPSHOT_TOKEN_MAX || entry->number == 0)
		return false;
	head += CACHE_ENTRY_SIZE;
	if ((size_t)(end - head) < strings_size(entry))
		return false;
	entry->name = (const char *)head;
	entry->given_by = entry->name + entry->name_len;
	entry->notice = entry->given_by + entry->given_by_len;
	entry->token = entry->notice + entry->notice_len;
	*at = head + strings_size(entry);
	return memchr(entry->name, '\0', entry->name_len) == NULL;
}

int cache_entry_compare_names(const struct cache_entry *a, const struct cache_entry *b)
{
	size_t least = a->name_len < b->name_len ? a->name_len : b->name_len;
	int order = memcmp(a->name, b->name, least);
	return order != 0 ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static bool is_unix_time(int64_t time_s)
{
	return time_s >= 0 && time_s <= UNIX_MAX;
}

bool cache_entry_has_sound_times(const struct cache_entry *entry, int64_t now_ms)
{
	return entry->received_ms >= 0 && entry->received_ms <= now_ms &&
	       entry->dead_at_ms > entry->received_ms &&
	       entry->dead_at_ms - entry->received_ms <= CACHE_LIFETIME_MAX_MS &&
	       entry->next_ms >= 0 && is_unix_time(entry->expires_on) &&
	       is_unix_time(entry->refresh_on) && is_unix_time(entry->refreshed_on);
}

/* Strings with their lengths, so that no two lists are the same bytes; NULL differs from "". */
static bool digest_string(EVP_MD_CTX *digest, const char *string)
{
	unsigned char head[9] = {string != NULL};
	size_t len = string == NULL ? 0 : strlen(string);
	cache_put_64(head + 1, len);
	return EVP_DigestUpdate(digest, head, sizeof(head)) == 1 &&
	       (len == 0 || EVP_DigestUpdate(digest, string, len) == 1);
}

int cache_settings_digest(
	const struct account_settings *settings, unsigned char out[CACHE_DIGEST_SIZE])
{
	const char *const strings[] = {
		settings->name,
		settings->kind,
		settings->endpoint,
		settings->account_id,
		settings->account_domain,
		settings->scope,
		settings->subject,
	};
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	bool is_made = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; is_made && i < sizeof(strings) / sizeof(strings[0]); i++)
		is_made = digest_string(digest, strings[i]);
	is_made = is_made && EVP_DigestFinal_ex(digest, out, NULL) == 1;
	EVP_MD_CTX_free(digest);
	return is_made ? 0 : -1;
}
