#include "config/watch.h"

#include "base/message_id.h"
#include "files.h"
#include "moved_clock.h"
#include "unit.h"

#include <errno.h>
#include <sys/inotify.h>
#include <sys/syscall.h>

/* ---- a kernel that may say no ------------------------------------------------------------------
 */

static int add_watch_errno; /* 0: as it is */
static int init_errno;
static unsigned watches_added;

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	watches_added++;
	errno = add_watch_errno;
	return add_watch_errno != 0 ? -1 : (int)syscall(SYS_inotify_add_watch, fd, path, mask);
}

int inotify_init1(int flags)
{
	errno = init_errno;
	return init_errno != 0 ? -1 : (int)syscall(SYS_inotify_init1, flags);
}

/* ---- a watch on a clock of the test's own ------------------------------------------------------
 */

static struct loop *loop;
static struct watch *watch;
static char told[1024]; /* "first:1 " for each call: the file and how many owners */
static int owners[3];

static void on_changed(void *context, const char *path, void *const *who, size_t count)
{
	char word[64];
	ck_assert_ptr_eq(context, told);
	for (size_t i = 0; i < count; i++)
		ck_assert(who[i] == &owners[0] || who[i] == &owners[1] || who[i] == &owners[2]);
	snprintf(word, sizeof(word), "%s:%zu ", strrchr(path, '/') + 1, count);
	ck_assert_uint_lt(strlen(told) + strlen(word), sizeof(told));
	strcat(told, word);
}

static void begin(void)
{
	struct error err = ERROR_INIT;
	directory_make();
	loop = loop_new(&test_clock, &err);
	ck_assert_ptr_nonnull(loop);
	watch = watch_new(loop, on_changed, told, &err);
	ck_assert_ptr_nonnull(watch);
}

static void end(void)
{
	watch_free(watch);
	loop_free(loop);
}

/* Let it see what has happened until now; it is queued already. */
static void see(void)
{
	for (int i = 0; i < 3; i++)
		loop_run(loop, 0);
}

static void pass(int64_t ms)
{
	see();
	now_ms += ms;
	see();
}

/* What is told once nothing happens any more. */
static void assert_told(const char *expected)
{
	pass(WATCH_SETTLE_MS);
	ck_assert_str_eq(told, expected);
	told[0] = '\0';
	pass(WATCH_SETTLE_MOST_MS);
	ck_assert_str_eq(told, "");
}

static void make_directory(const char *name)
{
	ck_assert_int_eq(mkdir(path_of(name), 0700), 0);
}

static void rename_to(const char *from, const char *to)
{
	ck_assert_int_eq(rename(path_of(from), path_of(to)), 0);
}

static void link_to(const char *target, const char *name)
{
	ck_assert_int_eq(symlink(target, path_of(name)), 0);
}

static void watch_file(const char *name)
{
	watch_add(watch, path_of(name), &owners[0]);
}

/* ---- what is told ------------------------------------------------------------------------------
 */

START_TEST(tells_nothing_of_what_stays_as_it_is)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	write_file("neighbour", "y");
	assert_told("");
	int fd = open(path_of("key"), O_RDONLY);
	char byte;
	ck_assert_int_eq(read(fd, &byte, 1), 1);
	close(fd);
	assert_told("");
	end();
}
END_TEST

START_TEST(tells_of_a_file_written_in_place)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	for (int i = 0; i < 3; i++) {
		write_file("key", "y"); /* of the same size, and in the same tick */
		assert_told("key:1 ");
	}
	end();
}
END_TEST

