#include "credential/secret_source.h"

#include "files.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

extern char **environ;

#define SECRET "Zm9vYmFyS2V5LW9mLXRoZS1hY2NvdW50"

/* ---- what every read must hold -----------------------------------------------------------------
 */

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

static int lowest_free_descriptor(void)
{
	int fd = dup(STDOUT_FILENO);
	close(fd);
	return fd;
}

static struct secret *read_word(const char *word, struct error *err)
{
	struct secret_source source = {0};
	if (secret_source_parse(word, &source, err) != 0)
		ck_abort_msg("%s: %s", word, err->message);
	struct secret *secret = secret_source_read(&source, err);
	secret_source_clear(&source);
	return secret;
}

static struct secret *read_path(const char *path, struct error *err)
{
	char word[300];
	snprintf(word, sizeof(word), "file:%s", path);
	return read_word(word, err);
}

static void assert_read(struct secret *secret, const struct error *err, const char *expected)
{
	ck_assert_msg(secret != NULL, "%s", err->message);
	ck_assert_str_eq(secret_bytes(secret), expected);
	ck_assert_uint_eq(secret_len(secret), strlen(expected));
	ck_assert_int_eq(err->code, ERR_NONE);
	secret_free(secret);
}

static void assert_refused(const char *word, const char *words)
{
	struct error err = ERROR_INIT;
	size_t before = bytes_in_use();
	int descriptor = lowest_free_descriptor();
	ck_assert_ptr_null(read_word(word, &err));
	ck_assert_int_eq(lowest_free_descriptor(), descriptor);
	ck_assert_uint_eq(bytes_in_use(), before);
	ck_assert_msg(err.code == ERR_SECRET_SOURCE, "%s", error_code_name(err.code));
	ck_assert_msg(
		strstr(err.message, words) != NULL, "'%s' is without '%s'", err.message, words);
}

static void assert_path_refused(const char *path, const char *words)
{
	char word[300];
	snprintf(word, sizeof(word), "file:%s", path);
	assert_refused(word, words);
}

/* ---- the word ----------------------------------------------------------------------------------
 */

