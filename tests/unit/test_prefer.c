#include "server/prefer.h"

#include "unit.h"

START_TEST(reads_the_time_to_wait)
{
	static const struct {
		const char *value;
		int64_t wait_s;
	} cases[] = {
		{"wait=10", 10},
		{"wait=0", 0},
		{"WAIT=7", 7},
		{"wait = 7", 7},
		{"wait=\"7\"", 7},
		{" \twait=7 \t", 7},
		{"wait=7;foo=bar", 7},
		{"wait=7 ; foo", 7},
		{"respond-async, wait=100", 100},
		{"respond-async,wait=100", 100},
		{"return=minimal; foo=\"a, wait=5\", wait=6", 6},
		{"foo=\"a\\\", wait=5\", wait=6", 6},
		{"wait=5, wait=6", 5},
		{"wait=x, wait=6", 6},
		{"wait=00009", 9},
		{",, wait=3,", 3},
		{"", -1},
		{",", -1},
		{"wait", -1},
		{"wait=", -1},
		{"wait=\"\"", -1},
		{"wait=\"7", -1},
		{"wait=-1", -1},
		{"wait=+1", -1},
		{"wait=1.5", -1},
		{"wait=1 2", -1},
		{"wait=1s", -1},
		{"wait;wait=5", -1},
		{"waiting=5", -1},
		{"await=5", -1},
		{"foo=wait=5", -1},
		{"\"", -1},
		{"foo=\"\\", -1},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		int64_t wait_s = prefer_wait_s(cases[i].value);
		ck_assert_msg(
			wait_s == cases[i].wait_s, "\"%s\": %" PRId64, cases[i].value, wait_s);
	}
}
END_TEST

START_TEST(takes_a_number_of_any_length_for_a_long_time)
{
	static const int lens[] = {10, 18, 19, 20, 100, 4000};
	for (size_t i = 0; i < UNIT_COUNT(lens); i++) {
		char value[5000];
		memset(value, '9', sizeof(value));
		memcpy(value, "wait=", 5);
		value[5 + lens[i]] = '\0';
		ck_assert_int_ge(prefer_wait_s(value), 1000000000);
	}
}
END_TEST

UNIT_MAIN("prefer", reads_the_time_to_wait, takes_a_number_of_any_length_for_a_long_time)
