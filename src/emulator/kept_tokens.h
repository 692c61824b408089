/*
 * The last token given for each purpose, for the fault that gives it again. Any thread; one lock.
 */
#ifndef MRTOKEND_EMULATOR_KEPT_TOKENS_H
#define MRTOKEND_EMULATOR_KEPT_TOKENS_H

#include <stdint.h>

struct kept_tokens;

/* Returns NULL when there is no memory. */
struct kept_tokens *kept_tokens_new(void);
void kept_tokens_free(struct kept_tokens *kept);

/*
 * Keep a copy as the last for the purpose; without memory, none is kept.
 *
 * purpose  any words that tell it from others, such as client and scope
 */
void kept_tokens_put(
	struct kept_tokens *kept, const char *purpose, const char *token, int64_t expires_on);

/* A copy of the last, to be freed, and its expiry; NULL if there is none. */
char *kept_tokens_get(struct kept_tokens *kept, const char *purpose, int64_t *expires_on);

#endif
