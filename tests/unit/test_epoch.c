#include "base/epoch.h"

#include "unit.h"

#include <sched.h>

/* Counts how often it was freed; nothing that is freed here is given back before the test ends. */
struct thing {
	int frees;
	struct epoch *retires_into;
	struct thing *retires;
};

static void thing_free(void *object)
{
	struct thing *thing = object;
	thing->frees++;
	if (thing->retires != NULL)
		epoch_retire(thing->retires_into, thing->retires, thing_free);
}

START_TEST(frees_at_once_when_no_reader_is_inside)
{
	struct epoch epoch;
	struct thing thing = {0};
	epoch_init(&epoch);
	ck_assert(!epoch_reclaim(&epoch));
	epoch_retire(&epoch, &thing, thing_free);
	ck_assert_int_eq(thing.frees, 0); /* on the thread that reclaims, not on this one */
	ck_assert(!epoch_reclaim(&epoch));
	ck_assert_int_eq(thing.frees, 1);
	ck_assert(!epoch_reclaim(&epoch));
	ck_assert_int_eq(thing.frees, 1);
	epoch_destroy(&epoch);
	ck_assert_int_eq(thing.frees, 1);
}
END_TEST

START_TEST(waits_for_each_reader_that_was_inside)
{
	for (unsigned reader = 0; reader < EPOCH_READERS_MAX; reader++) {
		struct epoch epoch;
		struct thing thing = {0};
		epoch_init(&epoch);
		epoch_enter(&epoch, reader);
		epoch_retire(&epoch, &thing, thing_free);
		ck_assert(epoch_reclaim(&epoch));
		ck_assert(epoch_reclaim(&epoch));
		ck_assert_int_eq(thing.frees, 0);
		epoch_leave(&epoch, reader);
		ck_assert(!epoch_reclaim(&epoch));
		ck_assert_int_eq(thing.frees, 1);
		epoch_destroy(&epoch);
	}
}
END_TEST

