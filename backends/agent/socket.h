/*
 * The way from a session to init: a socket in a directory that only root can enter. Both ends also ask the kernel who
 * the other is, so that a directory opened by mistake opens nothing else.
 */
#ifndef ATP_AGENT_SOCKET_H
#define ATP_AGENT_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

struct err;

/* Makes run_dir (0700) and listens in it; refuses if another init answers there. Returns a descriptor. */
int socket_listen(const char *run_dir, struct err *err);
/* Connects, trying again for wait_ms while nobody listens. Returns a descriptor. */
int socket_connect(const char *run_dir, int64_t wait_ms, struct err *err);
/* Is the process at the other end ours (the same user as we)? */
bool socket_trusted(int fd);

#endif
