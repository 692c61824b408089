/*
 * Credentials: what an account shows to its upstream to get a token. Each kind is one file with one
 * table of functions; a new kind is one more file, one more line in credential.c, and its keys in
 * config/keys.c if it has any of its own.
 *
 * Settings are opened by the main thread; all else happens on the refresh thread, on its loop.
 */
#ifndef MRTOKEND_CREDENTIAL_CREDENTIAL_H
#define MRTOKEND_CREDENTIAL_CREDENTIAL_H

#include "base/error.h"
#include "base/loop.h"
#include "base/secret.h"
#include "credential/settings.h"
#include "token/account.h"

#include <stdbool.h>
#include <stdint.h>

struct live_secret;
struct shared_token;

/* Every kind's own structure begins with this; credential_open() fills it in. */
struct credential {
	const struct credential_kind *kind;
	unsigned references; /* the main thread and the refresh thread, never at the same time */
	struct shared_token *tokens; /* one for each scope; shared_token.c */
};

/* What a credential gave. */
struct access_token {
	struct secret *token; /* may be taken: set it to NULL then */
	int64_t expires_on; /* Unix seconds, by the clock of who gave it */
	int64_t dead_at_ms; /* CLOCK_BOOTTIME; INT64_MAX when it does not expire */
	int64_t refresh_at_ms; /* CLOCK_BOOTTIME, where its giver said so (refresh_in); or -1 */
	bool is_account_key; /* "{accountId}:{accountKey}" and no access token at all */
	bool is_static; /* what the account's clients get as it is: no exchange, no refreshing */
	bool is_cached; /* set by shared_token.c: it was not asked for just now */
	const char *given_by; /* the kind that gave it, which in a chain is another than asked */
	const char *key; /* which of its kind's keys it is made of, by the name in the
			  * configuration, where there are two; a constant, or NULL */
	char notice[256]; /* what someone should look at although it worked, or "" */
	const char *notice_id; /* its MESSAGE_ID, see base/message_id.h; or NULL */
	bool is_notice_told; /* it is in the log already */
};

/* How far a token's lifetime was told by its giver, to be made an access_token of. */
struct credential_lifetime {
	int64_t expires_in_s; /* from when the request was sent; -1: not told */
	int64_t expires_on_s; /* Unix seconds; -1: not told */
	int64_t refresh_in_s; /* -1: not told */
	int64_t server_date_s; /* the Date of the answer, or -1 */
	int64_t sent_ms; /* CLOCK_BOOTTIME when the request was sent */
};

/*
 * Whether the bytes can be a token: visible ASCII alone, since anything else could break out of the
 * header that shows it. Returns 0, or -1 with *err: ERR_UPSTREAM_FORMAT. Pure.
 */
int access_token_check(const struct secret *token, struct error *err);

/* No token is believed to live longer: those of Microsoft Entra ID live for a day or so. */
#define CREDENTIAL_LIFETIME_MAX_S (INT64_C(48) * 3600)

/*
 * Fill in the times of *token. `expires_on` is preferred where both are told, and measured by the
 * server's Date so that this host's own clock does not count (azure-protocol.md B.6, C.3).
 * Returns 0, or -1 with *err: ERR_UPSTREAM_FORMAT when neither is told, or it has expired already.
 */
int credential_set_lifetime(struct access_token *token, const struct loop *loop,
	const struct credential_lifetime *told, struct error *err);

/*
 * token  NULL on failure, and then *err says why; it lives until the function returns.
 *        ERR_UNAVAILABLE: this credential cannot be used here (nothing is configured for it, no
 *        such program, no such endpoint), so that a chain goes on to the next; any other code: it
 *        was used and failed, and a chain ends there.
 */
typedef void (*credential_done_fn)(
	void *context, struct access_token *token, const struct error *err);

/* An ask() under way. Every kind's own structure of one begins with this. */
struct credential_call {
	struct credential *credential;
	credential_done_fn done;
	void *context;
};

/*
 * How far a login is now; the last state told is ACCOUNT_LOGIN_DONE or _FAILED. It lives until the
 * function returns, which neither begins, joins nor leaves a login.
 */
typedef void (*credential_login_fn)(void *context, const struct account_login *login);

/* Somebody's waiting for a login. Every kind's own structure of one begins with this. */
struct credential_login {
	struct credential *credential;
	const struct account_login *now; /* how far it is; owned by the credential */
	credential_login_fn changed;
	void *context;
};

/* How a secret comes to be another one. */
enum secret_change {
	SECRET_IS_ROTATED, /* by a person or a tool, who may err: the new one is tried soon */
	SECRET_IS_RENEWED, /* again and again by a platform: there is time until the next refresh */
};

/* secret  owned by the credential */
typedef void (*credential_secret_fn)(
	void *context, struct live_secret *secret, enum secret_change change);

struct credential_kind {
	const char *name;

	/*
	 * The keys of an [account] that it takes, ended by NULL: others are refused as being
	 * without effect. Those that it cannot do without begin with '!'.
	 */
	const char *const *keys;

	/*
	 * Whether the settings fit together, beyond what `keys` says; nothing is opened. Optional.
	 * Returns 0, or -1 with *err: ERR_CONFIGURATION.
	 */
	int (*check)(const struct credential_settings *settings, struct error *err);

