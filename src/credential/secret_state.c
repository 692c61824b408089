#include "credential/secret_state.h"

#include "credential/live_secret.h"

#include <stddef.h>

/* No credential has more: a chain of all kinds has nine. */
#define SECRETS_MAX 32

struct found {
	struct secret_state state;
	const struct live_secret *secrets[SECRETS_MAX];
	size_t count;
	bool is_looking;
};

static void on_secret(void *context, struct live_secret *secret, enum secret_change change)
{
	struct found *found = context;
	struct error err = ERROR_INIT;
	if (found->count < SECRETS_MAX)
		found->secrets[found->count] = secret;
	found->count++;
	if (!found->is_looking)
		return;
	if (live_secret_get(secret, NULL, &err) == NULL)
		found->state.is_readable = false;
	/* One that cannot be read just now has not changed by that. */
	uint64_t version = live_secret_version(secret);
	found->state.versions += version;
	if (change == SECRET_IS_ROTATED)
		found->state.rotations += version;
}

struct secret_state secret_state_now(const struct credential *credential)
{
	struct found found = {.state.is_readable = true, .is_looking = true};
	credential_visit_secrets(credential, on_secret, &found);
	return found.state;
}

bool secret_state_differs(
	const struct credential *before, const struct credential *now, struct secret_state *state)
{
	struct found old = {0};
	struct found new = {.state.is_readable = true, .is_looking = true};
	credential_visit_secrets(before, on_secret, &old);
	credential_visit_secrets(now, on_secret, &new);
	*state = new.state;
	bool differs = old.count != new.count;
	for (size_t i = 0; !differs && i < new.count &&i < SECRETS_MAX; i++)
		differs = !live_secret_is_same(old.secrets[i], new.secrets[i]);
	return differs;
}