START_TEST(tells_of_a_file_that_was_put_in_its_place)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	for (int i = 0; i < 3; i++) {
		write_file("new", "x");
		assert_told("");
		rename_to("new", "key");
		assert_told("key:1 ");
	}
	/* And it watches the new one. */
	write_file("key", "y");
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_of_one_that_is_gone_and_of_one_that_comes)
{
	begin();
	watch_file("key");
	assert_told("");
	write_file("key", "x");
	assert_told("key:1 ");
	ck_assert_int_eq(unlink(path_of("key")), 0);
	assert_told("key:1 ");
	write_file("key", "y");
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_once_of_one_that_is_gone_for_a_moment)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	ck_assert_int_eq(unlink(path_of("key")), 0);
	pass(WATCH_SETTLE_MS / 2);
	write_file("key", "y");
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_nothing_of_one_that_is_back_as_it_was)
{
	begin();
	write_file("key", "x");
	make_directory("a");
	write_file("a/key", "x");
	watch_file("a/key");
	rename_to("a", "b");
	rename_to("b", "a");
	assert_told("");
	/* And it is watched as before. */
	write_file("a/key", "y");
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_of_the_swap_of_kubernetes)
{
	begin();
	make_directory("v");
	make_directory("v/..1");
	write_file("v/..1/key", "1");
	link_to("..1", "v/..data");
	link_to("..data/key", "v/key");
	watch_file("v/key");
	for (int i = 2; i < 6; i++) {
		char name[32];
		char old[32];
		snprintf(name, sizeof(name), "v/..%d", i);
		make_directory(name);
		snprintf(name, sizeof(name), "v/..%d/key", i);
		write_file(name, "x");
		assert_told("");
		snprintf(name, sizeof(name), "..%d", i);
		link_to(name, "v/..data_tmp");
		rename_to("v/..data_tmp", "v/..data");
		/* As kubelet does right after it. */
		snprintf(old, sizeof(old), "v/..%d/key", i - 1);
		ck_assert_int_eq(unlink(path_of(old)), 0);
		snprintf(old, sizeof(old), "v/..%d", i - 1);
		ck_assert_int_eq(rmdir(path_of(old)), 0);
		assert_told("key:1 ");
	}
	end();
}
END_TEST

START_TEST(tells_of_another_directory_in_the_place_of_one)
{
	begin();
	make_directory("a");
	make_directory("a/b");
	write_file("a/b/key", "1");
	make_directory("c");
	make_directory("c/b");
	write_file("c/b/key", "2");
	watch_file("a/b/key");
	rename_to("a", "old");
	rename_to("c", "a");
	assert_told("key:1 ");
	write_file("a/b/key", "3");
	assert_told("key:1 ");
	write_file("old/b/key", "4");
	assert_told("");
	end();
}
END_TEST

START_TEST(tells_of_a_file_in_a_directory_that_is_made_later)
{
	begin();
	watch_file("a/b/key");
	make_directory("a");
	assert_told("");
	make_directory("a/b");
	write_file("a/b/key", "1");
	assert_told("key:1 ");
	write_file("a/b/key", "2");
	assert_told("key:1 ");
	ck_assert_int_eq(unlink(path_of("a/b/key")), 0);
	ck_assert_int_eq(rmdir(path_of("a/b")), 0);
	assert_told("key:1 ");
	make_directory("a/b");
	write_file("a/b/key", "3");
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_of_a_mode_that_lets_it_be_read)
{
	begin();
	chmod(write_file("key", "x"), 0);
	watch_file("key");
	ck_assert_int_eq(chmod(path_of("key"), 0600), 0);
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_of_a_directory_that_may_be_passed_now)
{
	begin();
	make_directory("a");
	write_file("a/key", "x");
	chmod(path_of("a"), 0);
	watch_file("a/key");
	write_file("a/key", "y"); /* root can; nobody else could */
	ck_assert_int_eq(chmod(path_of("a"), 0700), 0);
	assert_told("key:1 ");
	end();
}
END_TEST

/* ---- when it is told ---------------------------------------------------------------------------
 */

START_TEST(tells_of_a_burst_once_and_when_it_is_over)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	for (int i = 0; i < 9; i++) {
		write_file("key", "y");
		pass(WATCH_SETTLE_MS - 1);
		ck_assert_str_eq(told, "");
	}
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(tells_of_a_burst_without_an_end)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	int64_t begin_ms = now_ms;
	while (told[0] == '\0' && now_ms < begin_ms + 10 * WATCH_SETTLE_MOST_MS) {
		write_file("key", "y");
		pass(WATCH_SETTLE_MS / 2);
	}
	ck_assert_int_eq(now_ms - begin_ms, WATCH_SETTLE_MOST_MS);
	end();
}
END_TEST

/* ---- whom --------------------------------------------------------------------------------------
 */

START_TEST(tells_all_owners_of_the_file_and_no_others)
{
	begin();
	write_file("key", "x");
	write_file("other", "x");
	for (size_t i = 0; i < UNIT_COUNT(owners); i++)
		watch_add(watch, path_of("key"), &owners[i]);
	watch_add(watch, path_of("other"), &owners[0]);
	write_file("key", "y");
	assert_told("key:3 ");
	write_file("other", "y");
	assert_told("other:1 ");
	end();
}
END_TEST

