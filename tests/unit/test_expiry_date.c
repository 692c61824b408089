#include "credential/expiry_date.h"

#include "unit.h"

static void assert_reads(const char *words, int64_t expected)
{
	int64_t found = -7;
	ck_assert_msg(expiry_date_parse(words, &found) == 0, "%s", words);
	ck_assert_msg(found == expected, "%s: %" PRId64, words, found);
}

static void assert_refuses(const char *words)
{
	int64_t found = -7;
	ck_assert_msg(expiry_date_parse(words, &found) == -1, "%s: %" PRId64, words, found);
	ck_assert_int_eq(found, -7);
}

START_TEST(reads_the_form_of_app_service_on_linux)
{
	assert_reads("06/20/2019 02:57:58 +00:00", 1560999478);
	assert_reads("01/01/1970 00:00:00 +00:00", 0);
	assert_reads("12/31/2099 23:59:59 +00:00", INT64_C(4102444799));
	assert_reads("6/2/2019 2:57:58 +00:00", 1559444278);
}
END_TEST

START_TEST(reads_the_form_of_app_service_on_windows)
{
	assert_reads("1/16/2020 5:24:12 AM +00:00", 1579152252);
	assert_reads("1/16/2020 5:24:12 PM +00:00", 1579195452);
	assert_reads("11/06/2019 10:34:22 PM +00:00", 1573079662);
}
END_TEST

START_TEST(knows_that_twelve_comes_before_one)
{
	assert_reads("1/16/2020 12:00:00 AM +00:00", 1579132800);
	assert_reads("1/16/2020 12:00:01 PM +00:00", 1579176001);
	assert_refuses("1/16/2020 0:00:00 AM +00:00");
	assert_refuses("1/16/2020 13:00:00 PM +00:00");
}
END_TEST

START_TEST(reads_iso_8601)
{
	assert_reads("2019-06-20T02:57:58Z", 1560999478);
	assert_reads("2019-06-20T02:57:58+00:00", 1560999478);
	assert_reads("2019-06-20T02:57:58.1234567Z", 1560999478);
	assert_reads("2019-06-20T02:57:58.9+00:00", 1560999478);
}
END_TEST

START_TEST(counts_an_offset_from_utc)
{
	assert_reads("2019-06-20T04:57:58+02:00", 1560999478);
	assert_reads("2019-06-19T21:27:58-05:30", 1560999478);
	assert_reads("06/20/2019 04:57:58 +02:00", 1560999478);
	assert_refuses("2019-06-20T04:57:58+15:00");
	assert_refuses("2019-06-20T04:57:58+02:60");
	assert_refuses("1970-01-01T00:59:59+01:00"); /* before 1970 */
	assert_reads("1970-01-01T01:00:00+01:00", 0);
	assert_reads("1969-12-31T23:00:01-01:00", 1);
}
END_TEST

START_TEST(knows_the_calendar)
{
	assert_reads("2024-02-29T00:00:00Z", 1709164800);
	assert_refuses("2023-02-29T00:00:00Z");
	assert_refuses("2100-02-29T00:00:00Z");
	assert_refuses("2024-04-31T00:00:00Z");
	assert_refuses("2024-13-01T00:00:00Z");
	assert_refuses("2024-00-01T00:00:00Z");
	assert_refuses("2024-01-00T00:00:00Z");
	assert_refuses("2024-01-01T24:00:00Z");
	assert_refuses("2024-01-01T00:60:00Z");
	assert_refuses("2024-01-01T00:00:60Z");
	assert_refuses("02/30/2024 00:00:00 +00:00");
	assert_refuses("13/01/2024 00:00:00 +00:00");
	assert_refuses("1969-12-31T23:59:59Z");
}
END_TEST

START_TEST(refuses_every_beginning_of_a_date)
{
	static const char *const dates[] = {
		"06/20/2019 02:57:58 +00:00",
		"1/16/2020 5:24:12 AM +00:00",
		"2019-06-20T02:57:58.123+00:00",
	};
	for (size_t i = 0; i < UNIT_COUNT(dates); i++)
		for (size_t len = 0; len < strlen(dates[i]); len++) {
			char part[64];
			snprintf(part, sizeof(part), "%.*s", (int)len, dates[i]);
			assert_refuses(part);
		}
}
END_TEST

START_TEST(refuses_what_is_before_or_behind_a_date_or_in_its_place)
{
	static const char *const words[] = {
		" 2019-06-20T02:57:58Z",
		"2019-06-20T02:57:58Z ",
		"2019-06-20T02:57:58ZZ",
		"2019-06-20 02:57:58Z",
		"2019-06-20T02:57:58",
		"2019-06-20T02:57:58.Z",
		"2019-06-20T02:57:58.1234567890Z",
		"2019-6-20T02:57:58Z",
		"2019-06-20T2:57:58Z",
		"12019-06-20T02:57:58Z",
		"06/20/2019 02:57:58 +00:00 ",
		"06/20/2019 02:57:58",
		"06/20/2019 02:57:58Z",
		"06/20/19 02:57:58 +00:00",
		"1/16/2020 5:24:12 XM +00:00",
		"1/16/2020 5:24:12 am +00:00",
		"1/16/2020 5:24:12AM +00:00",
		"006/20/2019 02:57:58 +00:00",
		"Thu, 20 Jun 2019 02:57:58 GMT",
		"never",
		"",
		"-1",
		"1560999478",
		"2019-06-20T+2:57:58Z",
		"2019-06-20T02:57: 8Z",
	};
	for (size_t i = 0; i < UNIT_COUNT(words); i++)
		assert_refuses(words[i]);
}
END_TEST

UNIT_MAIN("expiry_date", reads_the_form_of_app_service_on_linux,
	reads_the_form_of_app_service_on_windows, knows_that_twelve_comes_before_one,
	reads_iso_8601, counts_an_offset_from_utc, knows_the_calendar,
	refuses_every_beginning_of_a_date, refuses_what_is_before_or_behind_a_date_or_in_its_place)
