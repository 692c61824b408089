#include "token/snapshot.h"

#include "unit.h"

#define TOKEN "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.c2ln-_~+/=:,"

/* ---- the maker of the test, which records ------------------------------------------------------
 */

struct recorded {
	enum representation representation;
	struct secret *body;
	char etag[64];
};

static struct {
	int made;
	int alive;
	int fails_at; /* the call that fails, from 0; -1: none */
} maker_state = {.fails_at = -1};

static void *record_make(enum representation representation, struct secret *body, const char *etag)
{
	struct recorded *recorded = calloc(1, sizeof(*recorded));
	if (recorded == NULL || maker_state.made++ == maker_state.fails_at) {
		free(recorded);
		secret_free(body);
		return NULL;
	}
	maker_state.alive++;
	recorded->representation = representation;
	recorded->body = body;
	snprintf(recorded->etag, sizeof(recorded->etag), "%s", etag);
	return recorded;
}

static void record_release(void *answer)
{
	struct recorded *recorded = answer;
	maker_state.alive--;
	secret_free(recorded->body);
	free(recorded);
}

static const struct answer_maker recording_maker = {
	.make = record_make,
	.release = record_release,
};

static const struct snapshot_parts parts = {
	.account = "anchors",
	.account_id = "E2a1c0de-0000-4000-8000-000000000001",
	.account_domain = "eastus2.mixedreality.azure.com",
	.expires_on = 1700086400,
	.refresh_on = 1700043200,
	.dead_at_ms = 86400000,
	.received_ms = 1000,
};

static struct snapshot *build(const char *token, size_t len)
{
	struct error err = ERROR_INIT;
	struct snapshot *snapshot =
		snapshot_build(secret_from(token, len), &parts, &recording_maker, &err);
	ck_assert_msg(snapshot != NULL, "%s", err.message);
	ck_assert_int_eq(err.code, ERR_NONE);
	return snapshot;
}

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

static const struct recorded *answer_of(
	const struct snapshot *snapshot, enum representation representation)
{
	const struct recorded *recorded = snapshot->answers[representation];
	ck_assert_int_eq(recorded->representation, representation);
	return recorded;
}

static void assert_body(
	const struct snapshot *snapshot, enum representation representation, const char *expected)
{
	const struct secret *body = answer_of(snapshot, representation)->body;
	ck_assert_str_eq(secret_bytes(body), expected);
	ck_assert_uint_eq(secret_len(body), strlen(expected));
}

/* The token stays the caller's, and nothing else is left behind. */
static void assert_refused(const char *bytes, size_t len, const char *words)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *token = secret_from(bytes, len);
	ck_assert_ptr_nonnull(token);
	size_t before = bytes_in_use();
	ck_assert_ptr_null(snapshot_build(token, &parts, &recording_maker, &err));
	ck_assert_uint_eq(bytes_in_use(), before);
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_msg(
		strstr(err.message, words) != NULL, "'%s' is without '%s'", err.message, words);
	ck_assert_int_eq(maker_state.made, 0);
	ck_assert_uint_eq(secret_len(token), len);
	ck_assert_mem_eq(secret_bytes(token), bytes, len);
}

/* ---- what is built -----------------------------------------------------------------------------
 */

START_TEST(makes_one_answer_for_each_form)
{
	struct snapshot *snapshot = build(TOKEN, strlen(TOKEN));
	ck_assert_int_eq(maker_state.made, REPRESENTATION_COUNT);
	assert_body(snapshot, REPRESENTATION_JSON,
		"{\"token\":\"" TOKEN "\",\"token_type\":\"Bearer\",\"expires_on\":1700086400,"
		"\"refresh_on\":1700043200,\"account\":\"anchors\","
		"\"account_id\":\"E2a1c0de-0000-4000-8000-000000000001\","
		"\"account_domain\":\"eastus2.mixedreality.azure.com\"}\n");
	assert_body(snapshot, REPRESENTATION_TEXT, TOKEN);
	assert_body(snapshot, REPRESENTATION_HEADER, "Authorization: Bearer " TOKEN "\n");
	assert_body(snapshot, REPRESENTATION_STS, "{\"AccessToken\":\"" TOKEN "\"}");
	snapshot_free(snapshot);
}
END_TEST

/* An account of Microsoft Entra ID has a scope, and no account at the STS. */
START_TEST(writes_null_for_what_an_account_has_not_and_its_scope)
{
	struct snapshot_parts entra = parts;
	struct error err = ERROR_INIT;
	entra.account_id = NULL;
	entra.account_domain = NULL;
	entra.scope = "https://storage.azure.com/.default";
	struct snapshot *snapshot =
		snapshot_build(secret_from("t", 1), &entra, &recording_maker, &err);
	ck_assert_ptr_nonnull(snapshot);
	assert_body(snapshot, REPRESENTATION_JSON,
		"{\"token\":\"t\",\"token_type\":\"Bearer\",\"expires_on\":1700086400,"
		"\"refresh_on\":1700043200,\"account\":\"anchors\",\"account_id\":null,"
		"\"account_domain\":null,\"scope\":\"https://storage.azure.com/.default\"}\n");
	assert_body(snapshot, REPRESENTATION_STS, "{\"AccessToken\":\"t\"}");
	snapshot_free(snapshot);
}
END_TEST