START_TEST(tells_nothing_after_it_was_cleared)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	write_file("key", "y");
	see();
	watch_clear(watch);
	assert_told("");
	write_file("key", "z");
	assert_told("");
	watch_file("key");
	write_file("key", "u");
	assert_told("key:1 ");
	end();
}
END_TEST

START_TEST(watches_thousands_of_files)
{
	begin();
	make_directory("many");
	for (int i = 0; i < 3000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "many/%d", i);
		watch_file(name);
	}
	write_file("many/17", "x");
	write_file("many/2999", "x");
	pass(WATCH_SETTLE_MS);
	ck_assert(strcmp(told, "17:1 2999:1 ") == 0 || strcmp(told, "2999:1 17:1 ") == 0);
	told[0] = '\0';
	watch_clear(watch);
	for (int i = 0; i < 3; i++)
		watch_file("many/17");
	write_file("many/17", "y");
	assert_told("17:3 ");
	end();
}
END_TEST

/* ---- where nothing can be watched --------------------------------------------------------------
 */

/* What it looks at, it finds changed; and it warns once. */
static void assert_looks_instead(const char *words)
{
	begin();
	write_file("key", "x");
	write_file("second", "x");
	capture_begin();
	watch_file("key");
	watch_file("second");
	const char *logged = capture_end();
	const char *warning = strstr(logged, "warning: cannot watch /");
	ck_assert_msg(warning != NULL && strstr(warning + 1, "warning") == NULL, "%s", logged);
	ck_assert_msg(strstr(logged, words) != NULL, "%s", logged);
	ck_assert_ptr_nonnull(strstr(logged, "looked at every 10 s instead, and before each use"));
	for (int i = 0; i < 3; i++) {
		write_file("new", "x");
		rename_to("new", "key");
		pass(WATCH_LOOK_MS - 1);
		ck_assert_str_eq(told, "");
		capture_begin();
		pass(1);
		ck_assert_str_eq(capture_end(), "");
		ck_assert_str_eq(told, "key:1 ");
		told[0] = '\0';
	}
	pass(WATCH_LOOK_MS);
	ck_assert_str_eq(told, "");
	/* Once it may, it watches. */
	if (init_errno == 0) {
		add_watch_errno = 0;
		pass(WATCH_LOOK_MS);
		write_file("new", "x");
		rename_to("new", "key");
		assert_told("key:1 ");
	}
	end();
}

START_TEST(looks_where_there_are_no_watches_left)
{
	add_watch_errno = ENOSPC;
	assert_looks_instead(
		"No space left on device; what cannot be watched is looked at every 10 s instead, "
		"and before each use; raise fs.inotify.max_user_watches (sysctl)");
}
END_TEST

START_TEST(looks_where_there_is_no_inotify_left)
{
	init_errno = EMFILE;
	assert_looks_instead("raise fs.inotify.max_user_instances (sysctl)");
}
END_TEST

START_TEST(looks_where_the_directory_cannot_be_read)
{
	add_watch_errno = EACCES;
	assert_looks_instead("let the daemon's user read the directories on the way");
}
END_TEST

START_TEST(tries_to_watch_no_more_than_it_must)
{
	begin();
	write_file("key", "x");
	watch_file("key");
	unsigned before = watches_added;
	pass(INT64_C(100) * WATCH_LOOK_MS);
	ck_assert_uint_eq(watches_added, before);
	end();
}
END_TEST

UNIT_MAIN("watch", tells_nothing_of_what_stays_as_it_is, tells_of_a_file_written_in_place,
	tells_of_a_file_that_was_put_in_its_place, tells_of_one_that_is_gone_and_of_one_that_comes,
	tells_once_of_one_that_is_gone_for_a_moment, tells_nothing_of_one_that_is_back_as_it_was,
	tells_of_the_swap_of_kubernetes, tells_of_another_directory_in_the_place_of_one,
	tells_of_a_file_in_a_directory_that_is_made_later, tells_of_a_mode_that_lets_it_be_read,
	tells_of_a_directory_that_may_be_passed_now, tells_of_a_burst_once_and_when_it_is_over,
	tells_of_a_burst_without_an_end, tells_all_owners_of_the_file_and_no_others,
	tells_nothing_after_it_was_cleared, watches_thousands_of_files,
	looks_where_there_are_no_watches_left, looks_where_there_is_no_inotify_left,
	looks_where_the_directory_cannot_be_read, tries_to_watch_no_more_than_it_must)
