/*
 * Readiness probes (protocol 5.6): from the start on a port of the first container is tried, or a command run in it,
 * until that succeeds once. A command that takes longer than ten seconds is given up and tried again.
 */
#ifndef ATP_ENGINE_READY_H
#define ATP_ENGINE_READY_H

struct sandbox;

void ready_begin(struct sandbox *s); /* it runs now; nothing without a probe */
void ready_stop(struct sandbox *s);  /* it has ended, or its container's handle goes; harmless at any time */

#endif
