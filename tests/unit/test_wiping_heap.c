/*
 * Linked with src/base/wiping_heap.c, as the programs are. What was freed is read here, on purpose;
 * the compilers are kept from seeing that it is the same memory.
 */
#include <stdlib.h>

#include "base/wiping_heap.h"

#include "unit.h"

#include <malloc.h>

#if WIPING_HEAP_IS_THERE

/* From the brk heap, and from a mapping of its own (which is gone after free()). */
static const size_t sizes[] = {40, 100, 1000, 1032, 5000, 65536, 120000};

static void *hide(void *pointer)
{
	__asm__ volatile("" : "+r"(pointer) : : "memory");
	return pointer;
}

#define SECRET_LETTER 0xa5

static size_t count_letters(const unsigned char *place, size_t size)
{
	size_t count = 0;
	const volatile unsigned char *bytes = place;
	for (size_t i = 0; i < size; i++)
		count += bytes[i] == SECRET_LETTER;
	return count;
}

/*
 * Into the first four words of what is free the allocator writes links of its own, and its size
 * into the last one, with any bytes in them; between, nothing may be but zeros.
 */
#define LINKS 32
#define FOOT 8

static void assert_wiped(const unsigned char *place, size_t size)
{
	const volatile unsigned char *bytes = place;
	size_t left = 0;
	for (size_t i = LINKS; i + FOOT < size; i++)
		left += bytes[i] != 0;
	ck_assert_msg(left == 0, "%zu bytes of %zu are left", left, size);
	ck_assert_uint_lt(count_letters(place, LINKS), LINKS / 4);
	ck_assert_uint_lt(count_letters(place + size - FOOT, FOOT), FOOT / 2);
}

/* Some memory behind it, so that freeing does not give it back to the system. */
static void *fence(void)
{
	return hide(malloc(64));
}

static void assert_wiped_by_free(unsigned char *place, size_t size)
{
	void *behind = fence();
	unsigned char *seen = hide(place);
	memset(place, SECRET_LETTER, size);
	hide(place);
	ck_assert_uint_eq(count_letters(seen, size), size);
	free(place);
	assert_wiped(seen, size);
	free(behind);
}

START_TEST(wipes_what_is_freed)
{
	for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
		assert_wiped_by_free(malloc(sizes[i]), sizes[i]);
		assert_wiped_by_free(calloc(1, sizes[i]), sizes[i]);
		assert_wiped_by_free(hide(realloc(NULL, sizes[i])), sizes[i]);
	}
}
END_TEST

START_TEST(wipes_to_the_end_of_what_could_be_used)
{
	for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
		unsigned char *place = hide(malloc(sizes[i]));
		assert_wiped_by_free(place, malloc_usable_size(place));
	}
}
END_TEST

START_TEST(wipes_aligned_places)
{
	static const size_t alignments[] = {16, 64, 256, 4096};
	for (size_t i = 0; i < UNIT_COUNT(alignments); i++) {
		size_t alignment = alignments[i];
		void *place = NULL;
		ck_assert_int_eq(posix_memalign(&place, alignment, 1000), 0);
		ck_assert_uint_eq((uintptr_t)place % alignment, 0);
		assert_wiped_by_free(place, 1000);
		place = aligned_alloc(alignment, 4096);
		ck_assert_uint_eq((uintptr_t)place % alignment, 0);
		assert_wiped_by_free(place, 4096);
		place = memalign(alignment, 1000);
		ck_assert_uint_eq((uintptr_t)place % alignment, 0);
		assert_wiped_by_free(place, 1000);
	}
}
END_TEST

START_TEST(wipes_the_old_place_when_it_grows)
{
	for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
		unsigned char *place = malloc(sizes[i]);
		unsigned char *seen = hide(place);
		void *behind = fence();
		size_t usable = malloc_usable_size(place);
		memset(place, SECRET_LETTER, sizes[i]);
		unsigned char *moved = hide(realloc(hide(place), usable + 4000));
		ck_assert_ptr_nonnull(moved);
		ck_assert_uint_eq(count_letters(moved, sizes[i]), sizes[i]);
		ck_assert_ptr_ne(moved, seen);
		assert_wiped(seen, sizes[i]);
		free(moved);
		free(behind);
	}
}
END_TEST

START_TEST(wipes_the_old_place_when_it_shrinks)
{
	unsigned char *place = malloc(10000);
	unsigned char *seen = hide(place);
	void *behind = fence();
	memset(place, SECRET_LETTER, 10000);
	unsigned char *moved = hide(realloc(hide(place), 100));
	ck_assert_uint_eq(count_letters(moved, 100), 100);
	/* Wherever it is now, the rest of the old place is clean, or is still its own. */
	if (moved != seen) {
		assert_wiped(seen, 10000);
		free(moved);
	} else {
		ck_assert_uint_ge(malloc_usable_size(moved), 10000);
		free(moved);
		assert_wiped(seen, 10000);
	}
	free(behind);
}
END_TEST

