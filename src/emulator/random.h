/*
 * Identifiers and secrets that nobody can guess. Any thread.
 */
#ifndef MRTOKEND_EMULATOR_RANDOM_H
#define MRTOKEND_EMULATOR_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

#define UUID_SIZE 37

/* A UUID of version 4 in lower case. Returns whether the system gave random bytes. */
bool random_uuid(char uuid[UUID_SIZE]);

/* A UUID that is always the same for the same words, and another for others. */
bool uuid_of_words(char uuid[UUID_SIZE], const char *words);

/* `len` characters of `alphabet`, and a NUL. Returns whether the system gave random bytes. */
bool random_word(char *word, size_t len, const char *alphabet);

#define ALPHABET_HEXADECIMAL "0123456789ABCDEF"
#define ALPHABET_BASE64URL "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

#endif
