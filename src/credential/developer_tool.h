/*
 * Developer tools: the command-line clients that a person has logged in with, run for a token. What
 * the Azure CLI, the Azure Developer CLI and Azure PowerShell have in common; each is one file with
 * a struct developer_tool and a struct credential_kind. Source: azure-protocol.md D.
 */
#ifndef MRTOKEND_CREDENTIAL_DEVELOPER_TOOL_H
#define MRTOKEND_CREDENTIAL_DEVELOPER_TOOL_H

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"
#include "credential/credential.h"

#include <stdint.h>

/* As the SDKs' own. It counts from the tool's start, which may have to wait for its turn: child.h.
 */
#define DEVELOPER_TOOL_TIMEOUT_MS 10000
/* Of standard output: several times the longest token. */
#define DEVELOPER_TOOL_OUTPUT_MAX ((size_t)64 * 1024)

#define DEVELOPER_TOOL_ARGUMENTS_MAX 12

struct developer_tool_arguments {
	const char *words[DEVELOPER_TOOL_ARGUMENTS_MAX + 1]; /* ended by NULL */
	struct text made; /* what had to be made of scope and tenant; may be pointed to */
};

struct developer_tool_token {
	struct secret *token;
	int64_t expires_on_s; /* Unix seconds */
};

/* What a tool is. All functions are pure. */
struct developer_tool {
	const char *name; /* for people: "the Azure CLI" */
	const char *login; /* what they type to log in: "az login" */
	const char *const *login_words; /* any of which means that nobody is; ended by NULL */
	const char *folder_variable; /* what says where it keeps the login, beside HOME; or NULL */
	const char *const *environment; /* NAME=VALUE that it gets besides, ended by NULL */

	/*
	 * Fill in its command line. `scope` and `tenant_id`, which may be NULL, were checked and
	 * outlive the arguments. Returns 0, or -1 when there is no memory.
	 */
	int (*fill)(struct developer_tool_arguments *arguments, const char *scope,
		const char *tenant_id);

	/*
	 * Read what it printed when it exited with 0. *token is set on success only, and its
	 * secret is the caller's.
	 * Returns 0, or -1 with *err: ERR_UPSTREAM_FORMAT, worded to follow the tool's name;
	 * ERR_UNAVAILABLE when it lacks a part of its own; ERR_NO_MEMORY.
	 */
	int (*read)(
		const struct secret *output, struct developer_tool_token *token, struct error *err);
};

extern const struct developer_tool azure_cli_tool;
extern const struct developer_tool azure_developer_cli_tool;
extern const struct developer_tool azure_powershell_tool;

/*
 * Check what becomes a part of a command line, and fill one in. Beyond what the SDKs check, neither
 * may look like an option.
 *
 * arguments  set on success only; free with developer_tool_arguments_clear()
 *
 * Returns 0, or -1 with *err: ERR_CONFIGURATION, ERR_NO_MEMORY. Pure.
 */
int developer_tool_fill(const struct developer_tool *tool, const char *scope, const char *tenant_id,
	struct developer_tool_arguments *arguments, struct error *err);

void developer_tool_arguments_clear(struct developer_tool_arguments *arguments);

/* The scope without "/.default" at its end: what they call a resource. Appended to *out. */
void developer_tool_append_resource(const char *scope, struct text *out);

/*
 * Keep a token that a tool printed. Returns it, or NULL with *err: ERR_UPSTREAM_FORMAT when it is
 * none, worded as by read(); ERR_NO_MEMORY.
 */
struct secret *developer_tool_keep_token(const char *bytes, size_t len, struct error *err);

/*
 * Say why a tool failed, and what to do about it: set *err to ERR_UNAVAILABLE when it is not
 * installed or nobody is logged in, ERR_DENIED with the AADSTS code when Microsoft Entra ID refused
 * the login, else ERR_UPSTREAM_FAULT. Pure.
 *
 * who     as whom it ran, by run_as_describe()
 * status  as waitpid() tells it; not 0
 */
void developer_tool_explain(const struct developer_tool *tool, const char *who, int status,
	const struct secret *output, const struct secret *complaint, struct error *err);

/* ---- for the tables of the kinds; credential.h says what each does ----------------------------
 */

extern const char *const developer_tool_keys[];

struct credential *developer_tool_open(const struct developer_tool *tool,
	const struct credential_settings *settings, struct error *err);
struct credential_call *developer_tool_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err);
void developer_tool_cancel(struct credential_call *call);
void developer_tool_close(struct credential *credential);

#endif
