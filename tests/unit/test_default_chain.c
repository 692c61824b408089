/*
 * Linked with a credential_open_kind() of the test's own in front of the real one, so that what the
 * chain is made of does as the test says.
 */
#include "credential/chain.h"

#include "asking.h"
#include "scripted.h"
#include "unit.h"

#define CLIENT "a1a1c0de-0000-4000-8000-000000000002"

static const struct account_settings account = {.name = (char *)"anchors"};

/* ---- what the chain is made of -----------------------------------------------------------------
 */

#define MEMBER_COUNT 6

static struct scripted members[MEMBER_COUNT];
static struct credential_settings seen[MEMBER_COUNT]; /* as they were opened */
static unsigned opened[MEMBER_COUNT];
static unsigned opened_ever;
static size_t fails_to_open = SIZE_MAX;

static struct credential *open_member(
	size_t i, const struct credential_settings *settings, struct error *err)
{
	seen[i] = *settings;
	if (i == fails_to_open) {
		error_set(err, ERR_CONFIGURATION, "it cannot be opened");
		return NULL;
	}
	opened[i] = ++opened_ever;
	return &members[i].credential;
}

#define MEMBER(number, word)                                                              \
	static struct credential *open_##word(const struct credential_settings *settings, \
		const struct account_settings *of, struct error *err)                     \
	{                                                                                 \
		ck_assert_ptr_eq(of, &account);                                           \
		return open_member(number, settings, err);                                \
	}                                                                                 \
	static const struct credential_kind word##_kind = {.name = #word,                 \
		SCRIPTED_FUNCTIONS,                                                       \
		.open = open_##word,                                                      \
		.is_developer_tool = (number) >= 3};

MEMBER(0, environment)
MEMBER(1, workload_identity)
MEMBER(2, managed_identity)
MEMBER(3, azure_cli)
MEMBER(4, azure_powershell)
MEMBER(5, azure_developer_cli)

/* In the order of DefaultAzureCredential: azure-protocol.md E. */
static const struct credential_kind *const kinds[MEMBER_COUNT] = {
	&environment_kind,
	&workload_identity_kind,
	&managed_identity_kind,
	&azure_cli_kind,
	&azure_powershell_kind,
	&azure_developer_cli_kind,
};

typedef struct credential *opener(const struct credential_kind *kind,
	const struct credential_settings *settings, const struct account_settings *of,
	struct error *err);

opener __real_credential_open_kind;
opener __wrap_credential_open_kind;

struct credential *__wrap_credential_open_kind(const struct credential_kind *kind,
	const struct credential_settings *settings, const struct account_settings *of,
	struct error *err)
{
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		if (strcmp(kinds[i]->name, kind->name) == 0)
			return __real_credential_open_kind(kinds[i], settings, of, err);
	ck_abort_msg("%s is no part of the chain", kind->name);
}

/* ---- scenes ------------------------------------------------------------------------------------
 */

static struct loop *loop;
static size_t bytes_before;

static void scene_open(const char *variable)
{
	bytes_before = bytes_in_use();
	unsetenv("AZURE_CLIENT_ID");
	unsetenv("AZURE_TOKEN_CREDENTIALS");
	if (variable != NULL)
		setenv("AZURE_TOKEN_CREDENTIALS", variable, 1);
	opened_ever = 0;
	memset(opened, 0, sizeof(opened));
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		scripted_init(&members[i], kinds[i]);
		members[i].token = NULL;
		members[i].failure = ERR_UNAVAILABLE;
	}
	loop = make_loop();
}

static struct credential *open_with(const char *client_id, struct error *err)
{
	const struct credential_settings settings = {
		.kinds = {&credential_default},
		.kind_count = 1,
		.authority = (char *)"https://login.example.com",
		.client_id = (char *)client_id,
		.run_as = (char *)"nobody",
	};
	*err = ERROR_INIT;
	return credential_open(&settings, &account, err);
}

