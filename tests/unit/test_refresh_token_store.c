#include "credential/refresh_token_store.h"

#include "files.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/file.h>

#define TOKEN "0.AAAA-refresh-token_of.the~test"
#define KEY "the bytes of refresh_token_key"
#define HEADER_SIZE ((size_t)69)
#define TAG_SIZE ((size_t)16)
#define VERSION_AT ((size_t)8)

static const struct refresh_token_owner owner = {
	.authority = "https://login.microsoftonline.com",
	.tenant_id = "organizations",
	.client_id = "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
};

/* ---- images ------------------------------------------------------------------------------------
 */

static struct secret *secret_of(const char *string)
{
	struct secret *secret = secret_from(string, strlen(string));
	ck_assert_ptr_nonnull(secret);
	return secret;
}

/* 100, 101, ... so that images can be compared. */
static const unsigned char *fresh_bytes(void)
{
	static unsigned char bytes[REFRESH_TOKEN_FRESH_SIZE];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(100 + i);
	return bytes;
}

static void encode(const char *token_string, const char *key_string, struct text *image)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *token = secret_of(token_string);
	_cleanup_secret_ struct secret *key = secret_of(key_string);
	int result = refresh_token_encode(token, key, &owner, fresh_bytes(), image, &err);
	ck_assert_msg(result == 0, "%s", err.message);
}

/* Decode, and say whether it is TOKEN. */
static bool opens(const void *image, size_t len, const char *key_string,
	const struct refresh_token_owner *asking, struct error *err)
{
	_cleanup_secret_ struct secret *key = secret_of(key_string);
	_cleanup_secret_ struct secret *expected = secret_of(TOKEN);
	_cleanup_secret_ struct secret *token = refresh_token_decode(image, len, key, asking, err);
	ck_assert(token == NULL || secret_equal(token, expected));
	return token != NULL;
}

static void assert_refused(const void *image, size_t len, const char *key,
	const struct refresh_token_owner *asking, const char *words)
{
	struct error err = ERROR_INIT;
	ck_assert(!opens(image, len, key, asking, &err));
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
	ck_assert_ptr_null(strstr(err.message, KEY));
	ck_assert_ptr_null(strstr(err.message, TOKEN));
}

START_TEST(opens_what_it_made)
{
	struct error err = ERROR_INIT;
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	ck_assert_uint_eq(image.len, HEADER_SIZE + strlen(TOKEN) + TAG_SIZE);
	ck_assert_ptr_null(memmem(image.data, image.len, TOKEN, 8));
	ck_assert_ptr_null(memmem(image.data, image.len, KEY, 8));
	ck_assert_msg(opens(image.data, image.len, KEY, &owner, &err), "%s", err.message);
	ck_assert_int_eq(err.code, ERR_NONE);
}
END_TEST

/* Made by Python's hmac, hashlib and cryptography: HKDF (RFC 5869) and AES-256-GCM. */
START_TEST(makes_the_image_that_another_implementation_makes)
{
	static const char expected[] =
		"6d72746c6f67696e016465666768696a6b6c6d6e6f707172737475767778797a"
		"7b7c7d7e7f8c1c8470d5d3250c2d413f37a2512886df91691cd97001926b3687"
		"5ea27f66ae05654f12706b0df667264453dfea24813feafeff32db4895d417d8"
		"f871b54bd91f9208e03335d4d86638d3c7c1fb745e";
	char found[2 * 256 + 1] = "";
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	ck_assert_uint_le(image.len, 256);
	for (size_t i = 0; i < image.len; i++)
		snprintf(found + 2 * i, 3, "%02x", (unsigned char)image.data[i]);
	ck_assert_str_eq(found, expected);
}
END_TEST

START_TEST(keeps_a_token_of_any_length_up_to_the_longest)
{
	static const size_t lengths[] = {1, 15, 16, 17, 2000, REFRESH_TOKEN_MAX};
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *key = secret_of(KEY);
	for (size_t i = 0; i < UNIT_COUNT(lengths); i++) {
		_cleanup_text_ struct text image = {0};
		_cleanup_secret_ struct secret *token = secret_new(lengths[i]);
		memset(secret_extend(token, lengths[i]), 'x', lengths[i]);
		ck_assert_int_eq(
			refresh_token_encode(token, key, &owner, fresh_bytes(), &image, &err), 0);
		_cleanup_secret_ struct secret *back =
			refresh_token_decode(image.data, image.len, key, &owner, &err);
		ck_assert_msg(back != NULL, "%s", err.message);
		ck_assert(secret_equal(token, back));
	}
}
END_TEST

