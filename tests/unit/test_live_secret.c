#include "credential/live_secret.h"

#include "files.h"
#include "unit.h"

#include <sys/mman.h>
#include <sys/stat.h>

static struct live_secret *open_path(const char *path)
{
	struct error err = ERROR_INIT;
	struct live_secret *live = live_secret_open_file(path, "static_token", &err);
	ck_assert_msg(live != NULL, "%s", err.message);
	return live;
}

static void assert_secret(struct live_secret *live, const char *expected)
{
	struct error err = ERROR_INIT;
	const struct secret *secret = live_secret_get(live, NULL, &err);
	ck_assert_msg(secret != NULL, "%s", err.message);
	ck_assert_str_eq(secret_bytes(secret), expected);
	ck_assert_uint_eq(secret_len(secret), strlen(expected));
}

static uint64_t version_of(struct live_secret *live)
{
	uint64_t version = UINT64_MAX;
	struct error err = ERROR_INIT;
	ck_assert_ptr_nonnull(live_secret_get(live, &version, &err));
	ck_assert_uint_ne(version, UINT64_MAX);
	return version;
}

static void assert_unreadable(struct live_secret *live, const char *words)
{
	struct error err = ERROR_INIT;
	uint64_t version = UINT64_MAX;
	ck_assert_ptr_null(live_secret_get(live, &version, &err));
	ck_assert_uint_eq(version, UINT64_MAX);
	ck_assert_msg(
		err.code == ERR_SECRET_SOURCE, "%s: %s", error_code_name(err.code), err.message);
	ck_assert_msg(strstr(err.message, words) != NULL, "no '%s' in: %s", words, err.message);
	ck_assert_msg(strncmp(err.message, "static_token: ", 14) == 0, "%s", err.message);
}

/* Put a file in the place of another in one step. */
static void replace(const char *name, const char *content)
{
	const char *path = path_of(name);
	ck_assert_int_eq(rename(write_file("new", content), path), 0);
}

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

/* ---- files -------------------------------------------------------------------------------------
 */

START_TEST(opens_no_file_before_it_is_asked)
{
	struct live_secret *live = open_path(path_of("later"));
	assert_unreadable(live, "/later: No such file or directory");
	write_file("later", " \tfirst\r\n\n");
	assert_secret(live, "first");
	live_secret_free(live);
	live_secret_free(NULL);
}
END_TEST

START_TEST(reads_a_file_again_that_was_written_in_place)
{
	struct live_secret *live = open_path(write_file("file", "first\n"));
	assert_secret(live, "first");
	write_file("file", "a longer one\n");
	assert_secret(live, "a longer one");
	/* As long as the one before, and at once. */
	for (int i = 0; i < 50; i++) {
		char content[16];
		snprintf(content, sizeof(content), "one of %05d", i);
		write_file("file", content);
		assert_secret(live, content);
	}
	live_secret_free(live);
}
END_TEST

/*
 * Through a mapping whose page is written to already, the content changes and the times do not: as
 * with two changes within one step of a file system's clock.
 */
