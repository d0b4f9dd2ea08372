/*
 * The monitor: one small process per container that watches for its end and then sees to what is left to do, so that no
 * command has to wait for it. Nothing depends on it: a container without one is looked after by the next command. What
 * it would say to a person is in <state>/monitor.log.
 */
#ifndef ATP_SHIM_MONITOR_H
#define ATP_SHIM_MONITOR_H

struct app;
struct err;

/*
 * The monitor itself: `atp-docker atp monitor ID [SANDBOX]`. It watches one life, the one in SANDBOX (by default that
 * which is there), and leaves as soon as the container has another sandbox or none. Returns the exit code, which nobody
 * reads.
 */
int monitor_run(struct app *app, const char *id, const char *sandbox_id, struct err *err);

#endif