static struct credential *open_default(void)
{
	struct error err;
	struct credential *credential = open_with(NULL, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	return credential;
}

static void scene_close(struct credential *credential)
{
	credential_close(credential);
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		ck_assert_uint_eq(members[i].closed, opened[i] != 0);
	loop_free(loop);
	ck_assert_uint_eq(bytes_in_use(), bytes_before);
}

/* A bit for each member that was opened, the first one's is 1. */
static unsigned opened_members(void)
{
	unsigned bits = 0;
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		bits |= (opened[i] != 0) << i;
	return bits;
}

/* ---- order -------------------------------------------------------------------------------------
 */

START_TEST(tries_all_in_the_order_of_the_sdks)
{
	scene_open(NULL);
	struct credential *credential = open_default();
	size_t count = 0;
	struct credential *const *list = credential->kind->members(credential, &count);
	ck_assert_uint_eq(count, MEMBER_COUNT);
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		ck_assert_ptr_eq(list[i], &members[i].credential);
		ck_assert_ptr_eq(list[i]->kind, kinds[i]);
	}
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		members[i].reason = "nothing here";
	struct asked asked;
	ask(loop, credential, &asked);
	ck_assert_str_eq(asked.err.message,
		"no credential gave a token: environment: nothing here; workload_identity: "
		"nothing here; managed_identity: nothing here; azure_cli: nothing here; "
		"azure_powershell: nothing here; azure_developer_cli: nothing here");
	ck_assert_int_eq(asked.err.code, ERR_UNAVAILABLE);
	scene_close(credential);
}
END_TEST

START_TEST(takes_the_first_that_gives_one_and_keeps_to_it)
{
	scene_open(NULL);
	struct credential *credential = open_default();
	struct asked asked;
	members[2].token = "of the managed identity";
	members[3].token = "of the tool";
	for (int i = 0; i < 2; i++) {
		ask(loop, credential, &asked);
		assert_token(&asked, "of the managed identity");
		ck_assert_str_eq(asked.parts.given_by, "managed_identity");
	}
	ck_assert_uint_eq(members[0].asked, 1);
	ck_assert_uint_eq(members[2].asked, 2);
	ck_assert_uint_eq(members[3].asked, 0);
	scene_close(credential);
}
END_TEST

START_TEST(ends_where_a_service_credential_fails_and_goes_on_where_a_tool_does)
{
	for (size_t failing = 0; failing < MEMBER_COUNT - 1; failing++) {
		struct asked asked;
		scene_open(NULL);
		struct credential *credential = open_default();
		members[failing].failure = ERR_DENIED;
		members[MEMBER_COUNT - 1].token = "of the last";
		ask(loop, credential, &asked);
		if (failing < 3)
			assert_failure(&asked, ERR_DENIED, kinds[failing]->name);
		else
			assert_token(&asked, "of the last");
		scene_close(credential);
	}
}
END_TEST

START_TEST(is_cancelled_at_any_member)
{
	for (size_t at = 0; at < MEMBER_COUNT; at++) {
		struct asked asked = {0};
		struct error err = ERROR_INIT;
		scene_open(NULL);
		struct credential *credential = open_default();
		members[at].is_late = true;
		struct credential_call *call =
			credential->kind->ask(credential, SCOPE, loop, on_asked, &asked, &err);
		while (members[at].call == NULL)
			loop_run(loop, 0);
		credential->kind->cancel(call);
		ck_assert_uint_eq(members[at].cancelled, 1);
		loop_run(loop, 0);
		ck_assert_int_eq(asked.calls, 0);
		scene_close(credential);
	}
}
END_TEST

/* ---- AZURE_TOKEN_CREDENTIALS -------------------------------------------------------------------
 */

START_TEST(obeys_the_variable_that_chooses_a_part)
{
	static const struct {
		const char *word;
		unsigned members;
	} cases[] = {
		{"prod", 007},
		{"dev", 070},
		{"PROD", 007},
		{" Dev\t", 070},
		{"", 077},
		{"  ", 077},
		{"EnvironmentCredential", 001},
		{"WorkloadIdentityCredential", 002},
		{"ManagedIdentityCredential", 004},
		{"AzureCliCredential", 010},
		{"AzurePowerShellCredential", 020},
		{"AzureDeveloperCliCredential", 040},
		{"managedidentitycredential ", 004},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		scene_open(cases[i].word);
		struct credential *credential = open_default();
		ck_assert_msg(opened_members() == cases[i].members, "'%s': %o", cases[i].word,
			opened_members());
		scene_close(credential);
	}
}
END_TEST

