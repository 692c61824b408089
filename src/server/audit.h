/*
 * Who got tokens of which account: a line for the first one that a process gets, then one a minute
 * at most with how many more there were. The server thread; the lines are written by a thread of
 * the audit's own, so that a journal that does not listen holds up nobody.
 */
#ifndef MRTOKEND_SERVER_AUDIT_H
#define MRTOKEND_SERVER_AUDIT_H

#include "base/error.h"
#include "server/permission.h"

#include <stdint.h>

/* What comes within it is one line. */
#define AUDIT_INTERVAL_MS INT64_C(60000)

/* So many pairs of process and account are told apart; the oldest makes room for one more. */
#define AUDIT_ENTRIES 1024

/* So many of them may be of one user; what further processes get is counted together. */
#define AUDIT_ENTRIES_OF_USER 64

/* So many lines may wait to be written; of those that find no room the tokens are counted. */
#define AUDIT_QUEUE 256

struct audit;

/* Returns NULL with *err. Free with audit_free(). */
struct audit *audit_new(struct error *err);

/*
 * A token is handed out. Without a call of the kernel and without memory, but for the first one
 * that the process gets for AUDIT_INTERVAL_MS.
 *
 * caller   whose unit is read if a line is made
 * account  its name
 * request  the number that makes its X-Request-Id
 */
void audit_note(struct audit *audit, const struct caller *caller, const char *account,
	uint64_t request, int64_t now_ms);

/* Tell what has not been told for AUDIT_INTERVAL_MS; and when it is due, or INT64_MAX. */
void audit_turn(struct audit *audit, int64_t now_ms);
int64_t audit_next_ms(const struct audit *audit);

/* Tell the rest, wait until all is written, and end the thread. NULL is fine. */
void audit_free(struct audit *audit);

#endif
