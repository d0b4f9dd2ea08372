/*
 * What is to be done, as a list: acts, each on one thing (a container, a network), each of some steps one after the
 * other, and each when those are through that it comes after. Plan first, then acts_run() carries it out, as much at
 * once as may be. A step is a job (jobs.h), mostly one docker command.
 *
 *     struct acts acts = ACTS_INIT;
 *     size_t a = acts_add(&acts, "Container p-db-1"), b = acts_add(&acts, "Container p-web-1");
 *     acts_call(&acts, a, "Starting", "Started", "start", "p-db-1", NULL);
 *     acts_after(&acts, b, a);
 *     ...
 *     acts_run(&acts, app, display, 0, err);
 *     acts_clear(&acts);
 *
 * The first that fails ends all: what has begun is seen through (waiters are ended), nothing more is begun, and err is
 * what it said.
 *
 * In a dry run (app->dry_run) steps are shown and not taken, but for those that only look.
 */
#ifndef ATP_SHIM_COMPOSE_ACTS_H
#define ATP_SHIM_COMPOSE_ACTS_H

#include "compat/base/strlist.h"
#include "shim/compose/jobs.h"

#include <stdint.h>

struct app;
struct display;

enum {
    STEP_FORGIVE = 1 << 0, /* one that fails is as good as one that does not: it is gone already; `failed` is shown as a
                            * warning then */
    STEP_OPTIONAL = 1 << 1, /* one that fails is told as a warning, and what comes after it is done all the same */
    STEP_WAITS = 1 << 2,    /* it changes nothing and may be killed */
    STEP_SILENT = 1 << 3,   /* its failure is not shown beside the thing */
    STEP_TEXT = 1 << 4,     /* "Pulling" is no status but a text: compose's way with images */
    STEP_DOOMS = 1 << 5,    /* its last word is a container that the next step removes: nothing of it is kept */
    STEP_LOOKS = 1 << 6,    /* it changes nothing: it is done in a dry run too */
};

struct step {
    const char *doing, *done; /* "Starting", "Started"; NULL: nothing is shown. A job's own text stands for `done` */
    const char *failed;       /* shown for a failure; NULL: the error itself */
    job_fn *fn;               /* or */
    const char *path;         /* of a docker command, with */
    struct strlist words;
    void *arg; /* fn's; borrowed */
    unsigned flags;
};

struct act {
    char *title;
    struct step *steps;
    size_t len, at;
    size_t *after;
    size_t after_len;
    enum { ACT_WAITS, ACT_WORKS, ACT_DONE, ACT_FAILED } state;
    char *text; /* what its last job said */
};

struct acts {
    struct act *items;
    size_t len;
};

#define ACTS_INIT                                                                                                      \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }
void acts_clear(struct acts *acts);

size_t acts_add(struct acts *acts, const char *title);
/* The next step of the act; the step is valid until another is added to the same act. */
struct step *acts_call(struct acts *acts, size_t act, const char *doing, const char *done, const char *path, ...)
    __attribute__((sentinel));
struct step *acts_do(struct acts *acts, size_t act, const char *doing, const char *done, job_fn *fn, void *arg);
/* `act` begins when `before` is through. */
void acts_after(struct acts *acts, size_t act, size_t before);

/* until_ms: of loop_now(); 0: as long as it takes. ACTS_LATE: the time was over before the end. */
enum { ACTS_LATE = 0x6301 };
int acts_run(struct acts *acts, struct app *app, struct display *d, int64_t until_ms, struct err *err);

#endif