START_TEST(reads_a_young_file_again_that_looks_the_same)
{
	struct stat before;
	struct stat after;
	const char *path = write_file("file", "first!");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *map = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	memcpy(map, "first.", 6);
	struct live_secret *live = open_path(path);
	assert_secret(live, "first.");
	ck_assert_int_eq(stat(path, &before), 0);
	memcpy(map, "second", 6);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_mem_eq(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
	assert_secret(live, "second");
	munmap(map, 6);
	close(fd);
	live_secret_free(live);
}
END_TEST

START_TEST(reads_a_file_again_that_was_put_in_its_place)
{
	struct live_secret *live = open_path(write_file("file", "first"));
	assert_secret(live, "first");
	for (int i = 0; i < 50; i++) {
		char content[16];
		snprintf(content, sizeof(content), "%05d", i);
		replace("file", content);
		assert_secret(live, content);
	}
	live_secret_free(live);
}
END_TEST

/* token -> ..data/token, ..data -> ..2024_1, and another ..data is renamed over it. */
START_TEST(follows_the_links_of_kubernetes)
{
	ck_assert_int_eq(mkdir(path_of("..2024_1"), 0700), 0);
	ck_assert_int_eq(mkdir(path_of("..2024_2"), 0700), 0);
	write_file("..2024_1/token", "of the first hour");
	write_file("..2024_2/token", "of the other hour");
	ck_assert_int_eq(symlink("..2024_1", path_of("..data")), 0);
	ck_assert_int_eq(symlink("..data/token", path_of("token")), 0);
	struct live_secret *live = open_path(path_of("token"));
	assert_secret(live, "of the first hour");
	ck_assert_int_eq(symlink("..2024_2", path_of("..data_tmp")), 0);
	ck_assert_int_eq(rename(path_of("..data_tmp"), path_of("..data")), 0);
	assert_secret(live, "of the other hour");
	/* And the old one goes. */
	ck_assert_int_eq(unlink(path_of("..2024_1/token")), 0);
	assert_secret(live, "of the other hour");
	live_secret_free(live);
}
END_TEST

START_TEST(tells_another_version_only_of_another_secret)
{
	struct live_secret *live = open_path(write_file("file", "first"));
	uint64_t first = version_of(live);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(version_of(live), first);
	write_file("file", "first\n"); /* the same once more */
	ck_assert_uint_eq(version_of(live), first);
	replace("file", "second");
	uint64_t second = version_of(live);
	ck_assert_uint_ne(second, first);
	ck_assert_uint_eq(version_of(live), second);
	replace("file", "first");
	ck_assert_uint_ne(version_of(live), second);
	live_secret_free(live);
}
END_TEST

START_TEST(fails_while_the_file_is_gone_and_comes_back_with_it)
{
	struct live_secret *live = open_path(write_file("file", "first"));
	assert_secret(live, "first");
	ck_assert_int_eq(unlink(path_of("file")), 0);
	for (int i = 0; i < 2; i++)
		assert_unreadable(live, "/file: No such file or directory");
	write_file("file", "second");
	assert_secret(live, "second");
	live_secret_free(live);
}
END_TEST

START_TEST(fails_while_the_file_is_of_no_use)
{
	static char long_one[SECRET_SOURCE_MAX + 2];
	struct live_secret *live = open_path(write_file("file", "first"));
	assert_secret(live, "first");
	replace("file", " \n");
	assert_unreadable(live, "is empty: expected a secret in it");
	memset(long_one, 'x', sizeof(long_one) - 1);
	replace("file", long_one);
	assert_unreadable(live, "is too long for a secret");
	ck_assert_int_eq(unlink(path_of("file")), 0);
	ck_assert_int_eq(mkdir(path_of("file"), 0700), 0);
	assert_unreadable(live, "is not a regular file");
	ck_assert_int_eq(rmdir(path_of("file")), 0);
	write_file("file", "second");
	assert_secret(live, "second");
	live_secret_free(live);
}
END_TEST

static void read_as_nobody(void *context)
{
	struct live_secret *live = context;
	struct error err = ERROR_INIT;
	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(98);
	if (live_secret_get(live, NULL, &err) != NULL || err.code != ERR_SECRET_SOURCE ||
		strstr(err.message, "Permission denied") == NULL)
		_exit(1);
}

START_TEST(tells_that_it_may_not_read_the_file)
{
	if (getuid() != 0)
		return; /* only root can become somebody else */
	struct live_secret *live = open_path(write_file("file", "first"));
	unit_assert_exited(unit_in_child(read_as_nobody, live), 0);
	live_secret_free(live);
}
END_TEST

START_TEST(does_not_wait_for_who_never_writes)
{
	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	struct live_secret *live = open_path(path_of("fifo"));
	assert_unreadable(live, "is not a regular file");
	live_secret_free(live);
}
END_TEST

START_TEST(leaves_no_copy_behind)
{
	size_t before = bytes_in_use();
	struct live_secret *live = open_path(write_file("file", "first"));
	assert_secret(live, "first");
	size_t with_one = bytes_in_use();
	ck_assert_uint_gt(with_one, before);
	for (int i = 0; i < 10; i++) {
		char content[16];
		snprintf(content, sizeof(content), "%d", i);
		replace("file", content);
		assert_secret(live, content);
	}
	replace("file", "");
	assert_unreadable(live, "is empty");
	ck_assert_uint_eq(bytes_in_use(), with_one);
	live_secret_free(live);
	ck_assert_uint_eq(bytes_in_use(), before);
}
END_TEST

START_TEST(keeps_every_byte_of_what_is_binary)
{
	struct error err = ERROR_INIT;
	struct secret_source source = {0};
	char word[300];
	snprintf(word, sizeof(word), "file:%s", write_bytes("file", " \0\x30\x82 \n", 6));
	ck_assert_int_eq(secret_source_parse(word, &source, &err), 0);
	struct live_secret *live = live_secret_open_binary(&source, "static_token", &err);
	secret_source_clear(&source);
	const struct secret *secret = live_secret_get(live, NULL, &err);
	ck_assert_uint_eq(secret_len(secret), 6);
	ck_assert_mem_eq(secret_bytes(secret), " \0\x30\x82 \n", 6);
	write_bytes("file", "\n\0\n", 3);
	secret = live_secret_get(live, NULL, &err);
	ck_assert_uint_eq(secret_len(secret), 3);
	live_secret_free(live);
}
END_TEST

/* ---- other sources -----------------------------------------------------------------------------
 */

static struct live_secret *open_word(const char *word, const char *where, struct error *err)
{
	struct secret_source source = {0};
	*err = ERROR_INIT;
	ck_assert_int_eq(secret_source_parse(word, &source, err), 0);
	source.where = where == NULL ? NULL : strdup(where);
	struct live_secret *live = live_secret_open(&source, "client_secret", err);
	secret_source_clear(&source); /* it is copied */
	return live;
}

START_TEST(reads_a_variable_when_it_is_opened)
{
	struct error err;
	setenv("UNIT_SECRET", " first\n", 1);
	struct live_secret *live = open_word("env:UNIT_SECRET", NULL, &err);
	ck_assert_msg(live != NULL, "%s", err.message);
	ck_assert_str_eq(getenv("UNIT_SECRET"), ""); /* wiped */
	setenv("UNIT_SECRET", "second", 1);
	assert_secret(live, "first");
	ck_assert_uint_eq(version_of(live), version_of(live));
	ck_assert_str_eq(live_secret_name(live), "env:UNIT_SECRET");
	live_secret_free(live);
	/* Another account with the same variable gets what it was. */
	live = open_word("env:UNIT_SECRET", NULL, &err);
	assert_secret(live, "first");
	live_secret_free(live);
}
END_TEST

START_TEST(tells_of_a_variable_that_is_not_set_when_it_is_opened)
{
	struct error err;
	unsetenv("UNIT_SECRET");
	ck_assert_ptr_null(open_word("env:UNIT_SECRET", "/etc/x.conf:7", &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_str_eq(err.message, "/etc/x.conf:7: client_secret: the environment variable "
				      "UNIT_SECRET is not set");
}
END_TEST

START_TEST(finds_a_systemd_credential_and_follows_it)
{
	struct error err;
	char name[64];
	setenv("CREDENTIALS_DIRECTORY", path_of("credentials"), 1);
	ck_assert_int_eq(mkdir(path_of("credentials"), 0700), 0);
	write_file("credentials/app", "first\n");
	struct live_secret *live = open_word("credential:app", "/etc/x.conf:7", &err);
	ck_assert_msg(live != NULL, "%s", err.message);
	snprintf(name, sizeof(name), "%s", live_secret_name(live));
	ck_assert_str_eq(name, "credential:app");
	assert_secret(live, "first");
	/* Where it is was looked up once. */
	unsetenv("CREDENTIALS_DIRECTORY");
	replace("credentials/app", "second\n");
	assert_secret(live, "second");
	ck_assert_int_eq(unlink(path_of("credentials/app")), 0);
	err = ERROR_INIT;
	ck_assert_ptr_null(live_secret_get(live, NULL, &err));
	ck_assert_msg(strncmp(err.message, "/etc/x.conf:7: client_secret: cannot open /", 43) == 0,
		"%s", err.message);
	live_secret_free(live);
}
END_TEST

START_TEST(tells_that_there_are_no_systemd_credentials)
{
	static const char *const directories[] = {NULL, "", "relative"};
	for (size_t i = 0; i < UNIT_COUNT(directories); i++) {
		struct error err;
		unsetenv("CREDENTIALS_DIRECTORY");
		if (directories[i] != NULL)
			setenv("CREDENTIALS_DIRECTORY", directories[i], 1);
		ck_assert_ptr_null(open_word("credential:app", "/etc/x.conf:7", &err));
		ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
		ck_assert_msg(strncmp(err.message, "/etc/x.conf:7: client_secret: credential:app ",
				      45) == 0,
			"%s", err.message);
		ck_assert_ptr_nonnull(strstr(err.message, "LoadCredential=app:PATH"));
	}
}
END_TEST

START_TEST(refuses_no_source_at_all)
{
	const struct secret_source none = {0};
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(live_secret_open(&none, "client_secret", &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_msg(strncmp(err.message, "client_secret: ", 15) == 0, "%s", err.message);
}
END_TEST

UNIT_MAIN("live_secret", opens_no_file_before_it_is_asked,
	reads_a_file_again_that_was_written_in_place, reads_a_young_file_again_that_looks_the_same,
	reads_a_file_again_that_was_put_in_its_place, follows_the_links_of_kubernetes,
	tells_another_version_only_of_another_secret,
	fails_while_the_file_is_gone_and_comes_back_with_it, fails_while_the_file_is_of_no_use,
	tells_that_it_may_not_read_the_file, does_not_wait_for_who_never_writes,
	leaves_no_copy_behind, keeps_every_byte_of_what_is_binary,
	reads_a_variable_when_it_is_opened, tells_of_a_variable_that_is_not_set_when_it_is_opened,
	finds_a_systemd_credential_and_follows_it, tells_that_there_are_no_systemd_credentials,
	refuses_no_source_at_all)
