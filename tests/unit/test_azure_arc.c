#include "credential/azure_arc.h"

#include "files.h"
#include "unit.h"

#define DIRECTORY AZURE_ARC_KEY_DIRECTORY
#define KEY "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

/* ---- what a challenge may name -----------------------------------------------------------------
 */

static void assert_name(const char *challenge, const char *expected)
{
	char path[512];
	struct error err = ERROR_INIT;
	const char *name = azure_arc_key_name(DIRECTORY, challenge, path, sizeof(path), &err);
	ck_assert_msg(name != NULL, "%s: %s", challenge, err.message);
	ck_assert_str_eq(name, expected);
}

static void assert_no_name(const char *challenge, const char *part)
{
	char path[512];
	struct error err = ERROR_INIT;
	const char *name = azure_arc_key_name(DIRECTORY, challenge, path, sizeof(path), &err);
	ck_assert_msg(name == NULL, "%s", challenge);
	ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
	ck_assert_msg(strstr(err.message, part) != NULL, "%s: %s", challenge, err.message);
}

START_TEST(reads_the_name_of_the_key_file)
{
	assert_name("Basic realm=" DIRECTORY "/4f1.key", "4f1.key");
	assert_name("basic Realm=" DIRECTORY "/4f1.key", "4f1.key");
	assert_name("Basic realm=\"" DIRECTORY "/4f1.key\"", "4f1.key");
	assert_name("Basic realm=" DIRECTORY "/a.b=c d.key", "a.b=c d.key");
}
END_TEST

START_TEST(refuses_what_is_no_challenge)
{
	assert_no_name("", "found no WWW-Authenticate, expected");
	assert_no_name("Basic", "found another WWW-Authenticate, expected");
	assert_no_name("Basic realm=", "found another");
	assert_no_name("Basic realm=\"\"", "found another");
	assert_no_name("Bearer realm=" DIRECTORY "/4f1.key", "found another");
	assert_no_name("Basic charset=x, realm=" DIRECTORY "/4f1.key", "found another");
	assert_no_name(DIRECTORY "/4f1.key", "found another");
	assert_no_name(" Basic realm=" DIRECTORY "/4f1.key", "found another");
}
END_TEST

START_TEST(refuses_a_file_that_is_not_directly_in_the_directory)
{
	static const char *const paths[] = {
		"/etc/shadow",
		"/etc/shadow.key",
		"/etc/mrtokend/anchors.key",
		"anchors.key",
		"/anchors.key",
		"./4f1.key",
		DIRECTORY,
		DIRECTORY ".key",
		DIRECTORY "-evil/4f1.key",
		DIRECTORY "-evil.key",
		DIRECTORY "/",
		DIRECTORY "//4f1.key",
		DIRECTORY "/sub/4f1.key",
		DIRECTORY "/../4f1.key",
		DIRECTORY "/../../../../etc/mrtokend/anchors.key",
		DIRECTORY "/./4f1.key",
		DIRECTORY "/..key",
		DIRECTORY "/.key",
		DIRECTORY "/.hidden.key",
		"/var/opt/azcmagent/Tokens/4f1.key",
		"/var/opt/./azcmagent/tokens/4f1.key",
		"//var/opt/azcmagent/tokens/4f1.key",
		" " DIRECTORY "/4f1.key",
		"file://" DIRECTORY "/4f1.key",
	};
	for (size_t i = 0; i < UNIT_COUNT(paths); i++) {
		char challenge[256];
		snprintf(challenge, sizeof(challenge), "Basic realm=%s", paths[i]);
		assert_no_name(challenge, "expected " DIRECTORY "/NAME.key");
	}
}
END_TEST

START_TEST(refuses_another_ending)
{
	assert_no_name("Basic realm=" DIRECTORY "/4f1", "expected " DIRECTORY "/NAME.key");
	assert_no_name("Basic realm=" DIRECTORY "/4f1.KEY", "NAME.key");
	assert_no_name("Basic realm=" DIRECTORY "/4f1.key ", "NAME.key");
	assert_no_name("Basic realm=" DIRECTORY "/4f1.key.txt", "NAME.key");
	assert_no_name("Basic realm=" DIRECTORY "/4f1.key, Bearer", "NAME.key");
}
END_TEST

START_TEST(refuses_a_path_that_does_not_fit)
{
	char challenge[700] = "Basic realm=" DIRECTORY "/";
	size_t len = strlen(challenge);
	memset(challenge + len, 'a', sizeof(challenge) - len);
	strcpy(challenge + sizeof(challenge) - 5, ".key");
	assert_no_name(challenge, "found another");
}
END_TEST

/* ---- reading the file --------------------------------------------------------------------------
 */

/* The line, or NULL with the error, for the file of that name in the test's own directory. */
static struct secret *answer(const char *name, struct error *err)
{
	char challenge[256];
	*err = ERROR_INIT;
	snprintf(challenge, sizeof(challenge), "Basic realm=%s", path_of(name));
	return azure_arc_answer(directory, challenge, err);
}

