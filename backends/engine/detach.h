/*
 * Starting on demand: the engine leaves its starter's session and terminal, and the starter learns through a pipe when
 * the engine can be reached, or why it cannot.
 */
#ifndef ATP_ENGINE_DETACH_H
#define ATP_ENGINE_DETACH_H

struct err;

/*
 * Forks twice. In the engine it returns a descriptor for detach_ready() / detach_failed(). In the starter it does not
 * come back until the engine has spoken: it returns -2 when the engine is up, -1 and err when not.
 */
int detach_start(struct err *err);
void detach_ready(int fd);
void detach_failed(int fd, const char *message);

#endif
