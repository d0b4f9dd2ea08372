/*
 * What goes to a process's stdin: bytes of one session or of several that have joined it, in the order in which they
 * came. Each session has a window of its own, and learns what the process took of it.
 */
#ifndef ATP_AGENT_FEED_H
#define ATP_AGENT_FEED_H

#include "compat/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct err;
struct loop;
struct loop_io;
struct view;

/* Bytes of one session, in a row. */
struct feed_part {
    struct view *view; /* NULL: it has gone, its bytes have not */
    size_t len;
};

struct feed {
    int fd; /* -1: closed; what comes goes nowhere */
    struct loop_io *io;
    bool tty;   /* has no end: closing the master would hang up the process */
    bool ended; /* no more will come */
    struct buf in;
    size_t sent; /* bytes at its start that the process has */
    struct feed_part *parts;
    size_t n_parts, cap_parts;
};

void feed_init(struct feed *f, struct loop *loop, int fd, bool tty);
void feed_close(struct feed *f); /* drops what waits */
/* -1: more than its window. */
int feed_add(struct feed *f, struct view *view, const void *bytes, size_t len, struct err *err);
/* No more will come: closed as soon as everything is written. */
void feed_end(struct feed *f);
void feed_forget(struct feed *f, struct view *view);

#endif
