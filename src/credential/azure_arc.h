/*
 * The challenge of Azure Arc's agent: whoever can read a file that only root and the agent's group
 * can, gets tokens. The agent names the file; what it may name is decided here.
 * The refresh thread. Source: azure-protocol.md C.5.
 */
#ifndef MRTOKEND_CREDENTIAL_AZURE_ARC_H
#define MRTOKEND_CREDENTIAL_AZURE_ARC_H

#include "base/error.h"
#include "base/secret.h"

/* Where the files are, and how long one may be. */
#define AZURE_ARC_KEY_DIRECTORY "/var/opt/azcmagent/tokens"
#define AZURE_ARC_KEY_MAX ((size_t)4096)

/*
 * The name of the file in `directory` that a challenge, "Basic realm=PATH", names.
 *
 * Returns where it begins in `path`, which holds `path_size` bytes and gets the path; or NULL with
 * *err: ERR_UPSTREAM_FORMAT when that is no such challenge, or its file is not one of a name that
 * ends in .key, directly in the directory. Pure.
 */
const char *azure_arc_key_name(const char *directory, const char *challenge, char *path,
	size_t path_size, struct error *err);

/*
 * "Authorization: Basic " and what is in the file that the challenge names, as it is there.
 *
 * Returns NULL with *err: as azure_arc_key_name(); ERR_SECRET_SOURCE when the file cannot be read,
 * is no regular file but a link, say, or is no key; ERR_NO_MEMORY. Free with secret_free().
 */
struct secret *azure_arc_answer(const char *directory, const char *challenge, struct error *err);

#endif
