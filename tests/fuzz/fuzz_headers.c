/*
 * Headers of answers and of requests, and the encodings in them. The first byte says which.
 */
#include "base/http_client.h"
#include "base/http_response.h"
#include "base/text.h"
#include "server/prefer.h"

#include "fuzz.h"

static void read_vector(const char *value)
{
	struct http_response response = {0};
	struct secret *line = secret_from("Authorization: Bearer id:keyOfTheAccount", 40);
	fuzz_assert(line != NULL);
	strncat(response.correlation_vector, value, sizeof(response.correlation_vector) - 1);
	http_response_vet(&response, line, line);
	fuzz_assert(strstr(response.correlation_vector, "keyOfThe") == NULL);
	for (const char *c = response.correlation_vector; *c != '\0'; c++)
		fuzz_assert((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f);
	secret_free(line);
}

static void decode(const char *value, size_t len)
{
	unsigned char *bytes = malloc(3 * len / 4 + 1);
	char *string = malloc(len + 1);
	fuzz_assert(bytes != NULL && string != NULL);
	fuzz_assert(base64_decode(value, len, bytes) <= (ssize_t)(3 * len / 4 + 1));
	ssize_t got = percent_decode(value, len, string, len + 1);
	fuzz_assert(got < 0 || (size_t)got == strlen(string));
	free(bytes);
	free(string);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return 0;
	char *value = fuzz_string(bytes + 1, len - 1);
	switch (bytes[0] % 4) {
	case 0:
		fuzz_assert(http_retry_after_s(value, INT64_C(1709251200)) >= -1);
		break;
	case 1:
		fuzz_assert(prefer_wait_s(value) >= -1);
		break;
	case 2:
		read_vector(value);
		break;
	default:
		decode(value, strlen(value));
	}
	free(value);
	return 0;
}