static void assert_answer(const char *name, const char *expected)
{
	struct error err;
	_cleanup_secret_ struct secret *line = answer(name, &err);
	ck_assert_msg(line != NULL, "%s", err.message);
	ck_assert_uint_eq(secret_len(line), strlen(expected));
	ck_assert_str_eq(secret_bytes(line), expected);
}

static void assert_refused(const char *name, const char *part)
{
	size_t before = bytes_in_use();
	struct error err;
	struct secret *line = answer(name, &err);
	ck_assert_msg(line == NULL, "%s", name);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strstr(err.message, part) != NULL, "%s", err.message);
	ck_assert_uint_eq(bytes_in_use(), before);
}

START_TEST(shows_the_key_as_it_is)
{
	write_file("a.key", KEY);
	assert_answer("a.key", "Authorization: Basic " KEY);
	write_file("b.key", " with space and = ");
	assert_answer("b.key", "Authorization: Basic  with space and = ");
}
END_TEST

START_TEST(takes_a_key_of_4096_bytes_and_no_longer_one)
{
	char key[AZURE_ARC_KEY_MAX + 1];
	char expected[sizeof(key) + 64];
	memset(key, 'k', sizeof(key));
	write_bytes("fits.key", key, AZURE_ARC_KEY_MAX);
	snprintf(expected, sizeof(expected), "Authorization: Basic %.*s", (int)AZURE_ARC_KEY_MAX,
		key);
	assert_answer("fits.key", expected);
	write_bytes("long.key", key, sizeof(key));
	assert_refused("long.key", "is too long for a key: expected at most 4096 bytes");
}
END_TEST

START_TEST(refuses_a_key_that_breaks_out_of_its_header)
{
	write_file("newline.key", KEY "\n");
	assert_refused("newline.key", "the byte at offset 44 of ");
	write_file("inside.key", "abc\r\nHost: evil");
	assert_refused("inside.key", "the byte at offset 3 of ");
	write_bytes("nul.key", "abc\0def", 7);
	assert_refused("nul.key", "the byte at offset 3 of ");
	write_file("empty.key", "");
	assert_refused("empty.key", "is empty: expected a key");
}
END_TEST

START_TEST(refuses_a_link)
{
	write_file("secret", KEY);
	ck_assert_int_eq(symlink(path_of("secret"), path_of("link.key")), 0);
	assert_refused("link.key", "is a symbolic link: expected a regular file");
	ck_assert_int_eq(symlink("/nonexistent", path_of("dangling.key")), 0);
	assert_refused("dangling.key", "is a symbolic link: expected a regular file");
}
END_TEST

START_TEST(refuses_what_is_no_regular_file_and_does_not_wait_for_it)
{
	directory_make();
	ck_assert_int_eq(mkdir(path_of("directory.key"), 0700), 0);
	assert_refused("directory.key", "is not a regular file");
	ck_assert_int_eq(mkfifo(path_of("pipe.key"), 0600), 0);
	assert_refused("pipe.key", "is not a regular file");
}
END_TEST

START_TEST(says_that_a_file_is_missing)
{
	directory_make();
	assert_refused("missing.key", "/missing.key: No such file or directory");
}
END_TEST

START_TEST(refuses_a_directory_that_is_a_link)
{
	char challenge[256];
	struct error err = ERROR_INIT;
	directory_make();
	ck_assert_int_eq(mkdir(path_of("real"), 0700), 0);
	write_file("real/a.key", KEY);
	ck_assert_int_eq(symlink(path_of("real"), path_of("tokens")), 0);
	const char *tokens = path_of("tokens");
	snprintf(challenge, sizeof(challenge), "Basic realm=%s/a.key", tokens);
	ck_assert_ptr_null(azure_arc_answer(tokens, challenge, &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
}
END_TEST

START_TEST(says_which_group_may_read_the_keys)
{
	if (geteuid() != 0)
		return; /* only root can become somebody else */
	write_file("a.key", KEY);
	ck_assert_int_eq(seteuid(65534), 0);
	assert_refused("a.key", "(is the daemon's user in the group himds?): Permission denied");
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

UNIT_MAIN("azure_arc", reads_the_name_of_the_key_file, refuses_what_is_no_challenge,
	refuses_a_file_that_is_not_directly_in_the_directory, refuses_another_ending,
	refuses_a_path_that_does_not_fit, shows_the_key_as_it_is,
	takes_a_key_of_4096_bytes_and_no_longer_one, refuses_a_key_that_breaks_out_of_its_header,
	refuses_a_link, refuses_what_is_no_regular_file_and_does_not_wait_for_it,
	says_that_a_file_is_missing, refuses_a_directory_that_is_a_link,
	says_which_group_may_read_the_keys)
