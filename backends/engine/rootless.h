/*
 * The engine of an ordinary user. Nearly everything that it does needs root, so it becomes root in a user namespace of
 * its own, in which the user is 0 and the ids of the user's range in /etc/subuid and /etc/subgid are 1 and up; then the
 * code is the same for both. It stays the same process, so its pid, its lock and its signals are what they seem.
 *
 * What is different there, and asked for with rootless(): overlay keeps its notes in user.overlay.* attributes, devices
 * cannot be made, and ids beyond the range do not exist. Network and limits: see runtime.h.
 */
#ifndef ATP_ENGINE_ROOTLESS_H
#define ATP_ENGINE_ROOTLESS_H

#include <stdbool.h>
#include <sys/types.h>

struct err;

/*
 * Moves this process into such a namespace, with a mount namespace of its own; nothing happens for root. Call it before
 * there are threads. On failure the one line says what to install, write or switch on.
 */
int rootless_enter(struct err *err);

/* Whether this process's root is not the machine's: after rootless_enter(), or in somebody else's user namespace. */
bool rootless(void);

/* The highest group id that there is. */
unsigned rootless_last_gid(void);

#endif
