/* Private to the resolver: resolver.c speaks with the clients, resolver_upstream.c with the servers. */
#ifndef ATP_AGENT_RESOLVER_IMPL_H
#define ATP_AGENT_RESOLVER_IMPL_H

#include "backends/agent/names.h"
#include "backends/agent/resolv.h"
#include "backends/agent/resolver.h"
#include "compat/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct loop_io;
struct loop_timer;

/* One TCP connection. */
struct client {
    struct client *next;
    struct resolver *resolver;
    int fd;
    struct loop_io *io;
    struct loop_timer *idle;
    struct buf in, out;
    unsigned n_questions;
    bool ended; /* it asks no more */
    bool dead;  /* freed by its timer, at once */
};

/* One question until it is answered. */
struct question {
    struct question *next;
    struct resolver *resolver;
    struct client *client; /* NULL: by UDP, from: */
    struct sockaddr_in from;
    uint8_t *bytes; /* as it came, but for the number when a server is asked */
    size_t len;
    struct dns_query query;
    int64_t born;
    bool waits; /* for a name to become known */
    struct loop_timer *timer;
    /* a server is asked */
    size_t tries;
    int fd;
    struct loop_io *io;
    struct buf out, in; /* by TCP */
};

struct resolver {
    struct loop *loop;
    struct names *names;
    int udp, tcp;
    struct loop_io *udp_io, *tcp_io;
    struct sockaddr_storage servers[RESOLV_SERVERS];
    size_t n_servers;
    struct question *questions;
    size_t n_questions;
    struct client *clients;
    size_t n_clients;
};

/* Each ends the question. */
void question_free(struct question *q);
void question_refuse(struct question *q);
void question_pass_back(struct question *q, uint8_t *bytes, size_t len);
void client_write(struct client *c);

/* Asks the servers, one after the other, until the question has ended. */
void upstream_ask(struct question *q);
void upstream_close(struct question *q);

#endif
