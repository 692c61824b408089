/*
 * Accounts, and the one place where the thread that refreshes them and the threads that serve them
 * meet: the registry. The refresh thread writes; server threads read without locks, between
 * epoch_enter() and epoch_leave(), and keep nothing of what they saw.
 */
#ifndef MRTOKEND_TOKEN_ACCOUNT_H
#define MRTOKEND_TOKEN_ACCOUNT_H

#include "base/epoch.h"
#include "base/error.h"
#include "token/access_rules.h"
#include "token/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the configuration says of an account. All strings are owned by the account. */
struct account_settings {
	char *name; /* letters, digits, '.', '_', '-' */
	char *kind; /* the upstream's name: "mixed_reality", "entra" */
	char *account_id; /* a UUID, as it was written; NULL where the kind has none, and so below
			   */
	char *account_domain; /* host name, with a port perhaps */
	char *endpoint; /* https://host[:port], without a slash at the end: for people */
	char *scope; /* what an Entra token is asked for, such as https://storage.azure.com/.default
		      */
	char *subject; /* who asks: credential_settings_subject() */
	char *ca_file; /* PEM bundle, or NULL for the system's */
	char *credential; /* the credential's kind, or several in order, for people */
	bool is_required; /* readiness waits for it */
	struct access_rules rules; /* who may */
	bool has_login; /* a person may have to log in, and can: ACCOUNT_REQUEST_LOGIN */
};

/* What the last exchanges came to: immutable, published anew whenever it changes. */
struct account_report {
	unsigned failures; /* in a row */
	unsigned exchanges; /* that have ended, so that a change tells of an end */
	int64_t next_ms; /* CLOCK_BOOTTIME of the next exchange; past while one is going on */
	int64_t refreshed_on; /* Unix seconds of the last success, or 0 */
	int64_t failed_on; /* Unix seconds of the last failure, or 0 */
	struct error error; /* of the last failure; code ERR_NONE after a success */
	const char *given_by; /* the credential that worked last, a constant; NULL before that */
	const char *key; /* which of the account's keys worked last, where it has two: a constant,
			  * the name in the configuration; or NULL */
	bool is_static; /* the token cannot be refreshed */
	char notice[256]; /* what someone should look at although all works, or "" */
};

enum account_state {
	ACCOUNT_STARTING, /* no token yet, and no failure */
	ACCOUNT_VALID, /* a valid token, and the last refresh worked */
	ACCOUNT_EXPIRING, /* a valid token near its end, which nothing can refresh */
	ACCOUNT_DEGRADED, /* a valid token, but the last refresh failed */
	ACCOUNT_FAILED, /* no valid token, and the last refresh failed */
};

enum account_login_state {
	ACCOUNT_LOGIN_STARTING, /* the code is being asked for */
	ACCOUNT_LOGIN_PENDING, /* somebody has to enter the code in a browser */
	ACCOUNT_LOGIN_DONE,
	ACCOUNT_LOGIN_FAILED,
};

#define ACCOUNT_LOGIN_CODE_MAX 32
#define ACCOUNT_LOGIN_URI_MAX 256
#define ACCOUNT_LOGIN_MESSAGE_MAX 640

/*
 * How far a login is: immutable, published anew whenever it changes. What is shown to the person is
 * printable, and there only while the login is pending.
 */
struct account_login {
	enum account_login_state state;
	char user_code[ACCOUNT_LOGIN_CODE_MAX + 1];
	char verification_uri[ACCOUNT_LOGIN_URI_MAX + 1];
	char message[ACCOUNT_LOGIN_MESSAGE_MAX + 1]; /* a sentence with both */
	int64_t expires_ms; /* CLOCK_BOOTTIME of the code's end */
	int64_t interval_s; /* in which the service is asked whether somebody has */
	struct error error; /* why it failed; else ERR_NONE */
};

/* What others may ask of the refresh thread for an account; bits. */
enum account_request {
	ACCOUNT_REQUEST_LOGIN = 1 << 0, /* begin a login, or join the one that is under way */
	ACCOUNT_REQUEST_REFRESH = 1 << 1, /* begin an exchange, or join the one that is under way */
};

struct account {
	struct account_settings settings;
	size_t index; /* in its table */
	_Atomic(struct snapshot *) snapshot; /* NULL before the first token */
	_Atomic(struct account_report *) report; /* never NULL */
	_Atomic(struct account_login *) login; /* NULL before the first */
	atomic_uint
		requests; /* of enum account_request, not done yet; account_request() sets them */
	_Atomic int64_t
		login_asked_ms; /* CLOCK_BOOTTIME when somebody last asked about the login */
	int64_t login_wanted_ms; /* when somebody last wanted to begin one; the server thread's */
	int64_t refresh_wanted_ms; /* likewise an exchange */
	atomic_bool has_waiters; /* the server thread's: requests that wait for a change */
	atomic_bool is_listed; /* in registry.changed */
	struct account *next_changed; /* there */
	bool has_given_snapshot_away; /* to its successor in a newer table */
};

