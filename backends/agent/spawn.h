/*
 * Making one process of the container. The parent's half makes the streams and forks; the child's half becomes the
 * user, finds the program and executes it, and says through a pipe why it could not.
 */
#ifndef ATP_AGENT_SPAWN_H
#define ATP_AGENT_SPAWN_H

#include "translate/wire/wire.h"

#include <sys/types.h>

struct err;

struct spawned {
    pid_t pid;
    int in;     /* write end of its stdin, -1 without; with a terminal a duplicate of the master */
    int out;    /* read end of its stdout, or the terminal's master */
    int err;    /* read end of its stderr, -1 with a terminal */
    int report; /* read end: ends without a byte once the program runs, otherwise gives an EXIT frame's payload */
};

/* The descriptors are the caller's, non-blocking and close-on-exec. -1: nothing was started. run_dir: see
 * agent_options. */
int spawn(const struct wire_start *start, const char *run_dir, struct spawned *ret, struct err *err);

/* Reads what the child reported: 1 = *ret says why it never ran, 0 = the program runs. Waits for the child's set-up. */
int spawn_report(int fd, struct wire_exit *ret);

#endif
