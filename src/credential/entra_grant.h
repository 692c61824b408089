/*
 * A grant at Microsoft Entra ID's token endpoint: a form is sent, a token or an error comes back.
 * What credentials of Entra have in common. The refresh thread. Source: azure-protocol.md B.
 */
#ifndef MRTOKEND_CREDENTIAL_ENTRA_GRANT_H
#define MRTOKEND_CREDENTIAL_ENTRA_GRANT_H

#include "base/error.h"
#include "base/http_client.h"
#include "base/loop.h"
#include "base/secret.h"
#include "credential/credential.h"

#include <stdint.h>

#define ENTRA_AUTHORITY_PUBLIC "https://login.microsoftonline.com"
#define ENTRA_AUTHORITY_US_GOVERNMENT "https://login.microsoftonline.us"
#define ENTRA_AUTHORITY_CHINA "https://login.chinacloudapi.cn"

/*
 * What is asked for beside the scope of a person's token, as MSAL does: to know who it is, and a
 * refresh token. Source: azure-protocol.md B.2.
 */
#define ENTRA_USER_SCOPES "openid profile offline_access"

/* The tenant of users who are of any; source: azure-protocol.md B.1. */
#define ENTRA_TENANT_OF_USERS "organizations"

/* Where a tenant's endpoints are. */
struct entra_tenant {
	const char *authority; /* https://host[:port], without a slash at the end */
	const char *tenant_id;
	const char *ca_file; /* or NULL */
};

/* What is sent, all of it percent-encoded into the form. Members that are NULL are left out. */
struct entra_form {
	const char *grant_type;
	const char *client_id;
	const char *scope;
	const struct secret *client_secret;
	const struct secret *client_assertion; /* client_assertion_type goes with it */
	const struct secret *refresh_token;
	const struct secret *device_code;
	const char *user_name;
	const struct secret *password;
	bool wants_client_info; /* client_info=1, as MSAL sends it in user flows */
};

/* What comes back. */
struct entra_answer {
	struct access_token token;
	struct secret *refresh_token; /* or NULL; may be taken: set it to NULL then */
};

/* What an error of Entra is, beyond struct error; "" and 0 where it did not say. */
struct entra_error {
	char error[48]; /* "invalid_client", "authorization_pending", ... */
	int code; /* the number of AADSTS7000215; 0: none */
	int64_t server_date_s; /* the answer's Date, Unix seconds; 0 or less: it has none */
};

/*
 * answer  NULL on failure, and then *err says why, whole: status, AADSTS code, the description's
 *         first line, trace and correlation identifiers, timestamp, and what to do about it
 * error   of a failure that Entra explained; else it is empty
 */
typedef void (*entra_done_fn)(void *context, struct entra_answer *answer, const struct error *err,
	const struct entra_error *error);

struct entra_grant;

/*
 * Send the form to {authority}/{tenant}/oauth2/v2.0/token. `done` is called once, from within
 * loop_run() and never before this returns. Everything in *tenant and *form is copied.
 * Returns the grant, valid until `done` is called or entra_grant_cancel(); or NULL with *err.
 */
struct entra_grant *entra_grant_start(const struct entra_tenant *tenant,
	const struct entra_form *form, struct loop *loop, entra_done_fn done, void *context,
	struct error *err);

void entra_grant_cancel(struct entra_grant *grant);

/*
 * POST a form to {authority}/{tenant}/oauth2/v2.0/{endpoint}: for what is no grant. The form must
 * stay as it is until `done` was called or the flight was cancelled. As http_client_send().
 */
struct http_flight *entra_post(const struct entra_tenant *tenant, const char *endpoint,
	const struct secret *form, struct loop *loop, http_done_fn done, void *context,
	struct error *err);

/*
 * What is done about an AADSTS code, as one sentence that follows the error; "" for one that is not
 * known. Source: azure-protocol.md B.7.
 */
const char *entra_advice(int code);

/*
 * Fill in *err, and *error if it is not NULL, from an answer of Entra that is no success.
 * host    who answered, for the message
 * shown   what of the request must not be repeated: a secret, or NULL
 */
void entra_read_error(const char *host, struct http_response *response, const struct secret *shown,
	struct error *err, struct entra_error *error);

#endif