START_TEST(waits_for_the_last_of_all_readers)
{
	struct epoch epoch;
	struct thing thing = {0};
	epoch_init(&epoch);
	for (unsigned reader = 0; reader < EPOCH_READERS_MAX; reader++)
		epoch_enter(&epoch, reader);
	epoch_retire(&epoch, &thing, thing_free);
	for (unsigned reader = 0; reader < EPOCH_READERS_MAX; reader++) {
		ck_assert(epoch_reclaim(&epoch));
		ck_assert_int_eq(thing.frees, 0);
		/* In an order of its own. */
		epoch_leave(&epoch, reader * 5 % EPOCH_READERS_MAX);
	}
	ck_assert(!epoch_reclaim(&epoch));
	ck_assert_int_eq(thing.frees, 1);
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(waits_for_no_reader_that_entered_later)
{
	struct epoch epoch;
	struct thing thing = {0};
	epoch_init(&epoch);
	epoch_retire(&epoch, &thing, thing_free);
	epoch_enter(&epoch, 3);
	ck_assert(!epoch_reclaim(&epoch));
	ck_assert_int_eq(thing.frees, 1);
	epoch_leave(&epoch, 3);
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(waits_no_more_for_a_reader_that_came_back)
{
	struct epoch epoch;
	struct thing thing = {0};
	epoch_init(&epoch);
	epoch_enter(&epoch, 0);
	epoch_retire(&epoch, &thing, thing_free);
	epoch_leave(&epoch, 0);
	epoch_enter(&epoch, 0);
	ck_assert(!epoch_reclaim(&epoch));
	ck_assert_int_eq(thing.frees, 1);
	epoch_leave(&epoch, 0);
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(frees_the_old_and_keeps_what_a_reader_may_still_see)
{
	/* Readers enter between the retirements; leaving from the first on frees one after another.
	 */
	struct epoch epoch;
	struct thing things[EPOCH_READERS_MAX] = {0};
	epoch_init(&epoch);
	for (unsigned i = 0; i < EPOCH_READERS_MAX; i++) {
		epoch_enter(&epoch, i);
		epoch_retire(&epoch, &things[i], thing_free);
	}
	for (unsigned left = 0; left <= EPOCH_READERS_MAX; left++) {
		ck_assert_int_eq(epoch_reclaim(&epoch), left < EPOCH_READERS_MAX);
		for (unsigned i = 0; i < EPOCH_READERS_MAX; i++)
			ck_assert_int_eq(things[i].frees, i < left);
		if (left < EPOCH_READERS_MAX)
			epoch_leave(&epoch, left);
	}
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(frees_each_object_once_with_its_own_function)
{
	struct epoch epoch;
	struct thing things[100] = {0};
	epoch_init(&epoch);
	for (size_t i = 0; i < UNIT_COUNT(things); i++) {
		if (i == 50)
			epoch_enter(&epoch, 1);
		epoch_retire(&epoch, &things[i], thing_free);
		/* Of the heap, so that a sanitizer sees if it is not freed, or by another function.
		 */
		epoch_retire(&epoch, malloc(16), free);
	}
	ck_assert(epoch_reclaim(&epoch));
	for (size_t i = 0; i < UNIT_COUNT(things); i++)
		ck_assert_int_eq(things[i].frees, i < 50);
	epoch_leave(&epoch, 1);
	ck_assert(!epoch_reclaim(&epoch));
	for (size_t i = 0; i < UNIT_COUNT(things); i++)
		ck_assert_int_eq(things[i].frees, 1);
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(ignores_null)
{
	struct epoch epoch;
	epoch_init(&epoch);
	epoch_retire(&epoch, NULL, thing_free);
	ck_assert(!epoch_reclaim(&epoch));
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(lets_a_free_function_retire_more)
{
	struct epoch epoch;
	struct thing second = {0};
	epoch_init(&epoch);
	struct thing first = {.retires_into = &epoch, .retires = &second};
	epoch_retire(&epoch, &first, thing_free);
	ck_assert(epoch_reclaim(&epoch));
	ck_assert_int_eq(first.frees, 1);
	ck_assert_int_eq(second.frees, 0);
	ck_assert(!epoch_reclaim(&epoch));
	ck_assert_int_eq(second.frees, 1);
	epoch_destroy(&epoch);
}
END_TEST

START_TEST(frees_all_that_is_left_when_destroyed)
{
	struct epoch epoch;
	struct thing things[4] = {0};
	epoch_init(&epoch);
	epoch_enter(&epoch, 0);
	things[2].retires_into = &epoch;
	things[2].retires = &things[3];
	for (size_t i = 0; i < 3; i++)
		epoch_retire(&epoch, &things[i], thing_free);
	ck_assert(epoch_reclaim(&epoch));
	epoch_leave(&epoch, 0);
	epoch_destroy(&epoch);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(things[i].frees, 1);
}
END_TEST

/* ---- readers and writers at once ---------------------------------------------------------------
 */

/*
 * What is published. Its fields are plain, so that ThreadSanitizer sees a read that is not ordered
 * before the free; freeing poisons, so that the reader itself sees it too.
 */
enum { POISON = 0x5a5a5a5a, FIELDS = 8 };

struct object {
	uint32_t fields[FIELDS]; /* all the same, and not POISON */
};

struct scene {
	struct epoch epoch;
	_Atomic(struct object *) published[2];
	struct object *objects[2]; /* each writer's own */
	size_t per_writer;
	unsigned writers;
	atomic_uint writers_left;
	atomic_uint ready;
	atomic_size_t freed;
	atomic_size_t damaged; /* by whom it was seen; none may be */
};

static struct scene scene;

static void object_free(void *argument)
{
	struct object *object = argument;
	if (object->fields[0] == POISON)
		atomic_fetch_add(&scene.damaged, 1); /* twice */
	for (size_t i = 0; i < FIELDS; i++)
		object->fields[i] = POISON;
	atomic_fetch_add(&scene.freed, 1);
}

static void wait_for_all(unsigned threads)
{
	atomic_fetch_add(&scene.ready, 1);
	while (atomic_load(&scene.ready) < threads)
		sched_yield();
}

struct reader {
	unsigned number;
	unsigned threads;
	uint32_t last; /* read, so that reading is not left out */
};

static void *read_published(void *argument)
{
	struct reader *reader = argument;
	size_t damaged = 0;
	wait_for_all(reader->threads);
	for (size_t round = 0; round < 1000 || atomic_load(&scene.writers_left) > 0; round++) {
		epoch_enter(&scene.epoch, reader->number);
		const struct object *object = atomic_load(&scene.published[round % scene.writers]);
		uint32_t first = object->fields[0];
		if (round % 64 == 0)
			sched_yield(); /* the writer goes on meanwhile */
		for (size_t i = 0; i < FIELDS; i++) {
			uint32_t field = ((const volatile struct object *)object)->fields[i];
			damaged += field != first || field == POISON;
		}
		reader->last = first;
		epoch_leave(&scene.epoch, reader->number);
	}
	atomic_fetch_add(&scene.damaged, damaged);
	return NULL;
}

struct writer {
	unsigned number;
	unsigned threads;
};

static void *replace_published(void *argument)
{
	const struct writer *writer = argument;
	wait_for_all(writer->threads);
	for (size_t i = 1; i < scene.per_writer; i++) {
		struct object *fresh = &scene.objects[writer->number][i];
		for (size_t j = 0; j < FIELDS; j++)
			fresh->fields[j] = (uint32_t)i;
		struct object *old = atomic_exchange(&scene.published[writer->number], fresh);
		epoch_retire(&scene.epoch, old, object_free);
		if (i % 3 != 0)
			epoch_reclaim(&scene.epoch);
		if (i % 256 == 0)
			sched_yield();
	}
	atomic_fetch_sub(&scene.writers_left, 1);
	return NULL;
}

static void play(unsigned readers, unsigned writers, size_t per_writer)
{
	memset(&scene, 0, sizeof(scene));
	epoch_init(&scene.epoch);
	scene.per_writer = per_writer;
	scene.writers = writers;
	atomic_store(&scene.writers_left, writers);
	for (unsigned i = 0; i < writers; i++) {
		scene.objects[i] = calloc(per_writer, sizeof(struct object));
		ck_assert_ptr_nonnull(scene.objects[i]);
		atomic_store(&scene.published[i], &scene.objects[i][0]);
	}
	pthread_t threads[EPOCH_READERS_MAX + 2];
	struct reader reading[EPOCH_READERS_MAX];
	struct writer writing[2];
	for (unsigned i = 0; i < readers; i++) {
		reading[i] = (struct reader){.number = i, .threads = readers + writers};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_published, &reading[i]), 0);
	}
	for (unsigned i = 0; i < writers; i++) {
		writing[i] = (struct writer){.number = i, .threads = readers + writers};
		ck_assert_int_eq(
			pthread_create(&threads[readers + i], NULL, replace_published, &writing[i]),
			0);
	}
	for (unsigned i = 0; i < readers + writers; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(atomic_load(&scene.damaged), 0);
	epoch_reclaim(&scene.epoch);
	ck_assert_uint_eq(atomic_load(&scene.freed), writers * (per_writer - 1));
	for (unsigned i = 0; i < writers; i++) {
		const struct object *last = atomic_load(&scene.published[i]);
		ck_assert_ptr_eq(last, &scene.objects[i][per_writer - 1]);
		ck_assert_uint_ne(last->fields[0], POISON);
	}
	epoch_destroy(&scene.epoch);
	ck_assert_uint_eq(atomic_load(&scene.freed), writers * (per_writer - 1));
	for (unsigned i = 0; i < writers; i++)
		free(scene.objects[i]);
}

START_TEST(no_reader_sees_a_freed_object)
{
	play(1, 1, 50000);
	play(3, 1, 20000);
}
END_TEST

START_TEST(no_reader_sees_a_freed_object_with_two_writers)
{
	play(2, 2, 20000);
	play(EPOCH_READERS_MAX, 2, 5000);
}
END_TEST

/*
 * The ordering that all rests on: either the writer, having replaced the pointer, sees the reader
 * inside, or the reader, having entered, sees the new pointer. Both missing the other is what a
 * store that waits in the processor while a load goes ahead brings about.
 */
enum { MEETINGS = 100000 };

static struct {
	struct epoch epoch;
	_Alignas(64) atomic_uintptr_t published;
	_Alignas(64) atomic_size_t arrived;
	bool saw_old; /* of the reader, in this meeting */
} crossing;

/* Both threads get here before either goes on. */
static void meet(size_t *meeting)
{
	*meeting += 2;
	atomic_fetch_add(&crossing.arrived, 1);
	for (unsigned spins = 0; atomic_load(&crossing.arrived) < *meeting; spins++)
		if (spins > 1000)
			sched_yield();
}

/* Who is last to arrive goes on first; a little time shifts the two against each other. */
static void dally(unsigned turns)
{
	for (volatile unsigned turn = 0; turn < turns; turn++)
		;
}

static void *enter_and_look(void *argument)
{
	(void)argument;
	size_t meeting = 0;
	for (int i = 0; i < MEETINGS; i++) {
		meet(&meeting);
		dally((unsigned)i % 61);
		epoch_enter(&crossing.epoch, 0);
		crossing.saw_old = atomic_load(&crossing.published) == 0;
		meet(&meeting);
		epoch_leave(&crossing.epoch, 0);
		meet(&meeting);
	}
	return NULL;
}

START_TEST(writer_sees_the_reader_or_the_reader_sees_the_new)
{
	pthread_t reader;
	epoch_init(&crossing.epoch);
	ck_assert_int_eq(pthread_create(&reader, NULL, enter_and_look, NULL), 0);
	size_t meeting = 0;
	size_t missed = 0;
	for (int i = 0; i < MEETINGS; i++) {
		meet(&meeting);
		dally((unsigned)i % 67);
		atomic_exchange(&crossing.published, 1);
		bool saw_reader = atomic_load(&crossing.epoch.readers[0]) != 0;
		meet(&meeting);
		missed += !saw_reader && crossing.saw_old;
		atomic_store(&crossing.published, 0);
		meet(&meeting);
	}
	ck_assert_int_eq(pthread_join(reader, NULL), 0);
	ck_assert_uint_eq(missed, 0);
	epoch_destroy(&crossing.epoch);
}
END_TEST

/* ---- without memory ----------------------------------------------------------------------------
 */

#if !UNIT_HAS_SANITIZER
static struct epoch starved;
static struct thing starved_thing;
static atomic_int stage;
static atomic_int frees_seen_inside;

static void counted_free(void *object)
{
	thing_free(object);
	atomic_store(&stage, 3);
}

static void *stay_inside(void *argument)
{
	(void)argument;
	epoch_enter(&starved, 2);
	atomic_store(&stage, 1);
	while (atomic_load(&stage) < 2)
		sched_yield();
	for (int i = 0; i < 1000; i++) {
		sched_yield();
		if (atomic_load(&stage) == 3)
			atomic_fetch_add(&frees_seen_inside, 1);
	}
	epoch_leave(&starved, 2);
	return NULL;
}

static void retire_without_memory(void *argument)
{
	bool has_reader = *(bool *)argument;
	epoch_init(&starved);
	pthread_t thread;
	if (has_reader) {
		if (pthread_create(&thread, NULL, stay_inside, NULL) != 0)
			_exit(10);
		while (atomic_load(&stage) < 1)
			sched_yield();
	}
	unit_exhaust_memory();
	atomic_store(&stage, 2);
	epoch_retire(&starved, &starved_thing, counted_free);
	if (starved_thing.frees != 1)
		_exit(11);
	if (has_reader && pthread_join(thread, NULL) != 0)
		_exit(12);
	if (atomic_load(&frees_seen_inside) != 0)
		_exit(13);
	if (epoch_reclaim(&starved))
		_exit(14);
	epoch_destroy(&starved);
	if (starved_thing.frees != 1)
		_exit(15);
}

START_TEST(frees_at_once_without_memory)
{
	bool has_reader = false;
	unit_assert_exited(unit_in_child(retire_without_memory, &has_reader), 0);
}
END_TEST

START_TEST(waits_for_readers_without_memory)
{
	bool has_reader = true;
	unit_assert_exited(unit_in_child(retire_without_memory, &has_reader), 0);
}
END_TEST
#else
#define frees_at_once_without_memory NULL
#define waits_for_readers_without_memory NULL
#endif

UNIT_MAIN("epoch", frees_at_once_when_no_reader_is_inside, waits_for_each_reader_that_was_inside,
	waits_for_the_last_of_all_readers, waits_for_no_reader_that_entered_later,
	waits_no_more_for_a_reader_that_came_back,
	frees_the_old_and_keeps_what_a_reader_may_still_see,
	frees_each_object_once_with_its_own_function, ignores_null,
	lets_a_free_function_retire_more, frees_all_that_is_left_when_destroyed,
	no_reader_sees_a_freed_object, no_reader_sees_a_freed_object_with_two_writers,
	writer_sees_the_reader_or_the_reader_sees_the_new, frees_at_once_without_memory,
	waits_for_readers_without_memory)
