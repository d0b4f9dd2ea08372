/*
 * The container's name server, UDP and TCP: answers for the names that names.h knows and passes everything else on to
 * the servers that /etc/resolv.conf had before, by the way that the question came, one after the other. A client that
 * asks nonsense gets FORMERR or nothing; there is nothing else that could be asked of it.
 */
#ifndef ATP_AGENT_RESOLVER_H
#define ATP_AGENT_RESOLVER_H

struct agent_options;
struct err;
struct loop;
struct names;
struct resolv;
struct resolver;

#define RESOLVER_TRY_MS  2000  /* for one server to answer */
#define RESOLVER_ROUNDS  2     /* each server is asked so often */
#define RESOLVER_ASKED   256u  /* questions under way at once; more are refused */
#define RESOLVER_CLIENTS 64u   /* TCP connections at once */
#define RESOLVER_IDLE_MS 10000 /* of a TCP connection */

/* names is borrowed. NULL: the address cannot be had. */
struct resolver *resolver_new(struct loop *loop, const struct agent_options *options, const struct resolv *old,
                              struct names *names, struct err *err);
void resolver_free(struct resolver *r); /* NULL is fine */
/* Names may have become known: those who wait for one are looked at. NULL is fine. */
void resolver_look_again(struct resolver *r);

#endif
