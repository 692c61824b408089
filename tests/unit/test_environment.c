/*
 * Linked with a credential_kind_find() of the test's own in front of the real one, so that what the
 * variables choose does as the test says. The user with a password is the real one.
 */
#include "credential/credential.h"

#include "asking.h"
#include "credential/user_password.h"
#include "scripted.h"
#include "tls_server.h"
#include "unit.h"

#define TENANT "e2a1c0de-0000-4000-8000-000000000001"
#define CLIENT "a1a1c0de-0000-4000-8000-000000000002"

static const struct account_settings account = {.name = (char *)"anchors"};

/* ---- what is chosen ----------------------------------------------------------------------------
 */

static struct scripted chosen;
static unsigned opened;
static bool fails_to_open;
static struct {
	char tenant_id[64];
	char client_id[64];
	char authority[64];
	enum secret_source_kind secret_kind;
	char secret_name[64];
	enum secret_source_kind certificate_kind;
	char certificate_name[64];
	char certificate_where[80];
	enum secret_source_kind password_kind;
	char password_name[64];
	bool sends_certificate_chain;
} seen;

static void note(char *out, size_t size, const char *word)
{
	snprintf(out, size, "%s", word == NULL ? "(none)" : word);
}

static struct credential *open_chosen(const struct credential_settings *settings,
	const struct account_settings *of, struct error *err)
{
	ck_assert_ptr_eq(of, &account);
	opened++;
	note(seen.tenant_id, sizeof(seen.tenant_id), settings->tenant_id);
	note(seen.client_id, sizeof(seen.client_id), settings->client_id);
	note(seen.authority, sizeof(seen.authority), settings->authority);
	seen.secret_kind = settings->client_secret.kind;
	note(seen.secret_name, sizeof(seen.secret_name), settings->client_secret.name);
	seen.certificate_kind = settings->client_certificate.kind;
	note(seen.certificate_name, sizeof(seen.certificate_name),
		settings->client_certificate.name);
	note(seen.certificate_where, sizeof(seen.certificate_where),
		settings->client_certificate.where);
	seen.password_kind = settings->client_certificate_password.kind;
	note(seen.password_name, sizeof(seen.password_name),
		settings->client_certificate_password.name);
	seen.sends_certificate_chain = settings->sends_certificate_chain;
	if (!fails_to_open)
		return &chosen.credential;
	error_set(err, ERR_SECRET_SOURCE, "it cannot be opened");
	return NULL;
}

static const struct credential_kind secret_kind = {
	.name = "client_secret", SCRIPTED_FUNCTIONS, .open = open_chosen};
static const struct credential_kind certificate_kind = {
	.name = "client_certificate", SCRIPTED_FUNCTIONS, .open = open_chosen};

const struct credential_kind *__wrap_credential_kind_find(const char *name);
const struct credential_kind *__wrap_credential_kind_find(const char *name)
{
	if (strcmp(name, "client_secret") == 0)
		return &secret_kind;
	ck_assert_str_eq(name, "client_certificate");
	return &certificate_kind;
}

/* ---- scenes ------------------------------------------------------------------------------------
 */

static struct loop *loop;
static size_t bytes_before;

static void clear_environment(void)
{
	static const char *const names[] = {"AZURE_TENANT_ID", "AZURE_CLIENT_ID",
		"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH",
		"AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
		"AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_AUTHORITY_HOST"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++)
		unsetenv(names[i]);
}

static void scene_open(void)
{
	bytes_before = bytes_in_use();
	clear_environment();
	memset(&seen, 0, sizeof(seen));
	opened = 0;
	fails_to_open = false;
	scripted_init(&chosen, &secret_kind);
	loop = make_loop();
}

static struct credential *open_with(char *authority, char *ca_file, struct error *err)
{
	const struct credential_settings settings = {
		.kinds = {&credential_environment},
		.kind_count = 1,
		.authority = authority,
		.ca_file = ca_file,
	};
	*err = ERROR_INIT;
	return credential_open(&settings, &account, err);
}

