#include "service/cache_store.h"

#include "cache_scene.h"
#include "files.h"

#include <sys/socket.h>
#include <sys/un.h>

/* ---- when to write -----------------------------------------------------------------------------
 */

START_TEST(a_burst_of_changes_is_one_image)
{
	struct cache_pace pace = {0};
	ck_assert_int_eq(cache_pace_due_ms(&pace), CACHE_STORE_NEVER);
	cache_pace_changed(&pace, 1000);
	ck_assert_int_eq(cache_pace_due_ms(&pace), 1000 + CACHE_STORE_SETTLE_MS);
	cache_pace_changed(&pace, 1015);
	ck_assert_int_eq(cache_pace_due_ms(&pace), 1015 + CACHE_STORE_SETTLE_MS);
	cache_pace_written(&pace, 1035);
	ck_assert_int_eq(cache_pace_due_ms(&pace), CACHE_STORE_NEVER);
}
END_TEST

START_TEST(changes_without_an_end_are_written_too)
{
	struct cache_pace pace = {0};
	int64_t now_ms = 1000;
	for (; cache_pace_due_ms(&pace) > now_ms && now_ms < 10000; now_ms++)
		cache_pace_changed(&pace, now_ms);
	ck_assert_int_eq(now_ms, 1000 + CACHE_STORE_PACE_MS);
}
END_TEST

START_TEST(no_two_images_come_close_together)
{
	struct cache_pace pace = {0};
	cache_pace_written(&pace, 5000);
	cache_pace_changed(&pace, 5001);
	ck_assert_int_eq(cache_pace_due_ms(&pace), 5000 + CACHE_STORE_PACE_MS);
	cache_pace_written(&pace, 6000);
	cache_pace_changed(&pace, 9000);
	ck_assert_int_eq(cache_pace_due_ms(&pace), 9000 + CACHE_STORE_SETTLE_MS);
}
END_TEST

/* ---- a service manager -------------------------------------------------------------------------
 */

#define ROOM 8

static struct {
	char directory[64];
	char path[80];
	int fd;
	struct passed_socket stored[ROOM]; /* as they are passed to the next process */
	size_t count;
	size_t most; /* that there ever were */
} manager;

