/*
 * Tunnels (protocol 8): ports of a sandbox's first container that are reached from outside. Outside is this machine:
 * each open port has a listener on a port of 127.0.0.1 that the system chooses, from the creation to the end. It speaks
 * TLS with the engine's own certificate, offering h2 only for a port that was opened for it; an unencrypted port has a
 * second listener that passes bytes on as they are. A connection is made from within the container's network
 * (rt_sandbox_connect()), so a listener on its loopback is reached too; when nobody listens it is closed at once. An
 * open connection keeps a sandbox from being idle.
 */
#ifndef ATP_ENGINE_TUNNEL_H
#define ATP_ENGINE_TUNNEL_H

#include "backends/proto/api.pb-c.h"

#include <stddef.h>

struct err;
struct sandbox;

/* Opens the listeners that its plan names; none is left when it fails. err->code is a gRPC status. */
int tunnels_open(struct sandbox *s, struct err *err);
/* Ends listeners and connections; harmless at any time. */
void tunnels_close(struct sandbox *s);

struct tunnel_list { /* as a message wants them; what it points to is the sandbox's */
    Modal__Client__TunnelData *items, **list;
    size_t len;
};

void tunnel_list_fill(struct tunnel_list *ret, const struct sandbox *s);
void tunnel_list_clear(struct tunnel_list *l);

#endif
