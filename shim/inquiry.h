/*
 * Things said to agents without a terminal: questions (WIRE_ASK_*), and starts that nobody watches. Several containers
 * can be spoken to at once. What a person sees and types is shim/attach.h.
 */
#ifndef ATP_SHIM_INQUIRY_H
#define ATP_SHIM_INQUIRY_H

#include "backends/session/session.h"
#include "compat/base/buf.h"

#include <stdbool.h>

struct app;
struct binds;
struct modal_task;

#define INQUIRY_OUT_MAX (8u << 20) /* what STDOUT frames may bring: records and lists */

/* cp: what comes and goes beside the answer (WIRE_ASK_READ, _WRITE). Each may be NULL; s is the inquiry's session. */
struct inquiry_tree {
    void (*begun)(void *arg, struct session *s); /* it may be spoken to from now on, until `over` */
    void (*over)(void *arg);
    void (*bytes)(void *arg, const void *bytes, size_t len); /* see session_tree_taken() */
    void (*end)(void *arg);
    void (*stat)(void *arg, const struct wire_frame *stat);
    void (*ready)(void *arg); /* more of session_tree() is taken */
};

struct inquiry {
    /* Given. Everything is borrowed until inquiry_clear(). */
    const char *sandbox_id;
    struct modal_task *task;           /* NULL: opened and freed here */
    struct wire_ask ask;               /* what is asked, unless start is set */
    const struct session_start *start; /* a detached start */
    const struct binds *binds;         /* exchanged around it; NULL: none */
    int64_t patience_ms;               /* for a worker that does not answer yet; 0: the transport's own */
    const struct inquiry_tree *tree;   /* cp; NULL: no tree is expected */
    void *tree_arg;
    bool quiet; /* the session's notes are nobody's business */
    bool alone; /* its end is awaited for long: the end of its sandbox is watched beside it */

    /* Answered. */
    bool done;    /* what follows is valid; otherwise the time was over */
    bool gone;    /* the server does not know the sandbox, or says that it has ended */
    bool greeted; /* the agent spoke: state of the container's process when it did */
    int main_state, main_code;
    int64_t main_started_ns, main_ended_ns;
    uint32_t restarts;
    int health; /* WIRE_HEALTH_* */
    bool paused;
    enum session_end end;
    int code, refusal;
    bool pull_failed;
    bool agent_failed; /* it did not answer, or not as it must; the server may know better */
    struct buf out;    /* STDOUT */
    struct err err;

    struct inquiry_work *work; /* inquiry.c's */
};

void inquiry_init(struct inquiry *q, const char *sandbox_id, uint8_t kind);
void inquiry_clear(struct inquiry *q); /* ask too */

/* Asks them all and turns the loop until each has its answer, or for timeout_ms (0: as long as it takes). */
void inquiry_run(struct app *app, struct inquiry *list, size_t len, int64_t timeout_ms);

/* Whether the answer says that the container's process does not run. */
bool inquiry_not_running(const struct inquiry *q);

#endif
