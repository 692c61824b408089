/*
 * The managed identity endpoints of Azure's hosts: what they have in common. Each source (the
 * metadata service of a virtual machine, App Service, ...) has a port and a file of its own with a
 * struct identity_source. Wire facts: azure-protocol.md C.
 */
#ifndef MRTOKEND_EMULATOR_MANAGED_IDENTITY_H
#define MRTOKEND_EMULATOR_MANAGED_IDENTITY_H

#include "emulator/arc_keys.h"
#include "emulator/exchange.h"
#include "emulator/form.h"
#include "emulator/identities.h"
#include "emulator/identity_secrets.h"

#define IDENTITY_RESOURCE_MAX 1023

/* Why a request is refused. What it becomes is the source's. */
enum identity_problem {
	IDENTITY_GOOD,
	IDENTITY_BAD_PATH,
	IDENTITY_BAD_METHOD,
	IDENTITY_MALFORMED,
	IDENTITY_BAD_HEADER, /* the one that shows that the caller is meant, or its secret */
	IDENTITY_BAD_VERSION,
	IDENTITY_BAD_RESOURCE,
	IDENTITY_NOT_FOUND,
	IDENTITY_CHALLENGED, /* Azure Arc: not refused, but asked for a key first */
	IDENTITY_PROBLEM_COUNT,
};

struct identity_call {
	struct emulator *emulator;
	const struct request *request;
	struct form form; /* of the query, or of the body */
	struct identity identity; /* whose token it gets */
	enum identity_problem problem;
	const char *sentence; /* static; NULL when it is as it should be */
};

/* What a token's answer tells. */
struct identity_token {
	const char *access_token;
	const char *resource; /* as the client spelt it */
	const struct identity *identity;
	int64_t expires_in_s;
	int64_t expires_on;
	int64_t not_before;
	int64_t refresh_in_s; /* 0 for none */
};

struct identity_refusal {
	int status;
	const char *word; /* in the error's body; NULL where the body has none */
};

struct identity_parameter {
	const char *name;
	enum identity_selector selector;
};

struct identity_source {
	enum server_index server;
	const char *method;
	const char *path; /* a slash behind it makes no difference */
	const char
		*versions[3]; /* of api-version, NULL at the end; none: it takes no api-version */
	struct identity_parameter selectors[5]; /* NULL at the end */
	struct identity_refusal refusals[IDENTITY_PROBLEM_COUNT];
	/* Whether the headers are right. Returns 0, or -1 refused. */
	int (*check_headers)(struct identity_call *call);
	void (*fill_token)(struct json_object *json, const struct identity_token *token);
	void (*fill_error)(struct json_object *json, const struct identity_refusal *refusal,
		const char *sentence);
	/* What an answer has beside its body; NULL for nothing. */
	void (*fill_headers)(struct identity_call *call, struct answer *answer);
};

/* Returns -1. */
int identity_refuse(
	struct identity_call *call, enum identity_problem problem, const char *sentence);

/* Whether the header is there once with that value. */
bool identity_has_header(const struct identity_call *call, const char *name, const char *value);

/* Handle a request for struct server_kind. */
void identity_handle(const struct identity_source *source, struct emulator *emulator,
	const struct request *request, struct answer *answer);

/* Add a number as the string of digits that most sources send. */
void identity_add_digits(struct json_object *json, const char *name, int64_t number);
void identity_add_string(struct json_object *json, const char *name, const char *string);

extern const struct server_kind imds_kind;
extern const struct server_kind app_service_kind;
extern const struct server_kind azure_arc_kind;
extern const struct server_kind service_fabric_kind;
extern const struct server_kind azure_ml_kind;
extern const struct server_kind cloud_shell_kind;

/* Where the sources serve tokens: for the environment that a client is to be given. */
extern const struct identity_source imds_source;
extern const struct identity_source app_service_source;
extern const struct identity_source azure_arc_source;
extern const struct identity_source service_fabric_source;
extern const struct identity_source azure_ml_source;
extern const struct identity_source cloud_shell_source;

#define IDENTITY_BODY_KEPT_BYTES ((size_t)64 * 1024)

#endif
