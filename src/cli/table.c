#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#define GAP 2

struct cell {
	char *string;
	const char *colour;
};

struct table {
	size_t columns;
	struct cell *cells;
	size_t count;
	size_t capacity;
	bool has_failed;
};

struct table *table_new(size_t columns)
{
	struct table *table = calloc(1, sizeof(*table));
	if (table != NULL)
		table->columns = columns;
	return table;
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].string);
	free(table->cells);
	free(table);
}

void table_cleanup(struct table **table)
{
	table_free(*table);
}

void table_add(struct table *table, const char *string, const char *colour)
{
	if (table->has_failed)
		return;
	if (table->count == table->capacity) {
		size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
		struct cell *cells = reallocarray(table->cells, capacity, sizeof(*cells));
		if (cells == NULL) {
			table->has_failed = true;
			return;
		}
		table->cells = cells;
		table->capacity = capacity;
	}
	char *copy = strdup(string == NULL || *string == '\0' ? "-" : string);
	if (copy == NULL) {
		table->has_failed = true;
		return;
	}
	struct cell *cell = &table->cells[table->count++];
	cell->string = copy;
	cell->colour = colour;
}

static size_t column_width(const struct table *table, size_t column)
{
	size_t width = 0;
	for (size_t i = column; i < table->count; i += table->columns) {
		size_t len = strlen(table->cells[i].string);
		if (len > width)
			width = len;
	}
	return width;
}

static void print_cell(const struct cell *cell, size_t max, struct text *out)
{
	size_t len = strlen(cell->string);
	if (cell->colour != NULL)
		text_appendf(out, "\033[%sm", cell->colour);
	if (len <= max) {
		text_append(out, cell->string);
	} else {
		text_append_bytes(out, cell->string, max - 3);
		text_append(out, "...");
	}
	if (cell->colour != NULL)
		text_append(out, "\033[0m");
}

int table_print(const struct table *table, size_t width, struct text *out)
{
	if (table->has_failed || table->columns == 0)
		return -1;
	size_t last = table->columns - 1;
	size_t *widths = calloc(table->columns, sizeof(*widths));
	if (widths == NULL)
		return -1;
	size_t before_last = 0;
	for (size_t column = 0; column < last; column++) {
		widths[column] = column_width(table, column);
		before_last += widths[column] + GAP;
	}
	size_t last_max = SIZE_MAX;
	if (width > 0)
		last_max =
			width > before_last + TABLE_LAST_MIN ? width - before_last : TABLE_LAST_MIN;
	for (size_t i = 0; i < table->count; i++) {
		const struct cell *cell = &table->cells[i];
		size_t column = i % table->columns;
		print_cell(cell, column == last ? last_max : SIZE_MAX, out);
		if (column == last)
			text_append(out, "\n");
		else
			text_appendf(
				out, "%*s", (int)(widths[column] - strlen(cell->string) + GAP), "");
	}
	free(widths);
	return text_string(out) == NULL ? -1 : 0;
}
