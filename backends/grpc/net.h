/*
 * From a URL to a connected descriptor: name, addresses in turn, a proxy's CONNECT. Nothing blocks: a name that may
 * need the network is looked up by a thread of its own.
 */
#ifndef ATP_GRPC_NET_H
#define ATP_GRPC_NET_H

#include <stdint.h>

struct grpc_proxy;
struct grpc_url;
struct loop;
struct net_connect;

/* fd is handed over, non-blocking and close-on-exec; or -1 and a reason (borrowed). Called once, from the loop. */
typedef void net_done_fn(void *arg, int fd, const char *reason);

/*
 * url and proxy are borrowed until done or cancelled; proxy->host NULL: direct. user_timeout_ms: how long the kernel
 * may keep unacknowledged bytes. The caller has the deadline and calls net_connect_free().
 */
struct net_connect *net_connect_start(struct loop *loop, const struct grpc_url *url, const struct grpc_proxy *proxy,
                                      int64_t user_timeout_ms, net_done_fn *fn, void *arg);
void net_connect_free(struct net_connect *nc); /* NULL is fine; also from fn */

#endif
