/*
 * Columns of text, as wide as their widest cell and two spaces apart. Printable ASCII only.
 */
#ifndef MRTOKEND_CLI_TABLE_H
#define MRTOKEND_CLI_TABLE_H

#include "base/text.h"

struct table;

/* A table of `columns` columns. NULL when there is no memory. */
struct table *table_new(size_t columns);
void table_free(struct table *table);

void table_cleanup(struct table **table);
#define _cleanup_table_ __attribute__((cleanup(table_cleanup)))

/*
 * Add the next cell, row after row. A failed allocation sticks and fails table_print().
 *
 * string  copied; NULL or empty stands as "-"
 * colour  parameters of the terminal's "select graphic rendition", such as "32"; static, or NULL
 */
void table_add(struct table *table, const char *string, const char *colour);

/*
 * Append all rows, a line each. No line ends in white space.
 *
 * width  the last column is cut to end there, but not below `TABLE_LAST_MIN`; 0: nothing is cut
 *
 * Returns 0, or -1 when there was no memory.
 */
#define TABLE_LAST_MIN 10
int table_print(const struct table *table, size_t width, struct text *out);

#endif
