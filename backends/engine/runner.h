/*
 * What carries out a build's RUN: the bridge between builds, which live in threads of their own, and the runtime, which
 * belongs to the loop. A thread asks and waits; the loop makes the container, passes its output on and says how it
 * ended.
 */
#ifndef ATP_ENGINE_RUNNER_H
#define ATP_ENGINE_RUNNER_H

#include "backends/engine/images.h"

struct rt;
struct runner;

struct runner *runner_new(uv_loop_t *loop, struct rt *rt); /* rt is borrowed */
/* After rt_free(), and when no build is under way. */
void runner_free(struct runner *r);

/* An images_run_fn; arg is the runner. */
int runner_run(const struct images_run *run, int *ret_code, void *arg, struct err *err);

#endif
