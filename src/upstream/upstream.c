#include "upstream/upstream.h"

#include <string.h>

const struct upstream *const upstreams[] = {
	&upstream_mixed_reality,
	&upstream_entra,
	NULL,
};

int upstream_token_copy(
	struct upstream_token *token, const struct access_token *from, struct error *err)
{
	*token = (struct upstream_token){
		.token = secret_from(secret_bytes(from->token), secret_len(from->token)),
		.expires_on = from->expires_on,
		.server_date_s = -1,
		.dead_at_ms = from->dead_at_ms,
		.refresh_at_ms = from->refresh_at_ms > 0 ? from->refresh_at_ms : 0,
		.is_static = from->is_static,
		.given_by = from->given_by,
		.key = from->key,
		.notice = from->notice,
		.is_notice_told = from->is_notice_told,
		.notice_id = from->notice_id,
	};
	if (token->token == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot keep a token: out of memory");
	return 0;
}

const struct upstream *upstream_find(const char *kind)
{
	for (size_t i = 0; upstreams[i] != NULL; i++)
		if (strcmp(upstreams[i]->kind, kind) == 0)
			return upstreams[i];
	return NULL;
}
