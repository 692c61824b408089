#include "base/message_id.h"
#include "app_scene.h"
#include "certificates.h"
#include "credential/certificate.h"

#include <time.h>

#define PASSPHRASE "correct horse"

static EVP_PKEY *key;
static X509 *own;

/* Write the bytes as the file of the settings. */
static void put_file(struct secret *file)
{
	replace_file("app", secret_bytes(file), secret_len(file));
	secret_free(file);
}

/* A certificate that is valid from and to, in seconds from now, by which the clock goes too. */
static void open_app(const char *const *answers, int64_t from_s, int64_t to_s)
{
	test_realtime_s = time(NULL);
	scene_open(&credential_client_certificate, answers);
	key = make_ec_key("P-256");
	own = issue_certificate(key, from_s, to_s);
	put_file(make_pem(key, own));
	set_file(&settings.client_certificate, path_of("app"));
}

static void close_app(struct credential *credential)
{
	X509_free(own);
	EVP_PKEY_free(key);
	scene_close(credential);
}

static void set_passphrase(const char *passphrase)
{
	set_file(&settings.client_certificate_password, write_file("passphrase", passphrase));
}

static void rotate(void)
{
	X509_free(own);
	own = issue_certificate(key, 0, 365 * DAY_S);
	put_file(make_pem(key, own));
}

static void pass(int64_t seconds)
{
	test_boottime_ms += seconds * 1000;
	test_realtime_s += seconds;
}

/* Whether the assertions of both requests are the same one. */
static bool is_reused(unsigned one, unsigned other)
{
	return strcmp(assertion_of(one), assertion_of(other)) == 0;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

START_TEST(shows_an_assertion_for_its_endpoint)
{
	const char *const answers[] = {good_answer(), NULL};
	char endpoint[200];
	open_app(answers, 0, 365 * DAY_S);
	int64_t now_s = test_realtime_s;
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_token(&asked, "eyJ.the-token");
	ck_assert_int_eq(asked.parts.dead_at_ms, START_MS + 3599000);
	ck_assert_str_eq(asked.parts.notice, "");
	close_app(credential);
	struct json_object *header = part_of(assertion_of(0), 0);
	struct json_object *claims = part_of(assertion_of(0), 1);
	snprintf(endpoint, sizeof(endpoint), "%s/" TENANT "/oauth2/v2.0/token", server.origin);
	ck_assert_str_eq(string_of(claims, "aud"), endpoint);
	ck_assert_str_eq(string_of(claims, "iss"), CLIENT);
	ck_assert_int_eq(number_of(claims, "nbf"), now_s);
	ck_assert_str_eq(string_of(header, "alg"), "ES256");
	ck_assert(!json_object_object_get_ex(header, "x5c", NULL));
	json_object_put(header);
	json_object_put(claims);
}
END_TEST

START_TEST(sends_the_chain_where_the_settings_say_so)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	settings.sends_certificate_chain = true;
	struct credential *credential = open_credential();
	ask_well(credential);
	close_app(credential);
	struct json_object *header = part_of(assertion_of(0), 0);
	struct json_object *chain = NULL;
	ck_assert(json_object_object_get_ex(header, "x5c", &chain));
	ck_assert_uint_eq(json_object_array_length(chain), 1);
	json_object_put(header);
}
END_TEST

START_TEST(opens_an_encrypted_key_by_its_passphrase)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	set_passphrase(PASSPHRASE "\n");
	put_file(make_pkcs12(key, own, NULL, PASSPHRASE));
	struct credential *credential = open_credential();
	ask_well(credential);
	close_app(credential);
}
END_TEST

START_TEST(reads_pkcs12_whose_last_byte_looks_like_white_space)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	set_passphrase(PASSPHRASE);
	/* The count of the MAC is the last number of the file, and 32 is a space. */
	struct secret *file =
		take_pkcs12(PKCS12_create(PASSPHRASE, "app", key, own, NULL, 0, 0, 2048, 32, 0));
	ck_assert_int_eq(secret_bytes(file)[secret_len(file) - 1], ' ');
	put_file(file);
	struct credential *credential = open_credential();
	ask_well(credential);
	close_app(credential);
}
END_TEST

