/*
 * getaddrinfo() beside the loop. Numbers and "localhost" are answered without a thread; anything else may wait for a
 * name server, so it gets one.
 */
#ifndef ATP_GRPC_RESOLVE_H
#define ATP_GRPC_RESOLVE_H

#include <stdint.h>

struct addrinfo;
struct loop;
struct resolve;

/* addresses are handed over (freeaddrinfo), or NULL and a reason. Called once, from the loop, perhaps before start
 * returns. */
typedef void resolve_done_fn(void *arg, struct addrinfo *addresses, const char *reason);

/* NULL if fn was called already. */
struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_done_fn *fn, void *arg);
void resolve_free(struct resolve *r); /* NULL is fine; a look-up under way is left to end by itself */

#endif
