/*
 * Errors as values: a code, a sentence with the facts, and for an answer of an upstream service
 * what its operator needs to find it again.
 */
#ifndef MRTOKEND_BASE_ERROR_H
#define MRTOKEND_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

/* One sentence with the facts, its end included. */
#define ERROR_MESSAGE_SIZE 1536

enum error_code {
	ERR_NONE,
	ERR_SYSTEM, /* the operating system said no */
	ERR_NO_MEMORY,
	ERR_CONFIGURATION, /* a file, a key, a value, an option */
	ERR_SECRET_SOURCE, /* a key file or credential that cannot be read or is empty */
	ERR_NETWORK, /* no connection, or it broke */
	ERR_TLS, /* the upstream's certificate or protocol is not acceptable */
	ERR_TIMEOUT,
	ERR_THROTTLED, /* 429, or 503 */
	ERR_UPSTREAM_FAULT, /* any other 5xx */
	ERR_UNAVAILABLE, /* a credential that cannot be used on this host, as it is */
	ERR_DENIED, /* 401, 403: the credential was refused */
	ERR_REFUSED, /* any other status: the request is wrong, so the configuration is */
	ERR_UPSTREAM_FORMAT, /* 200, but not with an answer of use */
	ERR_CODE_COUNT,
};

/* What an error asks for. */
enum error_class {
	ERROR_CLASS_RETRY, /* time will mend it */
	ERROR_CLASS_CREDENTIAL, /* someone must mend the credential */
	ERROR_CLASS_CONFIGURATION, /* someone must mend the configuration */
	ERROR_CLASS_UPSTREAM, /* the service answers, but not as agreed */
	ERROR_CLASS_SYSTEM, /* this host lacks something */
};

struct error {
	enum error_code code;
	char message[ERROR_MESSAGE_SIZE]; /* one sentence, no secret, printable */
	int http_status; /* 0 where there was no HTTP answer */
	char correlation_vector[64]; /* the upstream's MS-CV, or "" */
	char upstream_code[40]; /* such as "AADSTS7000215", or "" */
	char correlation_id[40]; /* of Microsoft Entra ID, or "" */
	bool needs_login; /* a person must log in: mrtoken login */
	int64_t retry_after_s; /* the upstream's Retry-After in seconds, or -1 */
	/* More than 0: nothing was sent, and whoever tries again shall come at some moment within
	 * this after retry_after_s, for others do as well. */
	int64_t spread_ms;
};

/* An error that is none; every struct error starts as one. */
#define ERROR_INIT ((struct error){.retry_after_s = -1})

/*
 * Set *err to `code` and the formatted sentence, and clear what it held of an upstream.
 * Bytes that are not printable become '?'; what is too long is cut.
 *
 * Returns -1, so that a caller can say `return error_set(...)`. Any thread. `err` may be NULL.
 */
int error_set(struct error *err, enum error_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set with ERR_SYSTEM (ERR_NO_MEMORY for ENOMEM); ": " and errno's words are added. */
int error_set_errno(struct error *err, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "context: " before the sentence; all else stays. Returns -1. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The code's stable name, such as "throttled": used in JSON, logs and tests. Never NULL. */
const char *error_code_name(enum error_code code);

/* What the code asks for. */
enum error_class error_class_of(enum error_code code);

/* Overwrite what is not printable ASCII in `string` by '?', UTF-8 beyond ASCII included. */
void error_make_printable(char *string);

#endif
