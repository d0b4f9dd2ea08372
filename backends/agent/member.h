/*
 * A member's link to the hub (translate/wire/wire.h, NAMES): made again whenever it ends, for as long as init lives.
 */
#ifndef ATP_AGENT_MEMBER_H
#define ATP_AGENT_MEMBER_H

#include "translate/wire/wire.h"

#include <netinet/in.h>
#include <stdbool.h>

struct agent_options;
struct loop;
struct member;

struct member_events {
    /* Where the hub is; false: not known yet. */
    bool (*find_hub)(void *arg, struct in_addr *ret);
    /* Who is there now; takes *t over. */
    void (*table)(void *arg, struct wire_table *t);
};

/* names is borrowed. */
struct member *member_new(struct loop *loop, const struct agent_options *options, const struct wire_names *names,
                          const struct member_events *events, void *arg);
void member_free(struct member *m); /* NULL is fine */
/* The names have changed: the hub is told. NULL is fine. */
void member_tell(struct member *m);

#endif