START_TEST(keeps_token_and_times)
{
	struct snapshot *snapshot = build(TOKEN, strlen(TOKEN));
	ck_assert_str_eq(secret_bytes(snapshot->token), TOKEN);
	ck_assert_int_eq(snapshot->expires_on, parts.expires_on);
	ck_assert_int_eq(snapshot->refresh_on, parts.refresh_on);
	ck_assert_int_eq(snapshot->dead_at_ms, parts.dead_at_ms);
	ck_assert_int_eq(snapshot->received_ms, parts.received_ms);
	ck_assert_ptr_eq(snapshot->maker, &recording_maker);
	snapshot_free(snapshot);
}
END_TEST

START_TEST(writes_whatever_an_account_may_be_called_in_full)
{
	char name[41] = "";
	char domain[260] = "";
	memset(name, 'n', 40);
	memset(domain, 'd', 253);
	strcpy(domain + 253, ":65535");
	struct snapshot_parts longest = parts;
	longest.account = name;
	longest.account_domain = domain;
	longest.expires_on = INT64_C(1) << 53;
	longest.refresh_on = INT64_MIN;
	struct error err = ERROR_INIT;
	struct snapshot *snapshot =
		snapshot_build(secret_from("t", 1), &longest, &recording_maker, &err);
	ck_assert_ptr_nonnull(snapshot);
	char expected[1024];
	snprintf(expected, sizeof(expected),
		"{\"token\":\"t\",\"token_type\":\"Bearer\",\"expires_on\":9007199254740992,"
		"\"refresh_on\":-9223372036854775808,\"account\":\"%s\",\"account_id\":\"%s\","
		"\"account_domain\":\"%s\"}\n",
		name, parts.account_id, domain);
	assert_body(snapshot, REPRESENTATION_JSON, expected);
	snapshot_free(snapshot);
}
END_TEST

START_TEST(takes_tokens_of_every_length_up_to_the_longest)
{
	static const size_t lens[] = {
		1, 2, 15, 16, 17, 4095, 4096, 4097, SNAPSHOT_TOKEN_MAX - 1, SNAPSHOT_TOKEN_MAX};
	char *bytes = malloc(SNAPSHOT_TOKEN_MAX);
	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'x', SNAPSHOT_TOKEN_MAX);
	for (size_t i = 0; i < UNIT_COUNT(lens); i++) {
		struct snapshot *snapshot = build(bytes, lens[i]);
		for (int form = 0; form < REPRESENTATION_COUNT; form++) {
			const struct recorded *recorded =
				answer_of(snapshot, (enum representation)form);
			ck_assert(secret_is_within(snapshot->token, secret_bytes(recorded->body),
				secret_len(recorded->body)));
		}
		ck_assert_uint_eq(
			secret_len(answer_of(snapshot, REPRESENTATION_TEXT)->body), lens[i]);
		snapshot_free(snapshot);
	}
	free(bytes);
}
END_TEST

START_TEST(takes_every_byte_that_a_header_and_json_take_as_it_is)
{
	char bytes[128] = "";
	size_t len = 0;
	for (char c = 0x21; c < 0x7f; c++)
		if (c != '"' && c != '\\')
			bytes[len++] = c;
	ck_assert_uint_eq(len, 92);
	struct snapshot *snapshot = build(bytes, len);
	assert_body(snapshot, REPRESENTATION_TEXT, bytes);
	snapshot_free(snapshot);
}
END_TEST

START_TEST(gives_back_every_byte_of_secret_memory)
{
	size_t before = bytes_in_use();
	struct snapshot *snapshot = build(TOKEN, strlen(TOKEN));
	ck_assert_uint_gt(bytes_in_use(), before);
	ck_assert_int_eq(maker_state.alive, REPRESENTATION_COUNT);
	snapshot_free(snapshot);
	ck_assert_int_eq(maker_state.alive, 0);
	ck_assert_uint_eq(bytes_in_use(), before);
	snapshot_free(NULL);
}
END_TEST

/* ---- ETags -------------------------------------------------------------------------------------
 */

START_TEST(quotes_its_etags_and_makes_them_of_plain_letters)
{
	struct snapshot *snapshot = build(TOKEN, strlen(TOKEN));
	for (int form = 0; form < REPRESENTATION_COUNT; form++) {
		const char *etag = answer_of(snapshot, (enum representation)form)->etag;
		size_t len = strlen(etag);
		ck_assert_uint_eq(len, 19);
		ck_assert(etag[0] == '"' && etag[len - 1] == '"');
		ck_assert_uint_eq(
			strspn(etag + 1, "0123456789abcdefghijklmnopqrstuvwxyz"), len - 2);
	}
	snapshot_free(snapshot);
}
END_TEST

