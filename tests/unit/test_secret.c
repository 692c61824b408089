#include "base/secret.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct secret_memory usage(void)
{
	struct secret_memory now;
	secret_memory_usage(&now);
	return now;
}

/* How many bytes the place of a secret of this capacity takes, canary included. */
static size_t place_size(size_t capacity)
{
	size_t before = usage().bytes_in_use;
	struct secret *secret = secret_new(capacity);
	ck_assert_ptr_nonnull(secret);
	size_t size = usage().bytes_in_use - before;
	secret_free(secret);
	return size;
}

static struct secret *secret_of(const char *string)
{
	struct secret *secret = secret_from(string, strlen(string));
	ck_assert_ptr_nonnull(secret);
	return secret;
}

static void assert_holds(const struct secret *secret, const void *bytes, size_t len)
{
	ck_assert_uint_eq(secret_len(secret), len);
	ck_assert_int_eq(secret_bytes(secret)[len], '\0');
	ck_assert_mem_eq(secret_bytes(secret), bytes, len);
}

static bool is_zero(const char *bytes, size_t len)
{
	unsigned char any = 0;
	for (size_t i = 0; i < len; i++)
		any |= (unsigned char)bytes[i];
	return any == 0;
}

/* ---- holding bytes -----------------------------------------------------------------------------
 */

START_TEST(is_empty_when_new)
{
	const size_t capacities[] = {0, 1, 55, 56, 1000, 16384, 100000, SECRET_MAX};
	for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
		_cleanup_secret_ struct secret *secret = secret_new(capacities[i]);
		ck_assert_ptr_nonnull(secret);
		assert_holds(secret, "", 0);
	}
	_cleanup_secret_ struct secret *nothing = secret_from(NULL, 0);
	ck_assert_ptr_nonnull(nothing);
	assert_holds(nothing, "", 0);
}
END_TEST

START_TEST(holds_bytes_of_every_length_around_each_place_size)
{
	static unsigned char bytes[70000];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 31 + i / 251);
	for (size_t size = 64; size <= 65536; size *= 2) {
		for (size_t len = size - 12; len < size + 4; len++) {
			_cleanup_secret_ struct secret *secret = secret_from(bytes, len);
			ck_assert_ptr_nonnull(secret);
			assert_holds(secret, bytes, len);
		}
	}
}
END_TEST

START_TEST(keeps_nul_bytes)
{
	_cleanup_secret_ struct secret *secret = secret_from("a\0b", 4);
	ck_assert_int_eq(secret_append(secret, "\0c", 2), 0);
	assert_holds(secret, "a\0b\0\0c", 6);
}
END_TEST

START_TEST(appends_in_order)
{
	_cleanup_secret_ struct secret *secret = secret_new(0);
	_cleanup_secret_ struct secret *other = secret_of("third");
	ck_assert_int_eq(secret_append(secret, "first", 5), 0);
	ck_assert_int_eq(secret_append(secret, NULL, 0), 0);
	ck_assert_int_eq(secret_append_string(secret, " second "), 0);
	ck_assert_int_eq(secret_append_string(secret, ""), 0);
	ck_assert_int_eq(secret_append_secret(secret, other), 0);
	assert_holds(secret, "first second third", 18);
	assert_holds(other, "third", 5);
}
END_TEST

START_TEST(appends_itself_though_it_moves)
{
	_cleanup_secret_ struct secret *secret = secret_of("0123456789");
	char expected[10 * 1024];
	for (size_t i = 0; i < sizeof(expected); i++)
		expected[i] = (char)('0' + i % 10);
	for (size_t len = 10; len < sizeof(expected); len *= 2) {
		assert_holds(secret, expected, len);
		ck_assert_int_eq(secret_append_secret(secret, secret), 0);
	}
	assert_holds(secret, expected, sizeof(expected));
	_cleanup_secret_ struct secret *nothing = secret_new(0);
	ck_assert_int_eq(secret_append_secret(nothing, nothing), 0);
	assert_holds(nothing, "", 0);
}
END_TEST

START_TEST(extends_by_zero_bytes_to_be_filled_in)
{
	_cleanup_secret_ struct secret *secret = secret_of("ab");
	unsigned char *room = secret_extend(secret, 1000);
	ck_assert_ptr_nonnull(room);
	ck_assert_ptr_eq(room, secret_bytes(secret) + 2);
	ck_assert_uint_eq(secret_len(secret), 1002);
	ck_assert(is_zero((const char *)room, 1001));
	memcpy(room, "cdxx", 5);
	secret_truncate(secret, 4);
	assert_holds(secret, "abcd", 4);
	/* What was truncated is zero again. */
	ck_assert_ptr_eq(secret_extend(secret, 2), secret_bytes(secret) + 4);
	assert_holds(secret, "abcd\0\0", 6);
	ck_assert_ptr_nonnull(secret_extend(secret, 0));
	assert_holds(secret, "abcd\0\0", 6);
}
END_TEST