START_TEST(uses_an_assertion_until_a_minute_before_its_end)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	struct credential *credential = open_credential();
	ask_well(credential);
	pass(539);
	ask_well(credential);
	pass(1);
	ask_well(credential);
	close_app(credential);
	ck_assert(is_reused(0, 1));
	ck_assert(!is_reused(1, 2));
}
END_TEST

START_TEST(reads_a_certificate_that_was_rotated)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	struct credential *credential = open_credential();
	ask_well(credential);
	rotate();
	ask_well(credential);
	close_app(credential);
	struct json_object *older = part_of(assertion_of(0), 0);
	struct json_object *newer = part_of(assertion_of(1), 0);
	ck_assert_str_ne(string_of(older, "x5t#S256"), string_of(newer, "x5t#S256"));
	json_object_put(older);
	json_object_put(newer);
}
END_TEST

START_TEST(reads_a_passphrase_that_was_rotated)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	set_passphrase("wrong");
	put_file(make_pkcs12(key, own, NULL, PASSPHRASE));
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "the passphrase does not open it");
	replace_file("passphrase", PASSPHRASE, strlen(PASSPHRASE));
	ask_well(credential);
	close_app(credential);
}
END_TEST

START_TEST(makes_an_assertion_anew_once_that_entra_finds_late)
{
	const char *const answers[] = {good_answer(), late_answer(), good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	struct credential *credential = open_credential();
	ask_well(credential);
	ask_well(credential);
	ck_assert_uint_eq(count_of(&server), 3);
	close_app(credential);
	ck_assert(is_reused(0, 1));
	ck_assert(!is_reused(1, 2));
}
END_TEST

START_TEST(ends_when_entra_finds_the_new_one_late_too)
{
	const char *const answers[] = {late_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_DENIED, "AADSTS700024: ");
	ck_assert_uint_eq(count_of(&server), 2);
	close_app(credential);
}
END_TEST

START_TEST(shows_no_assertion_again_that_entra_refused)
{
	const char *const answers[] = {foreign_answer(), good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_DENIED, "AADSTS700027: ");
	ck_assert_uint_eq(count_of(&server), 1);
	ask_well(credential);
	close_app(credential);
	ck_assert(!is_reused(0, 1));
}
END_TEST

START_TEST(is_cancelled_before_and_after_it_was_sent)
{
	static const char *const silence[] = {NULL};
	for (int is_sent = 0; is_sent < 2; is_sent++) {
		open_app(silence, 0, 365 * DAY_S);
		struct credential *credential = open_credential();
		ask_and_cancel(credential, is_sent == 1);
		close_app(credential);
	}
}
END_TEST

/* ---- its validity ------------------------------------------------------------------------------
 */

START_TEST(tells_ahead_that_the_certificate_ends)
{
	const char *const answers[] = {good_answer(), NULL};
	char date[CERTIFICATE_DATE_SIZE];
	char expected[400];
	open_app(answers, -200 * DAY_S, 29 * DAY_S);
	certificate_print_date(test_realtime_s + 29 * DAY_S, date);
	/* To the second it depends on when the test ran. */
	snprintf(expected, sizeof(expected), "the certificate expires on %.10s", date);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_token(&asked, "eyJ.the-token");
	ck_assert_msg(strncmp(asked.parts.notice, expected, strlen(expected)) == 0, "%s",
		asked.parts.notice);
	ck_assert_str_eq(asked.parts.notice_id, MESSAGE_CERTIFICATE_EXPIRES);
	ck_assert_ptr_nonnull(strstr(asked.parts.notice, " UTC: register a new one with the app, "
							 "and put it in file:/"));
	rotate();
	asked = ask_now(credential);
	ck_assert_str_eq(asked.parts.notice, "");
	close_app(credential);
}
END_TEST

static void assert_refused(int64_t from_s, int64_t to_s, const char *words)
{
	static const char *const silence[] = {NULL};
	char expected[400];
	open_app(silence, from_s, to_s);
	snprintf(expected, sizeof(expected), "client_certificate: file:%s: %s", path_of("app"),
		words);
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, expected);
	ck_assert_uint_eq(count_of(&server), 0);
	close_app(credential);
}