static void manager_open(const char *room)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memset(&manager, 0, sizeof(manager));
	strcpy(manager.directory, "/tmp/test_cache_store.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(manager.directory));
	snprintf(manager.path, sizeof(manager.path), "%s/notify", manager.directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", manager.path);
	manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(manager.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", manager.path, 1), 0);
	ck_assert_int_eq(setenv("FDSTORE", room, 1), 0);
}

static void manager_remove(const char *name)
{
	size_t kept = 0;
	for (size_t i = 0; i < manager.count; i++) {
		if (strcmp(manager.stored[i].name, name) != 0) {
			manager.stored[kept++] = manager.stored[i];
			continue;
		}
		close(manager.stored[i].fd);
		free(manager.stored[i].name);
	}
	manager.count = kept;
}

static void manager_close(void)
{
	for (size_t i = 0; i < manager.count; i++) {
		close(manager.stored[i].fd);
		free(manager.stored[i].name);
	}
	close(manager.fd);
	unlink(manager.path);
	rmdir(manager.directory);
}

static void manager_store(const char *name, int fd)
{
	ck_assert_uint_lt(manager.count, ROOM);
	manager.stored[manager.count++] =
		(struct passed_socket){.name = scene_copy(name), .fd = fd};
	if (manager.count > manager.most)
		manager.most = manager.count;
}

/* Do what was asked since the last time; returns how many descriptors were stored. */
static size_t manager_turn(void)
{
	char text[512];
	size_t stored = 0;
	for (;;) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec piece = {text, sizeof(text) - 1};
		struct msghdr message = {.msg_iov = &piece,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};
		ssize_t len = recvmsg(manager.fd, &message, MSG_CMSG_CLOEXEC);
		if (len < 0)
			return stored;
		text[len] = '\0';
		char *name = strstr(text, "FDNAME=");
		ck_assert_msg(name != NULL, "%s", text);
		name += strlen("FDNAME=");
		name[strcspn(name, "\n")] = '\0';
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		if (strncmp(text, "FDSTORE=1\n", 10) == 0) {
			int fd = -1;
			ck_assert_ptr_nonnull(head);
			memcpy(&fd, CMSG_DATA(head), sizeof(fd));
			manager_store(name, fd);
			stored++;
		} else {
			ck_assert_int_eq(strncmp(text, "FDSTOREREMOVE=1\n", 16), 0);
			ck_assert_ptr_null(head);
			manager_remove(name);
		}
	}
}

/* ---- what is logged ----------------------------------------------------------------------------
 */

static size_t count_lines(const char *text)
{
	size_t count = 0;
	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

/* ---- keeping and taking over -------------------------------------------------------------------
 */

/* A process begins; returns what it logged. */
static const char *begin(struct cache_store *store, struct account_table *table)
{
	capture_begin();
	cache_store_open(store);
	cache_store_take(store, manager.stored, manager.count, table, &scene_maker, SCENE_NOW_MS);
	return capture_end();
}

static size_t taken(const struct account_table *table)
{
	size_t count = 0;
	for (size_t i = 0; i < table->count; i++)
		count += atomic_load(&table->accounts[i]->snapshot) != NULL;
	return count;
}

/* Tokens of this boot, for whom they are kept by a process that ended. */
static void keep_two(void)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	begin(&store, table);
	cache_store_write(&store, table, SCENE_NOW_MS);
	manager_turn();
	account_table_free(table);
}

START_TEST(the_next_process_has_the_tokens)
{
	struct cache_store store;
	struct account_table *table = scene_two(false);
	manager_open("8");
	keep_two();
	ck_assert_uint_eq(manager.count, 1);
	ck_assert_str_eq(manager.stored[0].name, "mrtokend-tokens-1");
	const char *log = begin(&store, table);
	ck_assert_ptr_nonnull(strstr(log, "took over the tokens of 2 of 2 accounts"));
	ck_assert_uint_eq(count_lines(log), 1);
	ck_assert_uint_eq(taken(table), 2);
	/* What is there is as it should be: nothing is written again. */
	cache_store_changed(&store, false, SCENE_NOW_MS);
	cache_store_write(&store, table, SCENE_NOW_MS);
	ck_assert_uint_eq(manager_turn(), 0);
	ck_assert_uint_eq(manager.count, 1);
	account_table_free(table);
	manager_close();
}
END_TEST

START_TEST(a_newer_image_takes_the_place_of_the_older)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	manager_open("8");
	begin(&store, table);
	for (int i = 0; i < 20; i++) {
		scene_give(table->accounts[0], "another", SCENE_NOW_MS);
		cache_store_changed(&store, false, SCENE_NOW_MS);
		ck_assert_int_lt(cache_store_due_ms(&store), CACHE_STORE_NEVER);
		cache_store_write(&store, table, SCENE_NOW_MS);
		ck_assert_int_eq(cache_store_due_ms(&store), CACHE_STORE_NEVER);
		ck_assert_uint_eq(manager_turn(), 1);
		ck_assert_uint_eq(manager.count, 1);
	}
	ck_assert_uint_eq(manager.most, 2);
	ck_assert_str_eq(manager.stored[0].name, "mrtokend-tokens-20");
	account_table_free(table);
	manager_close();
}
END_TEST

/* An image of this boot. */
static int write_here(const struct account_table *table, uint64_t generation)
{
	struct error err = ERROR_INIT;
	struct cache_moment moment = {.now_ms = SCENE_NOW_MS};
	ck_assert_int_eq(service_boot_id(moment.boot, &err), 0);
	int fd = cache_image_write(table, &moment, generation, &err);
	ck_assert_msg(fd >= 0, "%s", err.message);
	return fd;
}

