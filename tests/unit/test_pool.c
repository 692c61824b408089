#include "credential/pool.h"

#include "unit.h"

static unsigned opened;
static unsigned closed;
static const char *fails_for; /* the client_id whose credential cannot be opened */

static struct credential *pooled_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	ck_assert_ptr_nonnull(account);
	if (fails_for != NULL && strcmp(fails_for, settings->client_id) == 0) {
		error_set(err, ERR_CONFIGURATION, "no such client");
		return NULL;
	}
	opened++;
	return calloc(1, sizeof(struct credential));
}

static void pooled_close(struct credential *credential)
{
	closed++;
	free(credential);
}

static const struct credential_kind shared_kind = {
	.name = "shared",
	.open = pooled_open,
	.close = pooled_close,
	.is_shared = true,
};

static const struct credential_kind own_kind = {
	.name = "own",
	.open = pooled_open,
	.close = pooled_close,
};

static const struct account_settings account = {.name = (char *)"anchors"};

/* Owns nothing. */
static struct credential_settings settings_of(
	const struct credential_kind *kind, const char *client)
{
	return (struct credential_settings){
		.kinds = {kind},
		.kind_count = 1,
		.client_id = (char *)client,
	};
}

static struct credential *get(
	struct credential_pool *pool, const struct credential_pool *older, const char *client)
{
	const struct credential_settings settings = settings_of(&shared_kind, client);
	struct error err = ERROR_INIT;
	struct credential *credential = credential_pool_get(pool, older, &settings, &account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	ck_assert_ptr_eq(credential->kind, &shared_kind);
	return credential;
}

START_TEST(gives_accounts_with_the_same_settings_one_credential)
{
	struct credential_pool *pool = credential_pool_new();
	struct credential *first = get(pool, NULL, "a");
	struct credential *other = get(pool, NULL, "b");
	struct credential *second = get(pool, NULL, "a");
	ck_assert_ptr_eq(first, second);
	ck_assert_ptr_ne(first, other);
	ck_assert_uint_eq(opened, 2);
	/* It lives until the last of them gives it back, whatever becomes of the pool. */
	credential_pool_free(pool);
	credential_close(first);
	ck_assert_uint_eq(closed, 0);
	credential_close(second);
	ck_assert_uint_eq(closed, 1);
	credential_close(other);
	ck_assert_uint_eq(closed, 2);
	credential_pool_free(NULL);
}
END_TEST

START_TEST(opens_a_kind_that_is_not_shared_each_time)
{
	const struct credential_settings settings = settings_of(&own_kind, "a");
	struct credential_pool *pool = credential_pool_new();
	struct error err = ERROR_INIT;
	struct credential *first = credential_pool_get(pool, NULL, &settings, &account, &err);
	struct credential *second = credential_pool_get(pool, pool, &settings, &account, &err);
	ck_assert_ptr_ne(first, second);
	ck_assert_uint_eq(opened, 2);
	credential_close(first);
	credential_close(second);
	ck_assert_uint_eq(closed, 2);
	credential_pool_free(pool);
}
END_TEST

START_TEST(goes_on_with_the_credential_of_an_older_pool)
{
	struct credential_pool *older = credential_pool_new();
	struct credential *before = get(older, NULL, "a");
	struct credential *gone = get(older, NULL, "gone");
	struct credential_pool *newer = credential_pool_new();
	struct credential *after = get(newer, older, "a");
	struct credential *another = get(newer, older, "new");
	ck_assert_ptr_eq(after, before);
	ck_assert_ptr_ne(another, gone);
	ck_assert_uint_eq(opened, 3);
	/* As at a reload: the older accounts go. */
	credential_close(before);
	credential_close(gone);
	credential_pool_free(older);
	ck_assert_uint_eq(closed, 1);
	/* And the next reload finds it in the newer pool. */
	struct credential_pool *newest = credential_pool_new();
	ck_assert_ptr_eq(get(newest, newer, "a"), after);
	ck_assert_ptr_eq(get(newest, newer, "a"), after);
	ck_assert_uint_eq(opened, 3);
	for (int i = 0; i < 3; i++)
		credential_close(after);
	credential_close(another);
	ck_assert_uint_eq(closed, 3);
	credential_pool_free(newer);
	credential_pool_free(newest);
}
END_TEST

START_TEST(leaves_nothing_behind_when_it_cannot_be_opened)
{
	const struct credential_settings settings = settings_of(&shared_kind, "bad");
	struct credential_pool *pool = credential_pool_new();
	fails_for = "bad";
	for (int i = 0; i < 2; i++) {
		struct error err = ERROR_INIT;
		ck_assert_ptr_null(credential_pool_get(pool, NULL, &settings, &account, &err));
		ck_assert_int_eq(err.code, ERR_CONFIGURATION);
		ck_assert_str_eq(err.message, "no such client");
	}
	fails_for = NULL;
	credential_close(get(pool, NULL, "bad"));
	ck_assert_uint_eq(opened, 1);
	ck_assert_uint_eq(closed, 1);
	credential_pool_free(pool);
}
END_TEST

#define MANY 10000

START_TEST(finds_one_among_ten_thousand)
{
	static struct credential *credentials[MANY];
	struct credential_pool *pool = credential_pool_new();
	char client[16];
	for (int i = 0; i < MANY; i++) {
		snprintf(client, sizeof(client), "%d", i); /* in the order that trees fear */
		credentials[i] = get(pool, NULL, client);
	}
	ck_assert_uint_eq(opened, MANY);
	for (int i = 0; i < MANY; i++) {
		snprintf(client, sizeof(client), "%d", i);
		ck_assert_ptr_eq(get(pool, NULL, client), credentials[i]);
		credential_close(credentials[i]);
		credential_close(credentials[i]);
	}
	ck_assert_uint_eq(opened, MANY);
	ck_assert_uint_eq(closed, MANY);
	credential_pool_free(pool);
}
END_TEST

UNIT_MAIN("pool", gives_accounts_with_the_same_settings_one_credential,
	opens_a_kind_that_is_not_shared_each_time, goes_on_with_the_credential_of_an_older_pool,
	leaves_nothing_behind_when_it_cannot_be_opened, finds_one_among_ten_thousand)
