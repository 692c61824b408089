/*
 * The key files by which Azure Arc's endpoint sees that a caller may read what only members of a
 * group may: azure-protocol.md C.5. Each challenge writes a new one; it is good once, and is then
 * removed. Any thread; one lock.
 */
#ifndef MRTOKEND_EMULATOR_ARC_KEYS_H
#define MRTOKEND_EMULATOR_ARC_KEYS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the real agent writes them, and the only place from which most clients take them. */
#define ARC_DIRECTORY "/var/opt/azcmagent/tokens"

struct arc_keys;

/*
 * directory  where key files go; made if it is not there
 *
 * Returns NULL with *err: ERR_SYSTEM, ERR_NO_MEMORY. Free with arc_keys_free(), which removes the
 * files that are left.
 */
struct arc_keys *arc_keys_new(const char *directory, struct error *err);
void arc_keys_free(struct arc_keys *keys);

/* Write a new key, and tell the path of its file. Returns 0, or -1 with *err: ERR_SYSTEM. */
int arc_keys_challenge(struct arc_keys *keys, char *path, size_t path_size, struct error *err);

/* Whether it is a key that was not shown before; it is then used up. */
bool arc_keys_take(struct arc_keys *keys, const char *key);

#endif
