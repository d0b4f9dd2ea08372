/*
 * Docker's column tables (Go's tabwriter): text with tabs comes in, columns padded with blanks come out. A column is a
 * run of lines that all have a tab there; it is as wide as its widest cell plus the padding, and at least min_width.
 * What follows a line's last tab is not padded. Width counts characters, not bytes.
 */
#ifndef ATP_DOCKER_TABLE_H
#define ATP_DOCKER_TABLE_H

#include <stddef.h>

struct buf;

#define TABLE_MIN_WIDTH 10 /* lists: ps, images, volume ls ... */
#define TABLE_PADDING   3
#define TABLE_MIN_WIDE  20 /* stats, top, system df */

void table_align(const char *text, size_t len, size_t min_width, size_t padding, struct buf *out);

#endif