START_TEST(keeps_its_bytes_through_every_growth)
{
	_cleanup_secret_ struct secret *secret = secret_new(0);
	_cleanup_secret_ struct secret *neighbour = secret_of("neighbour");
	static char expected[SECRET_MAX];
	size_t len = 0;
	for (size_t step = 1; len + step <= SECRET_MAX; step += 1 + step / 8) {
		memset(expected + len, (int)('a' + step % 26), step);
		ck_assert_int_eq(secret_append(secret, expected + len, step), 0);
		len += step;
		assert_holds(secret, expected, len);
	}
	assert_holds(neighbour, "neighbour", 9);
}
END_TEST

START_TEST(does_not_move_within_its_capacity)
{
	const size_t capacities[] = {1, 55, 56, 500, 16375, 16376, 70000, SECRET_MAX};
	for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
		_cleanup_secret_ struct secret *secret = secret_new(capacities[i]);
		const char *place = secret_bytes(secret);
		ck_assert_ptr_nonnull(secret_extend(secret, capacities[i] - 1));
		ck_assert_ptr_nonnull(secret_extend(secret, 1));
		ck_assert_ptr_eq(secret_bytes(secret), place);
	}
}
END_TEST

START_TEST(is_never_longer_than_the_bound)
{
	static char bytes[SECRET_MAX + 1];
	const size_t absurd[] = {SECRET_MAX + 1, SECRET_MAX * 2, SIZE_MAX / 2,
		SIZE_MAX - SECRET_MAX, SIZE_MAX - 16, SIZE_MAX - 8, SIZE_MAX - 1, SIZE_MAX};
	for (size_t i = 0; i < UNIT_COUNT(absurd); i++) {
		ck_assert_ptr_null(secret_new(absurd[i]));
		ck_assert_ptr_null(secret_from(bytes, absurd[i]));
	}
	_cleanup_secret_ struct secret *full = secret_from(bytes, SECRET_MAX);
	ck_assert_ptr_nonnull(full);
	ck_assert_int_eq(secret_append(full, "", 0), 0);
	ck_assert_int_eq(secret_append(full, "x", 1), -1);
	ck_assert_int_eq(secret_append_secret(full, full), -1);
	ck_assert_ptr_null(secret_extend(full, 1));
	for (size_t i = 0; i < UNIT_COUNT(absurd); i++)
		ck_assert_int_eq(secret_append(full, bytes, absurd[i]), -1);
	assert_holds(full, bytes, SECRET_MAX);

	_cleanup_secret_ struct secret *some = secret_of("some");
	ck_assert_int_eq(secret_append(some, bytes, SECRET_MAX - 3), -1);
	ck_assert_ptr_null(secret_extend(some, SIZE_MAX - 3));
	for (size_t i = 0; i < UNIT_COUNT(absurd); i++)
		ck_assert_ptr_null(secret_extend(some, absurd[i]));
	assert_holds(some, "some", 4);
	ck_assert_int_eq(secret_append(some, bytes, SECRET_MAX - 4), 0);
	ck_assert_uint_eq(secret_len(some), SECRET_MAX);
}
END_TEST

START_TEST(trims_white_space_at_both_ends_only)
{
	static const struct {
		const char *in;
		const char *out;
	} table[] = {
		{"", ""}, {"key", "key"}, {"key\n", "key"}, {"key\r\n", "key"},
		{" \t\v\f\r\nkey \t\v\f\r\n", "key"},
		{"a key\nof two lines\n", "a key\nof two lines"}, {"\n", ""}, {" \n \n ", ""},
		{" k", "k"}, {"k ", "k"},
		{"\xa0key\x85", "\xa0key\x85"}, /* no white space in the C locale */
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		_cleanup_secret_ struct secret *secret = secret_of(table[i].in);
		secret_trim(secret);
		assert_holds(secret, table[i].out, strlen(table[i].out));
		/* Nothing is left of what moved. */
		size_t len = strlen(table[i].out);
		ck_assert(is_zero(secret_bytes(secret) + len, strlen(table[i].in) - len));
	}
	_cleanup_secret_ struct secret *with_nul = secret_from(" \0k\0 ", 5);
	secret_trim(with_nul);
	assert_holds(with_nul, "\0k\0", 3);
}
END_TEST

