#include "emulator/accounts.h"

#include "base/secret.h"
#include "base/text.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct account {
	char id[ACCOUNT_ID_LEN + 1]; /* lower case */
	struct secret *keys[ACCOUNT_KEYS_MAX];
	size_t key_count;
	struct account_rule rule;
	char *last_token;
};

struct accounts {
	pthread_mutex_t lock; /* guards all below; no other lock is taken while it is held */
	struct account *sorted; /* by id */
	size_t count;
	size_t capacity;
};

struct accounts *accounts_new(void)
{
	struct accounts *accounts = calloc(1, sizeof(*accounts));
	if (accounts != NULL)
		pthread_mutex_init(&accounts->lock, NULL);
	return accounts;
}

static void drop_keys(struct account *account)
{
	for (size_t i = 0; i < account->key_count; i++)
		secret_free(account->keys[i]);
	account->key_count = 0;
}

static void drop(struct account *account)
{
	drop_keys(account);
	free(account->rule.principals);
	free(account->last_token);
}

void accounts_free(struct accounts *accounts)
{
	if (accounts == NULL)
		return;
	for (size_t i = 0; i < accounts->count; i++)
		drop(&accounts->sorted[i]);
	free(accounts->sorted);
	pthread_mutex_destroy(&accounts->lock);
	free(accounts);
}

static bool normalize(const char *id, char normal[ACCOUNT_ID_LEN + 1])
{
	if (!is_uuid(id))
		return false;
	for (size_t i = 0; i <= ACCOUNT_ID_LEN; i++)
		normal[i] = (char)tolower((unsigned char)id[i]);
	return true;
}

