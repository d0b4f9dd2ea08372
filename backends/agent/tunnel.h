/*
 * The tunnels of a pod end at its hub, because the platform opens ports of a sandbox's first container only: the hub
 * listens on each (`init --hub --tunnel PORT`, may be repeated) and passes every connection on to the same port of a
 * member that said it is for it (WIRE_TUNNEL). Where nobody is, or nobody listens there, the connection is closed.
 */
#ifndef ATP_AGENT_TUNNEL_H
#define ATP_AGENT_TUNNEL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct agent_options;
struct err;
struct loop;
struct tunnels;

#define TUNNEL_CONNS  1024         /* at once, of all ports; more are closed */
#define TUNNEL_BUFFER (128u << 10) /* bytes on their way, in each direction of a connection */

/* Where a connection to the port goes; called for each. */
typedef bool tunnel_find_fn(void *arg, uint16_t port, struct in_addr *ret);

/* NULL: a port cannot be had. No ports are fine. */
struct tunnels *tunnels_new(struct loop *loop, const struct agent_options *options, tunnel_find_fn *find, void *arg,
                            struct err *err);
void tunnels_free(struct tunnels *t); /* NULL is fine */

#endif