START_TEST(wipes_what_is_truncated)
{
	_cleanup_secret_ struct secret *secret = secret_of("0123456789");
	secret_truncate(secret, 10);
	assert_holds(secret, "0123456789", 10);
	secret_truncate(secret, 4);
	assert_holds(secret, "0123", 4);
	ck_assert(is_zero(secret_bytes(secret) + 4, 7));
	secret_truncate(secret, 0);
	assert_holds(secret, "", 0);
	ck_assert(is_zero(secret_bytes(secret), 11));
	ck_assert_int_eq(secret_append_string(secret, "again"), 0);
	assert_holds(secret, "again", 5);
}
END_TEST

START_TEST(equals_the_same_bytes_only)
{
	static const struct {
		const char *a;
		const char *b;
		bool is_equal;
	} table[] = {
		{"", "", true},
		{"a", "a", true},
		{"secret", "secret", true},
		{"secret", "Secret", false},
		{"secret", "secRet", false},
		{"secret", "secreT", false},
		{"secret", "secre", false},
		{"secret", "secrets", false},
		{"secret", "", false},
		{"\x80", "\x7f", false},
		{"ab", "ba", false}, /* the differences must not cancel out */
		{"aa", "bb", false},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		_cleanup_secret_ struct secret *a = secret_of(table[i].a);
		_cleanup_secret_ struct secret *b = secret_of(table[i].b);
		ck_assert_int_eq(secret_equal(a, b), table[i].is_equal);
		ck_assert_int_eq(secret_equal(b, a), table[i].is_equal);
		ck_assert(secret_equal(a, a));
		ck_assert(!secret_equal(a, NULL));
		ck_assert(!secret_equal(NULL, a));
	}
	ck_assert(!secret_equal(NULL, NULL));
	_cleanup_secret_ struct secret *a = secret_from("x\0a", 3);
	_cleanup_secret_ struct secret *b = secret_from("x\0b", 3);
	ck_assert(!secret_equal(a, b));
}
END_TEST

START_TEST(tells_each_single_bit_that_differs)
{
	char bytes[100] = {0};
	_cleanup_secret_ struct secret *zero = secret_from(bytes, sizeof(bytes));
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] = (char)(1U << bit % 8);
		_cleanup_secret_ struct secret *other = secret_from(bytes, sizeof(bytes));
		ck_assert(!secret_equal(zero, other));
		bytes[bit / 8] = 0;
	}
}
END_TEST

START_TEST(is_found_within_other_bytes)
{
	static const struct {
		const char *secret;
		const char *haystack;
		bool is_within;
	} table[] = {
		{"key", "key", true},
		{"key", "the key here", true},
		{"key", "the key", true},
		{"key", "the ke", false},
		{"key", "kekey", true},
		{"key", "KEY", false},
		{"key", "", false},
		{"", "anything", false},
		{"", "", false},
	};
	for (size_t i = 0; i < UNIT_COUNT(table); i++) {
		_cleanup_secret_ struct secret *secret = secret_of(table[i].secret);
		ck_assert_int_eq(
			secret_is_within(secret, table[i].haystack, strlen(table[i].haystack)),
			table[i].is_within);
	}
	_cleanup_secret_ struct secret *secret = secret_of("key");
	ck_assert(!secret_is_within(secret, "the key", 6));
	ck_assert(secret_is_within(secret, "a\0b\0key", 7));
}
END_TEST

START_TEST(takes_null_to_free)
{
	secret_free(NULL);
	struct secret *none = NULL;
	secret_cleanup(&none);
}
END_TEST

/* ---- wiping ------------------------------------------------------------------------------------
 */

START_TEST(wipes_bytes_when_freed)
{
	/* Another secret of the class keeps the region mapped. */
	for (size_t len = 1; len < 16000; len = len * 3 + 1) {
		_cleanup_secret_ struct secret *neighbour = secret_new(len);
		ck_assert_ptr_nonnull(neighbour);
		struct secret *secret = secret_new(len);
		memset(secret_extend(secret, len), 'S', len);
		const volatile char *place = secret_bytes(secret);
		size_t size = place_size(len);
		ck_assert_int_eq(place[len - 1], 'S');
		secret_free(secret);
		for (size_t i = 0; i < size; i++)
			if (place[i] != 0)
				ck_abort_msg("byte %zu of %zu is left", i, size);
	}
}
END_TEST

START_TEST(wipes_the_old_place_when_it_grows)
{
	_cleanup_secret_ struct secret *neighbour = secret_new(10);
	ck_assert_ptr_nonnull(neighbour);
	_cleanup_secret_ struct secret *secret = secret_of("moves away");
	const volatile char *place = secret_bytes(secret);
	char more[1000];
	memset(more, 'm', sizeof(more));
	ck_assert_int_eq(secret_append(secret, more, sizeof(more)), 0);
	ck_assert_ptr_ne((const void *)place, secret_bytes(secret));
	for (size_t i = 0; i < place_size(10); i++)
		ck_assert_int_eq(place[i], 0);
	ck_assert_int_eq(strncmp(secret_bytes(secret), "moves awaymmm", 13), 0);
	ck_assert_uint_eq(secret_len(secret), 1010);
}
END_TEST

