/*
 * A min-heap of things that know their own place in it, ordered by a time: the schedule.
 * The heap owns none of them. One thread.
 */
#ifndef MRTOKEND_BASE_HEAP_H
#define MRTOKEND_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in whatever is scheduled. Zeroed means: in no heap. */
struct heap_node {
	int64_t due_ms; /* changed by heap_put() only */
	size_t position; /* 1 for the first; 0 when in no heap */
	void *owner; /* whatever embeds the node */
};

struct heap {
	struct heap_node **nodes;
	size_t count;
	size_t capacity;
};

/* Make room for `count` nodes in all, so that heap_put() cannot fail. Returns 0, or -1: no memory.
 */
int heap_reserve(struct heap *heap, size_t count);

/* Insert the node, or move it if it is in already. There must be room: see heap_reserve(). */
void heap_put(struct heap *heap, struct heap_node *node, int64_t due_ms);

/* Take the node out, if it is in. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* The node that is due first, or NULL. It stays in. */
struct heap_node *heap_first(const struct heap *heap);

/* Take all nodes out and free the heap's own memory. */
void heap_free(struct heap *heap);

#endif