/*
 * A new account that has no token yet.
 * settings  its strings are taken over on success
 * Returns NULL when there is no memory.
 */
struct account *account_new(struct account_settings *settings);

/*
 * Give a new account the token and the report of another process, and with report->next_ms its
 * schedule. Nobody else knows the account yet.
 * snapshot  taken over
 */
void account_inherit(
	struct account *account, struct snapshot *snapshot, const struct account_report *report);

/* Frees what it publishes too: no reader may see it any more. NULL is fine. */
void account_free(struct account *account);

void account_settings_clear(struct account_settings *settings);

/*
 * Whether both settings name the same thing, so that a token of one is a token of the other. What
 * the STS gives is the account's, whoever asked; but see account_settings_have_same_subject().
 */
bool account_settings_name_same_token(
	const struct account_settings *a, const struct account_settings *b);

/* Whether the same one asks: another may be given a token with other rights. */
bool account_settings_have_same_subject(
	const struct account_settings *a, const struct account_settings *b);

/* The account's state at a time; `report` and `snapshot` as loaded once. Pure. */
enum account_state account_state_of(
	const struct account_report *report, const struct snapshot *snapshot, int64_t now_ms);

/* "starting", "valid", "expiring", "degraded", "failed". */
const char *account_state_name(enum account_state state);

/* Whether the snapshot is there and may be handed out at `now_ms`. */
static inline bool snapshot_is_valid(const struct snapshot *snapshot, int64_t now_ms)
{
	return snapshot != NULL && now_ms < snapshot->dead_at_ms;
}

/*
 * All accounts of one configuration, in its order. Immutable but for what the accounts publish.
 * Look-ups cost the same for one account as for ten thousand.
 */
struct account_table {
	size_t count;
	struct account **accounts; /* owned */
	struct account *default_account; /* one of them, or NULL */
	bool has_rules; /* any account has; see policy_decide() */
	bool has_unit_rules; /* any account has one that names a unit */
	size_t slot_count; /* a power of two */
	struct account **by_name; /* open addressing */
	struct account **by_id; /* likewise; of several with one id, the first */
};

/*
 * accounts         the array and the accounts are taken over on success
 * default_account  one of them, or NULL
 * Returns NULL when there is no memory.
 */
struct account_table *account_table_new(
	struct account **accounts, size_t count, struct account *default_account);

/* Frees the accounts too; of the type that the epoch frees with. NULL is fine. */
void account_table_free(void *object);

/* The account of that name, or of that account id in either case; NULL when there is none. */
struct account *account_table_find(const struct account_table *table, const char *name);
struct account *account_table_find_id(const struct account_table *table, const char *account_id);

struct registry {
	struct epoch epoch;
	_Atomic(struct account_table *) table; /* NULL until the first configuration is adopted */
	atomic_bool
		has_requests; /* of some account; the refresh thread looks for it, and clears it */
	/* Set before the threads start: makes the refresh thread look. Any thread; never waits. */
	void (*wake)(void *context);
	void *wake_context;

	atomic_uint adoptions; /* tables published so far */
	_Atomic(struct account *) changed; /* accounts with waiters of which something is new */
	pthread_mutex_t notify_lock; /* guards the next two */
	void (*notify)(void *context); /* makes the server thread look; never waits; or NULL */
	void *notify_context;
};

void registry_init(struct registry *registry);

/* Frees the table too; no thread may use the registry any more. */
void registry_destroy(struct registry *registry);

/* From now on, have `notify` called when something changes that requests wait for. NULL: nothing.
 */
void registry_set_notify(
	struct registry *registry, void (*notify)(void *context), void *notify_context);

/*
 * Put a table in place of the present one. The refresh thread.
 * Returns the old one, or NULL: to be retired by the caller.
 */
struct account_table *registry_publish_table(
	struct registry *registry, struct account_table *table);

/*
 * The accounts with waiters of which something is new, linked by next_changed, or NULL. Each is
 * listed again when it next changes, from account_take_changed() on. The server thread, within the
 * epoch.
 */
struct account *registry_take_changed(struct registry *registry);

/* Take the first off a list of registry_take_changed(). Returns the rest. */
struct account *account_take_changed(struct account *account);

/* Publish, and retire what stood there. The refresh thread. What is published is taken over. */
void account_publish_snapshot(
	struct registry *registry, struct account *account, struct snapshot *snapshot);
void account_publish_report(
	struct registry *registry, struct account *account, struct account_report *report);

void account_publish_login(
	struct registry *registry, struct account *account, struct account_login *login);

/*
 * Ask the refresh thread to do something for the account: bits of enum account_request. What is
 * asked for twice before it is done is done once. Within the epoch; never waits.
 */
void account_request(struct registry *registry, struct account *account, unsigned requests);

/* "starting", "pending", "done", "failed". */
const char *account_login_state_name(enum account_login_state state);

#endif
