#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

static void place(struct heap *heap, struct heap_node *node, size_t position)
{
	heap->nodes[position - 1] = node;
	node->position = position;
}

static void sift_up(struct heap *heap, struct heap_node *node)
{
	size_t position = node->position;
	while (position > 1 && heap->nodes[position / 2 - 1]->due_ms > node->due_ms) {
		place(heap, heap->nodes[position / 2 - 1], position);
		position /= 2;
	}
	place(heap, node, position);
}

static void sift_down(struct heap *heap, struct heap_node *node)
{
	size_t position = node->position;
	for (;;) {
		size_t child = 2 * position;
		if (child > heap->count)
			break;
		if (child < heap->count &&
			heap->nodes[child]->due_ms < heap->nodes[child - 1]->due_ms)
			child++;
		if (heap->nodes[child - 1]->due_ms >= node->due_ms)
			break;
		place(heap, heap->nodes[child - 1], position);
		position = child;
	}
	place(heap, node, position);
}

int heap_reserve(struct heap *heap, size_t count)
{
	if (count <= heap->capacity)
		return 0;
	struct heap_node **nodes = reallocarray(heap->nodes, count, sizeof(struct heap_node *));
	if (nodes == NULL)
		return -1;
	heap->nodes = nodes;
	heap->capacity = count;
	return 0;
}

void heap_put(struct heap *heap, struct heap_node *node, int64_t due_ms)
{
	node->due_ms = due_ms;
	if (node->position == 0) {
		assert(heap->count < heap->capacity);
		heap->count++;
		place(heap, node, heap->count);
	}
	sift_up(heap, node);
	sift_down(heap, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	if (node->position == 0)
		return;
	size_t hole = node->position;
	struct heap_node *last = heap->nodes[heap->count - 1];
	heap->count--;
	node->position = 0;
	if (last == node)
		return;
	place(heap, last, hole);
	sift_up(heap, last);
	sift_down(heap, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
	return heap->count == 0 ? NULL : heap->nodes[0];
}

void heap_free(struct heap *heap)
{
	for (size_t i = 0; i < heap->count; i++)
		heap->nodes[i]->position = 0;
	free(heap->nodes);
	*heap = (struct heap){0};
}