/* How many are not as keeps_the_content_through_realloc wrote them. */
static size_t count_strangers(const unsigned char *place, size_t size)
{
	size_t count = 0;
	for (size_t i = 0; i < size; i++)
		count += place[i] != i % 251;
	return count;
}

START_TEST(keeps_the_content_through_realloc)
{
	unsigned char *place = NULL;
	size_t written = 0;
	for (size_t size = 1; size <= 300000; size += 1 + size / 3) {
		place = realloc(place, size);
		ck_assert_ptr_nonnull(place);
		ck_assert_uint_eq(count_strangers(place, written), 0);
		for (; written < size; written++)
			place[written] = (unsigned char)(written % 251);
	}
	for (size_t size = 200000; size > 1; size /= 2) {
		place = realloc(place, size);
		ck_assert_ptr_nonnull(place);
		ck_assert_uint_eq(count_strangers(place, size), 0);
	}
	free(place);
}
END_TEST

START_TEST(treats_null_and_zero_as_the_library_does)
{
	free(NULL);
	void *place = realloc(NULL, 100);
	ck_assert_ptr_nonnull(place);
	memset(place, SECRET_LETTER, 100);
	unsigned char *seen = hide(place);
	void *behind = fence();
	ck_assert_ptr_null(hide(realloc(hide(place), 0)));
	assert_wiped(seen, 100);
	free(behind);
	/* Zero bytes are something that can be freed. */
	place = hide(malloc(0));
	ck_assert_ptr_nonnull(place);
	free(place);
	place = hide(calloc(0, 5));
	ck_assert_ptr_nonnull(place);
	free(place);
	place = hide(realloc(NULL, 0));
	ck_assert_ptr_nonnull(place);
	free(place);
}
END_TEST

START_TEST(leaves_the_place_as_it_was_when_it_cannot_grow)
{
	unsigned char *place = malloc(100);
	unsigned char *kept = hide(place);
	memset(place, SECRET_LETTER, 100);
	size_t absurd = SIZE_MAX / 2 + 1;
	__asm__ volatile("" : "+r"(absurd));
	ck_assert_ptr_null(hide(realloc(hide(place), absurd)));
	ck_assert_uint_eq(count_letters(kept, 100), 100);
	free(kept);
	ck_assert_ptr_null(hide(malloc(absurd)));
	ck_assert_ptr_null(hide(calloc(absurd, 4))); /* the product is 0 in a size_t */
	void *aligned = &absurd;
	ck_assert_int_ne(posix_memalign(&aligned, 64, absurd), 0);
	ck_assert_ptr_eq(aligned, &absurd);
}
END_TEST

START_TEST(gives_zeros_where_they_are_asked_for)
{
	size_t not_zero = 0;
	for (int round = 0; round < 100; round++) {
		unsigned char *place = calloc(7, 300);
		for (size_t i = 0; i < 2100; i++)
			not_zero += place[i] != 0;
		memset(place, SECRET_LETTER, 2100);
		free(place);
	}
	ck_assert_uint_eq(not_zero, 0);
}
END_TEST

/* What the library allocates and frees inside goes the same way. */
START_TEST(wipes_what_the_library_frees)
{
	unsigned char *place = reallocarray(NULL, 10, 50);
	unsigned char *seen = hide(place);
	void *behind = fence();
	memset(place, SECRET_LETTER, 500);
	place = hide(reallocarray(hide(place), 100, 50));
	ck_assert_uint_eq(count_letters(place, 500), 500);
	assert_wiped(seen, 500);
	free(place);
	free(behind);
	char *copy = strdup("a sentence that is long enough to be seen behind the links");
	seen = hide(copy);
	free(copy);
	assert_wiped(seen, 50);
	/* A stream's buffer, freed in fclose(). */
	FILE *file = tmpfile();
	ck_assert_ptr_nonnull(file);
	unsigned char letters[512];
	memset(letters, SECRET_LETTER, sizeof(letters));
	ck_assert_uint_eq(fwrite(letters, 1, sizeof(letters), file), sizeof(letters));
	ck_assert_int_eq(fflush(file), 0);
	seen = hide(file->_IO_buf_base);
	ck_assert_uint_eq(count_letters(seen, sizeof(letters)), sizeof(letters));
	behind = fence();
	fclose(file);
	assert_wiped(seen, sizeof(letters));
	free(behind);
}
END_TEST

UNIT_MAIN("wiping_heap", wipes_what_is_freed, wipes_to_the_end_of_what_could_be_used,
	wipes_aligned_places, wipes_the_old_place_when_it_grows,
	wipes_the_old_place_when_it_shrinks, keeps_the_content_through_realloc,
	treats_null_and_zero_as_the_library_does, leaves_the_place_as_it_was_when_it_cannot_grow,
	gives_zeros_where_they_are_asked_for, wipes_what_the_library_frees)

#else

START_TEST(is_left_out_under_a_sanitizer)
{
	puts("the wiping heap is compiled out of this build: nothing to check");
	ck_assert_int_eq(WIPING_HEAP_IS_THERE, 0);
}
END_TEST

UNIT_MAIN("wiping_heap", is_left_out_under_a_sanitizer)

#endif
