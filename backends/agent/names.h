/*
 * The names that a container knows others by (struct wire_names): those of --add-host, its own, and those of all the
 * members that share a network with it, by the table that the hub sends. A member's address is what /etc/hosts says of
 * its `self`. NAME.NETWORK is a name as well, as Docker has it. Without names of its own an init has none of this.
 */
#ifndef ATP_AGENT_NAMES_H
#define ATP_AGENT_NAMES_H

#include "backends/agent/dns.h"
#include "translate/wire/wire.h"

#include <netinet/in.h>
#include <stdbool.h>

struct agent_options;
struct err;
struct loop;
struct names;

#define NAMES_RECORDS 512u /* addresses of one name */
#define NAMES_GRACE   3000 /* ms after the start that a name is waited for: of the first table, of an address */

enum names_found {
    NAMES_UNKNOWN,    /* nobody's: the outside may know it */
    NAMES_KNOWN,      /* here are its records; none: it has no such ones */
    NAMES_NO_TABLE,   /* nobody's yet: the hub has not answered since the start, a moment ago */
    NAMES_NO_ADDRESS, /* a member's whose address is not there yet */
};

/* names is copied. A resolver that cannot be had, or /etc/resolv.conf that cannot be written, is no failure: *note says
 * so, owned by the caller; the names in /etc/hosts are all that is left then. */
struct names *names_new(struct loop *loop, const struct agent_options *options, const struct wire_names *names,
                        char **note);
void names_free(struct names *n); /* NULL is fine */

/* The others know it from here on, and until it leaves: while its process lives. NULL is fine, and so is once more. */
void names_join(struct names *n);
void names_leave(struct names *n);

/*
 * Its members and hosts are these from now on; taken over. told is called, maybe at once, when the hub has them; or it
 * has not had them for a while, or there is none. Another call takes the place of one that is waited for.
 */
void names_change(struct names *n, struct wire_names *names, void (*told)(void *arg), void *arg);
/* Its address in the pod. */
bool names_own_address(struct names *n, struct in_addr *ret);

/* records has room for NAMES_RECORDS. Addresses come in turns. */
enum names_found names_find(struct names *n, const char *name, uint16_t type, struct dns_record *records,
                            size_t *ret_n);

#endif
