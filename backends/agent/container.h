/*
 * The container's own process, the one that START with MAIN made, over all of its lives: started, restarted by its
 * policy, stopped, ended for good. The sessions that have joined it stay through restarts. One per init.
 */
#ifndef ATP_AGENT_CONTAINER_H
#define ATP_AGENT_CONTAINER_H

#include "backends/agent/view.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_options;
struct err;
struct health;
struct keeper;
struct job;
struct job_events;
struct log;
struct loop;
struct loop_timer;
struct names;

enum waiter_kind {
    WAITS_FOR_END,   /* STOP: EXIT is the process's own */
    WAITS_FOR_KILL,  /* SIGNAL KILL: the end, told as 0 */
    WAITS_FOR_START, /* RESTART: the next life */
    WAITS_FOR_HEALTH, /* HEALTH FOLLOW: every change, until the end */
    WAITS_FOR_NAMES   /* NAMES: the hub has told the others */
};

struct waiter {
    struct waiter *next;
    struct view *view;
    enum waiter_kind kind;
};

struct container {
    struct loop *loop;
    const struct agent_options *options;
    const struct job_events *events; /* of its jobs */
    void *arg;
    /* A job is there. For init's list; the container keeps no hold of it once it is gone. */
    void (*made)(void *arg, struct job *job);
    void (*over)(void *arg); /* ended for good */

    struct wire_start start; /* what every life begins with */
    struct views views;
    struct waiter *waiters;
    struct log *log;
    struct health *health; /* NULL: no health check */
    struct names *names;   /* NULL: none were given */
    struct keeper *keeper; /* NULL: no volumes */
    enum { NOT_SAVED, IS_SAVING, IS_SAVED } last_save;
    struct job *job; /* NULL: never started, between two lives, or ended */
    uint8_t state;   /* enum wire_main_state; RUNNING also between two lives */
    struct wire_exit exit;
    int64_t started_ns, ended_ns;
    uint32_t restarts;

    bool dying;      /* its process was reaped; the rest of the container is being ended */
    bool paused;     /* all its processes are stopped */
    bool stopped;    /* by a person: no policy restarts it */
    bool again;      /* RESTART: start it as soon as it has ended */
    bool stdin_over; /* its stdin was ended by the session that fed it */
    int64_t began;   /* loop_now() */
    int64_t back_off;
    struct loop_timer *back_off_timer, *kill_timer;
};

void container_init(struct container *c);
void container_clear(struct container *c);

/* START: takes *start over. view joins. -1: refused. */
int container_start(struct container *c, struct wire_start *start, struct view *view, struct err *err);
/* ATTACH, STOP, SIGNAL, RESTART, HEALTH, PAUSE, UNPAUSE; the answer goes to view, which is the connection's own. -1:
 * refused. */
int container_ask(struct container *c, const struct wire_ask *ask, struct view *view, struct err *err);
/* Frames from a session that has joined it. */
int container_frame(struct container *c, struct view *view, const struct wire_frame *f, struct err *err);
void container_leave(struct container *c, struct view *view);

/* From the job's events. */
void container_started(struct container *c);
void container_reaped(struct container *c);
void container_ended(struct container *c, const struct wire_exit *e);

/* Why nothing may be started in it now, for WIRE_REFUSAL_NOT_RUNNING; NULL: it may. */
const char *container_refusal(const struct container *c);
int container_exit_code(const struct container *c);
/* Ends a pause, if there is one. */
void container_go_on(struct container *c);
/* No more lives: init was told to end. */
void container_stop_restarts(struct container *c);

#endif