START_TEST(sends_nothing_by_an_expired_certificate)
{
	assert_refused(-10 * DAY_S, -60, "the certificate expired on ");
}
END_TEST

START_TEST(sends_nothing_by_a_certificate_of_the_future)
{
	assert_refused(DAY_S, 2 * DAY_S, "the certificate is not valid before ");
}
END_TEST

START_TEST(sees_a_certificate_expire_between_two_questions)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, -DAY_S, 100);
	struct credential *credential = open_credential();
	ask_well(credential);
	pass(200); /* the assertion itself would do for longer */
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "the certificate expired on ");
	close_app(credential);
}
END_TEST

/* ---- what is wrong with its settings -----------------------------------------------------------
 */

START_TEST(tells_of_a_file_that_is_missing_until_it_is_there)
{
	const char *const answers[] = {good_answer(), NULL};
	open_app(answers, 0, 365 * DAY_S);
	set_file(&settings.client_certificate, path_of("missing"));
	settings.client_certificate.where = strdup("/etc/x.conf:7");
	struct credential *credential = open_credential(); /* it fails no other account */
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "/etc/x.conf:7: client_certificate: cannot ");
	ck_assert_int_eq(rename(path_of("app"), path_of("missing")), 0);
	ask_well(credential);
	close_app(credential);
}
END_TEST

START_TEST(tells_what_is_wrong_with_the_file_and_which)
{
	static const char *const silence[] = {NULL};
	char expected[400];
	open_app(silence, 0, 365 * DAY_S);
	replace_file("app", "nonsense", 8);
	snprintf(expected, sizeof(expected), "client_certificate: file:%s: it is neither PEM",
		path_of("app"));
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, expected);
	close_app(credential);
}
END_TEST

START_TEST(tells_of_a_passphrase_that_is_missing)
{
	static const char *const silence[] = {NULL};
	open_app(silence, 0, 365 * DAY_S);
	set_file(&settings.client_certificate_password, path_of("none"));
	struct credential *credential = open_credential();
	struct asked asked = ask_now(credential);
	assert_failure(&asked, ERR_SECRET_SOURCE, "client_certificate_password: cannot open /");
	close_app(credential);
}
END_TEST

START_TEST(refuses_a_tenant_that_is_none)
{
	static const char *const silence[] = {NULL};
	open_app(silence, 0, 365 * DAY_S);
	free(settings.tenant_id);
	settings.tenant_id = strdup("../x");
	assert_not_opened(ERR_CONFIGURATION,
		"tenant_id: found '../x', expected the tenant's identifier or one of its domains");
	close_app(NULL);
}
END_TEST

START_TEST(is_shared_and_takes_the_keys_of_its_kind)
{
	static const char *const expected[] = {"!tenant_id", "!client_id", "!client_certificate",
		"client_certificate_password", "send_certificate_chain", "authority"};
	for (size_t i = 0; i < UNIT_COUNT(expected); i++)
		ck_assert_str_eq(credential_client_certificate.keys[i], expected[i]);
	ck_assert_ptr_null(credential_client_certificate.keys[UNIT_COUNT(expected)]);
	ck_assert(credential_client_certificate.is_shared);
}
END_TEST

UNIT_MAIN("client_certificate", shows_an_assertion_for_its_endpoint,
	sends_the_chain_where_the_settings_say_so, opens_an_encrypted_key_by_its_passphrase,
	reads_pkcs12_whose_last_byte_looks_like_white_space,
	uses_an_assertion_until_a_minute_before_its_end, reads_a_certificate_that_was_rotated,
	reads_a_passphrase_that_was_rotated, makes_an_assertion_anew_once_that_entra_finds_late,
	ends_when_entra_finds_the_new_one_late_too, shows_no_assertion_again_that_entra_refused,
	is_cancelled_before_and_after_it_was_sent, tells_ahead_that_the_certificate_ends,
	sends_nothing_by_an_expired_certificate, sends_nothing_by_a_certificate_of_the_future,
	sees_a_certificate_expire_between_two_questions,
	tells_of_a_file_that_is_missing_until_it_is_there,
	tells_what_is_wrong_with_the_file_and_which, tells_of_a_passphrase_that_is_missing,
	refuses_a_tenant_that_is_none, is_shared_and_takes_the_keys_of_its_kind)
