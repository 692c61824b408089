#include "credential/credential.h"

#include <string.h>

const struct credential_kind *const credential_kinds[] = {
	&credential_account_key,
	NULL,
};

const struct credential_kind *credential_kind_find(const char *name)
{
	for (size_t i = 0; credential_kinds[i] != NULL; i++)
		if (strcmp(credential_kinds[i]->name, name) == 0)
			return credential_kinds[i];
	return NULL;
}

void credential_settings_clear(struct credential_settings *settings)
{
	secret_source_clear(&settings->account_key);
	secret_source_clear(&settings->secondary_account_key);
	settings->kind = NULL;
}

void credential_close(struct credential *credential)
{
	if (credential != NULL)
		credential->kind->close(credential);
}