START_TEST(keeps_no_token_that_is_empty_or_too_long)
{
	static const size_t lengths[] = {0, REFRESH_TOKEN_MAX + 1};
	_cleanup_secret_ struct secret *key = secret_of(KEY);
	for (size_t i = 0; i < UNIT_COUNT(lengths); i++) {
		struct error err = ERROR_INIT;
		_cleanup_text_ struct text image = {0};
		_cleanup_secret_ struct secret *token = secret_new(lengths[i]);
		if (lengths[i] > 0)
			memset(secret_extend(token, lengths[i]), 'x', lengths[i]);
		ck_assert_int_eq(
			refresh_token_encode(token, key, &owner, fresh_bytes(), &image, &err), -1);
		ck_assert_int_eq(err.code, ERR_UPSTREAM_FORMAT);
		ck_assert_uint_eq(image.len, 0);
	}
}
END_TEST

START_TEST(refuses_an_image_with_any_bit_flipped)
{
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	for (size_t i = 0; i < image.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			image.data[i] = (char)(image.data[i] ^ (1 << bit));
			assert_refused(image.data, image.len, KEY, &owner,
				i < VERSION_AT    ? "something else"
				: i == VERSION_AT ? "another version"
				: i < HEADER_SIZE ? "damaged"
						  : "its seal is broken");
			image.data[i] = (char)(image.data[i] ^ (1 << bit));
		}
	}
	ck_assert(opens(image.data, image.len, KEY, &owner, NULL));
}
END_TEST

START_TEST(refuses_an_image_cut_short_anywhere)
{
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	for (size_t len = 0; len < image.len; len++) {
		/* In a place of its own, so that reading beyond its end is seen. */
		char *part = malloc(len + 1);
		memcpy(part, image.data, len);
		assert_refused(part, len, KEY, &owner,
			len <= VERSION_AT               ? "something else"
			: len <= HEADER_SIZE + TAG_SIZE ? "expected 86 to"
							: "its seal is broken");
		free(part);
	}
}
END_TEST

START_TEST(refuses_an_image_with_more_behind_it)
{
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	text_append_bytes(&image, "\0", 1);
	assert_refused(image.data, image.len, KEY, &owner, "its seal is broken");
	while (image.len <= HEADER_SIZE + REFRESH_TOKEN_MAX + TAG_SIZE)
		text_append_bytes(&image, "more", 4);
	assert_refused(image.data, image.len, KEY, &owner, "which is damaged: expected");
}
END_TEST

START_TEST(refuses_another_key)
{
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	assert_refused(image.data, image.len, KEY "!", &owner, "another refresh_token_key");
	assert_refused(
		image.data, image.len, "THE bytes of refresh_token_key", &owner, "another refresh");
}
END_TEST

START_TEST(refuses_a_key_that_is_too_short)
{
	_cleanup_text_ struct text image = {0};
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *token = secret_of(TOKEN);
	_cleanup_secret_ struct secret *key = secret_of("fifteen letters");
	encode(TOKEN, "sixteen letters!", &image);
	assert_refused(
		image.data, image.len, "fifteen letters", &owner, "found 15 bytes, expected");
	text_free(&image);
	ck_assert_int_eq(refresh_token_encode(token, key, &owner, fresh_bytes(), &image, &err), -1);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strstr(err.message, "at least 16") != NULL, "%s", err.message);
}
END_TEST

START_TEST(refuses_an_image_of_another_owner)
{
	const struct refresh_token_owner others[] = {
		{"https://login.microsoftonline.us", owner.tenant_id, owner.client_id},
		{owner.authority, "example.com", owner.client_id},
		{owner.authority, owner.tenant_id, "04b07795-8ddb-461a-bbee-02f9e1bf7b47"},
		{owner.authority, owner.tenant_id, ""},
		/* The same letters, divided in another way. */
		{"https://login.microsoftonline.como", "rganizations", owner.client_id},
	};
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	for (size_t i = 0; i < UNIT_COUNT(others); i++)
		assert_refused(image.data, image.len, KEY, &others[i],
			"another authority, tenant_id or client_id");
}
END_TEST

