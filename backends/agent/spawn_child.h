/* Private to spawning: what happens in the new process between fork and exec. */
#ifndef ATP_AGENT_SPAWN_CHILD_H
#define ATP_AGENT_SPAWN_CHILD_H

struct wire_start;

/* fds: its stdin, stdout, stderr. report: gets an EXIT frame if the program cannot be run. All signals are blocked. */
_Noreturn void spawn_child(const struct wire_start *start, const int fds[3], int report);

#endif
