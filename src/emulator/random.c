#include "emulator/random.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

static void write_uuid(char uuid[UUID_SIZE], unsigned char b[16])
{
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(uuid, UUID_SIZE,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
}

bool random_uuid(char uuid[UUID_SIZE])
{
	unsigned char b[16];
	if (RAND_bytes(b, sizeof(b)) != 1)
		return false;
	write_uuid(uuid, b);
	return true;
}

bool uuid_of_words(char uuid[UUID_SIZE], const char *words)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	if (EVP_Digest(words, strlen(words), digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	write_uuid(uuid, digest);
	return true;
}

bool random_word(char *word, size_t len, const char *alphabet)
{
	size_t letters = strlen(alphabet);
	for (size_t i = 0; i < len; i++) {
		unsigned char b;
		if (RAND_bytes(&b, 1) != 1)
			return false;
		word[i] = alphabet[b % letters];
	}
	word[len] = '\0';
	return true;
}
