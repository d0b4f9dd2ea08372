/*
 * One framed connection on a loop: a descriptor to read, one to write (they may be the same), a parser and a queue.
 * Sending never blocks and never fails visibly; a broken connection is told once, by closed().
 */
#ifndef ATP_AGENT_LINK_H
#define ATP_AGENT_LINK_H

#include "translate/wire/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_io;
struct err;

struct link_events {
    /* A frame came. -1 with err: the peer is to be dropped; closed() follows. */
    int (*frame)(void *arg, const struct wire_frame *f, struct err *err);
    /* The stream ended (why is NULL) or broke. Comes once, never from within link_send(). */
    void (*closed)(void *arg, const char *why);
    /* The queue has fallen below LINK_LOW. May be NULL. */
    void (*drained)(void *arg);
};

#define LINK_LOW  (256u << 10) /* when to produce more bulk data */
#define LINK_HIGH (1u << 20)   /* when to stop; what is metered by credit may still be added */

struct link {
    struct loop *loop;
    int in, out;
    struct loop_io *in_io, *out_io;
    struct wire_parser parser;
    struct buf queue; /* put frames here, then link_send() */
    size_t sent;      /* bytes at its start that are written already */
    bool paused, closed, broken;
    bool parsing;         /* frames are being handed out further up the stack */
    int64_t heard, spoke; /* loop_now() of the last bytes each way */
    const struct link_events *events;
    void *arg;
};

/* Makes both descriptors non-blocking; they stay the caller's. */
void link_init(struct link *l, struct loop *loop, int in, int out, const struct link_events *events, void *arg);
void link_clear(struct link *l);

/* Writes what it can of the queue now, the rest when the descriptor is ready. */
void link_send(struct link *l);
size_t link_pending(const struct link *l);

/* While paused no frame is handed out and nothing more is read. */
void link_pause(struct link *l, bool paused);

/* Writes the queue out, waiting at most ms: for the last words before an exit. */
void link_flush(struct link *l, int64_t ms);

#endif
