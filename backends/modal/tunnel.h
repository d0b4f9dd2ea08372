/* Tunnels of a sandbox (protocol 8): where its open ports are reached from outside. */
#ifndef ATP_MODAL_TUNNEL_H
#define ATP_MODAL_TUNNEL_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct modal_client;

struct modal_tunnel {
    uint16_t container_port;
    char *host; /* TLS */
    uint16_t port;
    char *raw_host; /* NULL: none that is not encrypted */
    uint16_t raw_port;
};
struct modal_tunnels {
    struct modal_tunnel *items;
    size_t len;
};
void modal_tunnels_clear(struct modal_tunnels *t);

/* Waits for so long at most until they are there. */
int modal_sandbox_tunnels(struct modal_client *c, const char *sandbox_id, unsigned timeout_s, struct modal_tunnels *ret,
                          struct err *err);

#endif