/* It ended between the two steps. */
START_TEST(of_two_images_the_newer_is_taken_and_the_older_removed)
{
	struct cache_store store;
	manager_open("8");
	for (int i = 0; i < 2; i++) {
		struct account_table *before = scene_two(true);
		struct account_table *table = scene_two(false);
		int newer = write_here(before, 9);
		scene_give(before->accounts[0], "of-before", SCENE_NOW_MS);
		int older = write_here(before, 8);
		manager_store(i == 0 ? "new" : "old", i == 0 ? newer : older);
		manager_store(i == 0 ? "old" : "new", i == 0 ? older : newer);
		begin(&store, table);
		manager_turn();
		ck_assert_uint_eq(manager.count, 1);
		ck_assert_str_eq(manager.stored[0].name, "new");
		const struct snapshot *snapshot = atomic_load(&table->accounts[0]->snapshot);
		ck_assert_mem_eq(secret_bytes(snapshot->token), "opaque-token", 12);
		/* And the next one is newer than both. */
		scene_give(table->accounts[0], "another", SCENE_NOW_MS);
		cache_store_write(&store, table, SCENE_NOW_MS);
		manager_turn();
		ck_assert_uint_eq(manager.count, 1);
		ck_assert_str_eq(manager.stored[0].name, "mrtokend-tokens-10");
		manager_remove("mrtokend-tokens-10");
		account_table_free(before);
		account_table_free(table);
	}
	manager_close();
}
END_TEST

START_TEST(what_is_not_good_is_removed_and_told_in_one_line)
{
	struct cache_store store;
	struct account_table *table = scene_two(false);
	struct scene_bytes bytes = scene_image();
	manager_open("8");
	bytes.at[bytes.len / 2] ^= 1;
	manager_store("damaged", scene_memfd(bytes.at, bytes.len, CACHE_IMAGE_SEALS));
	const char *log = begin(&store, table);
	manager_turn();
	ck_assert_uint_eq(manager.count, 0);
	ck_assert_uint_eq(count_lines(log), 1);
	ck_assert_msg(strstr(log, "the tokens that the process before kept ('damaged') are "
				  "refused, and fetched anew: found damage: ") != NULL,
		"%s", log);
	ck_assert_uint_eq(taken(table), 0);
	free(bytes.at);
	account_table_free(table);
	manager_close();
}
END_TEST

START_TEST(an_image_of_another_configuration_is_refused_in_one_line)
{
	struct cache_store store;
	struct account_table *table = scene_table(scene_account("other", NULL), NULL);
	manager_open("8");
	keep_two();
	const char *log = begin(&store, table);
	ck_assert_uint_eq(count_lines(log), 1);
	ck_assert_msg(strstr(log, "refused, and fetched anew: found tokens of another "
				  "configuration: none of 2") != NULL,
		"%s", log);
	/* There is nothing to be kept, and nothing is. */
	cache_store_write(&store, table, SCENE_NOW_MS);
	manager_turn();
	ck_assert_uint_eq(manager.count, 0);
	account_table_free(table);
	manager_close();
}
END_TEST

static bool has_bytes(int fd, const char *wanted)
{
	struct scene_bytes bytes = scene_read(fd);
	bool found = memmem(bytes.at, bytes.len, wanted, strlen(wanted)) != NULL;
	free(bytes.at);
	return found;
}

START_TEST(the_token_of_an_account_that_is_gone_is_not_kept)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	manager_open("8");
	begin(&store, table);
	cache_store_write(&store, table, SCENE_NOW_MS);
	manager_turn();
	ck_assert(has_bytes(manager.stored[0].fd, "storage"));
	/* By a reload; the account that stays has changed in nothing. */
	account_table_free(table);
	table = scene_table(scene_account("anchors", NULL), NULL);
	scene_give(table->accounts[0], SCENE_TOKEN "c2ln", SCENE_NOW_MS - 5000);
	cache_store_changed(&store, true, SCENE_NOW_MS);
	cache_store_write(&store, table, SCENE_NOW_MS);
	ck_assert_uint_eq(manager_turn(), 1);
	ck_assert_uint_eq(manager.count, 1);
	ck_assert(!has_bytes(manager.stored[0].fd, "storage"));
	/* Over a restart. */
	account_table_free(table);
	table = scene_two(true);
	cache_store_write(&store, table, SCENE_NOW_MS);
	manager_turn();
	account_table_free(table);
	table = scene_table(scene_account("anchors", NULL), NULL);
	ck_assert_ptr_nonnull(strstr(begin(&store, table), "left out: 0 expired, 1 of another"));
	cache_store_write(&store, table, SCENE_NOW_MS);
	ck_assert_uint_eq(manager_turn(), 1);
	ck_assert_uint_eq(manager.count, 1);
	ck_assert(!has_bytes(manager.stored[0].fd, "storage"));
	account_table_free(table);
	manager_close();
}
END_TEST

/* The reload kept the token of an account whose asker is another now: the image names the new one.
 */