static void touch_freed(void *argument)
{
	struct secret *secret = secret_new(100000);
	const volatile char *place = secret_bytes(secret);
	secret_free(secret);
	(void)argument;
	(void)*place;
}

START_TEST(unmaps_a_large_secret_when_freed)
{
	unit_assert_killed(unit_in_child(touch_freed, NULL), SIGSEGV);
}
END_TEST

/* ---- fences ------------------------------------------------------------------------------------
 */

/* The mapping that holds a secret, as /proc/self/smaps tells it. */
struct mapping {
	char *first;
	char *end;
	char flags[256]; /* with a space before each; "" if the kernel does not tell */
};

static struct mapping mapping_of(const struct secret *secret)
{
	char *bytes = (char *)secret_bytes(secret);
	struct mapping mapping = {0};
	FILE *maps = fopen("/proc/self/smaps", "re");
	ck_assert_ptr_nonnull(maps);
	char line[512];
	while (fgets(line, sizeof(line), maps) != NULL) {
		char *rest = line;
		uintptr_t from = strtoull(line, &rest, 16);
		if (*rest == '-') {
			uintptr_t to = strtoull(rest + 1, NULL, 16);
			if (mapping.first != NULL)
				break;
			if (from <= (uintptr_t)bytes && (uintptr_t)bytes < to) {
				mapping.first = bytes - ((uintptr_t)bytes - from);
				mapping.end = bytes + (to - (uintptr_t)bytes);
			}
		} else if (mapping.first != NULL && strncmp(line, "VmFlags:", 8) == 0) {
			size_t len = strcspn(line + 8, "\n");
			ck_assert_uint_lt(len, sizeof(mapping.flags));
			memcpy(mapping.flags, line + 8, len);
		}
	}
	fclose(maps);
	ck_assert_ptr_nonnull(mapping.first);
	return mapping;
}

/* A byte next to a secret or within it, to be read or written by a child that has it. */
struct touch {
	size_t capacity;
	bool is_from_end; /* of the mapping, else from its start */
	ssize_t offset;
	bool writes;
};

static void touch(void *argument)
{
	const struct touch *touch = argument;
	struct mapping in = mapping_of(secret_new(touch->capacity));
	volatile char *byte = (touch->is_from_end ? in.end : in.first) + touch->offset;
	if (touch->writes)
		*byte = 1;
	else
		(void)*byte;
}

static void assert_fenced(size_t capacity)
{
	const ssize_t page = sysconf(_SC_PAGESIZE);
	/* The bytes at its ends; those next to it, and the far ends of a page. */
	const struct touch within[] = {{capacity, false, 0, false}, {capacity, false, 0, true},
		{capacity, true, -1, false}, {capacity, true, -1, true}};
	const struct touch beyond[] = {{capacity, false, -1, false}, {capacity, false, -1, true},
		{capacity, false, -page, false}, {capacity, false, -page, true},
		{capacity, true, 0, false}, {capacity, true, 0, true},
		{capacity, true, page - 1, false}, {capacity, true, page - 1, true}};
	for (size_t i = 0; i < UNIT_COUNT(within); i++)
		unit_assert_exited(unit_in_child(touch, (void *)&within[i]), 0);
	for (size_t i = 0; i < UNIT_COUNT(beyond); i++)
		unit_assert_killed(unit_in_child(touch, (void *)&beyond[i]), SIGSEGV);
}

START_TEST(stands_between_guard_pages)
{
	const size_t capacities[] = {10, 100, 1000, 10000, 20000, 100000, SECRET_MAX};
	for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
		_cleanup_secret_ struct secret *secret = secret_new(capacities[i]);
		struct mapping in = mapping_of(secret);
		ck_assert_int_ge(in.end - secret_bytes(secret), (ssize_t)place_size(capacities[i]));
		assert_fenced(capacities[i]);
	}
}
END_TEST

static size_t pages_mapped(void)
{
	char line[64] = "";
	FILE *statm = fopen("/proc/self/statm", "re");
	ck_assert_ptr_nonnull(statm);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), statm));
	fclose(statm);
	return strtoull(line, NULL, 10);
}

START_TEST(gives_guard_pages_back_with_the_region)
{
	secret_free(secret_new(100000));
	size_t before = pages_mapped();
	for (int i = 0; i < 1000; i++)
		secret_free(secret_new(100000));
	ck_assert_uint_lt(pages_mapped(), before + 500);
}
END_TEST