START_TEST(refuses_a_word_that_chooses_nothing)
{
	static const char *const words[] = {
		"production",
		"pro",
		"prod,dev",
		"DefaultAzureCredential",
		"VisualStudioCodeCredential",
		"InteractiveBrowserCredential",
		"ManagedIdentityCredentialX",
		"x\033[2J",
		"AWordThatIsSoLongThatNobodyWouldEverHaveWrittenItByHandOrWouldThey",
	};
	for (size_t i = 0; i < UNIT_COUNT(words); i++) {
		struct error err;
		scene_open(words[i]);
		ck_assert_msg(open_with(NULL, &err) == NULL, "'%s'", words[i]);
		ck_assert_int_eq(err.code, ERR_CONFIGURATION);
		ck_assert_msg(
			strncmp(err.message,
				"environment variable AZURE_TOKEN_CREDENTIALS: found '", 53) == 0,
			"%s", err.message);
		ck_assert_ptr_nonnull(strstr(err.message, "expected prod, dev, "
							  "EnvironmentCredential"));
		ck_assert_ptr_null(strchr(err.message, '\033'));
		ck_assert_uint_eq(opened_ever, 0);
		scene_close(NULL);
	}
}
END_TEST

/* ---- settings ----------------------------------------------------------------------------------
 */

START_TEST(tells_members_whether_they_are_alone)
{
	scene_open(NULL);
	struct credential *credential = open_default();
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		ck_assert(seen[i].is_in_chain);
	scene_close(credential);
	scene_open("ManagedIdentityCredential");
	credential = open_default();
	ck_assert(!seen[2].is_in_chain);
	/* And an only one's error is told as it is. */
	struct asked asked;
	ask(loop, credential, &asked);
	ck_assert_str_eq(asked.err.message, "no luck");
	scene_close(credential);
}
END_TEST

START_TEST(passes_on_its_settings)
{
	struct error err;
	scene_open(NULL);
	setenv("AZURE_CLIENT_ID", "of the environment", 1);
	struct credential *credential = open_with(CLIENT, &err);
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		ck_assert_str_eq(seen[i].authority, "https://login.example.com");
		ck_assert_str_eq(seen[i].run_as, "nobody");
		ck_assert_str_eq(seen[i].client_id, CLIENT);
	}
	scene_close(credential);
}
END_TEST

START_TEST(takes_the_client_of_the_environment_where_none_is_set)
{
	scene_open(NULL);
	setenv("AZURE_CLIENT_ID", CLIENT, 1);
	struct credential *credential = open_default();
	ck_assert_str_eq(seen[2].client_id, CLIENT);
	scene_close(credential);
	scene_open(NULL);
	setenv("AZURE_CLIENT_ID", "", 1);
	credential = open_default();
	ck_assert_ptr_null(seen[2].client_id);
	scene_close(credential);
}
END_TEST

START_TEST(leaves_nothing_open_when_a_member_cannot_be_opened)
{
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		struct error err;
		scene_open(NULL);
		fails_to_open = i;
		ck_assert_ptr_null(open_with(NULL, &err));
		ck_assert_str_eq(err.message, "it cannot be opened");
		ck_assert_uint_eq(opened_ever, i);
		scene_close(NULL); /* which looks whether they are closed */
	}
}
END_TEST

START_TEST(is_shared_and_has_few_keys)
{
	static const char *const expected[] = {"authority", "client_id", "run_as"};
	for (size_t i = 0; i < UNIT_COUNT(expected); i++)
		ck_assert_str_eq(credential_default.keys[i], expected[i]);
	ck_assert_ptr_null(credential_default.keys[UNIT_COUNT(expected)]);
	ck_assert(credential_default.is_shared);
}
END_TEST

UNIT_MAIN("default_chain", tries_all_in_the_order_of_the_sdks,
	takes_the_first_that_gives_one_and_keeps_to_it,
	ends_where_a_service_credential_fails_and_goes_on_where_a_tool_does,
	is_cancelled_at_any_member, obeys_the_variable_that_chooses_a_part,
	refuses_a_word_that_chooses_nothing, tells_members_whether_they_are_alone,
	passes_on_its_settings, takes_the_client_of_the_environment_where_none_is_set,
	leaves_nothing_open_when_a_member_cannot_be_opened, is_shared_and_has_few_keys)
