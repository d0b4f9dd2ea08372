/*
 * What an ASK is answered with when no process of init's is needed: the session does it itself, in its own process. A
 * kind of answer is a table entry (answer.c); it sends frames to the client as far as credit and the link have room,
 * and ends with answer_done() or answer_refuse(), once. Mounts are pushed before it starts and pulled after it.
 */
#ifndef ATP_AGENT_ANSWER_H
#define ATP_AGENT_ANSWER_H

#include "translate/wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct agent_options;
struct answer;
struct err;
struct link;
struct loop;

struct answer_kind {
    /* Begins; may send, and may end at once. -1: refused, err->exit_code (1 if 0) and text go to the client. */
    int (*start)(struct answer *a, struct err *err);
    /* TREE, TREE_END and PORT frames from the client. -1: it broke the protocol. NULL: none is expected. */
    int (*frame)(struct answer *a, const struct wire_frame *f, struct err *err);
    /* There may be room again, or the main process has ended for good. NULL: the answer never waits. */
    void (*go_on)(struct answer *a);
    /* Releases a->state, whether the answer ended or not. NULL: there is none. */
    void (*clear)(struct answer *a);
    bool follows; /* init is asked to tell the end of the main process when the ask has FOLLOW */
    bool lasts;   /* or in any case; PORT frames are expected, others are not */
};

struct answer {
    const struct answer_kind *kind;
    void *state; /* the kind's own */
    struct loop *loop;
    const struct agent_options *options;
    struct wire_ask ask;
    struct link *client;
    pid_t init_pid;
    uint8_t main_state; /* enum wire_main_state; ENDED as soon as init says so */
    size_t credit;
    bool over;
    struct wire_exit exit;
    void (*ended)(void *arg); /* exit is set */
    void *arg;
};

/* NULL: the kind is init's to answer. */
const struct answer_kind *answer_find(uint8_t kind);

void answer_start(struct answer *a); /* kind, loop, options, ask, client, init_pid, main_state, ended and arg are set */
/* CREDIT, TREE, TREE_END, PORT frames. */
int answer_frame(struct answer *a, const struct wire_frame *f, struct err *err);
void answer_go_on(struct answer *a);
void answer_clear(struct answer *a);

/* ---- for the kinds ---- */

/* How many payload bytes of STDOUT, LOG and TREE may be sent now. */
size_t answer_room(const struct answer *a);
/* One frame; payload bytes of metered types are taken from the room. */
void answer_send(struct answer *a, uint8_t type, const void *payload, size_t len);
/* A text that is there as a whole, as STDOUT: sends from *sent on what there is room for, and ends after the last
 * piece. */
void answer_pour(struct answer *a, const char *text, size_t len, size_t *sent);
void answer_done(struct answer *a);
void answer_refuse(struct answer *a, const struct err *err);

extern const struct answer_kind answer_logs, answer_top, answer_stat, answer_read, answer_write, answer_list,
    answer_volume_save, answer_layer, answer_config, answer_forward, answer_stats;

#endif