START_TEST(knows_the_three_kinds_of_source)
{
	static const struct {
		const char *word;
		enum secret_source_kind kind;
		const char *name;
	} cases[] = {
		{"credential:anchors-key", SECRET_SOURCE_CREDENTIAL, "anchors-key"},
		{"credential:a", SECRET_SOURCE_CREDENTIAL, "a"},
		{"credential:a.b", SECRET_SOURCE_CREDENTIAL, "a.b"},
		{"credential:a..b", SECRET_SOURCE_CREDENTIAL, "a..b"},
		{"credential:A_b-9", SECRET_SOURCE_CREDENTIAL, "A_b-9"},
		{"file:/etc/key", SECRET_SOURCE_FILE, "/etc/key"},
		{"file:/", SECRET_SOURCE_FILE, "/"},
		{"file:/with space", SECRET_SOURCE_FILE, "/with space"},
		{"env:NAME", SECRET_SOURCE_ENVIRONMENT, "NAME"},
		{"env:_n4me", SECRET_SOURCE_ENVIRONMENT, "_n4me"},
		{"env:N", SECRET_SOURCE_ENVIRONMENT, "N"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct secret_source source = {0};
		struct error err = ERROR_INIT;
		ck_assert_int_eq(secret_source_parse(cases[i].word, &source, &err), 0);
		ck_assert_int_eq(source.kind, cases[i].kind);
		ck_assert_str_eq(source.name, cases[i].name);
		_cleanup_text_ struct text described = {0};
		secret_source_describe(&source, &described);
		ck_assert_str_eq(text_string(&described), cases[i].word);
		secret_source_clear(&source);
		ck_assert_int_eq(source.kind, SECRET_SOURCE_NONE);
		ck_assert_ptr_null(source.name);
		secret_source_clear(&source);
	}
}
END_TEST

START_TEST(refuses_what_is_no_source_without_showing_it)
{
	static const char no_source[] = "a secret never stands in the configuration itself";
	static const char no_credential[] = "credential: wants the name of a systemd credential";
	static const char no_path[] = "file: wants an absolute path";
	static const char no_variable[] = "env: wants the name of an environment variable";
	static const struct {
		const char *word;
		const char *hidden; /* what no message may have; NULL: nothing to hide */
		const char *words;
	} cases[] = {
		{"", NULL, no_source},
		{SECRET, SECRET, no_source},
		{"key:" SECRET, SECRET, no_source},
		{"File:/" SECRET, SECRET, no_source},
		{"FILE:/" SECRET, SECRET, no_source},
		{" file:/" SECRET, SECRET, no_source},
		{"file", NULL, no_source},
		{"/" SECRET, SECRET, no_source},
		{"credential", NULL, no_source},
		{"credential:", NULL, no_credential},
		{"credential:.", NULL, no_credential},
		{"credential:..", NULL, no_credential},
		{"credential:file:x", NULL, no_credential},
		{"credential:" SECRET "=", SECRET, no_credential},
		{"credential:." SECRET, SECRET, no_credential},
		{"credential:../" SECRET, SECRET, no_credential},
		{"credential:/" SECRET, SECRET, no_credential},
		{"credential:a/" SECRET, SECRET, no_credential},
		{"file:", NULL, no_path},
		{"file:" SECRET, SECRET, no_path},
		{"file:./" SECRET, SECRET, no_path},
		{"file: /" SECRET, SECRET, no_path},
		{"file:~/" SECRET, SECRET, no_path},
		{"env:", NULL, no_variable},
		{"env:" SECRET "==", SECRET, no_variable},
		{"env:1" SECRET, SECRET, no_variable},
		{"env:A-" SECRET, SECRET, no_variable},
		{"env:A " SECRET, SECRET, no_variable},
		{"env:$" SECRET, SECRET, no_variable},
		{"env:A=" SECRET, SECRET, no_variable},
		{"env:\xc3\xa4" SECRET, SECRET, no_variable},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		char name[] = "untouched";
		struct secret_source source = {.kind = SECRET_SOURCE_FILE, .name = name};
		struct error err = ERROR_INIT;
		ck_assert_msg(secret_source_parse(cases[i].word, &source, &err) == -1, "%s",
			cases[i].word);
		ck_assert_int_eq(err.code, ERR_CONFIGURATION);
		ck_assert_msg(strstr(err.message, cases[i].words) != NULL, "%s: %s", cases[i].word,
			err.message);
		if (cases[i].hidden != NULL)
			ck_assert_ptr_null(strstr(err.message, "Zm9v"));
		ck_assert_int_eq(source.kind, SECRET_SOURCE_FILE);
		ck_assert_ptr_eq(source.name, name);
	}
}
END_TEST

START_TEST(describes_no_source_as_nothing)
{
	const struct secret_source source = {0};
	_cleanup_text_ struct text described = {0};
	secret_source_describe(&source, &described);
	ck_assert_str_eq(text_string(&described), "");
}
END_TEST

START_TEST(reads_nothing_from_no_source)
{
	const struct secret_source source = {0};
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(secret_source_read(&source, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
}
END_TEST

/* ---- file: -------------------------------------------------------------------------------------
 */

START_TEST(reads_a_file_without_the_white_space_around)
{
	static const struct {
		const char *content;
		const char *expected;
	} cases[] = {
		{SECRET, SECRET},
		{SECRET "\n", SECRET},
		{SECRET "\r\n", SECRET},
		{"\n\t " SECRET " \t\n\n\n", SECRET},
		{"two words\n", "two words"},
		{"two\nlines\n", "two\nlines"},
		{"x", "x"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = ERROR_INIT;
		const char *path = write_file("key", cases[i].content);
		assert_read(read_path(path, &err), &err, cases[i].expected);
	}
}
END_TEST

START_TEST(reads_a_binary_file_as_it_is)
{
	struct error err = ERROR_INIT;
	const struct secret_source source = {
		SECRET_SOURCE_FILE, (char *)write_bytes("binary", "\n \0x\0 \n", 7), NULL};
	struct secret *secret = secret_source_read_binary(&source, &err);
	ck_assert_msg(secret != NULL, "%s", err.message);
	ck_assert_uint_eq(secret_len(secret), 7);
	ck_assert_mem_eq(secret_bytes(secret), "\n \0x\0 \n", 7);
	secret_free(secret);
}
END_TEST

START_TEST(refuses_a_binary_file_without_a_byte)
{
	struct error err = ERROR_INIT;
	const struct secret_source source = {
		SECRET_SOURCE_FILE, (char *)write_bytes("binary", "", 0), NULL};
	ck_assert_ptr_null(secret_source_read_binary(&source, &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_ptr_nonnull(strstr(err.message, "is empty"));
}
END_TEST

START_TEST(reads_files_of_every_length_up_to_the_longest)
{
	static const size_t lens[] = {1, 2047, 2048, 2049, 4096, 6144, 65535, SECRET_SOURCE_MAX};
	char *bytes = malloc(SECRET_SOURCE_MAX);
	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'k', SECRET_SOURCE_MAX);
	for (size_t i = 0; i < UNIT_COUNT(lens); i++) {
		struct error err = ERROR_INIT;
		size_t before = bytes_in_use();
		struct secret *secret = read_path(write_bytes("key", bytes, lens[i]), &err);
		ck_assert_msg(secret != NULL, "%s", err.message);
		ck_assert_uint_eq(secret_len(secret), lens[i]);
		ck_assert_mem_eq(secret_bytes(secret), bytes, lens[i]);
		secret_free(secret);
		ck_assert_uint_eq(bytes_in_use(), before);
	}
	free(bytes);
}
END_TEST

START_TEST(reads_a_file_anew_each_time)
{
	struct error err = ERROR_INIT;
	const char *path = write_file("key", "first\n");
	assert_read(read_path(path, &err), &err, "first");
	write_file("key", "second\n");
	assert_read(read_path(path, &err), &err, "second");
}
END_TEST

START_TEST(refuses_a_file_that_is_too_long)
{
	static const size_t lens[] = {SECRET_SOURCE_MAX + 1, SECRET_SOURCE_MAX + 2048, 1 << 20};
	char *bytes = malloc(1 << 20);
	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'k', 1 << 20);
	for (size_t i = 0; i < UNIT_COUNT(lens); i++)
		assert_path_refused(write_bytes("key", bytes, lens[i]),
			"is too long for a secret: expected at most 65536 bytes");
	free(bytes);
}
END_TEST

START_TEST(refuses_a_file_without_a_secret)
{
	static const char *const contents[] = {"", "\n", " ", " \t\r\n\v\f\n"};
	for (size_t i = 0; i < UNIT_COUNT(contents); i++)
		assert_path_refused(
			write_file("key", contents[i]), "/key is empty: expected a secret in it");
}
END_TEST

START_TEST(refuses_a_file_that_is_not_there)
{
	assert_path_refused(path_of("missing"), "/missing: No such file or directory");
	assert_path_refused(path_of("missing/key"), "/missing/key: No such file or directory");
	write_file("key", "x");
	assert_path_refused(path_of("key/key"), "/key/key: Not a directory");
}
END_TEST

START_TEST(refuses_what_is_no_regular_file_and_never_waits_for_it)
{
	alarm(20); /* a hang is a failure of its own */
	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	ck_assert_int_eq(mkdir(path_of("directory"), 0700), 0);
	ck_assert_int_eq(symlink("loop", path_of("loop")), 0);
	assert_path_refused(path_of("fifo"), "/fifo is not a regular file");
	assert_path_refused(path_of("directory"), "/directory is not a regular file");
	assert_path_refused("/dev/zero", "/dev/zero is not a regular file");
	assert_path_refused(path_of("loop"), "/loop: Too many levels of symbolic links");
	alarm(0);
}
END_TEST

static void read_unreadable(void *path)
{
	struct error err = ERROR_INIT;
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
		_exit(99);
	if (read_path(path, &err) != NULL)
		_exit(1);
	if (err.code != ERR_SECRET_SOURCE || strstr(err.message, ": Permission denied") == NULL)
		_exit(2);
}

START_TEST(refuses_a_file_that_may_not_be_read)
{
	const char *path = write_file("key", SECRET);
	ck_assert_int_eq(chmod(path, geteuid() == 0 ? 0600 : 0), 0);
	unit_assert_exited(unit_in_child(read_unreadable, (void *)path), 0);
}
END_TEST

START_TEST(warns_of_a_file_that_every_user_can_read)
{
	static const struct {
		mode_t mode;
		bool is_warned_of;
	} cases[] = {{0600, false}, {0640, false}, {0400, false}, {0644, true}, {0604, true}};
	const char *path = write_file("key", SECRET);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct error err = ERROR_INIT;
		ck_assert_int_eq(chmod(path, cases[i].mode), 0);
		capture_begin();
		struct secret *secret = read_path(path, &err);
		const char *logged = capture_end();
		assert_read(secret, &err, SECRET);
		bool has_warned = strstr(logged, "warning: ") != NULL &&
				  strstr(logged, path) != NULL &&
				  strstr(logged, "can be read by every user") != NULL;
		ck_assert_msg(has_warned == cases[i].is_warned_of, "%04o: %s",
			(unsigned)cases[i].mode, logged);
		ck_assert_ptr_null(strstr(logged, SECRET));
	}
}
END_TEST

/* ---- credential: -------------------------------------------------------------------------------
 */

START_TEST(reads_a_credential_from_the_directory_of_systemd)
{
	struct error err = ERROR_INIT;
	write_file("anchors-key", SECRET "\n");
	write_file("with.dots..in", "other\n");
	ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
	assert_read(read_word("credential:anchors-key", &err), &err, SECRET);
	assert_read(read_word("credential:with.dots..in", &err), &err, "other");
	assert_refused("credential:missing", "/missing: No such file or directory");
	write_file("empty", "\n");
	assert_refused("credential:empty", "credential:empty is empty");
	ck_assert_int_eq(mkdir(path_of("directory"), 0700), 0);
	assert_refused("credential:directory", "/directory is not a regular file");
}
END_TEST

START_TEST(tells_where_the_directory_of_credentials_would_come_from)
{
	static const char words[] = "credential:anchors-key needs $CREDENTIALS_DIRECTORY, which "
				    "systemd sets for a unit with LoadCredential=anchors-key:PATH";
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_refused("credential:anchors-key", words);
	/* Neither the root directory nor the present one is meant by these. */
	setenv("CREDENTIALS_DIRECTORY", "", 1);
	assert_refused("credential:anchors-key", words);
	setenv("CREDENTIALS_DIRECTORY", "relative", 1);
	assert_refused("credential:anchors-key", words);
}
END_TEST

START_TEST(tells_of_a_directory_of_credentials_that_is_not_there)
{
	setenv("CREDENTIALS_DIRECTORY", "/nonexistent/credentials", 1);
	assert_refused("credential:key", "/nonexistent/credentials/key: No such file or directory");
}
END_TEST

/* ---- env: --------------------------------------------------------------------------------------
 */

START_TEST(reads_a_variable_and_remembers_it)
{
	struct error err = ERROR_INIT;
	setenv("UNIT_KEY", " " SECRET "\n", 1);
	assert_read(read_word("env:UNIT_KEY", &err), &err, SECRET);
	ck_assert_str_eq(getenv("UNIT_KEY"), "");
	assert_read(read_word("env:UNIT_KEY", &err), &err, SECRET);
	setenv("UNIT_OTHER_KEY", "other", 1);
	assert_read(read_word("env:UNIT_OTHER_KEY", &err), &err, "other");
	assert_read(read_word("env:UNIT_KEY", &err), &err, SECRET);
	assert_read(read_word("env:UNIT_OTHER_KEY", &err), &err, "other");
}
END_TEST

START_TEST(wipes_the_variable_where_it_stands)
{
	struct error err = ERROR_INIT;
	setenv("UNIT_KEY", SECRET, 1);
	const char *where = getenv("UNIT_KEY");
	assert_read(read_word("env:UNIT_KEY", &err), &err, SECRET);
	for (size_t i = 0; i < strlen(SECRET); i++)
		ck_assert_int_eq(where[i], 0);
	for (size_t i = 0; environ[i] != NULL; i++)
		ck_assert_ptr_null(strstr(environ[i], "Zm9v"));
}
END_TEST

START_TEST(refuses_a_variable_that_is_not_set_or_empty)
{
	unsetenv("UNIT_KEY");
	assert_refused("env:UNIT_KEY", "the environment variable UNIT_KEY is not set");
	/* What was missing is looked for again. */
	struct error err = ERROR_INIT;
	setenv("UNIT_KEY", SECRET, 1);
	assert_read(read_word("env:UNIT_KEY", &err), &err, SECRET);
	setenv("UNIT_BLANK", " \n", 1);
	ck_assert_ptr_null(read_word("env:UNIT_BLANK", &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_str_eq(err.message, "env:UNIT_BLANK is empty: expected a secret in it");
}
END_TEST

START_TEST(refuses_a_variable_that_is_too_long)
{
	char *bytes = calloc(1, SECRET_SOURCE_MAX + 2);
	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'k', SECRET_SOURCE_MAX + 1);
	setenv("UNIT_KEY", bytes, 1);
	/* The second time too, when it is remembered. */
	for (int i = 0; i < 2; i++) {
		struct error err = ERROR_INIT;
		ck_assert_ptr_null(read_word("env:UNIT_KEY", &err));
		ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
		ck_assert_str_eq(err.message,
			"env:UNIT_KEY is too long for a secret: expected at most 65536 bytes");
	}
	ck_assert_str_eq(getenv("UNIT_KEY"), "");
	bytes[SECRET_SOURCE_MAX] = '\0';
	setenv("UNIT_LONGEST", bytes, 1);
	struct error err = ERROR_INIT;
	assert_read(read_word("env:UNIT_LONGEST", &err), &err, bytes);
	free(bytes);
}
END_TEST

static void open_without_descriptors(void *argument)
{
	struct error err = ERROR_INIT;
	struct secret_source source = {.kind = SECRET_SOURCE_FILE, .name = argument};
	if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0}) != 0)
		_exit(10);
	if (secret_source_read(&source, &err) != NULL)
		_exit(11);
	_exit(err.code == ERR_SYSTEM && strstr(err.message, "cannot open") != NULL ? 0 : 12);
}

/* The first passes by itself, and is tried again soon; the other one waits for somebody. */
START_TEST(tells_a_host_that_is_short_from_a_file_that_is_wrong)
{
	struct error err = ERROR_INIT;
	const char *path = write_file("secret", "word");
	unit_assert_exited(unit_in_child(open_without_descriptors, (void *)path), 0);
	secret_source_set_errno(&err, ENOENT, path);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	secret_source_set_errno(&err, ENOMEM, path);
	ck_assert_int_eq(err.code, ERR_NO_MEMORY);
}
END_TEST

START_TEST(forgets_the_variables_at_the_end)
{
	struct error err = ERROR_INIT;
	size_t before = bytes_in_use();
	secret_source_forget_environment();
	setenv("UNIT_KEY", SECRET, 1);
	assert_read(read_word("env:UNIT_KEY", &err), &err, SECRET);
	setenv("UNIT_OTHER_KEY", "other", 1);
	assert_read(read_word("env:UNIT_OTHER_KEY", &err), &err, "other");
	ck_assert_uint_gt(bytes_in_use(), before);
	secret_source_forget_environment();
	ck_assert_uint_eq(bytes_in_use(), before);
	ck_assert_ptr_null(read_word("env:UNIT_KEY", &err));
}
END_TEST

/* ---- the block that the kernel made ------------------------------------------------------------
 */

#define STAGE "UNIT_STAGE_ENVIRONMENT_BLOCK"

/* Whether /proc/self/environ, which others of this user read, has `word`. */
static bool block_has(const char *word)
{
	static char block[65536];
	FILE *file = fopen("/proc/self/environ", "re");
	if (file == NULL)
		_exit(90);
	size_t len = fread(block, 1, sizeof(block), file);
	fclose(file);
	return memmem(block, len, word, strlen(word)) != NULL;
}

/* In a process that got the secret from execve(), before its main(). */
__attribute__((constructor)) static void stage_environment_block(void)
{
	struct error err = ERROR_INIT;
	const struct secret_source source = {
		.kind = SECRET_SOURCE_ENVIRONMENT, .name = (char *)"UNIT_KEY"};
	if (getenv(STAGE) == NULL)
		return;
	const char *where = getenv("UNIT_KEY");
	if (!block_has("UNIT_KEY=" SECRET))
		_exit(1);
	for (int i = 0; i < 2; i++) {
		_cleanup_secret_ struct secret *secret = secret_source_read(&source, &err);
		if (secret == NULL || strcmp(secret_bytes(secret), SECRET) != 0)
			_exit(2);
		if (block_has("Zm9v"))
			_exit(3);
	}
	for (size_t i = 0; i < strlen(SECRET); i++)
		if (where[i] != '\0')
			_exit(4);
	if (!block_has("UNIT_BEFORE=before") || !block_has("UNIT_AFTER=after"))
		_exit(5);
	if (strcmp(getenv("UNIT_BEFORE"), "before") != 0 ||
		strcmp(getenv("UNIT_AFTER"), "after") != 0)
		_exit(6);
	_exit(0);
}

static void enter_stage(void *argument)
{
	char *const arguments[] = {(char *)"stage", NULL};
	char *const variables[] = {(char *)STAGE "=1", (char *)"UNIT_BEFORE=before",
		(char *)"UNIT_KEY=" SECRET, (char *)"UNIT_AFTER=after", NULL};
	(void)argument;
	execve("/proc/self/exe", arguments, variables);
	_exit(91);
}

START_TEST(wipes_the_variable_from_the_block_that_the_kernel_shows)
{
	unit_assert_exited(unit_in_child(enter_stage, NULL), 0);
}
END_TEST

/* ---- no memory ---------------------------------------------------------------------------------
 */

static void read_without_memory(void *path)
{
	struct error err = ERROR_INIT;
	struct secret_source file = {.kind = SECRET_SOURCE_FILE, .name = path};
	struct secret_source variable = {
		.kind = SECRET_SOURCE_ENVIRONMENT, .name = (char *)"UNIT_KEY"};
	struct secret_source remembered = {
		.kind = SECRET_SOURCE_ENVIRONMENT, .name = (char *)"UNIT_OTHER_KEY"};
	secret_free(secret_source_read(&remembered, &err));
	unit_exhaust_memory();
	if (secret_source_read(&file, &err) != NULL || err.code != ERR_NO_MEMORY)
		_exit(1);
	err = ERROR_INIT;
	if (secret_source_read(&variable, &err) != NULL || err.code != ERR_NO_MEMORY)
		_exit(2);
	if (strcmp(getenv("UNIT_KEY"), SECRET) != 0)
		_exit(3); /* lost: it was wiped and not remembered */
	err = ERROR_INIT;
	if (secret_source_read(&remembered, &err) != NULL || err.code != ERR_NO_MEMORY)
		_exit(4);
	if (secret_source_parse("file:/x", &file, &err) == 0 || err.code != ERR_NO_MEMORY)
		_exit(5);
}

START_TEST(loses_nothing_when_there_is_no_memory)
{
	setenv("UNIT_KEY", SECRET, 1);
	setenv("UNIT_OTHER_KEY", SECRET, 1);
	const char *path = write_file("key", SECRET);
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(read_without_memory, (void *)path), 0);
}
END_TEST

