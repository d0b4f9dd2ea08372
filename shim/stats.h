/* What containers use: the agents count, once a second; what is shown is what changed between two counts. */
#ifndef ATP_SHIM_STATS_H
#define ATP_SHIM_STATS_H

#include <stdbool.h>

struct app;
struct err;
struct state_container;
struct strlist;

struct stats_request {
    const struct strlist *words; /* these containers; NULL: all that run, of those that `takes` takes (NULL: all) */
    bool (*takes)(const struct state_container *row, void *arg);
    void *arg;
    const char *format;
    bool no_trunc;
    bool once;     /* --no-stream */
    bool with_all; /* those too that do not run */
};

/* Until they have ended or a signal came. The program's exit code, or -1 with err. */
int stats_show(struct app *app, const struct stats_request *req, struct err *err);

#endif
