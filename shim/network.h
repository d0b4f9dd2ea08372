/*
 * Networks of one's own (docker network ...), and the predefined ones: bridge, host, none. A network is a row of the
 * state and costs nothing; where its containers live is shim/pod.h's matter. Errors are complete: Docker's words with
 * "Error response from daemon: " in front, exit code 1.
 */
#ifndef ATP_SHIM_NETWORK_H
#define ATP_SHIM_NETWORK_H

#include "backends/state/state.h"
#include "compat/base/strlist.h"
#include "translate/networks.h"

#include <jansson.h>

struct app;
struct container;
struct container_spec;
struct err;

enum { NETWORK_NO_SUCH = 0x6201, NETWORK_EXISTS = 0x6202, NETWORK_IN_USE = 0x6203 }; /* err->code */

struct network_request {
    const char *name;
    const char *driver;            /* NULL: "bridge"; others are refused */
    const struct strlist *labels;  /* K=V; NULL: none */
    const struct strlist *options; /* K=V; modal.* are looked at, com.docker.network.* are kept; NULL: none */
    bool internal, attachable;
};

/* *ret is filled; NETWORK_EXISTS: "network with name x already exists". */
int network_create(struct app *app, const struct network_request *request, struct state_network *ret, struct err *err);

/* By id, name or unique prefix; the predefined ones too. NETWORK_NO_SUCH: "network x not found". */
int network_find(struct app *app, const char *word, struct state_network *ret, struct err *err);
bool network_is_predefined(const struct state_network *n);
/* All of them, the predefined ones too, by name. Owned by caller. */
int network_list(struct app *app, struct state_network **ret, size_t *ret_len, struct err *err);

/* NETWORK_IN_USE: containers that run are in it ("network n id x has active endpoints"). */
int network_remove(struct app *app, const char *word, struct err *err);

/* Whether a container joins the network: by its row. */
bool network_has(const struct state_network *n, const struct state_container *row);

/*
 * Looks up what the spec joins: names become the networks' own, ids are filled in; one that was removed and made anew
 * is joined by its name. must: one that is not there is an error, as at a start; else it is left as it was given, as
 * `create` does. The row's column is network_ids() of the same, owned by caller, NULL for none.
 */
int network_resolve(struct app *app, struct container_spec *spec, bool must, struct err *err);
char *network_ids(const struct network_joins *joins);

/* What the loaded spec joins goes into row and record, in the state too; under the container's lock. */
int network_rejoin(struct container *c, struct err *err);

/*
 * docker network connect and disconnect (shim/network_connect.c): record and row of a container; of one that runs in a
 * pod its names too, at once. aliases NULL: none. What would need another sandbox is refused with a reason.
 */
int network_connect(struct app *app, const char *network, const char *container, const struct strlist *aliases,
                    struct err *err);
int network_disconnect(struct app *app, const char *network, const char *container, struct err *err);

/* What `docker network inspect` prints; owned by caller. */
json_t *network_inspect(struct app *app, const struct state_network *n, struct err *err);

#endif
