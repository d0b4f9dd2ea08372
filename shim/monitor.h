/*
 * The monitor: one small process per container that watches for its end and then sees to what is left to do, so that no
 * command has to wait for it. Nothing depends on it: a container without one is looked after by the next command. What it
 * would say to a person is in <state>/monitor.log.
 */
#ifndef ATP_SHIM_MONITOR_H
#define ATP_SHIM_MONITOR_H

struct app;
struct err;

/* The monitor itself: `atp-docker atp monitor ID`. Returns the exit code, which nobody reads. */
int monitor_run(struct app *app, const char *id, struct err *err);

#endif
