/* Sends what a plan found to the server, has it built, and keeps the result. */
#ifndef ATP_SHIM_BUILD_SOLVE_H
#define ATP_SHIM_BUILD_SOLVE_H

#include "backends/state/state.h"

struct app;
struct board;
struct build_plan;
struct err;

struct build_result {
    struct state_image image;
    char *modal_id;
    bool was_here; /* the state knew the image before */
};
void build_result_clear(struct build_result *r);

/* Images of the plan may come to be meant by the server's ids. */
int build_solve(struct app *app, struct build_plan *p, struct board *board, struct build_result *ret, struct err *err);

#endif
