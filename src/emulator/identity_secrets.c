#include "emulator/identity_secrets.h"

#include "emulator/random.h"

#include <openssl/crypto.h>
#include <string.h>

bool identity_secrets_make(struct identity_secrets *secrets)
{
	return random_word(secrets->app_service, IDENTITY_SECRET_LEN, ALPHABET_HEXADECIMAL) &&
	       random_word(secrets->service_fabric, IDENTITY_SECRET_LEN, ALPHABET_HEXADECIMAL) &&
	       random_word(secrets->azure_ml, IDENTITY_SECRET_LEN, ALPHABET_HEXADECIMAL);
}

bool identity_secret_fits(const char *secret, const char *given)
{
	return given != NULL && strlen(given) == strlen(secret) &&
	       CRYPTO_memcmp(secret, given, strlen(secret)) == 0;
}