static struct credential *open_environment(void)
{
	struct error err;
	struct credential *credential = open_with(NULL, NULL, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	return credential;
}

static void scene_close(struct credential *credential)
{
	credential_close(credential);
	loop_free(loop);
	ck_assert_uint_eq(chosen.closed, opened > 0 && !fails_to_open);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

/* ---- choosing ----------------------------------------------------------------------------------
 */

START_TEST(takes_a_secret_first)
{
	struct asked asked;
	struct error err;
	scene_open();
	setenv("AZURE_TENANT_ID", TENANT, 1);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	setenv("AZURE_CLIENT_SECRET", "s", 1);
	setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem", 1);
	setenv("AZURE_USERNAME", "u", 1);
	setenv("AZURE_PASSWORD", "p", 1);
	struct credential *credential = open_with((char *)"https://login.example.com", NULL, &err);
	ck_assert_uint_eq(opened, 1);
	ck_assert_ptr_eq(chosen.credential.kind, &secret_kind);
	ck_assert_str_eq(seen.tenant_id, TENANT);
	ck_assert_str_eq(seen.client_id, CLIENT);
	ck_assert_str_eq(seen.authority, "https://login.example.com");
	ck_assert_int_eq(seen.secret_kind, SECRET_SOURCE_ENVIRONMENT);
	ck_assert_str_eq(seen.secret_name, "AZURE_CLIENT_SECRET");
	ask(loop, credential, &asked);
	assert_token(&asked, "the-token");
	ck_assert_uint_eq(chosen.asked, 1);
	scene_close(credential);
}
END_TEST

START_TEST(takes_a_certificate_next)
{
	static const struct {
		const char *word;
		bool is_sent;
	} cases[] = {
		{NULL, false},
		{"", false},
		{"0", false},
		{"false", false},
		{"yes", false},
		{"1", true},
		{"true", true},
		{"True", true},
		{"TRUE", true},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		scene_open();
		setenv("AZURE_TENANT_ID", TENANT, 1);
		setenv("AZURE_CLIENT_ID", CLIENT, 1);
		setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem", 1);
		setenv("AZURE_USERNAME", "u", 1);
		setenv("AZURE_PASSWORD", "p", 1);
		if (cases[i].word != NULL)
			setenv("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", cases[i].word, 1);
		if (i == 0)
			setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "of it", 1);
		struct credential *credential = open_environment();
		ck_assert_ptr_eq(chosen.credential.kind, &certificate_kind);
		ck_assert_int_eq(seen.certificate_kind, SECRET_SOURCE_FILE);
		ck_assert_str_eq(seen.certificate_name, "/c.pem");
		ck_assert_ptr_nonnull(
			strstr(seen.certificate_where, "AZURE_CLIENT_CERTIFICATE_PATH"));
		ck_assert_int_eq(seen.password_kind,
			i == 0 ? SECRET_SOURCE_ENVIRONMENT : SECRET_SOURCE_NONE);
		if (i == 0)
			ck_assert_str_eq(seen.password_name, "AZURE_CLIENT_CERTIFICATE_PASSWORD");
		ck_assert_int_eq(seen.secret_kind, SECRET_SOURCE_NONE);
		ck_assert_msg(
			seen.sends_certificate_chain == cases[i].is_sent, "%s", cases[i].word);
		scene_close(credential);
	}
}
END_TEST

/* What the user's name and password become on the wire: azure-protocol.md B.2. */
START_TEST(takes_a_user_last)
{
	static struct server server;
	char answer[512];
	struct asked asked;
	struct error err;
	const char *const answers[] = {
		text_of(answer, sizeof(answer),
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
			"{\"expires_in\":3599,\"access_token\":\"eyJ.t\",\"refresh_token\":\"r\"}"),
		NULL};
	for (int has_tenant = 0; has_tenant < 2; has_tenant++) {
		char line[128];
		scene_open();
		bytes_before = bytes_in_use();
		server_start(&server, answers);
		if (has_tenant)
			setenv("AZURE_TENANT_ID", TENANT, 1);
		setenv("AZURE_CLIENT_ID", CLIENT, 1);
		setenv("AZURE_USERNAME", "user@example.com", 1);
		setenv("AZURE_PASSWORD", "pass word", 1);
		setenv("AZURE_AUTHORITY_HOST", server.origin, 1);
		struct credential *credential = open_with(NULL, server.ca_file, &err);
		ck_assert_msg(credential != NULL, "%s", err.message);
		ck_assert_uint_eq(opened, 0);
		if (!has_tenant) /* the first time that it is read */
			ck_assert_str_eq(getenv("AZURE_PASSWORD"), "");
		ask(loop, credential, &asked);
		assert_token(&asked, "eyJ.t");
		credential_close(credential);
		/* One more account finds the variable wiped, and has what it was. */
		credential = open_with(NULL, server.ca_file, &err);
		ask(loop, credential, &asked);
		assert_token(&asked, "eyJ.t");
		struct credential_call *call =
			credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
		ck_assert_ptr_nonnull(call);
		call->credential->kind->cancel(call);
		credential_close(credential);
		loop_free(loop);
		server_stop(&server);
		snprintf(line, sizeof(line), "POST /%s/oauth2/v2.0/token ",
			has_tenant ? TENANT : "organizations");
		ck_assert_int_eq(strncmp(request_of(&server, 0), line, strlen(line)), 0);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_str_eq(body_of(request_of(&server, i)),
				"client_id=" CLIENT
				"&grant_type=password&scope=https%3A%2F%2Fexample.com%2F.default%"
				"20openid%20profile%20offline_access&username=user%40example.com&"
				"password=pass%20word&client_info=1");
	}
}
END_TEST

START_TEST(takes_a_secret_that_was_wiped_when_it_was_read)
{
	const struct secret_source source = {
		SECRET_SOURCE_ENVIRONMENT, (char *)"AZURE_CLIENT_SECRET", NULL};
	struct error err = ERROR_INIT;
	scene_open();
	setenv("AZURE_TENANT_ID", TENANT, 1);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	setenv("AZURE_CLIENT_SECRET", "s", 1);
	secret_free(secret_source_read(&source, &err));
	ck_assert_str_eq(getenv("AZURE_CLIENT_SECRET"), "");
	bytes_before = bytes_in_use();
	struct credential *credential = open_environment();
	ck_assert_uint_eq(opened, 1);
	ck_assert_int_eq(seen.secret_kind, SECRET_SOURCE_ENVIRONMENT);
	scene_close(credential);
}
END_TEST

/* ---- nothing to choose -------------------------------------------------------------------------
 */

START_TEST(is_unavailable_and_says_what_each_set_lacks)
{
	static const struct {
		const char *names[3];
		const char *message;
	} cases[] = {
		{{NULL}, "none of AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and the "
			 "like is set"},
		{{"AZURE_TENANT_ID", "AZURE_CLIENT_ID"},
			"for a secret it lacks AZURE_CLIENT_SECRET; for a certificate it lacks "
			"AZURE_CLIENT_CERTIFICATE_PATH; for a user it lacks AZURE_USERNAME, "
			"AZURE_PASSWORD"},
		{{"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"},
			"for a secret it lacks AZURE_TENANT_ID; for a certificate it lacks "
			"AZURE_TENANT_ID, AZURE_CLIENT_CERTIFICATE_PATH; for a user it lacks "
			"AZURE_USERNAME, AZURE_PASSWORD"},
		{{"AZURE_CLIENT_ID", "AZURE_USERNAME"},
			"for a secret it lacks AZURE_TENANT_ID, AZURE_CLIENT_SECRET; for a "
			"certificate it lacks AZURE_TENANT_ID, AZURE_CLIENT_CERTIFICATE_PATH; for "
			"a user it lacks AZURE_PASSWORD"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct asked asked;
		char expected[600];
		scene_open();
		for (size_t j = 0; j < 3 && cases[i].names[j] != NULL; j++)
			setenv(cases[i].names[j], "x", 1);
		struct credential *credential = open_environment(); /* that is no failure */
		ask(loop, credential, &asked);
		ck_assert_int_eq(asked.err.code, ERR_UNAVAILABLE);
		snprintf(expected, sizeof(expected), "the environment describes no credential: %s",
			cases[i].message);
		ck_assert_str_eq(asked.err.message, expected);
		scene_close(credential);
	}
}
END_TEST

START_TEST(takes_an_empty_variable_for_none)
{
	struct asked asked;
	scene_open();
	setenv("AZURE_TENANT_ID", TENANT, 1);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	setenv("AZURE_CLIENT_SECRET", "", 1);
	setenv("AZURE_CLIENT_CERTIFICATE_PATH", "", 1);
	struct credential *credential = open_environment();
	ask(loop, credential, &asked);
	assert_failure(&asked, ERR_UNAVAILABLE, "it lacks AZURE_CLIENT_SECRET");
	scene_close(credential);
}
END_TEST

START_TEST(looks_at_the_environment_when_it_is_opened_and_no_more)
{
	struct asked asked;
	scene_open();
	struct credential *credential = open_environment();
	setenv("AZURE_TENANT_ID", TENANT, 1);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	setenv("AZURE_CLIENT_SECRET", "s", 1);
	ask(loop, credential, &asked);
	assert_failure(&asked, ERR_UNAVAILABLE, "describes no credential");
	scene_close(credential);
}
END_TEST

/* ---- failures and the end ----------------------------------------------------------------------
 */

START_TEST(passes_on_why_it_cannot_be_opened)
{
	struct error err;
	scene_open();
	setenv("AZURE_TENANT_ID", TENANT, 1);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	setenv("AZURE_CLIENT_SECRET", "s", 1);
	fails_to_open = true;
	ck_assert_ptr_null(open_with(NULL, NULL, &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_str_eq(err.message, "it cannot be opened");
	scene_close(NULL);
}
END_TEST

START_TEST(passes_on_a_failure_of_the_one_it_chose)
{
	struct asked asked;
	scene_open();
	setenv("AZURE_TENANT_ID", TENANT, 1);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	setenv("AZURE_CLIENT_SECRET", "s", 1);
	struct credential *credential = open_environment();
	chosen.token = NULL;
	ask(loop, credential, &asked);
	assert_failure(&asked, ERR_DENIED, "no luck");
	chosen.cannot_be_asked = true;
	chosen.failure = ERR_SECRET_SOURCE;
	ask(loop, credential, &asked);
	assert_failure(&asked, ERR_SECRET_SOURCE, "no luck");
	scene_close(credential);
}
END_TEST

START_TEST(is_cancelled_with_what_it_chose_and_without)
{
	for (int has_set = 0; has_set < 2; has_set++) {
		struct asked asked = {0};
		struct error err = ERROR_INIT;
		scene_open();
		if (has_set) {
			setenv("AZURE_TENANT_ID", TENANT, 1);
			setenv("AZURE_CLIENT_ID", CLIENT, 1);
			setenv("AZURE_CLIENT_SECRET", "s", 1);
		}
		struct credential *credential = open_environment();
		struct credential_call *call =
			credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
		ck_assert_ptr_nonnull(call);
		/* As whoever asked does it. */
		credential->kind->cancel(call);
		loop_run(loop, 0);
		ck_assert_int_eq(asked.calls, 0);
		ck_assert_uint_eq(chosen.cancelled, (unsigned)has_set);
		scene_close(credential);
	}
}
END_TEST

UNIT_MAIN("environment", takes_a_secret_first, takes_a_certificate_next, takes_a_user_last,
	takes_a_secret_that_was_wiped_when_it_was_read, is_unavailable_and_says_what_each_set_lacks,
	takes_an_empty_variable_for_none, looks_at_the_environment_when_it_is_opened_and_no_more,
	passes_on_why_it_cannot_be_opened, passes_on_a_failure_of_the_one_it_chose,
	is_cancelled_with_what_it_chose_and_without)
