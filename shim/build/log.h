/*
 * A builder's log as changes of a board. The embedded engine says where each step begins and ends
 * (backends/engine/images.h); Modal's builder says "=> Step 4: RUN x" alone; of others every line is output.
 */
#ifndef ATP_SHIM_BUILD_LOG_H
#define ATP_SHIM_BUILD_LOG_H

#include "compat/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct board;
struct build_plan;

struct build_log {
    struct board *board;
    const struct build_plan *plan;
    size_t current;  /* the step that runs; BUILD_NO_USE = none */
    bool hidden;     /* what runs is one of the stages that we put in ourselves */
    bool labelled;   /* the server says where steps end */
    char *pending;   /* a step that was announced; the line with its label may follow */
    struct buf line; /* of the builder's own remarks */
    size_t other;    /* the vertex for output that belongs to no step; BUILD_NO_USE */
    size_t failed;   /* the step that the log says has failed; BUILD_NO_USE */
    char *error;     /* and why */
};

void build_log_init(struct build_log *l, struct board *board, const struct build_plan *plan);
void build_log_clear(struct build_log *l);
/* modal_log_fn */
void build_log_piece(void *arg, int fd, const char *text);
/* The build has ended: what the log did not say is what the result says. error NULL: well. */
void build_log_end(struct build_log *l, const char *error);

#endif
