/*
 * All processes of the container: those below init, wherever they went. Sessions of ours are spared: under a pid
 * namespace they too are below init once their starter has gone.
 */
#ifndef ATP_AGENT_PROC_H
#define ATP_AGENT_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

bool proc_available(void);

/*
 * Sends signo (0: none) to every living process of the container and returns how many there were, zombies not counted;
 * -1 without /proc. Process `spare` (0: none) is counted but gets no signal. To be called by init.
 */
int proc_signal_all(int signo, pid_t spare);

/* Calls fn for each living process below init; false without /proc. */
bool proc_each(pid_t init, void (*fn)(void *arg, pid_t pid, pid_t parent), void *arg);

/* /proc/PID/NAME: a descriptor, or its first bytes; -1: not there (any more). */
int proc_open(pid_t pid, const char *name);
ssize_t proc_read(pid_t pid, const char *name, char *to, size_t size);

#endif