START_TEST(is_locked_and_left_out_of_dumps_and_children)
{
	const size_t capacities[] = {10, 1000, 10000, 100000};
	for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
		_cleanup_secret_ struct secret *secret = secret_new(capacities[i]);
		struct mapping mapping = mapping_of(secret);
		const char *flags = mapping.flags;
		if (flags[0] == '\0') {
			printf("%s: this kernel tells no VmFlags, so nothing was looked at\n",
				__func__);
			return;
		}
		ck_assert_msg(strstr(flags, " dd") != NULL, "no dd in%s", flags);
		const char *in_child = usage().bytes_hidden > 0 ? " dc" : " wf";
		ck_assert_msg(strstr(flags, in_child) != NULL, "no%s in%s", in_child, flags);
#if !UNIT_HAS_SANITIZER /* whose mlock() does nothing */
		bool is_locked = strstr(flags, " lo") != NULL;
		ck_assert_msg(is_locked == (usage().bytes_unlocked == 0), "%zu unlocked, and%s",
			usage().bytes_unlocked, flags);
#endif
	}
}
END_TEST

/* Bytes to damage, counted from the end of the place of a secret: the last 8 are the canary. */
struct damage {
	size_t capacity;
	size_t from_end;
	size_t len;
	bool grows;
};

/* The children allocate for themselves: what they inherit is zero. */
static void damage_a_secret(void *argument)
{
	const struct damage *damage = argument;
	struct secret *secret = secret_new(damage->capacity);
	size_t size = place_size(damage->capacity);
	unsigned char *room = secret_extend(secret, damage->capacity);
	for (size_t i = 0; i < damage->len; i++)
		room[size - damage->from_end + i] ^= 0x55;
	if (damage->grows && secret_extend(secret, size) == NULL)
		_exit(10);
	secret_free(secret);
}

START_TEST(a_damaged_canary_ends_the_process)
{
	const size_t capacities[] = {10, 100, 5000, 16000, 50000};
	for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
		struct damage whole = {.capacity = capacities[i], .from_end = 8, .len = 8};
		unit_assert_killed(unit_in_child(damage_a_secret, &whole), SIGABRT);
		struct damage none = {.capacity = capacities[i]};
		unit_assert_exited(unit_in_child(damage_a_secret, &none), 0);
		none.grows = true;
		unit_assert_exited(unit_in_child(damage_a_secret, &none), 0);
	}
}
END_TEST

START_TEST(each_byte_of_the_canary_counts_when_freed_and_when_moved)
{
	for (size_t byte = 1; byte <= 8; byte++) {
		struct damage damage = {.capacity = 10, .from_end = byte, .len = 1};
		unit_assert_killed(unit_in_child(damage_a_secret, &damage), SIGABRT);
		damage.grows = true;
		unit_assert_killed(unit_in_child(damage_a_secret, &damage), SIGABRT);
	}
}
END_TEST

static void run_over_the_end(void *argument)
{
	struct secret *secret = secret_new(10);
	memset((char *)secret_bytes(secret), *(char *)argument, 64);
	secret_free(secret);
}

START_TEST(an_overrun_is_found_whatever_byte_it_writes)
{
	for (int c = 0; c < 256; c += 17) {
		char byte = (char)c;
		unit_assert_killed(unit_in_child(run_over_the_end, &byte), SIGABRT);
	}
}
END_TEST

/* ---- fork, limits ------------------------------------------------------------------------------
 */

static void expect_zeros(void *argument)
{
	const struct secret *secret = argument;
	_exit(is_zero(secret_bytes(secret), secret_len(secret)) ? 0 : 1);
}

START_TEST(a_forked_child_reads_nothing)
{
	const size_t lengths[] = {10, 1000, 16000, 100000};
	for (size_t i = 0; i < UNIT_COUNT(lengths); i++) {
		_cleanup_secret_ struct secret *secret = secret_new(lengths[i]);
		unsigned char *room = secret_extend(secret, lengths[i]);
		memset(room, 's', lengths[i]);
		int status = unit_in_child(expect_zeros, secret);
		if (usage().bytes_hidden > 0)
			unit_assert_killed(status, SIGSEGV);
		else
			unit_assert_exited(status, 0);
		ck_assert_int_eq(room[0], 's');
		ck_assert_int_eq(room[lengths[i] - 1], 's');
	}
}
END_TEST

/* ---- hidden or not -----------------------------------------------------------------------------
 */

