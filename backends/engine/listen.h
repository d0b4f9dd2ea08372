/* Where the engine is reached: a Unix socket, a TCP port, and the files that tell clients about it. */
#ifndef ATP_ENGINE_LISTEN_H
#define ATP_ENGINE_LISTEN_H

#include <stdbool.h>

struct engine;
struct err;
struct listeners;

/* Opens what the configuration names, and then writes SOCKET.env and the --env-file. */
struct listeners *listeners_open(struct engine *e, struct err *err);
/* Takes away the socket and the files first, so that nobody new finds the engine. Handles close on the loop. */
void listeners_close(struct listeners *l);

/* True if somebody answers at the path of a Unix socket. */
bool listen_is_served(const char *path);

#endif
