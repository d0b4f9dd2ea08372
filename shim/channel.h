/*
 * A session with a container's agent that stays: a question whose answers come one by one (FOLLOW), or connections
 * (FORWARD). It lives on the caller's loop; what ends of itself is shim/inquiry.h.
 */
#ifndef ATP_SHIM_CHANNEL_H
#define ATP_SHIM_CHANNEL_H

#include "backends/session/session.h"

struct app;
struct channel;
struct modal_task;

/* Called from the loop only. Each may be NULL but `over`. */
struct channel_handlers {
    void (*greeted)(void *arg, const struct session_peer *peer);
    void (*asked)(void *arg, struct session *s); /* the question is on its way: the session may be spoken to */
    void (*line)(void *arg, const char *line);   /* one line of STDOUT, without its newline */
    int (*port)(void *arg, const struct wire_frame *f, struct err *err);
    void (*writable)(void *arg); /* the transport has room again */
    /* Last of all; the channel waits for channel_free(), which this may not call. `ended`: with all said, because the
     * container's process has ended for good; otherwise why tells. */
    void (*over)(void *arg, bool ended, const struct err *why);
};

/* task is borrowed; NULL and err. */
struct channel *channel_open(struct app *app, struct modal_task *task, const struct wire_ask *ask,
                             const struct channel_handlers *handlers, void *arg, struct err *err);
void channel_free(struct channel *c); /* NULL is fine */

#endif