/* The check in the header is for the message: the seal holds without it. */
START_TEST(refuses_an_image_of_another_owner_whose_header_was_forged)
{
	const struct refresh_token_owner other = {owner.authority, "example.com", owner.client_id};
	_cleanup_text_ struct text mine = {0};
	_cleanup_text_ struct text others = {0};
	_cleanup_secret_ struct secret *token = secret_of(TOKEN);
	_cleanup_secret_ struct secret *key = secret_of(KEY);
	encode(TOKEN, KEY, &mine);
	ck_assert_int_eq(refresh_token_encode(token, key, &other, fresh_bytes(), &others, NULL), 0);
	memcpy(others.data, mine.data, HEADER_SIZE);
	assert_refused(others.data, others.len, KEY, &owner, "its seal is broken");
}
END_TEST

START_TEST(takes_an_owner_in_either_case)
{
	const struct refresh_token_owner shouted = {"https://LOGIN.microsoftonline.com",
		"Organizations", "04B07795-8DDB-461A-BBEE-02F9E1BF7B46"};
	_cleanup_text_ struct text image = {0};
	encode(TOKEN, KEY, &image);
	ck_assert(opens(image.data, image.len, KEY, &shouted, NULL));
}
END_TEST

/* ---- files -------------------------------------------------------------------------------------
 */

static int save(const char *path, const char *token_string, const char *key_string,
	const struct refresh_token_owner *asking, struct error *err)
{
	_cleanup_secret_ struct secret *token = secret_of(token_string);
	_cleanup_secret_ struct secret *key = secret_of(key_string);
	return refresh_token_save(path, token, key, asking, err);
}

static int load(const char *path, const char *key_string, struct secret **token, struct error *err)
{
	_cleanup_secret_ struct secret *key = secret_of(key_string);
	return refresh_token_load(path, key, &owner, token, err);
}

static void assert_holds(const char *path, const char *token_string)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ struct secret *token = NULL;
	_cleanup_secret_ struct secret *expected = secret_of(token_string);
	ck_assert_msg(load(path, KEY, &token, &err) == 0, "%s", err.message);
	ck_assert(secret_equal(token, expected));
}

/* Neither reading nor writing takes the file, and both leave it as it is. */
static void assert_left_alone(const char *path, const char *key, const char *words)
{
	struct error err = ERROR_INIT;
	struct stat before;
	struct stat after;
	struct secret *token = NULL;
	ck_assert_int_eq(lstat(path, &before), 0);
	ck_assert_int_eq(load(path, key, &token, &err), -1);
	ck_assert_ptr_null(token);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strncmp(err.message, "refresh_token_file: ", 20) == 0, "%s", err.message);
	ck_assert_msg(strstr(err.message, path) != NULL, "%s", err.message);
	ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
	struct error again = ERROR_INIT;
	ck_assert_int_eq(save(path, "another token", key, &owner, &again), -1);
	ck_assert_str_eq(again.message, err.message);
	ck_assert_int_eq(lstat(path, &after), 0);
	ck_assert_uint_eq(after.st_ino, before.st_ino);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_int_eq(after.st_mode, before.st_mode);
}

START_TEST(finds_in_the_file_what_it_kept_there)
{
	struct error err = ERROR_INIT;
	const char *path = path_of("login");
	ck_assert_msg(save(path, TOKEN, KEY, &owner, &err) == 0, "%s", err.message);
	assert_holds(path, TOKEN);
}
END_TEST

START_TEST(replaces_the_token_in_the_file)
{
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	ck_assert_int_eq(save(path, "the next one", KEY, &owner, NULL), 0);
	assert_holds(path, "the next one");
}
END_TEST

START_TEST(says_that_there_is_no_file)
{
	struct secret *token = NULL;
	struct error err = ERROR_INIT;
	ck_assert_int_eq(load(path_of("nothing"), KEY, &token, &err), 1);
	ck_assert_ptr_null(token);
	ck_assert_int_eq(err.code, ERR_NONE);
}
END_TEST

START_TEST(makes_the_file_for_its_user_alone_whatever_the_umask)
{
	static const mode_t masks[] = {0, 022, 077};
	for (size_t i = 0; i < UNIT_COUNT(masks); i++) {
		struct stat st;
		char name[16];
		snprintf(name, sizeof(name), "login%zu", i);
		const char *path = path_of(name);
		umask(masks[i]);
		ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_int_eq(st.st_mode & 07777, 0600);
	}
}
END_TEST

START_TEST(leaves_nothing_beside_the_file)
{
	char new_path[300];
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	ck_assert_int_ne(access(new_path, F_OK), 0);
}
END_TEST