/* How many of the bytes root would get by /proc/self/mem. */
static size_t bytes_that_are_read(const struct secret *secret)
{
	char copy[64] = "";
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ssize_t got = pread(fd, copy, sizeof(copy), (off_t)(uintptr_t)secret_bytes(secret));
	close(fd);
	return got < 0 ? 0 : (size_t)got;
}

static bool kernel_hides(void)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

START_TEST(is_hidden_from_the_kernels_own_readers)
{
	_cleanup_secret_ struct secret *small = secret_of("small");
	_cleanup_secret_ struct secret *large = secret_new(100000);
	if (!kernel_hides()) {
		printf("%s: this kernel has no memfd_secret, so nothing was looked at\n", __func__);
		return;
	}
	ck_assert_uint_eq(bytes_that_are_read(small), 0);
	ck_assert_uint_eq(bytes_that_are_read(large), 0);
	ck_assert_uint_eq(usage().bytes_hidden, usage().bytes_mapped);
	ck_assert_uint_ge(usage().bytes_hidden, 100000);
	secret_free(large);
	large = NULL;
	ck_assert_uint_lt(usage().bytes_hidden, 100000);
}
END_TEST

static void write_to_pipe(void *argument)
{
	int ends[2];
	char copy[6] = "";
	struct secret *secret = secret_of("small");
	(void)argument;
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	if (write(ends[1], secret_bytes(secret), 5) != 5 || read(ends[0], copy, 5) != 5)
		_exit(1);
	_exit(strcmp(copy, "small") == 0 ? 0 : 2);
}

START_TEST(can_be_written_to_a_descriptor)
{
	unit_assert_exited(unit_in_child(write_to_pipe, NULL), 0);
}
END_TEST

/* As under a container's filter. */
static void forbid_hiding(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_secret, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {UNIT_COUNT(code), code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(10);
}

static void use_ordinary_pages(void *argument)
{
	forbid_hiding();
	struct secret *secret = secret_of("small");
	if (usage().bytes_hidden != 0 || bytes_that_are_read(secret) == 0)
		_exit(11);
	const char *flags = mapping_of(secret).flags;
	if (flags[0] != '\0' && (strstr(flags, " dd") == NULL || strstr(flags, " wf") == NULL))
		_exit(12);
	if (fork() == 0)
		expect_zeros(secret);
	int status = 0;
	wait(&status);
	if (status != 0)
		_exit(13);
	const struct touch *beyond = argument;
	touch((void *)beyond);
	_exit(14);
}

START_TEST(takes_ordinary_pages_where_hiding_is_forbidden)
{
	const struct touch beyond = {10, true, 0, false};
	unit_assert_killed(unit_in_child(use_ordinary_pages, (void *)&beyond), SIGSEGV);
}
END_TEST

static void use_own_secrets(void *argument)
{
	(void)argument;
	for (int i = 0; i < 2000; i++) {
		struct secret *secret = secret_from("a child's own", 13);
		if (secret == NULL || strcmp(secret_bytes(secret), "a child's own") != 0)
			_exit(1);
		if (i % 2 == 0)
			secret_free(secret);
	}
}

START_TEST(a_forked_child_can_have_secrets_of_its_own)
{
	_cleanup_secret_ struct secret *secret = secret_of("the parent's");
	unit_assert_exited(unit_in_child(use_own_secrets, NULL), 0);
	assert_holds(secret, "the parent's", 12);
}
END_TEST

#if !UNIT_HAS_SANITIZER
static void lock_nothing(void *argument)
{
	(void)argument;
	/* CAP_IPC_LOCK would pass the limit by. */
	if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){0}) != 0 ||
		(geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)))
		_exit(10);
	struct secret_memory before = usage();
	struct secret *large = secret_new(100000);
	struct secret *small = secret_from("small", 5);
	if (large == NULL || small == NULL || secret_append_secret(large, small) != 0)
		_exit(11);
	if (!secret_is_within(small, secret_bytes(large), 5))
		_exit(12);
	struct secret_memory after = usage();
	size_t mapped = after.bytes_mapped - before.bytes_mapped;
	if (mapped < 100000 || after.bytes_unlocked - before.bytes_unlocked != mapped)
		_exit(13);
	secret_free(large);
	secret_free(small);
	struct secret_memory last = usage();
	if (last.bytes_unlocked > after.bytes_unlocked - 100000)
		_exit(14);
}

START_TEST(is_usable_and_says_so_when_nothing_may_be_locked)
{
	unit_assert_exited(unit_in_child(lock_nothing, NULL), 0);
}
END_TEST

