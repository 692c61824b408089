/*
 * A token as it is handed out: immutable, with a ready answer for each form that a client may ask
 * for, all in secret memory. Built once when the token arrives; never changed; retired through the
 * epoch when a newer one is published, and wiped when its last reader lets go.
 */
#ifndef MRTOKEND_TOKEN_SNAPSHOT_H
#define MRTOKEND_TOKEN_SNAPSHOT_H

#include "base/error.h"
#include "base/secret.h"

#include <stdint.h>

enum representation {
	REPRESENTATION_JSON, /* the interface's own object */
	REPRESENTATION_TEXT, /* the bare token */
	REPRESENTATION_HEADER, /* a ready Authorization line */
	REPRESENTATION_STS, /* the STS's own answer: azure-protocol.md A.5 */
	REPRESENTATION_COUNT,
};

struct snapshot_parts {
	const char *account; /* the account's name; like the next three, fit for JSON as it is */
	const char *account_id; /* NULL where there is none, and so the next two */
	const char *account_domain;
	const char *scope;
	int64_t expires_on; /* Unix seconds, by the upstream's clock */
	int64_t refresh_on; /* likewise */
	int64_t dead_at_ms; /* CLOCK_BOOTTIME: from here on it is never handed out */
	int64_t received_ms; /* CLOCK_BOOTTIME */
	uint64_t number; /* that its ETags are made of; 0: a new one */
};

/*
 * Whoever sends answers makes of each body whatever it sends best. The snapshot keeps the results
 * and gives them back; it does not know what they are.
 */
struct answer_maker {
	/*
	 * body  owned by the answer from here on, also on failure
	 * etag  quoted, copied
	 * Returns the answer, or NULL: no memory. The refresh thread, or the main thread before
	 * that has accounts.
	 */
	void *(*make)(enum representation representation, struct secret *body, const char *etag);
	/* The snapshot's own hold on the answer ends; one that is being sent lives until it is. */
	void (*release)(void *answer);
};

struct snapshot {
	struct secret *token;
	int64_t expires_on;
	int64_t refresh_on;
	int64_t dead_at_ms;
	int64_t received_ms;
	uint64_t number; /* random, of this token alone; never 0 */
	const struct answer_maker *maker;
	void *answers[REPRESENTATION_COUNT];
};

#define SNAPSHOT_TOKEN_MAX ((size_t)64 * 1024)

/*
 * Build the snapshot of a token, with all its answers.
 *
 * token  owned by the snapshot on success, by the caller on failure
 * maker  lives as long as any snapshot
 *
 * Returns NULL with *err: ERR_UPSTREAM_FORMAT when the token is empty, too long or has a byte that
 * has no place in a header; ERR_NO_MEMORY. Free with snapshot_free().
 */
struct snapshot *snapshot_build(struct secret *token, const struct snapshot_parts *parts,
	const struct answer_maker *maker, struct error *err);

/* Wipe and free; of the type that the epoch frees with. NULL is fine. */
void snapshot_free(void *object);

#endif