START_TEST(uses_another_salt_and_nonce_each_time)
{
	char first[512] = "";
	char second[512] = "";
	const char *path = path_of("login");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
		FILE *file = fopen(path, "r");
		ck_assert_ptr_nonnull(file);
		ck_assert_uint_gt(fread(i == 0 ? first : second, 1, sizeof(first), file), 0);
		fclose(file);
	}
	ck_assert_int_ne(memcmp(first + 9, second + 9, 16), 0); /* salt */
	ck_assert_int_ne(memcmp(first + 25, second + 25, 12), 0); /* nonce */
	ck_assert_int_ne(memcmp(first + 69, second + 69, strlen(TOKEN)), 0);
}
END_TEST

START_TEST(gets_over_what_an_interrupted_write_left)
{
	const char *path = path_of("login");
	write_file("login.new", "half an ima");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	assert_holds(path, TOKEN);
}
END_TEST

START_TEST(does_not_write_through_a_link_that_lies_in_its_way)
{
	struct stat st;
	const char *path = path_of("login");
	const char *victim = write_file("victim", "precious");
	ck_assert_int_eq(symlink(victim, path_of("login.new")), 0);
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	assert_holds(path, TOKEN);
	ck_assert_int_eq(stat(victim, &st), 0);
	ck_assert_int_eq(st.st_size, 8);
}
END_TEST

START_TEST(leaves_a_file_alone_that_others_could_read_or_change)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0666, 0601, 0700, 04600};
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	for (size_t i = 0; i < UNIT_COUNT(modes); i++) {
		char words[32];
		snprintf(words, sizeof(words), "has mode %04o", (unsigned)modes[i]);
		ck_assert_int_eq(chmod(path, modes[i]), 0);
		assert_left_alone(path, KEY, words);
	}
	ck_assert_int_eq(chmod(path, 0600), 0);
	assert_holds(path, TOKEN);
}
END_TEST

START_TEST(leaves_a_damaged_file_alone)
{
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	FILE *file = fopen(path, "r+");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseek(file, -1, SEEK_END), 0);
	int last = fgetc(file);
	ck_assert_int_eq(fseek(file, -1, SEEK_END), 0);
	ck_assert_int_ne(fputc(last ^ 1, file), EOF);
	ck_assert_int_eq(fclose(file), 0);
	assert_left_alone(path, KEY, "its seal is broken");
}
END_TEST

START_TEST(leaves_a_file_alone_that_is_none_of_its_own)
{
	assert_left_alone(write_file("text", "my notes\n"), KEY, "something else");
	assert_left_alone(write_file("empty", ""), KEY, "something else");
}
END_TEST

START_TEST(leaves_a_file_alone_that_is_too_long)
{
	static char bytes[REFRESH_TOKEN_MAX + 4096];
	memcpy(bytes, "mrtlogin\1", 9);
	assert_left_alone(write_bytes("long", bytes, sizeof(bytes)), KEY, "which is damaged");
}
END_TEST

START_TEST(leaves_a_file_alone_that_has_another_key)
{
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	assert_left_alone(path, "another key of many bytes", "another refresh_token_key");
	assert_holds(path, TOKEN);
}
END_TEST

START_TEST(leaves_the_file_of_another_owner_alone)
{
	const struct refresh_token_owner other = {owner.authority, "example.com", owner.client_id};
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &other, NULL), 0);
	assert_left_alone(path, KEY, "another authority, tenant_id or client_id");
}
END_TEST

START_TEST(leaves_a_link_alone)
{
	const char *path = path_of("link");
	ck_assert_int_eq(save(path_of("login"), TOKEN, KEY, &owner, NULL), 0);
	ck_assert_int_eq(symlink(path_of("login"), path), 0);
	assert_left_alone(path, KEY, "a symbolic link");
}
END_TEST

START_TEST(leaves_a_directory_and_a_pipe_alone)
{
	ck_assert_int_eq(mkdir(path_of("directory"), 0700), 0);
	assert_left_alone(path_of("directory"), KEY, "not a regular file");
	ck_assert_int_eq(mkfifo(path_of("pipe"), 0600), 0);
	assert_left_alone(path_of("pipe"), KEY, "not a regular file");
}
END_TEST

/* Root tries an account, as mrtoken check --probe does, whose file is the daemon's: its user could
 * have put a link in the way. */
