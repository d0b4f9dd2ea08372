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

/* For whoever starts such a process: <state>/monitor.log, begun anew when it is long (conflicts, files that are not
 * kept), -1 if it cannot be had; and the signals as a program expects them, whatever this one made of them. */
int monitor_open_log(void);
void monitor_reset_signals(void);

#endif
