/*
 * What carries out a build's RUN: the bridge between builds, which live in threads of their own, and the runtime, which
 * belongs to the loop. A thread asks and waits; the loop makes the container, passes its output on and says how it
 * ended.
 */
#ifndef ATP_ENGINE_RUNNER_H
#define ATP_ENGINE_RUNNER_H

#include "backends/engine/images.h"

#include <stdbool.h>

struct rt;
struct runner;

/* rt is borrowed. host_network: RUN --network=host gets the machine's own network, else it is refused. */
struct runner *runner_new(uv_loop_t *loop, struct rt *rt, bool host_network);
/* After rt_free(), and when no build is under way. */
void runner_free(struct runner *r);

/* An images_run_fn; arg is the runner. */
int runner_run(const struct images_run *run, int *ret_code, void *arg, struct err *err);

#endif
