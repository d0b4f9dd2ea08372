/*
 * Work on several containers at the same time, each piece by a process of its own: a piece is what one docker command
 * does, and one that hangs or is killed holds up nobody else. What comes of it is told through a pipe.
 *
 *     struct jobs *jobs = jobs_new(app);
 *     jobs_add(jobs, start_it, &thing, thing); ...
 *     while (jobs_next(jobs, 100, &end) > 0) ...           end.token is `thing`
 *     jobs_free(jobs);
 *
 * A process is made from this one and opens the state and the server for itself, so while there are jobs nothing of
 * `app` may be open: jobs_add() closes it all, what needs it opens it again. Files with close-on-exec that this process
 * holds, a lock for example, stay held until the last job is over, also when this process is killed.
 */
#ifndef ATP_SHIM_COMPOSE_JOBS_H
#define ATP_SHIM_COMPOSE_JOBS_H

#include "compat/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct app;
struct jobs;

/* *ret_text, a line for whoever waits, may be set: owned by the job. What it prints on stdout goes nowhere. */
typedef int job_fn(struct app *app, void *arg, char **ret_text, struct err *err);

struct job_end {
    void *token;
    bool ok;
    char *text;     /* "" or what the job said; owned by caller */
    struct err err; /* when it is not ok; owned by caller */
};

struct jobs *jobs_new(struct app *app);
void jobs_free(struct jobs *jobs); /* waits for those that are still at work */

/* arg must stay as it is until the job has begun, which may be later: at most --parallel at once, waiters not counted.
 */
void jobs_add(struct jobs *jobs, job_fn *fn, void *arg, void *token, bool waiter);
bool jobs_busy(const struct jobs *jobs);

/* The next one that is over: 1. 0: the time is over (timeout_ms, -1: for ever) or there is none at work. */
int jobs_next(struct jobs *jobs, int64_t timeout_ms, struct job_end *ret);

/* Those that were added as waiters are killed: they change nothing. */
void jobs_end_waiters(struct jobs *jobs);

/*
 * For jobs: a docker command, with what it says on stderr as the error, where its exit code is not 0; else that is
 * passed on to stderr. *ret_text: what it says on stdout, without the last newline.
 */
struct strlist;
int jobs_command(struct app *app, const char *path, const struct strlist *words, char **ret_text, struct err *err);
/* The same; what it says on stderr without failing is dropped. */
int jobs_command_quiet(struct app *app, const char *path, const struct strlist *words, char **ret_text,
                       struct err *err);

/* Closes what app holds open, but for what its command line said. */
void jobs_rest(struct app *app);

#endif
