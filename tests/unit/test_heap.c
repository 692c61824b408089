#include "base/heap.h"

#include "unit.h"

/* Assertions of Check are slow; what is looked at very often is counted and asserted once. */
static bool is_heap(const struct heap *heap)
{
	for (size_t i = 0; i < heap->count; i++) {
		size_t parent = i == 0 ? 0 : (i - 1) / 2;
		if (heap->nodes[i]->position != i + 1 ||
			heap->nodes[parent]->due_ms > heap->nodes[i]->due_ms)
			return false;
	}
	return true;
}

START_TEST(is_empty_when_zeroed)
{
	struct heap heap = {0};
	ck_assert_ptr_null(heap_first(&heap));
	heap_free(&heap);
	heap_free(&heap);
	ck_assert_ptr_null(heap_first(&heap));
}
END_TEST

START_TEST(gives_the_earliest_first_in_every_order_of_insertion)
{
	/* All orders of five times, two of them equal. */
	const int64_t times[5] = {10, -3, 10, INT64_MAX, INT64_MIN};
	for (int order = 0; order < 3125; order++) {
		struct heap heap = {0};
		struct heap_node nodes[5] = {0};
		ck_assert_int_eq(heap_reserve(&heap, 5), 0);
		int digits = order;
		for (int i = 0; i < 5; i++, digits /= 5)
			heap_put(&heap, &nodes[digits % 5], times[digits % 5]);
		bool is_right = is_heap(&heap);
		int64_t last = INT64_MIN;
		while (heap_first(&heap) != NULL) {
			struct heap_node *first = heap_first(&heap);
			heap_remove(&heap, first);
			is_right = is_right && first->due_ms >= last && first->position == 0;
			last = first->due_ms;
		}
		ck_assert_msg(is_right, "order %d", order);
		heap_free(&heap);
	}
}
END_TEST

START_TEST(leaves_the_first_in_when_asked_for_it)
{
	struct heap heap = {0};
	struct heap_node node = {0};
	ck_assert_int_eq(heap_reserve(&heap, 1), 0);
	heap_put(&heap, &node, 7);
	ck_assert_ptr_eq(heap_first(&heap), &node);
	ck_assert_ptr_eq(heap_first(&heap), &node);
	ck_assert_int_eq(node.due_ms, 7);
	heap_free(&heap);
}
END_TEST

START_TEST(moves_a_node_that_is_in_already)
{
	struct heap heap = {0};
	struct heap_node nodes[7] = {0};
	ck_assert_int_eq(heap_reserve(&heap, 7), 0);
	for (int i = 0; i < 7; i++)
		heap_put(&heap, &nodes[i], (int64_t)10 * i);
	heap_put(&heap, &nodes[0], 100);
	ck_assert(is_heap(&heap));
	ck_assert_ptr_eq(heap_first(&heap), &nodes[1]);
	heap_put(&heap, &nodes[6], -1);
	ck_assert(is_heap(&heap));
	ck_assert_ptr_eq(heap_first(&heap), &nodes[6]);
	heap_put(&heap, &nodes[6], -1);
	ck_assert_uint_eq(heap.count, 7);
	heap_free(&heap);
}
END_TEST

START_TEST(removes_from_each_place)
{
	for (size_t count = 1; count <= 32; count++) {
		for (size_t removed = 0; removed < count; removed++) {
			struct heap heap = {0};
			struct heap_node nodes[32] = {0};
			ck_assert_int_eq(heap_reserve(&heap, count), 0);
			for (size_t i = 0; i < count; i++)
				heap_put(&heap, &nodes[i], (int64_t)(i * 19 % 32));
			heap_remove(&heap, &nodes[removed]);
			bool is_right = heap.count == count - 1 && nodes[removed].position == 0 &&
					is_heap(&heap);
			for (size_t i = 0; i < heap.count; i++)
				is_right = is_right && heap.nodes[i] != &nodes[removed];
			ck_assert_msg(is_right, "%zu of %zu", removed, count);
			heap_free(&heap);
		}
	}
}
END_TEST

START_TEST(lets_the_last_rise_when_it_fills_a_hole_under_a_later_parent)
{
	/* The last node, under the right child, is earlier than the left child. */
	struct heap heap = {0};
	struct heap_node nodes[7] = {0};
	const int64_t times[7] = {0, 50, 1, 60, 61, 2, 3};
	ck_assert_int_eq(heap_reserve(&heap, 7), 0);
	for (int i = 0; i < 7; i++)
		heap_put(&heap, &nodes[i], times[i]);
	ck_assert_uint_eq(nodes[3].position, 4);
	heap_remove(&heap, &nodes[3]);
	ck_assert(is_heap(&heap));
	ck_assert_uint_eq(nodes[6].position, 2);
	heap_free(&heap);
}
END_TEST

START_TEST(ignores_removal_of_what_is_not_in)
{
	struct heap heap = {0};
	struct heap_node in = {0};
	struct heap_node out = {.due_ms = 5};
	ck_assert_int_eq(heap_reserve(&heap, 2), 0);
	heap_remove(&heap, &out);
	heap_put(&heap, &in, 1);
	heap_remove(&heap, &out);
	ck_assert_uint_eq(heap.count, 1);
	heap_remove(&heap, &in);
	heap_remove(&heap, &in);
	ck_assert_uint_eq(heap.count, 0);
	heap_free(&heap);
}
END_TEST

