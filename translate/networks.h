/*
 * The networks of one's own that a container joins, from --network (each word, or the long form name=N,alias=A),
 * --network-alias and --net. What the platform does not give (addresses, MAC, sysctls) has had its verdict before
 * (translate/terms.h) and is passed over.
 */
#ifndef ATP_TRANSLATE_NETWORKS_H
#define ATP_TRANSLATE_NETWORKS_H

#include "compat/base/strlist.h"
#include "translate/resources.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

struct network_join {
    char *name;    /* as given until it was looked up, then the network's name */
    char *id;      /* 64 hex; NULL: not looked up yet */
    bool internal; /* of the network that was looked up */
    struct strlist aliases;
};

/* The first one is the container's main network: HostConfig.NetworkMode. */
struct network_joins {
    struct network_join *items;
    size_t len;
};
#define NETWORK_JOINS_INIT                                                                                             \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

void network_joins_clear(struct network_joins *joins);
struct network_join *network_joins_add(struct network_joins *joins, const char *name);
struct network_join *network_joins_find(const struct network_joins *joins, const char *name_or_id); /* NULL: none */
/* Checks and adds; NULL: none. */
int network_aliases_add(struct network_join *join, const struct strlist *aliases, struct err *err);
void network_joins_drop(struct network_joins *joins, const char *id);
/* Whether they have a network in common; by id. */
bool network_joins_meet(const struct network_joins *a, const struct network_joins *b);
/* All of them are internal: nothing beyond the pod is reached. */
bool network_joins_internal(const struct network_joins *joins);

/*
 * The values of --network and --network-alias. Docker's own words (none, host, bridge, default) give *ret_mode;
 * networks of one's own give NETWORK_OWN and are added to joins. container:x is refused with a reason.
 */
int network_parse(const struct strlist *words, const struct strlist *aliases, enum network_mode *ret_mode,
                  struct network_joins *joins, struct err *err);

/* --add-host, each "name:address" or "name=address", as "name:address". The address host-gateway is kept as it is:
 * nobody answers for it. */
int hosts_parse(const struct strlist *words, struct strlist *ret, struct err *err);

#endif
