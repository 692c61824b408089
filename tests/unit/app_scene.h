/*
 * An app that shows assertions, and an Entra of the test's own that gives scripted answers: what
 * the kinds have in common that are one. Each test program that needs it includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_APP_SCENE_H
#define MRTOKEND_TESTS_UNIT_APP_SCENE_H

#include "base/text.h"
#include "credential/credential.h"

#include "asking.h"
#include "files.h"
#include "tls_server.h"
#include "unit.h"

#include <json-c/json.h>

#define TENANT "e2a1c0de-0000-4000-8000-000000000001"
#define CLIENT "a1a1c0de-0000-4000-8000-000000000002"
#define FORM                                                          \
	"client_id=" CLIENT "&grant_type=client_credentials&scope="   \
	"https%3A%2F%2Fexample.com%2F.default&client_assertion_type=" \
	"urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="

static const struct account_settings account = {.name = (char *)"anchors"};

static struct server server;
static struct loop *loop;
static struct credential_settings settings;
static size_t bytes_before;

/* ---- answers ---- */

static inline const char *good_answer(void)
{
	static char answer[512];
	return text_of(answer, sizeof(answer),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
		"{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"eyJ.the-"
		"token\"}");
}

/* That the assertion is outside its validity. */
static inline const char *late_answer(void)
{
	static char answer[512];
	return text_of(answer, sizeof(answer), "HTTP/1.1 401 No\r\n",
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS700024: Client "
		"assertion is not within its valid time range.\"}");
}

static inline const char *foreign_answer(void)
{
	static char answer[512];
	return text_of(answer, sizeof(answer), "HTTP/1.1 401 No\r\n",
		"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS700027: The "
		"certificate is not registered.\"}");
}

/* ---- the scene ---- */

static inline void clear_variables(void)
{
	static const char *const names[] = {"AZURE_TENANT_ID", "AZURE_CLIENT_ID",
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++)
		unsetenv(names[i]);
}

static inline void scene_open(const struct credential_kind *kind, const char *const *answers)
{
	bytes_before = bytes_in_use();
	clear_variables();
	server_start(&server, answers);
	loop = make_loop();
	settings = (struct credential_settings){
		.kinds = {kind},
		.kind_count = 1,
		.authority = strdup(server.origin),
		.tenant_id = strdup(TENANT),
		.client_id = strdup(CLIENT),
		.ca_file = strdup(server.ca_file),
	};
}

static inline void set_source(struct secret_source *source, const char *word)
{
	secret_source_clear(source);
	ck_assert_int_eq(secret_source_parse(word, source, NULL), 0);
}

static inline void set_file(struct secret_source *source, const char *path)
{
	char word[300];
	snprintf(word, sizeof(word), "file:%s", path);
	set_source(source, word);
}

static inline struct credential *open_credential(void)
{
	struct error err = ERROR_INIT;
	struct credential *credential = credential_open(&settings, &account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	credential_settings_clear(&settings); /* they go, and the credential stays */
	return credential;
}

/* Opening fails, and says so. */
static inline void assert_not_opened(enum error_code code, const char *words)
{
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(credential_open(&settings, &account, &err));
	ck_assert_msg(err.code == code && strstr(err.message, words) != NULL, "%s: %s",
		error_code_name(err.code), err.message);
}

static inline void scene_close(struct credential *credential)
{
	credential_close(credential);
	credential_settings_clear(&settings);
	loop_free(loop);
	server_stop(&server);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

static inline struct asked ask_now(struct credential *credential)
{
	struct asked asked;
	ask(loop, credential, &asked);
	return asked;
}

/* Ask, and get the token of good_answer(). */
static inline void ask_well(struct credential *credential)
{
	struct asked asked = ask_now(credential);
	assert_token(&asked, "eyJ.the-token");
}

/* Put a file into the place of another one, as rotation does. */
static inline void replace_file(const char *name, const char *bytes, size_t len)
{
	ck_assert_int_eq(rename(write_bytes("new", bytes, len), path_of(name)), 0);
}

/* Ask, and cancel before anything was answered; nothing is said, and nothing is left. */
static inline void ask_and_cancel(struct credential *credential, bool is_sent)
{
	struct asked asked = {0};
	struct error err = ERROR_INIT;
	struct credential_call *call =
		credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
	ck_assert_msg(call != NULL, "%s", err.message);
	ck_assert_ptr_eq(call->credential, credential);
	while (is_sent && count_of(&server) == 0)
		loop_run(loop, 5);
	credential->kind->cancel(call);
	for (int i = 0; i < 3; i++)
		loop_run(loop, 5);
	ck_assert_int_eq(asked.calls, 0);
}

/* ---- what was sent ---- */

/* The assertion of the request, which has nothing else that it should not. */
static inline const char *assertion_of(unsigned number)
{
	const char *body = body_of(request_of(&server, number));
	ck_assert_msg(strncmp(body, FORM, strlen(FORM)) == 0, "%s", body);
	const char *assertion = body + strlen(FORM);
	ck_assert_ptr_null(strpbrk(assertion, "&%=+/"));
	return assertion;
}

/* A part of a JWT, 0 for its header and 1 for its claims; json_object_put(). */
static inline struct json_object *part_of(const char *assertion, unsigned number)
{
	static unsigned char json[16384];
	while (number-- > 0)
		assertion = strchr(assertion, '.') + 1;
	size_t len = strcspn(assertion, ".");
	ck_assert_uint_lt(len, sizeof(json));
	ssize_t decoded = base64_decode(assertion, len, json);
	ck_assert_int_gt(decoded, 0);
	json[decoded] = '\0';
	struct json_object *object = json_tokener_parse((const char *)json);
	ck_assert_ptr_nonnull(object);
	return object;
}

static inline const char *string_of(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;
	ck_assert_msg(json_object_object_get_ex(object, name, &member), "no %s", name);
	ck_assert(json_object_is_type(member, json_type_string));
	return json_object_get_string(member);
}

static inline int64_t number_of(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;
	ck_assert_msg(json_object_object_get_ex(object, name, &member), "no %s", name);
	ck_assert(json_object_is_type(member, json_type_int));
	return json_object_get_int64(member);
}

#endif