START_TEST(counts_nothing_as_unlocked_below_the_limit)
{
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_cur < (rlim_t)1024 * 1024) {
		printf("%s: RLIMIT_MEMLOCK is too low to look\n", __func__);
		return;
	}
	_cleanup_secret_ struct secret *large = secret_new(100000);
	_cleanup_secret_ struct secret *small = secret_new(10);
	ck_assert_ptr_nonnull(large);
	ck_assert_ptr_nonnull(small);
	ck_assert_uint_gt(usage().bytes_mapped, 100000);
	ck_assert_uint_eq(usage().bytes_unlocked, 0);
}
END_TEST

static void allocate_without_memory(void *argument)
{
	(void)argument;
	struct secret *secret = secret_of("held");
	struct secret_memory before = usage();
	if (setrlimit(RLIMIT_AS, &(struct rlimit){0}) != 0)
		_exit(10);
	/* The heap has some left; there are no new mappings. */
	char bytes[1000] = {0};
	if (secret_append(secret, bytes, sizeof(bytes)) != -1 || secret_new(1000) != NULL ||
		secret_new(100000) != NULL || secret_from(bytes, sizeof(bytes)) != NULL ||
		secret_extend(secret, 100000) != NULL)
		_exit(11);
	if (secret_len(secret) != 4 || strcmp(secret_bytes(secret), "held") != 0)
		_exit(12);
	unit_exhaust_memory();
	if (secret_new(1) != NULL || secret_from("a", 1) != NULL)
		_exit(13);
	struct secret_memory after = usage();
	if (memcmp(&before, &after, sizeof(before)) != 0)
		_exit(14);
	if (secret_append(secret, " still", 6) != 0 ||
		strcmp(secret_bytes(secret), "held still") != 0)
		_exit(15);
	secret_free(secret);
}

START_TEST(stays_as_it_was_when_there_is_no_memory)
{
	unit_assert_exited(unit_in_child(allocate_without_memory, NULL), 0);
}
END_TEST
#else
#define is_usable_and_says_so_when_nothing_may_be_locked NULL
#define counts_nothing_as_unlocked_below_the_limit NULL
#define stays_as_it_was_when_there_is_no_memory NULL
#endif

/* ---- many --------------------------------------------------------------------------------------
 */

START_TEST(counts_what_is_in_use)
{
	size_t before = usage().bytes_in_use;
	struct secret *small = secret_new(55);
	ck_assert_uint_eq(usage().bytes_in_use - before, 64);
	struct secret *next = secret_new(56);
	ck_assert_uint_eq(usage().bytes_in_use - before, 64 + 128);
	struct secret *large = secret_new(16376);
	ck_assert_uint_ge(usage().bytes_in_use - before, 64 + 128 + 16376 + 9);
	ck_assert_uint_ge(usage().bytes_mapped, usage().bytes_in_use);
	secret_free(small);
	secret_free(next);
	secret_free(large);
	ck_assert_uint_eq(usage().bytes_in_use, before);
}
END_TEST

START_TEST(thousands_of_all_sizes_freed_in_random_order_leave_nothing_in_use)
{
	enum { SECRETS = 4000 };
	static struct secret *secrets[SECRETS];
	uint64_t state = unit_seed(__func__);
	size_t before = usage().bytes_in_use;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < SECRETS; i++) {
			/* Most are small, some are large, a few have a region of their own. */
			size_t len = unit_random(&state, (size_t)64 << unit_random(&state, 6));
			if (i % 100 == 0)
				len = 16000 + unit_random(&state, 20000);
			secrets[i] = secret_new(unit_random(&state, len + 1));
			unsigned char *room = secret_extend(secrets[i], len);
			if (room == NULL || !is_zero((const char *)room, len))
				ck_abort_msg("secret %d of %zu bytes", i, len);
			memset(room, i % 251 + 1, len);
		}
		for (int i = SECRETS - 1; i >= 0; i--) {
			int other = (int)unit_random(&state, (uint64_t)i + 1);
			struct secret *secret = secrets[other];
			secrets[other] = secrets[i];
			const char *bytes = secret_bytes(secret);
			size_t len = secret_len(secret);
			/* Had two had the same place, one would see the other's bytes. */
			for (size_t j = 1; j < len; j++)
				if (bytes[j] != bytes[0])
					ck_abort_msg("round %d, byte %zu of %zu", round, j, len);
			secret_free(secret);
		}
		ck_assert_uint_eq(usage().bytes_in_use, before);
		/* One region a class may stay. */
		ck_assert_uint_le(usage().bytes_mapped, (size_t)9 * 65536);
	}
}
END_TEST

