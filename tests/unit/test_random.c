#include "base/random.h"

#include "base/text.h"
#include "unit.h"

START_TEST(fills_what_it_is_given_and_nothing_beyond)
{
	for (size_t len = 0; len <= 600; len += 7) {
		unsigned char bytes[602];
		struct error err = ERROR_INIT;
		memset(bytes, 0xa5, sizeof(bytes));
		ck_assert_int_eq(random_bytes(bytes, len, &err), 0);
		ck_assert_uint_eq(bytes[len], 0xa5);
		ck_assert_uint_eq(bytes[len + 1], 0xa5);
	}
}
END_TEST

START_TEST(fills_all_of_what_it_is_given)
{
	/* More than one call to the kernel gives at a time. A byte stays 0 in all twenty with a
	 * chance of 1 in 2^160. */
	static unsigned char bytes[100000];
	static unsigned char all[sizeof(bytes)];
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(random_bytes(bytes, sizeof(bytes), NULL), 0);
		for (size_t j = 0; j < sizeof(bytes); j++)
			all[j] |= bytes[j];
	}
	ck_assert_ptr_null(memchr(all, 0, sizeof(all)));
}
END_TEST

START_TEST(tells_that_it_cannot_be_filled)
{
	struct error err = ERROR_INIT;
	void *volatile nowhere = (void *)8;
	ck_assert_int_eq(random_bytes(nowhere, 16, &err), -1);
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	ck_assert_ptr_nonnull(strstr(err.message, "random bytes"));
}
END_TEST

START_TEST(makes_uuids_of_version_four)
{
	char last[RANDOM_UUID_SIZE] = "";
	unsigned variants = 0;
	for (int i = 0; i < 1000; i++) {
		char uuid[RANDOM_UUID_SIZE];
		struct error err = ERROR_INIT;
		ck_assert_int_eq(random_uuid(uuid, &err), 0);
		ck_assert_msg(is_uuid(uuid), "%s", uuid);
		ck_assert_uint_eq(strspn(uuid, "0123456789abcdef-"), RANDOM_UUID_SIZE - 1);
		ck_assert_int_eq(uuid[14], '4');
		ck_assert_ptr_nonnull(strchr("89ab", uuid[19]));
		variants |= 1U << (strchr("89ab", uuid[19]) - "89ab");
		ck_assert_str_ne(uuid, last);
		strcpy(last, uuid);
	}
	ck_assert_uint_eq(variants, 15);
}
END_TEST

START_TEST(gives_a_part_of_one_evenly)
{
	unsigned tenths[10] = {0};
	for (int i = 0; i < 20000; i++) {
		double part = random_part();
		ck_assert(part >= 0 && part < 1);
		tenths[(int)(part * 10)]++;
	}
	/* 2,000 each, give or take seven standard deviations. */
	for (size_t i = 0; i < UNIT_COUNT(tenths); i++)
		ck_assert_msg(
			tenths[i] > 1700 && tenths[i] < 2300, "tenth %zu has %u", i, tenths[i]);
}
END_TEST

UNIT_MAIN("random", fills_what_it_is_given_and_nothing_beyond, fills_all_of_what_it_is_given,
	tells_that_it_cannot_be_filled, makes_uuids_of_version_four, gives_a_part_of_one_evenly)