START_TEST(keeps_nodes_when_it_grows)
{
	struct heap heap = {0};
	struct heap_node nodes[100] = {0};
	for (size_t i = 0; i < 100; i++) {
		ck_assert_int_eq(heap_reserve(&heap, i + 1), 0);
		heap_put(&heap, &nodes[i], -(int64_t)i);
		ck_assert_ptr_eq(heap_first(&heap), &nodes[i]);
	}
	ck_assert_int_eq(heap_reserve(&heap, 1), 0);
	ck_assert_uint_ge(heap.capacity, 100);
	ck_assert(is_heap(&heap));
	heap_free(&heap);
}
END_TEST

START_TEST(stays_as_it_was_when_there_is_no_memory)
{
	struct heap heap = {0};
	struct heap_node node = {0};
	ck_assert_int_eq(heap_reserve(&heap, 1), 0);
	heap_put(&heap, &node, 3);
	const size_t absurd[] = {SIZE_MAX, SIZE_MAX / sizeof(void *), SIZE_MAX / sizeof(void *) + 1,
		SIZE_MAX / 2 / sizeof(void *)};
	for (size_t i = 0; i < UNIT_COUNT(absurd); i++) {
		ck_assert_int_eq(heap_reserve(&heap, absurd[i]), -1);
		ck_assert_uint_eq(heap.capacity, 1);
		ck_assert_ptr_eq(heap_first(&heap), &node);
	}
	heap_free(&heap);
}
END_TEST

START_TEST(lets_go_of_all_nodes_when_freed)
{
	struct heap heap = {0};
	struct heap_node nodes[5] = {0};
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(heap_reserve(&heap, 5), 0);
		for (int i = 0; i < 5; i++)
			heap_put(&heap, &nodes[i], i);
		heap_free(&heap);
		for (int i = 0; i < 5; i++)
			ck_assert_uint_eq(nodes[i].position, 0);
		ck_assert_ptr_null(heap_first(&heap));
	}
}
END_TEST

/* The model: all nodes in an array, found by looking at each. */
START_TEST(agrees_with_a_plain_list_after_each_of_many_random_steps)
{
	enum { NODES = 200, STEPS = 20000 };
	uint64_t state = unit_seed(__func__);
	struct heap heap = {0};
	static struct heap_node nodes[NODES];
	static bool is_in[NODES];
	static int64_t due_ms[NODES];
	size_t count = 0;
	ck_assert_int_eq(heap_reserve(&heap, NODES), 0);
	for (int i = 0; i < NODES; i++)
		nodes[i].owner = &due_ms[i];
	for (int step = 0; step < STEPS; step++) {
		/* It fills up and runs empty by turns. */
		size_t i = unit_random(&state, NODES);
		bool is_filling = step / (STEPS / 8) % 2 == 0;
		if (unit_random(&state, 100) < (is_filling ? 70 : 20)) {
			due_ms[i] = (int64_t)unit_random(&state, 50) - 25;
			heap_put(&heap, &nodes[i], due_ms[i]);
			count += !is_in[i];
			is_in[i] = true;
		} else {
			heap_remove(&heap, &nodes[i]);
			count -= is_in[i];
			is_in[i] = false;
		}
		bool is_right = heap.count == count;
		int64_t least = INT64_MAX;
		for (int j = 0; j < NODES; j++) {
			is_right = is_right && (nodes[j].position != 0) == is_in[j];
			if (is_in[j] && due_ms[j] < least)
				least = due_ms[j];
		}
		const struct heap_node *first = heap_first(&heap);
		is_right = is_right && (first == NULL) == (count == 0);
		if (first != NULL)
			is_right = is_right && first->due_ms == least &&
				   *(int64_t *)first->owner == least;
		if (!is_right || !is_heap(&heap))
			ck_abort_msg("step %d", step);
	}
	heap_free(&heap);
}
END_TEST

START_TEST(sorts_many_random_times_with_duplicates)
{
	enum { NODES = 5000 };
	uint64_t state = unit_seed(__func__);
	static struct heap_node nodes[NODES];
	static size_t expected[1000];
	struct heap heap = {0};
	ck_assert_int_eq(heap_reserve(&heap, NODES), 0);
	for (int i = 0; i < NODES; i++) {
		uint64_t due = unit_random(&state, UNIT_COUNT(expected));
		expected[due]++;
		heap_put(&heap, &nodes[i], (int64_t)due);
	}
	for (size_t due = 0; due < UNIT_COUNT(expected); due++) {
		for (; expected[due] > 0; expected[due]--) {
			if (heap_first(&heap)->due_ms != (int64_t)due)
				ck_abort_msg("%" PRId64 " where %zu was next",
					heap_first(&heap)->due_ms, due);
			heap_remove(&heap, heap_first(&heap));
		}
	}
	ck_assert_ptr_null(heap_first(&heap));
	heap_free(&heap);
}
END_TEST

UNIT_MAIN("heap", is_empty_when_zeroed, gives_the_earliest_first_in_every_order_of_insertion,
	leaves_the_first_in_when_asked_for_it, moves_a_node_that_is_in_already,
	removes_from_each_place, lets_the_last_rise_when_it_fills_a_hole_under_a_later_parent,
	ignores_removal_of_what_is_not_in, keeps_nodes_when_it_grows,
	stays_as_it_was_when_there_is_no_memory, lets_go_of_all_nodes_when_freed,
	agrees_with_a_plain_list_after_each_of_many_random_steps,
	sorts_many_random_times_with_duplicates)