START_TEST(writes_nothing_where_somebody_else_does)
{
	struct error err = ERROR_INIT;
	const char *path = path_of("theirs/login");
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(mkdir(path_of("theirs"), 0700), 0);
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	ck_assert_int_eq(chown(path_of("theirs"), 65534, 65533), 0);
	ck_assert_int_eq(save(path, "the next one", KEY, &owner, &err), -1);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_ptr_nonnull(strstr(err.message, "its directory belongs to user 65534, expected"));
	ck_assert_int_eq(refresh_token_remove(path, &err), -1);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(writes_nothing_while_somebody_else_does)
{
	struct error err = ERROR_INIT;
	int fd = open(path_of("."), O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(save(path_of("login"), TOKEN, KEY, &owner, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "cannot write"));
	close(fd);
	ck_assert_int_eq(save(path_of("login"), TOKEN, KEY, &owner, NULL), 0);
}
END_TEST

START_TEST(removes_the_file)
{
	struct error err = ERROR_INIT;
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	ck_assert_int_eq(refresh_token_remove(path, &err), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(refresh_token_remove(path, &err), 0);
}
END_TEST

START_TEST(says_why_the_file_cannot_be_written)
{
	struct error err = ERROR_INIT;
	const char *path = path_of("missing/login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, &err), -1);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strstr(err.message, path) != NULL, "%s", err.message);
	ck_assert_msg(strstr(err.message, "No such file or directory") != NULL, "%s", err.message);
}
END_TEST

START_TEST(keeps_the_old_token_when_the_disk_is_full)
{
	struct error err = ERROR_INIT;
	const char *path = path_of("login");
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){50, 50}), 0);
	ck_assert_int_eq(save(path, "the next one", KEY, &owner, &err), -1);
	ck_assert_msg(strstr(err.message, "File too large") != NULL, "%s", err.message);
	assert_holds(path, TOKEN);
	ck_assert_int_ne(access(path_of("login.new"), F_OK), 0);
}
END_TEST

START_TEST(leaves_no_secret_and_no_descriptor_behind)
{
	struct secret_memory before;
	struct secret_memory after;
	struct secret *token = NULL;
	const char *path = path_of("login");
	secret_memory_usage(&before);
	int fd = dup(STDOUT_FILENO);
	close(fd);
	ck_assert_int_eq(save(path, TOKEN, KEY, &owner, NULL), 0);
	ck_assert_int_eq(load(path, KEY, &token, NULL), 0);
	secret_free(token);
	ck_assert_int_eq(load(path, "another key of many bytes", &token, NULL), -1);
	ck_assert_int_eq(save(path_of("missing/login"), TOKEN, KEY, &owner, NULL), -1);
	secret_memory_usage(&after);
	ck_assert_uint_eq(after.bytes_in_use, before.bytes_in_use);
	int fd_after = dup(STDOUT_FILENO);
	close(fd_after);
	ck_assert_int_eq(fd_after, fd);
}
END_TEST

UNIT_MAIN("refresh_token_store", opens_what_it_made,
	makes_the_image_that_another_implementation_makes,
	keeps_a_token_of_any_length_up_to_the_longest, keeps_no_token_that_is_empty_or_too_long,
	refuses_an_image_with_any_bit_flipped, refuses_an_image_cut_short_anywhere,
	refuses_an_image_with_more_behind_it, refuses_another_key, refuses_a_key_that_is_too_short,
	refuses_an_image_of_another_owner,
	refuses_an_image_of_another_owner_whose_header_was_forged, takes_an_owner_in_either_case,
	finds_in_the_file_what_it_kept_there, replaces_the_token_in_the_file,
	says_that_there_is_no_file, makes_the_file_for_its_user_alone_whatever_the_umask,
	leaves_nothing_beside_the_file, uses_another_salt_and_nonce_each_time,
	gets_over_what_an_interrupted_write_left,
	does_not_write_through_a_link_that_lies_in_its_way,
	leaves_a_file_alone_that_others_could_read_or_change, leaves_a_damaged_file_alone,
	leaves_a_file_alone_that_is_none_of_its_own, leaves_a_file_alone_that_is_too_long,
	leaves_a_file_alone_that_has_another_key, leaves_the_file_of_another_owner_alone,
	leaves_a_link_alone, writes_nothing_where_somebody_else_does,
	writes_nothing_while_somebody_else_does, removes_the_file,
	leaves_a_directory_and_a_pipe_alone, says_why_the_file_cannot_be_written,
	keeps_the_old_token_when_the_disk_is_full, leaves_no_secret_and_no_descriptor_behind)
