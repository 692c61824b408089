#include "cli/duration.h"

#include <stddef.h>
#include <stdio.h>

void duration_words(int64_t seconds, const char *when_past, char *words)
{
	static const struct {
		const char *letter;
		int64_t seconds;
	} units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
	const size_t last = sizeof(units) / sizeof(units[0]) - 1;
	if (seconds <= 0) {
		snprintf(words, DURATION_WORDS_SIZE, "%s", when_past);
		return;
	}
	size_t i = 0;
	while (i < last && seconds < units[i].seconds)
		i++;
	long long whole = (long long)(seconds / units[i].seconds);
	int64_t rest = seconds % units[i].seconds;
	if (i == last)
		snprintf(words, DURATION_WORDS_SIZE, "%lld%s", whole, units[i].letter);
	else
		snprintf(words, DURATION_WORDS_SIZE, "%lld%s %lld%s", whole, units[i].letter,
			(long long)(rest / units[i + 1].seconds), units[i + 1].letter);
}
