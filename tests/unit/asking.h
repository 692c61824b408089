/*
 * Asking credentials for tokens: a loop on a clock that only the test moves, and what came back.
 * Each test program that needs it includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_ASKING_H
#define MRTOKEND_TESTS_UNIT_ASKING_H

#include "base/loop.h"
#include "credential/credential.h"

#include "unit.h"

#define SCOPE "https://example.com/.default"

/* 1 March 2024, 00:00 UTC, on a host that is up for a while. */
#define TODAY_S INT64_C(1709251200)
#define START_MS INT64_C(5000000)

static int64_t test_boottime_ms = START_MS;
static int64_t test_realtime_s = TODAY_S;

static inline int64_t read_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return test_boottime_ms;
}

static inline int64_t read_realtime_s(const struct clock *clock)
{
	(void)clock;
	return test_realtime_s;
}

static const struct clock test_clock = {read_boottime_ms, read_realtime_s};

static inline struct loop *make_loop(void)
{
	struct error err = ERROR_INIT;
	struct loop *loop = loop_new(&test_clock, &err);
	ck_assert_msg(loop != NULL, "%s", err.message);
	return loop;
}

static inline size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

/* What one who asked was told. */
struct asked {
	int calls;
	bool has_token;
	char token[4096];
	struct access_token parts; /* without the secret */
	struct error err;
};

static inline void on_asked(void *context, struct access_token *token, const struct error *err)
{
	struct asked *asked = context;
	asked->calls++;
	asked->has_token = token != NULL;
	asked->err = ERROR_INIT;
	if (token == NULL) {
		ck_assert_ptr_nonnull(err);
		ck_assert_int_ne(err->code, ERR_NONE);
		asked->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	ck_assert_ptr_nonnull(token->token);
	ck_assert_uint_eq(strlen(secret_bytes(token->token)), secret_len(token->token));
	snprintf(asked->token, sizeof(asked->token), "%s", secret_bytes(token->token));
	asked->parts = *token;
	asked->parts.token = NULL;
}

/* Run the loop until there was an answer, and see that it is the only one. */
static inline void wait_until_answered(struct loop *loop, const struct asked *asked)
{
	for (int round = 0; round < 2000 && asked->calls == 0; round++)
		loop_run(loop, 20);
	ck_assert_int_eq(asked->calls, 1);
	loop_run(loop, 0);
	ck_assert_int_eq(asked->calls, 1);
}

/*
 * Ask a kind, whatever it answers: from within loop_run() only, or that it cannot even be asked,
 * which counts as an answer here.
 */
static inline void ask(struct loop *loop, struct credential *credential, struct asked *asked)
{
	struct error err = ERROR_INIT;
	*asked = (struct asked){.err = ERROR_INIT};
	struct credential_call *call =
		credential->kind->ask(credential, SCOPE, loop, on_asked, asked, &err);
	ck_assert_int_eq(asked->calls, 0);
	if (call == NULL) {
		ck_assert_int_ne(err.code, ERR_NONE);
		asked->calls = 1;
		asked->err = err;
		return;
	}
	wait_until_answered(loop, asked);
}

static inline void assert_token(const struct asked *asked, const char *token)
{
	ck_assert_msg(asked->has_token, "%s", asked->err.message);
	ck_assert_str_eq(asked->token, token);
}

static inline void assert_failure(
	const struct asked *asked, enum error_code code, const char *words)
{
	ck_assert(!asked->has_token);
	ck_assert_msg(asked->err.code == code && strstr(asked->err.message, words) != NULL,
		"%s, not %s with '%s': %s", error_code_name(asked->err.code), error_code_name(code),
		words, asked->err.message);
}

#endif
