/* One engine per state folder. */
#ifndef ATP_ENGINE_LOCK_H
#define ATP_ENGINE_LOCK_H

#include <stdbool.h>

struct err;

/*
 * Takes the folder's lock for the life of the process. -1 and err when another engine has it. With a socket path (the
 * engine was started on demand, perhaps by two clients at once) a holder that serves that socket is as good: then -2.
 * A holder that is just ending is waited for.
 */
int lock_state(const char *dir, const char *socket_path, struct err *err);
/* Whether the folder's lock is still the one of this descriptor, and not gone with the folder. */
bool lock_stands(const char *dir, int fd);

#endif