START_TEST(gives_each_secret_a_place_of_its_own)
{
	/* More than one region of the smallest class: places overlap nowhere, and are all used. */
	enum { SECRETS = 1024 + 10 };
	const size_t region = 65536;
	static struct secret *secrets[SECRETS];
	size_t mapped = usage().bytes_mapped;
	for (int i = 0; i < SECRETS; i++) {
		secrets[i] = secret_new(55);
		ck_assert_ptr_nonnull(secrets[i]);
		memset(secret_extend(secrets[i], 55), i % 255 + 1, 55);
		if (i == 1023)
			ck_assert_uint_le(usage().bytes_mapped - mapped, region);
	}
	ck_assert_uint_le(usage().bytes_mapped - mapped, 2 * region);
	for (int i = 0; i < SECRETS; i++) {
		const char *bytes = secret_bytes(secrets[i]);
		for (int j = 0; j < 55; j++)
			if (bytes[j] != (char)(i % 255 + 1))
				ck_abort_msg("byte %d of secret %d", j, i);
		secret_free(secrets[i]);
	}
}
END_TEST

START_TEST(uses_a_place_again)
{
	_cleanup_secret_ struct secret *neighbour = secret_new(10);
	ck_assert_ptr_nonnull(neighbour);
	struct secret *first = secret_of("first");
	const char *place = secret_bytes(first);
	secret_free(first);
	_cleanup_secret_ struct secret *second = secret_of("second");
	ck_assert_ptr_eq(secret_bytes(second), place);
	assert_holds(second, "second", 6);
}
END_TEST

struct churn {
	uint64_t seed;
	size_t wrong;
};

static void *churn(void *argument)
{
	struct churn *result = argument;
	uint64_t state = result->seed;
	unsigned char mark = (unsigned char)(1 + state % 250);
	size_t wrong = 0;
	struct secret *held[16] = {0};
	for (int step = 0; step < 4000; step++) {
		size_t i = unit_random(&state, UNIT_COUNT(held));
		const char *bytes = held[i] == NULL ? "" : secret_bytes(held[i]);
		size_t len = held[i] == NULL ? 0 : secret_len(held[i]);
		for (size_t j = 0; j < len; j++)
			wrong += (unsigned char)bytes[j] != mark;
		secret_free(held[i]);
		len = unit_random(&state, step % 50 == 0 ? 20000 : 300);
		held[i] = secret_new(0);
		unsigned char *room = held[i] == NULL ? NULL : secret_extend(held[i], len);
		if (room == NULL)
			wrong++;
		else
			memset(room, mark, len);
		struct secret_memory now;
		secret_memory_usage(&now);
		wrong += now.bytes_in_use > now.bytes_mapped;
	}
	for (size_t i = 0; i < UNIT_COUNT(held); i++)
		secret_free(held[i]);
	result->wrong = wrong;
	return NULL;
}

START_TEST(several_threads_allocate_and_free_at_once)
{
	pthread_t threads[4];
	struct churn churns[4];
	uint64_t seed = unit_seed(__func__);
	size_t before = usage().bytes_in_use;
	for (size_t i = 0; i < 4; i++) {
		churns[i] = (struct churn){.seed = seed + i};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_eq(churns[i].wrong, 0);
	}
	ck_assert_uint_eq(usage().bytes_in_use, before);
}
END_TEST

UNIT_MAIN("secret", is_empty_when_new, holds_bytes_of_every_length_around_each_place_size,
	keeps_nul_bytes, appends_in_order, appends_itself_though_it_moves,
	extends_by_zero_bytes_to_be_filled_in, keeps_its_bytes_through_every_growth,
	does_not_move_within_its_capacity, is_never_longer_than_the_bound,
	trims_white_space_at_both_ends_only, wipes_what_is_truncated, equals_the_same_bytes_only,
	tells_each_single_bit_that_differs, is_found_within_other_bytes, takes_null_to_free,
	wipes_bytes_when_freed, wipes_the_old_place_when_it_grows, unmaps_a_large_secret_when_freed,
	stands_between_guard_pages, gives_guard_pages_back_with_the_region,
	is_locked_and_left_out_of_dumps_and_children, a_damaged_canary_ends_the_process,
	each_byte_of_the_canary_counts_when_freed_and_when_moved,
	an_overrun_is_found_whatever_byte_it_writes, a_forked_child_reads_nothing,
	is_hidden_from_the_kernels_own_readers, can_be_written_to_a_descriptor,
	takes_ordinary_pages_where_hiding_is_forbidden, a_forked_child_can_have_secrets_of_its_own,
	is_usable_and_says_so_when_nothing_may_be_locked,
	counts_nothing_as_unlocked_below_the_limit, stays_as_it_was_when_there_is_no_memory,
	counts_what_is_in_use, thousands_of_all_sizes_freed_in_random_order_leave_nothing_in_use,
	gives_each_secret_a_place_of_its_own, uses_a_place_again,
	several_threads_allocate_and_free_at_once)
