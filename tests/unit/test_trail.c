#include "config/trail.h"

#include "files.h"
#include "unit.h"

#include <limits.h>

static char seen[8192];

/* Words such as "d:/a e:/a:key f:/a/key ", with the test's own directory as "@". */
static void note(void *context, enum trail_part part, const char *at, const char *name)
{
	static const char letters[] = "def";
	const char *root = context;
	size_t len = strlen(root);
	/* What leads to the test's directory is of no matter here. */
	if (strncmp(at, root, len) != 0 && (strncmp(root, at, strlen(at)) == 0))
		return;
	char word[PATH_MAX + 300];
	snprintf(word, sizeof(word), "%c:%s%s%s%s ", letters[part],
		strncmp(at, root, len) == 0 ? "@" : at, strncmp(at, root, len) == 0 ? at + len : "",
		name[0] == '\0' ? "" : ":", name);
	ck_assert_uint_lt(strlen(seen) + strlen(word), sizeof(seen));
	strcat(seen, word);
}

static int follow(const char *path)
{
	char root[PATH_MAX];
	ck_assert_ptr_nonnull(realpath(directory, root));
	seen[0] = '\0';
	return trail_follow(path, note, root);
}

static void assert_trail(const char *name, const char *expected)
{
	ck_assert_int_eq(follow(path_of(name)), 0);
	ck_assert_str_eq(seen, expected);
}

static void make_directory(const char *name)
{
	ck_assert_int_eq(mkdir(path_of(name), 0700), 0);
}

static void link_to(const char *target, const char *name)
{
	ck_assert_int_eq(symlink(target, path_of(name)), 0);
}

START_TEST(leads_over_each_directory_to_the_file)
{
	make_directory("a");
	make_directory("a/b");
	write_file("a/b/key", "x");
	assert_trail("a/b/key", "d:@ d:@/a d:@/a/b e:@/a/b:key f:@/a/b/key ");
	assert_trail("a//./b/../b/key", "d:@ d:@/a d:@/a/b d:@/a/b e:@/a/b:key f:@/a/b/key ");
}
END_TEST

START_TEST(ends_at_what_is_missing)
{
	make_directory("a");
	assert_trail("a/key", "d:@ d:@/a e:@/a:key ");
	assert_trail("a/b/c/key", "d:@ d:@/a e:@/a:b ");
}
END_TEST

START_TEST(leads_over_the_links_of_kubernetes)
{
	make_directory("v");
	make_directory("v/..2024_1");
	write_file("v/..2024_1/key", "x");
	link_to("..2024_1", "v/..data");
	link_to("..data/key", "v/key");
	assert_trail("v/key", "d:@ d:@/v e:@/v:key e:@/v:..data d:@/v/..2024_1 "
			      "e:@/v/..2024_1:key f:@/v/..2024_1/key ");
}
END_TEST

START_TEST(leads_over_links_to_absolute_paths_and_upwards)
{
	make_directory("a");
	make_directory("b");
	write_file("b/key", "x");
	link_to(path_of("b/key"), "a/absolute");
	link_to("../b/key", "a/upwards");
	assert_trail("a/absolute", "d:@ d:@/a e:@/a:absolute d:@ d:@/b e:@/b:key f:@/b/key ");
	assert_trail("a/upwards", "d:@ d:@/a e:@/a:upwards d:@/b e:@/b:key f:@/b/key ");
}
END_TEST

START_TEST(ends_at_a_link_that_leads_nowhere)
{
	make_directory("a");
	link_to("missing", "a/key");
	assert_trail("a/key", "d:@ d:@/a e:@/a:key e:@/a:missing ");
}
END_TEST

START_TEST(does_not_follow_links_in_a_ring)
{
	make_directory("a");
	link_to("two", "a/one");
	link_to("one", "a/two");
	ck_assert_int_eq(follow(path_of("a/one")), -1);
}
END_TEST

START_TEST(follows_as_many_links_as_the_kernel_does)
{
	char name[32] = "key";
	make_directory("a");
	write_file("a/key", "x");
	for (int i = 1; i <= 41; i++) {
		char link[32];
		char path[48];
		snprintf(link, sizeof(link), "link%d", i);
		snprintf(path, sizeof(path), "a/%s", link);
		link_to(name, path);
		memcpy(name, link, sizeof(name));
		bool is_followed =
			follow(path_of(path)) == 0 && strstr(seen, " f:@/a/key ") != NULL;
		ck_assert_msg(is_followed == (access(path_of(path), F_OK) == 0), "%d links", i);
	}
}
END_TEST

START_TEST(ends_at_a_file_in_the_place_of_a_directory)
{
	make_directory("a");
	write_file("a/b", "x");
	ck_assert_int_eq(follow(path_of("a/b/key")), 0);
	ck_assert_str_eq(seen, "d:@ d:@/a e:@/a:b f:@/a/b ");
}
END_TEST

START_TEST(refuses_what_is_too_long)
{
	char path[2 * PATH_MAX];
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	directory_make();
	ck_assert_int_eq(follow(path), -1);
	path[PATH_MAX - 1] = '\0';
	ck_assert_int_eq(follow(path), -1);
	/* A name of 256 letters. */
	path[257] = '\0';
	ck_assert_int_eq(follow(path), -1);
	path[256] = '\0';
	ck_assert_int_eq(follow(path), 0);
}
END_TEST

UNIT_MAIN("trail", leads_over_each_directory_to_the_file, ends_at_what_is_missing,
	leads_over_the_links_of_kubernetes, leads_over_links_to_absolute_paths_and_upwards,
	ends_at_a_link_that_leads_nowhere, does_not_follow_links_in_a_ring,
	follows_as_many_links_as_the_kernel_does, ends_at_a_file_in_the_place_of_a_directory,
	refuses_what_is_too_long)
