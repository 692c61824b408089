/*
 * What the fuzzers share. Each is a program of libFuzzer that includes this once, and checks after
 * each input that nothing of it is left.
 */
#ifndef MRTOKEND_TESTS_FUZZ_FUZZ_H
#define MRTOKEND_TESTS_FUZZ_FUZZ_H

#include "base/error.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* What must be: a crash is how libFuzzer learns that it is not. */
static inline void fuzz_assert(bool holds)
{
	if (!holds)
		abort();
}

/* An error has a code and printable words. */
static inline void fuzz_assert_told(const struct error *err)
{
	fuzz_assert(err->code != ERR_NONE && err->message[0] != '\0');
	for (const char *c = err->message; *c != '\0'; c++)
		fuzz_assert((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static inline size_t fuzz_secret_bytes(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

/* The input as a string; free() it. */
static inline char *fuzz_string(const uint8_t *bytes, size_t len)
{
	char *string = malloc(len + 1);
	fuzz_assert(string != NULL);
	memcpy(string, bytes, len);
	string[len] = '\0';
	return string;
}

#endif
