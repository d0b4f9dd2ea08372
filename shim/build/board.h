/*
 * What a build shows while it runs: its vertexes (BuildKit's word for what has a line of its own) in one of BuildKit's
 * looks. A vertex is announced, begins, says things and ends; what draws them is told of each change.
 *
 *     b = board_new(BOARD_PLAIN, stderr);
 *     v = board_add(b, "[2/3] RUN x"); board_begin(b, v); board_output(b, v, 1, text, len); board_end(b, v, ...);
 *     board_finish(b); board_free(b);
 *
 * All texts may come from outside: what a terminal would obey is taken out.
 */
#ifndef ATP_SHIM_BUILD_BOARD_H
#define ATP_SHIM_BUILD_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct board;

enum board_look { BOARD_PLAIN, BOARD_TTY, BOARD_QUIET, BOARD_RAWJSON, BOARD_CLASSIC };

struct board *board_new(enum board_look look, FILE *to);
void board_free(struct board *b); /* NULL is fine */

size_t board_add(struct board *b, const char *name);
void board_begin(struct board *b, size_t v); /* once; a second time changes nothing */
/* What the vertex does right now: "transferring context: 29B"; done: that is over. */
void board_status(struct board *b, size_t v, const char *what, bool done);
/* A piece of output, whole lines or not. */
void board_output(struct board *b, size_t v, int fd, const char *text, size_t len);
/* error NULL: it went well. One that has not begun begins with it. */
void board_end(struct board *b, size_t v, bool cached, const char *error);
bool board_begun(const struct board *b, size_t v);
bool board_ended(const struct board *b, size_t v);
/* A line of its own beside all vertexes: a warning. */
void board_note(struct board *b, const char *text);

/* Time goes on: a terminal is drawn anew. Cheap; call it ten times a second. */
void board_tick(struct board *b);
/* The last look; what still ran is left as it is. With a vertex that failed, its last lines are said again. */
void board_finish(struct board *b);

#endif
