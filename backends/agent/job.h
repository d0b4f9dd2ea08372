/*
 * One process that a session asked init to start: its streams, its end, and the credit that holds it back. A job
 * belongs to init. The sessions that listen may go away at any time; then what the job still writes is read and
 * dropped, so that it never blocks and never gets SIGPIPE for our sake.
 */
#ifndef ATP_AGENT_JOB_H
#define ATP_AGENT_JOB_H

#include "translate/wire/wire.h"

#include <stdbool.h>
#include <sys/types.h>

struct agent_options;
struct job;
struct log;
struct loop;
struct view;
struct views;
struct err;

struct job_events {
    /* Its program runs; those who listen have been told. */
    void (*started)(void *arg, struct job *job);
    /* The process has ended; its streams may still hold output. The last moment to end others that hold them. */
    void (*reaped)(void *arg, struct job *job);
    /* Its output is delivered, or dropped where nobody listened: e says how it ended. Comes after job_release(). */
    void (*ended)(void *arg, struct job *job, const struct wire_exit *e);
    /* Nothing of it is left: no process and no stream. Free it now or later. */
    void (*gone)(void *arg, struct job *job);
};

/* Everything but start is borrowed until job_free(); log may be NULL. */
struct job_context {
    struct loop *loop;
    const struct agent_options *options;
    struct views *views; /* who listens; sessions come and go */
    struct log *log;
    const struct job_events *events;
    void *arg;
};
struct job *job_start(const struct job_context *context, const struct wire_start *start, struct err *err);
void job_free(struct job *job); /* NULL is fine */

pid_t job_pid(const struct job *job);
bool job_is_main(const struct job *job);
bool job_alive(const struct job *job);    /* not reaped yet */
bool job_runs(const struct job *job);     /* its program was started; false while that is being found out */
int job_exit_code(const struct job *job); /* after `reaped`: the exit status, or 128 + the signal */
/* After `reaped`: the end is held back until this is called, so that other processes of the container can be ended
 * first. */
void job_release(struct job *job);

/* The process was reaped with this status. */
void job_on_reaped(struct job *job, int status);

/* STDIN, STDIN_EOF, RESIZE, SIGNAL, CREDIT, CLOSE from a session. -1: it broke the protocol. */
int job_frame(struct job *job, struct view *view, const struct wire_frame *f, struct err *err);
/* To the process, or its group; kept until its program runs. */
void job_signal(struct job *job, int signo, bool group);
void job_end_stdin(struct job *job);
/* Somebody's room has changed. */
void job_views_changed(struct job *job);
/* A session is gone; it has left the views already. */
void job_leave(struct job *job, struct view *view);

#endif
