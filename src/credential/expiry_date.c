#include "credential/expiry_date.h"

#include <ctype.h>
#include <stdbool.h>
#include <time.h>

/* What is left of the words; every take_*() moves it behind what was read, if that was right. */
struct reader {
	const char *rest;
	bool has_failed;
};

static void take_letter(struct reader *reader, char letter)
{
	if (*reader->rest == letter)
		reader->rest++;
	else
		reader->has_failed = true;
}

static int take_number(struct reader *reader, int digits_min, int digits_max)
{
	int number = 0;
	int digits = 0;
	while (digits < digits_max && isdigit((unsigned char)*reader->rest)) {
		number = 10 * number + (*reader->rest++ - '0');
		digits++;
	}
	if (digits < digits_min)
		reader->has_failed = true;
	return number;
}

static void take_clock(struct reader *reader, struct tm *tm, int hour_digits_min)
{
	tm->tm_hour = take_number(reader, hour_digits_min, 2);
	take_letter(reader, ':');
	tm->tm_min = take_number(reader, 2, 2);
	take_letter(reader, ':');
	tm->tm_sec = take_number(reader, 2, 2);
}

/* " AM" or " PM", if it is there. */
static void take_half_of_day(struct reader *reader, struct tm *tm)
{
	if (reader->rest[0] != ' ' || (reader->rest[1] != 'A' && reader->rest[1] != 'P'))
		return;
	bool is_afternoon = reader->rest[1] == 'P';
	reader->rest += 2;
	take_letter(reader, 'M');
	if (tm->tm_hour < 1 || tm->tm_hour > 12)
		reader->has_failed = true;
	tm->tm_hour = tm->tm_hour % 12 + (is_afternoon ? 12 : 0);
}

/* "+00:00" or the like: how many seconds the words are ahead of UTC. */
static int take_offset(struct reader *reader)
{
	int sign = *reader->rest == '-' ? -1 : 1;
	take_letter(reader, sign < 0 ? '-' : '+');
	int hours = take_number(reader, 2, 2);
	take_letter(reader, ':');
	int minutes = take_number(reader, 2, 2);
	if (hours > 14 || minutes > 59)
		reader->has_failed = true;
	return sign * (3600 * hours + 60 * minutes);
}

static int take_slashed(struct reader *reader, struct tm *tm)
{
	tm->tm_mon = take_number(reader, 1, 2) - 1;
	take_letter(reader, '/');
	tm->tm_mday = take_number(reader, 1, 2);
	take_letter(reader, '/');
	tm->tm_year = take_number(reader, 4, 4) - 1900;
	take_letter(reader, ' ');
	take_clock(reader, tm, 1);
	take_half_of_day(reader, tm);
	take_letter(reader, ' ');
	return take_offset(reader);
}

static int take_iso(struct reader *reader, struct tm *tm)
{
	tm->tm_year = take_number(reader, 4, 4) - 1900;
	take_letter(reader, '-');
	tm->tm_mon = take_number(reader, 2, 2) - 1;
	take_letter(reader, '-');
	tm->tm_mday = take_number(reader, 2, 2);
	take_letter(reader, 'T');
	take_clock(reader, tm, 2);
	if (*reader->rest == '.') {
		reader->rest++;
		take_number(reader, 1, 9);
	}
	if (*reader->rest != 'Z')
		return take_offset(reader);
	reader->rest++;
	return 0;
}

int expiry_date_parse(const char *words, int64_t *unix_s)
{
	struct reader reader = {.rest = words};
	struct tm tm = {0};
	bool is_iso = isdigit((unsigned char)words[0]) && isdigit((unsigned char)words[1]) &&
		      isdigit((unsigned char)words[2]);
	int offset_s = is_iso ? take_iso(&reader, &tm) : take_slashed(&reader, &tm);
	if (reader.has_failed || *reader.rest != '\0')
		return -1;
	/* timegm() makes a date of any numbers; a day that the month has not is one of another. */
	struct tm normal = tm;
	time_t seconds = timegm(&normal);
	if (normal.tm_mon != tm.tm_mon || normal.tm_hour != tm.tm_hour ||
		normal.tm_min != tm.tm_min || normal.tm_sec != tm.tm_sec || seconds < offset_s)
		return -1;
	*unix_s = (int64_t)seconds - offset_s;
	return 0;
}
