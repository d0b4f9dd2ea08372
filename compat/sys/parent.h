/* A process that is only there for the one that made it. */
#ifndef ATP_SYS_PARENT_H
#define ATP_SYS_PARENT_H

#include <sys/types.h>

/* In the child: it is killed when its parent has ended, however that was; at once if it has already. parent: getpid()
 * before the fork. */
void parent_tie(pid_t parent);

#endif