START_TEST(an_image_is_of_the_configuration_in_force)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	struct account_table *after = scene_two(false);
	manager_open("8");
	begin(&store, table);
	cache_store_write(&store, table, SCENE_NOW_MS);
	manager_turn();
	for (size_t i = 0; i < 2; i++) {
		struct account_table *one = i == 0 ? table : after;
		free(one->accounts[1]->settings.subject);
		one->accounts[1]->settings.subject = scene_copy("client_secret\n");
	}
	cache_store_changed(&store, true, SCENE_NOW_MS);
	cache_store_write(&store, table, SCENE_NOW_MS);
	ck_assert_uint_eq(manager_turn(), 1);
	begin(&store, after);
	ck_assert_uint_eq(taken(after), 2);
	account_table_free(table);
	account_table_free(after);
	manager_close();
}
END_TEST

START_TEST(tokens_that_have_expired_are_not_kept)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	manager_open("8");
	begin(&store, table);
	cache_store_write(&store, table, SCENE_NOW_MS);
	manager_turn();
	ck_assert_uint_eq(manager.count, 1);
	cache_store_write(&store, table, SCENE_DEAD_MS);
	ck_assert_uint_eq(manager_turn(), 0);
	ck_assert_uint_eq(manager.count, 0);
	account_table_free(table);
	manager_close();
}
END_TEST

/* ---- where there is no store -------------------------------------------------------------------
 */

static void assert_unused(const char *said)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	const char *log = begin(&store, table);
	if (said == NULL)
		ck_assert_str_eq(log, "");
	else
		ck_assert_msg(strstr(log, said) != NULL, "%s", log);
	cache_store_changed(&store, true, SCENE_NOW_MS);
	ck_assert_int_eq(cache_store_due_ms(&store), CACHE_STORE_NEVER);
	cache_store_write(&store, table, SCENE_NOW_MS);
	ck_assert_uint_eq(manager_turn(), 0);
	account_table_free(table);
}

START_TEST(nothing_is_stored_with_whom_nobody_asked_to)
{
	manager_open("8");
	unsetenv("FDSTORE");
	assert_unused(NULL);
	setenv("FDSTORE", "many", 1);
	assert_unused(NULL);
	setenv("FDSTORE", "0", 1);
	assert_unused(NULL);
	setenv("FDSTORE", "8", 1);
	unsetenv("NOTIFY_SOCKET");
	assert_unused(NULL);
	manager_close();
}
END_TEST

START_TEST(too_little_room_is_told)
{
	manager_open("1");
	assert_unused("keeps 1 descriptor, expected 2 or more; raise FileDescriptorStoreMax=");
	manager_close();
}
END_TEST

/* One that cannot be told is tried again with the next change, and said once. */
START_TEST(a_failure_is_told_once_and_mended_by_the_next_change)
{
	struct cache_store store;
	struct account_table *table = scene_two(true);
	manager_open("8");
	begin(&store, table);
	setenv("NOTIFY_SOCKET", "/nowhere/to/be/found", 1);
	capture_begin();
	cache_store_write(&store, table, SCENE_NOW_MS);
	cache_store_write(&store, table, SCENE_NOW_MS);
	const char *log = capture_end();
	ck_assert_uint_eq(count_lines(log), 1);
	ck_assert_ptr_nonnull(strstr(log, "cannot keep the tokens for the next process: "));
	setenv("NOTIFY_SOCKET", manager.path, 1);
	cache_store_write(&store, table, SCENE_NOW_MS);
	ck_assert_uint_eq(manager_turn(), 1);
	account_table_free(table);
	manager_close();
}
END_TEST

UNIT_MAIN("cache_store", a_burst_of_changes_is_one_image, changes_without_an_end_are_written_too,
	no_two_images_come_close_together, the_next_process_has_the_tokens,
	a_newer_image_takes_the_place_of_the_older,
	of_two_images_the_newer_is_taken_and_the_older_removed,
	what_is_not_good_is_removed_and_told_in_one_line,
	an_image_of_another_configuration_is_refused_in_one_line,
	the_token_of_an_account_that_is_gone_is_not_kept, an_image_is_of_the_configuration_in_force,
	tokens_that_have_expired_are_not_kept, nothing_is_stored_with_whom_nobody_asked_to,
	too_little_room_is_told, a_failure_is_told_once_and_mended_by_the_next_change)
