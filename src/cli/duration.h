/*
 * Durations for people: the two largest units, "11h 59m", "2m 5s", "42s".
 */
#ifndef MRTOKEND_CLI_DURATION_H
#define MRTOKEND_CLI_DURATION_H

#include <stdint.h>

#define DURATION_WORDS_SIZE 48

/*
 * Word a duration, rounded down.
 *
 * when_past  stands for zero seconds and fewer
 * words      DURATION_WORDS_SIZE bytes
 */
void duration_words(int64_t seconds, const char *when_past, char *words);

#endif