	/*
	 * Make a credential of the kind's own structure, zeroed beyond `credential`, which
	 * credential_open() fills in. The main thread. The environment is read here and nowhere
	 * else, and variables with secrets by secret_source_read(), which wipes them; files are
	 * read by ask(), so that one that is missing fails this account and no other, and one that
	 * changes is read again: live_secret.h.
	 * Returns NULL with *err, worded for whoever writes the configuration.
	 */
	struct credential *(*open)(const struct credential_settings *settings,
		const struct account_settings *account, struct error *err);

	/*
	 * Ask for a token for the scope, such as https://storage.azure.com/.default, which outlives
	 * the call. `done` is called once, from within loop_run() and never before ask() returns.
	 * Returns the call, with its `credential`, `done` and `context` set, valid until `done` is
	 * called or cancel(); or NULL with *err, and then `done` is not called.
	 */
	struct credential_call *(*ask)(struct credential *credential, const char *scope,
		struct loop *loop, credential_done_fn done, void *context, struct error *err);

	/* End and free it, without calling `done`. */
	void (*cancel)(struct credential_call *call);

	/*
	 * The upstream said 401 to the last token of ask(), for the `refusals`th time in one
	 * exchange. Returns whether there is another one that is worth trying right now. Optional.
	 */
	bool (*refused)(struct credential *credential, const struct account_settings *account,
		unsigned refusals);

	/* The upstream took the last token of ask(). Optional. */
	void (*accepted)(struct credential *credential);

	/*
	 * Let a person log in, who enters a code in a browser: a new login, or the one that is
	 * under way, for there is one at most. The scope is that of the first token. `changed` is
	 * called from within loop_run() with each new state, and not for the present one, which is
	 * `now` of what is returned. Optional: nobody has to log in.
	 * Returns it, valid until `changed` was told the last state or leave_login(); or NULL with
	 * *err.
	 */
	struct credential_login *(*login)(struct credential *credential, const char *scope,
		struct loop *loop, credential_login_fn changed, void *context, struct error *err);

	/* Wait no longer. A login that nobody waits for is over. */
	void (*leave_login)(struct credential_login *login);

	/*
	 * Something is another way than it was found: somebody has logged in, or a secret's file
	 * has changed. What was ruled out is tried again. Optional.
	 */
	void (*reconsider)(struct credential *credential);

	/*
	 * Call `visit` for each of its secrets that may change, in the same order each time.
	 * Optional: it has none, but for those of its members.
	 */
	void (*secrets)(
		const struct credential *credential, credential_secret_fn visit, void *context);

	/*
	 * Of a chain: its members, in order, and how many. Optional.
	 */
	struct credential *const *(*members)(const struct credential *credential, size_t *count);

	/* Of a chain: whether it goes on to the next when this member has failed so. Optional. */
	bool (*goes_on)(const struct credential *credential, const struct credential *member,
		const struct error *err);

	/* Wipe and free; nothing is under way. Any one thread. */
	void (*close)(struct credential *credential);

	bool is_shared; /* accounts with the same settings have one credential between them */
	bool ignores_scope; /* what it gives is for one thing only */
	bool is_developer_tool; /* whose failure does not end the chain of `default` */
};

/* All kinds, in the order in which messages list them, ended by NULL. */
extern const struct credential_kind *const credential_kinds[];

extern const struct credential_kind credential_account_key;
extern const struct credential_kind credential_client_assertion;
extern const struct credential_kind credential_client_certificate;
extern const struct credential_kind credential_azure_cli;
extern const struct credential_kind credential_azure_developer_cli;
extern const struct credential_kind credential_azure_powershell;
extern const struct credential_kind credential_client_secret;

extern const struct credential_kind credential_device_code;
extern const struct credential_kind credential_default;
extern const struct credential_kind credential_environment;
extern const struct credential_kind credential_managed_identity;
extern const struct credential_kind credential_static_token;
extern const struct credential_kind credential_workload_identity;

/* The kind of that name, or NULL. */
const struct credential_kind *credential_kind_find(const char *name);

/*
 * Make the credential that the settings name: of the one kind, or a chain of several. The main
 * thread; see pool.h for the one way in which accounts get theirs.
 * Returns NULL with *err. Give it back with credential_close().
 */
struct credential *credential_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err);

/* Likewise, of that kind whatever the settings name: a member of a chain. */
struct credential *credential_open_kind(const struct credential_kind *kind,
	const struct credential_settings *settings, const struct account_settings *account,
	struct error *err);

/* The credential, or the first member of the chain that it is, which has a login; or NULL. */
struct credential *credential_with_login(struct credential *credential);

/* Call `visit` for each secret of the credential, or of a member of it, that may change. */
void credential_visit_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context);

/* Give it back; it is freed when nobody else has it. NULL is fine. */
void credential_close(struct credential *credential);

/*
 * A call that does nothing but to say at once, from within loop_run(), what was found out already:
 * for kinds that need no network. `token` and `err` are copied, the token's secret is taken over
 * on success; one of them is NULL. Its cancel is credential_cancel_ready().
 */
struct credential_call *credential_answer_ready(struct credential *credential, struct loop *loop,
	struct access_token *token, const struct error *ready_err, credential_done_fn done,
	void *context, struct error *err);
void credential_cancel_ready(struct credential_call *call);

#endif
