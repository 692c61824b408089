/*
 * Paths and their handlers: one table. The server thread.
 */
#ifndef MRTOKEND_SERVER_ROUTES_H
#define MRTOKEND_SERVER_ROUTES_H

#include "server/audit.h"
#include "server/crowd.h"
#include "server/page.h"
#include "server/permission.h"
#include "server/waiters.h"
#include "token/account.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#define ROUTE_ARGUMENT_MAX 128

/* A complete request. It lives while its handler runs, and so does all that it points to. */
struct request {
	struct MHD_Connection *connection;
	struct registry *registry;
	unsigned adoptions; /* of the registry, as the table was looked up or before */
	const struct account_table *table; /* the present configuration's */
	struct page *pages; /* of PAGE_COUNT kinds */
	struct answer *no_memory; /* for want of another */
	struct waiters *waiters;
	struct waiter **waiter; /* this request's place among them */
	struct caller caller; /* who asks */
	struct audit *audit;
	struct crowd_user *user;
	unsigned user_wait_limit; /* of how many of a user's requests wait at once */
	uint64_t number; /* unlike that of any other request of this process */
	int64_t now_ms; /* CLOCK_BOOTTIME */
	bool is_post; /* else GET or HEAD */
	bool is_head; /* whose answer has no token in it */
	char argument[ROUTE_ARGUMENT_MAX]; /* what stands for * in the path, decoded */
};

typedef enum MHD_Result (*route_handler)(struct request *request);

/* Which methods a route answers; bits. */
enum route_method {
	ROUTE_GET = 1 << 0, /* and HEAD */
	ROUTE_POST = 1 << 1,
};

struct route {
	const char *path; /* '*' stands for one segment */
	unsigned methods;
	route_handler handle;
};

/* All routes, the busiest first, ended by a NULL path. */
extern const struct route routes[];

/*
 * Answer a request: find its route and call the handler, or say why there is none.
 * target  as it was sent, not yet decoded, without its query
 */
enum MHD_Result routes_answer(struct request *request, const char *method, const char *target);

/* Refuse a request of a user who asks too often. */
enum MHD_Result routes_refuse_excess(struct request *request);

/* Refuse a request that has a body. */
enum MHD_Result routes_refuse_body(struct request *request);

/*
 * Check that the query has no other parameters than these (ended by NULL), and none twice.
 * Returns true; or false when it has, and then the error was sent, with the result in *result.
 */
bool route_query_is_clean(
	struct request *request, const char *const *known, enum MHD_Result *result);

/* No request waits for longer, whatever it asks for: less than CONNECTION_ANSWER_MS. */
#define ROUTE_WAIT_MAX_MS INT64_C(25000)

/* For how long the request wants to wait by its header Prefer; `default_ms` where it has none. */
int64_t route_wait_ms(const struct request *request, int64_t default_ms);

/*
 * waiters_wait(), for this request; its table is filled in. Where it says true, return MHD_YES.
 */
bool route_waits(struct request *request, const struct wait_terms *terms);

/* Send what /v1/accounts/{name} says of the account. */
enum MHD_Result route_send_account(
	struct request *request, unsigned status, const struct account *account);

/*
 * The account that the path names, if whoever asks may do that with it; or NULL, and then the error
 * was sent, with the result in *result.
 */
struct account *route_account_of(
	struct request *request, enum policy_action action, enum MHD_Result *result);

/* Likewise, for whoever may know of it. */
struct account *route_account_to_see(struct request *request, enum MHD_Result *result);

/* Whether whoever asks may do that; else the error was sent, with the result in *result. */
bool route_permits(struct request *request, const struct account *account,
	enum policy_action action, enum MHD_Result *result);

/* Whether whoever asks may know of the account: who may get its token, or administer it. */
bool route_shows(const struct request *request, const struct account *account);

enum MHD_Result route_default_token(struct request *request);
enum MHD_Result route_account_token(struct request *request);
enum MHD_Result route_sts_token(struct request *request);
enum MHD_Result route_accounts(struct request *request);
enum MHD_Result route_account(struct request *request);
enum MHD_Result route_refresh(struct request *request);
enum MHD_Result route_login(struct request *request);
enum MHD_Result route_healthz(struct request *request);
enum MHD_Result route_readyz(struct request *request);

#endif
