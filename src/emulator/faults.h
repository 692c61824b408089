/*
 * Scripted faults: a queue of what shall go wrong with the next requests.
 *
 * Each request takes the first fault of the queue that applies to it, and each new connection the
 * first that resets connections as they are accepted. Each fault is for one server. A fault that
 * only changes how a token is given is left alone by a request that is refused and so gets none.
 * Any thread may call any of it.
 */
#ifndef MRTOKEND_EMULATOR_FAULTS_H
#define MRTOKEND_EMULATOR_FAULTS_H

#include "base/error.h"
#include "emulator/accounts.h"
#include "emulator/servers.h"

#include <json-c/json.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULT_HEADERS_MAX 32
#define FAULTS_MAX 1000
#define FAULT_DELAY_MAX_MS 3600000
#define FAULT_SIZE_MAX ((int64_t)256 * 1024 * 1024)
#define FAULT_SIZE_DEFAULT ((int64_t)4 * 1024 * 1024)
#define FAULT_PAUSE_DEFAULT_MS 100

enum fault_action_kind {
	FAULT_STATUS,
	FAULT_DELAY,
	FAULT_RESET,
	FAULT_TRUNCATE,
	FAULT_WRONG_TYPE,
	FAULT_OVERSIZE,
	FAULT_SLOW_BODY,
	FAULT_SAME_TOKEN,
	FAULT_TOKEN,
};

enum fault_moment {
	FAULT_AT_ACCEPT,
	FAULT_AT_HEADERS,
	FAULT_AT_BODY,
};

/* Which of the members below were given. */
enum fault_member {
	FAULT_HAS_STATUS = 1 << 0,
	FAULT_HAS_BODY = 1 << 1,
	FAULT_HAS_CONTENT_TYPE = 1 << 2,
	FAULT_HAS_HEADERS = 1 << 3,
	FAULT_HAS_DELAY = 1 << 4,
	FAULT_HAS_AT = 1 << 5,
	FAULT_HAS_SIZE = 1 << 6,
	FAULT_HAS_PAUSE = 1 << 7,
	FAULT_HAS_LIFETIME = 1 << 8,
	FAULT_HAS_ACCOUNT = 1 << 9,
	FAULT_HAS_ACTION = 1 << 10,
	FAULT_HAS_COUNT = 1 << 11,
	FAULT_HAS_SERVER = 1 << 12,
	FAULT_HAS_AADSTS = 1 << 13,
};

/* Does not change once it is in the queue, but for `left`, which is the queue's. */
struct fault {
	atomic_int references;
	struct json_object *json; /* as it was given, with all defaults; the queue's */
	uint64_t number;
	int64_t count; /* 0: until deleted */
	int64_t left;
	unsigned members;
	enum fault_action_kind action;
	const char *name; /* of the action */
	enum fault_moment at;
	enum server_index server;
	char account[ACCOUNT_ID_LEN + 1]; /* "" for any */
	int64_t aadsts; /* the code that Entra's error has; 0 for the status's own */
	int64_t status;
	struct text body;
	char *content_type;
	struct header headers[FAULT_HEADERS_MAX]; /* a value that is NULL takes the header away */
	size_t header_count;
	int64_t delay_ms;
	int64_t size;
	int64_t pause_ms;
	int64_t lifetime_s;
};

struct faults;

/* Returns NULL when there is no memory. */
struct faults *faults_new(void);
void faults_free(struct faults *faults);

/*
 * Read a fault from its JSON form and append it.
 * Returns the fault as faults_list() shows it, to be put, or NULL with *err: ERR_CONFIGURATION, a
 * sentence that names the member at fault; ERR_NO_MEMORY.
 */
struct json_object *faults_add(struct faults *faults, struct json_object *json, struct error *err);

/* The faults left, as a JSON array in their order, to be put. */
struct json_object *faults_list(struct faults *faults);

/* Drop them all. Returns how many. */
size_t faults_clear(struct faults *faults);

/* Drop the one of that number. Returns 0, or -1 when it is not there, or no more. */
int faults_remove(struct faults *faults, uint64_t number);

/* Whether a new connection to the server is to be reset; uses one up. */
bool faults_take_connection(struct faults *faults, enum server_index server);

/*
 * The fault that a request meets, one use of it used up.
 *
 * account      its account, app or identity, or "" when it names none
 * gives_token  whether it is as it should be, and so would be answered with a token
 *
 * Returns NULL for none, or a fault to be given back by fault_unref().
 */
struct fault *faults_take(
	struct faults *faults, enum server_index server, const char *account, bool gives_token);

void fault_unref(struct fault *fault);

/* Whether it puts an answer of its own in the place of the server's. */
bool fault_replaces_answer(const struct fault *fault);

/*
 * Read a fault from JSON; see faults_add(). In fault_json.c.
 * Returns 0 with *fault zeroed and then filled, or -1 with *err; fault_release() is due either way.
 */
int fault_from_json(struct fault *fault, struct json_object *json, struct error *err);

/* Free what a fault holds, but not the fault. */
void fault_release(struct fault *fault);

#endif
