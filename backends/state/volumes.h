/*
 * What this machine remembers of volumes. The truth about what is in one is the server's; the row holds what Docker
 * shows of it, and what the server calls it, so that a start needs no look-up. A volume whose row is lost is found
 * again by its name (shim/volume.h). Containers that use one are found by their records.
 */
#ifndef ATP_STATE_VOLUMES_H
#define ATP_STATE_VOLUMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct state;

struct state_volume {
    char *name;
    char *labels;  /* JSON array of "k=v" */
    char *options; /* the same: driver options */
    int64_t created_ns;
    bool anonymous;
};
void state_volume_clear(struct state_volume *v);

/* 1 = added, 0 = there is one of that name, -1 = err. */
int state_volume_add(struct state *s, const struct state_volume *v, struct err *err);
/* 1 = found, 0 = not. */
int state_volume_get(struct state *s, const char *name, struct state_volume *ret, struct err *err);
/* By name. *ret is an array owned by caller: each with _clear, then free. */
int state_volume_list(struct state *s, struct state_volume **ret, size_t *ret_len, struct err *err);
int state_volume_remove(struct state *s, const char *name, struct err *err); /* 1 = was there; its ids go too */

/* What a server calls it. get: 1 = known (owned by caller), 0 = not. */
int state_volume_id_get(struct state *s, const char *server, const char *name, char **ret, struct err *err);
int state_volume_id_put(struct state *s, const char *server, const char *name, const char *id, struct err *err);
int state_volume_id_drop(struct state *s, const char *server, const char *name, struct err *err);

#endif
