/*
 * The health check of the container's process, with Docker's rules. The first probe runs one interval after the start
 * (start_interval within the start period, as long as no probe has succeeded), the next one interval after the end of
 * the last; so probes never overlap. A probe is a process of the container: its user, environment and working
 * directory; what it writes to both streams is kept, HEALTH_OUTPUT bytes of it. It fails with -1 when it could not be
 * started or took longer than the timeout, which kills it and its process group. A failure counts unless it began in
 * the start period and none has succeeded yet; `retries` in a row make "unhealthy", one success makes "healthy".
 *
 * When the process ends or is paused the probe under way is killed and forgotten, and the status becomes "unhealthy",
 * as Docker has it; a new life is "starting" again, and after a pause the next success decides. The log of the last
 * HEALTH_LOG probes stays.
 */
#ifndef ATP_AGENT_HEALTH_H
#define ATP_AGENT_HEALTH_H

#include "translate/wire/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct health;
struct loop;

#define HEALTH_LOG    5u
#define HEALTH_OUTPUT 4096u

/*
 * What start says of the test, the user, the environment, the terms and the working directory is copied. NULL if there is no
 * test. changed is called when the status has changed by a probe, or by a new life.
 */
struct health *health_new(struct loop *loop, const char *run_dir, const struct wire_start *start,
                          void (*changed)(void *arg), void *arg);
void health_free(struct health *h); /* NULL is fine; a probe under way is killed */

/* Every one of these takes NULL. */
void health_begin(struct health *h); /* a life has begun: its program runs */
void health_end(struct health *h);   /* and is over */
void health_pause(struct health *h);
void health_unpause(struct health *h);

/* A child of init's was reaped; true if it was the probe. */
bool health_reaped(struct health *h, pid_t pid, int status);

uint8_t health_status(const struct health *h); /* enum wire_health_status */
/* {"Status":..,"FailingStreak":..,"Log":[{"Start","End","ExitCode","Output"}..]} and a newline. */
void health_write(const struct health *h, struct buf *b);

#endif