UNIT_MAIN("secret_source", knows_the_three_kinds_of_source,
	refuses_what_is_no_source_without_showing_it, describes_no_source_as_nothing,
	reads_nothing_from_no_source, reads_a_file_without_the_white_space_around,
	reads_a_binary_file_as_it_is, refuses_a_binary_file_without_a_byte,
	reads_files_of_every_length_up_to_the_longest, reads_a_file_anew_each_time,
	refuses_a_file_that_is_too_long, refuses_a_file_without_a_secret,
	refuses_a_file_that_is_not_there, refuses_what_is_no_regular_file_and_never_waits_for_it,
	refuses_a_file_that_may_not_be_read, warns_of_a_file_that_every_user_can_read,
	tells_a_host_that_is_short_from_a_file_that_is_wrong,
	reads_a_credential_from_the_directory_of_systemd,
	tells_where_the_directory_of_credentials_would_come_from,
	tells_of_a_directory_of_credentials_that_is_not_there, reads_a_variable_and_remembers_it,
	wipes_the_variable_where_it_stands, refuses_a_variable_that_is_not_set_or_empty,
	refuses_a_variable_that_is_too_long, forgets_the_variables_at_the_end,
	wipes_the_variable_from_the_block_that_the_kernel_shows,
	loses_nothing_when_there_is_no_memory)
