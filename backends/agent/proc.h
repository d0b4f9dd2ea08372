/*
 * All processes of the container: those below init, wherever they went. Sessions of ours are spared: under a pid
 * namespace they too are below init once their starter has gone.
 */
#ifndef ATP_AGENT_PROC_H
#define ATP_AGENT_PROC_H

#include <stdbool.h>

bool proc_available(void);

/*
 * Sends signo (0: none) to every living process of the container and returns how many there were, zombies not counted;
 * -1 without /proc.
 */
int proc_signal_all(int signo);

#endif
