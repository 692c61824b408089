#include "upstream/upstream.h"

#include <string.h>

const struct upstream *const upstreams[] = {
	&upstream_mixed_reality,
	NULL,
};

const struct upstream *upstream_find(const char *kind)
{
	for (size_t i = 0; upstreams[i] != NULL; i++)
		if (strcmp(upstreams[i]->kind, kind) == 0)
			return upstreams[i];
	return NULL;
}
