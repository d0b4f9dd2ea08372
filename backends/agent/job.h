/*
 * One process that a session asked init to start: its streams, its end, and the credit that holds it back. A job
 * belongs to init. The session's connection may go away at any time; then what the job still writes is read and
 * dropped, so that it never blocks and never gets SIGPIPE for our sake.
 */
#ifndef ATP_AGENT_JOB_H
#define ATP_AGENT_JOB_H

#include "translate/wire/wire.h"

#include <stdbool.h>
#include <sys/types.h>

struct agent_options;
struct job;
struct link;
struct loop;
struct err;

struct job_events {
    /* The process has ended; its streams may still hold output. The last moment to end others that hold them. */
    void (*reaped)(void *arg, struct job *job);
    /* Nothing of it is left: no process and no stream. Free it now or later. */
    void (*gone)(void *arg, struct job *job);
};

/* options, events and arg are borrowed. link gets the job's frames until job_leave(). */
struct job *job_start(struct loop *loop, const struct wire_start *start, const struct agent_options *options,
                      struct link *link, const struct job_events *events, void *arg, struct err *err);
void job_free(struct job *job); /* NULL is fine */

pid_t job_pid(const struct job *job);
bool job_is_main(const struct job *job);
bool job_alive(const struct job *job);    /* not reaped yet */
int job_exit_code(const struct job *job); /* after `reaped`: the exit status, or 128 + the signal */
/* After `reaped`: EXIT is held back until this is called, so that other processes of the container can be ended first.
 */
void job_release(struct job *job);

/* The process was reaped with this status. */
void job_on_reaped(struct job *job, int status);

/* Frames from the session. -1: it broke the protocol. */
int job_frame(struct job *job, const struct wire_frame *f, struct err *err);

/* The session is gone. */
void job_leave(struct job *job);

#endif