START_TEST(gives_each_form_of_each_snapshot_an_etag_of_its_own)
{
	/* Of the same token too: an ETag tells nothing of it. */
	enum { SNAPSHOTS = 50, ETAGS = SNAPSHOTS * REPRESENTATION_COUNT };
	static char etags[ETAGS][64];
	size_t count = 0;
	for (int i = 0; i < SNAPSHOTS; i++) {
		struct snapshot *snapshot = build(TOKEN, strlen(TOKEN));
		for (int form = 0; form < REPRESENTATION_COUNT; form++) {
			const char *etag = answer_of(snapshot, (enum representation)form)->etag;
			for (size_t j = 0; j < count; j++)
				ck_assert_str_ne(etag, etags[j]);
			strcpy(etags[count++], etag);
		}
		snapshot_free(snapshot);
	}
}
END_TEST

/* ---- refusals ----------------------------------------------------------------------------------
 */

START_TEST(refuses_an_empty_token)
{
	assert_refused("", 0, "0 bytes long; expected 1 to 65536");
}
END_TEST

START_TEST(refuses_a_token_that_is_too_long)
{
	char *bytes = malloc(SNAPSHOT_TOKEN_MAX + 1);
	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'x', SNAPSHOT_TOKEN_MAX + 1);
	assert_refused(bytes, SNAPSHOT_TOKEN_MAX + 1, "65537 bytes long; expected 1 to 65536");
	free(bytes);
}
END_TEST

START_TEST(refuses_every_byte_that_would_break_out_of_header_or_json)
{
	int refused = 0;
	for (int byte = 0; byte < 256; byte++) {
		if (byte > 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
			continue;
		for (size_t at = 0; at < 9; at += 4) {
			char bytes[10] = "Zm9vYmFyQ";
			char words[64];
			bytes[at] = (char)byte;
			snprintf(words, sizeof(words), "a byte at offset %zu that", at);
			assert_refused(bytes, 9, words);
		}
		refused++;
	}
	ck_assert_int_eq(refused, 256 - 92);
}
END_TEST

START_TEST(does_not_show_the_token_that_it_refuses)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *token = secret_from("Zm9vYmFy Zm9v", 13);
	ck_assert_ptr_null(snapshot_build(token, &parts, &recording_maker, &err));
	ck_assert_ptr_null(strstr(err.message, "Zm9v"));
}
END_TEST

START_TEST(leaves_the_token_to_the_caller_when_any_answer_fails)
{
	for (int call = 0; call < REPRESENTATION_COUNT; call++) {
		struct error err = ERROR_INIT;
		_cleanup_secret_ struct secret *token = secret_from(TOKEN, strlen(TOKEN));
		size_t before = bytes_in_use();
		maker_state.made = 0;
		maker_state.fails_at = call;
		ck_assert_ptr_null(snapshot_build(token, &parts, &recording_maker, &err));
		ck_assert_int_eq(err.code, ERR_NO_MEMORY);
		ck_assert_int_eq(maker_state.made, call + 1);
		ck_assert_int_eq(maker_state.alive, 0);
		ck_assert_uint_eq(bytes_in_use(), before);
		ck_assert_str_eq(secret_bytes(token), TOKEN);
	}
}
END_TEST

static void build_without_memory(void *argument)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *token = secret_from(TOKEN, strlen(TOKEN));
	size_t before = bytes_in_use();
	(void)argument;
	unit_exhaust_memory();
	if (snapshot_build(token, &parts, &recording_maker, &err) != NULL)
		_exit(1);
	if (err.code != ERR_NO_MEMORY || bytes_in_use() != before || maker_state.alive != 0)
		_exit(2);
	if (strcmp(secret_bytes(token), TOKEN) != 0)
		_exit(3);
}

START_TEST(tells_that_there_is_no_memory)
{
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(build_without_memory, NULL), 0);
}
END_TEST

UNIT_MAIN("snapshot", makes_one_answer_for_each_form,
	writes_null_for_what_an_account_has_not_and_its_scope, keeps_token_and_times,
	writes_whatever_an_account_may_be_called_in_full,
	takes_tokens_of_every_length_up_to_the_longest,
	takes_every_byte_that_a_header_and_json_take_as_it_is,
	gives_back_every_byte_of_secret_memory, quotes_its_etags_and_makes_them_of_plain_letters,
	gives_each_form_of_each_snapshot_an_etag_of_its_own, refuses_an_empty_token,
	refuses_a_token_that_is_too_long, refuses_every_byte_that_would_break_out_of_header_or_json,
	does_not_show_the_token_that_it_refuses,
	leaves_the_token_to_the_caller_when_any_answer_fails, tells_that_there_is_no_memory)
