/*
 * The real docker: where it is, whether its daemon answers, and handing a whole command over to it by exec. It is
 * looked for in $ATP_DOCKER_REAL, then along PATH, and is never ourselves under another name: a candidate that is the
 * running program's own file (same device and inode, through links) is passed over.
 */
#ifndef ATP_DOCKER_HANDOVER_H
#define ATP_DOCKER_HANDOVER_H

#include <stdbool.h>

struct err;

/* Path of the real docker (or docker-compose, by name), owned by caller; NULL and err (125) when there is none. */
char *handover_find(const char *name, struct err *err);

/*
 * Replaces this process with the real docker, argv[0] set to its path. Returns only on failure.
 * ATP_DOCKER_HANDED_OVER=1 goes along: a docker that finds it set and is ourselves after all (a wrapper script that
 * calls us back) refuses with a clear line instead of looping.
 */
int handover_exec(const char *name, char **argv, struct err *err);

/*
 * Whether a Docker daemon answers on its socket: DOCKER_HOST if it names a unix socket, else /var/run/docker.sock. One
 * connect and one GET /_ping, at most 500 ms.
 */
bool handover_daemon_answers(void);

#endif