/* Where the account is, or would have to stand. */
static size_t place_of(const struct accounts *accounts, const char *normal, bool *is_there)
{
	size_t low = 0;
	size_t high = accounts->count;
	*is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(accounts->sorted[middle].id, normal);
		if (order == 0) {
			*is_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct account *find(const struct accounts *accounts, const char *id)
{
	char normal[ACCOUNT_ID_LEN + 1];
	bool is_there = false;
	if (!normalize(id, normal))
		return NULL;
	size_t place = place_of(accounts, normal, &is_there);
	return is_there ? &accounts->sorted[place] : NULL;
}

static int check_keys(const struct account_key *keys, size_t count, struct error *err)
{
	if (count < 1 || count > ACCOUNT_KEYS_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"an account has one key or two, and %zu were given", count);
	for (size_t i = 0; i < count; i++) {
		if (keys[i].len == 0)
			return error_set(err, ERR_CONFIGURATION, "key %zu is empty", i + 1);
		if (keys[i].len > ACCOUNT_KEY_LEN_MAX)
			return error_set(err, ERR_CONFIGURATION,
				"key %zu has %zu characters, and %d are the most", i + 1,
				keys[i].len, ACCOUNT_KEY_LEN_MAX);
		for (size_t j = 0; j < keys[i].len; j++)
			if (keys[i].bytes[j] <= ' ' || keys[i].bytes[j] > '~' ||
				keys[i].bytes[j] == ':')
				return error_set(err, ERR_CONFIGURATION,
					"character %zu of key %zu is a ':', a space or not "
					"printable ASCII",
					j + 1, i + 1);
	}
	return 0;
}

static struct account *insert(struct accounts *accounts, size_t place, const char *normal)
{
	if (accounts->count == accounts->capacity) {
		size_t capacity = accounts->capacity == 0 ? 64 : 2 * accounts->capacity;
		struct account *grown = reallocarray(accounts->sorted, capacity, sizeof(*grown));
		if (grown == NULL)
			return NULL;
		accounts->sorted = grown;
		accounts->capacity = capacity;
	}
	struct account *account = &accounts->sorted[place];
	memmove(account + 1, account, (accounts->count - place) * sizeof(*account));
	*account = (struct account){0};
	memcpy(account->id, normal, sizeof(account->id));
	accounts->count++;
	return account;
}

int accounts_put(struct accounts *accounts, const char *id, const struct account_key *keys,
	size_t count, struct error *err)
{
	char normal[ACCOUNT_ID_LEN + 1];
	struct secret *secrets[ACCOUNT_KEYS_MAX] = {NULL};
	bool is_there = false;
	bool has_memory = true;
	if (!normalize(id, normal))
		return error_set(err, ERR_CONFIGURATION, "the account identifier is not a UUID");
	if (check_keys(keys, count, err) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		has_memory = (secrets[i] = secret_from(keys[i].bytes, keys[i].len)) != NULL &&
			     has_memory;
	pthread_mutex_lock(&accounts->lock);
	size_t place = place_of(accounts, normal, &is_there);
	struct account *account = NULL;
	if (has_memory)
		account = is_there ? &accounts->sorted[place] : insert(accounts, place, normal);
	if (account != NULL) {
		drop_keys(account);
		memcpy(account->keys, secrets, sizeof(secrets));
		account->key_count = count;
	}
	pthread_mutex_unlock(&accounts->lock);
	if (account != NULL)
		return is_there ? 0 : 1;
	for (size_t i = 0; i < count; i++)
		secret_free(secrets[i]);
	return error_set(err, ERR_NO_MEMORY, "no memory for account %s", normal);
}

int accounts_remove(struct accounts *accounts, const char *id)
{
	pthread_mutex_lock(&accounts->lock);
	struct account *account = find(accounts, id);
	if (account != NULL) {
		drop(account);
		accounts->count--;
		size_t place = (size_t)(account - accounts->sorted);
		memmove(account, account + 1, (accounts->count - place) * sizeof(*account));
	}
	pthread_mutex_unlock(&accounts->lock);
	return account != NULL ? 0 : -1;
}

enum account_check accounts_check(
	struct accounts *accounts, const char *id, const char *key, size_t len)
{
	_cleanup_secret_ struct secret *given = secret_from(key, len);
	enum account_check result = ACCOUNT_UNKNOWN;
	pthread_mutex_lock(&accounts->lock);
	const struct account *account = find(accounts, id);
	if (account != NULL) {
		result = ACCOUNT_KEY_WRONG;
		for (size_t i = 0; i < account->key_count; i++)
			if (secret_equal(account->keys[i], given))
				result = ACCOUNT_KEY_FITS;
	}
	pthread_mutex_unlock(&accounts->lock);
	return result;
}

int accounts_permit(struct accounts *accounts, const char *id, const struct account_rule *rule)
{
	pthread_mutex_lock(&accounts->lock);
	struct account *account = find(accounts, id);
	if (account != NULL) {
		free(account->rule.principals);
		account->rule = *rule;
	}
	pthread_mutex_unlock(&accounts->lock);
	return account != NULL ? 0 : -1;
}

static enum account_check check_rule(const struct account_rule *rule, const char *tenant,
	const char *client_id, const char *object_id)
{
	if (rule->tenant[0] != '\0' && strcasecmp(rule->tenant, tenant) != 0)
		return ACCOUNT_TENANT_WRONG;
	for (size_t i = 0; i < rule->count; i++)
		if (strcasecmp(rule->principals[i], client_id) == 0 ||
			strcasecmp(rule->principals[i], object_id) == 0)
			return ACCOUNT_PERMITS;
	return ACCOUNT_FORBIDS;
}

enum account_check accounts_check_principal(struct accounts *accounts, const char *id,
	const char *tenant, const char *client_id, const char *object_id)
{
	enum account_check result = ACCOUNT_UNKNOWN;
	pthread_mutex_lock(&accounts->lock);
	const struct account *account = find(accounts, id);
	if (account != NULL)
		result = check_rule(&account->rule, tenant, client_id, object_id);
	pthread_mutex_unlock(&accounts->lock);
	return result;
}

void accounts_keep_token(struct accounts *accounts, const char *id, const char *token)
{
	char *copy = strdup(token);
	pthread_mutex_lock(&accounts->lock);
	struct account *account = find(accounts, id);
	if (account != NULL) {
		char *old = account->last_token;
		account->last_token = copy;
		copy = old;
	}
	pthread_mutex_unlock(&accounts->lock);
	free(copy);
}

char *accounts_last_token(struct accounts *accounts, const char *id)
{
	pthread_mutex_lock(&accounts->lock);
	const struct account *account = find(accounts, id);
	char *copy =
		account != NULL && account->last_token != NULL ? strdup(account->last_token) : NULL;
	pthread_mutex_unlock(&accounts->lock);
	return copy;
}

void accounts_list(struct accounts *accounts,
	void (*each)(
		void *context, const char *id, size_t key_count, const struct account_rule *rule),
	void *context)
{
	pthread_mutex_lock(&accounts->lock);
	for (size_t i = 0; i < accounts->count; i++)
		each(context, accounts->sorted[i].id, accounts->sorted[i].key_count,
			&accounts->sorted[i].rule);
	pthread_mutex_unlock(&accounts->lock);
}
