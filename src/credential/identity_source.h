/*
 * Where managed identities get their tokens: one endpoint for each kind of host of Azure, found by
 * the environment. Each source is one file with one constant of this structure; what is common to
 * all is here, as functions of their arguments alone. Source: azure-protocol.md C.
 */
#ifndef MRTOKEND_CREDENTIAL_IDENTITY_SOURCE_H
#define MRTOKEND_CREDENTIAL_IDENTITY_SOURCE_H

#include "base/error.h"
#include "base/http_client.h"
#include "base/secret.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a host tells its processes. Strings that are not set are NULL or "". */
struct identity_environment {
	const char *identity_endpoint; /* IDENTITY_ENDPOINT */
	const char *identity_server_thumbprint; /* IDENTITY_SERVER_THUMBPRINT */
	const char *imds_endpoint; /* IMDS_ENDPOINT */
	const char *msi_endpoint; /* MSI_ENDPOINT */
	const char *pod_identity_authority_host; /* AZURE_POD_IDENTITY_AUTHORITY_HOST */
	const char *default_identity_client_id; /* DEFAULT_IDENTITY_CLIENT_ID */
	bool has_identity_header; /* IDENTITY_HEADER, a secret */
	bool has_msi_secret; /* MSI_SECRET, a secret */
	bool has_federated_token; /* AZURE_FEDERATED_TOKEN_FILE and what goes with it */
	bool has_arc_agent; /* the program of Azure Arc's agent is installed */
};

/* By what the identity is named. */
enum identity_selector {
	IDENTITY_SYSTEM_ASSIGNED, /* by nothing */
	IDENTITY_CLIENT_ID,
	IDENTITY_OBJECT_ID,
	IDENTITY_RESOURCE_ID,
	IDENTITY_SELECTOR_COUNT,
};

/* When to ask again after an answer that is no success. Source: azure-protocol.md C.4, G. */
struct identity_retry {
	const int64_t *delays_ms; /* before the first retry, the second, ... */
	unsigned count;
	int64_t gone_ms; /* the least delay after a 410 */
	bool (*takes)(int status); /* whether time may mend it */
};

/* Waiting in one ask() ends here; whoever asked tries again in time. */
#define IDENTITY_DELAY_MAX_MS (INT64_C(60) * 1000)
#define IDENTITY_WAIT_MAX_MS (INT64_C(90) * 1000)

/* What an answer that is no success says, fit for people. */
struct identity_complaint {
	int status;
	enum identity_selector selector; /* what was asked for */
	char code[48]; /* "invalid_request", or ""; not both it and the words */
	char words[480]; /* its description, or the body's beginning, or "" */
	char correlation_id[40]; /* or "" */
	bool is_unreachable; /* the body has the word "unreachable" */
};

struct identity_source {
	const char *name; /* "App Service" */
	const char *variable; /* the one that tells its address, for messages */
	/* Whether the environment is that of such a host; those before it in the table are not. */
	bool (*is_here)(const struct identity_environment *environment);
	/* Append the address, without a query of ours. */
	void (*put_endpoint)(const struct identity_environment *environment, struct text *out);

	const char *api_version; /* NULL: it takes none */
	/* The parameter's name for each way to name an identity; NULL: it is refused. */
	const char *selectors[IDENTITY_SELECTOR_COUNT];
	const char *refusal; /* what to say then */
	const char *secret_variable; /* whose value is sent, or NULL */
	const char *secret_header; /* "X-IDENTITY-HEADER: ", its beginning of a line */
	bool is_posted; /* the parameters come as a form; else as a query, by GET */
	bool sends_metadata; /* "Metadata: true" */
	bool takes_default_identity; /* DEFAULT_IDENTITY_CLIENT_ID stands for system-assigned */
	bool is_probed; /* in a chain it is looked for first: any host may lack it */
	bool has_thumbprint; /* its certificate is known by IDENTITY_SERVER_THUMBPRINT */

	int64_t connect_timeout_ms; /* 0: the usual one */
	const struct identity_retry *retry;

	/*
	 * The header line that answers a challenge; `challenge` is the WWW-Authenticate of a 401.
	 * Optional. Returns NULL with *err. Free with secret_free().
	 */
	struct secret *(*answer_challenge)(const char *challenge, struct error *err);

	/*
	 * What to do about a complaint, as a part of a sentence, or "". It may make another code of
	 * the one that the status stands for. Optional.
	 */
	const char *(*advise)(const struct identity_complaint *complaint, enum error_code *code);
};

extern const struct identity_source identity_service_fabric;
extern const struct identity_source identity_app_service;
extern const struct identity_source identity_azure_ml;
extern const struct identity_source identity_cloud_shell;
extern const struct identity_source identity_token_exchange;
extern const struct identity_source identity_azure_arc;
extern const struct identity_source identity_imds;

/* The rule of those that have none of their own. */
extern const struct identity_retry identity_retry_usual;

/*
 * The source of the host. Source: azure-protocol.md C.1.
 * Returns NULL with *err: ERR_UNAVAILABLE when the environment is of no host that is known.
 */
const struct identity_source *identity_source_select(
	const struct identity_environment *environment, struct error *err);

/*
 * Whether a request may go there: by https anywhere, by http only on this host.
 * Returns 0, or -1 with *err: ERR_CONFIGURATION that names the source's variable.
 */
int identity_source_check_endpoint(
	const struct identity_source *source, const char *endpoint, struct error *err);

/* How much of a scope is the resource: all but one "/.default" at its end. */
size_t identity_resource_len(const char *scope);

/*
 * Append the address to be asked. A parameter that the endpoint brings already stays as it is
 * there.
 *
 * id  the identity's, as `selector` says; NULL for the system-assigned one
 */
void identity_source_put_url(const struct identity_source *source, const char *endpoint,
	const char *resource, enum identity_selector selector, const char *id, struct text *out);

/*
 * How long to wait before the request is sent again, or -1: it is of no use, or too long.
 *
 * retry_after_s  the answer's, or -1
 * retries        how many there were in this ask()
 * waited_ms      for how long altogether
 */
int64_t identity_retry_ms(const struct identity_retry *retry, int status, int64_t retry_after_s,
	unsigned retries, int64_t waited_ms);

/* Whether the word is there and not empty. */
static inline bool identity_is_set(const char *word)
{
	return word != NULL && word[0] != '\0';
}

#endif
